/*
 * Blocks in a chain, each as large as all before it within bounds; the newest is filled from its start. Most arenas
 * hold little and live long (an open stream has three), so they begin small. Large wishes get a block of their own.
 */
#include "base/arena.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

#define SMALLEST 432
#define LARGEST 8000
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
    struct arena_block *older;
    size_t size;
    max_align_t bytes[];
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_deinit(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;

        arena->blocks = block->older;
        alloc_free(block);
    }
    arena_init(arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    char *memory;

    size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (!arena->blocks || arena->blocks->size - arena->used < size) {
        size_t room = arena->total < SMALLEST ? SMALLEST : arena->total < LARGEST ? arena->total : LARGEST;
        struct arena_block *block;

        room = (size > room ? size : room) & ~(ALIGNMENT - 1);
        block = alloc_bytes(sizeof(*block) + room);

        block->older = arena->blocks;
        block->size = room;
        arena->blocks = block;
        arena->used = 0;
        arena->total += sizeof(*block) + room;
    }
    memory = (char *)arena->blocks->bytes + arena->used;
    arena->used += size;
    return memory;
}

void *arena_zeroed(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

struct bytes arena_copy(struct arena *arena, struct bytes view)
{
    char *copy = arena_alloc(arena, view.size + 1);

    if (view.size)
        memcpy(copy, view.data, view.size);
    copy[view.size] = '\0';
    return (struct bytes){copy, view.size};
}

struct bytes arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    char *text;
    int size;

    va_start(args, format);
    va_copy(again, args);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = arena_alloc(arena, (size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return (struct bytes){text, (size_t)size};
}
