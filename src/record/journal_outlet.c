/*
 * Every line a sink takes is in a range until it is settled; a sink that settles at once has its range settled for it
 * when take() returns. So there is one place where lines become written or lost.
 */
#include "record/journal_outlet.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/journal_note.h"
#include "record/journal_queue.h"
#include "record/line_cut.h"

#include <errno.h>
#include <stdio.h>

/* How long after the last loss it is told: a sink that loses all would be kept busy with lines about that. */
#define LOSS_QUIET_MS 1000

/* Spans have one exporter, so they need no name. */
static char *make_head(const struct outlet *outlet)
{
    const char *place = outlet->kind->place ? outlet->kind->place(outlet->sink) : NULL;
    struct buffer head = {0};

    if (outlet->takes == JOURNAL_SPANS)
        buffer_append_text(&head, "embergate: tracing");
    else
        buffer_printf(&head, "embergate: log: %s%s%s", outlet->name, place ? ": " : "", place ? place : "");
    buffer_append_char(&head, 0);
    return head.data;
}

struct outlet *outlet_new(const struct sink_kind *kind, unsigned number, struct sink *sink, enum journal_kind takes,
                          uint64_t bound, const char *run)
{
    struct outlet *outlet = ALLOC_NEW(struct outlet);

    outlet->kind = kind;
    outlet->sink = sink;
    outlet->takes = takes;
    outlet->bound = bound;
    outlet->run = run;
    outlet->counts.good = true;
    list_init(&outlet->entries);
    list_init(&outlet->ranges);
    snprintf(outlet->name, sizeof(outlet->name), number > 1 ? "%s-%u" : "%s", kind->name, number);
    outlet->head = make_head(outlet);
    outlet->counts.name = outlet->name;
    outlet->counts.kind = takes;
    return outlet;
}

struct outlet *outlet_free(struct outlet *outlet)
{
    if (!outlet)
        return NULL;
    LIST_EACH(&outlet->entries, node)
        entry_free(LIST_ENTRY(node, struct entry, link));
    LIST_EACH(&outlet->ranges, node)
        range_free(LIST_ENTRY(node, struct range, link));
    buffer_deinit(&outlet->note);
    alloc_free(outlet->head);
    outlet->kind->free(outlet->sink);
    return alloc_free(outlet);
}

/* --- what comes in --- */

void outlet_drop(struct outlet *outlet, uint64_t first, uint64_t lines)
{
    if (lines == 0)
        return;
    outlet->counts.dropped += lines;
    note_trouble(outlet, lines);
    if (outlet->takes == JOURNAL_LINES && !outlet->gone)
        queue_gap(&outlet->entries, gap_of(first, lines));
}

void outlet_add(struct outlet *outlet, struct batch *batch, size_t from, uint64_t first, uint64_t lines)
{
    struct entry slice = {.batch = batch, .from = from, .to = batch->size, .first = first, .lines = lines};

    if (outlet->dropping && outlet->bytes <= outlet->bound - outlet->bound / 4)
        outlet->dropping = false;
    if (outlet->gone || outlet->dropping) {
        outlet_drop(outlet, first, lines);
        return;
    }
    queue_slice(&outlet->entries, &slice);
    outlet->bytes += slice.to - from;
}

/* The newest lines go until the others are within the bound; but never the oldest, which a pipe may have half of. */
static void trim(struct outlet *outlet)
{
    uint64_t fresh;
    struct gap cut;

    if (outlet->bytes <= outlet->bound)
        return;
    outlet->bytes -= queue_cut(&outlet->entries, outlet->bytes - outlet->bound, &cut, &fresh);
    if (cut.lines && outlet->takes == JOURNAL_LINES)
        queue_gap(&outlet->entries, cut);
    if (fresh == 0)
        return;
    outlet->dropping = true;
    outlet->counts.dropped += fresh;
    note_trouble(outlet, fresh);
}

