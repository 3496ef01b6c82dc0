/*
 * What a scrape reads: every worker's counters, the memory's, the log's, the limits' and the process's, in one go on
 * the administration's thread. No worker hears of it.
 */
#include "flow/metrics_page.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/journal.h"
#include "record/process.h"
#include "record/prometheus.h"
#include "record/series.h"

#include <stddef.h>

/* The scopes of the configuration, the keys' aside, whose limits are told. */
#define SCOPES_MOST 200
/* Room for a page of a few models. */
#define PAGE_BYTES 65536

/* --- the log --- */

/* What is told of each sink. Those of spans are told under another name. */
static const struct {
    const char *lines, *spans, *kind, *help;
    size_t offset;
} sink_rows[] = {
#define ROW(name, kind, help, member)                                                                                  \
    {"embergate_log_" name, "embergate_spans_" name, kind, help, offsetof(struct journal_sink_counts, member)},
    ROW("written_total", "counter", "Written by a sink", written)
    ROW("dropped_total", "counter", "Dropped by a sink, for want of room", dropped)
    ROW("waiting", "gauge", "Accepted, and neither written nor dropped yet", waiting)
    ROW("written_bytes_total", "counter", "Bytes written by a sink", bytes)
    ROW("errors_total", "counter", "Writes of a sink that failed", errors)
    ROW("rotations_total", "counter", "Times a sink began a new file", rotations)
#undef ROW
};

struct sinks {
    struct journal_sink_counts *list;
    unsigned count;
};

static void write_up(const struct sinks *sinks, enum journal_kind kind, struct buffer *out)
{
    const char *name = kind == JOURNAL_SPANS ? "embergate_spans_sink_up" : "embergate_log_sink_up";

    prometheus_family(out, name, "gauge", "Whether a sink's last write went well");
    for (unsigned i = 0; i < sinks->count; i++) {
        const struct prometheus_label label = {"sink", bytes_of(sinks->list[i].name)};

        if (sinks->list[i].kind == kind)
            prometheus_sample(out, &(struct prometheus_series){name, &label, 1}, sinks->list[i].good);
    }
}

static void write_sinks(const struct sinks *sinks, enum journal_kind kind, struct buffer *out)
{
    for (size_t row = 0; row < ARRAY_SIZE(sink_rows); row++) {
        const char *name = kind == JOURNAL_SPANS ? sink_rows[row].spans : sink_rows[row].lines;

        prometheus_family(out, name, sink_rows[row].kind, sink_rows[row].help);
        for (unsigned i = 0; i < sinks->count; i++) {
            const struct prometheus_label label = {"sink", bytes_of(sinks->list[i].name)};
            const char *counts = (const char *)&sinks->list[i];
            uint64_t value;

            memcpy(&value, counts + sink_rows[row].offset, sizeof(value));
            if (sinks->list[i].kind == kind)
                prometheus_sample(out, &(struct prometheus_series){name, &label, 1}, (int64_t)value);
        }
    }
    write_up(sinks, kind, out);
}

static void write_log(const struct journal *journal, struct buffer *out)
{
    struct sinks sinks = {.count = journal_sink_count(journal)};
    struct journal_counts kinds[JOURNAL_KINDS];

    sinks.list = alloc_zeroed((sinks.count + 1) * sizeof(struct journal_sink_counts));
    journal_all_counts(journal, kinds, sinks.list);
    prometheus_single(out, "embergate_log_accepted_total", "counter", "Lines for the request log",
                      (int64_t)kinds[JOURNAL_LINES].accepted);
    prometheus_single(out, "embergate_log_waiting_bytes", "gauge", "Bytes of lines that are not in all sinks yet",
                      (int64_t)kinds[JOURNAL_LINES].waiting_bytes);
    write_sinks(&sinks, JOURNAL_LINES, out);
    if (journal_takes(journal, JOURNAL_SPANS)) {
        prometheus_single(out, "embergate_spans_accepted_total", "counter", "Spans for the exporter",
                          (int64_t)kinds[JOURNAL_SPANS].accepted);
        prometheus_single(out, "embergate_spans_waiting_bytes", "gauge", "Bytes of spans that were not taken yet",
                          (int64_t)kinds[JOURNAL_SPANS].waiting_bytes);
        write_sinks(&sinks, JOURNAL_SPANS, out);
    }
    alloc_free(sinks.list);
}

