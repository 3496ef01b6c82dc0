/*
 * The file sink: whole lines by as few writes as there are pieces, a new file when the old one is large or old enough,
 * and closed ones swept (compressed, removed) by a thread of libuv's pool, one sweep at a time. What a sweep had to
 * leave to another process that still writes to it is looked at again a few seconds later.
 *
 * A file that was moved aside is left for a new one at its path, which loses nothing. While there can be none (its
 * folder is gone, say) lines are not written where nobody would look for them: they wait.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "record/line_cut.h"
#include "record/log_file.h"
#include "record/sink.h"
#include "record/sink_sweep.h"

#include <stdlib.h>

/* How soon after a rotation that failed the next one is tried, and how often that is said. */
#define ROTATE_AGAIN_MS 10000
#define SAID_AGAIN_MS 60000
#define SWEEP_AGAIN_MS 3000

struct sink {
    const struct config_sink *config;
    char *path;
    struct log_file file;
    bool away;                  /* it is not at its path, and nothing can be opened there */
    size_t partial;             /* of the next line, in the file already */
    uint64_t rotations;
    uint64_t rotate_from_ms;    /* not before */
    uint64_t said_ms;

    /* Sweeping */
    uv_loop_t *loop;            /* NULL: not started */
    const char *head;           /* of the operator's lines */
    uv_work_t work;
    struct sweep sweep;
    struct buffer swept;        /* its path: where the file was when the sweep began */
    bool sweeping, again;
    bool left;                  /* by the last one: some files are another's yet */
    uint64_t swept_ms;

    /* Closing */
    void (*closed)(void *data);
    void *closed_data;
};

static struct sink *file_free(struct sink *sink)
{
    if (!sink)
        return NULL;
    log_file_close(&sink->file);
    buffer_deinit(&sink->swept);
    alloc_free(sink->path);
    return alloc_free(sink);
}

static int file_open(const void *config, struct buffer *errors, struct sink **ret)
{
    struct sink *sink = ALLOC_NEW(struct sink);
    int r;

    sink->config = config;
    sink->path = alloc_zeroed(sink->config->path.size + 1);
    memcpy(sink->path, sink->config->path.data, sink->config->path.size);
    sink->file.descriptor = -1;
    sink->sweep = (struct sweep){.keep = sink->config->keep, .gzip = sink->config->gzip};
    r = log_file_open(&sink->file, sink->path);
    if (r < 0) {
        buffer_printf(errors, "log: file: %s: cannot be opened: %s\n", sink->path, strerror(-r));
        file_free(sink);
        return r;
    }
    *ret = sink;
    return 0;
}

static void say(struct sink *sink, const char *what, int error)
{
    uint64_t now = clock_ms();

    if (sink->said_ms && now - sink->said_ms < SAID_AGAIN_MS)
        return;
    sink->said_ms = now;
    log_line("%s: %s: %s", sink->head, what, strerror(-error));
}

/* --- sweeping --- */

static void begin_sweep(struct sink *sink);

static void run_sweep(uv_work_t *work)
{
    struct sink *sink = work->data;

    sweep_run(&sink->sweep, &sink->left); /* what failed stays as it is, until the next one */
}

static void on_swept(uv_work_t *work, int status)
{
    struct sink *sink = work->data;

    (void)status;
    sink->sweeping = false;
    sink->swept_ms = clock_ms();
    if (sink->closed)
        sink->closed(sink->closed_data);
    else if (sink->again)
        begin_sweep(sink);
}

static void begin_sweep(struct sink *sink)
{
    if (!sink->loop || (sink->config->keep == 0 && !sink->config->gzip))
        return;
    sink->again = sink->sweeping;
    if (sink->sweeping)
        return;
    sink->swept.size = 0;
    buffer_append(&sink->swept, (struct bytes){sink->file.target, strlen(sink->file.target) + 1});
    sink->sweep.path = sink->swept.data;
    sink->work.data = sink;
    sink->sweeping = uv_queue_work(sink->loop, &sink->work, run_sweep, on_swept) == 0;
}

