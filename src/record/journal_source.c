/*
 * A worker's side: one block per kind that only its worker touches, until it is handed over for an empty one. The one
 * thing looked at per line that others change is whether there is room, an atomic flag, and lines that are kept in any
 * case do not even look.
 */
#include "record/journal_private.h"

#include "base/alloc.h"

struct journal_source {
    struct journal *journal;
    struct block *blocks[JOURNAL_KINDS];        /* NULL: not used yet */
    uint64_t dropped[JOURNAL_KINDS];            /* not told yet */
};

struct journal_source *journal_source_new(struct journal *journal)
{
    struct journal_source *source;

    if (!journal)
        return NULL;
    source = ALLOC_NEW(struct journal_source);
    source->journal = journal;
    return source;
}

struct journal_source *journal_source_free(struct journal_source *source)
{
    if (!source)
        return NULL;
    source_hand_over(source);
    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++)
        block_free(source->blocks[kind]);
    return alloc_free(source);
}

static struct buffer *begin_line(struct journal_source *source, enum journal_kind kind, bool keep)
{
    if (!source || !source->journal->takes[kind])
        return NULL;
    if (!keep && atomic_load_explicit(&source->journal->desk->full[kind], memory_order_relaxed)) {
        source->dropped[kind]++;
        return NULL;
    }
    if (!source->blocks[kind])
        source->blocks[kind] = block_new(kind);
    return &source->blocks[kind]->text;
}

struct buffer *source_line(struct journal_source *source, enum journal_kind kind)
{
    return begin_line(source, kind, source && source->journal->desk->keeps && kind == JOURNAL_LINES);
}

struct buffer *source_line_if_room(struct journal_source *source, enum journal_kind kind)
{
    return begin_line(source, kind, false);
}

void source_end_line(struct journal_source *source, enum journal_kind kind)
{
    source->blocks[kind]->lines++;
}

size_t source_waiting(const struct journal_source *source)
{
    size_t size = 0;

    if (!source)
        return 0;
    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++) {
        if (source->blocks[kind])
            size += source->blocks[kind]->text.size;
        size += source->dropped[kind] != 0;
    }
    return size;
}

static void hand_over(struct journal_source *source, enum journal_kind kind)
{
    struct block *block = source->blocks[kind];

    if (!source->dropped[kind] && (!block || !block->lines))
        return;
    if (!block)
        block = block_new(kind);
    block->dropped = source->dropped[kind];
    source->dropped[kind] = 0;
    source->blocks[kind] = desk_hand_over(source->journal->desk, block);
}

void source_hand_over(struct journal_source *source)
{
    if (!source)
        return;
    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++)
        hand_over(source, (enum journal_kind)kind);
}
