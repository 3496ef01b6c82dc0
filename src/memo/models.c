/*
 * Models by name in an open table that only grows, so that finding one takes no lock. A model's epoch moves whenever
 * all that was remembered for it must go; nothing is searched then: each entry is held against the epoch when it is
 * next looked at.
 */
#include "memo/models.h"

#include "base/alloc.h"
#include "memo/memo_private.h"

#define TABLE_SIZE (2 * MODELS_MOST)
#define LONGEST_NAME 4096

/* --- names as numbers --- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash(uint64_t seed, struct bytes text)
{
    uint64_t sum = mix(seed ^ text.size, 0x9e3779b97f4a7c15), word;

    for (; text.size >= sizeof(word); text = bytes_skip(text, sizeof(word))) {
        memcpy(&word, text.data, sizeof(word));
        sum = mix(sum ^ word, 0xa0761d6478bd642f);
    }
    word = 0;
    if (text.size)
        memcpy(&word, text.data, text.size);
    return mix(sum ^ word, 0xe7037ed1a0b428db);
}

/* --- the table --- */

void models_init(struct models *models, uint64_t seed)
{
    memset(models, 0, sizeof(*models));
    models->seed = seed;
    uv_mutex_init(&models->lock);
}

void models_deinit(struct models *models)
{
    struct memo_model *model;

    for (uint32_t i = 0; (model = models_at(models, i)); i++) {
        uv_mutex_destroy(&model->lock);
        alloc_free(model->sources);
        alloc_free(model->name);
        alloc_free(model);
    }
    uv_mutex_destroy(&models->lock);
}

/* NAME's model, or NULL and the free place where it would be. The table is never more than half full. */
static struct memo_model *look_up(struct models *models, struct bytes name, size_t *ret_at)
{
    size_t at = hash(models->seed, name) % TABLE_SIZE;
    struct memo_model *model;

    while ((model = atomic_load_explicit(&models->table[at], memory_order_acquire))) {
        if (bytes_equal(memo_model_name(model), name))
            return model;
        at = (at + 1) % TABLE_SIZE;
    }
    *ret_at = at;
    return NULL;
}

static struct memo_model *add(struct models *models, struct bytes name)
{
    struct memo_model *model = ALLOC_NEW(struct memo_model);
    uint32_t count = atomic_load_explicit(&models->count, memory_order_relaxed);

    model->name = alloc_bytes(name.size);
    model->name_size = name.size;
    if (name.size)
        memcpy(model->name, name.data, name.size);
    uv_mutex_init(&model->lock);
    atomic_store_explicit(&models->order[count], model, memory_order_relaxed);
    atomic_store_explicit(&models->count, count + 1, memory_order_release);
    return model;
}

static bool has_no_place(struct models *models, struct bytes name)
{
    return name.size > LONGEST_NAME || atomic_load_explicit(&models->named, memory_order_relaxed) == MODELS_MOST;
}

/* The one of all names that have none of their own. */
static struct memo_model *add_shared(struct models *models)
{
    struct memo_model *model = atomic_load_explicit(&models->shared, memory_order_relaxed);

    if (!model) {
        model = add(models, BYTES("*"));
        atomic_store_explicit(&models->shared, model, memory_order_release);
    }
    return model;
}

struct memo_model *models_get(struct models *models, struct bytes name)
{
    struct memo_model *model;
    size_t at;

    model = look_up(models, name, &at);
    if (!model && has_no_place(models, name))
        model = atomic_load_explicit(&models->shared, memory_order_acquire);
    if (model)
        return model;
    uv_mutex_lock(&models->lock);
    model = look_up(models, name, &at);
    if (!model && has_no_place(models, name)) {
        model = add_shared(models);
    } else if (!model) {
        model = add(models, name);
        atomic_fetch_add_explicit(&models->named, 1, memory_order_relaxed);
        atomic_store_explicit(&models->table[at], model, memory_order_release);
    }
    uv_mutex_unlock(&models->lock);
    return model;
}

struct memo_model *models_find(struct models *models, struct bytes name)
{
    size_t at;
    struct memo_model *model = look_up(models, name, &at);

    return model ? model : atomic_load_explicit(&models->shared, memory_order_acquire);
}

struct memo_model *models_at(struct models *models, uint32_t index)
{
    if (index >= atomic_load_explicit(&models->count, memory_order_acquire))
        return NULL;
    return atomic_load_explicit(&models->order[index], memory_order_relaxed);
}

struct bytes memo_model_name(const struct memo_model *model)
{
    return (struct bytes){model->name, model->name_size};
}

/* --- epochs and stamps --- */

void model_move_epoch(struct memo_model *model)
{
    atomic_fetch_add_explicit(&model->epoch, 1, memory_order_acq_rel);
}

uint64_t memo_model_stamp(const struct memo_model *model)
{
    return atomic_load_explicit(&model->stamp, memory_order_acquire);
}

