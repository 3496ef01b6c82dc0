/*
 * Counters. Each worker counts in its own set without locks; reading sums them.
 *
 * The table is written once: member, kind, name, help. Gauges are counters that also go down.
 */
#pragma once

#include "base/buffer.h"

#include <stdatomic.h>

#define METRICS_TABLE(X)                                                                                     \
    X(connections, "gauge", "Client connections open")                                                       \
    X(connections_total, "counter", "Client connections accepted")                                           \
    X(connections_refused_total, "counter", "Client connections turned away at the limit")                   \
    X(exchanges, "gauge", "Requests being worked on")                                                        \
    X(requests_begun_total, "counter", "Requests whose head was read")                                       \
    X(requests_refused_total, "counter", "Requests answered with an error of our own")                       \
    X(bad_requests_total, "counter", "Requests refused at the HTTP level")                                   \
    X(streams, "gauge", "Streamed answers being delivered")                                                  \
    X(events_total, "counter", "Stream events delivered")                                                    \
    X(keepalives_total, "counter", "Keepalives written into silent streams")                                 \
    X(pauses_total, "counter", "Times an upstream was paused for a slow client")                             \
    X(clients_left_total, "counter", "Clients that left before their answer was complete")                   \
    X(clients_stalled_total, "counter", "Clients cut for taking nothing")                                    \
    X(body_bytes, "gauge", "Bytes of request bodies held")                                                   \
    X(calls, "gauge", "Upstream calls in flight")                                                            \
    X(calls_total, "counter", "Upstream calls started")                                                      \
    X(calls_cancelled_total, "counter", "Upstream calls cancelled because nobody waited")                    \
    X(calls_retried_total, "counter", "Upstream calls repeated after a stale pooled connection")             \
    X(calls_failed_total, "counter", "Upstream calls that failed")                                           \
    X(failovers_total, "counter", "Times the next backend was asked instead")                                \
    X(identity_checks_total, "counter", "Times a backend was asked what it runs")                            \
    X(redis_up, "gauge", "Workers with a good connection to Redis")                                          \
    X(redis_found_total, "counter", "Answers found in Redis")                                                \
    X(redis_missed_total, "counter", "Answers looked for in Redis that were not there")                      \
    X(redis_void_total, "counter", "Answers in Redis that were purged or of an older model")                 \
    X(redis_bad_total, "counter", "Values in Redis that are no answers of ours, or were changed")            \
    X(redis_errors_total, "counter", "Errors that Redis answered looks with")              \
    X(redis_timeouts_total, "counter", "Looks that Redis did not answer in time")                            \
    X(redis_away_total, "counter", "Looks not made because Redis was away")                                  \
    X(redis_stored_total, "counter", "Answers written to Redis")                                             \
    X(redis_store_failed_total, "counter", "Answers that could not be written to Redis")                     \
    X(limits_refused_total, "counter", "Requests refused because a limit was reached")                       \
    X(queued_total, "counter", "Requests that waited for a place")                                           \
    X(limits_asked_total, "counter", "Decisions about limits made by Redis")                                 \
    X(limits_known_total, "counter", "Refusals that Redis need not be asked for")                            \
    X(limits_degraded_total, "counter", "Decisions about shared limits made without Redis")                  \
    X(limits_opened_total, "counter", "Of these: let through")                                               \
    X(limits_closed_total, "counter", "Of these: refused")                                                   \
    X(limits_local_total, "counter", "Of these: decided by the local share")                                 \
    X(limits_dropped_total, "counter", "Settlements that Redis was never told")                              \
    X(idle_handles, "gauge", "What waits to be used again: plain connections to upstreams, easy handles of libcurl")

struct metrics {
#define METRICS_MEMBER(name, kind, help) _Atomic int64_t name;
    METRICS_TABLE(METRICS_MEMBER)
#undef METRICS_MEMBER
};

/* One writer per set: a plain add, no lock prefix; readers on other threads see whole values. */
#define METRICS_ADD(metrics, name, amount)                                                                   \
    atomic_store_explicit(&(metrics)->name,                                                                  \
                          atomic_load_explicit(&(metrics)->name, memory_order_relaxed) + (amount),           \
                          memory_order_relaxed)
#define METRICS_COUNT(metrics, name) METRICS_ADD(metrics, name, 1)

static inline int64_t metrics_read(const _Atomic int64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* The sum of COUNT sets in Prometheus text format 0.0.4, names prefixed with embergate_. */
void metrics_write(struct metrics *const *sets, unsigned count, struct buffer *out);
