/*
 * A breach of a rule as a value: what kind, where, by which node. The checker makes them; each dialect words
 * them.
 */
#pragma once

#include "chat/failure.h"
#include "chat/schema.h"
#include "json/json_doc.h"

enum violation_kind {
    VIOLATION_MISSING,
    VIOLATION_TYPE,
    VIOLATION_ABOVE, /* a number over rule->max */
    VIOLATION_BELOW, /* a number under rule->min */
    VIOLATION_VALUE, /* not one of rule_value() */
    VIOLATION_PATTERN,
    VIOLATION_TOO_LONG, /* a string, array or object of ACTUAL, over rule->max */
    VIOLATION_TOO_SHORT,
    VIOLATION_DUPLICATE,
    VIOLATION_ONLY_WITH, /* there without SIBLING being true */
    VIOLATION_NOT_WITH,  /* there although SIBLING is true */
};

/* One step down: a member's name, or an index when NAME is none. */
struct path_step {
    struct bytes name;
    uint32_t index;
};

struct violation {
    enum violation_kind kind;
    const struct rule *rule;
    const struct json_node *node; /* the offending value; of a missing one, the object it misses from */
    const struct path_step *path;
    unsigned depth; /* steps in PATH; 0: the root */
    uint64_t actual;
    const char *sibling;
};

#define VIOLATIONS_MAX 20

struct violations {
    unsigned limit; /* the checker stops after so many; at most VIOLATIONS_MAX */
    unsigned count;
    struct violation item[VIOLATIONS_MAX];
};

/* The allowed values of a string, or of an object's tag, one by one; NULL after the last. */
const char *rule_value(const struct rule *rule, unsigned index);

/* `messages[2].content[0].type` */
struct bytes violation_path(const struct violation *violation, struct arena *arena);

/* FAIL_INVALID in the words, and with the code, that the OpenAI API uses. */
struct failure violation_failure(const struct violation *violation, const struct json_doc *doc,
                                 struct arena *arena);
