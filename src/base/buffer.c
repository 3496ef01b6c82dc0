/*
 * Doubling from 256 bytes. Nothing is allocated before the first byte.
 */
#include "base/buffer.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

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

char *buffer_reserve(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;

    if (buffer->capacity - buffer->size < more) {
        while (capacity - buffer->size < more)
            capacity *= 2;
        buffer->data = alloc_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, struct bytes view)
{
    if (view.size == 0)
        return;
    memcpy(buffer_reserve(buffer, view.size), view.data, view.size);
    buffer->size += view.size;
}

void buffer_append_char(struct buffer *buffer, char byte)
{
    *buffer_reserve(buffer, 1) = byte;
    buffer->size++;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, bytes_of(text));
}

void buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    buffer_append(buffer, (struct bytes){digits + at, sizeof(digits) - at});
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
