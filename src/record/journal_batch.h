/*
 * Lines with their numbers, as they are written: shared by all sinks that have not written them yet. Only the journal's
 * thread knows batches, so their references are plain numbers.
 */
#pragma once

#include "record/journal_desk.h"

/* What is written by one call, as a rule. */
#define BATCH_BYTES (128 << 10)

struct batch {
    unsigned references;
    size_t size, capacity;
    char data[];
};

struct batch *batch_new(size_t capacity);
struct batch *batch_ref(struct batch *batch);
struct batch *batch_unref(struct batch *batch);

/* How much room BLOCK needs at most. */
size_t batch_need(const struct block *block);
/* BLOCK's lines behind those of BATCH, with numbers from FIRST on when they are JOURNAL_LINES. There is room. */
void batch_add(struct batch *batch, const struct block *block, uint64_t first);
