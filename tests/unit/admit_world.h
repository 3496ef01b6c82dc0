/*
 * Scopes and times for the tests of admission.
 */
#pragma once

#include "admit/reservation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND_US UINT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define DAY_S INT64_C(86400)
#define NOON INT64_C(1795435200)        /* 2026-11-23, 12:00 UTC */

static inline struct admit_time at_us(uint64_t us)
{
    return (struct admit_time){us, NOON};
}

static inline struct admit_time at_wall(uint64_t us, int64_t wall_s)
{
    return (struct admit_time){us, wall_s};
}

static inline struct scope_line line_of(struct scope *scope, enum quota_limit limit, struct admit_time now)
{
    struct scope_line lines[QUOTA_LIMITS], none = {.limit = QUOTA_LIMITS};
    unsigned count = scope_lines(scope, now, lines);

    for (unsigned i = 0; i < count; i++) {
        if (lines[i].limit == limit)
            return lines[i];
    }
    return none;
}

static inline uint64_t used_of(struct scope *scope, enum quota_limit limit, struct admit_time now)
{
    return line_of(scope, limit, now).used;
}

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t below(uint64_t *state, uint64_t bound)
{
    return next_random(state) % bound;
}
