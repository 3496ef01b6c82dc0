/*
 * What the page shows, gathered from where it is counted: the same numbers as on /metrics, read in the same way.
 */
#include "flow/status.h"

#include "admit/queue.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "json/json_write.h"
#include "record/journal.h"
#include "record/recent.h"
#include "record/series.h"
#include "record/top.h"

#include <stddef.h>

#define MODELS_MOST 12
#define KEYS_MOST 10
#define FAILURES_MOST 20

static void write_number(struct buffer *out, const char *name, uint64_t value)
{
    json_write_member_i64(out, name, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static void write_bool(struct buffer *out, const char *name, bool value)
{
    json_write_member_raw(out, name, value ? BYTES("true") : BYTES("false"));
}

static void begin(struct buffer *out, const char *name, char brace)
{
    json_write_name(out, name);
    buffer_append_char(out, brace);
}

/* The next object of a list. */
static void begin_object(struct buffer *out, unsigned index)
{
    buffer_append_text(out, index ? ",{" : "{");
}

/* --- the process --- */

static void write_process(struct flow *flow, struct buffer *out)
{
    struct flow_shared *shared = flow->shared;

    json_write_member_string(out, "version", BYTES(EMBERGATE_VERSION));
    write_number(out, "now", clock_wall_ms());
    json_write_member_i64(out, "started", shared->started);
    json_write_member_i64(out, "uptime", clock_wall_s() - shared->started);
    write_number(out, "workers", flow->config->workers);
    write_bool(out, "ready", atomic_load(&shared->ready));
}

/* What the first request needs, for who has just begun: where, which model, whether with a key. */
static void write_door(struct flow *flow, struct buffer *out)
{
    const struct config *config = flow->config;

    begin(out, "door", '{');
    begin(out, "listen", '[');
    for (uint32_t i = 0; i < config->listen_count; i++) {
        const struct config_address *address = &config->listen[i];

        begin_object(out, i);
        json_write_member_string(out, "host", address->host);
        json_write_member_string(out, "unix", address->unix_path);
        write_number(out, "port", address->port);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
    json_write_member_string(out, "model", config->model_count ? config->models[0].name : BYTES_NONE);
    write_bool(out, "keys", flow->keyring != NULL);
    buffer_append_char(out, '}');
}

/* --- counters --- */

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
#define COUNTER(name, kind, help) {#name, offsetof(struct metrics, name)},
    METRICS_TABLE(COUNTER)
#undef COUNTER
};

static void write_counters(const struct flow_shared *shared, struct buffer *out)
{
    begin(out, "metrics", '{');
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        int64_t sum = 0;

        for (unsigned set = 0; set < shared->set_count; set++) {
            const char *at = (const char *)shared->sets[set] + counters[i].offset;

            sum += metrics_read((const _Atomic int64_t *)(const void *)at);
        }
        json_write_member_i64(out, counters[i].name, sum);
    }
    buffer_append_char(out, '}');
}

static void write_totals(const struct flow_shared *shared, struct buffer *out)
{
    struct series_totals totals;

    series_totals(shared->series, shared->set_count, &totals);
    begin(out, "totals", '{');
    write_number(out, "requests", totals.requests);
    write_number(out, "errors", totals.errors);
    write_number(out, "hits", totals.hits);
    write_number(out, "joins", totals.joins);
    write_number(out, "input_tokens", totals.input_tokens);
    write_number(out, "output_tokens", totals.output_tokens);
    buffer_append_char(out, '}');
}

static void write_waiting(const struct flow *flow, struct buffer *out)
{
    const struct flow_shared *shared = flow->shared;
    uint64_t waiting = 0;

    for (uint32_t i = 0; i < flow->config->model_count; i++)
        waiting += shared->model_queues[i] ? queue_length(shared->model_queues[i]) : 0;
    for (uint32_t i = 0; i < flow->config->backend_count; i++)
        waiting += shared->backend_queues[i] ? queue_length(shared->backend_queues[i]) : 0;
    write_number(out, "waiting", waiting);
    /* Exchanges of the administration itself, this one included: they are among those of the metrics. */
    json_write_member_i64(out, "watching", metrics_read(&flow->metrics->exchanges));
}

/* --- histograms --- */

/* As Prometheus' histogram_quantile() has it: along a straight line within its bucket; in the last, unbounded one: its
 * lower bound. Nothing was counted: null. */
static void write_quantile(struct buffer *out, const char *name, const struct series_view *view, double quantile)
{
    uint64_t all = view->buckets ? view->cumulative[view->buckets - 1] : 0;
    double rank = quantile * (double)all;
    unsigned at = 0;
    double low, below;

    json_write_name(out, name);
    if (all == 0) {
        buffer_append_text(out, "null");
        return;
    }
    while (at + 1 < view->buckets && (double)view->cumulative[at] < rank)
        at++;
    low = at ? (double)view->bounds[at - 1] : 0;
    below = at ? (double)view->cumulative[at - 1] : 0;
    if (view->bounds[at] != UINT64_MAX)
        low += ((double)view->bounds[at] - low) * (rank - below) / ((double)view->cumulative[at] - below);
    json_write_double(out, low);
}

static void write_quantiles(struct buffer *out, const struct series_view *view)
{
    write_quantile(out, "p50", view, 0.5);
    write_quantile(out, "p95", view, 0.95);
    write_quantile(out, "p99", view, 0.99);
}

static void write_view(struct buffer *out, const char *name, const struct series_view *view)
{
    begin(out, name, '{');
    begin(out, "bounds", '[');
    for (unsigned i = 0; i < view->buckets; i++) {
        buffer_append_text(out, i ? "," : "");
        if (view->bounds[i] == UINT64_MAX)
            buffer_append_text(out, "null");
        else
            buffer_append_u64(out, view->bounds[i]);
    }
    buffer_append_char(out, ']');
    begin(out, "counts", '[');
    for (unsigned i = 0; i < view->buckets; i++) {
        buffer_append_text(out, i ? "," : "");
        buffer_append_u64(out, view->cumulative[i]);
    }
    buffer_append_char(out, ']');
    write_number(out, "sum", view->sum);
    write_quantiles(out, view);
    buffer_append_char(out, '}');
}

static void write_times(const struct flow_shared *shared, struct buffer *out)
{
    static const struct {
        const char *name;
        enum series_histogram histogram;
    } rows[] = {
        {"duration", SERIES_DURATION}, {"first_token", SERIES_FIRST_TOKEN}, {"gap", SERIES_GAP},
        {"overhead", SERIES_OVERHEAD}, {"lag", SERIES_LAG},
    };

    begin(out, "times", '{');
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct series_view view;

        series_view(shared->series, shared->set_count, rows[i].histogram, BYTES_NONE, &view);
        write_view(out, rows[i].name, &view);
    }
    buffer_append_char(out, '}');
}

