/*
 * The series as a scrape reads them: all workers merged first, then family by family.
 */
#include "record/prometheus.h"
#include "record/series_private.h"

#include <stdio.h>

static void write_place(const struct series_request *request, uint64_t count, struct buffer *out)
{
    char status[12];
    int size = snprintf(status, sizeof(status), "%u", request->status);
    const struct prometheus_label labels[] = {
        {"dialect", bytes_of(request->dialect)}, {"operation", bytes_of(request->operation)},
        {"model", request->model},               {"status", {status, (size_t)size}},
        {"cache", bytes_of(request->cache)},     {"outcome", bytes_of(request->outcome)},
    };

    prometheus_sample(out, &(struct prometheus_series){"embergate_requests_total", labels, ARRAY_SIZE(labels)},
                      (int64_t)count);
}

static void write_requests(const struct series *all, struct buffer *out)
{
    uint32_t places = series_place_count(all);

    prometheus_family(out, "embergate_requests_total", "counter", "Requests that ended, by what became of them");
    for (uint32_t i = 0; i < places; i++) {
        struct series_request request = series_place_request(all, &all->places[i]);

        write_place(&request, counter_read(&all->places[i].count), out);
    }
}

static void write_histogram(struct buffer *out, const struct prometheus_series *series,
                            const struct histogram *histogram, const struct histogram_shape *shape, bool decimal)
{
    struct prometheus_buckets buckets = {.bounds = shape->bounds, .count = shape->count + 1, .decimal = decimal};
    uint64_t cumulative[HISTOGRAM_BUCKETS], before = 0;

    for (unsigned i = 0; i < buckets.count; i++) {
        before += counter_read(&histogram->buckets[i]);
        cumulative[i] = before;
    }
    buckets.cumulative = cumulative;
    buckets.sum = counter_read(&histogram->sum);
    prometheus_histogram(out, series, &buckets);
}

/* Of the models that have any. */
static void write_row(const struct series *all, const struct series_row *row, unsigned histogram, struct buffer *out)
{
    uint32_t models = series_model_count(all);
    bool ours = strncmp(row->name, "embergate_", 10) == 0;

    for (uint32_t i = 0; i < models; i++) {
        const struct series_model *model = all->models[i];
        const struct prometheus_label labels[] = {
            {ours ? "model" : "gen_ai_request_model", model->name},
            {row->label.name, bytes_of(row->label.value)},
        };

        if (histogram_count(&model->histograms[histogram]))
            write_histogram(out, &(struct prometheus_series){row->name, labels, row->label.name ? 2 : 1},
                            &model->histograms[histogram], &row->shape, !row->tokens);
    }
}

static void write_models(const struct series *all, struct buffer *out)
{
    uint32_t models = series_model_count(all);

    for (unsigned i = 0; i < SERIES_HISTOGRAMS; i++) {
        const struct series_row *row = &series_rows[i];

        if (i == 0 || strcmp(row->name, series_rows[i - 1].name) != 0)
            prometheus_family(out, row->name, "histogram", row->help);
        write_row(all, row, i, out);
    }
    prometheus_family(out, "embergate_cost_total", "counter", "What the backends' answers cost, in the currency");
    for (uint32_t i = 0; i < models; i++) {
        const struct prometheus_label label = {"model", all->models[i]->name};
        uint64_t cost = counter_read(&all->models[i]->cost);

        if (cost || i >= MODELS_FIXED)
            prometheus_sample_decimal(out, &(struct prometheus_series){"embergate_cost_total", &label, 1}, cost);
    }
}

/* --- backends --- */

static const char *const call_words[SERIES_CALLS] = {"ok", "failed", "cancelled"};
static const char *const state_words[BACKEND_STATES] = {"good", "resting", "down"};

/* One backend, as all workers see it. */
struct backend_sum {
    struct bytes name;
    uint64_t calls[SERIES_CALLS];
    unsigned states[BACKEND_STATES];
    struct histogram first_byte;
};

static struct backend_sum sum_backend(struct series *const *sets, unsigned count, uint32_t backend)
{
    struct backend_sum sum = {0};

    for (unsigned i = 0; i < count; i++) {
        const struct series_backend *seen = series_backend_seen(sets[i], backend);
        unsigned state;

        if (!seen)
            continue;
        sum.name = seen->name;
        state = atomic_load_explicit(&seen->state, memory_order_relaxed);
        sum.states[state < BACKEND_STATES ? state : 0] += state < BACKEND_STATES;
        histogram_fold(&sum.first_byte, &seen->first_byte);
        for (unsigned call = 0; call < SERIES_CALLS; call++)
            sum.calls[call] += counter_read(&seen->calls[call]);
    }
    return sum;
}

static void write_words(struct buffer *out, const char *name, struct bytes backend, const char *label,
                        const char *word, uint64_t value)
{
    const struct prometheus_label labels[] = {{"backend", backend}, {label, bytes_of(word)}};

    prometheus_sample(out, &(struct prometheus_series){name, labels, 2}, (int64_t)value);
}

static void write_backends(struct series *const *sets, unsigned count, struct buffer *out)
{
    struct buffer states, waits;
    uint32_t backends = 0;

    for (unsigned i = 0; i < count; i++)
        backends = sets[i]->backend_count > backends ? sets[i]->backend_count : backends;
    buffer_init(&states);
    buffer_init(&waits);
    prometheus_family(out, "embergate_backend_calls_total", "counter", "Calls of a backend that ended");
    prometheus_family(&states, "embergate_backend_state", "gauge", "Workers that see a backend so");
    prometheus_family(&waits, "embergate_backend_first_byte_seconds", "histogram",
                      "From the connection to the first event of an answer, of one not streamed until it is whole");
    for (uint32_t i = 0; i < backends; i++) {
        struct backend_sum sum = sum_backend(sets, count, i);
        const struct prometheus_label label = {"backend", sum.name};

        for (unsigned call = 0; call < SERIES_CALLS; call++)
            write_words(out, "embergate_backend_calls_total", sum.name, "outcome", call_words[call], sum.calls[call]);
        for (unsigned state = 0; state < BACKEND_STATES; state++)
            write_words(&states, "embergate_backend_state", sum.name, "state", state_words[state], sum.states[state]);
        write_histogram(&waits, &(struct prometheus_series){"embergate_backend_first_byte_seconds", &label, 1},
                        &sum.first_byte, &series_rows[SERIES_FIRST_TOKEN].shape, true);
    }
    buffer_append(out, buffer_bytes(&states));
    buffer_append(out, buffer_bytes(&waits));
    buffer_deinit(&states);
    buffer_deinit(&waits);
}

void series_write(struct series *const *sets, unsigned count, struct buffer *out)
{
    struct series *all = series_merge(sets, count);

    write_requests(all, out);
    write_models(all, out);
    write_backends(sets, count, out);
    series_free(all);
}
