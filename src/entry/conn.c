/*
 * The life of a connection:
 *
 *     accept -> IDLE -> OPEN -> (DRAIN ->) IDLE -> ... -> OPEN -> FLUSH -> LINGER -> CLOSING
 *
 * The phase says what bytes mean and which timer runs; every entry point changes the state first and then
 * calls conn_settle(), which starts or stops reading and sets the timer. Nothing is called twice on the way:
 * what an owner's call would set off (the next pipelined request, the news of a broken socket) is left to the
 * loop.
 */
#include "entry/conn_private.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

void conn_context_init(struct conn_context *context, uv_loop_t *loop, const struct conn_events *events,
                       const struct conn_limits *limits)
{
    context->loop = loop;
    context->events = *events;
    context->limits = *limits;
    list_init(&context->conns);
    context->count = 0;
    context->draining = false;
    context->closed = NULL;
    context->idle_armed_ms = limits->idle_ms;
}

/* --- birth ---------------------------------------------------------------------------------------------- */

static void keep_peer(struct conn *conn, const struct sockaddr *peer)
{
    const struct sockaddr_in *v4 = (const void *)peer;
    const struct sockaddr_in6 *v6 = (const void *)peer;

    conn->family = peer->sa_family;
    if (peer->sa_family == AF_INET) {
        memcpy(conn->address, &v4->sin_addr, 4);
        conn->port = ntohs(v4->sin_port);
    } else if (peer->sa_family == AF_INET6) {
        memcpy(conn->address, &v6->sin6_addr, 16);
        conn->port = ntohs(v6->sin6_port);
    }
}

static int open_socket(struct conn *conn, int descriptor)
{
    if (conn->family == AF_UNIX) {
        uv_pipe_init(conn->context->loop, &conn->socket.pipe, 0);
        return uv_pipe_open(&conn->socket.pipe, descriptor);
    }
    uv_tcp_init(conn->context->loop, &conn->socket.tcp);
    return uv_tcp_open(&conn->socket.tcp, descriptor);
}

/* idle_ms was lowered: the timers of those that are idle already run too long. */
static void apply_idle_limit(struct conn_context *context)
{
    bool lowered = context->limits.idle_ms < context->idle_armed_ms;

    context->idle_armed_ms = context->limits.idle_ms;
    if (!lowered)
        return;
    LIST_EACH(&context->conns, node)
        conn_arm(LIST_ENTRY(node, struct conn, link));
}

int conn_accept(struct conn_context *context, int descriptor, const struct sockaddr *peer)
{
    struct conn *conn = ALLOC_NEW(struct conn);
    int r;

    apply_idle_limit(context);
    conn->context = context;
    conn->in = http_in_new(&context->limits.http);
    conn->since = uv_now(context->loop);
    conn->head_timed = true;
    list_append(&context->conns, &conn->link);
    context->count++;
    keep_peer(conn, peer);
    uv_timer_init(context->loop, &conn->timer);
    conn->timer.data = conn;
    conn->handles = 2;
    r = open_socket(conn, descriptor);
    conn->socket.handle.data = conn;
    if (r < 0) {
        close(descriptor);
        conn_close(conn);
        return r;
    }
    conn_settle(conn);
    return 0;
}

/* --- death ---------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct conn_context *context = conn->context;

    if (--conn->handles > 0)
        return;
    http_in_free(conn->in);
    buffer_deinit(&conn->ahead);
    conn_free_output(conn);
    alloc_free(conn->peer);
    context->count--;
    if (context->closed)
        context->closed(context);
    alloc_free(conn);
}

void conn_close(struct conn *conn)
{
    if (conn->phase == CONN_CLOSING)
        return;
    conn->phase = CONN_CLOSING;
    list_remove(&conn->link);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
    if (!conn->reset || conn->family == AF_UNIX || uv_tcp_close_reset(&conn->socket.tcp, on_closed) < 0)
        uv_close(&conn->socket.handle, on_closed);
}

void conn_lost(struct conn *conn, const char *why)
{
    if (conn->phase == CONN_CLOSING)
        return;
    if (conn->phase != CONN_OPEN) {
        conn_close(conn);
        return;
    }
    conn_close(conn);
    conn->context->events.gone(conn, why);
}

static void shut_down(struct conn *conn)
{
    uv_os_fd_t descriptor;

    if (uv_fileno(&conn->socket.handle, &descriptor) == 0)
        shutdown(descriptor, SHUT_WR);
}

void conn_half_close(struct conn *conn)
{
    shut_down(conn);
    if (conn->eof) {
        conn_close(conn);
        return;
    }
    conn->phase = CONN_LINGER;
    conn->since = uv_now(conn->context->loop);
}

void conn_end(struct conn *conn)
{
    conn->phase = CONN_FLUSH;
    conn->discarded = 0;
    if (conn_unsent(conn) == 0 && !conn->error)
        conn_half_close(conn);
}

void conn_become_idle(struct conn *conn)
{
    if (conn->context->draining) {
        conn_end(conn);
        return;
    }
    conn->phase = CONN_IDLE;
    conn->fresh = true;
    conn->head_timed = false;
    conn->since = uv_now(conn->context->loop);
    /* A small head stays where it is until the next one comes; a large one is not kept on an idle
     * connection. */
    if (http_in_held(conn->in) > 1024)
        conn_wake(conn);
}

