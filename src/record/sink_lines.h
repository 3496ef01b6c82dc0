/*
 * Whole lines, one by one, for sinks that send each by itself.
 */
#pragma once

#include "base/bytes.h"

/* The first line of *REST, which has one, without its newline; *REST goes on behind it. */
static inline struct bytes sink_next_line(struct bytes *rest)
{
    const char *end = memchr(rest->data, '\n', rest->size);
    size_t size = end ? (size_t)(end - rest->data) : rest->size;
    struct bytes line = {rest->data, size};

    *rest = bytes_skip(*rest, end ? size + 1 : size);
    return line;
}
