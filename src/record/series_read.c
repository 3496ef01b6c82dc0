/*
 * What all workers counted, as one. A name that several workers met is one model; where the workers together know more
 * names than are told apart, the oldest stay: so no counter moves to "other" once it was seen.
 */
#include "record/series_private.h"

#include "base/alloc.h"

#include <stdlib.h>

static int by_birth(const void *a, const void *b)
{
    const struct series_model *one = *(const struct series_model *const *)a;
    const struct series_model *other = *(const struct series_model *const *)b;

    return (one->born > other->born) - (one->born < other->born);
}

/* The models of all SETS, the oldest first; the caller frees the list. */
static const struct series_model **list_models(struct series *const *sets, unsigned count, uint32_t *ret_count)
{
    const struct series_model **list =
        alloc_bytes((count + 1) * (MODELS_FIXED + SERIES_MODELS) * sizeof(const struct series_model *));
    uint32_t all = 0;

    for (unsigned i = 0; i < count; i++)
        for (uint32_t model = 0, models = series_model_count(sets[i]); model < models; model++)
            list[all++] = sets[i]->models[model];
    qsort(list, all, sizeof(list[0]), by_birth);
    *ret_count = all;
    return list;
}

static void merge_models(struct series *all, struct series *const *sets, unsigned count)
{
    uint32_t models;
    const struct series_model **list = list_models(sets, count, &models);

    for (uint32_t i = 0; i < models; i++) {
        struct series_model *model = series_model_view(all, list[i]->name);

        counter_add(&model->cost, counter_read(&list[i]->cost));
        for (unsigned row = 0; row < SERIES_HISTOGRAMS; row++)
            histogram_fold(&model->histograms[row], &list[i]->histograms[row]);
    }
    alloc_free(list);
}

static void merge_places(struct series *all, const struct series *set)
{
    uint32_t count = series_place_count(set);

    for (uint32_t i = 0; i < count; i++) {
        struct series_request request = series_place_request(set, &set->places[i]);

        series_count_more(all, series_model_view(all, request.model), &request, counter_read(&set->places[i].count));
    }
}

struct series *series_merge(struct series *const *sets, unsigned count)
{
    struct series *all = series_make(NULL, 0, SERIES_PLACES * (count + 1));

    merge_models(all, sets, count);
    for (unsigned i = 0; i < count; i++)
        merge_places(all, sets[i]);
    return all;
}

/* --- what pages show --- */

static bool is_word(const char *word, const char *wanted)
{
    return strcmp(word, wanted) == 0;
}

/* Refused or failed. A client that left made no error. */
static bool is_error(const struct series_request *request)
{
    return !is_word(request->outcome, "ok") && strncmp(request->outcome, "client_", 7) != 0;
}

void series_totals(struct series *const *sets, unsigned count, struct series_totals *ret)
{
    struct series_totals all = {0};

    for (unsigned i = 0; i < count; i++) {
        for (uint32_t place = 0, places = series_place_count(sets[i]); place < places; place++) {
            struct series_request request = series_place_request(sets[i], &sets[i]->places[place]);
            uint64_t requests = counter_read(&sets[i]->places[place].count);

            all.requests += requests;
            all.errors += is_error(&request) ? requests : 0;
            all.hits += is_word(request.cache, "hit") ? requests : 0;
            all.joins += is_word(request.cache, "join") ? requests : 0;
        }
        for (uint32_t model = 0, models = series_model_count(sets[i]); model < models; model++) {
            const struct histogram *histograms = sets[i]->models[model]->histograms;

            all.input_tokens += counter_read(&histograms[SERIES_INPUT_TOKENS].sum);
            all.output_tokens += counter_read(&histograms[SERIES_OUTPUT_TOKENS].sum);
        }
    }
    *ret = all;
}

static void view_of(const struct histogram *histogram, const struct histogram_shape *shape, struct series_view *ret)
{
    uint64_t before = 0;

    *ret = (struct series_view){.buckets = shape->count + 1, .sum = counter_read(&histogram->sum)};
    for (unsigned i = 0; i < ret->buckets; i++) {
        before += counter_read(&histogram->buckets[i]);
        ret->cumulative[i] = before;
        ret->bounds[i] = i < shape->count ? shape->bounds[i] : UINT64_MAX;
    }
}

void series_view(struct series *const *sets, unsigned count, enum series_histogram histogram, struct bytes model,
                 struct series_view *ret)
{
    struct histogram sum = {0};

    for (unsigned i = 0; i < count; i++)
        for (uint32_t at = 0, models = series_model_count(sets[i]); at < models; at++)
            if (!model.size || bytes_equal(sets[i]->models[at]->name, model))
                histogram_fold(&sum, &sets[i]->models[at]->histograms[histogram]);
    view_of(&sum, &series_rows[histogram].shape, ret);
}

/* Those with more requests first. */
static int by_requests(const void *a, const void *b)
{
    uint64_t one = ((const struct series_model_total *)a)->requests;
    uint64_t other = ((const struct series_model_total *)b)->requests;

    return (one < other) - (one > other);
}

static void total_places(const struct series *all, struct series_model_total *totals)
{
    for (uint32_t i = 0, places = series_place_count(all); i < places; i++) {
        struct series_request request = series_place_request(all, &all->places[i]);
        struct series_model_total *total = &totals[series_place_model(&all->places[i])];
        uint64_t requests = counter_read(&all->places[i].count);

        total->requests += requests;
        total->errors += is_error(&request) ? requests : 0;
        total->hits += is_word(request.cache, "hit") ? requests : 0;
    }
}

unsigned series_models(struct series *const *sets, unsigned count, struct series_model_total *ret, unsigned most)
{
    struct series_model_total totals[MODELS_FIXED + SERIES_MODELS] = {0};
    struct series *all = series_merge(sets, count);
    uint32_t models = series_model_count(all);
    unsigned told = 0;

    total_places(all, totals);
    for (uint32_t i = 0; i < models; i++) {
        const struct series_model *model = all->models[i];

        totals[i].model = model->name;
        totals[i].input_tokens = counter_read(&model->histograms[SERIES_INPUT_TOKENS].sum);
        totals[i].output_tokens = counter_read(&model->histograms[SERIES_OUTPUT_TOKENS].sum);
        totals[i].cost = counter_read(&model->cost);
    }
    totals[MODEL_NONE].requests = 0;        /* of no model, so not told */
    qsort(totals, models, sizeof(totals[0]), by_requests);
    while (told < models && told < most && totals[told].requests) {
        ret[told] = totals[told];
        told++;
    }
    series_free(all);
    return told;
}

void series_backends(struct series *const *sets, unsigned count, uint32_t backend, struct series_backend_total *ret)
{
    struct series_backend_total all = {0};

    for (unsigned i = 0; i < count; i++) {
        const struct series_backend *seen = series_backend_seen(sets[i], backend);
        unsigned state;

        if (!seen)
            continue;
        state = atomic_load_explicit(&seen->state, memory_order_relaxed);
        all.name = seen->name;
        all.worst_state = state != BACKEND_UNSEEN && state > all.worst_state ? state : all.worst_state;
        for (unsigned call = 0; call < SERIES_CALLS; call++)
            all.calls[call] += counter_read(&seen->calls[call]);
    }
    *ret = all;
}
