/*
 * The inside of JSON strings. Escapes given to json_unescape*() were checked: the grammar holds and
 * surrogates stand in pairs.
 */
#pragma once

#include "base/bytes.h"

/* 0, or JSON_E_SYNTAX, JSON_E_NUL or JSON_E_UTF8 with the offset of the first bad escape in *RET_AT. */
int json_escapes_check(struct bytes inside, size_t *ret_at);

/* The one escape that AT points at goes to OUT (at most 4 bytes), its length there to *RET_SIZE. Returns its
 * length in the text: 2, 6, or 12 for a pair. */
size_t json_unescape_one(const char *at, char out[4], size_t *ret_size);

/* All of INSIDE into OUT, which has room for INSIDE.size bytes. Returns the decoded size. */
size_t json_unescape(struct bytes inside, char *out);
