/*
 * A key from the inside, for the three files that make it: backend_key.c (who is asked), backend_key_fields.c (the
 * members of the question), backend_key_messages.c.
 */
#pragma once

#include "dialect/backend_draft.h"
#include "dialect/repeat.h"
#include "json/json_digest.h"

/* Everything DRAFT says but its messages and its steering. */
void key_add_fields(struct digest *digest, const struct backend_draft *draft);

void key_add_messages(struct digest *digest, const struct backend_draft *draft);

/* By bytes. */
static inline int key_order(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}
