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

/* Room for MORE bytes past the end; returns where they go. They count once size is raised. */
char *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, struct bytes view);
void buffer_append_char(struct buffer *buffer, char byte);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_u64(struct buffer *buffer, uint64_t value);
void buffer_append_hex(struct buffer *buffer, uint64_t value);
void buffer_append_i64(struct buffer *buffer, int64_t value);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drop the first COUNT bytes; the rest moves to the front. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Empty, keeping the memory when it is at most KEEP bytes. */
void buffer_clear(struct buffer *buffer, size_t keep);
