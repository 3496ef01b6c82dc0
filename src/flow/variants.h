/*
 * The configured variants by what they mean: to find the one that an inline controller equals.
 */
#pragma once

#include "config/config.h"
#include "json/json_doc.h"

struct variants;

struct variants *variants_new(const struct config *config);
struct variants *variants_free(struct variants *variants);

/* The variant of MODEL whose controller steers as CONTROLLER does and that names a LoRA or an adapter for it. NULL if
 * there is none. */
const struct config_variant *variants_like(const struct variants *variants, const struct config_model *model,
                                           const struct json_doc *doc, const struct json_node *controller);
