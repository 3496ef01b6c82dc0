/*
 * A step is the fourth root of two: where in its doubling a time stands is found by comparing its leading bits with
 * three thresholds, and a step is told by the middle of it.
 */
#include "record/gaps.h"

#define FIRST_BIT 2 /* the first step holds all below its end, 4.8 microseconds; so the last begins at 56 seconds */
#define LEADING 31  /* bits, with the highest at the top */

/* 2^(n/4) for the starts of the second to fourth step of a doubling, by 2^LEADING. */
static const uint64_t starts[] = {2553802834, 3037000500, 3611622603};
/* 2^((2n+1)/8) for the middles of the four, by 2^LEADING. */
static const uint64_t middles[] = {2341847524, 2784941738, 3311872529, 3938502376};

static unsigned step_of(uint64_t us)
{
    unsigned bit, step;
    uint64_t leading;

    if (us < 1u << FIRST_BIT)
        return 0;
    bit = 63 - (unsigned)__builtin_clzll(us);
    leading = bit > LEADING ? us >> (bit - LEADING) : us << (LEADING - bit);
    step = (bit - FIRST_BIT) * 4 + (leading >= starts[0]) + (leading >= starts[1]) + (leading >= starts[2]);
    return step < GAPS_STEPS ? step : GAPS_STEPS - 1;
}

static uint64_t middle_of(unsigned step)
{
    return (middles[step % 4] << (FIRST_BIT + step / 4)) >> LEADING;
}

void gaps_add(struct gaps *gaps, uint64_t us)
{
    gaps->counts[step_of(us)]++;
    gaps->count++;
    if (us > gaps->max_us)
        gaps->max_us = us;
}

uint64_t gaps_percentile(const struct gaps *gaps, unsigned percent)
{
    uint64_t wanted = (gaps->count * percent + 99) / 100, seen = 0, us;
    unsigned step = 0;

    if (wanted >= gaps->count)
        return gaps->max_us;
    for (seen = gaps->counts[0]; seen < wanted && step < GAPS_STEPS - 1; seen += gaps->counts[step])
        step++;
    us = middle_of(step);
    return step < GAPS_STEPS - 1 && us < gaps->max_us ? us : gaps->max_us;
}
