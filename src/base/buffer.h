/*
 * Bytes that grow at the end. The owner bounds the size; the buffer only doubles.
 */
#pragma once

#include "base/bytes.h"

struct buffer {
    char *data;
    size_t size;
    size_t capacity;
};

void buffer_init(struct buffer *buffer);
void buffer_deinit(struct buffer *buffer);

static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->size};
}

/* There was less than MORE bytes of room. */
void buffer_grow(struct buffer *buffer, size_t more);

/* Room for MORE bytes past the end; returns where they go. They count once size is raised. */
static inline char *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->capacity - buffer->size < more)
        buffer_grow(buffer, more);
    return buffer->data + buffer->size;
}

static inline void buffer_append(struct buffer *buffer, struct bytes view)
{
    if (view.size == 0)
        return;
    memcpy(buffer_reserve(buffer, view.size), view.data, view.size);
    buffer->size += view.size;
}

static inline void buffer_append_char(struct buffer *buffer, char byte)
{
    *buffer_reserve(buffer, 1) = byte;
    buffer->size++;
}

static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, bytes_of(text));
}

void buffer_append_u64(struct buffer *buffer, uint64_t value);
void buffer_append_hex(struct buffer *buffer, uint64_t value);
void buffer_append_i64(struct buffer *buffer, int64_t value);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drop the first COUNT bytes; the rest moves to the front. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Empty, keeping the memory when it is at most KEEP bytes. */
void buffer_clear(struct buffer *buffer, size_t keep);
