/*
 * The lists of an outlet: what waits (entries) and what was taken but is not settled (ranges).
 */
#pragma once

#include "record/journal_outlet.h"

/* A slice of a batch, or a gap in the numbers. */
struct entry {
    struct list link;
    struct batch *batch;        /* NULL: a gap */
    size_t from, to;
    uint64_t first, lines;
};

/* Removes it from its list, too. */
void entry_free(struct entry *entry);
struct entry *queue_first(const struct list *entries);
/* At the end; longer is the last one, when SLICE or GAP follows it without a break. */
void queue_slice(struct list *entries, const struct entry *slice);
void queue_gap(struct list *entries, struct gap gap);
/* Drop whole lines from the end until SIZE bytes are gone, and the gaps between them, but never the first line of all.
 * Returns the bytes; *RET_CUT is everything from there to the end, *RET_FRESH how much of it was no gap before. */
size_t queue_cut(struct list *entries, size_t size, struct gap *ret_cut, uint64_t *ret_fresh);

/* Lines that a sink took, with consecutive numbers; or a line about a gap. */
struct range {
    struct list link;
    uint64_t first, lines, bytes;
    bool note;
    struct gap told;
};

struct settled {
    struct gap lines;           /* from the first of them to the last */
    uint64_t notes;
    struct gap told;            /* by those */
    uint64_t bytes;             /* of all; of a part of a range as if its lines were equally long */
};

void range_free(struct range *range);
void ranges_add(struct list *ranges, const struct range *range);
/* The newest COUNT lines, which are of the last range and have BYTES, were not taken after all. */
void ranges_undo(struct list *ranges, uint64_t count, uint64_t bytes);
/* The oldest COUNT go. Returns how many there were. */
uint64_t ranges_settle(struct list *ranges, uint64_t count, struct settled *ret);

struct gap gap_of(uint64_t first, uint64_t lines);
/* INTO covers OTHER as well. */
void gap_join(struct gap *into, struct gap other);
