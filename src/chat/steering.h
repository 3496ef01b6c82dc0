/*
 * Steering: what a Goodfire controller is, whether it says anything, and when two say the same.
 */
#pragma once

#include "base/buffer.h"
#include "chat/request.h"

/* CONTROLLER (NULL is fine) steers nothing: no intervention and no scope. */
bool steering_controller_empty(const struct json_doc *doc, const struct json_node *controller);

/* Is this a controller at all? 0, or -EINVAL with FAIL_INVALID naming the path below PREFIX ("controller"). Duplicate
 * members inside it are refused. */
int steering_controller_check(const struct json_doc *doc, const struct json_node *controller, const char *prefix,
                              struct arena *arena, struct failure *ret_failure);

/* The canonical text: equal for two controllers that steer alike, whatever their names, labels, uuids (where an index
 * is given), number forms and member order. */
void steering_controller_canonical(const struct json_doc *doc, const struct json_node *controller,
                                   struct arena *arena, struct buffer *out);
