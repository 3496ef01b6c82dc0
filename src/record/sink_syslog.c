/*
 * Lines to the local syslog daemon: one datagram each to its unix socket, as much as its queue takes.
 *
 * In the form of RFC 3164 without a host, "<PRI>Mmm dd hh:mm:ss TAG[PID]: line", which is what every libc's syslog()
 * sends and so the only one that all of them read here: journald knows no RFC 5424 (its header would be part of the
 * message), and rsyslog's imuxsock parses local messages as this unless told otherwise. Every line is of severity
 * "info".
 *
 * The daemon may come, go and come again: the socket stays ours and is connected anew, at most once a second.
 */
#include "record/sink.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "record/line_cut.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    SEVERITY_INFO = 6,
    TOGETHER = 32,              /* lines in one call */
    SEND_BYTES = 1 << 20,       /* asked for: a line must fit into what the kernel holds of a sender */
    CONNECT_GAP_MS = 1000,
};

struct sink {
    struct sockaddr_un address;
    struct bytes tag;
    unsigned priority;
    struct buffer header;       /* what every line of this second begins with */
    int64_t header_s;

    int fd;                     /* -1: closed */
    bool connected;
    bool missed;                /* the operator knows that it is away */
    uint64_t connect_at_ms;     /* not before */

    struct sink_events events;
    uv_poll_t poll;             /* for room in a full queue */
    bool polls;                 /* it is one */
    bool woken;                 /* it said that there is room, and nothing was sent since */
    void (*closed)(void *data);
    void *closed_data;
};

/* --- the header ------------------------------------------------------------------------------------------------- */

static void write_header(struct sink *sink)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now = clock_wall_s();
    time_t seconds = (time_t)now;
    struct tm local;

    if (sink->header.size && now == sink->header_s)
        return;
    localtime_r(&seconds, &local);
    buffer_clear(&sink->header, SIZE_MAX);
    buffer_printf(&sink->header, "<%u>%s %2d %02d:%02d:%02d %.*s[%d]: ", sink->priority, months[local.tm_mon],
                  local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec, BYTES_ARG(sink->tag), (int)getpid());
    sink->header_s = now;
}

/* --- the connection --------------------------------------------------------------------------------------------- */

static void tell(struct sink *sink, int error)
{
    bool missed = error < 0;

    if (missed == sink->missed)
        return;
    sink->missed = missed;
    if (missed)
        log_line("%s: %s; lines wait", sink->events.head, strerror(-error));
    else
        log_line("%s: takes lines again", sink->events.head);
}

/* The same socket again, however often: connecting one of datagrams takes no time. */
static int connect_again(struct sink *sink)
{
    uint64_t now = clock_ms();

    if (sink->connected)
        return 0;
    if (now < sink->connect_at_ms)
        return -ENOTCONN;
    sink->connect_at_ms = now + CONNECT_GAP_MS;
    if (connect(sink->fd, (const struct sockaddr *)&sink->address, sizeof(sink->address)) < 0) {
        int error = -errno;

        tell(sink, error);
        return error;
    }
    sink->connected = true;
    return 0;
}

static int lose(struct sink *sink, int error)
{
    sink->connected = false;
    if (connect_again(sink) == 0)
        return 0;
    tell(sink, error);
    return error;
}

/* --- room in the daemon's queue --------------------------------------------------------------------------------- */

static void on_room(uv_poll_t *poll, int status, int events)
{
    struct sink *sink = poll->data;

    uv_poll_stop(poll);
    sink->woken = true;
    sink->events.ready(sink->events.data);
}

