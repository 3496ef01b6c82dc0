/*
 * Where the workers and the journal's thread meet: blocks of lines handed over, the bell that tells of them, and the
 * numbers anybody may read. All of it under one lock that is held for a few assignments; what the hot path asks is
 * atomic.
 */
#pragma once

#include "base/list.h"
#include "record/journal.h"

#include <stdatomic.h>
#include <uv.h>

/* Lines of one source, as record_write() left them. */
struct block {
    struct list link;
    enum journal_kind kind;
    struct buffer text;
    uint64_t lines;
    uint64_t dropped;           /* lines that found no room before these */
};

/* One sink's numbers as they are shown; `waiting` is worked out when asked. */
struct desk_row {
    enum journal_kind takes;
    struct journal_sink_counts counts;
};

struct desk {
    uv_mutex_t lock;

    /* Blocks */
    struct list inbox;          /* oldest first */
    struct list spare;          /* empty blocks to be used again */
    unsigned spare_count;

    /* Numbers */
    uint64_t bound;             /* bytes that may wait */
    uint64_t accepted[JOURNAL_KINDS];
    uint64_t handed[JOURNAL_KINDS];     /* bytes not numbered yet */
    uint64_t backlog[JOURNAL_KINDS];    /* bytes in the sink that has most */
    struct desk_row *rows;
    unsigned row_count;
    bool keeps;                 /* made once: lines are kept whatever the bound says */
    bool gone;                  /* a sink of lines is, for good */
    _Atomic bool full[JOURNAL_KINDS], crowded;

    /* The thread */
    uv_async_t *bell;           /* NULL: nobody listens */
    bool reopen, finish, ended;
    uint32_t finish_ms;
    uv_cond_t over;             /* `ended` has become true */
};

struct desk *desk_new(uint64_t bound, unsigned row_count);
struct desk *desk_free(struct desk *desk);

struct block *block_new(enum journal_kind kind);
struct block *block_free(struct block *block);

/* BLOCK goes to the thread. Returns an empty one of the same kind, or NULL. */
struct block *desk_hand_over(struct desk *desk, struct block *block);

/* What the thread is to do. BLOCKS is an empty list and gets what was handed over. */
struct desk_orders {
    struct list blocks;
    bool reopen, finish;
    uint32_t finish_ms;
};

void desk_take(struct desk *desk, struct desk_orders *ret);

/* With the lock held: the numbers of a kind, and of a sink. */
struct journal_counts desk_kind_counts(const struct desk *desk, enum journal_kind kind);
struct journal_sink_counts desk_sink_counts(const struct desk *desk, unsigned index);
/* With the lock held: who may write how much follows from the numbers. */
void desk_judge(struct desk *desk);
/* With the lock held: the blocks at DONE were numbered. */
void desk_give_back(struct desk *desk, struct list *done);

/* With the lock held, or before there is a thread. */
void desk_ring(struct desk *desk);
/* The thread is over: what is still there, and whatever comes, is dropped. Returns how many lines were there. */
uint64_t desk_end(struct desk *desk);
