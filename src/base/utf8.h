/*
 * Strict UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
 */
#pragma once

#include "base/bytes.h"

/* The length of the longest valid prefix; VIEW.size when all of it is valid. A sequence cut at the end counts as
 * invalid from its first byte. */
size_t utf8_valid_prefix(struct bytes view);

static inline bool utf8_valid(struct bytes view)
{
    return utf8_valid_prefix(view) == view.size;
}

/* VIEW cut to at most LIMIT bytes without splitting a character. */
struct bytes utf8_cut(struct bytes view, size_t limit);
