/*
 * The times between the events of one stream: percentiles from a small logarithmic histogram (four steps per doubling,
 * so a percentile is right to a tenth, from 4 microseconds to 56 seconds), the maximum exactly.
 */
#pragma once

#include <stdint.h>

#define GAPS_STEPS 96

struct gaps {
    uint32_t counts[GAPS_STEPS];
    uint64_t count, max_us;
};

void gaps_add(struct gaps *gaps, uint64_t us);
/* PERCENT of them are at most so long. 0 when there are none; never more than the maximum. */
uint64_t gaps_percentile(const struct gaps *gaps, unsigned percent);
