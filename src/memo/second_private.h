/*
 * The second shelf from the inside: what its two files share. second.c has its life, its names and its looks,
 * second_errand.c all that is written.
 */
#pragma once

#include "memo/second.h"

#define STAMP_DIGITS 16

/* What is remembered per model, so that a look makes no digest of its name. */
struct known_model {
    struct memo_model *model;
    struct bytes key;           /* of its stamp */
    uint64_t renewed_ms;        /* when the stamp's end was last put off */
};

struct second {
    struct memo *memo;
    struct redis *redis;
    struct second_config config;
    struct digest *digest;
    void (*news)(void *data, enum second_news news, struct bytes text);
    void *data;
    bool told_down, told_refused;   /* since it was up */

    struct list looks, errands;
    struct known_model *models;
    uint32_t model_count;
    struct buffer name, value;      /* of the command being written */

    void (*closed)(void *data);
    void *closed_data;
};

void second_tell(struct second *second, enum second_news news, struct bytes text);
/* Valid until the next one is asked for. */
struct known_model *second_model(struct second *second, struct memo_model *model);
/* The name of KEY's answer, valid until the next one. */
struct bytes second_answer_name(struct second *second, const uint8_t key[DIGEST_SIZE]);
int second_get(struct second *second, struct bytes name, struct redis_call *call);

/* A stamp as it lies in Redis. 0 when TEXT is none. */
uint64_t second_stamp_of(struct bytes text);

/* --- errands --- */

/* The stamp THERE was found to be MODEL's. It was KNOWN here when the question was sent. True: it is what holds. */
bool second_adopt(struct second *second, struct memo_model *model, uint64_t there, uint64_t known);
/* MODEL has no stamp there: make one and learn which it is. */
void second_learn(struct second *second, struct memo_model *model);
/* A new stamp for MODEL on its way, whatever is there; or, when there is one on its way already, that one. 0: Redis
 * cannot be told now. */
uint64_t second_void_again(struct second *second, struct memo_model *model);
/* All errands end. */
void second_drop_errands(struct second *second);
