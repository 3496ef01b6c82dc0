/*
 * Lines into a Redis stream: XADD KEY [MAXLEN ~ N] * line JSON, many under way at once, so that a team can collect
 * from many gateways.
 *
 * At least once: a line counts as written when Redis said so. One whose reply did not come (a lost connection, a
 * server that hangs) may be there or not, and is sent again; whoever reads the stream knows it by its `id`. So copies
 * of what is under way are kept, in a window of bounded size; beyond it, and while Redis is away, nothing is taken.
 *
 *   window:   head [ DONE | SENT | WAITS | SENT ... ] tail         the oldest line first
 *
 * Errors are of two kinds. Those that pass (a full memory, a replica, a server that loads) leave their line in the
 * window, to be sent again; those that will not (a key of another type, no leave) lose it. The order of the stream is
 * the order of the lines, but for lines that were sent twice; each has its number.
 */
#include "record/sink.h"

#include "base/alloc.h"
#include "base/log.h"
#include "link/redis.h"
#include "record/line_cut.h"

#include <errno.h>
#include <stdio.h>

enum {
    WINDOW_LINES = 512,
    WINDOW_BYTES = 1 << 20,     /* a larger line goes alone */
    /* Nobody waits for these replies, and a deadline missed is a line doubled: so not the cache's short ones. */
    DEADLINE_MS = 3000,
    CONNECT_MS = 3000,
    REPLY_BYTES = 4096,
    FIRST_REST_MS = 100,        /* after an error that passes */
    LONGEST_REST_MS = 2000,
};

enum line_state { LINE_DONE, LINE_WAITS, LINE_SENT };

/* One place of the window. */
struct line {
    struct redis_call call;
    struct sink *sink;
    enum line_state state;
    uint64_t at;                /* its copy, counted from the first byte ever */
    size_t size;
};

struct sink {
    const struct config_sink *config;
    char length[24];            /* MAXLEN's number; empty: the stream is not trimmed */
    struct sink_events events;

    struct redis *redis;        /* NULL: not started, or closed */
    uv_timer_t timer;           /* the end of a rest */
    uint64_t rest_ms;           /* the last one's; 0: none since a line was written */
    bool troubled;              /* the operator knows that lines do not get in */

    struct line window[WINDOW_LINES];
    uint64_t head, tail;        /* lines since the start; their places are modulo WINDOW_LINES */
    struct buffer copies;
    uint64_t copies_at;         /* where the buffer begins, counted as `at` */
    bool wanted;                /* a take found no room */

    unsigned handles;
    void (*closed)(void *data);
    void *closed_data;
};

/* --- the window ------------------------------------------------------------------------------------------------- */

static struct line *line_at(struct sink *sink, uint64_t number)
{
    return &sink->window[number % WINDOW_LINES];
}

/* Bytes from the oldest line under way to the newest. */
static uint64_t held(struct sink *sink)
{
    uint64_t end = sink->copies_at + sink->copies.size;

    return sink->head == sink->tail ? 0 : end - line_at(sink, sink->head)->at;
}

static bool has_room(struct sink *sink, size_t size)
{
    if (sink->head == sink->tail)
        return true;
    return sink->tail - sink->head < WINDOW_LINES && held(sink) + size <= WINDOW_BYTES;
}

/* Let go of the copies of lines that are done, once they are most of the buffer. */
static void trim_copies(struct sink *sink)
{
    size_t gone = sink->copies.size - (size_t)held(sink);

    if (gone < sink->copies.size && gone < sink->copies.size / 2)
        return;
    sink->copies_at += gone;
    buffer_consume(&sink->copies, gone);
    if (sink->copies.size == 0)
        buffer_clear(&sink->copies, 2 * WINDOW_BYTES);
}

static struct line *push(struct sink *sink, struct bytes text)
{
    struct line *line = line_at(sink, sink->tail);

    line->at = sink->copies_at + sink->copies.size;
    line->size = text.size;
    line->state = LINE_WAITS;
    buffer_append(&sink->copies, text);
    sink->tail++;
    return line;
}