static void file_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    sink->loop = loop;
    sink->head = events->head;
    if (sink->config->rotate_bytes || sink->config->rotate_s)
        begin_sweep(sink); /* what an earlier run left */
}

/* --- writing --- */

static void rotate(struct sink *sink)
{
    int r = log_file_rotate(&sink->file);

    if (r < 0) {
        sink->rotate_from_ms = clock_ms() + ROTATE_AGAIN_MS;
        say(sink, "cannot be rotated", r);
        return;
    }
    sink->rotations++;
    begin_sweep(sink);
}

static bool may_rotate(const struct sink *sink)
{
    return sink->file.regular && sink->file.size && !sink->partial && clock_ms() >= sink->rotate_from_ms;
}

static void rotate_if_old(struct sink *sink)
{
    uint64_t longest = (uint64_t)sink->config->rotate_s * 1000;

    if (longest && clock_ms() - sink->file.began_ms >= longest && may_rotate(sink))
        rotate(sink);
}

/* What goes into this file: a new one is begun when not even the first line does. */
static struct bytes piece_of(struct sink *sink, struct bytes lines)
{
    uint64_t limit = sink->config->rotate_bytes;
    size_t fits, first;

    if (!limit || !sink->file.regular || sink->file.size + lines.size <= limit)
        return lines;
    first = first_line(lines);
    if (sink->file.size + first > limit && may_rotate(sink))
        rotate(sink);
    fits = sink->file.size < limit ? lines_within(lines, limit - sink->file.size) : 0;
    if (fits == 0)
        fits = sink->file.size == 0 ? first : lines.size; /* it cannot be rotated now: lines go before sizes */
    return (struct bytes){lines.data, fits};
}

/* A file at its path, when there is another one or none: 0, or a negative errno, and lines wait. */
static int open_again(struct sink *sink)
{
    int r;

    sink->away = false;
    if (!log_file_moved(&sink->file))
        return 0;
    r = log_file_open(&sink->file, sink->path);
    sink->away = r < 0;
    if (r < 0)
        say(sink, "cannot be opened again, lines wait", r);
    else
        sink->partial = 0;
    return r;
}

/* The file may be written to. That it was moved is looked for once a second, and when told; that it was removed always,
 * as that cannot be made good. Of one that was emptied (logrotate's copytruncate) a line's first half went, too. */
static int find_place(struct sink *sink)
{
    if (sink->away || !log_file_look(&sink->file))
        return open_again(sink);
    if (sink->file.regular && sink->file.size == 0)
        sink->partial = 0;
    return 0;
}

static ssize_t file_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    size_t taken = 0, some;
    int r = find_place(sink);

    (void)ret_later;
    if (r == 0)
        rotate_if_old(sink);
    while (taken < lines.size && r == 0) {
        struct bytes piece = piece_of(sink, bytes_skip(lines, taken));

        r = log_file_write(&sink->file, piece, &sink->partial, &some);
        taken += some;
    }
    if (taken || r == -EAGAIN)
        return (ssize_t)taken;
    return r;
}

static void file_reopen(struct sink *sink)
{
    open_again(sink);
}

static void file_tick(struct sink *sink)
{
    if (open_again(sink) == 0 && find_place(sink) == 0)
        rotate_if_old(sink);
    if (!sink->sweeping && sink->left && clock_ms() - sink->swept_ms >= SWEEP_AGAIN_MS)
        begin_sweep(sink);
}

static const char *file_place(const struct sink *sink)
{
    return sink->path;
}

static uint64_t file_rotations(const struct sink *sink)
{
    return sink->rotations;
}

static void file_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    log_file_close(&sink->file);
    if (!sink->sweeping) {
        closed(data);
        return;
    }
    sink->closed = closed;
    sink->closed_data = data;
    atomic_store_explicit(&sink->sweep.stop, true, memory_order_relaxed);
    uv_cancel((uv_req_t *)&sink->work);
}

const struct sink_kind sink_file = {
    .name = "file",
    .open = file_open,
    .place = file_place,
    .start = file_start,
    .take = file_take,
    .reopen = file_reopen,
    .tick = file_tick,
    .rotations = file_rotations,
    .close = file_close,
    .free = file_free,
};
