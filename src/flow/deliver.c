/*
 * Transcript to client, the same way for every answer: a stream, a whole body, a refusal.
 *
 * Events that are there together leave in one write, except to clients that want each in an HTTP chunk of its own. The
 * status line leaves with the first of them, so that an answer which fails before its first event still has a status of
 * its own. An answer that breaks later, be it in the same moment, ends in an error event and a connection closed
 * without the last chunk.
 */
#include "flow/admission.h"

#include "base/clock.h"
#include "entry/http_out.h"
#include "flow/bodies.h"
#include "flow/deliver_frame.h"
#include "flow/timing.h"
#include "record/gaps.h"
#include "record/series.h"

#include <uv.h>

/* Clients that are told to wait longer would hang, or ask at once. */
#define LONGEST_RETRY_MS 60000

/* --- the ends of writing --- */

/* The answer is complete as far as it goes; the conn is its own again. */
static void hand_back(struct exchange *x, bool keep)
{
    struct conn *conn = x->conn;

    x->conn = NULL;
    x->written = true;
    if (!conn)
        return;
    conn_set_owner(conn, NULL);
    conn_finish(conn, keep);
}

/* An HTTP/1.0 answer has nothing but its connection's end to be complete by: a broken one gets a reset. */
static void cut(struct exchange *x)
{
    struct conn *conn = x->conn;

    x->conn = NULL;
    x->written = true;
    conn_set_owner(conn, NULL);
    conn_cut(conn);
}

/* What is sent came in this turn of the loop, if not in an earlier one of a client that lags; from when on? */
static void note_lag(struct exchange *x, uint64_t now)
{
    uint64_t heard = x->transcript ? transcript_heard_us(x->transcript) : 0;
    uint64_t from = heard > x->flow->turn_us ? heard : x->flow->turn_us;

    if (x->event_us && now > from && now - from > x->lag_us)
        x->lag_us = now - from;
}

static void put(struct exchange *x, const struct bytes *parts, unsigned count)
{
    uint64_t now = clock_us();

    for (unsigned i = 0; i < count; i++)
        x->bytes_out += parts[i].size;
    note_lag(x, now);
    x->last_write_ms = uv_now(x->flow->loop);
    if (!conn_write(x->conn, parts, count))
        x->choked = true;
}

/* What the memory had to do with this answer. KEY has room for the key's digits. */
static void tell_memory(struct exchange *x, struct http_head *head, char key[2 * DIGEST_SIZE])
{
    const struct memory *memory = &x->memory;

    if (memory->outcome == MEMORY_NONE)
        return;
    head->cache = memory_outcome_name(x);
    head->cache_reason = memory->reason;
    if (memory->keyed) {
        digest_hex(memory->key, key);
        head->cache_key = (struct bytes){key, 2 * DIGEST_SIZE};
    }
    if (head->cache[0] == 'h') {
        head->has_age = true;
        head->age_s = (uint32_t)((clock_ms() - transcript_facts(x->transcript).made_ms) / 1000);
    }
}

static struct http_rate rate_of(const struct scope_line *line)
{
    return (struct http_rate){true, line->most, line->remaining, line->reset_ms};
}

static void tell_limits(struct exchange *x, struct http_head *head)
{
    const struct limits_told *told = &x->told;

    admission_look(x);
    if (told->has_requests)
        head->requests = rate_of(&told->requests);
    if (told->has_tokens)
        head->tokens = rate_of(&told->tokens);
    head->degraded = told->degraded;
    head->waited_ms = told->waited_ms;
    head->queue_position = told->position;
}

static void tell_times(struct exchange *x, struct http_head *head, struct http_timing *timings)
{
    x->first_us = clock_us();
    timing_close(x, x->first_us);
    if (!x->flow->config->server_timing)
        return;
    timing_list(x, timings);
    head->timings = timings;
    head->timing_count = TIMING_PARTS;
}

static void make_head(struct exchange *x, struct http_head *head, struct buffer *out)
{
    struct http_timing timings[TIMING_PARTS];
    char key[2 * DIGEST_SIZE];

    head->minor = x->minor;
    head->request_id = (struct bytes){x->id, sizeof(x->id)};
    tell_memory(x, head, key);
    tell_times(x, head, timings);
    tell_limits(x, head);
    x->status = head->status;
    x->head_sent = true;
    http_out_head(head, out);
}

