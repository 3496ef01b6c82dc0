/*
 * From nothing to a connection that serves, and back. Each failure waits longer before the next attempt, from 100 ms
 * to 5 s; only a connection that served for a while makes the next wait short again, for a server may greet well and
 * refuse all else.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "link/redis_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

enum {
    SHORTEST_MS = 100,
    LONGEST_MS = 5000,
    BREAKER_MS = 1000,          /* after a command's deadline */
    PROVEN_MS = 1000,           /* of serving, and a connection was a good one */
    KEEPALIVE_S = 60,
};

/* --- what errors mean -------------------------------------------------------------------------------------------- */

static const struct {
    const char *prefix;
    enum redis_verdict greeting, later;
} verdicts[] = {
    {"READONLY", REDIS_RENEW, REDIS_RENEW},
    {"LOADING", REDIS_RENEW, REDIS_RENEW},
    {"MASTERDOWN", REDIS_RENEW, REDIS_RENEW},
    {"CLUSTERDOWN", REDIS_RENEW, REDIS_RENEW},
    {"MOVED", REDIS_RENEW, REDIS_RENEW},
    {"ASK", REDIS_RENEW, REDIS_RENEW},
    {"NOAUTH", REDIS_DECLINE, REDIS_RENEW},
    {"BUSY", REDIS_RENEW, REDIS_BEAR},
    {"ERR max number of clients", REDIS_RENEW, REDIS_BEAR},
    {"MISCONF", REDIS_BEAR, REDIS_BEAR}, /* to PING too, but it still reads */
};

enum redis_verdict redis_judge(struct bytes error, bool is_greeting)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
        struct bytes prefix = bytes_of(verdicts[i].prefix);

        if (bytes_start_with(error, prefix) && (error.size == prefix.size || error.data[prefix.size] == ' '))
            return is_greeting ? verdicts[i].greeting : verdicts[i].later;
    }
    return is_greeting ? REDIS_DECLINE : REDIS_BEAR;
}

/* --- losing ------------------------------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct redis_conn *conn = handle->data;
    struct redis *redis = conn->redis;

    redis_reader_free(conn->reader);
    buffer_deinit(&conn->out);
    buffer_deinit(&conn->writing);
    alloc_free(conn);
    redis_release(redis);
}

void redis_drop(struct redis *redis)
{
    if (redis->resolver)
        resolver_cancel(redis->resolver, &redis->resolved);
    uv_timer_stop(&redis->timer);
    uv_idle_stop(&redis->cork);
    if (redis->conn)
        uv_close(&redis->conn->socket.handle, on_closed);
    redis->conn = NULL;
}

static uint64_t next_wait_ms(struct redis *redis, enum redis_news news, bool was_serving)
{
    uint64_t wait_ms = LONGEST_MS;

    if (was_serving && clock_ms() - redis->serving_since >= PROVEN_MS)
        redis->failures = 0;
    if (news != REDIS_REFUSED && redis->failures < 6)
        wait_ms = (uint64_t)SHORTEST_MS << redis->failures;
    redis->failures++;
    if (was_serving && news == REDIS_TIMED_OUT && wait_ms < BREAKER_MS)
        return BREAKER_MS;
    return wait_ms - random_u64() % (wait_ms / 4);
}

/* Being away is told once, whatever the reason; that we are refused is another matter. */
static bool is_news(const struct redis *redis, enum redis_news news)
{
    bool was_away = redis->told == REDIS_LOST || redis->told == REDIS_TIMED_OUT;

    return news == REDIS_REFUSED ? redis->told != REDIS_REFUSED : !was_away;
}

void redis_lose(struct redis *redis, enum redis_news news, struct bytes why, uint64_t overdue_ms)
{
    uint64_t wait_ms = next_wait_ms(redis, news, redis->state == REDIS_SERVING);

    redis_drop(redis);
    redis->state = REDIS_WAITING;
    redis->looked_again = false;
    redis_wake_in(redis, wait_ms);
    if (is_news(redis, news))
        redis_tell(redis, news, why);
    redis_end_calls(redis, overdue_ms);
}

