/*
 * A variant's steering out of a file that the Goodfire SDK saved.
 */
#pragma once

#include "config/build.h"

/* Read the file PATH, which NODE names: Controller.json(), Variant.json(), or {"base_model", "controller"}.
 * Sets *RET to the controller's JSON without white space, or complains. NAME is given to a controller that
 * has none; MODEL (NULL: unknown) must be the one that the file was made for, where the file tells. */
void controller_read(struct build *build, const struct tree_node *node, struct bytes path, struct bytes name,
                     const struct config_model *model, struct bytes *ret);
