/*
 * Octave 0 counts each value from 0 to 63 by itself; octave n holds the values of n + 6 bits in 64 steps, so a step is
 * 2^(n-1) wide and the middle of it is at most 1/128 from any value in it.
 */
#include "command/log_histogram.h"

#include "base/alloc.h"

#define STEPS 64
#define STEP_BITS 6

static unsigned octave_of(uint64_t value)
{
    unsigned bits = value ? 64 - (unsigned)__builtin_clzll(value) : 0;

    return bits > STEP_BITS ? bits - STEP_BITS : 0;
}

/* The highest bit is told by the octave. */
static unsigned step_of(uint64_t value, unsigned octave)
{
    return octave ? (unsigned)(value >> (octave - 1)) & (STEPS - 1) : (unsigned)value;
}

static uint64_t middle_of(unsigned octave, unsigned step)
{
    uint64_t width = octave ? 1ull << (octave - 1) : 1;

    return octave ? (STEPS + step) * width + (width - 1) / 2 : step;
}

void log_histogram_deinit(struct log_histogram *histogram)
{
    for (unsigned i = 0; i < LOG_HISTOGRAM_OCTAVES; i++)
        alloc_free(histogram->octaves[i]);
    *histogram = (struct log_histogram){.count = 0};
}

static void add(struct log_histogram *histogram, unsigned octave, unsigned step, uint64_t count)
{
    if (!histogram->octaves[octave])
        histogram->octaves[octave] = alloc_zeroed(STEPS * sizeof(uint64_t));
    histogram->octaves[octave][step] += count;
    histogram->count += count;
}

void log_histogram_add(struct log_histogram *histogram, uint64_t value)
{
    unsigned octave = octave_of(value);

    add(histogram, octave, step_of(value, octave), 1);
    if (value > histogram->largest)
        histogram->largest = value;
}

uint64_t log_histogram_percentile(const struct log_histogram *histogram, unsigned permille)
{
    uint64_t rank = histogram->count / 1000 * permille + (histogram->count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;

    if (rank == 0)
        rank = histogram->count ? 1 : 0;
    for (unsigned i = 0; i < LOG_HISTOGRAM_OCTAVES && rank; i++) {
        for (unsigned j = 0; histogram->octaves[i] && j < STEPS; j++) {
            uint64_t value = middle_of(i, j);

            seen += histogram->octaves[i][j];
            if (seen >= rank)
                return value < histogram->largest ? value : histogram->largest;
        }
    }
    return histogram->largest;
}
