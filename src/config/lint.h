/*
 * Holding a tree against a schema: every unknown key, missing key, wrong type and bad number, with its line.
 */
#pragma once

#include "config/tree.h"

#include <cyaml/cyaml.h>

/* Complains to REPORT. Without complaints, libcyaml loads the text ROOT was read from. With them, nodes
 * whose values cannot be used are marked as bad, misspelt keys are put right, and the text of mend_write()
 * loads. */
void lint_tree(struct tree_node *root, const cyaml_schema_value_t *schema, struct report *report);
