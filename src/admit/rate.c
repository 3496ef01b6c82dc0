/*
 * Divisions stand here: they are for refusals and for people, taking needs none.
 */
#include "admit/rate.h"

static uint64_t divide_up(rate_parts parts, uint64_t by)
{
    uint64_t few = (uint64_t)parts;
    rate_parts whole;

    if (few == parts)       /* nearly always, and much cheaper */
        return few / by + (few % by != 0);
    whole = parts / by + (parts % by != 0);
    return whole > UINT64_MAX ? UINT64_MAX : (uint64_t)whole;
}

uint64_t rate_wait_us(const struct rate *rate, rate_parts room, rate_parts need)
{
    if (rate_has(rate, room, need))
        return 0;
    return divide_up(need > room ? rate->level : rate->level + need - room, rate->per_minute);
}

uint64_t rate_empty_us(const struct rate *rate)
{
    return divide_up(rate->level, rate->per_minute);
}

uint64_t rate_used(const struct rate *rate)
{
    return divide_up(rate->level, RATE_UNIT);
}
