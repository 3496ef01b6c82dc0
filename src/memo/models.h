/*
 * Models from the inside: what models.c keeps of each, and what the memo's other files ask of it.
 */
#pragma once

#include "memo/memo.h"

#include <stdatomic.h>
#include <uv.h>

#define MODELS_MOST 1024
#define MODEL_SOURCES 256       /* backends and names there whose fingerprints are remembered, of one model */

/* Somebody who answers for a model, and the fingerprint last told; both as hashes. */
struct model_source {
    uint64_t who, fingerprint;
};

struct memo_model {
    char *name;
    size_t name_size;
    _Atomic uint64_t epoch;     /* an entry of another one is void */

    uv_mutex_t lock;            /* around changes of all but the counters */
    _Atomic uint64_t stamp;
    _Atomic uint64_t stamped;   /* the epoch in which the stamp was set */
    uint64_t next_stamp, next_epoch;        /* the stamp being set, and for which epoch */
    struct model_source *sources;
    uint32_t source_count, source_room;

    /* written at every request: on cache lines of their own */
    char apart[64];
    _Atomic uint64_t counts[MEMO_COUNT_COUNT];
    _Atomic uint64_t entries, bytes;    /* kept */
};

/* Models are only ever added: they are found without a lock. */
struct models {
    uv_mutex_t lock;            /* around adding */
    uint64_t seed;
    _Atomic(struct memo_model *) table[2 * MODELS_MOST];
    _Atomic(struct memo_model *) order[MODELS_MOST + 1];
    _Atomic uint32_t count, named;          /* all; those that are in the table */
    _Atomic(struct memo_model *) shared;    /* by names that have no place in the table */
};

void models_init(struct models *models, uint64_t seed);
void models_deinit(struct models *models);

struct memo_model *models_get(struct models *models, struct bytes name);
/* NULL: not known. */
struct memo_model *models_find(struct models *models, struct bytes name);
/* In the order they became known; NULL beyond the last. */
struct memo_model *models_at(struct models *models, uint32_t index);

static inline uint64_t model_epoch(const struct memo_model *model)
{
    return atomic_load_explicit(&model->epoch, memory_order_acquire);
}

void model_move_epoch(struct memo_model *model);

/* What a source's fingerprint says of an answer that was asked for in an epoch. */
enum model_word {
    WORD_SAME,      /* nothing new */
    WORD_NEW,       /* the source has changed: the epoch moved, *EPOCH with it */
    WORD_OTHER,     /* it is not what the source says now, and changes nothing */
};

/* FACTS are those of an answer that was asked for in *EPOCH. Only one of the present epoch that was not recalled can
 * tell of a change. */
enum model_word model_hear(struct models *models, struct memo_model *model, const struct transcript_facts *facts,
                           uint64_t *epoch);
/* The source of FACTS has told another fingerprint since. */
bool model_knows_better(struct models *models, struct memo_model *model, const struct transcript_facts *facts);