static void lose_for(struct redis *redis, const char *what, int status)
{
    char why[128];

    snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(status));
    redis_lose(redis, REDIS_LOST, bytes_of(why), 0);
}

/* --- greeting ---------------------------------------------------------------------------------------------------- */

static void append(struct redis_conn *conn, const struct bytes *arguments, uint32_t count)
{
    redis_command_append(&conn->out, arguments, count);
    conn->greetings++;
}

static void greet(struct redis_conn *conn)
{
    const struct redis_config *config = &conn->redis->config;
    struct bytes auth[] = {BYTES("AUTH"), config->username, config->password};
    struct bytes old_auth[] = {BYTES("AUTH"), config->password};
    struct bytes ping = BYTES("PING");
    char digits[16];
    int size = snprintf(digits, sizeof(digits), "%u", config->database);
    struct bytes choice[] = {BYTES("SELECT"), {digits, (size_t)size}};

    if (config->username.size)
        append(conn, auth, 3);
    else if (config->password.size)
        append(conn, old_auth, 2);
    if (config->database)
        append(conn, choice, 2);
    append(conn, &ping, 1);
    redis_flush(conn);
}

void redis_greeted(struct redis *redis, const struct redis_reply *reply)
{
    enum redis_verdict verdict = reply->kind == REDIS_ERROR ? redis_judge(reply->text, true) : REDIS_BEAR;

    if (reply->kind != REDIS_ERROR && reply->kind != REDIS_STATUS)
        redis_lose(redis, REDIS_LOST, BYTES("it does not speak as Redis does"), 0);
    else if (verdict != REDIS_BEAR)
        redis_lose(redis, verdict == REDIS_DECLINE ? REDIS_REFUSED : REDIS_LOST, reply->text, 0);
    else if (--redis->conn->greetings == 0) {
        redis->state = REDIS_SERVING;
        redis->serving_since = clock_ms();
        redis->counts.connects++;
        redis->looked_again = false;
        uv_timer_stop(&redis->timer);
        redis_tell(redis, REDIS_READY, BYTES(""));
    }
}

/* --- bytes in ---------------------------------------------------------------------------------------------------- */

static bool is_owed(const struct redis *redis)
{
    return redis->state == REDIS_GREETING || !list_empty(&redis->calls);
}

static void take(struct redis *redis, const struct redis_reply *reply)
{
    if (!is_owed(redis))
        redis_lose(redis, REDIS_LOST, BYTES("a reply to no question"), 0);
    else if (redis->state == REDIS_GREETING)
        redis_greeted(redis, reply);
    else
        redis_answer(redis, reply);
}

