/*
 * Divisions stand here: they are for refusals and for people, taking needs none.
 */
#include "admit/rate.h"

static uint64_t divide_up(rate_parts parts, uint64_t by)
{
    rate_parts whole = parts / by + (parts % by != 0);

    return whole > UINT64_MAX ? UINT64_MAX : (uint64_t)whole;
}

uint64_t rate_wait_us(const struct rate *rate, uint64_t burst, uint64_t amount)
{
    rate_parts room = rate_parts_of(burst), need = rate_parts_of(amount);

    if (amount == 0 || rate->level + need <= room)
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
