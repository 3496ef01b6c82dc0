/*
 * A stage for conns: one loop, one listener, an owner that acts by the path it is asked for, and clients on
 * real sockets. Everything runs in one thread; whoever waits turns the loop.
 */
#pragma once

#include "base/alloc.h"
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
    char path[64];
    unsigned requests, body_ends, refusals, gone, drained, closed;
    size_t body_bytes;
    enum failure_kind kind;
    const char *why;
    bool inside;                /* an event is being told */
} stage;

static const struct conn_limits usual_limits = {
    .http = {.line_bytes = 8192, .head_bytes = 16384, .headers = 100, .overhead_bytes = 16384},
    .header_ms = 5000, .body_ms = 5000, .idle_ms = 5000, .stall_ms = 5000,
    .high_water = 65536, .low_water = 16384, .ahead_bytes = 16384,
};

static inline struct conn_limits limits_with(uint32_t header, uint32_t body, uint32_t idle, uint32_t stall)
{
    struct conn_limits limits = usual_limits;

    limits.header_ms = header;
    limits.body_ms = body;
    limits.idle_ms = idle;
    limits.stall_ms = stall;
    return limits;
}

/* --- the owner ------------------------------------------------------------------------------------------ */

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

/* /now answers at once, /hold is left to the test, /cut writes half an answer; the others read their body
 * first and get their path for an answer. */
static void on_request(struct conn *conn, const struct http_request *request)
{
    assert_false(stage.inside);
    assert_null(stage.open);
    stage.inside = true;
    stage.requests++;
    stage.body_bytes = 0;
    snprintf(stage.path, sizeof(stage.path), "%.*s", BYTES_ARG(request->path));
    if (strcmp(stage.path, "/now") == 0) {
        answer(conn, 200, BYTES("now"));
    } else if (strcmp(stage.path, "/hold") == 0) {
        stage.open = conn;
    } else if (strcmp(stage.path, "/cut") == 0) {
        conn_write(conn, &BYTES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha"), 1);
        conn_cut(conn);
    } else {
        conn_read_body(conn);
    }
    stage.inside = false;
}

static void on_body(struct conn *conn, struct bytes piece)
{
    assert_true(piece.size > 0);
    stage.body_bytes += piece.size;
    if (strcmp(stage.path, "/small") == 0 && stage.body_bytes > 1000)
        answer(conn, 413, BYTES("too large"));
}

static void on_body_end(struct conn *conn)
{
    stage.body_ends++;
    if (conn != stage.open)
        answer(conn, 200, bytes_of(stage.path));
}

static void on_refuse(struct conn *conn, enum failure_kind kind, const char *message)
{
    assert_non_null(message);
    assert_false(conn_may_keep(conn));
    stage.refusals++;
    stage.kind = kind;
    stage.open = NULL;
    answer(conn, kind == FAIL_HTTP_TIMEOUT ? 408 : 400, bytes_of(message));
}

static void on_drained(struct conn *conn)
{
    stage.drained++;
}

static void on_gone(struct conn *conn, const char *why)
{
    stage.gone++;
    stage.why = why;
    stage.open = NULL;
}

static void on_conn_closed(struct conn_context *context)
{
    stage.closed++;
}

/* --- the stage ------------------------------------------------------------------------------------------ */

static const struct conn_events events = {.request = on_request, .body = on_body, .body_end = on_body_end,
                                          .refuse = on_refuse, .drained = on_drained, .gone = on_gone};

static void open_stage(const struct conn_limits *limits, const struct listener_gate *gate)
{
    struct config_address address = {.host = BYTES("127.0.0.1")};

    memset(&stage, 0, sizeof(stage));
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&stage.loop);
    stage.context = alloc_zeroed(sizeof(*stage.context));
    conn_context_init(stage.context, &stage.loop, &events, limits);
    stage.context->closed = on_conn_closed;
    assert_int_equal(listener_open(stage.context, &address, -1, gate, &stage.listener), 0);
}

static void turn(void)
{
    struct pollfd loop = {.fd = uv_backend_fd(&stage.loop), .events = POLLIN};

    poll(&loop, 1, 1);
    uv_run(&stage.loop, UV_RUN_NOWAIT);
}

static void turn_for(unsigned ms)
{
    uint64_t end = clock_ms() + ms;

    while (clock_ms() < end)
        turn();
}

/* Turn the loop until FACT holds; a test that waits in vain fails. */
#define WAIT_FOR(fact)                                                                                       \
    do {                                                                                                     \
        uint64_t deadline_ = clock_ms() + 10000;                                                             \
        while (!(fact)) {                                                                                    \
            if (clock_ms() > deadline_)                                                                      \
                fail_msg("waited in vain for: %s", #fact);                                                   \
            turn();                                                                                          \
        }                                                                                                    \
    } while (0)

/* Ends with nothing left: no conn, no handle. */
static void close_stage(void)
{
    stage.listener = listener_close(stage.listener);
    conn_drain_all(stage.context);
    WAIT_FOR(stage.context->count == 0);
    while (uv_run(&stage.loop, UV_RUN_NOWAIT))
        continue;
    assert_int_equal(uv_loop_close(&stage.loop), 0);
    assert_true(list_empty(&stage.context->conns));
    alloc_free(stage.context);
}

/* --- clients -------------------------------------------------------------------------------------------- */

static int client_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(listener_port(stage.listener)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(client >= 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    return client;
}

static void client_send_bytes(int client, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(client, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return;
        data += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
        turn();
    }
}

static void client_send(int client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

/* Read what is there into TEXT (NUL-terminated): the errno of the end, -1 when there is no end yet, 0 for
 * EOF. */
static int client_read(int client, struct buffer *text)
{
    ssize_t size;

    do {
        size = recv(client, buffer_reserve(text, 65536), 65535, MSG_DONTWAIT);
        text->size += size > 0 ? (size_t)size : 0;
    } while (size > 0);
    text->data[text->size] = 0;
    return size == 0 ? 0 : errno == EAGAIN ? -1 : errno;
}

/* Read until COUNT times WORD has come. */
static void client_expect(int client, const char *word, unsigned count)
{
    uint64_t deadline = clock_ms() + 10000;
    struct buffer text = {0};
    unsigned found;
    int end;

    do {
        turn();
        end = client_read(client, &text);
        found = 0;
        for (const char *at = strstr(text.data, word); at; at = strstr(at + 1, word))
            found++;
    } while (found < count && end < 0 && clock_ms() < deadline);
    if (found != count)
        fail_msg("\"%s\" %u times instead of %u in: %s", word, found, count, text.data);
    buffer_deinit(&text);
}

/* Read to the end: 0 for an end in order, else errno. *RET_TEXT is to be freed. */
static int client_end(int client, struct buffer *ret_text)
{
    uint64_t deadline = clock_ms() + 10000;
    struct buffer text = {0};
    int end = -1;

    while (end < 0 && clock_ms() < deadline) {
        turn();
        end = client_read(client, &text);
    }
    assert_int_not_equal(end, -1);
    close(client);
    *ret_text = text;
    return end;
}

/* The whole answer to the end contains WORD, and the connection ends in order. */
static void client_expect_end(int client, const char *word)
{
    struct buffer text;

    assert_int_equal(client_end(client, &text), 0);
    if (!strstr(text.data, word))
        fail_msg("no \"%s\" in: %s", word, text.data);
    buffer_deinit(&text);
}

#define ASK(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
