/*
 * Prometheus' text format 0.0.4: the one place that knows it. Names, kinds and help are our own words; values of labels
 * may be anything.
 *
 * All samples of a family follow its head at once.
 */
#pragma once

#include "base/buffer.h"

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prometheus_label {
    const char *name;
    struct bytes value;
};

/* Whose sample it is. */
struct prometheus_series {
    const char *name;
    const struct prometheus_label *labels;
    unsigned count;
};

/* KIND: "counter", "gauge" or "histogram". */
void prometheus_family(struct buffer *out, const char *name, const char *kind, const char *help);
void prometheus_sample(struct buffer *out, const struct prometheus_series *series, int64_t value);
/* The value is told in millionths: microseconds as seconds, money as units of its currency. */
void prometheus_sample_decimal(struct buffer *out, const struct prometheus_series *series, uint64_t millionths);

struct prometheus_buckets {
    const uint64_t *bounds, *cumulative;
    unsigned count;             /* the last one is infinite, whatever its bound */
    uint64_t sum;
    bool decimal;               /* bounds and sum are millionths */
};

/* SERIES is named without _bucket, _sum and _count. */
void prometheus_histogram(struct buffer *out, const struct prometheus_series *series,
                          const struct prometheus_buckets *buckets);

/* A family of one sample without labels. */
void prometheus_single(struct buffer *out, const char *name, const char *kind, const char *help, int64_t value);