static void drop_last(struct sink *sink)
{
    struct line *line = line_at(sink, --sink->tail);

    line->state = LINE_DONE;
    sink->copies.size -= line->size;
}

/* The journal may close the sink from inside. */
static void settle(struct sink *sink, struct line *line, bool kept)
{
    line->state = LINE_DONE;
    while (sink->head < sink->tail && line_at(sink, sink->head)->state == LINE_DONE)
        sink->head++;
    trim_copies(sink);
    sink->events.settled(sink->events.data, kept, !kept);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static int send_line(struct sink *sink, struct line *line)
{
    struct bytes text = {sink->copies.data + (line->at - sink->copies_at), line->size};
    struct bytes arguments[8] = {BYTES("XADD"), sink->config->stream};
    uint32_t count = 2;
    int r;

    if (sink->length[0]) {
        arguments[count++] = BYTES("MAXLEN");
        arguments[count++] = BYTES("~");
        arguments[count++] = bytes_of(sink->length);
    }
    arguments[count++] = BYTES("*");
    arguments[count++] = BYTES("line");
    arguments[count++] = text;
    r = redis_ask(sink->redis, arguments, count, &line->call);
    if (r == 0)
        line->state = LINE_SENT;
    return r;
}

static void send_waiting(struct sink *sink)
{
    int r = 0;

    for (uint64_t number = sink->head; number < sink->tail && r == 0; number++)
        if (line_at(sink, number)->state == LINE_WAITS)
            r = send_line(sink, line_at(sink, number));
}

static bool is_resting(const struct sink *sink)
{
    return uv_is_active((const uv_handle_t *)&sink->timer);
}

static bool can_send(const struct sink *sink)
{
    return sink->redis && redis_is_ready(sink->redis) && !is_resting(sink);
}

/* Not for every reply: once there is room for a good many. */
static void tell_room(struct sink *sink)
{
    if (!sink->wanted || !can_send(sink))
        return;
    if (sink->tail - sink->head > WINDOW_LINES / 2 || held(sink) > WINDOW_BYTES / 2)
        return;
    sink->wanted = false;
    sink->events.ready(sink->events.data);
}

static void on_rested(uv_timer_t *timer)
{
    struct sink *sink = timer->data;

    send_waiting(sink);
    tell_room(sink);
}

static void rest(struct sink *sink)
{
    if (is_resting(sink))
        return;
    sink->rest_ms = sink->rest_ms ? 2 * sink->rest_ms : FIRST_REST_MS;
    if (sink->rest_ms > LONGEST_REST_MS)
        sink->rest_ms = LONGEST_REST_MS;
    uv_timer_start(&sink->timer, on_rested, sink->rest_ms, 0);
}

/* --- what Redis says -------------------------------------------------------------------------------------------- */

/* Errors of the server's state, not of the line, the key or the user. */
static bool passes(struct bytes error)
{
    static const char *const states[] = {"OOM",     "READONLY", "LOADING",    "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
                                         "MISCONF", "BUSY",     "NOREPLICAS", "NOAUTH",     "MOVED",       "ASK"};
    size_t word = bytes_find(error, BYTES(" "));

    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (bytes_equal((struct bytes){error.data, word}, bytes_of(states[i])))
            return true;
    return false;
}

static void written(struct sink *sink, struct line *line)
{
    sink->rest_ms = 0;
    if (sink->troubled)
        log_line("%s: takes lines again", sink->events.head);
    sink->troubled = false;
    settle(sink, line, true);
}

static void on_reply(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct line *line = LIST_ENTRY(call, struct line, call);
    struct sink *sink = line->sink;

    line->state = LINE_WAITS;
    if (result)
        return; /* its connection is gone: it is sent again on the next one */
    if (reply->kind != REDIS_ERROR)
        written(sink, line);
    else if (passes(reply->text))
        rest(sink);
    else
        settle(sink, line, false);
    tell_room(sink);
}

/* Once, until a line gets in. */
static void complain(struct sink *sink, const char *what, struct bytes text)
{
    if (!sink->troubled)
        log_line("%s: %s: %.*s", sink->events.head, what, BYTES_ARG(text));
    sink->troubled = true;
}

static void on_news(void *data, enum redis_news news, struct bytes text)
{
    struct sink *sink = data;

    switch (news) {
    case REDIS_READY:
        uv_timer_stop(&sink->timer);
        send_waiting(sink);
        sink->wanted = true;
        tell_room(sink);
        break;
    case REDIS_LOST:
    case REDIS_TIMED_OUT:
        complain(sink, "away, lines wait", text);
        break;
    case REDIS_REFUSED:
        complain(sink, "does not let us in, lines wait", text);
        break;
    case REDIS_ERRED:
        complain(sink, passes(text) ? "takes no lines now, they wait" : "refuses lines, they are lost", text);
        break;
    }
}

/* --- the journal's calls ---------------------------------------------------------------------------------------- */

static ssize_t stream_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    struct bytes rest = lines;
    size_t taken = 0;

    *ret_later = true;
    while (rest.size && can_send(sink)) {
        struct bytes line = next_line(&rest);

        if (!has_room(sink, line.size))
            break;
        if (send_line(sink, push(sink, line)) != 0) {
            drop_last(sink);
            break;
        }
        taken = lines.size - rest.size;
    }
    if (taken < lines.size)
        sink->wanted = true;
    if (taken == 0 && !can_send(sink))
        return is_resting(sink) ? -EBUSY : -ENOTCONN;
    return (ssize_t)taken;
}

