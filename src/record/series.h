/*
 * Numbers by label: requests, latencies, tokens, by dialect, model, status and so on. Each worker has a set and writes
 * it alone, without locks; a scrape reads all sets from another thread, at any moment, and sums what has equal labels.
 * So a counter is one relaxed store, and a worker never hears of a scrape.
 *
 * Labels are bounded: names of models beyond SERIES_MODELS become "other", and so do names that are no text or longer
 * than 256 bytes.
 */
#pragma once

#include "base/buffer.h"

#include <stdatomic.h>
#include <stdint.h>

#define SERIES_MODELS 256

struct series;
/* One model's histograms in one worker's set: kept by who adds to it often; lives as long as the set. */
struct series_model;

enum series_histogram {
    SERIES_DURATION,        /* request, whole: gen_ai_server_request_duration_seconds */
    SERIES_FIRST_TOKEN,     /* gen_ai_server_time_to_first_token_seconds; streams */
    SERIES_GAP,             /* gen_ai_server_time_per_output_token_seconds; between two events of a stream */
    SERIES_OVERHEAD,        /* embergate_overhead_seconds: in here, without the backend and without queues */
    SERIES_LAG,             /* embergate_relay_lag_seconds: from the upstream to the client, worst of a stream */
    SERIES_INPUT_TOKENS,    /* gen_ai_client_token_usage, gen_ai_token_type input */
    SERIES_OUTPUT_TOKENS,
    SERIES_HISTOGRAMS,
};

struct series_request {
    struct bytes model;     /* none: of no model (a page, a refusal before it was known) */
    const char *dialect, *operation, *cache, *outcome;      /* words of our own, static */
    unsigned status;
};

/* BACKENDS by name, from the configuration; views outlive the set. */
struct series *series_new(const struct bytes *backends, uint32_t backend_count);
struct series *series_free(struct series *series);

/* --- the worker's own thread --- */

struct series_model *series_model(struct series *series, struct bytes name);
void series_count(struct series *series, const struct series_request *request);
/* VALUE in microseconds, or tokens. */
void series_add(struct series_model *model, enum series_histogram histogram, uint64_t value);
void series_add_cost(struct series_model *model, uint64_t millionths);

enum series_call { SERIES_CALL_OK, SERIES_CALL_FAILED, SERIES_CALL_CANCELLED, SERIES_CALLS };
void series_call(struct series *series, uint32_t backend, enum series_call outcome);
void series_backend_wait(struct series *series, uint32_t backend, uint64_t first_byte_us);
/* 0 good, 1 resting, 2 down: as this worker sees it. One that never said is not among those that see it. */
void series_backend_state(struct series *series, uint32_t backend, unsigned state);

/* --- any thread --- */

/* COUNT sets, summed, in Prometheus text format 0.0.4. */
void series_write(struct series *const *sets, unsigned count, struct buffer *out);

/* What a page shows, from the same numbers. Errors are outcomes other than "ok" and "client_...". */
struct series_totals {
    uint64_t requests, errors, hits, joins, input_tokens, output_tokens;
};
void series_totals(struct series *const *sets, unsigned count, struct series_totals *ret);
/* HISTOGRAM of MODEL (none: of all models together), summed. Cumulative counts as a scrape tells them; BOUNDS in the
 * values' unit, the last one UINT64_MAX. Returns how many buckets. */
#define SERIES_BUCKETS_MOST 24
struct series_view {
    uint64_t bounds[SERIES_BUCKETS_MOST], cumulative[SERIES_BUCKETS_MOST];
    unsigned buckets;
    uint64_t sum;
};
void series_view(struct series *const *sets, unsigned count, enum series_histogram histogram, struct bytes model,
                 struct series_view *ret);
/* The models that were asked, by requests, most first: at most MOST. Views live as long as the sets. */
struct series_model_total {
    struct bytes model;
    uint64_t requests, errors, hits, input_tokens, output_tokens, cost;
};
unsigned series_models(struct series *const *sets, unsigned count, struct series_model_total *ret, unsigned most);
struct series_backend_total {
    struct bytes name;
    uint64_t calls[SERIES_CALLS];
    unsigned worst_state;
};
void series_backends(struct series *const *sets, unsigned count, uint32_t backend, struct series_backend_total *ret);
