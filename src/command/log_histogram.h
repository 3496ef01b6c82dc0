/*
 * Percentiles of any number of values in little memory: counts on a logarithmic scale, 64 steps to each doubling, so
 * that a percentile is right to under one per cent. Exact below 128.
 */
#pragma once

#include <stdint.h>

#define LOG_HISTOGRAM_OCTAVES 59

struct log_histogram {
    uint64_t *octaves[LOG_HISTOGRAM_OCTAVES];   /* made when a value falls into them */
    uint64_t count, largest;
};

/* A zeroed one is empty. */
void log_histogram_deinit(struct log_histogram *histogram);
void log_histogram_add(struct log_histogram *histogram, uint64_t value);
/* PERMILLE of the values are at most so large. 0 when there are none. */
uint64_t log_histogram_percentile(const struct log_histogram *histogram, unsigned permille);
