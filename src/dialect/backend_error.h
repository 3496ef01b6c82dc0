/*
 * Reading what a backend says went wrong.
 */
#pragma once

#include "dialect/backend.h"

/* DOC's root says that something went wrong: {"error": ...}, or SGLang's flat {"object": "error", ...}. */
bool backend_is_error(const struct json_doc *doc);

/* The failure that an object inside a good answer tells; its own code is its status when it has one. */
struct failure backend_error_inside(enum config_kind kind, const struct json_doc *doc, struct arena *arena);

/* TEXT as it may be shown: valid UTF-8 in one line, at most 500 bytes. */
struct bytes backend_clean_text(struct arena *arena, struct bytes text);
