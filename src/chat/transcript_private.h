/*
 * What a transcript is made of, for the two files that work on it: transcript.c writes, transcript_reader.c reads.
 *
 * LOCK is taken by shared ones only, and not any more once they are settled. Under it stands everything but what is
 * marked otherwise; a block's bytes beyond `used` belong to the writer.
 */
#pragma once

#include "chat/transcript.h"

#include <stdatomic.h>

/* How far behind the end a shared one's reader may always be; see transcript.h. */
#define TRANSCRIPT_LAG ((size_t)1 << 20)

#define TRANSCRIPT_ALIGN(size) (((size) + 7) & ~(size_t)7)

struct transcript_block {
    struct transcript_block *next;  /* itself: out of the chain */
    uint32_t used, room;
    uint32_t readers;           /* that stand here; counted while letting go */
    uint32_t lost;              /* that stood here when they were lost: one may still look at its last event */
    char bytes[] __attribute__((aligned(8)));
};

struct transcript_event {
    uint32_t size, at_ms;
    uint8_t kind, shape, usage;
    char payload[];
};

struct transcript {
    /* Anybody's. */
    _Atomic unsigned references;
    _Atomic(enum transcript_status) status;     /* changes under the lock, as the last thing there */
    _Atomic uint64_t events;
    _Atomic uint64_t first_us, heard_us;        /* when the first came; when bytes came last */
    _Atomic bool begun, queued;
    bool shared;                                /* never changes */
    uv_mutex_t lock;

    /* The chain. */
    struct transcript_block *first, *last;      /* only the writer changes `last` */
    size_t size;                                /* of all blocks */
    uint64_t payload;                           /* bytes ever appended */

    /* Letting go: always in private ones, in shared ones since the keeper refused. */
    bool letting_go;                            /* only the writer's thread changes it */
    bool beginning_gone;
    bool above;                                 /* the writer was told to pause */
    size_t high_water, low_water;
    uint64_t passed;                            /* payload bytes behind the slowest readers */
    unsigned slowest, unstarted;                /* readers there; readers still before the first block */

    /* Shared ones that let go. */
    uint64_t furthest;                          /* payload bytes behind the fastest readers */
    uint64_t lag;                               /* how far behind the end a reader may be; at least high water */
    uint64_t newest;                            /* payload bytes of the last event */

    /* Readers that came while it was growing. */
    struct list readers, waiting;
    struct reader *waiter;                      /* a private one's reader, when it waits; not in `waiting` */
    bool abandoned;                             /* the last one left */

    /* Word to the writer. The letter holds a reference while it is out. */
    struct mailbox *home;                       /* never changes */
    struct letter letter;
    bool letter_out, drained;

    /* The writer's thread's own. */
    struct transcript_writer writer;
    struct transcript_keeper keeper;
    uint64_t born_ms;

    struct transcript_facts facts;
    struct arena arena;                         /* texts of the facts and of the failure */
    struct failure failure;
};

static inline bool transcript_grows(struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->status, memory_order_acquire) == TRANSCRIPT_GROWING;
}

/* It ended with all its events: nothing in it changes any more. Only shared ones are read from other threads. */
static inline bool transcript_settled(struct transcript *transcript)
{
    return transcript->shared && !transcript_grows(transcript) && !transcript->beginning_gone;
}

/* What it returns goes to transcript_unlock(). */
static inline bool transcript_lock(struct transcript *transcript)
{
    if (!transcript->shared || transcript_settled(transcript))
        return false;
    uv_mutex_lock(&transcript->lock);
    return true;
}

static inline void transcript_unlock(struct transcript *transcript, bool locked)
{
    if (locked)
        uv_mutex_unlock(&transcript->lock);
}

/* The bytes that may be too many: what the fastest reader has before it, or, while nobody waits, what the slowest one
 * has beyond the lag it is allowed. */
static inline uint64_t transcript_pressure(const struct transcript *transcript)
{
    uint64_t before = transcript->payload - transcript->passed, allowed, beyond;

    if (!transcript->shared)
        return before;
    allowed = transcript->lag - transcript->high_water;
    beyond = before > allowed && list_empty(&transcript->waiting) ? before - allowed : 0;
    before = transcript->payload - transcript->furthest;
    return beyond > before ? beyond : before;
}

/* READER is on the writer's thread. */
static inline bool transcript_is_near(const struct transcript *transcript, const struct reader *reader)
{
    return !transcript->shared || !reader->home || reader->home == transcript->home;
}

/* --- transcript.c --- */

/* Under the lock: the writer will look what there is to hear. */
void transcript_post(struct transcript *transcript);
/* On the writer's thread, no lock held. */
void transcript_hear_drained(struct transcript *transcript);
void transcript_hear_abandoned(struct transcript *transcript);

/* --- transcript_reader.c, under the lock --- */

/* From now on only what readers still want is held. */
void transcript_stop_keeping(struct transcript *transcript);
/* Nobody reads a transcript that is letting go: what it has is passed. */
void transcript_pass_all(struct transcript *transcript);
/* On the writer's thread, before an event that somebody waits for: who lags too far behind is lost, and among those to
 * be woken. */
void transcript_lose_laggards(struct transcript *transcript);
