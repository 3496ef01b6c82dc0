/*
 * A journal from the inside, for its own files and its tests.
 */
#pragma once

#include "record/journal_desk.h"
#include "record/journal_outlet.h"

struct journal {
    /* Made once */
    struct outlet **outlets;
    unsigned outlet_count;
    bool takes[JOURNAL_KINDS];
    char run[RUN_SIZE];                         /* as it stands in every line; not ended */
    struct desk *desk;

    /* The thread's own */
    uv_loop_t loop;
    uv_async_t bell;
    uv_timer_t retry, tick, deadline;
    struct batch *batches[JOURNAL_KINDS];       /* the ones being filled */
    uint64_t numbers[JOURNAL_KINDS];            /* of the next line */
    struct list done;                           /* blocks that were numbered */
    bool working;                               /* who works now will look after the rest */
    bool finishing, closing;
    uint64_t abandoned;                         /* lines that came after the end */

    /* The owner's: starts, finishes, frees */
    uv_thread_t thread;
    bool started, stuck;
};

struct journal_sink_setup {
    const struct sink_kind *kind;
    const void *config;
    enum journal_kind takes;
};

/* As journal_new(), with any sinks: each keeps at most BOUND bytes. */
int journal_new_with(const struct journal_sink_setup *setups, unsigned count, uint64_t bound, struct buffer *errors,
                     struct journal **ret);
/* Before it is started: lines are kept beyond the bound (log.when_full: block). */
void journal_keep_lines(struct journal *journal);
