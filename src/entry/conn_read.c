/*
 * Input. What was read is pumped through http_in for as long as the phase wants it; the owner's calls inside
 * an event only change the phase, and the pump goes round again. What is not wanted yet waits in `ahead`.
 *
 * While a request is open the socket is read, wanted or not, because the end of the input is how a client is
 * seen to leave. A client that sends more than `ahead` may hold gets its present answer and no other. Only while a
 * body is not wanted yet a full `ahead` stops the reading, and the timer looks at the socket instead.
 */
#include "entry/conn_private.h"

#include "entry/http_out.h"

#include <sys/socket.h>

/* --- the pump ------------------------------------------------------------------------------------------- */

static bool wants(const struct conn *conn, size_t size)
{
    switch (conn->phase) {
    case CONN_IDLE:
        /* A client that asks but does not read gets no further answer into its queue. */
        return size > 0 && conn_unsent(conn) <= conn->context->limits.low_water;
    case CONN_OPEN:
        return conn->body_wanted && !conn->body_told && !conn->refused;
    default:
        return conn->phase == CONN_DRAIN;
    }
}

static void open_request(struct conn *conn)
{
    conn->phase = CONN_OPEN;
    conn->body_wanted = conn->body_told = false;
    conn->body_bytes = 0;
    conn->context->events.request(conn, http_in_request(conn->in));
}

static void take_body(struct conn *conn, struct bytes piece)
{
    if (conn->phase == CONN_OPEN) {
        conn->body_bytes += piece.size;
        conn->context->events.body(conn, piece);
        return;
    }
    conn->discarded += (uint32_t)piece.size;
    if (conn->discarded > CONN_DRAIN_BYTES)
        conn_end(conn);
}

static void end_body(struct conn *conn)
{
    if (conn->phase == CONN_OPEN) {
        conn->body_told = true;
        conn->context->events.body_end(conn);
    } else {
        conn_become_idle(conn);
    }
}

void conn_refuse(struct conn *conn, enum failure_kind kind, const char *message)
{
    conn->phase = CONN_OPEN;
    conn->refused = true;
    conn->discarded = 0;
    conn->context->events.refuse(conn, kind, message);
}

static void break_off(struct conn *conn)
{
    enum failure_kind kind;
    const char *message;

    kind = http_in_error(conn->in, &message);
    if (conn->phase == CONN_DRAIN)
        conn_end(conn);
    else
        conn_refuse(conn, kind, message);
}

/* False: what is there was not enough for anything. */
static bool step(struct conn *conn, struct bytes *input)
{
    struct bytes piece;

    if (conn->fresh && conn->phase == CONN_IDLE) {
        http_in_reset(conn->in);
        conn->fresh = false;
    }
    switch (http_in_next(conn->in, input, &piece)) {
    case HTTP_IN_MORE:
        return false;
    case HTTP_IN_HEAD:
        open_request(conn);
        return true;
    case HTTP_IN_BODY:
        take_body(conn, piece);
        return true;
    case HTTP_IN_END:
        end_body(conn);
        return true;
    default:
        break_off(conn);
        return true;
    }
}

static void pump(struct conn *conn, struct bytes *input)
{
    conn->input = input;
    while (wants(conn, input->size) && step(conn, input))
        continue;
    conn->input = NULL;
}

void conn_pump(struct conn *conn)
{
    struct bytes rest = buffer_bytes(&conn->ahead);

    pump(conn, &rest);
    buffer_consume(&conn->ahead, conn->ahead.size - rest.size);
    if (conn->ahead.size == 0)
        buffer_deinit(&conn->ahead);
}

/* --- the socket ----------------------------------------------------------------------------------------- */

static void discard(struct conn *conn, size_t size)
{
    conn->discarded += (uint32_t)size;
    if (conn->phase == CONN_LINGER && conn->discarded > CONN_LINGER_BYTES)
        conn_close(conn);
}

static bool is_deaf(const struct conn *conn)
{
    return conn->phase >= CONN_FLUSH || (conn->phase == CONN_OPEN && (conn->refused || conn->overrun));
}

