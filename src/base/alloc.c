/*
 * The one place that calls malloc.
 */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *present(void *memory, size_t size)
{
    if (memory)
        return memory;
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

void *alloc_bytes(size_t size)
{
    return present(malloc(size ? size : 1), size);
}

void *alloc_zeroed(size_t size)
{
    return present(calloc(1, size ? size : 1), size);
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
