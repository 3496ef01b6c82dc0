/*
 * Reading a token event by comparing it with the one before.
 *
 * The events of a stream mostly differ in the text of delta.content alone. When an event begins with the very
 * bytes that stood before that text in an event read in full, ends with the very bytes that stood after it,
 * and what lies between is the inside of a JSON string, then it is the same JSON with another text, and
 * nothing else in it can have changed. That takes two comparisons and a scan of a few bytes in place of a
 * parse.
 */
#pragma once

#include "dialect/backend.h"
#include "json/json_splice.h"

void backend_frame_init(struct backend_frame *frame);
void backend_frame_deinit(struct backend_frame *frame);

/* Remember EVENT, whose delta.content is the string TEXT. SPLICE made OUT of it, or changed nothing. */
void backend_frame_keep(struct backend_frame *frame, struct bytes event, const struct json_node *text,
                        const struct json_splice *splice, struct bytes out);
void backend_frame_forget(struct backend_frame *frame);

/* EVENT is the remembered one but for its text: *RET is what goes on, EVENT itself or written to SCRATCH. */
bool backend_frame_read(const struct backend_frame *frame, struct bytes event, struct buffer *scratch,
                        struct bytes *ret);
