/*
 * Doubling from a smallest size. Nothing is allocated before the first byte.
 */
#include "base/buffer.h"

#include "base/alloc.h"
#include "base/decimal.h"

#include <stdarg.h>
#include <stdio.h>

#define SMALLEST 256
/* What a formatted text mostly fits in: then it is formatted once. */
#define PRINTF_ROOM 128

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void buffer_deinit(struct buffer *buffer)
{
    alloc_free(buffer->data);
    buffer_init(buffer);
}

void buffer_grow(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : SMALLEST;

    while (capacity - buffer->size < more)
        capacity *= 2;
    buffer->data = alloc_resize(buffer->data, capacity);
    buffer->capacity = capacity;
}

void buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    char *end = decimal_put(buffer_reserve(buffer, DECIMAL_MOST), value);

    buffer->size = (size_t)(end - buffer->data);
}

void buffer_append_hex(struct buffer *buffer, uint64_t value)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16];
    size_t at = sizeof(digits);

    do
        digits[--at] = hex[value & 15];
    while (value >>= 4);
    buffer_append(buffer, (struct bytes){digits + at, sizeof(digits) - at});
}

void buffer_append_i64(struct buffer *buffer, int64_t value)
{
    if (value < 0)
        buffer_append_char(buffer, '-');
    buffer_append_u64(buffer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args, again;
    int size;

    va_start(args, format);
    va_copy(again, args);
    buffer_reserve(buffer, PRINTF_ROOM);
    size = vsnprintf(buffer->data + buffer->size, buffer->capacity - buffer->size, format, args);
    va_end(args);
    if ((size_t)size >= buffer->capacity - buffer->size)
        vsnprintf(buffer_reserve(buffer, (size_t)size + 1), (size_t)size + 1, format, again);
    va_end(again);
    buffer->size += (size_t)size;
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    buffer->size -= count;
    if (count && buffer->size)
        memmove(buffer->data, buffer->data + count, buffer->size);
}

void buffer_clear(struct buffer *buffer, size_t keep)
{
    if (buffer->capacity > keep)
        buffer_deinit(buffer);
    buffer->size = 0;
}
