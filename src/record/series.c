/*
 * What a worker does for each request: a name to its model, four words to their numbers, the numbers to a place, and
 * one more there. All three are looked up in open tables of fixed size that are never emptied.
 *
 * Words are known by their addresses: a word is compared letter by letter only where its address is new, so equal words
 * of different files are one.
 */
#include "record/series_private.h"

#include "base/alloc.h"
#include "base/utf8.h"

#define MIX UINT64_C(0x9E3779B97F4A7C15)
#define ADDRESS_PROBES 8

/* Tells which of two names was there first, whoever met them. */
static _Atomic uint64_t births = 1;

static uint64_t hash_name(struct bytes name)
{
    uint64_t hash = name.size * MIX, word;

    for (; name.size >= sizeof(word); name = bytes_skip(name, sizeof(word))) {
        memcpy(&word, name.data, sizeof(word));
        hash = (hash ^ word) * MIX;
        hash ^= hash >> 29;
    }
    word = 0;
    if (name.size)
        memcpy(&word, name.data, name.size);
    hash = (hash ^ word) * MIX;
    return hash ^ hash >> 32;
}

/* --- models --- */

/* The slot that is NAME's, or would be. */
static uint16_t *model_slot(struct series *series, struct bytes name, uint64_t hash)
{
    for (uint64_t at = hash;; at++) {
        uint16_t *slot = &series->model_slots[at % SERIES_MODEL_SLOTS];
        const struct series_model *model = *slot ? series->models[*slot - 1] : NULL;

        if (!model || (model->hash == hash && bytes_equal(model->name, name)))
            return slot;
    }
}

static struct series_model *add_model(struct series *series, struct bytes name, uint64_t hash, bool copy)
{
    uint32_t index = atomic_load_explicit(&series->model_count, memory_order_relaxed);
    struct series_model *model = alloc_zeroed(sizeof(*model) + (copy ? name.size : 0));

    if (copy && name.size)
        memcpy(model->text, name.data, name.size);
    model->name = copy ? (struct bytes){model->text, name.size} : name;
    model->hash = hash;
    model->born = index < MODELS_FIXED ? 0 : atomic_fetch_add_explicit(&births, 1, memory_order_relaxed);
    model->index = index;
    *model_slot(series, name, hash) = (uint16_t)(index + 1);
    series->models[index] = model;
    atomic_store_explicit(&series->model_count, index + 1, memory_order_release);
    return model;
}

static struct series_model *find_model(struct series *series, struct bytes name, bool copy)
{
    uint64_t hash;
    uint16_t slot;

    if (name.size == 0)
        return series->models[MODEL_NONE];
    if (name.size > SERIES_NAME_BYTES)
        return series->models[MODEL_OTHER];
    hash = hash_name(name);
    slot = *model_slot(series, name, hash);
    if (slot)
        return series->models[slot - 1];
    if (atomic_load_explicit(&series->model_count, memory_order_relaxed) == ARRAY_SIZE(series->models) ||
        !utf8_valid(name) || memchr(name.data, 0, name.size))
        return series->models[MODEL_OTHER];
    return add_model(series, name, hash, copy);
}

struct series_model *series_model(struct series *series, struct bytes name)
{
    return find_model(series, name, true);
}

struct series_model *series_model_view(struct series *series, struct bytes name)
{
    return find_model(series, name, false);
}

void series_add(struct series_model *model, enum series_histogram histogram, uint64_t value)
{
    histogram_add(&model->histograms[histogram], &series_rows[histogram].shape, value);
}

void series_add_cost(struct series_model *model, uint64_t millionths)
{
    counter_add(&model->cost, millionths);
}

/* --- words --- */

static uint32_t word_by_letters(struct series *series, const char *word)
{
    for (uint32_t i = 0; i < series->word_count; i++)
        if (strcmp(series->words[i], word) == 0)
            return i;
    if (series->word_count == SERIES_WORDS)
        return WORD_OTHER;
    series->words[series->word_count] = word;
    return series->word_count++;
}

static uint32_t word_number(struct series *series, const char *word)
{
    uint64_t at = (uint64_t)(uintptr_t)word * MIX >> 40;
    uint32_t number;

    if (!word)
        return WORD_NONE;
    for (unsigned i = 0; i < ADDRESS_PROBES; i++, at++) {
        uint64_t slot = at % SERIES_ADDRESSES;

        if (series->addresses[slot].address == word)
            return series->addresses[slot].word;
        if (series->addresses[slot].address)
            continue;
        number = word_by_letters(series, word);
        series->addresses[slot].address = word;
        series->addresses[slot].word = number;
        return number;
    }
    return word_by_letters(series, word);
}