static int stream_open(const void *config, struct buffer *errors, struct sink **ret)
{
    const struct config_sink *wanted = config;
    struct sink *sink;

    if (!wanted->redis.used || wanted->stream.size == 0) {
        buffer_append_text(errors, "log: redis: no server, or no stream");
        return -EINVAL;
    }
    sink = ALLOC_NEW(struct sink);
    sink->config = wanted;
    for (size_t i = 0; i < WINDOW_LINES; i++)
        sink->window[i] = (struct line){.call = {.done = on_reply}, .sink = sink};
    if (wanted->length)
        snprintf(sink->length, sizeof(sink->length), "%llu", (unsigned long long)wanted->length);
    *ret = sink;
    return 0;
}

static void stream_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    const struct config_redis *wanted = &sink->config->redis;
    struct redis_config config = {
        .host = wanted->host,
        .unix_path = wanted->unix_path,
        .port = wanted->port,
        .username = wanted->username,
        .password = wanted->password,
        .database = wanted->database,
        .connect_ms = wanted->connect_ms > CONNECT_MS ? wanted->connect_ms : CONNECT_MS,
        .deadline_ms = wanted->deadline_ms > DEADLINE_MS ? wanted->deadline_ms : DEADLINE_MS,
        .reply_bytes = REPLY_BYTES,
        .queue_bytes = UINT32_MAX, /* the window is the bound */
    };

    sink->events = *events;
    uv_timer_init(loop, &sink->timer);
    sink->timer.data = sink;
    sink->redis = redis_new(loop, &config, on_news, sink);
}

static void release(struct sink *sink)
{
    if (--sink->handles == 0)
        sink->closed(sink->closed_data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_redis_closed(void *data)
{
    release(data);
}

static void stream_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    struct redis *redis = sink->redis;

    if (!redis) {
        closed(data);
        return;
    }
    sink->closed = closed;
    sink->closed_data = data;
    sink->handles = 2;
    sink->redis = NULL;
    redis_close(redis, on_redis_closed, sink);
    uv_close((uv_handle_t *)&sink->timer, on_timer_closed);
}

static struct sink *stream_free(struct sink *sink)
{
    if (!sink)
        return NULL;
    buffer_deinit(&sink->copies);
    return alloc_free(sink);
}

const struct sink_kind sink_redis = {
    .name = "redis",
    .open = stream_open,
    .start = stream_start,
    .take = stream_take,
    .close = stream_close,
    .free = stream_free,
};
