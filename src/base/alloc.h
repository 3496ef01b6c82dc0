/*
 * Memory that is always there. Running out aborts the process: whatever a client or an upstream can size has
 * a hard limit, so that limit is the protection, and no caller carries an error path that is never tested.
 */
#pragma once

#include <stddef.h>

void *alloc_bytes(size_t size);
void *alloc_zeroed(size_t size);
void *alloc_resize(void *old, size_t size);
char *alloc_text(const char *text);
/* Gives MEMORY back (NULL is fine). Returns NULL: x->part = alloc_free(x->part). */
void *alloc_free(void *memory);

#define ALLOC_NEW(type) ((type *)alloc_zeroed(sizeof(type)))
