/*
 * The thread: a loop of its own, since some sinks are connections. The bell brings blocks and orders; a timer asks
 * those again that could not take, another one ticks for what depends on age.
 *
 *   bell:  blocks -> numbered into batches -> each outlet: what it takes goes, the rest waits in it -> numbers shown
 *
 * In the end everything that waits is tried until a deadline, sinks and handles are closed, and the loop runs out.
 */
#include "record/journal_private.h"

#include "base/alloc.h"
#include "base/log.h"
#include "record/journal_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS 1000
/* How much longer than it may the thread may take to close everything. */
#define CLOSING_MS 2000

/* --- made and unmade --- */

static unsigned number_of_kind(const struct journal *journal, const struct sink_kind *kind)
{
    unsigned number = 1;

    for (unsigned i = 0; i < journal->outlet_count; i++)
        number += journal->outlets[i]->kind == kind;
    return number;
}

int journal_new_with(const struct journal_sink_setup *setups, unsigned count, uint64_t bound, struct buffer *errors,
                     struct journal **ret)
{
    struct journal *journal = ALLOC_NEW(struct journal);

    list_init(&journal->done);
    run_make(journal->run);
    journal->outlets = alloc_zeroed(count * sizeof(struct outlet *));
    journal->desk = desk_new(bound, count);
    for (unsigned i = 0; i < count; i++) {
        struct outlet *outlet;
        struct sink *sink;
        int r = setups[i].kind->open(setups[i].config, errors, &sink);

        if (r < 0) {
            journal_free(journal);
            return r;
        }
        outlet = outlet_new(setups[i].kind, number_of_kind(journal, setups[i].kind), sink, setups[i].takes, bound,
                            journal->run);
        journal->outlets[journal->outlet_count++] = outlet;
        journal->takes[outlet->takes] = true;
        journal->desk->rows[i] = (struct desk_row){outlet->takes, outlet->counts};
    }
    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++)
        journal->numbers[kind] = 1;
    *ret = journal;
    return 0;
}

struct journal *journal_free(struct journal *journal)
{
    if (!journal || journal->stuck)
        return NULL; /* a thread that hangs in a write still has all of it */
    for (unsigned i = 0; i < journal->outlet_count; i++)
        outlet_free(journal->outlets[i]);
    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++)
        batch_unref(journal->batches[kind]);
    alloc_free(journal->outlets);
    desk_free(journal->desk);
    return alloc_free(journal);
}

void journal_keep_lines(struct journal *journal)
{
    journal->desk->keeps = true;
    for (unsigned i = 0; i < journal->outlet_count; i++)
        if (journal->outlets[i]->takes == JOURNAL_LINES)
            journal->outlets[i]->bound = UINT64_MAX;
}

/* --- the numbers that are shown --- */

static void show(struct journal *journal)
{
    struct desk *desk = journal->desk;

    uv_mutex_lock(&desk->lock);
    memset(desk->backlog, 0, sizeof(desk->backlog));
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        struct outlet *outlet = journal->outlets[i];

        if (outlet->kind->rotations)
            outlet->counts.rotations = outlet->kind->rotations(outlet->sink);
        desk->rows[i].counts = outlet->counts;
        desk->gone |= outlet->gone && !journal->closing && outlet->takes == JOURNAL_LINES;
        if (outlet->bytes > desk->backlog[outlet->takes])
            desk->backlog[outlet->takes] = outlet->bytes;
    }
    desk_give_back(desk, &journal->done);
    desk_judge(desk);
    uv_mutex_unlock(&desk->lock);
}

/* --- the end --- */

static bool anything_left(const struct journal *journal)
{
    for (unsigned i = 0; i < journal->outlet_count; i++)
        if (outlet_waits(journal->outlets[i]) || journal->outlets[i]->under_way)
            return true;
    return false;
}

static void sink_is_closed(void *data)
{
    (void)data; /* the loop runs out of handles by itself */
}

static void close_handles(struct journal *journal)
{
    uv_mutex_lock(&journal->desk->lock);
    journal->desk->bell = NULL;
    uv_mutex_unlock(&journal->desk->lock);
    uv_close((uv_handle_t *)&journal->bell, NULL);
    uv_close((uv_handle_t *)&journal->retry, NULL);
    uv_close((uv_handle_t *)&journal->tick, NULL);
    uv_close((uv_handle_t *)&journal->deadline, NULL);
}

static void close_all(struct journal *journal)
{
    if (journal->closing)
        return;
    journal->closing = true;
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        note_end(journal->outlets[i], outlet_abandon(journal->outlets[i]));
        journal->outlets[i]->kind->close(journal->outlets[i]->sink, sink_is_closed, journal);
    }
    close_handles(journal);
}

