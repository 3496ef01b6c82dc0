/*
 * What is good in a file that has errors, as a file without them.
 */
#pragma once

#include "config/tree.h"

#include <cyaml/cyaml.h>

/* Append to OUT a YAML text that libcyaml loads by SCHEMA, from a map ROOT that lint_tree() has seen: what is
 * unknown is left out, what is bad or missing is empty, and lists keep their places. */
void mend_write(const struct tree_node *root, const cyaml_schema_value_t *schema, struct buffer *out);