/* --- requests --- */

/* The place of KEY, made when there is room; NULL: there is none. */
static struct series_place *find_place(struct series *series, uint64_t key, uint32_t most)
{
    uint32_t count = atomic_load_explicit(&series->place_count, memory_order_relaxed);

    for (uint64_t at = (key ^ key >> 32) * MIX >> 32;; at++) {
        uint32_t *slot = &series->place_slots[at & series->place_mask];

        if (*slot && series->places[*slot - 1].key == key)
            return &series->places[*slot - 1];
        if (*slot)
            continue;
        if (count >= most)
            return NULL;
        series->places[count].key = key;
        *slot = count + 1;
        atomic_store_explicit(&series->place_count, count + 1, memory_order_release);
        return &series->places[count];
    }
}

static uint64_t key_of(struct series *series, const struct series_model *model, const struct series_request *request)
{
    uint64_t status = request->status > 999 ? 0 : request->status;

    return (uint64_t)model->index << 48 | status << 32 | (uint64_t)word_number(series, request->dialect) << 24 |
           word_number(series, request->operation) << 16 | word_number(series, request->cache) << 8 |
           word_number(series, request->outcome);
}

void series_count_more(struct series *series, const struct series_model *model, const struct series_request *request,
                       uint64_t amount)
{
    struct series_place *place = find_place(series, key_of(series, model, request), series->places_most - 1);

    if (!place)
        place = find_place(series, (uint64_t)MODEL_OTHER << 48, series->places_most);
    counter_add(&place->count, amount);
}

void series_count(struct series *series, const struct series_request *request)
{
    series_count_more(series, series_model(series, request->model), request, 1);
}

/* --- backends --- */

void series_call(struct series *series, uint32_t backend, enum series_call outcome)
{
    if (backend < series->backend_count)
        counter_add(&series->backends[backend].calls[outcome], 1);
}

void series_backend_wait(struct series *series, uint32_t backend, uint64_t first_byte_us)
{
    if (backend < series->backend_count)
        histogram_add(&series->backends[backend].first_byte, &series_rows[SERIES_FIRST_TOKEN].shape, first_byte_us);
}

void series_backend_state(struct series *series, uint32_t backend, unsigned state)
{
    if (backend < series->backend_count && state < BACKEND_STATES)
        atomic_store_explicit(&series->backends[backend].state, state, memory_order_relaxed);
}

/* --- life --- */

static void backend_init(struct series_backend *backend, struct bytes name)
{
    backend->name = name;
    atomic_init(&backend->state, BACKEND_UNSEEN);
}

struct series *series_make(const struct bytes *backends, uint32_t backend_count, uint32_t places_most)
{
    struct series *series = ALLOC_NEW(struct series);
    uint32_t slots = 1;

    while (slots < 2 * places_most)
        slots *= 2;
    series->places_most = places_most;
    series->place_mask = slots - 1;
    series->place_slots = alloc_zeroed(slots * sizeof(*series->place_slots));
    series->places = alloc_zeroed(places_most * sizeof(*series->places));
    series->words[WORD_OTHER] = "other";
    series->words[WORD_NONE] = "";
    series->word_count = WORDS_FIXED;
    add_model(series, BYTES(""), hash_name(BYTES("")), false);
    add_model(series, BYTES("other"), hash_name(BYTES("other")), false);
    series->backend_count = backend_count;
    series->backends = alloc_zeroed((backend_count + 1) * sizeof(*series->backends));
    for (uint32_t i = 0; i < backend_count; i++)
        backend_init(&series->backends[i], backends[i]);
    return series;
}

struct series *series_new(const struct bytes *backends, uint32_t backend_count)
{
    return series_make(backends, backend_count, SERIES_PLACES);
}

struct series *series_free(struct series *series)
{
    if (!series)
        return NULL;
    for (uint32_t i = 0; i < series_model_count(series); i++)
        alloc_free(series->models[i]);
    alloc_free(series->places);
    alloc_free(series->place_slots);
    alloc_free(series->backends);
    return alloc_free(series);
}
