/*
 * Private to the room: patterns, and the work they may make. The door to PCRE2.
 */
#pragma once

#include "base/buffer.h"

/* How far beyond what is kept of a text a match that begins in it is looked for. */
#define REDACT_REACH (16 << 10)

enum redact_found {
    REDACT_NOTHING,
    REDACT_SOME,
    REDACT_GAVE_UP, /* a pattern went over its limits: nothing is known of the text */
};

struct redact_patterns;

/* NULL when there are none. */
struct redact_patterns *redact_patterns_new(const struct bytes *texts, uint32_t count);
struct redact_patterns *redact_patterns_free(struct redact_patterns *patterns);

/* Another document: its time begins with the first search. */
void redact_patterns_begin(struct redact_patterns *patterns);

/* Look for matches that begin in the first MOST bytes of TEXT (UTF-8). On REDACT_SOME, MARKS has a byte for each of
 * TEXT's, 1 where it belongs to a match of any pattern. PATTERNS may be NULL. */
enum redact_found redact_patterns_search(struct redact_patterns *patterns, struct bytes text, size_t most,
                                         struct buffer *marks);