/* --- the limits --- */

/* Two families at once: each needs the same look at a scope. */
struct limits_told_of {
    struct admit_time now;
    unsigned scopes;
    struct buffer used, most;
};

static void write_limit(struct buffer *out, const char *name, const struct scope *scope, enum quota_limit limit,
                        uint64_t value)
{
    const struct prometheus_label labels[] = {
        {"scope", bytes_of(scope_kind_name(scope_kind(scope)))},
        {"name", scope_name(scope)},
        {"limit", bytes_of(quota_limit_name(limit))},
    };
    const struct prometheus_series series = {name, labels, ARRAY_SIZE(labels)};

    if (limit == QUOTA_MONEY_DAY || limit == QUOTA_MONEY_MONTH)
        prometheus_sample_decimal(out, &series, value);
    else
        prometheus_sample(out, &series, (int64_t)value);
}

static void write_scope(struct limits_told_of *told, struct scope *scope)
{
    struct scope_line lines[QUOTA_LIMITS];
    unsigned count;

    if (!scope || told->scopes++ >= SCOPES_MOST)
        return;
    count = scope_lines(scope, told->now, lines);
    for (unsigned i = 0; i < count; i++) {
        write_limit(&told->used, "embergate_limit_used", scope, lines[i].limit, lines[i].used);
        write_limit(&told->most, "embergate_limit_most", scope, lines[i].limit, lines[i].most);
    }
}

/* Where Redis keeps the books, what is known here is not the truth: /usage asks it. Keys are too many: /usage again. */
static void write_limits(const struct flow *flow, struct buffer *out)
{
    struct limits_told_of told = {.now = {clock_us(), clock_wall_s()}};
    const struct config *config = flow->config;

    if (config->admission.redis.used)
        return;
    buffer_init(&told.used);
    buffer_init(&told.most);
    prometheus_family(&told.used, "embergate_limit_used", "gauge", "What was used of a limit (money in the currency)");
    prometheus_family(&told.most, "embergate_limit_most", "gauge", "What a limit lets through");
    write_scope(&told, flow->scopes.gateway);
    for (uint32_t i = 0; i < config->team_count; i++)
        write_scope(&told, flow->scopes.teams[i]);
    for (uint32_t i = 0; i < config->model_count; i++)
        write_scope(&told, flow->scopes.models[i]);
    for (uint32_t i = 0; i < config->backend_count; i++)
        write_scope(&told, flow->scopes.backends[i]);
    buffer_append(out, buffer_bytes(&told.used));
    buffer_append(out, buffer_bytes(&told.most));
    buffer_deinit(&told.used);
    buffer_deinit(&told.most);
}

/* --- the page --- */

static void write_gateway(struct flow_shared *shared, struct buffer *out)
{
    const struct prometheus_label labels[] = {
        {"version", BYTES(EMBERGATE_VERSION)},
        {"compiler", BYTES(__VERSION__)},
        {"libuv", bytes_of(uv_version_string())},
    };

    prometheus_family(out, "embergate_build_info", "gauge", "What runs here; always 1");
    prometheus_sample(out, &(struct prometheus_series){"embergate_build_info", labels, ARRAY_SIZE(labels)}, 1);
    prometheus_single(out, "embergate_ready", "gauge", "Whether /readyz says so", atomic_load(&shared->ready));
}

enum verdict metrics_page(struct exchange *x)
{
    struct flow_shared *shared = x->flow->shared;
    struct buffer body;

    buffer_init(&body);
    buffer_reserve(&body, PAGE_BYTES);
    write_gateway(shared, &body);
    metrics_write(shared->sets, shared->set_count, &body);
    series_write(shared->series, shared->set_count, &body);
    cache_metrics_write(x->flow, &body);
    write_limits(x->flow, &body);
    write_log(shared->journal, &body);
    process_write(shared->started, &body);
    x->quiet = true;
    deliver_page(x, 200, PROMETHEUS_CONTENT_TYPE, buffer_bytes(&body));
    buffer_deinit(&body);
    return STEP_DONE;
}
