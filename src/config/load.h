/*
 * A YAML text as the tables of the schema want it: a tree that knows its lines, and raw structs.
 */
#pragma once

#include "config/tree.h"

#include <cyaml/cyaml.h>

struct load_form {
    const cyaml_schema_value_t *schema;     /* of the whole text: a pointer to a struct */
    size_t most_bytes;
    uint32_t most_values;
};

struct load {
    const struct load_form *form;
    struct report report;
    struct arena arena;
    struct tree_node *root;     /* NULL: the text says nothing */
    void *raw;                  /* NULL then too */
};

/* False when there is no use in going on: what is wrong is in load->report, which may hold complaints as well when
 * there is. NAME is the file's, for messages. To be given back in both cases. */
bool load_init(struct load *load, const struct load_form *form, const char *name, struct bytes text);
/* Append all complaints to ERRORS. */
void load_deinit(struct load *load, struct buffer *errors);
