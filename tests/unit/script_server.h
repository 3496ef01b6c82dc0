/*
 * A small HTTP/1.1 server on the test's own loop. It counts what it receives and says what its script says: the n-th
 * request gets the n-th reply, the last reply is said again for ever.
 */
#pragma once

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/list.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

enum server_then {
    THEN_KEEP,
    THEN_CLOSE,
    THEN_RESET,
};

struct server_reply {
    struct bytes bytes; /* none: silence */
    enum server_then then;
};

struct server {
    uv_loop_t *loop;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    uint16_t port;
    const struct server_reply *replies;
    size_t reply_count;
    struct list conns;
    unsigned accepted, requests, gone; /* connections, whole requests, connections closed by the other side */
    struct buffer last;                /* the last whole request */
    uint64_t sent;
};

struct server_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    struct list node;
    struct server *server;
    struct buffer in;
};

static void server_conn_closed(uv_handle_t *handle)
{
    struct server_conn *conn = handle->data;

    buffer_deinit(&conn->in);
    alloc_free(conn);
}

static void server_conn_close(struct server_conn *conn)
{
    if (uv_is_closing(&conn->socket.handle))
        return;
    list_remove(&conn->node);
    uv_close(&conn->socket.handle, server_conn_closed);
}

static void server_conn_reset(struct server_conn *conn)
{
    struct linger linger = {1, 0};
    uv_os_fd_t fd;

    uv_fileno(&conn->socket.handle, &fd);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    server_conn_close(conn);
}

struct server_write {
    uv_write_t write;
    enum server_then then;
    char bytes[];
};

static void server_written(uv_write_t *write, int status)
{
    struct server_write *job = (struct server_write *)(void *)write;
    struct server_conn *conn = write->handle->data;

    if (status == 0 && job->then == THEN_CLOSE)
        server_conn_close(conn);
    if (status == 0 && job->then == THEN_RESET)
        server_conn_reset(conn);
    alloc_free(job);
}

static void server_say(struct server_conn *conn, struct bytes bytes, enum server_then then)
{
    struct server_write *job = alloc_bytes(sizeof(*job) + bytes.size);
    uv_buf_t vector = uv_buf_init(job->bytes, (unsigned)bytes.size);

    if (bytes.size)
        memcpy(job->bytes, bytes.data, bytes.size);
    job->then = then;
    conn->server->sent += bytes.size;
    uv_write(&job->write, &conn->socket.stream, &vector, 1, server_written);
}

static void server_answer(struct server_conn *conn)
{
    struct server *server = conn->server;
    size_t at = server->requests++;
    const struct server_reply *reply = &server->replies[at < server->reply_count ? at : server->reply_count - 1];

    server_say(conn, reply->bytes, reply->then);
}

/* The size of the request at the front of CONN's bytes, 0 while it is not whole. */
static size_t server_request_size(const struct server_conn *conn)
{
    struct bytes in = buffer_bytes(&conn->in);
    size_t head = bytes_find(in, BYTES("\r\n\r\n"));
    size_t at, body = 0;

    if (head == in.size)
        return 0;
    at = bytes_find((struct bytes){in.data, head}, BYTES("Content-Length: "));
    if (at < head)
        body = strtoul(in.data + at + 16, NULL, 10);
    return head + 4 + body <= in.size ? head + 4 + body : 0;
}

static void server_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct server_conn *conn = handle->data;

    *ret = uv_buf_init(buffer_reserve(&conn->in, 65536), 65536);
}

static void server_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *unused)
{
    struct server_conn *conn = stream->data;
    size_t size;

    if (count < 0) {
        conn->server->gone++;
        server_conn_close(conn);
        return;
    }
    conn->in.size += (size_t)count;
    while (!uv_is_closing(&conn->socket.handle) && (size = server_request_size(conn)) > 0) {
        conn->server->last.size = 0;
        buffer_append(&conn->server->last, (struct bytes){conn->in.data, size});
        buffer_consume(&conn->in, size);
        server_answer(conn);
    }
}

static void server_connection(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    struct server_conn *conn = ALLOC_NEW(struct server_conn);

    if (server->listener.handle.type == UV_TCP)
        uv_tcp_init(server->loop, &conn->socket.tcp);
    else
        uv_pipe_init(server->loop, &conn->socket.pipe, 0);
    conn->socket.handle.data = conn;
    conn->server = server;
    buffer_init(&conn->in);
    list_append(&server->conns, &conn->node);
    assert(uv_accept(listener, &conn->socket.stream) == 0);
    server->accepted++;
    uv_read_start(&conn->socket.stream, server_alloc, server_read);
}

static void server_init_common(struct server *server, uv_loop_t *loop, const struct server_reply *replies, size_t count)
{
    *server = (struct server){.loop = loop, .replies = replies, .reply_count = count};
    list_init(&server->conns);
    buffer_init(&server->last);
}

static inline void server_init(struct server *server, uv_loop_t *loop, const struct server_reply *replies,
                               size_t count)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    server_init_common(server, loop, replies, count);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &server->listener.tcp);
    server->listener.handle.data = server;
    assert(uv_tcp_bind(&server->listener.tcp, (const struct sockaddr *)&address, 0) == 0);
    assert(uv_listen(&server->listener.stream, 512, server_connection) == 0);
    uv_tcp_getsockname(&server->listener.tcp, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
}

static inline void server_init_unix(struct server *server, uv_loop_t *loop, const char *path,
                                    const struct server_reply *replies, size_t count)
{
    server_init_common(server, loop, replies, count);
    uv_pipe_init(loop, &server->listener.pipe, 0);
    server->listener.handle.data = server;
    assert(uv_pipe_bind(&server->listener.pipe, path) == 0);
    assert(uv_listen(&server->listener.stream, 16, server_connection) == 0);
}

/* All connections but the listener. */
static inline void server_drop(struct server *server)
{
    LIST_EACH(&server->conns, node)
        server_conn_close(LIST_ENTRY(node, struct server_conn, node));
}

static inline void server_deinit(struct server *server)
{
    server_drop(server);
    uv_close(&server->listener.handle, NULL);
    buffer_deinit(&server->last);
}

/* Turn the loop until *FLAG, at most LIMIT_MS. */
static inline bool run_until(uv_loop_t *loop, const bool *flag, unsigned limit_ms)
{
    uint64_t end = uv_hrtime() + (uint64_t)limit_ms * 1000000;

    while (!*flag && uv_hrtime() < end) {
        uv_run(loop, UV_RUN_NOWAIT);
        if (!*flag)
            usleep(200);
    }
    return *flag;
}

static inline void run_for(uv_loop_t *loop, unsigned ms)
{
    const bool never = false;

    run_until(loop, &never, ms);
}