/* The first stamp ever heard says nothing of a change, and one that was set because the epoch moved is that epoch's. */
void memo_model_set_stamp(struct memo *memo, struct memo_model *model, uint64_t stamp)
{
    uint64_t before, epoch;

    uv_mutex_lock(&model->lock);
    before = memo_model_stamp(model);
    epoch = model_epoch(model);
    if (before && before != stamp && !memo_model_stamp_is_old(model))
        epoch = atomic_fetch_add_explicit(&model->epoch, 1, memory_order_acq_rel) + 1;
    if (before != stamp)
        atomic_store_explicit(&model->stamped, epoch, memory_order_release);
    atomic_store_explicit(&model->stamp, stamp, memory_order_release);
    if (model->next_stamp == stamp)
        model->next_stamp = 0;
    uv_mutex_unlock(&model->lock);
}

uint64_t memo_model_next_stamp(struct memo_model *model, uint64_t fresh)
{
    uint64_t stamp;

    uv_mutex_lock(&model->lock);
    if (!model->next_stamp || model->next_epoch != model_epoch(model)) {
        model->next_stamp = fresh;
        model->next_epoch = model_epoch(model);
    }
    stamp = model->next_stamp;
    uv_mutex_unlock(&model->lock);
    return stamp;
}

bool memo_model_stamp_is_old(const struct memo_model *model)
{
    return model_epoch(model) != atomic_load_explicit(&model->stamped, memory_order_acquire);
}

/* --- fingerprints --- */

/* NULL: not known, and no room to. */
static struct model_source *source_of(struct memo_model *model, uint64_t who)
{
    for (uint32_t i = 0; i < model->source_count; i++) {
        if (model->sources[i].who == who)
            return &model->sources[i];
    }
    if (model->source_count == MODEL_SOURCES)
        return NULL;
    if (model->source_count == model->source_room) {
        model->source_room = model->source_room ? 2 * model->source_room : 4;
        model->sources = alloc_resize(model->sources, model->source_room * sizeof(*model->sources));
    }
    model->sources[model->source_count] = (struct model_source){.who = who};
    return &model->sources[model->source_count++];
}

/* The model's lock is held. */
static enum model_word hear(struct memo_model *model, uint64_t who, uint64_t fingerprint, bool recalled,
                            uint64_t *epoch)
{
    struct model_source *source;
    uint64_t asked_in = *epoch;

    if (asked_in != model_epoch(model))
        return WORD_OTHER;
    source = source_of(model, who);
    if (!source || !source->fingerprint || source->fingerprint == fingerprint) {
        if (source)
            source->fingerprint = fingerprint;
        return WORD_SAME;
    }
    /* Somebody may move it at this moment: then this answer is of an earlier epoch too. */
    if (recalled || !atomic_compare_exchange_strong(&model->epoch, &asked_in, asked_in + 1))
        return WORD_OTHER;
    source->fingerprint = fingerprint;
    *epoch = asked_in + 1;
    return WORD_NEW;
}

static uint64_t fingerprint_of(const struct models *models, const struct transcript_facts *facts)
{
    return hash(models->seed, facts->fingerprint) | 1;
}

static uint64_t who_of(const struct models *models, const struct transcript_facts *facts)
{
    return hash(hash(models->seed, facts->backend), facts->model);
}

enum model_word model_hear(struct models *models, struct memo_model *model, const struct transcript_facts *facts,
                           uint64_t *epoch)
{
    enum model_word word;

    if (!facts->fingerprint.size)
        return WORD_SAME;
    uv_mutex_lock(&model->lock);
    word = hear(model, who_of(models, facts), fingerprint_of(models, facts), facts->recalled, epoch);
    uv_mutex_unlock(&model->lock);
    if (word == WORD_NEW)
        memo_count(model, MEMO_COUNT_fingerprints);
    return word;
}

bool model_knows_better(struct models *models, struct memo_model *model, const struct transcript_facts *facts)
{
    uint64_t who = who_of(models, facts);
    bool better = false;

    if (!facts->fingerprint.size)
        return false;
    uv_mutex_lock(&model->lock);
    for (uint32_t i = 0; i < model->source_count; i++)
        if (model->sources[i].who == who && model->sources[i].fingerprint)
            better = model->sources[i].fingerprint != fingerprint_of(models, facts);
    uv_mutex_unlock(&model->lock);
    return better;
}

/* --- the memo's --- */

struct memo_model *memo_model(struct memo *memo, struct bytes name)
{
    return models_get(&memo->models, name);
}

struct memo_model *memo_find_model(struct memo *memo, struct bytes name)
{
    return models_find(&memo->models, name);
}

struct memo_model *memo_model_at(struct memo *memo, uint32_t index)
{
    return models_at(&memo->models, index);
}

bool memo_is_outdated(struct memo *memo, struct memo_model *model, const struct transcript_facts *facts)
{
    return model_knows_better(&memo->models, model, facts);
}

bool memo_fingerprint(struct memo *memo, struct memo_model *model, struct bytes backend, struct bytes name,
                      struct bytes fingerprint)
{
    struct transcript_facts facts = {.backend = backend, .model = name, .fingerprint = fingerprint};
    uint64_t epoch = model_epoch(model);

    return model_hear(&memo->models, model, &facts, &epoch) == WORD_NEW;
}
