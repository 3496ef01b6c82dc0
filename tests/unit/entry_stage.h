/*
 * A stage for conns: one loop, one listener, an owner that acts by the path it is asked for, and clients on real
 * sockets. Everything runs in one thread; whoever waits turns the loop.
 */
#pragma once

#include "base/clock.h"
#include "entry/http_out.h"
#include "entry/listener.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* What the owner saw, and what it holds. */
static struct {
    uv_loop_t loop;
    struct conn_context *context;
    struct listener *listener;
    struct conn *open;          /* the request that is held */
    unsigned requests, body_ends, refusals, gone, drained, closed;
    size_t body_bytes;
    enum failure_kind kind;
    const char *why;
} stage;

static const struct conn_limits usual_limits = {
    .http = {.line_bytes = 8192, .head_bytes = 16384, .headers = 100, .overhead_bytes = 16384},
    .header_ms = 5000, .body_ms = 5000, .idle_ms = 5000, .stall_ms = 5000,
    .high_water = 65536, .low_water = 16384, .ahead_bytes = 16384,
};

/* One whole answer with PATH in it. */
static void answer(struct conn *conn, unsigned status, struct bytes body)
{
    struct http_head head = {.status = status, .minor = 1, .content_length = body.size,
                             .close = !conn_may_keep(conn)};
    struct buffer text = {0};

    http_out_head(&head, &text);
    conn_write(conn, (struct bytes[]){buffer_bytes(&text), body}, 2);
    buffer_deinit(&text);
    conn_finish(conn, true);
}

/* /now answers at once, /hold is left to the test, /cut writes half an answer, others read their body first. */
static void on_request(struct conn *conn, const struct http_request *request)
{
    assert_null(conn_owner(conn));
    stage.requests++;
    stage.body_bytes = 0;
    if (bytes_equal(request->path, BYTES("/now"))) {
        answer(conn, 200, BYTES("now"));
    } else if (bytes_equal(request->path, BYTES("/hold"))) {
        conn_set_owner(conn, &stage);
        stage.open = conn;
    } else if (bytes_equal(request->path, BYTES("/cut"))) {
        conn_write(conn, &BYTES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf "), 1);
        conn_cut(conn);
    } else {
        conn_read_body(conn);
    }
}

static void on_body(struct conn *conn, struct bytes piece)
{
    assert_true(piece.size > 0);
    stage.body_bytes += piece.size;
}

static void on_body_end(struct conn *conn)
{
    stage.body_ends++;
    if (conn_owner(conn) == NULL)
        answer(conn, 200, http_in_path(conn));
}
