/*
 * What a question may look like, as tables. A rule says what one JSON value must be; check.c walks a value
 * along its rule. Zero means "no limit" everywhere. Members that no table knows are accepted and travel on.
 *
 * A rule may reach itself again (a controller holds controllers): the walk is as deep as the document, and
 * the document's depth is limited where it is parsed.
 */
#pragma once

#include "base/bytes.h"

enum rule_type {
    RULE_ANYTHING,
    RULE_BOOLEAN,
    RULE_INTEGER,
    RULE_NUMBER,
    RULE_STRING,
    RULE_ARRAY,
    RULE_OBJECT,
    RULE_EITHER, /* the first option whose JSON type fits */
};

struct rule_pattern {
    bool (*fits)(struct bytes text);
    const char *text; /* as a regular expression, for people */
};

struct rule_field;
struct rule_tag;

struct rule {
    enum rule_type type;
    bool null_ok;              /* null is a value of its own here; elsewhere it counts as absent */
    bool unique;               /* object: no member may stand there twice, known or not; needs a MAX */
    int64_t min, max;          /* of a number; of a string's bytes, an array's items, an object's members */
    const char *expected;      /* "an array of objects"; NULL: by type */
    const char *const *values; /* string: the only ones, ended by NULL */
    const struct rule_pattern *pattern; /* string */
    const struct rule *items;           /* array: each item. object: each member's value */
    const struct rule_field *fields;    /* object: its known members */
    unsigned field_count;
    const char *tag;                   /* object: the member whose value chooses the table of fields, */
    const struct rule_tag *tags;       /* from here, ended by a NULL value */
    const struct rule *const *options; /* either: ended by NULL */
};

struct rule_field {
    const char *name;
    size_t name_size;
    const struct rule *rule;
    bool required;
    const char *unless[2];    /* not required when one of these siblings is there */
    const char *only_with;    /* a sibling that must be true */
    const char *not_with;     /* a sibling that must not be true */
    const char *counted_with; /* a string sibling that counts as one item more of this array */
};

struct rule_tag {
    const char *value;
    const struct rule_field *fields;
    unsigned field_count;
};

#define RULE_FIELDS_MAX 64

/* FIELD("name", &rule, .required = true) */
#define FIELD(text, ...) {.name = (text), .name_size = sizeof(text) - 1, .rule = __VA_ARGS__}
#define FIELDS(table) .fields = (table), .field_count = ARRAY_SIZE(table)

/* --- building blocks --- */

extern const struct rule rule_anything;
extern const struct rule rule_boolean;
extern const struct rule rule_number;
extern const struct rule rule_string;
extern const struct rule rule_object;
extern const struct rule rule_label; /* a function's or schema's name */
extern const struct rule rule_text_or_parts;
extern const struct rule rule_openai_messages;
extern const struct rule rule_goodfire_messages;
extern const struct rule rule_tools;
extern const struct rule rule_tool_choice;
extern const struct rule rule_functions;
extern const struct rule rule_function_call;
extern const struct rule rule_controller;

/* --- whole questions --- */

extern const struct rule schema_openai_chat;
extern const struct rule schema_openai_logits;
extern const struct rule schema_goodfire_chat;
extern const struct rule schema_goodfire_logits;
