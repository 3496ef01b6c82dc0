/*
 * Standard output may be a pipe that nobody reads, a terminal, a socket, or a file, and other processes may have it as
 * well: so it must not be made non-blocking, and yet no write may wait.
 *
 * Lines go by up to PIPE_BUF bytes, which a pipe takes whole or not at all, so that they do not mix with what others
 * write there; only of a line longer than that may half be taken, and then the rest goes first.
 *
 * To be told of room the descriptor is watched through an epoll set of its own, as uv_poll would change its flags.
 */
#include "base/alloc.h"
#include "base/no_wait.h"
#include "record/line_cut.h"
#include "record/sink.h"

#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

struct sink {
    struct no_wait out;
    int watched;                /* the epoll set, or -1 when writing to it never waits */
    bool polled;                /* poll is a handle of the loop */
    size_t partial;             /* of the next line, written already */
    struct sink_events events;
    uv_poll_t poll;
    void (*closed)(void *data);
    void *closed_data;
};

static int watch(int descriptor)
{
    struct epoll_event event = {.events = EPOLLOUT};
    int set = epoll_create1(EPOLL_CLOEXEC);

    if (set < 0)
        return -1;
    if (epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) == 0)
        return set;
    close(set);
    return -1; /* a file, or a device that is always ready */
}

static int stdout_open(const void *config, struct buffer *errors, struct sink **ret)
{
    struct no_wait out;
    struct sink *sink;
    int r = no_wait_init(&out, STDOUT_FILENO);

    (void)config;
    if (r < 0) {
        buffer_printf(errors, "log: stdout: %s\n", strerror(-r));
        return r;
    }
    sink = ALLOC_NEW(struct sink);
    sink->out = out;
    sink->watched = watch(out.descriptor);
    *ret = sink;
    return 0;
}

static void stdout_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    sink->events = *events;
    if (sink->watched < 0)
        return;
    sink->polled = uv_poll_init(loop, &sink->poll, sink->watched) == 0;
    sink->poll.data = sink;
}

static void on_room(uv_poll_t *poll, int status, int events)
{
    struct sink *sink = poll->data;

    (void)status;
    (void)events;
    uv_poll_stop(poll);
    sink->events.ready(sink->events.data);
}

/* Where the next write ends. */
static size_t piece_size(const struct sink *sink, struct bytes lines)
{
    size_t size = sink->partial + PIPE_BUF < lines.size ? sink->partial + PIPE_BUF : lines.size;
    size_t whole;

    if (sink->watched < 0)
        return lines.size;
    whole = lines_within(lines, size);
    return whole > sink->partial ? whole : size;
}

static ssize_t stdout_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    size_t taken = 0;
    ssize_t size = 0;

    (void)ret_later;
    while (taken < lines.size) {
        struct bytes rest = bytes_skip(lines, taken);
        size_t there, whole, end = piece_size(sink, rest);

        size = no_wait_write(&sink->out, (struct bytes){rest.data + sink->partial, end - sink->partial});
        if (size < 0)
            break;
        there = sink->partial + (size_t)size;
        whole = lines_within(rest, there);
        sink->partial = there - whole;
        taken += whole;
        if (there < end)
            break;
    }
    if (size == -EPIPE)
        return taken ? (ssize_t)taken : SINK_E_GONE;
    if (taken < lines.size && sink->polled)
        uv_poll_start(&sink->poll, UV_READABLE, on_room);
    return taken || size == -EAGAIN || size >= 0 ? (ssize_t)taken : size;
}

static void on_closed(uv_handle_t *handle)
{
    struct sink *sink = handle->data;

    sink->closed(sink->closed_data);
}

static void stdout_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    if (!sink->polled) {
        closed(data);
        return;
    }
    sink->closed = closed;
    sink->closed_data = data;
    uv_close((uv_handle_t *)&sink->poll, on_closed);
}

static struct sink *stdout_free(struct sink *sink)
{
    if (!sink)
        return NULL;
    no_wait_deinit(&sink->out);
    if (sink->watched >= 0)
        close(sink->watched);
    return alloc_free(sink);
}

const struct sink_kind sink_stdout = {
    .name = "stdout",
    .open = stdout_open,
    .start = stdout_start,
    .take = stdout_take,
    .close = stdout_close,
    .free = stdout_free,
};
