/*
 * A block handed over counts from that moment, with the lines its source had no room for: so accepted never runs behind
 * what sinks have written or dropped, and the difference is what waits.
 */
#include "record/journal_desk.h"

#include "base/alloc.h"

#include <assert.h>

/* Empty blocks kept, and the largest memory one of them may hold on to. */
#define SPARE_MAX 8
#define SPARE_BYTES (128 << 10)

struct desk *desk_new(uint64_t bound, unsigned row_count)
{
    struct desk *desk = ALLOC_NEW(struct desk);
    int r = uv_mutex_init(&desk->lock);

    assert(r == 0);
    r = uv_cond_init(&desk->over);
    assert(r == 0);
    (void)r;
    list_init(&desk->inbox);
    list_init(&desk->spare);
    desk->bound = bound;
    desk->rows = alloc_zeroed(row_count * sizeof(struct desk_row));
    desk->row_count = row_count;
    return desk;
}

static void free_blocks(struct list *blocks)
{
    LIST_EACH(blocks, node) {
        list_remove(node);
        block_free(LIST_ENTRY(node, struct block, link));
    }
}

struct desk *desk_free(struct desk *desk)
{
    if (!desk)
        return NULL;
    free_blocks(&desk->inbox);
    free_blocks(&desk->spare);
    uv_cond_destroy(&desk->over);
    uv_mutex_destroy(&desk->lock);
    alloc_free(desk->rows);
    return alloc_free(desk);
}

struct block *block_new(enum journal_kind kind)
{
    struct block *block = ALLOC_NEW(struct block);

    list_init(&block->link);
    block->kind = kind;
    return block;
}

struct block *block_free(struct block *block)
{
    if (!block)
        return NULL;
    buffer_deinit(&block->text);
    return alloc_free(block);
}

/* Outlets keep to the bound by themselves, but for lines that must be kept. */
static bool is_full(const struct desk *desk, enum journal_kind kind)
{
    uint64_t kept = desk->keeps && kind == JOURNAL_LINES ? desk->backlog[kind] : 0;

    return desk->handed[kind] + kept >= desk->bound;
}

void desk_judge(struct desk *desk)
{
    bool crowded =
        desk->gone || desk->handed[JOURNAL_LINES] + desk->backlog[JOURNAL_LINES] >= desk->bound / 2;

    for (unsigned kind = 0; kind < JOURNAL_KINDS; kind++)
        atomic_store_explicit(&desk->full[kind], is_full(desk, (enum journal_kind)kind), memory_order_relaxed);
    atomic_store_explicit(&desk->crowded, crowded, memory_order_relaxed);
}

/* Nobody is there to take it. */
static void refuse(struct desk *desk, const struct block *block)
{
    for (unsigned i = 0; i < desk->row_count; i++)
        if (desk->rows[i].takes == block->kind)
            desk->rows[i].counts.dropped += block->lines + block->dropped;
}

static void empty(struct block *block)
{
    buffer_clear(&block->text, SPARE_BYTES);
    block->lines = block->dropped = 0;
}

/* A source that only drops adds to the block it left before, so that a thread that hangs gets no heap of them. */
static bool join_last(struct desk *desk, const struct block *block)
{
    struct block *last = LIST_ENTRY(desk->inbox.prev, struct block, link);

    if (block->lines || list_empty(&desk->inbox) || last->kind != block->kind || last->lines)
        return false;
    last->dropped += block->dropped;
    return true;
}

static struct block *take_spare(struct desk *desk, enum journal_kind kind)
{
    struct list *node = list_first(&desk->spare);
    struct block *block;

    if (!node)
        return NULL;
    list_remove(node);
    desk->spare_count--;
    block = LIST_ENTRY(node, struct block, link);
    block->kind = kind;
    return block;
}

struct block *desk_hand_over(struct desk *desk, struct block *block)
{
    enum journal_kind kind = block->kind;
    struct block *other;
    bool was_empty;

    uv_mutex_lock(&desk->lock);
    was_empty = list_empty(&desk->inbox);
    desk->accepted[kind] += block->lines + block->dropped;
    if (desk->ended || join_last(desk, block)) {
        if (desk->ended)
            refuse(desk, block);
        empty(block);
        other = block;
    } else {
        desk->handed[kind] += block->text.size;
        list_append(&desk->inbox, &block->link);
        desk_judge(desk);
        other = take_spare(desk, kind);
    }
    if (was_empty)
        desk_ring(desk);
    uv_mutex_unlock(&desk->lock);
    return other;
}

void desk_ring(struct desk *desk)
{
    if (desk->bell)
        uv_async_send(desk->bell); /* under the lock: its loop must not be gone by then */
}

void desk_take(struct desk *desk, struct desk_orders *ret)
{
    list_init(&ret->blocks);
    uv_mutex_lock(&desk->lock);
    LIST_EACH(&desk->inbox, node) {
        list_remove(node);
        list_append(&ret->blocks, node);
    }
    ret->reopen = desk->reopen;
    desk->reopen = false;
    ret->finish = desk->finish;
    ret->finish_ms = desk->finish_ms;
    uv_mutex_unlock(&desk->lock);
}

void desk_give_back(struct desk *desk, struct list *done)
{
    LIST_EACH(done, node) {
        struct block *block = LIST_ENTRY(node, struct block, link);

        desk->handed[block->kind] -= block->text.size;
        list_remove(node);
        if (desk->spare_count >= SPARE_MAX) {
            block_free(block);
            continue;
        }
        empty(block);
        list_append(&desk->spare, node);
        desk->spare_count++;
    }
}

uint64_t desk_end(struct desk *desk)
{
    uint64_t lines = 0;

    uv_mutex_lock(&desk->lock);
    LIST_EACH(&desk->inbox, node) {
        const struct block *block = LIST_ENTRY(node, struct block, link);

        refuse(desk, block);
        lines += block->lines;
    }
    desk_give_back(desk, &desk->inbox);
    desk_judge(desk);
    desk->ended = true;
    uv_cond_broadcast(&desk->over);
    uv_mutex_unlock(&desk->lock);
    return lines;
}

struct journal_counts desk_kind_counts(const struct desk *desk, enum journal_kind kind)
{
    return (struct journal_counts){desk->accepted[kind], desk->handed[kind] + desk->backlog[kind]};
}

struct journal_sink_counts desk_sink_counts(const struct desk *desk, unsigned index)
{
    struct journal_sink_counts counts = desk->rows[index].counts;

    counts.accepted = desk->accepted[desk->rows[index].takes];
    counts.waiting = counts.accepted - counts.written - counts.dropped;
    return counts;
}