static void on_deadline(uv_timer_t *timer)
{
    close_all(timer->data);
}

static void begin_finish(struct journal *journal, uint32_t within_ms)
{
    if (journal->finishing)
        return;
    journal->finishing = true;
    uv_timer_start(&journal->deadline, on_deadline, within_ms, 0);
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        journal->outlets[i]->finishing = true;
        outlet_retry(journal->outlets[i]);
    }
}

/* --- turns --- */

static void on_retry(uv_timer_t *timer);

/* After any turn: the numbers are shown, and either it goes on, or it was the last. */
static void end_turn(struct journal *journal)
{
    bool waits = false;

    for (unsigned i = 0; i < journal->outlet_count; i++)
        waits |= outlet_waits(journal->outlets[i]);
    show(journal);
    journal->working = false;
    if (journal->closing)
        return;
    if (journal->finishing && !anything_left(journal))
        close_all(journal);
    else if (!waits)
        uv_timer_stop(&journal->retry);
    else if (!uv_is_active((uv_handle_t *)&journal->retry))
        uv_timer_start(&journal->retry, on_retry, SINK_RETRY_MS, SINK_RETRY_MS);
}

static void on_changed(void *data)
{
    struct journal *journal = data;

    if (!journal->working && !journal->closing)
        end_turn(journal);
}

static void on_retry(uv_timer_t *timer)
{
    struct journal *journal = timer->data;

    journal->working = true;
    for (unsigned i = 0; i < journal->outlet_count; i++)
        outlet_retry(journal->outlets[i]);
    end_turn(journal);
}

static void on_tick(uv_timer_t *timer)
{
    struct journal *journal = timer->data;

    journal->working = true;
    for (unsigned i = 0; i < journal->outlet_count; i++)
        if (journal->outlets[i]->kind->tick)
            journal->outlets[i]->kind->tick(journal->outlets[i]->sink);
    end_turn(journal);
}

static void push_all(struct journal *journal)
{
    for (unsigned i = 0; i < journal->outlet_count; i++)
        outlet_push(journal->outlets[i]);
}

static bool has_room(struct batch *batch, size_t need)
{
    if (!batch)
        return false;
    if (batch->references == 1)
        batch->size = 0; /* nobody waits for it any more */
    return batch->capacity - batch->size >= need;
}

/* The batch that BLOCK fits into. */
static struct batch *batch_for(struct journal *journal, const struct block *block)
{
    struct batch **batch = &journal->batches[block->kind];
    size_t need = batch_need(block);

    if (!has_room(*batch, need)) {
        push_all(journal);
        if (!has_room(*batch, need)) {
            batch_unref(*batch);
            *batch = batch_new(need > BATCH_BYTES ? need : BATCH_BYTES);
        }
    }
    return *batch;
}

static void number_block(struct journal *journal, const struct block *block)
{
    struct batch *batch = batch_for(journal, block);
    uint64_t *number = &journal->numbers[block->kind];
    uint64_t first = *number + block->dropped;
    size_t from = batch->size;

    batch_add(batch, block, first, journal->run);
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        struct outlet *outlet = journal->outlets[i];

        if (outlet->takes != block->kind)
            continue;
        outlet_drop(outlet, *number, block->dropped);
        if (block->lines)
            outlet_add(outlet, batch, from, first, block->lines);
    }
    *number = first + block->lines;
    if (batch->capacity > BATCH_BYTES)
        journal->batches[block->kind] = batch_unref(batch);
}

static void reopen_all(struct journal *journal)
{
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        if (!journal->outlets[i]->kind->reopen)
            continue;
        journal->outlets[i]->kind->reopen(journal->outlets[i]->sink);
        outlet_retry(journal->outlets[i]);
    }
}

static void on_bell(uv_async_t *bell)
{
    struct journal *journal = bell->data;
    struct desk_orders orders;

    if (journal->closing)
        return;
    journal->working = true;
    desk_take(journal->desk, &orders);
    LIST_EACH(&orders.blocks, node) {
        number_block(journal, LIST_ENTRY(node, struct block, link));
        list_remove(node);
        list_append(&journal->done, node);
    }
    push_all(journal);
    if (orders.reopen)
        reopen_all(journal);
    if (orders.finish)
        begin_finish(journal, orders.finish_ms);
    end_turn(journal);
}

/* --- the thread --- */

static void run_thread(void *data)
{
    struct journal *journal = data;

    for (unsigned i = 0; i < journal->outlet_count; i++)
        outlet_start(journal->outlets[i], &journal->loop);
    uv_run(&journal->loop, UV_RUN_DEFAULT);
    uv_loop_close(&journal->loop);
    show(journal);
    journal->abandoned = desk_end(journal->desk);
}

