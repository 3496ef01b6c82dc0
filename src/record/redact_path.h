/*
 * Private to the room: where the values stand that a field path means.
 */
#pragma once

#include "base/buffer.h"
#include "json/json_doc.h"

/* One path, `messages.*.content`, in its steps. Views of the configuration. */
struct redact_path {
    struct bytes *steps;
    uint32_t count;
};

void redact_path_init(struct redact_path *path, struct bytes text);
void redact_path_deinit(struct redact_path *path);

/* MARKS has a byte for each node of DOC; those of the values that PATH means become 1. */
void redact_path_mark(const struct redact_path *path, const struct json_doc *doc, char *marks);
