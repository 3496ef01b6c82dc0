/*
 * Changing a JSON text without writing it anew: a list of cuts over the original bytes.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "json/json_doc.h"

enum json_cut_kind {
    JSON_CUT_PUT,    /* `put` comes instead */
    JSON_CUT_GONE,   /* a member and the comma that falls free */
    JSON_CUT_ITEM,   /* `put` comes in front of the items */
    JSON_CUT_MEMBER, /* `"name":put` comes behind the root's members */
};

struct json_cut {
    uint32_t start, end;   /* what goes, in the original */
    uint8_t kind;          /* enum json_cut_kind */
    bool root;             /* the member belongs to the root */
    const char *name;      /* of a new member */
    struct bytes put;      /* what comes instead */
    struct json_cut *next; /* sorted by start; a cut inside an earlier one counts for nothing */
};

/* Changes to one parsed text, in any order. Cuts live in the arena; names and values are not copied and must
 * live as long as the splice. */
struct json_splice {
    const struct json_doc *doc;
    struct arena *arena;
    struct json_cut *cuts;
    struct json_cut *latest; /* the one added last: the next one mostly stands behind it */
};

void json_splice_init(struct json_splice *splice, const struct json_doc *doc, struct arena *arena);

/* Replace NODE's value by VALUE (JSON). */
void json_splice_replace(struct json_splice *splice, const struct json_node *node, struct bytes value);

/* Rename KEY (a JSON_KEY node) to NAME (plain ASCII). */
void json_splice_rename(struct json_splice *splice, const struct json_node *key, struct bytes name);

/* Remove the member that KEY names in OBJECT, with the comma that falls free. Adding to OBJECT as well is
 * fine. */
void json_splice_remove(struct json_splice *splice, const struct json_node *object,
                        const struct json_node *key);

/* Insert VALUE (JSON) as the first item of ARRAY, before what was prepended earlier. */
void json_splice_prepend(struct json_splice *splice, const struct json_node *array, struct bytes value);

/* Add `"NAME":VALUE` as the last member of the root object. */
void json_splice_add(struct json_splice *splice, const char *name, struct bytes value);

/* Nothing was changed: the original bytes can be sent. */
static inline bool json_splice_clean(const struct json_splice *splice)
{
    return splice->cuts == NULL;
}

/* The changed text. */
void json_splice_write(const struct json_splice *splice, struct buffer *out);
