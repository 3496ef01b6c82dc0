/*
 * Commands are gathered while the loop turns and leave in one write before it sleeps; replies are matched to calls by
 * their order alone. A call that nobody waits for any more leaves a stand-in in the queue, so the order holds.
 *
 * One timer serves all deadlines: they are in the order of the queue. It is not stopped when a reply comes but looks
 * again when it fires. A deadline that seems to have passed gets one more turn of the loop, for a reply may lie in the
 * socket of a process that was itself late.
 */
#include "link/redis.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "link/redis_private.h"

#include <stdio.h>

enum {
    KEPT_BYTES = 128 << 10,     /* of a buffer between its uses */
    SECRET_LEAST = 8,           /* of a password, to be known by */
    LOOK_AGAIN_MS = 1,          /* 0 would fire before the sockets are served */
};

/* --- the end of a call ------------------------------------------------------------------------------------------- */

static void finish(struct redis_call *call, int result, const struct redis_reply *reply)
{
    list_remove(&call->link);
    if (call->done)
        call->done(call, result, reply);
    else
        alloc_free(call); /* a stand-in */
}

static struct redis_call *stand_in(void)
{
    return ALLOC_NEW(struct redis_call);
}

void redis_answer(struct redis *redis, const struct redis_reply *reply)
{
    struct redis_call *call = LIST_ENTRY(list_first(&redis->calls), struct redis_call, link);
    bool is_error = reply->kind == REDIS_ERROR;

    redis->counts.answered++;
    redis->counts.errors += is_error;
    finish(call, 0, reply);
    if (is_error && redis->state == REDIS_SERVING)
        redis_tell(redis, REDIS_ERRED, reply->text);
    if (is_error && redis->state == REDIS_SERVING && redis_judge(reply->text, false) != REDIS_BEAR)
        redis_lose(redis, REDIS_LOST, reply->text, 0);
}