/* A whole answer: head and body in one write. */
static void send_whole(struct exchange *x, struct http_head *head, struct bytes body)
{
    struct buffer *text = &x->flow->front;
    struct bytes parts[2];

    text->size = 0;
    head->content_length = body.size;
    head->close = head->close || !conn_may_keep(x->conn);
    make_head(x, head, text);
    parts[0] = buffer_bytes(text);
    parts[1] = body;
    put(x, parts, x->verb == HTTP_HEAD_ ? 1 : 2);
    hand_back(x, !head->close);
}

void deliver_page(struct exchange *x, unsigned status, const char *content_type, struct bytes body)
{
    struct http_head head = {
        .status = status,
        .content_type = content_type,
        .is_page = bytes_start_with(bytes_of(content_type), BYTES("text/html")),
    };

    send_whole(x, &head, body);
}

/* --- refusals --- */

static void send_refusal(struct exchange *x, const struct failure *failure)
{
    const struct failure_row *row = failure_row(failure->kind);
    struct http_head head = {
        .status = x->dialect->status(failure),
        .content_type = "application/json",
        .allow = failure->kind == FAIL_NO_METHOD ? x->endpoint->allow : NULL,
        .retry_after_ms = failure->retry_after_ms,
        .no_retry = !row->again || failure->retry_after_ms > LONGEST_RETRY_MS,
        .close = !x->may_keep || failure->kind == FAIL_BAD_HTTP || failure->kind == FAIL_DRAINING,
    };

    if (head.retry_after_ms == 0 && row->again && (head.status == 429 || head.status == 503))
        head.retry_after_ms = 1000;
    buffer_clear(&x->flow->out, 1 << 20);
    x->dialect->write_failure(failure, &x->flow->out);
    send_whole(x, &head, buffer_bytes(&x->flow->out));
}

/* The last event is with the framing: once it is sent, the conn is handed back. A broken answer ends without the marks
 * of a good end. */
static enum verdict end_stream(struct exchange *x)
{
    bool good = x->ending == FRAME_LAST;

    if (!frame_flush(x) && x->conn)
        return STEP_WAIT;
    if (!x->conn)
        return STEP_WAIT;
    if (!good && x->minor == 0)
        cut(x);
    else
        hand_back(x, good && x->minor > 0 && x->may_keep && conn_may_keep(x->conn));
    return STEP_NEXT;
}

static enum verdict deliver_failure(struct exchange *x, const struct failure *failure)
{
    bool begun = x->head_sent || x->flow->out.size > 0;
    bool ours = failure->kind < FAIL_UPSTREAM_REFUSED && !begun && !transcript_facts(x->transcript).attempts;

    x->reason = failure_row(failure->kind)->name;
    if (!x->cut_phase)
        x->cut_phase = steps_name(x->at);
    x->outcome = ours ? "refused" : x->reason;
    if (begun) {
        x->dialect->write_failure_event(&x->stream, failure, &x->flow->out);
        frame_events(x, FRAME_BROKEN);
        return end_stream(x);
    }
    send_refusal(x, failure);
    return STEP_NEXT;
}

static enum verdict untellable(struct exchange *x)
{
    struct failure failure = {
        .kind = FAIL_UPSTREAM_BAD,
        .message = BYTES("The model server sent an answer that is not a chat completion."),
    };

    return deliver_failure(x, &failure);
}

/* Others read the same answer, and it is not held for one that lags far behind them. */
static enum verdict lagged(struct exchange *x)
{
    struct failure failure = {
        .kind = FAIL_OVERLOADED,
        .message = BYTES("You read this shared answer too slowly and others were waiting; please ask again."),
    };

    return deliver_failure(x, &failure);
}

/* --- streams --- */

void frame_send_head(struct exchange *x, struct buffer *text)
{
    struct http_head head = {
        .status = 200,
        .content_type = "text/event-stream; charset=utf-8",
        .chunked = x->minor > 0,
        .until_close = x->minor == 0,
        .close = x->minor == 0 || !conn_may_keep(x->conn),
        .event_stream = true,
    };

    make_head(x, &head, text);
    x->stream_counted = true;
    METRICS_COUNT(x->flow->metrics, streams);
}

void frame_send(struct exchange *x, const struct bytes *parts, unsigned count)
{
    put(x, parts, count);
}

/* --- whole answers --- */

static enum verdict deliver_body(struct exchange *x, const struct chat_event *event)
{
    struct http_head head = {.status = 200, .content_type = "application/json", .close = !x->may_keep};
    struct bytes body = event->payload;

