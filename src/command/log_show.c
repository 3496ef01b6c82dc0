/*
 * The last lines of a large log stand in the end of its last file: a growing part of that is read first, and all only
 * when it does not hold enough. They wait as they will be shown, in a ring.
 *
 * Following is looking, ten times a second: it works on every file system, and costs an fstat() or two a look.
 */
#include "command/log_show.h"

#include "base/alloc.h"
#include "command/log_follow.h"
#include "command/text_table.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#define LOOK_NS 100000000
#define FIRST_PART (1u << 20)
#define GROWTH 16

void log_show(struct log_files *files, const struct log_query *query, const struct log_form_spec *spec,
              struct log_out *out)
{
    struct log_line line;

    log_line_init(&line);
    while (log_files_next(files, &line)) {
        if (!log_query_takes(query, &line))
            continue;
        log_row_write(spec, &line, &out->text);
        if (!log_out_some(out))
            break;
    }
    log_out_flush(out);
    log_line_deinit(&line);
}

/* --- the last ones --- */

struct ring {
    struct buffer *rows;
    unsigned capacity, count, next;
    size_t bytes;
    struct buffer row;          /* the one being written */
};

static void ring_drop(struct ring *ring)
{
    struct buffer *oldest = &ring->rows[(ring->next + ring->capacity - ring->count) % ring->capacity];

    ring->bytes -= oldest->size;
    buffer_deinit(oldest);
    ring->count--;
}

static void ring_take(struct ring *ring, struct bytes row)
{
    while (ring->count && (ring->count == ring->capacity || ring->bytes + row.size > LOG_TAIL_MOST))
        ring_drop(ring);
    buffer_append(&ring->rows[ring->next], row);
    ring->bytes += row.size;
    ring->next = (ring->next + 1) % ring->capacity;
    ring->count++;
}

static void ring_deinit(struct ring *ring)
{
    while (ring->count)
        ring_drop(ring);
    alloc_free(ring->rows);
    buffer_deinit(&ring->row);
}

struct tail {
    struct log_files *files;
    struct log_follow **follows;        /* of each file; NULL: it does not grow */
    const struct log_query *query;
    const struct log_form_spec *spec;
    struct log_line line;
    struct ring ring;
};

/* Of the file AT. */
static void tail_take(struct tail *tail, unsigned at)
{
    if (tail->follows[at])
        log_follow_note(tail->follows[at], &tail->line);
    if (!log_query_takes(tail->query, &tail->line))
        return;
    tail->ring.row.size = 0;
    log_row_write(tail->spec, &tail->line, &tail->ring.row);
    ring_take(&tail->ring, buffer_bytes(&tail->ring.row));
}

/* The last part of the last file, if that holds enough. */
static bool read_end(struct tail *tail)
{
    struct log_files *files = tail->files;
    struct log_reader *last = files->readers[files->count - 1];
    uint64_t broken = files->broken;

    for (uint64_t part = FIRST_PART; log_reader_skip(last, part); part *= GROWTH) {
        while (tail->ring.count)
            ring_drop(&tail->ring);
        files->broken = broken;
        while (log_files_next_of(files, last, &tail->line))
            tail_take(tail, files->count - 1);
        if (tail->ring.count == tail->ring.capacity)
            return true;
    }
    while (tail->ring.count)
        ring_drop(&tail->ring);
    files->broken = broken;
    log_reader_rewind(last);
    return false;
}

/* False: not all of the files was read for it. */
static bool read_last(struct tail *tail)
{
    if (tail->ring.capacity == 0 || read_end(tail))
        return false;
    while (log_files_next(tail->files, &tail->line))
        tail_take(tail, tail->files->at);
    return true;
}

static void write_last(struct tail *tail, struct log_out *out)
{
    struct ring *ring = &tail->ring;

    for (unsigned i = 0; i < ring->count; i++)
        buffer_append(&out->text,
                      buffer_bytes(&ring->rows[(ring->next + ring->capacity - ring->count + i) % ring->capacity]));
    log_out_flush(out);
}

/* --- those to come --- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = 1;
}

static void read_new(struct tail *tail, struct log_follow *follow, struct log_reader *reader, struct log_out *out)
{
    while (!interrupted && log_files_next_of(tail->files, reader, &tail->line)) {
        log_follow_note(follow, &tail->line);
        if (!log_query_takes(tail->query, &tail->line))
            continue;
        log_row_write(tail->spec, &tail->line, &out->text);
        if (!log_out_some(out))
            return;
    }
}

/* At once, for this may go on for days. */
static void tell_missed(struct log_follow *follow, bool end)
{
    uint64_t missed = log_follow_missed(follow, end);
    struct buffer text = {0};

    if (!missed)
        return;
    table_count(&text, missed);
    fprintf(stderr, "%.*s line%s missed\n", BYTES_ARG(buffer_bytes(&text)), missed == 1 ? "" : "s");
    buffer_deinit(&text);
}

static void watch(struct tail *tail, struct log_out *out)
{
    struct timespec look = {.tv_nsec = LOOK_NS};

    while (!interrupted) {
        bool more = false;

        for (unsigned i = 0; i < tail->files->count; i++) {
            struct log_follow *follow = tail->follows[i];
            struct log_reader *reader;

            if (!follow)
                continue;
            log_follow_look(follow);
            while (!interrupted && (reader = log_follow_next(follow))) {
                more = true;
                read_new(tail, follow, reader, out);
            }
            if (!log_out_flush(out))
                return;
            tell_missed(follow, false);
        }
        if (!more)
            nanosleep(&look, NULL);
    }
    for (unsigned i = 0; i < tail->files->count; i++)
        if (tail->follows[i])
            tell_missed(tail->follows[i], true);
}

/* Where the lines end that were there. */
static void begin_to_follow(struct tail *tail, bool all_read)
{
    for (unsigned i = 0; i < tail->files->count; i++) {
        if (!tail->follows[i])
            continue;
        if (!all_read && (tail->ring.capacity == 0 || i + 1 < tail->files->count))
            log_reader_skip(tail->files->readers[i], 0);
        log_follow_begin(tail->follows[i]);
    }
}

void log_tail(struct log_files *files, const struct log_query *query, const struct log_form_spec *spec,
              unsigned count, bool follow, struct log_out *out)
{
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct tail tail = {.files = files, .query = query, .spec = spec, .ring.capacity = count};
    bool any = false, all;

    log_line_init(&tail.line);
    tail.ring.rows = alloc_zeroed((count + 1) * sizeof(*tail.ring.rows));
    tail.follows = alloc_zeroed((files->count + 1) * sizeof(struct log_follow *));
    for (unsigned i = 0; i < files->count && follow; i++) {
        tail.follows[i] = log_follow_new(&files->readers[i]);
        any = any || tail.follows[i];
    }
    all = read_last(&tail);
    interrupted = 0;
    if (any)
        sigaction(SIGINT, &action, NULL);
    write_last(&tail, out);
    begin_to_follow(&tail, all);
    if (any)
        watch(&tail, out);
    for (unsigned i = 0; i < files->count; i++)
        log_follow_free(tail.follows[i]);
    ring_deinit(&tail.ring);
    log_line_deinit(&tail.line);
    alloc_free(tail.follows);
}
