/*
 * Whole lines: where text may be cut, and one by one.
 */
#pragma once

#include "base/bytes.h"

/* How much of the first ROOM bytes of TEXT is whole lines. */
static inline size_t lines_within(struct bytes text, size_t room)
{
    size_t size = room < text.size ? room : text.size;
    const char *end = size ? memrchr(text.data, '\n', size) : NULL;

    return end ? (size_t)(end - text.data) + 1 : 0;
}

/* The first line with its newline. */
static inline size_t first_line(struct bytes text)
{
    const char *end = memchr(text.data, '\n', text.size);

    return end ? (size_t)(end - text.data) + 1 : text.size;
}

/* The first line of *REST, which has one, without its newline; *REST goes on behind it. */
static inline struct bytes next_line(struct bytes *rest)
{
    struct bytes line = {rest->data, first_line(*rest)};

    *rest = bytes_skip(*rest, line.size);
    line.size -= line.size && line.data[line.size - 1] == '\n';
    return line;
}

static inline uint64_t count_lines(struct bytes text)
{
    uint64_t count = 0;

    while (text.size) {
        text = bytes_skip(text, first_line(text));
        count++;
    }
    return count;
}
