/*
 * What must not be in the log is taken out before a line leaves the worker: by field path (every value there becomes
 * "[redacted]") and by pattern (every match in any string becomes "[redacted]", and so does every number with a match).
 *
 * Paths: `user`, `metadata.email`, `messages.*.content`; a star is any member or element, and so is a list passed
 * through without one (`messages.content`). Patterns: PCRE2, UTF, with limits of its own on time and memory: a string
 * on which one gives up is redacted as a whole. They see strings as they are meant, without their escapes, and numbers
 * as they are written; values only, not the names of members. true, false and null stay, unless a path means them. JSON
 * inside of a string, as in a tool call's arguments, is text: patterns see it with its own escapes as they stand, and
 * no path leads into it. The door to PCRE2 is redact_pattern.c.
 *
 * One per worker.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "config/config.h"
#include "json/json_doc.h"

struct redact;

/* LOG's patterns have been checked by redact_check(); LOG outlives it. */
struct redact *redact_new(const struct config_log *log);
struct redact *redact_free(struct redact *redact);

/* For the configuration's own check: 0, or -EINVAL and what is wrong in words, with its place, in ERROR. */
int redact_check(struct bytes pattern, struct buffer *error);

/* Append JSON, which DOC (scratch) is parsed from, redacted and without white space between its tokens, so without a
 * newline. MOST: of the bytes appended; when it is longer *RET_CUT is true and what is appended is a JSON string that
 * holds its first bytes, whole UTF-8 characters. What is no JSON is such a string too; but "[redacted]" when there are
 * paths, which cannot be followed in it, or patterns, which its escapes may hide from. */
void redact_write(struct redact *redact, struct bytes json, struct json_doc *doc, size_t most, struct buffer *out,
                  bool *ret_cut);

/* The first MOST bytes, whole UTF-8 characters, of a text that a client chose (a model's name, a path), as they may be
 * told: a view of TEXT when no match begins in them, else a copy in ARENA with "[redacted]" for each match, cut again.
 * TEXT is whole, since a match may end where nothing is told any more. Patterns cannot be looked for in what is not
 * UTF-8: with any, such a text is "[redacted]" as a whole, as is one on which a pattern gives up (each text has 10 ms).
 * Escapes such as %41 are not undone; field paths do not matter here. REDACT may be NULL: nothing is taken out. */
struct bytes redact_text(struct redact *redact, struct bytes text, size_t most, struct arena *arena);