/* --- what the owner says -------------------------------------------------------------------------------- */

bool conn_may_keep(const struct conn *conn)
{
    const struct http_request *request = http_in_request(conn->in);

    if (conn->phase != CONN_OPEN || conn->refused || conn->overrun || conn->context->draining || !request->keep_alive)
        return false;
    /* Nobody knows whether a client that was not told to go on will send its body. */
    if (request->expect_continue && !conn->body_wanted)
        return false;
    return http_in_left(conn->in) <= CONN_DRAIN_BYTES;
}

void conn_finish(struct conn *conn, bool keep)
{
    if (conn->phase != CONN_OPEN)
        return;
    conn->above = false;
    conn->piecewise = false;
    if (!keep || !conn_may_keep(conn)) {
        conn_end(conn);
    } else if (http_in_left(conn->in) == 0) {
        conn_become_idle(conn);
    } else {
        conn->phase = CONN_DRAIN;
        conn->discarded = 0;
        conn->since = uv_now(conn->context->loop);
    }
    if (conn->ahead.size && !conn->input)
        conn_wake(conn);
    conn_settle(conn);
}

/* Chunked and counted answers are visibly broken when the connection ends in the middle, and an end in
 * order brings the last bytes to the client. An HTTP/1.0 answer may have nothing but the end of the
 * connection for its end: it gets a reset, a moment later so that the last bytes are not lost with it. */
void conn_cut(struct conn *conn)
{
    if (conn->phase == CONN_CLOSING)
        return;
    if (conn_unsent(conn) || conn->error || conn->eof || conn->phase != CONN_OPEN) {
        conn->reset = http_in_request(conn->in)->minor == 0;
        conn_close(conn);
        return;
    }
    if (http_in_request(conn->in)->minor == 0 && conn->family != AF_UNIX)
        conn->reset = true;
    else
        shut_down(conn);
    conn->phase = CONN_LINGER;
    conn->discarded = 0;
    conn->since = uv_now(conn->context->loop);
    conn_settle(conn);
}

void conn_drain_all(struct conn_context *context)
{
    context->draining = true;
    LIST_EACH(&context->conns, node) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (conn->phase != CONN_IDLE || http_in_head_begun(conn->in) || conn->ahead.size ||
            conn_readable(conn))
            continue;
        conn->since = uv_now(context->loop);
        if (conn_unsent(conn))
            conn_end(conn);
        else if (!conn->head_timed)
            conn_close(conn);
        conn_settle(conn);
    }
}

void conn_end_all(struct conn_context *context)
{
    LIST_EACH(&context->conns, node) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (conn->phase != CONN_OPEN)
            conn_close(conn);
    }
}

void conn_settle(struct conn *conn)
{
    if (conn->phase == CONN_CLOSING || conn->input)
        return;
    if (conn->phase >= CONN_FLUSH)
        buffer_deinit(&conn->ahead);
    if (conn->phase == CONN_IDLE && !conn->head_timed && !conn->fresh && http_in_head_begun(conn->in)) {
        conn->head_timed = true;
        conn->since = uv_now(conn->context->loop);
    }
    conn_update_reading(conn);
    conn_arm(conn);
}

void conn_wake(struct conn *conn)
{
    conn->woken = true;
}

/* --- questions ------------------------------------------------------------------------------------------ */

void conn_set_owner(struct conn *conn, void *owner)
{
    conn->owner = owner;
}

void *conn_owner(const struct conn *conn)
{
    return conn->owner;
}

struct conn_context *conn_context_of(const struct conn *conn)
{
    return conn->context;
}

const char *conn_peer(struct conn *conn)
{
    char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];

    if (conn->peer)
        return conn->peer;
    if (conn->family != AF_INET && conn->family != AF_INET6)
        return "unix";
    inet_ntop(conn->family, conn->address, address, sizeof(address));
    snprintf(text, sizeof(text), conn->family == AF_INET6 ? "[%s]:%u" : "%s:%u", address, conn->port);
    return conn->peer = alloc_text(text);
}