/* Nothing but later requests can come now. */
static bool is_ahead(const struct conn *conn)
{
    return conn->phase == CONN_OPEN && (conn->body_told || !http_in_request(conn->in)->has_body);
}

/* A client that sends more ahead than is held gets its present answer and no other: what is ahead is thrown away, and
 * its socket is read on, so that its leaving is seen. */
static bool overruns(struct conn *conn, size_t size)
{
    if (!is_ahead(conn) || conn->ahead.size + size <= conn->context->limits.ahead_bytes)
        return false;
    conn->overrun = true;
    buffer_deinit(&conn->ahead);
    return true;
}

static void take_input(struct conn *conn, struct bytes input)
{
    if (is_deaf(conn) || overruns(conn, input.size)) {
        discard(conn, input.size);
        return;
    }
    if (conn->ahead.size) {
        buffer_append(&conn->ahead, input);
        conn_pump(conn);
        return;
    }
    pump(conn, &input);
    if (input.size && !is_deaf(conn))
        buffer_append(&conn->ahead, input);
}

/* The client sends no more. A client that half-closes while its request is open is taken to have left. */
static void end_input(struct conn *conn, ssize_t error)
{
    bool answer_on_its_way = conn_unsent(conn) && !conn->error && conn->phase != CONN_OPEN;

    conn->reading = false;
    conn->eof = true;
    if (error == UV_EOF && answer_on_its_way)
        conn->phase = CONN_FLUSH;
    else
        conn_lost(conn, error == UV_EOF ? "left" : "reset");
}

/* One buffer serves all: whatever must outlive the callback is copied there. */
static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct conn *conn = handle->data;
    struct conn_context *context = conn->context;
    size_t size = sizeof(context->read_buffer), room;

    if (conn->phase == CONN_OPEN && !wants(conn, 1) && !conn->refused) {
        room = context->limits.ahead_bytes - conn->ahead.size;
        size = room == 0 || conn->overrun ? size : size < room ? size : room;
    }
    *ret = uv_buf_init(context->read_buffer, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct conn *conn = stream->data;

    if (size == 0)
        return;
    if (size < 0)
        end_input(conn, size);
    else
        take_input(conn, (struct bytes){buffer->base, (size_t)size});
    conn_settle(conn);
}

static bool should_read(const struct conn *conn)
{
    if (conn->eof)
        return false;
    if (is_ahead(conn))
        return true;
    if (is_deaf(conn))
        return conn->discarded <= CONN_LINGER_BYTES;
    if (conn->phase == CONN_DRAIN || (conn->phase == CONN_OPEN && wants(conn, 1)))
        return true;
    return conn->ahead.size == 0 || conn->ahead.size < conn->context->limits.ahead_bytes;
}

void conn_update_reading(struct conn *conn)
{
    bool should = should_read(conn);

    if (should && !conn->reading)
        conn->reading = uv_read_start(&conn->socket.stream, on_buffer, on_read) == 0;
    else if (!should && conn->reading)
        conn->reading = uv_read_stop(&conn->socket.stream) != 0;
}

bool conn_readable(const struct conn *conn)
{
    uv_os_fd_t descriptor;
    char byte;

    return uv_fileno(&conn->socket.handle, &descriptor) == 0 &&
           recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* --- the body ------------------------------------------------------------------------------------------- */

void conn_read_body(struct conn *conn)
{
    size_t there = conn->input ? conn->input->size : conn->ahead.size;
    struct bytes go_on = HTTP_OUT_CONTINUE;

    if (conn->phase != CONN_OPEN || conn->refused || conn->body_wanted)
        return;
    conn->body_wanted = true;
    conn->since = uv_now(conn->context->loop);
    conn->window_bytes = 0;
    if (http_in_request(conn->in)->expect_continue && there == 0)
        conn_write(conn, &go_on, 1);
    if (!conn->input)
        conn_pump(conn);
    conn_settle(conn);
}
