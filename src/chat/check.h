/*
 * The one walker for all tables.
 */
#pragma once

#include "chat/violation.h"

/* Walk NODE along RULE and add what breaks it to FOUND (set its limit first), in the order of the tables.
 * PREFIX is the path to NODE, or NULL. Linear in the nodes; paths and decoded keys go to ARENA. */
void check_value(const struct json_doc *doc, const struct json_node *node, const struct rule *rule,
                 const char *prefix, struct arena *arena, struct violations *found);
