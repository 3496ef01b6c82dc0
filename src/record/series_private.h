/*
 * A set of series from the inside, for the files that count, read and write it.
 *
 * Models and places are lists that only grow: an entry is complete before the list's count covers it (release), and
 * what a reader saw counted (acquire) does not change any more but for its atomic numbers. How the writer finds entries
 * again (the slots, the words' addresses) is the writer's own and no reader looks at it.
 */
#pragma once

#include "record/histogram.h"
#include "record/series.h"

/* Of different labels of requests, in one worker; more of them are one place, whose words are all "other". */
#define SERIES_PLACES 2048
/* Longer names, and those that are not text, are "other" as well. */
#define SERIES_NAME_BYTES 256
/* Words of our own; there are far less. */
#define SERIES_WORDS 256
/* At two addresses and more each; what finds no slot is compared letter by letter. */
#define SERIES_ADDRESSES 512
#define SERIES_MODEL_SLOTS 1024

/* The two models that are always there. */
enum { MODEL_NONE, MODEL_OTHER, MODELS_FIXED };
enum { WORD_OTHER, WORD_NONE, WORDS_FIXED };
enum { BACKEND_STATES = 3, BACKEND_UNSEEN = BACKEND_STATES };

struct series_model {
    struct bytes name;
    uint64_t hash;
    uint64_t born;              /* in the order in which all workers first met names */
    uint32_t index;             /* in its set */
    _Atomic uint64_t cost;
    struct histogram histograms[SERIES_HISTOGRAMS];
    char text[];
};

/* Requests whose labels are all the same. The key is made of small numbers: the model's, the status, four words'. */
struct series_place {
    uint64_t key;
    _Atomic uint64_t count;
};

struct series_backend {
    struct bytes name;
    _Atomic uint64_t calls[SERIES_CALLS];
    _Atomic unsigned state;
    struct histogram first_byte;
};

struct series {
    /* lists that readers see */
    _Atomic uint32_t model_count, place_count;
    struct series_model *models[MODELS_FIXED + SERIES_MODELS];
    struct series_place *places;
    const char *words[SERIES_WORDS];
    struct series_backend *backends;
    uint32_t backend_count;

    /* the writer's way to find them */
    uint32_t places_most, place_mask, word_count;
    uint32_t *place_slots;      /* numbers from 1; 0: free */
    uint16_t model_slots[SERIES_MODEL_SLOTS];
    struct {
        const char *address;
        uint32_t word;
    } addresses[SERIES_ADDRESSES];
};

/* What a histogram is called, and its bounds. */
struct series_row {
    const char *name, *help;
    struct {
        const char *name, *value;
    } label;                    /* that all its series have; no name: none */
    struct histogram_shape shape;
    bool tokens;                /* else microseconds, told in seconds */
};
extern const struct series_row series_rows[SERIES_HISTOGRAMS];

/* --- series.c --- */

/* A set with room for MOST places. */
struct series *series_make(const struct bytes *backends, uint32_t backend_count, uint32_t places_most);
/* As series_model(); NAME is not copied. */
struct series_model *series_model_view(struct series *series, struct bytes name);
void series_count_more(struct series *series, const struct series_model *model, const struct series_request *request,
                       uint64_t amount);

/* --- for readers --- */

static inline uint32_t series_model_count(const struct series *series)
{
    return atomic_load_explicit(&series->model_count, memory_order_acquire);
}

static inline uint32_t series_place_count(const struct series *series)
{
    return atomic_load_explicit(&series->place_count, memory_order_acquire);
}

/* The request that PLACE of SERIES counts. */
static inline struct series_request series_place_request(const struct series *series,
                                                         const struct series_place *place)
{
    uint64_t key = place->key;

    return (struct series_request){
        .model = series->models[key >> 48]->name,
        .status = (unsigned)(key >> 32 & 0xffff),
        .dialect = series->words[key >> 24 & 0xff],
        .operation = series->words[key >> 16 & 0xff],
        .cache = series->words[key >> 8 & 0xff],
        .outcome = series->words[key & 0xff],
    };
}

static inline uint32_t series_place_model(const struct series_place *place)
{
    return (uint32_t)(place->key >> 48);
}

/* NULL: SERIES is of a worker that does not ask it. */
static inline const struct series_backend *series_backend_seen(const struct series *series, uint32_t backend)
{
    return backend < series->backend_count ? &series->backends[backend] : NULL;
}

/* --- series_read.c --- */

/* All of SETS in one, to be freed before the first of them: names are theirs. Without backends. */
struct series *series_merge(struct series *const *sets, unsigned count);
