/*
 * One socket to an upstream, and the answers that come over it.
 *
 * A request leaves in one writev, head and body where they lie; only what the socket does not take is copied (the
 * head) and left to libuv. Reading begins with the first request and goes on between requests, so nothing has to be
 * told to the kernel per request.
 *
 * Whatever ends a connection before its time closes it first and is told in the close callback: so an owner is never
 * called from inside its own call.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEEPALIVE_S = 60 };

/* --- its end --------------------------------------------------------------------------------------------------- */

/* There may be a key in it. */
static void forget_head(struct http1_connection *connection)
{
    if (connection->unsent.size)
        explicit_bzero(connection->unsent.data, connection->unsent.size);
    buffer_deinit(&connection->unsent);
}

static void on_closed(uv_handle_t *handle)
{
    struct http1_connection *connection = handle->data;
    struct http1_transfer *transfer = connection->transfer;
    struct http1_loop *loop = connection->loop;

    http1_answer_free(connection->answer);
    forget_head(connection);
    alloc_free(connection);
    if (transfer)
        http1_transfer_end(transfer, transfer->result, transfer->reason);
    http1_loop_handle_closed(loop);
}

static void close_socket(struct http1_connection *connection)
{
    http1_loop_forget(connection->loop, connection);
    connection->state = HTTP1_CLOSING;
    uv_close(&connection->socket.handle, on_closed);
}

void http1_connection_close(struct http1_connection *connection)
{
    connection->transfer = NULL;
    if (connection->state != HTTP1_CLOSING)
        close_socket(connection);
}

void http1_connection_fail(struct http1_connection *connection, int result, const char *reason)
{
    if (connection->state == HTTP1_CLOSING)
        return;
    if (connection->transfer) {
        connection->transfer->result = result;
        connection->transfer->reason = reason;
    }
    close_socket(connection);
}

/* --- the answer ------------------------------------------------------------------------------------------------ */

static bool on_head(void *data, const struct transfer_head *head)
{
    struct http1_connection *connection = data;
    struct transfer *transfer = &connection->transfer->base;

    connection->spent = transfer_spends(connection->transfer->body.size > 0, head->status);
    transfer->events->head(transfer->data, head);
    return connection->transfer != NULL;
}

static bool on_body(void *data, struct bytes piece)
{
    struct http1_connection *connection = data;
    struct transfer *transfer = &connection->transfer->base;

    transfer->events->body(transfer->data, piece);
    return connection->transfer != NULL;
}

static void finish(struct http1_connection *connection, bool reusable)
{
    struct http1_transfer *transfer = connection->transfer;
    bool whole = !connection->writing && !connection->broken;

    connection->transfer = NULL;
    if (reusable && whole && !connection->spent && connection->version == connection->target->version) {
        http1_loop_keep(connection->loop, connection);
        http1_connection_heed_pause(connection);
    } else {
        http1_connection_close(connection);
    }
    http1_transfer_end(transfer, 0, "");
}

/* No byte of the answer came, and none ever will. */
static void end_unanswered(struct http1_connection *connection, const char *reason)
{
    if (connection->transfer->reused && transfer_is_early(&connection->transfer->base))
        http1_connection_fail(connection, TRANSFER_E_STALE, "a kept connection was closed before an answer came");
    else
        http1_connection_fail(connection, TRANSFER_E_RESET, reason);
}

static void read_end(struct http1_connection *connection, int error)
{
    const char *reason = error == UV_EOF ? "the connection was closed before the answer was whole" : uv_strerror(error);

    if (connection->state == HTTP1_IDLE)
        http1_connection_close(connection);
    else if (!http1_answer_begun(connection->answer))
        end_unanswered(connection, reason);
    else if (error == UV_EOF && !connection->broken && http1_answer_end(connection->answer) == HTTP1_ANSWER_WHOLE)
        finish(connection, false);
    else
        http1_connection_fail(connection, TRANSFER_E_RESET, reason);
}

