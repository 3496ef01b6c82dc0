/*
 * The last failures, for people who look: a ring of fixed size, shared by all workers, a short mutex. Nothing in it is
 * a secret: names and reasons of our own.
 */
#pragma once

#include "base/buffer.h"

#define RECENT_PLACES 64

struct recent;

struct recent_failure {
    uint64_t wall_ms;
    char id[40], key[64], model[96], backend[64], reason[48];  /* ended by a 0; cut */
    unsigned status;
};

struct recent *recent_new(void);
struct recent *recent_free(struct recent *recent);
/* Texts are copied, cut at whole UTF-8 characters. */
void recent_add(struct recent *recent, uint64_t wall_ms, struct bytes id, struct bytes key, struct bytes model,
                struct bytes backend, const char *reason, unsigned status);
/* The newest first, at most MOST, copied. */
unsigned recent_list(struct recent *recent, struct recent_failure *ret, unsigned most);
