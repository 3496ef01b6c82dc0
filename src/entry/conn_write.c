/*
 * Output. While the socket keeps up, everything leaves in one writev and nothing is copied or allocated. What
 * does not fit is copied: one buffer is with libuv, the other gathers what is written meanwhile, so a slow
 * client costs one write per turn of the two, however many pieces there were.
 */
#include "entry/conn_private.h"

#include "base/alloc.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct conn_writing {
    uv_write_t request;
    struct buffer buffer;
};

#define PARTS_AT_ONCE 16

size_t conn_unsent(const struct conn *conn)
{
    if (conn->phase == CONN_CLOSING)
        return 0;
    return conn->waiting.size + uv_stream_get_write_queue_size(&conn->socket.stream);
}

size_t conn_unacknowledged(const struct conn *conn)
{
    uv_os_fd_t descriptor;
    int kept = 0;

    if (uv_fileno(&conn->socket.handle, &descriptor) < 0 || ioctl(descriptor, SIOCOUTQ, &kept) < 0)
        kept = 0;
    return conn_unsent(conn) + (size_t)kept;
}

void conn_free_output(struct conn *conn)
{
    if (conn->writing)
        buffer_deinit(&conn->writing->buffer);
    conn->writing = alloc_free(conn->writing);
    buffer_deinit(&conn->waiting);
}

static void on_written(uv_write_t *request, int status);

/* Hand what waits to libuv, whose hands are empty. */
static void send_waiting(struct conn *conn)
{
    struct conn_writing *writing = conn->writing;
    struct buffer full = conn->waiting;
    uv_buf_t part;

    if (!writing)
        writing = conn->writing = ALLOC_NEW(struct conn_writing);
    conn->waiting = writing->buffer;
    conn->waiting.size = 0;
    writing->buffer = full;
    writing->request.data = conn;
    part = uv_buf_init(full.data, (unsigned)full.size);
    conn->error = uv_write(&writing->request, &conn->socket.stream, &part, 1, on_written);
    conn->write_open = conn->error == 0;
    if (conn->error)
        conn_wake(conn);
}

/* All that was ever queued has left: the stall timer begins anew. */
static void note_progress(struct conn *conn)
{
    conn->checked = conn->progress = uv_now(conn->context->loop);
    conn->progress_sent = conn->queued;
}

/* The socket took something; call the owner only once the state is whole. */
static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = request->data;
    bool drained;

    conn->write_open = false;
    if (conn->phase == CONN_CLOSING)
        return;
    if (status < 0) {
        conn->error = status;
        conn_lost(conn, "reset");
        return;
    }
    if (conn->waiting.size)
        send_waiting(conn);
    else
        conn_free_output(conn);
    drained = conn->above && conn_unsent(conn) <= (conn->piecewise ? 0 : conn->context->limits.low_water);
    if (drained) {
        conn->above = false;
        conn->context->events.drained(conn);
    }
    if (conn->phase == CONN_FLUSH && conn_unsent(conn) == 0)
        conn_half_close(conn);
    else if (conn->phase == CONN_IDLE && conn->ahead.size)
        conn_pump(conn);
    conn_settle(conn);
}

void conn_set_piecewise(struct conn *conn)
{
    conn->piecewise = conn->phase == CONN_OPEN;
}

/* The end of a record: the kernel puts nothing that comes later into the same segment (MSG_EOR, tcp_sendmsg()). libuv
 * has no word for that. */
static int send_record(struct conn *conn, const uv_buf_t *parts, unsigned count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
    uv_os_fd_t descriptor;
    ssize_t sent;

    if (uv_fileno(&conn->socket.handle, &descriptor) < 0)
        return UV_EBADF;
    do
        sent = sendmsg(descriptor, &message, MSG_EOR | MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? uv_translate_sys_error(errno) : (int)sent;
}

/* How many bytes of PARTS the socket took. */
static size_t try_write(struct conn *conn, const struct bytes *parts, unsigned count)
{
    size_t sent = 0;

    while (count) {
        uv_buf_t batch[PARTS_AT_ONCE];
        unsigned size = count < PARTS_AT_ONCE ? count : PARTS_AT_ONCE;
        size_t wanted = 0;
        int r;

        for (unsigned i = 0; i < size; i++) {
            batch[i] = (uv_buf_t){.base = (char *)(uintptr_t)parts[i].data, .len = parts[i].size};
            wanted += parts[i].size;
        }
        if (wanted == 0)
            r = 0;
        else if (conn->piecewise)
            r = send_record(conn, batch, size);
        else
            r = uv_try_write(&conn->socket.stream, batch, size);
        if (r < 0 && r != UV_EAGAIN) {
            conn->error = r;
            conn_wake(conn);
        }
        sent += r > 0 ? (size_t)r : 0;
        if (r < 0 || (size_t)r < wanted)
            break;
        parts += size;
        count -= size;
    }
    return sent;
}

bool conn_write(struct conn *conn, const struct bytes *parts, unsigned count)
{
    size_t skip = 0;
    bool direct;

    if (conn->phase != CONN_OPEN || conn->error)
        return true;
    direct = !conn->write_open && conn->waiting.size == 0;
    if (direct) {
        skip = try_write(conn, parts, count);
        note_progress(conn);
    }
    for (unsigned i = 0; i < count && !conn->error; i++) {
        size_t sent = skip < parts[i].size ? skip : parts[i].size;

        skip -= sent;
        buffer_append(&conn->waiting, bytes_skip(parts[i], sent));
        conn->queued += parts[i].size - sent;
    }
    if (direct && conn->waiting.size)
        send_waiting(conn);
    conn->above |= conn_unsent(conn) > (conn->piecewise ? 0 : conn->context->limits.high_water);
    conn_settle(conn);
    return !conn->above;
}
