/*
 * One sink and what waits for it: slices of batches, and gaps where lines were dropped, in the order of their numbers.
 * All on the journal's thread.
 *
 * What is past the bound (under log.when_full: block there is none here) goes, the newest first; from then on
 * everything new goes until a quarter of the bound is free, so that a sink that limps makes few gaps, not many. A gap
 * becomes a line of its own when its turn comes. Lines that a sink had taken and lost later make such a line, too, a
 * second after the last loss.
 */
#pragma once

#include "record/journal_batch.h"
#include "record/sink.h"

/* Dropped lines. No lines: no gap. */
struct gap {
    uint64_t first, last, lines;
};

struct outlet {
    /* Made once. `changed`: something was settled, or more can be taken, outside of outlet_push(). */
    const struct sink_kind *kind;
    struct sink *sink;
    enum journal_kind takes;
    char name[24];
    char *head;                 /* of the operator's lines: "embergate: log: file: PATH" */
    uint64_t bound;             /* UINT64_MAX: none */
    const char *run;            /* of its lines, RUN_SIZE long */
    void (*changed)(void *data);
    void *data;

    /* What waits */
    struct list entries;
    uint64_t bytes;
    uint64_t taken;             /* bytes ever */
    struct buffer note;         /* the line about `told`, when it was offered once; then it stays as it is */
    struct gap told;

    /* What was taken and is not settled: ranges, oldest first */
    struct list ranges;
    uint64_t under_way;
    struct gap lost;            /* of those, not told yet */
    uint64_t lost_ms;

    /* How it goes */
    bool pushing, again;
    bool stalled;               /* it took less than it was given: until it calls, or after a while */
    bool dropping;
    bool gone;                  /* it will never take anything again */
    bool finishing;
    bool trouble;               /* lines were dropped, and the operator hears when that is over */
    bool kept;                  /* something was, since lines were dropped last */
    bool refused;               /* what it had taken was not kept, since all was well last */
    int error;                  /* its last */
    uint64_t said_ms[2], trouble_dropped;
    struct journal_sink_counts counts;
};

/* NUMBER: among those of its KIND, from 1 on. RUN outlives it. */
struct outlet *outlet_new(const struct sink_kind *kind, unsigned number, struct sink *sink, enum journal_kind takes,
                          uint64_t bound, const char *run);
/* The sink is closed, or was never started. */
struct outlet *outlet_free(struct outlet *outlet);
void outlet_start(struct outlet *outlet, uv_loop_t *loop);

/* LINES numbered from FIRST on, from FROM to TO of BATCH. They go with the next push. */
void outlet_add(struct outlet *outlet, struct batch *batch, size_t from, uint64_t first, uint64_t lines);
/* LINES from FIRST on are dropped. */
void outlet_drop(struct outlet *outlet, uint64_t first, uint64_t lines);
/* As much as it takes goes; what is past the bound is dropped. A stalled one is not asked. */
void outlet_push(struct outlet *outlet);
/* The same, asked even when stalled. */
void outlet_retry(struct outlet *outlet);

/* Something is to be written, whatever the sink says. */
bool outlet_waits(const struct outlet *outlet);
/* Nothing more is asked of the sink: what waits or is under way is dropped. Returns how many lines. */
uint64_t outlet_abandon(struct outlet *outlet);
