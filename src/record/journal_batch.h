/*
 * Lines with their numbers, as they are written: shared by all sinks that have not written them yet. Only the journal's
 * thread knows batches, so their references are plain numbers.
 */
#pragma once

#include "record/journal_desk.h"

/* What is written by one call, as a rule. */
#define BATCH_BYTES (128 << 10)

/* `"run":"0123456789abcdef",` */
#define RUN_SIZE 25

struct batch {
    unsigned references;
    size_t size, capacity;
    char data[];
};

struct batch *batch_new(size_t capacity);
struct batch *batch_ref(struct batch *batch);
struct batch *batch_unref(struct batch *batch);

/* What all lines of one journal have in common: a new one, random, so that they can be told from another's. */
void run_make(char ret[RUN_SIZE]);

/* How much room BLOCK needs at most. */
size_t batch_need(const struct block *block);
/* BLOCK's lines behind those of BATCH, with numbers from FIRST on and RUN (of RUN_SIZE) when they are JOURNAL_LINES.
 * There is room. */
void batch_add(struct batch *batch, const struct block *block, uint64_t first, const char *run);
