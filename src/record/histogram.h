/*
 * How often values fell between bounds. One thread adds, any thread reads: each number is whole, and a reader's total
 * is the sum of the buckets it saw, so that what it tells never contradicts itself.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 24

/* Bounds in rising order, at most HISTOGRAM_BUCKETS - 1; a value that equals a bound is within it. */
struct histogram_shape {
    const uint64_t *bounds;
    unsigned count;
};

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
};

/* For counters with one writer: a plain add that others may look at. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The bounds are few: to compare with all of them is cheaper than to guess. */
static inline void histogram_add(struct histogram *histogram, const struct histogram_shape *shape, uint64_t value)
{
    unsigned bucket = 0;

    for (unsigned i = 0; i < shape->count; i++)
        bucket += value > shape->bounds[i];
    counter_add(&histogram->buckets[bucket], 1);
    counter_add(&histogram->sum, value);
}

/* All of FROM on top of TO. */
static inline void histogram_fold(struct histogram *to, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        counter_add(&to->buckets[i], counter_read(&from->buckets[i]));
    counter_add(&to->sum, counter_read(&from->sum));
}

static inline uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += counter_read(&histogram->buckets[i]);
    return count;
}