static void forget_loop(struct journal *journal)
{
    close_handles(journal);
    uv_run(&journal->loop, UV_RUN_DEFAULT);
    uv_loop_close(&journal->loop);
}

int journal_start(struct journal *journal)
{
    int r;

    if (!journal)
        return 0;
    r = uv_loop_init(&journal->loop);
    if (r < 0)
        return r;
    uv_async_init(&journal->loop, &journal->bell, on_bell);
    uv_timer_init(&journal->loop, &journal->retry);
    uv_timer_init(&journal->loop, &journal->tick);
    uv_timer_init(&journal->loop, &journal->deadline);
    journal->bell.data = journal->retry.data = journal->tick.data = journal->deadline.data = journal;
    for (unsigned i = 0; i < journal->outlet_count; i++) {
        journal->outlets[i]->changed = on_changed;
        journal->outlets[i]->data = journal;
        if (journal->outlets[i]->kind->tick)
            uv_timer_start(&journal->tick, on_tick, TICK_MS, TICK_MS);
    }
    journal->desk->bell = &journal->bell;
    uv_async_send(&journal->bell);
    r = uv_thread_create(&journal->thread, run_thread, journal);
    if (r < 0)
        forget_loop(journal);
    journal->started = r == 0;
    return r;
}

/* --- from other threads --- */

void journal_reopen(struct journal *journal)
{
    if (!journal)
        return;
    uv_mutex_lock(&journal->desk->lock);
    journal->desk->reopen = true;
    desk_ring(journal->desk);
    uv_mutex_unlock(&journal->desk->lock);
}

/* Whether the thread came to its end in time. */
static bool wait_for_end(struct desk *desk, uint32_t within_ms)
{
    uint64_t until = uv_hrtime() + ((uint64_t)within_ms + CLOSING_MS) * 1000000;
    bool ended;

    uv_mutex_lock(&desk->lock);
    desk->finish = true;
    desk->finish_ms = within_ms;
    desk_ring(desk);
    while (!desk->ended) {
        uint64_t now = uv_hrtime();

        if (now >= until || uv_cond_timedwait(&desk->over, &desk->lock, until - now) == UV_ETIMEDOUT)
            break;
    }
    ended = desk->ended;
    uv_mutex_unlock(&desk->lock);
    return ended;
}

void journal_finish(struct journal *journal, uint32_t within_ms)
{
    if (!journal || !journal->started)
        return;
    journal->started = false;
    if (!wait_for_end(journal->desk, within_ms)) {
        journal->stuck = true;
        log_line("embergate: log: a sink does not return, what waits for it is lost");
        return;
    }
    uv_thread_join(&journal->thread);
    if (journal->abandoned)
        log_line("embergate: log: %" PRIu64 " lines came too late to be written", journal->abandoned);
}

bool journal_is_crowded(const struct journal *journal)
{
    return journal && atomic_load_explicit(&journal->desk->crowded, memory_order_relaxed);
}

bool journal_takes(const struct journal *journal, enum journal_kind kind)
{
    return journal && journal->takes[kind];
}

struct journal_counts journal_counts(const struct journal *journal, enum journal_kind kind)
{
    struct journal_counts counts = {0};

    if (!journal)
        return counts;
    uv_mutex_lock(&journal->desk->lock);
    counts = desk_kind_counts(journal->desk, kind);
    uv_mutex_unlock(&journal->desk->lock);
    return counts;
}

unsigned journal_sink_count(const struct journal *journal)
{
    return journal ? journal->outlet_count : 0;
}

struct journal_sink_counts journal_sink_counts(const struct journal *journal, unsigned index)
{
    struct journal_sink_counts counts;

    uv_mutex_lock(&journal->desk->lock);
    counts = desk_sink_counts(journal->desk, index);
    uv_mutex_unlock(&journal->desk->lock);
    return counts;
}

void journal_all_counts(const struct journal *journal, struct journal_counts ret_kinds[JOURNAL_KINDS],
                        struct journal_sink_counts *ret_sinks)
{
    memset(ret_kinds, 0, sizeof(*ret_kinds) * JOURNAL_KINDS);
    if (!journal)
        return;
    uv_mutex_lock(&journal->desk->lock);
    for (int kind = 0; kind < JOURNAL_KINDS; kind++)
        ret_kinds[kind] = desk_kind_counts(journal->desk, (enum journal_kind)kind);
    for (unsigned i = 0; i < journal->outlet_count; i++)
        ret_sinks[i] = desk_sink_counts(journal->desk, i);
    uv_mutex_unlock(&journal->desk->lock);
}
