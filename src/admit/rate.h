/*
 * A rate, as GCRA in its leaky-bucket form (ATM Forum TM 4.0, "continuous-state leaky bucket"; the same decisions as
 * virtual scheduling): a level that taking raises and time lowers. In whole numbers, without rounding: a request or a
 * token is RATE_UNIT parts, and a rate of N a minute gives back N parts in each microsecond. So nothing drifts however
 * long it runs, and the level means the same when the rate changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_UNIT 60000000u

__extension__ typedef unsigned __int128 rate_parts;

struct rate {
    rate_parts level;           /* taken and not given back yet */
    uint64_t per_minute;        /* by which it falls */
};

static inline rate_parts rate_parts_of(uint64_t amount)
{
    return (rate_parts)amount * RATE_UNIT;
}

static inline void rate_give(struct rate *rate, rate_parts parts)
{
    if (parts < rate->level)
        rate->level -= parts;
    else
        rate->level = 0;
}

static inline void rate_pass(struct rate *rate, uint64_t elapsed_us)
{
    rate_give(rate, (rate_parts)rate->per_minute * elapsed_us);
}

/* NEED may be taken now from a rate whose burst is ROOM. */
static inline bool rate_has(const struct rate *rate, rate_parts room, rate_parts need)
{
    return need == 0 || rate->level + need <= room;
}

/* How long until NEED may be taken; 0: now. Never more than ROOM at once, but for a single NEED that is larger: that
 * one has to wait until everything was given back, and is then a debt that others wait for. */
uint64_t rate_wait_us(const struct rate *rate, rate_parts room, rate_parts need);

/* How long until everything is given back. */
uint64_t rate_empty_us(const struct rate *rate);

/* What is taken in whole numbers, the last one begun counted. */
uint64_t rate_used(const struct rate *rate);
