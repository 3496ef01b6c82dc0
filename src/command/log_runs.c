/*
 * What is missing is kept as a list of holes, mostly empty: a number that comes late fills its place in one.
 */
#include "command/log_runs.h"

#include "base/alloc.h"
#include "command/log_seen.h"

#define NAME_MOST 64
#define SLOTS_FIRST 16

/* --- runs --- */

static void run_free(struct log_run *run)
{
    alloc_free(run->holes);
    alloc_free(run);
}

void log_runs_deinit(struct log_runs *runs)
{
    for (unsigned i = 0; i < runs->count; i++)
        run_free(runs->list[i]);
    alloc_free(runs->list);
    alloc_free(runs->slots);
    arena_deinit(&runs->names);
    *runs = (struct log_runs){0};
}

/* Where the one of NAME stands, or belongs. */
static unsigned *slot_of(const struct log_runs *runs, struct bytes name)
{
    size_t at = log_seen_hash(LOG_SEEN_HASH, name) % runs->slot_count;

    while (runs->slots[at] && !bytes_equal(runs->list[runs->slots[at] - 1]->name, name))
        at = (at + 1) % runs->slot_count;
    return &runs->slots[at];
}

/* Half of the slots at least are empty. */
static void make_room(struct log_runs *runs)
{
    if (2 * runs->count < runs->slot_count)
        return;
    runs->slot_count = runs->slot_count ? 2 * runs->slot_count : SLOTS_FIRST;
    runs->list = alloc_resize(runs->list, runs->slot_count * sizeof(*runs->list));
    alloc_free(runs->slots);
    runs->slots = alloc_zeroed(runs->slot_count * sizeof(*runs->slots));
    for (unsigned i = 0; i < runs->count; i++)
        *slot_of(runs, runs->list[i]->name) = i + 1;
}

static struct log_run *add_run(struct log_runs *runs, struct bytes name)
{
    struct log_run *run = ALLOC_NEW(struct log_run);

    run->name = arena_copy(&runs->names, name);
    runs->list[runs->count++] = run;
    *slot_of(runs, name) = runs->count;
    return run;
}

struct log_run *log_runs_of(struct log_runs *runs, struct log_line *line)
{
    struct bytes name = log_line_text(line, LOG_run);
    unsigned slot;

    name.size = name.size < NAME_MOST ? name.size : NAME_MOST;
    if (runs->latest && bytes_equal(runs->latest->name, name))
        return runs->latest;
    make_room(runs);
    slot = *slot_of(runs, name);
    if (!slot && runs->count == LOG_RUNS_MOST)
        return NULL;
    runs->latest = slot ? runs->list[slot - 1] : add_run(runs, name);
    return runs->latest;
}

/* --- holes --- */

/* The first hole that ends at NUMBER or behind it. */
static unsigned hole_at(const struct log_run *run, int64_t number)
{
    unsigned from = 0, to = run->hole_count;

    while (from < to) {
        unsigned middle = from + (to - from) / 2;

        if (run->holes[middle].to < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_hole(const struct log_run *run, int64_t number)
{
    unsigned at = hole_at(run, number);

    return at < run->hole_count && run->holes[at].from <= number;
}

static void insert(struct log_runs *runs, struct log_run *run, unsigned at, struct log_hole hole)
{
    if (runs->hole_count == LOG_RUNS_HOLES) {
        run->overflown += (uint64_t)(hole.to - hole.from + 1);
        return;
    }
    if (run->hole_count == run->hole_capacity) {
        run->hole_capacity = run->hole_capacity ? 2 * run->hole_capacity : 8;
        run->holes = alloc_resize(run->holes, run->hole_capacity * sizeof(hole));
    }
    memmove(run->holes + at + 1, run->holes + at, (run->hole_count - at) * sizeof(hole));
    run->holes[at] = hole;
    run->hole_count++;
    runs->hole_count++;
}

static void erase(struct log_runs *runs, struct log_run *run, unsigned at, unsigned count)
{
    if (count == 0)
        return;
    run->hole_count -= count;
    runs->hole_count -= count;
    memmove(run->holes + at, run->holes + at + count, (run->hole_count - at) * sizeof(*run->holes));
}

/* Numbers FROM to TO are no holes any more. Returns how many were. */
static uint64_t fill(struct log_runs *runs, struct log_run *run, int64_t from, int64_t to)
{
    unsigned at = hole_at(run, from);
    uint64_t filled = 0;

    while (at < run->hole_count && run->holes[at].from <= to) {
        struct log_hole hole = run->holes[at];
        int64_t left = hole.from > from ? hole.from : from, right = hole.to < to ? hole.to : to;

        filled += (uint64_t)(right - left + 1);
        erase(runs, run, at, 1);
        if (hole.from < left)
            insert(runs, run, at++, (struct log_hole){hole.from, left - 1});
        if (hole.to > right)
            insert(runs, run, at++, (struct log_hole){right + 1, hole.to});
    }
    return filled;
}

/* --- numbers --- */

bool log_run_begins(const struct log_run *run, int64_t number)
{
    return run->last == 0 || (run->name.size == 0 && number == 1 && !is_hole(run, 1));
}

void log_run_begin(struct log_runs *runs, struct log_run *run, int64_t number, bool from_one)
{
    erase(runs, run, 0, run->hole_count);
    run->overflown = 0;
    run->first = number;
    run->last = number - 1;
    run->settled = 0;
    if (from_one && number > 1)
        insert(runs, run, 0, (struct log_hole){1, number - 1});
}

uint64_t log_run_add(struct log_runs *runs, struct log_run *run, int64_t from, int64_t to)
{
    uint64_t filled;

    if (from > run->last + 1)
        insert(runs, run, run->hole_count, (struct log_hole){run->last + 1, from - 1});
    filled = fill(runs, run, from, to);
    if (to > run->last) {
        filled += (uint64_t)(to - (from > run->last ? from : run->last + 1) + 1);
        run->last = to;
    }
    return filled;
}

uint64_t log_run_forget(struct log_runs *runs, struct log_run *run, int64_t to)
{
    uint64_t missing = run->overflown;
    unsigned count = 0;

    for (; count < run->hole_count && run->holes[count].to <= to; count++)
        missing += (uint64_t)(run->holes[count].to - run->holes[count].from + 1);
    erase(runs, run, 0, count);
    run->overflown = 0;
    return missing;
}

uint64_t log_runs_settle(struct log_runs *runs)
{
    uint64_t missing = 0;

    for (unsigned i = 0; i < runs->count; i++) {
        struct log_run *run = runs->list[i];

        missing += log_run_forget(runs, run, run->settled);
        run->settled = run->last;
    }
    return missing;
}