/* --- what was taken --- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The oldest lines under way are no more. Which of them were kept is not known; lines about gaps first. */
static void settle(struct outlet *outlet, uint64_t kept, uint64_t lost)
{
    struct settled group = {0};
    uint64_t count = ranges_settle(&outlet->ranges, kept + lost, &group), notes_kept;

    outlet->under_way -= count;
    kept = least(kept, count);
    notes_kept = least(group.notes, kept);
    lost = count - kept - (group.notes - notes_kept);
    outlet->counts.written += kept - notes_kept;
    if (kept)
        outlet->counts.bytes += kept == count ? group.bytes : group.bytes * kept / count;
    if (notes_kept < group.notes && !outlet->finishing)
        gap_join(&outlet->lost, group.told);
    if (kept)
        outlet->counts.good = outlet->kept = lost == 0;
    if (lost == 0)
        return;
    outlet->counts.dropped += lost;
    outlet->counts.errors += !outlet->finishing;
    outlet->counts.good = false;
    outlet->refused = true;
    outlet->lost_ms = clock_ms();
    note_trouble(outlet, lost);
    if (group.lines.lines)
        gap_join(&outlet->lost, (struct gap){group.lines.first, group.lines.last, lost});
}

static bool has_text(const struct outlet *outlet);

/* Trouble is over when nothing waits any more, and something was kept since lines were dropped last: that a sink took
 * all does not say that it can do anything with it. */
static void look_for_relief(struct outlet *outlet)
{
    if (outlet->trouble && outlet->kept && outlet->counts.good && !outlet->gone && !has_text(outlet) &&
        !outlet->lost.lines)
        note_relief(outlet);
}

static void on_settled(void *data, uint64_t kept, uint64_t lost)
{
    struct outlet *outlet = data;

    settle(outlet, kept, lost);
    if (outlet->pushing)
        return;
    look_for_relief(outlet);
    outlet->changed(outlet->data);
}

static void on_ready(void *data)
{
    struct outlet *outlet = data;

    outlet->stalled = false;
    outlet->again = true;
    if (outlet->pushing)
        return;
    outlet_push(outlet);
    outlet->changed(outlet->data);
}

void outlet_start(struct outlet *outlet, uv_loop_t *loop)
{
    struct sink_events events = {.ready = on_ready, .settled = on_settled, .data = outlet, .head = outlet->head};

    outlet->kind->start(outlet->sink, loop, &events);
}

/* --- what goes out --- */

static bool loss_is_due(const struct outlet *outlet)
{
    return outlet->lost.lines && outlet->takes == JOURNAL_LINES &&
           (outlet->finishing || clock_ms() - outlet->lost_ms >= LOSS_QUIET_MS);
}

/* A gap whose turn it is becomes a line. */
static void write_note(struct outlet *outlet)
{
    struct entry *entry = queue_first(&outlet->entries);

    if (outlet->note.size)
        return;
    if (loss_is_due(outlet)) {
        outlet->told = outlet->lost;
        outlet->lost = (struct gap){0};
    } else if (entry && !entry->batch) {
        outlet->told = gap_of(entry->first, entry->lines);
        entry_free(entry);
    } else {
        return;
    }
    note_write(&outlet->told, outlet->run, &outlet->note);
}

static void taken(struct outlet *outlet, struct bytes text)
{
    struct entry *entry;
    uint64_t lines;

    outlet->taken += text.size;
    if (outlet->note.size) {
        buffer_clear(&outlet->note, 0);
        return;
    }
    entry = queue_first(&outlet->entries);
    lines = entry->to - entry->from == text.size ? entry->lines : count_lines(text);
    outlet->bytes -= text.size;
    entry->from += text.size;
    entry->first += lines;
    entry->lines -= lines;
    if (entry->from == entry->to)
        entry_free(entry);
}

