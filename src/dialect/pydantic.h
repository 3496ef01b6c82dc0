/*
 * Violations in the words of pydantic v2, as a FastAPI server lists them: what Goodfire's clients match on.
 */
#pragma once

#include "base/buffer.h"
#include "chat/violation.h"

/* The list, brackets included. */
void pydantic_write(struct buffer *out, const struct violations *found, const struct json_doc *doc,
                    struct arena *arena);

/* MODEL is none of NAMES: `Input should be 'a' or 'b'`, and the list that says so. */
struct bytes pydantic_model_message(const struct bytes *names, unsigned count, struct arena *arena);
struct bytes pydantic_model_list(struct bytes model, const struct bytes *names, unsigned count,
                                 struct arena *arena);

/* A list of one item for a failure that was not found by a table; PATH is `messages[2].content` or none. */
void pydantic_write_plain(struct buffer *out, const char *type, struct bytes path, struct bytes message);
