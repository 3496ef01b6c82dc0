/*
 * Whether something was there before, of any number of them, in little memory: the last LOG_SEEN_KEPT are known, and up
 * to as many before.
 */
#pragma once

#include "base/bytes.h"

#define LOG_SEEN_KEPT (1u << 17)

/* All zeros is a fresh one. */
struct log_seen {
    uint64_t *now, *before;     /* tables of hashes; 0 is none */
    unsigned count;             /* in `now` */
};

void log_seen_deinit(struct log_seen *seen);

/* A hash of TEXT and of what has HASH; of the first one that is LOG_SEEN_HASH. */
#define LOG_SEEN_HASH 14695981039346656037u
uint64_t log_seen_hash(uint64_t hash, struct bytes text);

/* Add what has HASH. True: it is not the first. */
bool log_seen_add(struct log_seen *seen, uint64_t hash);
