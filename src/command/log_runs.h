/*
 * Which numbers of a log are there. Each run of a gateway counts its lines by itself, and several of them may write one
 * log at the same time: a line says with `run` whose it is. Those that do not, of older gateways, are one group.
 */
#pragma once

#include "command/log_line.h"

/* More runs than this are not told apart. */
#define LOG_RUNS_MOST 100000
/* More holes than this at a time, of all runs, are not kept apart. */
#define LOG_RUNS_HOLES 100000

struct log_hole {
    int64_t from, to;
};

struct log_run {
    struct bytes name;          /* none: of the lines that name no run */
    int64_t first, last;        /* where it begins, and the highest number; 0 before the first line */
    struct log_hole *holes;     /* what is missing below `last`, in order */
    unsigned hole_count, hole_capacity;
    uint64_t overflown;         /* numbers in holes that were not kept */
    int64_t settled;            /* of log_runs_settle(): `last` at that time */

    /* Of log_check.c */
    uint64_t first_line, last_line;     /* of the log */
    uint64_t told, filled;      /* lines that are said to be dropped, and were really missing there */
};

/* All zeros is an empty one. */
struct log_runs {
    struct log_run **list;      /* in order of appearance */
    unsigned count;
    unsigned *slots, slot_count;        /* place in the list plus one, by hash of the name */
    struct log_run *latest;
    struct arena names;
    unsigned hole_count;        /* of all of them */
};

void log_runs_deinit(struct log_runs *runs);

/* The one that LINE belongs to, which is new when its `last` is 0. NULL: there are LOG_RUNS_MOST others. */
struct log_run *log_runs_of(struct log_runs *runs, struct log_line *line);

/* NUMBER is the first one of RUN; or of another one, when RUN has no name: such lines tell of a new run only by
 * beginning with 1 again. */
bool log_run_begins(const struct log_run *run, int64_t number);
/* RUN begins with NUMBER; what was known of it is forgotten. FROM_ONE: the numbers before are missing. */
void log_run_begin(struct log_runs *runs, struct log_run *run, int64_t number, bool from_one);
/* Numbers FROM to TO are there. Returns how many of them were not before; what is between them and those before is
 * missing until it comes. */
uint64_t log_run_add(struct log_runs *runs, struct log_run *run, int64_t from, int64_t to);
/* How many numbers are missing in holes up to TO, which are forgotten. */
uint64_t log_run_forget(struct log_runs *runs, struct log_run *run, int64_t to);

/* How many numbers are missing that were so when this was called before, which are forgotten: lines of a file that is
 * being written may come a little late. */
uint64_t log_runs_settle(struct log_runs *runs);