/* One offer of TEXT, whose lines are RANGE. False: no use in going on now. */
static bool offer(struct outlet *outlet, struct bytes text, struct range range)
{
    uint64_t lines = range.lines, before = outlet->under_way;
    bool later = false;
    ssize_t size;

    ranges_add(&outlet->ranges, &range);
    outlet->under_way += lines;
    size = outlet->kind->take(outlet->sink, text, &later);
    if (size < (ssize_t)text.size) {
        uint64_t left = lines - (size > 0 ? count_lines((struct bytes){text.data, (size_t)size}) : 0);

        ranges_undo(&outlet->ranges, left, text.size - (size > 0 ? (size_t)size : 0));
        outlet->under_way -= left;
    }
    if (size > 0 && !later)
        outlet->counts.good = true;
    if (size > 0)
        taken(outlet, (struct bytes){text.data, (size_t)size});
    if (size > 0 && !later && outlet->under_way > before)
        settle(outlet, outlet->under_way - before, 0);
    if (size < 0) {
        outlet->error = (int)size;
        outlet->counts.errors++;
        outlet->counts.good = false;
        outlet->gone = size == SINK_E_GONE;
    }
    return size > 0; /* what took a part says why not the rest when asked again */
}

static bool offer_next(struct outlet *outlet)
{
    struct entry *entry;

    write_note(outlet);
    entry = queue_first(&outlet->entries);
    if (outlet->note.size)
        return offer(outlet, buffer_bytes(&outlet->note),
                     (struct range){.first = outlet->told.first, .lines = 1, .bytes = outlet->note.size, .note = true,
                                    .told = outlet->told});
    return offer(outlet, (struct bytes){entry->batch->data + entry->from, entry->to - entry->from},
                 (struct range){.first = entry->first, .lines = entry->lines, .bytes = entry->to - entry->from});
}

/* What waits can never be written. */
static uint64_t forget(struct outlet *outlet)
{
    uint64_t lines = 0;

    LIST_EACH(&outlet->entries, node) {
        struct entry *entry = LIST_ENTRY(node, struct entry, link);

        lines += entry->batch ? entry->lines : 0;
        entry_free(entry);
    }
    outlet->bytes = 0;
    outlet->lost = (struct gap){0};
    buffer_clear(&outlet->note, 0);
    outlet->counts.dropped += lines;
    return lines;
}

static bool has_text(const struct outlet *outlet)
{
    return outlet->note.size || !list_empty(&outlet->entries) || loss_is_due(outlet);
}

/* Until it takes no more. One that says while it is asked that it is ready is asked again, if it took anything. */
static void offer_all(struct outlet *outlet)
{
    uint64_t before;

    outlet->pushing = true;
    do {
        before = outlet->taken;
        outlet->again = false;
        while (!outlet->stalled && !outlet->gone && has_text(outlet))
            outlet->stalled = !offer_next(outlet);
        if (outlet->again)
            outlet->stalled = false;
    } while (outlet->again && outlet->taken > before);
    outlet->pushing = false;
}

void outlet_push(struct outlet *outlet)
{
    uint64_t lines;

    offer_all(outlet);
    if (outlet->gone) {
        lines = forget(outlet);
        if (lines)
            note_trouble(outlet, lines);
    }
    trim(outlet);
    look_for_relief(outlet);
}

void outlet_retry(struct outlet *outlet)
{
    outlet->stalled = false;
    outlet_push(outlet);
}

bool outlet_waits(const struct outlet *outlet)
{
    return !outlet->gone && (outlet->note.size || !list_empty(&outlet->entries) ||
                             (outlet->lost.lines && outlet->takes == JOURNAL_LINES));
}

uint64_t outlet_abandon(struct outlet *outlet)
{
    uint64_t dropped = outlet->counts.dropped;

    outlet->finishing = true;
    forget(outlet);
    if (outlet->under_way)
        settle(outlet, 0, outlet->under_way);
    outlet->gone = true;
    return outlet->counts.dropped - dropped;
}
