/*
 * A view of bytes somebody else owns. Never NUL-terminated by promise, never freed through the view.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *data;
    size_t size;
};

#define BYTES(literal) ((struct bytes){(literal), sizeof(literal) - 1})
#define BYTES_NONE ((struct bytes){NULL, 0})

/* For printf: "%.*s", BYTES_ARG(view) */
#define BYTES_ARG(view) (int)(view).size, (view).data ? (view).data : ""

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, text ? strlen(text) : 0};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline struct bytes bytes_skip(struct bytes view, size_t count)
{
    return (struct bytes){view.data + count, view.size - count};
}

/* The same letters, ASCII case aside. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);

bool bytes_start_with(struct bytes view, struct bytes prefix);
bool bytes_end_with(struct bytes view, struct bytes suffix);

/* The offset of NEEDLE's first place in HAYSTACK, or HAYSTACK.size when it is not there. */
size_t bytes_find(struct bytes haystack, struct bytes needle);

/* VIEW without the spaces and tabs at both ends. */
struct bytes bytes_trim(struct bytes view);

/* The value of a hex digit of either case, or -1. */
int bytes_hex_digit(char digit);

/* The byte that stands percent-encoded (RFC 3986 2.1) at AT, or -1. */
int bytes_percent(struct bytes view, size_t at);

/* A whole decimal integer, sign allowed, nothing else around it. 0, or -EINVAL, or -ERANGE. */
int bytes_to_i64(struct bytes view, int64_t *ret);

/* A JSON number as the nearest double. 0, or -EINVAL. */
int bytes_to_double(struct bytes view, double *ret);
