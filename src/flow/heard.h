/*
 * Questions heard before, word for word: what was understood of them then, so that one whose answer is remembered need
 * not be read again. One per worker; a table of fixed size, the newest of those that share a place stays.
 */
#pragma once

#include "base/digest.h"
#include "config/config.h"

struct memo_model;
struct heard;

/* What answering from memory needs to know of a question. */
struct heard_question {
    uint8_t key[DIGEST_SIZE], scope[DIGEST_SIZE];
    struct memo_model *model;
    const struct config_cache_policy *policy;
    const struct config_model *named;       /* the configuration's, for its limits */
    struct bytes asked;         /* the model's name, as asked */
    const struct config_variant *variant;   /* or NULL */
    bool stream, include_usage, steered;
};

struct heard *heard_new(void);
struct heard *heard_free(struct heard *heard);

/* The question whose words have the digest WORDS, or NULL. Valid until the next heard_learn(). */
const struct heard_question *heard_find(const struct heard *heard, const uint8_t words[DIGEST_SIZE]);
/* QUESTION is copied. */
void heard_learn(struct heard *heard, const uint8_t words[DIGEST_SIZE], const struct heard_question *question);