/* A kernel that sees room where there is none must not make us turn: then the journal's own pace is kept. */
static void wait_for_room(struct sink *sink)
{
    if (sink->polls && !sink->woken)
        uv_poll_start(&sink->poll, UV_WRITABLE, on_room);
    sink->woken = false;
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

/* As many of the first lines as one call takes: their number, and their bytes in *RET_BYTES; or a negative errno about
 * the first. */
static int send_some(struct sink *sink, struct bytes lines, size_t *ret_bytes)
{
    struct mmsghdr messages[TOGETHER];
    struct iovec parts[TOGETHER][2];
    size_t ends[TOGETHER];
    struct bytes rest = lines;
    unsigned count = 0;
    int sent;

    while (count < TOGETHER && rest.size) {
        struct bytes line = next_line(&rest);

        parts[count][0] = (struct iovec){sink->header.data, sink->header.size};
        parts[count][1] = (struct iovec){(void *)(uintptr_t)line.data, line.size};
        messages[count] = (struct mmsghdr){.msg_hdr = {.msg_iov = parts[count], .msg_iovlen = 2}};
        ends[count++] = lines.size - rest.size;
    }
    do
        sent = sendmmsg(sink->fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent <= 0)
        return sent < 0 ? -errno : -EAGAIN;
    *ret_bytes = ends[sent - 1];
    return sent;
}

/* A line was not sent: what about the next ones? 0: they may be tried. */
static int judge(struct sink *sink, int error, struct bytes *rest, uint64_t *lost)
{
    switch (error) {
    case -EMSGSIZE:
        next_line(rest);
        ++*lost;
        return 0;
    case -EAGAIN:
    case -ENOBUFS:
    case -ENOMEM:
        wait_for_room(sink);
        return -EAGAIN; /* busy, no more */
    default:
        return lose(sink, error);
    }
}

static ssize_t syslog_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    struct bytes rest = lines;
    uint64_t kept = 0, lost = 0;
    int r = connect_again(sink);

    write_header(sink);
    while (r >= 0 && rest.size) {
        size_t bytes;

        r = send_some(sink, rest, &bytes);
        if (r < 0) {
            r = judge(sink, r, &rest, &lost);
            continue;
        }
        tell(sink, 0);
        sink->woken = false;
        kept += (unsigned)r;
        rest = bytes_skip(rest, bytes);
    }
    *ret_later = lost > 0;
    if (lost)
        sink->events.settled(sink->events.data, kept, lost);
    if (rest.size == lines.size && r != -EAGAIN)
        return r;
    return (ssize_t)(lines.size - rest.size);
}

/* The daemon may have another socket at the same place. */
static void syslog_reopen(struct sink *sink)
{
    sink->connected = false;
    sink->connect_at_ms = 0;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static struct sink *syslog_free(struct sink *sink)
{
    if (!sink)
        return NULL;
    if (sink->fd >= 0)
        close(sink->fd);
    buffer_deinit(&sink->header);
    return alloc_free(sink);
}

static int set_address(struct sink *sink, struct bytes path, struct buffer *errors)
{
    if (path.size == 0)
        path = BYTES("/dev/log");
    if (path.size >= sizeof(sink->address.sun_path)) {
        buffer_printf(errors, "log: syslog: %.*s: a socket's path has at most %zu bytes", BYTES_ARG(path),
                      sizeof(sink->address.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    sink->address.sun_family = AF_UNIX;
    memcpy(sink->address.sun_path, path.data, path.size);
    return 0;
}

static int open_socket(struct sink *sink, struct buffer *errors)
{
    int size = SEND_BYTES;
    int error;

    sink->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sink->fd < 0) {
        error = errno;
        buffer_printf(errors, "log: syslog: %s: %s", sink->address.sun_path, strerror(error));
        return -error;
    }
    setsockopt(sink->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return 0;
}

/* A daemon that is not there yet is no error: it may come. */
static int syslog_open(const void *config, struct buffer *errors, struct sink **ret)
{
    const struct config_sink *wanted = config;
    struct sink *sink = ALLOC_NEW(struct sink);
    int r;

    sink->fd = -1;
    sink->tag = wanted->tag.size ? wanted->tag : BYTES("embergate");
    sink->priority = wanted->facility << 3 | SEVERITY_INFO;
    r = set_address(sink, wanted->path, errors);
    if (r == 0)
        r = open_socket(sink, errors);
    if (r < 0) {
        syslog_free(sink);
        return r;
    }
    *ret = sink;
    return 0;
}

static void syslog_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    sink->events = *events;
    sink->polls = uv_poll_init(loop, &sink->poll, sink->fd) == 0;
    sink->poll.data = sink;
}

static void on_closed(uv_handle_t *handle)
{
    struct sink *sink = handle->data;

    sink->closed(sink->closed_data);
}

static void syslog_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    bool polled = sink->polls;

    sink->closed = closed;
    sink->closed_data = data;
    sink->polls = false;
    if (polled)
        uv_close((uv_handle_t *)&sink->poll, on_closed);
    close(sink->fd);
    sink->fd = -1;
    if (!polled)
        closed(data);
}

static const char *syslog_place(const struct sink *sink)
{
    return sink->address.sun_path;
}

const struct sink_kind sink_syslog = {
    .name = "syslog",
    .open = syslog_open,
    .place = syslog_place,
    .start = syslog_start,
    .take = syslog_take,
    .reopen = syslog_reopen,
    .close = syslog_close,
    .free = syslog_free,
};
