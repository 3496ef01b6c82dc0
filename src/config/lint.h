/*
 * Holding a tree against a schema: every unknown key, missing key, wrong type and bad number, with its line.
 */
#pragma once

#include "config/tree.h"

#include <cyaml/cyaml.h>

/* Complains to REPORT. A tree that passed is one libcyaml loads. */
void lint_tree(const struct tree_node *root, const cyaml_schema_value_t *schema, struct report *report);
