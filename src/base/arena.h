/*
 * Memory that ends all at once. Everything an exchange needs for its own life comes from its arena.
 */
#pragma once

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* in the newest block */
    size_t total;               /* bytes taken from the allocator */
};

/* A zeroed arena is a good one; it takes nothing until asked. */
void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);

/* Aligned for any type, not zeroed. Lives until arena_deinit(). */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zeroed(struct arena *arena, size_t size);

/* A copy of VIEW, followed by a NUL that is not counted. */
struct bytes arena_copy(struct arena *arena, struct bytes view);
struct bytes arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
