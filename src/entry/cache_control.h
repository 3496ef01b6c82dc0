/*
 * What a client says about answers that are remembered (RFC 9111 5.2.1).
 */
#pragma once

#include "base/bytes.h"

struct cache_control {
    bool no_cache;          /* ask anew */
    bool no_store;          /* and remember nothing of it */
    bool only_if_cached;    /* do not ask */
    uint32_t max_age_s;     /* an answer may be this old; UINT32_MAX: any age */
};

/* The largest max-age; what is above counts as this. */
#define CACHE_CONTROL_AGE_MOST (UINT32_C(1) << 31)

/* Read the field's value into *RET. It never fails: what is not known or not well formed says nothing, but for a
 * max-age that is no number, which is 0. */
void cache_control_read(struct bytes value, struct cache_control *ret);
