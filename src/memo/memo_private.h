/*
 * The memo from the inside, for the files that make it: memo.c (claims, and what becomes of them), purge.c,
 * memo_count.c, models.c.
 */
#pragma once

#include "memo/models.h"
#include "memo/shard.h"

#define SHARDS 16

struct memo {
    struct memo_limits limits;
    uint64_t multiplier;        /* odd, and nobody's to guess: names of keys differ in their upper bits */
    struct models models;
    struct kept_list kept;
    struct shard shards[SHARDS];
};

static inline struct shard *memo_shard(struct memo *memo, const uint8_t key[DIGEST_SIZE])
{
    return &memo->shards[key[0] % SHARDS];
}

static inline uint64_t memo_name(const struct memo *memo, const uint8_t key[DIGEST_SIZE])
{
    uint64_t word;

    memcpy(&word, key + 8, sizeof(word));
    return word * memo->multiplier;
}
