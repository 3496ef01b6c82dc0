/*
 * A JSON text (RFC 8259) as a flat list of nodes with spans: parsed once, while it arrives, nothing copied.
 *
 * A node says where its value stands in the text, so that a body can be checked, read, and changed by
 * splicing, with every untouched byte going on as it came. An object is its node followed by key, value, key,
 * value ...; an array is its node followed by its items. `next` is the index just past a node's own subtree.
 * Node 0 is the root.
 *
 * Refused, beyond what the grammar refuses: depth and node count over the limits, text that is not strict
 * UTF-8, lone surrogate escapes, NUL (\u0000), white space other than the four, anything after the value.
 */
#pragma once

#include "base/arena.h"

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_KEY,
    JSON_OBJECT,
    JSON_ARRAY,
};

enum {
    JSON_E_SYNTAX = 1, /* not JSON */
    JSON_E_UTF8,       /* not strict UTF-8, or a lone surrogate escape */
    JSON_E_NUL,        /* \u0000 */
    JSON_E_DEPTH,      /* nested deeper than the limit */
    JSON_E_SIZE,       /* more nodes than the limit */
};

struct json_node {
    uint32_t start, end; /* in the text; a string's span includes its quotes */
    uint32_t next;       /* index of the node after this subtree */
    uint8_t type;        /* enum json_type */
    uint8_t escaped;     /* a string or key with a backslash in it */
    uint16_t depth;      /* 0 for the root */
};

struct json_limits {
    uint32_t depth; /* at most 65535 */
    uint32_t nodes;
};

#define JSON_LIMITS_DEFAULT ((struct json_limits){.depth = 64, .nodes = 100000})

struct json_doc {
    struct bytes text; /* the caller's; valid as long as the caller keeps it */
    struct json_node *nodes;
    uint32_t count;
    uint32_t capacity;

    /* while parsing */
    struct json_limits limits;
    void *parser;
    uint32_t fed;          /* bytes given to the parser */
    uint32_t token_end;    /* where the last token ended */
    uint32_t checked;      /* bytes known to be good UTF-8 */
    uint32_t scanned;      /* bytes searched for strings */
    uint32_t string_start; /* where the string that is open at `scanned` begins inside, or 0 */
    uint32_t open;         /* innermost open container, plus one; its `next` is the one around it */
    uint8_t inside;        /* what is known of the string that yajl is given */
    bool complete;         /* the whole text was read and is good */
    int error;             /* sticky */
    uint32_t error_at;     /* offset of the offence, as well as it can be known */
};

/* A zeroed document is not an initialised one. Nothing is allocated before the first byte; from then on until
 * json_doc_deinit() the document must stay where it is in memory. */
void json_doc_init(struct json_doc *doc, struct json_limits limits);
void json_doc_deinit(struct json_doc *doc);

/* Take what is new in SO_FAR, which holds the whole text from its first byte to the latest one (and may have
 * moved in memory since the last call). 0, or a sticky JSON_E_; a later call may be the one that tells of an
 * offence. */
int json_doc_feed(struct json_doc *doc, struct bytes so_far);

/* The text is complete. 0, or JSON_E_. After 0 the nodes may be read, for as long as WHOLE stays. */
int json_doc_finish(struct json_doc *doc, struct bytes whole);

/* Both in one, forgetting what was there before (and keeping its memory). */
int json_doc_parse(struct json_doc *doc, struct bytes whole);

/* As json_doc_finish() for a text of which nothing was fed, read in SCRATCH (of the same limits, initialised), which
 * keeps its memory for the next one: DOC gets as much as its nodes need. */
int json_doc_read(struct json_doc *doc, struct json_doc *scratch, struct bytes whole);

/* A short English clause for a JSON_E_: "nested too deeply". */
const char *json_error_text(int error);

/* --- reading; NODE may be NULL everywhere and then nothing is found --- */

const struct json_node *json_root(const struct json_doc *doc);

/* The value of MEMBER in OBJECT: the last one if it stands there twice. NULL when OBJECT is no object or has
 * none. */
const struct json_node *json_member(const struct json_doc *doc, const struct json_node *object,
                                    struct bytes member);

/* json_member() over a path: json_at(doc, node, "choices.0.delta.content"). Digits index arrays. */
const struct json_node *json_at(const struct json_doc *doc, const struct json_node *node, const char *path);

/* The first child of a container, and the one after NODE in CONTAINER. NULL at the end. In an object,
 * children are keys; json_value() is the value of a key. */
const struct json_node *json_first(const struct json_doc *doc, const struct json_node *container);
const struct json_node *json_after(const struct json_doc *doc, const struct json_node *container,
                                   const struct json_node *node);
const struct json_node *json_value(const struct json_doc *doc, const struct json_node *key);

/* Items of an array, members of an object. */
uint32_t json_length(const struct json_doc *doc, const struct json_node *container);

static inline bool json_is(const struct json_node *node, enum json_type type)
{
    return node && node->type == type;
}

/* The value's own bytes in the text. */
struct bytes json_raw(const struct json_doc *doc, const struct json_node *node);

/* A string's or key's characters: a view of the text when nothing is escaped, else decoded into ARENA.
 * BYTES_NONE when NODE is neither. */
struct bytes json_text(const struct json_doc *doc, const struct json_node *node, struct arena *arena);

/* The decoded string is TEXT. */
bool json_text_is(const struct json_doc *doc, const struct json_node *node, struct bytes text);

/* A number that is a whole one (1, 1.0 and 1e2 are). 0, -EINVAL (no number, or a fraction), -ERANGE. */
int json_i64(const struct json_doc *doc, const struct json_node *node, int64_t *ret);

/* The nearest double. 0, -EINVAL (no number), -ERANGE (beyond all doubles). */
int json_double(const struct json_doc *doc, const struct json_node *node, double *ret);
