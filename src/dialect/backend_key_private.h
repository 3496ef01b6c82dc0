/*
 * A key from the inside, for the files that make it: backend_key.c (who is asked), backend_key_fields.c (the members
 * of the question), backend_key_messages.c; and the one that tells it, backend_key_parts.c.
 */
#pragma once

#include "dialect/backend_draft.h"
#include "dialect/backend_key.h"
#include "dialect/repeat.h"
#include "json/json_digest.h"

/* Everything DRAFT says but its messages and its steering. */
void key_add_fields(struct digest *digest, const struct backend_draft *draft);

void key_add_messages(struct digest *digest, const struct backend_draft *draft);

/* The members that key_add_fields() adds, in its order, each as JSON; the output limit is "max_tokens". */
void key_each_member(const struct backend_draft *draft,
                     void (*each)(void *data, struct bytes name, struct bytes value), void *data);
/* What the draft and the name of the model do not hold already. */
enum repeat_reason key_add_steering(struct digest *digest, const struct backend_draft *draft);

/* --- backend_key_parts.c --- */

void key_parts_begin(struct key_parts *parts, const char *version, enum chat_operation operation,
                     const uint8_t scope[DIGEST_SIZE]);
/* DRAFT's backend went in, with the question NUMBER. */
void key_parts_candidate(struct key_parts *parts, const struct backend_draft *draft, uint32_t number);
void key_parts_question(struct key_parts *parts, const struct backend_draft *draft);
void key_parts_end(struct key_parts *parts);

/* By bytes. */
static inline int key_order(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}