void redis_end_calls(struct redis *redis, uint64_t overdue_ms)
{
    struct list *first;

    while ((first = list_first(&redis->calls))) {
        struct redis_call *call = LIST_ENTRY(first, struct redis_call, link);
        bool late = call->due_ms <= overdue_ms;

        redis->counts.timeouts += late;
        redis->counts.lost += !late;
        finish(call, late ? REDIS_E_TIMEOUT : REDIS_E_LOST, NULL);
    }
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

static char plain(char c)
{
    return c >= ' ' && c <= '~' ? c : '?';
}

/* Does the password stand at AT of TEXT? Its beginning is enough: Redis cuts what it repeats. */
static bool is_secret(struct bytes secret, struct bytes text, size_t at)
{
    size_t size = secret.size < SECRET_LEAST ? secret.size : SECRET_LEAST, same = 0;

    while (same < size && at + same < text.size && plain(text.data[at + same]) == plain(secret.data[same]))
        same++;
    return size && same == size;
}

struct bytes redis_words(const struct redis_config *config, struct bytes text, char room[REDIS_WORDS_MOST])
{
    size_t at = 0;

    for (; at < text.size && at < REDIS_WORDS_MOST - 3 && !is_secret(config->password, text, at); at++)
        room[at] = plain(text.data[at]);
    if (at == text.size)
        return (struct bytes){room, at};
    memcpy(room + at, "...", 3);
    return (struct bytes){room, at + 3};
}

void redis_tell(struct redis *redis, enum redis_news news, struct bytes text)
{
    char room[REDIS_WORDS_MOST];

    if (news != REDIS_ERRED)
        redis->told = (int)news;
    if (redis->news)
        redis->news(redis->data, news, redis_words(&redis->config, text, room));
}

/* --- commands out ------------------------------------------------------------------------------------------------ */

static void on_written(uv_write_t *write, int status)
{
    struct redis_conn *conn = write->data;

    if (conn->redis->conn != conn)
        return;
    conn->is_writing = false;
    buffer_clear(&conn->writing, KEPT_BYTES);
    if (status < 0)
        redis_lose(conn->redis, REDIS_LOST, bytes_of(uv_strerror(status)), 0);
    else
        redis_flush(conn);
}

static void write_rest(struct redis_conn *conn, size_t taken)
{
    struct buffer empty = conn->writing;
    uv_buf_t rest;
    int r;

    conn->writing = conn->out;
    conn->out = empty;
    conn->is_writing = true;
    conn->write.data = conn;
    rest = uv_buf_init(conn->writing.data + taken, (unsigned)(conn->writing.size - taken));
    r = uv_write(&conn->write, &conn->socket.stream, &rest, 1, on_written);
    if (r < 0)
        redis_lose(conn->redis, REDIS_LOST, bytes_of(uv_strerror(r)), 0);
}

void redis_flush(struct redis_conn *conn)
{
    uv_buf_t all = uv_buf_init(conn->out.data, (unsigned)conn->out.size);
    int taken;

    if (conn->is_writing || conn->out.size == 0)
        return;
    taken = uv_try_write(&conn->socket.stream, &all, 1);
    if (taken < 0 && taken != UV_EAGAIN)
        redis_lose(conn->redis, REDIS_LOST, bytes_of(uv_strerror(taken)), 0);
    else if (taken >= 0 && (size_t)taken == conn->out.size)
        buffer_clear(&conn->out, KEPT_BYTES);
    else
        write_rest(conn, taken > 0 ? (size_t)taken : 0);
}

static void on_cork(uv_idle_t *cork)
{
    struct redis *redis = cork->data;

    uv_idle_stop(cork);
    if (redis->state == REDIS_SERVING)
        redis_flush(redis->conn);
}

static uint64_t unsent(const struct redis_conn *conn)
{
    return conn->out.size + uv_stream_get_write_queue_size(&conn->socket.stream);
}

int redis_ask(struct redis *redis, const struct bytes *arguments, uint32_t count, struct redis_call *call)
{
    struct redis_conn *conn = redis->conn;

    if (redis->state != REDIS_SERVING) {
        redis->counts.away++;
        return REDIS_E_AWAY;
    }
    if (redis_command_size(arguments, count) + unsent(conn) > redis->config.queue_bytes) {
        redis->counts.refused_full++;
        return REDIS_E_FULL;
    }
    redis_command_append(&conn->out, arguments, count);
    if (!call)
        call = stand_in();
    call->due_ms = clock_ms() + redis->config.deadline_ms;
    list_append(&redis->calls, &call->link);
    redis->counts.asked++;
    if (!uv_is_active((uv_handle_t *)&redis->timer))
        redis_wake_in(redis, redis->config.deadline_ms);
    uv_idle_start(&redis->cork, on_cork);
    return 0;
}

void redis_forget(struct redis *redis, struct redis_call *call)
{
    struct redis_call *other;

    if (!call->link.next || list_empty(&call->link))
        return;
    other = stand_in();
    other->due_ms = call->due_ms;
    list_append(&call->link, &other->link); /* in front of it: in its place */
    list_remove(&call->link);
}

/* --- time -------------------------------------------------------------------------------------------------------- */

/* The oldest call's deadline passed? If not, the timer waits for it. */
static bool is_overdue(struct redis *redis, uint64_t now_ms)
{
    struct list *first = list_first(&redis->calls);
    uint64_t due_ms;

    if (!first)
        return false;
    due_ms = LIST_ENTRY(first, struct redis_call, link)->due_ms;
    if (due_ms <= now_ms)
        return true;
    redis_wake_in(redis, due_ms - now_ms);
    return false;
}

static void give_up(struct redis *redis, uint64_t now_ms)
{
    bool is_serving = redis->state == REDIS_SERVING;
    char why[64];
    int size = snprintf(why, sizeof(why), "%s within %u ms", is_serving ? "no reply" : "no connection",
                        is_serving ? redis->config.deadline_ms : redis->config.connect_ms);

    redis_lose(redis, REDIS_TIMED_OUT, (struct bytes){why, (size_t)size}, now_ms);
}

static void on_timer(uv_timer_t *timer)
{
    struct redis *redis = timer->data;
    uint64_t now_ms = clock_ms();

    if (redis->state == REDIS_WAITING) {
        redis_connect(redis);
        return;
    }
    if (redis->state == REDIS_SERVING && !is_overdue(redis, now_ms)) {
        redis->looked_again = false;
        return;
    }
    redis->looked_again = !redis->looked_again;
    if (redis->looked_again)
        redis_wake_in(redis, LOOK_AGAIN_MS);
    else
        give_up(redis, now_ms);
}

void redis_wake_in(struct redis *redis, uint64_t ms)
{
    uv_timer_start(&redis->timer, on_timer, ms, 0);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

struct redis *redis_new(uv_loop_t *loop, const struct redis_config *config,
                        void (*news)(void *data, enum redis_news news, struct bytes text), void *data)
{
    struct redis *redis = ALLOC_NEW(struct redis);

    redis->loop = loop;
    redis->config = *config;
    redis->news = news;
    redis->data = data;
    redis->told = -1;
    list_init(&redis->calls);
    uv_timer_init(loop, &redis->timer);
    uv_idle_init(loop, &redis->cork);
    redis->timer.data = redis->cork.data = redis;
    redis->handles = 2;
    redis_wake_in(redis, 0); /* news must not come before the owner has the link */
    return redis;
}

void redis_release(struct redis *redis)
{
    if (--redis->handles > 0)
        return;
    if (redis->closed)
        redis->closed(redis->closed_data);
    alloc_free(redis);
}

static void on_closed(uv_handle_t *handle)
{
    redis_release(handle->data);
}

void redis_close(struct redis *redis, void (*closed)(void *data), void *data)
{
    LIST_EACH(&redis->calls, node)
    {
        struct redis_call *call = LIST_ENTRY(node, struct redis_call, link);

        list_remove(node);
        if (!call->done)
            alloc_free(call);
    }
    redis_drop(redis);
    redis->state = REDIS_CLOSED;
    redis->resolver = resolver_free(redis->resolver);
    redis->closed = closed;
    redis->closed_data = data;
    uv_close((uv_handle_t *)&redis->timer, on_closed);
    uv_close((uv_handle_t *)&redis->cork, on_closed);
}

bool redis_is_ready(const struct redis *redis)
{
    return redis->state == REDIS_SERVING;
}

struct redis_counts redis_counts(const struct redis *redis)
{
    return redis->counts;
}