/* --- lists --- */

static void write_models(const struct flow_shared *shared, struct buffer *out)
{
    struct series_model_total models[MODELS_MOST];
    unsigned count = series_models(shared->series, shared->set_count, models, MODELS_MOST);

    begin(out, "models", '[');
    for (unsigned i = 0; i < count; i++) {
        struct series_view view;

        series_view(shared->series, shared->set_count, SERIES_DURATION, models[i].model, &view);
        begin_object(out, i);
        json_write_member_string(out, "name", models[i].model);
        write_number(out, "requests", models[i].requests);
        write_number(out, "errors", models[i].errors);
        write_number(out, "hits", models[i].hits);
        write_number(out, "input_tokens", models[i].input_tokens);
        write_number(out, "output_tokens", models[i].output_tokens);
        write_number(out, "cost", models[i].cost);
        write_quantiles(out, &view);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_backends(const struct flow *flow, struct buffer *out)
{
    static const char *const states[] = {"good", "resting", "down"};
    const struct flow_shared *shared = flow->shared;

    begin(out, "backends", '[');
    for (uint32_t i = 0; i < flow->config->backend_count; i++) {
        struct series_backend_total total;

        series_backends(shared->series, shared->set_count, i, &total);
        begin_object(out, i);
        json_write_member_string(out, "name", total.name);
        json_write_member_string(out, "kind", bytes_of(config_kind_name(flow->config->backends[i].kind)));
        json_write_member_string(out, "state", bytes_of(states[total.worst_state < 3 ? total.worst_state : 2]));
        write_number(out, "ok", total.calls[SERIES_CALL_OK]);
        write_number(out, "failed", total.calls[SERIES_CALL_FAILED]);
        write_number(out, "cancelled", total.calls[SERIES_CALL_CANCELLED]);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_keys(const struct flow_shared *shared, struct buffer *out)
{
    struct top_line *lines;
    unsigned count = top_lines(shared->tops, shared->set_count, KEYS_MOST, &lines);

    begin(out, "keys", '[');
    for (unsigned i = 0; i < count; i++) {
        begin_object(out, i);
        json_write_member_string(out, "name", lines[i].name);
        write_number(out, "requests", lines[i].requests);
        write_number(out, "tokens", lines[i].tokens);
        write_number(out, "cost", lines[i].cost);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
    top_lines_free(lines);
}

static void write_failures(const struct flow_shared *shared, struct buffer *out)
{
    struct recent_failure failures[FAILURES_MOST];
    unsigned count = recent_list(shared->recent, failures, FAILURES_MOST);

    begin(out, "failures", '[');
    for (unsigned i = 0; i < count; i++) {
        const struct recent_failure *failure = &failures[i];

        begin_object(out, i);
        write_number(out, "at", failure->wall_ms);
        json_write_member_string(out, "id", bytes_of(failure->id));
        json_write_member_string(out, "key", bytes_of(failure->key));
        json_write_member_string(out, "model", bytes_of(failure->model));
        json_write_member_string(out, "backend", bytes_of(failure->backend));
        json_write_member_string(out, "reason", bytes_of(failure->reason));
        write_number(out, "status", failure->status);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

/* --- the memory and the log --- */

static void write_memory(struct memo *memo, struct buffer *out)
{
    struct memo_stats stats;

    memo_stats(memo, &stats);
    begin(out, "memory", '{');
    write_number(out, "room", stats.memory);
    write_number(out, "entries", stats.entries);
    write_number(out, "bytes", stats.bytes);
    write_number(out, "growing", stats.growing);
#define COUNT(name) write_number(out, #name, stats.counts.name);
    MEMO_COUNTS(COUNT)
#undef COUNT
    buffer_append_char(out, '}');
}

static void write_journal(const struct journal_counts *counts, bool kept, const char *name, struct buffer *out)
{
    begin(out, name, '{');
    write_bool(out, "kept", kept);
    write_number(out, "accepted", counts->accepted);
    write_number(out, "waiting_bytes", counts->waiting_bytes);
    buffer_append_char(out, '}');
}

static void write_log(const struct journal *journal, struct buffer *out)
{
    unsigned count = journal_sink_count(journal);
    struct journal_sink_counts *sinks = alloc_zeroed((count + 1) * sizeof(*sinks));
    struct journal_counts kinds[JOURNAL_KINDS];

    journal_all_counts(journal, kinds, sinks);
    begin(out, "log", '{');
    write_journal(&kinds[JOURNAL_LINES], journal_takes(journal, JOURNAL_LINES), "lines", out);
    write_journal(&kinds[JOURNAL_SPANS], journal_takes(journal, JOURNAL_SPANS), "spans", out);
    begin(out, "sinks", '[');
    for (unsigned i = 0; i < count; i++) {
        begin_object(out, i);
        json_write_member_string(out, "name", bytes_of(sinks[i].name));
        write_bool(out, "good", sinks[i].good);
        write_number(out, "written", sinks[i].written);
        write_number(out, "dropped", sinks[i].dropped);
        write_number(out, "waiting", sinks[i].waiting);
        write_number(out, "bytes", sinks[i].bytes);
        write_number(out, "errors", sinks[i].errors);
        write_number(out, "rotations", sinks[i].rotations);
        buffer_append_char(out, '}');
    }
    buffer_append_text(out, "]}");
    alloc_free(sinks);
}

void status_write(struct flow *flow, struct buffer *out)
{
    struct flow_shared *shared = flow->shared;

    buffer_append_char(out, '{');
    write_process(flow, out);
    write_door(flow, out);
    write_counters(shared, out);
    write_totals(shared, out);
    write_waiting(flow, out);
    write_times(shared, out);
    write_models(shared, out);
    write_backends(flow, out);
    write_keys(shared, out);
    write_failures(shared, out);
    write_memory(flow->memo, out);
    write_log(shared->journal, out);
    buffer_append_char(out, '}');
}
