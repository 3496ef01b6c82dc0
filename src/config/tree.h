/*
 * A YAML text as plain nodes that know their lines. Bounded in depth and number; without anchors, aliases and
 * tags, so that a small file cannot become a big one.
 */
#pragma once

#include "config/report.h"

#define TREE_DEPTH_MAX 16

enum tree_type { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node {
    enum tree_type type;
    bool plain;        /* a scalar without quotes, on one or more lines of its own */
    bool bad;          /* the check complained of the value itself: it is taken for empty */
    bool partial;      /* the check complained of more values here, which are left out */
    uint32_t line;     /* of the key for a member of a map, else of the value */
    uint32_t index;    /* its place in its parent */
    uint32_t count;    /* children */
    struct bytes key;  /* when the parent is a map */
    struct bytes text; /* of a scalar */
    struct tree_node *parent;
    struct tree_node *first, *last; /* children */
    struct tree_node *next;         /* the next one of the same parent */
};

/* Read TEXT, which must be one YAML document of at most MOST values. False after complaints; *RET is NULL for a
 * document without content. Nodes live in ARENA. */
bool tree_read(struct arena *arena, struct bytes text, uint32_t most, struct report *report, struct tree_node **ret);

/* The first child of MAP with KEY, or NULL. MAP may be NULL or something else. */
const struct tree_node *tree_member(const struct tree_node *map, struct bytes key);

/* MAP says something for KEY, be it good or bad. */
bool tree_given(const struct tree_node *map, struct bytes key);

/* A scalar that YAML readers take for "nothing": empty, ~ or null, without quotes. */
bool tree_is_null(const struct tree_node *node);
