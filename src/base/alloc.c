/*
 * The one place that calls malloc.
 */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 1024

static void *present(void *memory, size_t size)
{
    if (memory)
        return memory;
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

/* Not inline: gcc would make calloc() of this and of the memset() behind it. */
__attribute__((noinline)) void *alloc_bytes(size_t size)
{
    return present(malloc(size ? size : 1), size);
}

/* glibc's calloc() does not look into the thread's own cache of small blocks, and they cost several times as much
 * without it; of large ones it knows which pages are zero already. */
void *alloc_zeroed(size_t size)
{
    return size <= SMALL ? memset(alloc_bytes(size), 0, size) : present(calloc(1, size), size);
}

void *alloc_resize(void *old, size_t size)
{
    return present(realloc(old, size ? size : 1), size);
}

char *alloc_text(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(alloc_bytes(size), text, size);
}

void *alloc_free(void *memory)
{
    free(memory);
    return NULL;
}
