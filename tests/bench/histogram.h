/*
 * Latencies in buckets at most 1.6 % wide: a percentile costs nothing to keep, and nothing is dropped.
 */
#pragma once

#include <stdint.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_BUCKETS = 59 * HISTOGRAM_SUB };

struct histogram {
    uint64_t count, max;
    uint32_t bucket[HISTOGRAM_BUCKETS];
};

/* Values below 64 have a bucket each; every octave above has 64. */
static inline int histogram_place(uint64_t value)
{
    int octave;

    if (value < HISTOGRAM_SUB)
        return (int)value;
    octave = 63 - __builtin_clzll(value) - 6;
    return (octave + 1) * HISTOGRAM_SUB + (int)((value >> octave) & (HISTOGRAM_SUB - 1));
}

static inline uint64_t histogram_value(int place)
{
    int octave = place / HISTOGRAM_SUB - 1;

    if (octave < 0)
        return (uint64_t)place;
    return (uint64_t)(HISTOGRAM_SUB + place % HISTOGRAM_SUB) << octave;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->bucket[histogram_place(value)]++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The value that SHARE (0..1) of all lie at or below. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.5), seen = 0;

    for (int place = 0; place < HISTOGRAM_BUCKETS; place++) {
        seen += histogram->bucket[place];
        if (seen && seen >= wanted)
            return histogram_value(place);
    }
    return histogram->max;
}
