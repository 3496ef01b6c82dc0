/*
 * Neighbours are joined wherever that can be, so the lists stay short however small the pieces are that come.
 */
#include "record/journal_queue.h"

#include "base/alloc.h"
#include "record/line_cut.h"

struct gap gap_of(uint64_t first, uint64_t lines)
{
    return (struct gap){first, first + lines - 1, lines};
}

void gap_join(struct gap *into, struct gap other)
{
    if (other.lines == 0)
        return;
    if (into->lines == 0) {
        *into = other;
        return;
    }
    into->first = other.first < into->first ? other.first : into->first;
    into->last = other.last > into->last ? other.last : into->last;
    into->lines += other.lines;
}

/* --- entries --- */

void entry_free(struct entry *entry)
{
    list_remove(&entry->link);
    batch_unref(entry->batch);
    alloc_free(entry);
}

struct entry *queue_first(const struct list *entries)
{
    struct list *node = list_first(entries);

    return node ? LIST_ENTRY(node, struct entry, link) : NULL;
}

static struct entry *queue_last(const struct list *entries)
{
    return list_empty(entries) ? NULL : LIST_ENTRY(entries->prev, struct entry, link);
}

static void append(struct list *entries, const struct entry *from)
{
    struct entry *entry = ALLOC_NEW(struct entry);

    *entry = *from;
    if (entry->batch)
        batch_ref(entry->batch);
    list_init(&entry->link);
    list_append(entries, &entry->link);
}

void queue_slice(struct list *entries, const struct entry *slice)
{
    struct entry *last = queue_last(entries);

    if (!last || last->batch != slice->batch || last->to != slice->from || last->first + last->lines != slice->first) {
        append(entries, slice);
        return;
    }
    last->to = slice->to;
    last->lines += slice->lines;
}

void queue_gap(struct list *entries, struct gap gap)
{
    struct entry *last = queue_last(entries);

    if (last && !last->batch && last->first + last->lines == gap.first)
        last->lines += gap.lines;
    else
        append(entries, &(struct entry){.first = gap.first, .lines = gap.lines});
}

/* Whole lines off the end of SLICE, WANTED bytes or a little more, not below KEEP bytes. Returns the bytes. */
static size_t cut_slice(struct entry *slice, size_t keep, size_t wanted, uint64_t *ret_lines)
{
    const char *text = slice->batch->data + slice->from;
    size_t size = slice->to - slice->from, left = size;
    uint64_t lines = 0;

    while (left > keep && size - left < wanted) {
        left = lines_within((struct bytes){text, left}, left - 1);
        lines++;
    }
    slice->to = slice->from + left;
    slice->lines -= lines;
    *ret_lines = lines;
    return size - left;
}

/* What must stay of it. */
static size_t kept_size(const struct list *entries, const struct entry *last)
{
    return last->link.prev != entries ? 0 : first_line((struct bytes){last->batch->data + last->from,
                                                                      last->to - last->from});
}

size_t queue_cut(struct list *entries, size_t size, struct gap *ret_cut, uint64_t *ret_fresh)
{
    struct entry *last;
    size_t cut = 0;

    *ret_cut = (struct gap){0};
    *ret_fresh = 0;
    while (cut < size && (last = queue_last(entries))) {
        uint64_t lines = last->lines;

        if (last->batch) {
            cut += cut_slice(last, kept_size(entries, last), size - cut, &lines);
            *ret_fresh += lines;
        }
        if (lines)
            gap_join(ret_cut, gap_of(last->first + (last->batch ? last->lines : 0), lines));
        if (last->batch && last->from < last->to)
            break;
        entry_free(last);
    }
    return cut;
}

/* --- ranges --- */

void range_free(struct range *range)
{
    list_remove(&range->link);
    alloc_free(range);
}

static struct range *ranges_last(struct list *ranges)
{
    return list_empty(ranges) ? NULL : LIST_ENTRY(ranges->prev, struct range, link);
}

void ranges_add(struct list *ranges, const struct range *range)
{
    struct range *last = ranges_last(ranges);

    if (last && !last->note && !range->note && last->first + last->lines == range->first) {
        last->lines += range->lines;
        last->bytes += range->bytes;
        return;
    }
    last = ALLOC_NEW(struct range);
    *last = *range;
    list_init(&last->link);
    list_append(ranges, &last->link);
}

void ranges_undo(struct list *ranges, uint64_t count, uint64_t bytes)
{
    struct range *last = ranges_last(ranges);

    if (!last || !count)
        return;
    last->lines -= count < last->lines ? count : last->lines;
    last->bytes -= bytes < last->bytes ? bytes : last->bytes;
    if (last->lines == 0)
        range_free(last);
}

static uint64_t share_of(uint64_t bytes, uint64_t some, uint64_t lines)
{
    return some == lines ? bytes : (uint64_t)((double)bytes * (double)some / (double)lines);
}

uint64_t ranges_settle(struct list *ranges, uint64_t count, struct settled *ret)
{
    uint64_t left = count;

    while (left && !list_empty(ranges)) {
        struct range *range = LIST_ENTRY(ranges->next, struct range, link);
        uint64_t some = range->lines < left ? range->lines : left;
        uint64_t bytes = share_of(range->bytes, some, range->lines);

        ret->bytes += bytes;
        range->bytes -= bytes;
        if (range->note) {
            ret->notes++;
            gap_join(&ret->told, range->told);
        } else {
            gap_join(&ret->lines, gap_of(range->first, some));
        }
        range->first += some;
        range->lines -= some;
        left -= some;
        if (range->lines == 0)
            range_free(range);
    }
    return count - left;
}