static void read_replies(struct redis_conn *conn, struct bytes input)
{
    struct redis *redis = conn->redis;
    const struct redis_reply *reply;
    int r = REDIS_READER_REPLY;

    while (redis->conn == conn && (r = redis_reader_next(conn->reader, &input, &reply)) == REDIS_READER_REPLY)
        take(redis, reply);
    if (redis->conn != conn)
        return;
    if (r == REDIS_READER_BROKEN)
        redis_lose(redis, REDIS_LOST, bytes_of(redis_reader_fault(conn->reader)), 0);
    else if (!is_owed(redis) && redis_reader_is_midway(conn->reader))
        redis_lose(redis, REDIS_LOST, BYTES("a reply to no question"), 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct redis_conn *conn = handle->data;

    *ret = uv_buf_init(conn->redis->input, sizeof(conn->redis->input));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct redis_conn *conn = stream->data;

    if (count > 0)
        read_replies(conn, (struct bytes){buf->base, (size_t)count});
    else if (count == UV_EOF)
        redis_lose(conn->redis, REDIS_LOST, BYTES("closed by the server"), 0);
    else if (count < 0)
        redis_lose(conn->redis, REDIS_LOST, bytes_of(uv_strerror((int)count)), 0);
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

static void on_connected(uv_connect_t *connect, int status)
{
    struct redis_conn *conn = connect->data;
    struct redis *redis = conn->redis;

    if (redis->conn != conn)
        return;
    if (status == 0)
        status = uv_read_start(&conn->socket.stream, on_alloc, on_read);
    if (status < 0) {
        lose_for(redis, "cannot connect", status);
        return;
    }
    redis->state = REDIS_GREETING;
    greet(conn);
}

static struct redis_conn *conn_new(struct redis *redis)
{
    struct redis_conn *conn = ALLOC_NEW(struct redis_conn);

    if (redis->config.unix_path.size)
        uv_pipe_init(redis->loop, &conn->socket.pipe, 0);
    else
        uv_tcp_init(redis->loop, &conn->socket.tcp);
    conn->socket.handle.data = conn->connect.data = conn;
    conn->redis = redis;
    conn->reader = redis_reader_new(redis->config.reply_bytes);
    redis->conn = conn;
    redis->handles++;
    redis->state = REDIS_CONNECTING;
    return conn;
}

/* libuv would cut a longer path. */
static void connect_unix(struct redis *redis)
{
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    struct bytes wanted = redis->config.unix_path;
    struct redis_conn *conn;

    if (wanted.size >= sizeof(path)) {
        lose_for(redis, "cannot connect", UV_ENAMETOOLONG);
        return;
    }
    memcpy(path, wanted.data, wanted.size);
    path[wanted.size] = '\0';
    conn = conn_new(redis);
    uv_pipe_connect(&conn->connect, &conn->socket.pipe, path, on_connected);
}

static void connect_tcp(struct redis *redis, const char *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {0};
    struct redis_conn *conn;
    int r = uv_ip4_addr(address, redis->config.port, &to.v4);

    if (r < 0)
        r = uv_ip6_addr(address, redis->config.port, &to.v6);
    conn = conn_new(redis);
    if (r == 0)
        r = uv_tcp_connect(&conn->connect, &conn->socket.tcp, &to.any, on_connected);
    if (r < 0) {
        lose_for(redis, "cannot connect", r);
        return;
    }
    uv_tcp_nodelay(&conn->socket.tcp, 1);
    uv_tcp_keepalive(&conn->socket.tcp, 1, KEEPALIVE_S);
}

static void on_resolved(void *data, int status)
{
    struct redis *redis = data;
    const char *known = status == 0 ? resolver_address(redis->resolver) : NULL;
    char address[INET6_ADDRSTRLEN];

    snprintf(address, sizeof(address), "%s", known ? known : "");
    redis->resolver = resolver_free(redis->resolver); /* the next time it is asked anew */
    if (status < 0)
        lose_for(redis, "no address", status);
    else
        connect_tcp(redis, address);
}

static void connect_literal(struct redis *redis)
{
    char address[INET6_ADDRSTRLEN];

    snprintf(address, sizeof(address), "%.*s", BYTES_ARG(redis->config.host));
    connect_tcp(redis, address);
}

/* A lookup that an earlier attempt did not wait for to its end goes on and serves this one: never two at once. */
void redis_connect(struct redis *redis)
{
    redis->state = REDIS_RESOLVING;
    redis_wake_in(redis, redis->config.connect_ms);
    if (redis->config.unix_path.size) {
        connect_unix(redis);
        return;
    }
    if (resolve_is_literal(redis->config.host)) {
        connect_literal(redis);
        return;
    }
    if (!redis->resolver)
        redis->resolver = resolver_new(redis->loop, redis->config.host, LONGEST_MS);
    redis->resolved = (struct resolve_wait){.done = on_resolved, .data = redis};
    resolver_wait(redis->resolver, &redis->resolved);
}