static void read_bytes(struct http1_connection *connection, struct bytes input)
{
    struct http1_answer *answer = connection->answer;
    struct bytes rest = BYTES_NONE;

    if (connection->state == HTTP1_IDLE) {
        http1_connection_close(connection); /* nobody asked */
        return;
    }
    switch (http1_answer_read(answer, input, &rest)) {
    case HTTP1_ANSWER_WHOLE:
        finish(connection, rest.size == 0 && http1_answer_keeps(answer));
        break;
    case HTTP1_ANSWER_CUT:
        http1_connection_fail(connection, TRANSFER_E_RESET, http1_answer_reason(answer));
        break;
    case HTTP1_ANSWER_BAD:
        http1_connection_fail(connection, TRANSFER_E_BAD, http1_answer_reason(answer));
        break;
    case HTTP1_ANSWER_MORE:
    case HTTP1_ANSWER_LEFT:
        break;
    }
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct http1_connection *connection = handle->data;

    *ret_buffer = uv_buf_init(connection->loop->read, HTTP1_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct http1_connection *connection = stream->data;

    if (size < 0)
        read_end(connection, (int)size);
    else if (size > 0)
        read_bytes(connection, (struct bytes){buffer->base, (size_t)size});
}

void http1_connection_heed_pause(struct http1_connection *connection)
{
    bool paused = connection->transfer && connection->transfer->paused;

    if (connection->state != HTTP1_BUSY && connection->state != HTTP1_IDLE)
        return;
    if (paused && connection->reading)
        uv_read_stop(&connection->socket.stream);
    else if (!paused && !connection->reading)
        uv_read_start(&connection->socket.stream, give_room, on_read);
    connection->reading = !paused;
}

/* --- the request ----------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status)
{
    struct http1_connection *connection = request->data;

    connection->writing = false;
    connection->broken = status < 0;
    if (connection->state != HTTP1_CLOSING)
        forget_head(connection);
}

/* What the socket did not take: libuv waits until it does. */
static void send_rest(struct http1_connection *connection, struct bytes head, size_t sent)
{
    struct bytes body = connection->transfer->body;
    struct buffer rest = {0};
    uv_buf_t parts[2];
    int r;

    if (sent < head.size)
        buffer_append(&rest, bytes_skip(head, sent));
    else
        body = bytes_skip(body, sent - head.size);
    forget_head(connection); /* HEAD may have been in it */
    connection->unsent = rest;
    parts[0] = uv_buf_init(rest.data, (unsigned)rest.size);
    parts[1] = uv_buf_init((char *)(uintptr_t)body.data, (unsigned)body.size);
    connection->request.write.data = connection;
    r = uv_write(&connection->request.write, &connection->socket.stream, rest.size ? parts : parts + 1,
                 rest.size && body.size ? 2 : 1, on_written);
    connection->writing = r == 0;
    if (r < 0)
        http1_connection_fail(connection, TRANSFER_E_RESET, uv_strerror(r));
}

static void send_request(struct http1_connection *connection, struct bytes head)
{
    struct bytes body = connection->transfer->body;
    uv_buf_t parts[2] = {uv_buf_init((char *)(uintptr_t)head.data, (unsigned)head.size),
                         uv_buf_init((char *)(uintptr_t)body.data, (unsigned)body.size)};
    int sent = uv_try_write(&connection->socket.stream, parts, body.size ? 2 : 1);

    connection->broken = sent == UV_EPIPE || sent == UV_ECONNRESET;
    if (connection->broken)
        return; /* what the peer said before it went is read, and that it went */
    if (sent < 0 && sent != UV_EAGAIN)
        http1_connection_fail(connection, TRANSFER_E_RESET, uv_strerror(sent));
    else if (sent < 0 || (size_t)sent < head.size + body.size)
        send_rest(connection, head, sent < 0 ? 0 : (size_t)sent);
    else
        forget_head(connection);
}

static void begin(struct http1_connection *connection, struct bytes head)
{
    connection->state = HTTP1_BUSY;
    transfer_connects(&connection->transfer->base, connection->loop->uv);
    http1_answer_begin(connection->answer, connection);
    send_request(connection, head);
    http1_connection_heed_pause(connection);
}

void http1_connection_use(struct http1_connection *connection, struct http1_transfer *transfer, struct bytes head)
{
    connection->transfer = transfer;
    transfer->connection = connection;
    transfer->reused = true;
    begin(connection, head);
}

/* --- connecting ------------------------------------------------------------------------------------------------ */

static void on_connect(uv_connect_t *request, int status)
{
    struct http1_connection *connection = request->data;

    if (connection->state == HTTP1_CLOSING)
        return;
    if (status < 0) {
        http1_connection_fail(connection, TRANSFER_E_CONNECT, uv_strerror(status));
        return;
    }
    http1_loop_forget(connection->loop, connection);
    begin(connection, buffer_bytes(&connection->unsent));
}

/* A TCP socket for the address, on its way there. */
static int connect_tcp(struct http1_connection *connection)
{
    const struct sockaddr *address = &connection->target->address.any;
    uv_tcp_t *tcp = &connection->socket.tcp;
    int size = TRANSFER_RECEIVE_BUFFER;
    int fd, r;

    if (address->sa_family == 0)
        return UV_EAI_NONAME;
    fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    r = uv_tcp_open(tcp, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, KEEPALIVE_S);
    return uv_tcp_connect(&connection->request.connect, tcp, address, on_connect);
}

static int connect_path(struct http1_connection *connection)
{
    const char *path = connection->target->unix_path;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return UV_ENAMETOOLONG;
    uv_pipe_connect(&connection->request.connect, &connection->socket.pipe, path, on_connect);
    return 0;
}

void http1_connection_connect(struct http1_connection *connection)
{
    struct http1_target *target = connection->target;
    int r;

    connection->since = uv_now(connection->loop->uv);
    list_append(&target->connecting, &connection->node);
    http1_loop_wake_at(connection->loop, connection->since + target->connect_ms);
    connection->request.connect.data = connection;
    r = target->unix_path ? connect_path(connection) : connect_tcp(connection);
    if (r < 0)
        http1_connection_fail(connection, r == UV_EAI_NONAME ? TRANSFER_E_DNS : TRANSFER_E_CONNECT, uv_strerror(r));
}

struct http1_connection *http1_connection_new(struct http1_target *target, struct http1_transfer *transfer)
{
    static const struct http1_answer_events events = {on_head, on_body};
    struct http1_connection *connection = ALLOC_NEW(struct http1_connection);

    connection->loop = target->loop;
    connection->target = target;
    connection->transfer = transfer;
    connection->version = target->version;
    connection->answer = http1_answer_new(&events);
    list_init(&connection->node);
    list_init(&connection->age);
    if (target->unix_path)
        uv_pipe_init(connection->loop->uv, &connection->socket.pipe, 0);
    else
        uv_tcp_init(connection->loop->uv, &connection->socket.tcp);
    connection->socket.handle.data = connection;
    connection->loop->handles++;
    transfer->connection = connection;
    return connection;
}