    if (event->kind == EVENT_RAW) {
        head.status = transcript_facts(x->transcript).raw_status;
    } else {
        buffer_clear(&x->flow->out, 1 << 20);
        if (x->dialect->write_body(&x->stream, event, &x->flow->out) != 0)
            return untellable(x);
        body = buffer_bytes(&x->flow->out);
    }
    send_whole(x, &head, body);
    return STEP_NEXT;
}

static bool streamed(const struct exchange *x)
{
    return x->endpoint && x->endpoint->kind == ENDPOINT_CHAT && x->question && x->question->request.stream &&
           x->endpoint->operation == CHAT_COMPLETION;
}

/* One more event for X: how long after the one before? Those of one turn of the loop came together. */
static void note_event(struct exchange *x, const struct chat_event *event)
{
    uint64_t turn = x->flow->turn_us;

    if (x->gathers)
        bodies_add(x, event);
    if (!x->streamed) {
        x->event_us = turn;
        return;
    }
    METRICS_COUNT(x->flow->metrics, events_total);
    if (x->event_us) {
        gaps_add(x->gaps, turn - x->event_us);
        if (x->series)
            series_add(x->series, SERIES_GAP, turn - x->event_us);
    } else {
        x->gaps = arena_zeroed(&x->arena, sizeof(*x->gaps));
        x->series = x->route.model ? series_model(x->flow->series, x->route.model->name) : NULL;
    }
    x->event_us = turn;
}

/* What the transcript has, as far as the client takes it. */
static enum verdict deliver_events(struct exchange *x)
{
    struct chat_event event;

    while (!x->choked && !paces_wait(x->flow->paces, x)) {
        int r = reader_next(&x->reader, &event);

        if (r == READER_E_FAILED)
            return deliver_failure(x, transcript_failure(x->transcript));
        if (r == READER_E_LOST)
            return lagged(x);
        if (r == READER_E_END && !x->streamed)
            return untellable(x);
        if (r == READER_E_END) {
            x->dialect->write_end(&x->stream, &x->flow->out);
            frame_events(x, FRAME_LAST);
            return end_stream(x);
        }
        if (r == READER_E_EMPTY)
            break;
        note_event(x, &event);
        if (!x->streamed)
            return deliver_body(x, &event);
        if (x->dialect->write_event(&x->stream, &event, &x->flow->out) != 0)
            return untellable(x);
        if (x->dialect->event_per_chunk || x->flow->out.size > x->flow->config->limits.high_water)
            frame_events(x, FRAME_MORE);
    }
    frame_events(x, FRAME_MORE);
    return STEP_WAIT;
}

static void begin_stream(struct exchange *x)
{
    if (x->stream.dialect || !x->question)
        return;
    client_stream_init(&x->stream, x->dialect, &x->question->request, &x->arena, &x->flow->doc);
    x->streamed = streamed(x);
    x->gathers = bodies_wanted(x);
}

enum verdict deliver_step(struct exchange *x)
{
    if (!x->head_sent && memory_too_old(x))
        return STEP_AGAIN;
    begin_stream(x);
    buffer_clear(&x->flow->out, 1 << 20);
    if (x->ending != FRAME_MORE)
        return end_stream(x);
    return frame_flush(x) ? deliver_events(x) : STEP_WAIT;
}

/* --- silence --- */

void deliver_keepalive(struct exchange *x)
{
    begin_stream(x);
    buffer_clear(&x->flow->out, 1 << 20);
    x->dialect->write_keepalive(&x->stream, &x->flow->out);
    frame_events(x, FRAME_MORE);
}

/* Its stream goes on, or will: before that, a refusal would still have a status of its own. */
static bool may_be_kept_alive(const struct exchange *x)
{
    return x->head_sent || transcript_begun(x->transcript) || transcript_queued(x->transcript);
}

void deliver_tick(struct flow *flow)
{
    uint64_t now = uv_now(flow->loop);

    LIST_EACH(&flow->exchanges, node) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, link);

        if (!x->streamed || x->at != steps_deliver || x->choked || x->ending || !x->conn ||
            (reader_ready(&x->reader) && list_empty(&x->pacing)) || !may_be_kept_alive(x))
            continue;
        if (!x->last_write_ms)
            x->last_write_ms = now;
        if (now - x->last_write_ms < flow->config->keepalive_ms)
            continue;
        METRICS_COUNT(flow->metrics, keepalives_total);
        deliver_keepalive(x);
    }
}
