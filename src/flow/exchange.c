/*
 * The life of an exchange: begun by a request's head, resumed by whatever it waits for, ended once, in one place.
 *
 * Nothing runs an exchange but exchange_run_ready(), once per turn of the loop, after the sockets were served. Whoever
 * has news for one puts it on the ready list, so no step is ever entered twice.
 */
#include "flow/admission.h"
#include "flow/bodies.h"
#include "flow/timing.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "config/address.h"
#include "link/resolve.h"

#include <uv.h>

static struct exchange *exchange_new(struct flow *flow, struct conn *conn)
{
    struct exchange *x = ALLOC_NEW(struct exchange);

    x->flow = flow;
    x->conn = conn;
    list_append(&flow->exchanges, &x->link);
    list_init(&x->ready);
    list_init(&x->discovering);
    list_init(&x->pacing);
    list_init(&x->rooming);
    arena_init(&x->arena);
    memcpy(x->id, "req_", 4);
    random_id(x->id + 4);
    x->peer = arena_copy(&x->arena, bytes_of(conn_peer(conn)));
    x->began_us = x->mark_us = clock_us();
    x->outcome = "ok";
    x->dialect = &client_openai;
    METRICS_COUNT(flow->metrics, exchanges);
    conn_set_owner(conn, x);
    return x;
}

/* Everything it took is given back here, whatever happened. */
static void exchange_end(struct exchange *x)
{
    struct flow *flow = x->flow;

    if (x->conn) {
        conn_set_owner(x->conn, NULL);
        if (!x->written)
            conn_cut(x->conn);
    }
    list_remove(&x->discovering);
    list_remove(&x->pacing);
    list_remove(&x->rooming);
    bodies_forget(x);
    admission_settle(x->admission, NULL);
    usage_look_free(x->looking);
    explanation_free(x->explanation);
    keyring_unref(x->keyring);
    reader_deinit(&x->reader);
    transcript_unref(x->transcript);
    question_unref(x->question);
    buffer_deinit(&x->held);
    atomic_fetch_sub(&flow->shared->body_bytes, x->body_counted);
    METRICS_ADD(flow->metrics, body_bytes, -(int64_t)x->body_counted);
    if (x->stream_counted)
        METRICS_ADD(flow->metrics, streams, -1);
    list_remove(&x->ready);
    list_remove(&x->link);
    arena_deinit(&x->arena);
    METRICS_ADD(flow->metrics, exchanges, -1);
    alloc_free(x);
}

/* --- running --- */

/* An active idle handle is all it takes. */
static void stay_awake(uv_idle_t *idle)
{
    (void)idle;
}

void exchange_awake(struct flow *flow)
{
    flow->news = true;
    if (!uv_is_active((uv_handle_t *)&flow->idle))
        uv_idle_start(&flow->idle, stay_awake);
}

void exchange_resume(struct exchange *x)
{
    if (!list_empty(&x->ready))
        return;
    list_append(&x->flow->ready, &x->ready);
    exchange_awake(x->flow);
}

void exchange_wake_nobody(void *data)
{
    (void)data; /* the transcript is finished */
}

/* The walk goes on from the step BEFORE: into another phase? */
static void note_phase(struct exchange *x, unsigned before)
{
    if (!x->timed && x->at < steps_count && steps_phase(before) != steps_phase(x->at))
        timing_spend(x, steps_phase(before), clock_us());
}

static void exchange_run(struct exchange *x)
{
    while (x->at < steps_count) {
        unsigned before = x->at;

        switch (steps_run(x)) {
        case STEP_NEXT:
            x->at++;
            break;
        case STEP_REPLY:
            x->at = steps_deliver;
            break;
        case STEP_ADMIT:
            x->at = steps_limit;
            break;
        case STEP_AGAIN:
            x->at = steps_understand;
            break;
        case STEP_DONE:
            x->at = steps_settle;
            break;
        case STEP_WAIT:
            return;
        }
        note_phase(x, before);
    }
    exchange_end(x);
}

void exchange_run_ready(struct flow *flow)
{
    struct list *node;

    while ((node = list_first(&flow->ready))) {
        list_remove(node);
        exchange_run(LIST_ENTRY(node, struct exchange, ready));
    }
    flow->news = false;
    audits_run(flow->audits);
    if (!flow->news)
        uv_idle_stop(&flow->idle);
}

/* --- refusing and leaving --- */

void exchange_wake(void *data)
{
    exchange_resume(data);
}

enum verdict exchange_refuse(struct exchange *x, const struct failure *failure)
{
    METRICS_COUNT(x->flow->metrics, requests_refused_total);
    if (!x->cut_phase)
        x->cut_phase = steps_name(x->at);
    reader_deinit(&x->reader);
    transcript_unref(x->transcript);
    x->transcript = transcript_new(1, 1);
    transcript_fail(x->transcript, failure);
    reader_init(&x->reader, x->transcript, NULL, exchange_wake, x);
    return STEP_REPLY;
}

enum verdict exchange_refuse_text(struct exchange *x, enum failure_kind kind, const char *message)
{
    struct failure failure = {.kind = kind, .message = bytes_of(message)};

    return exchange_refuse(x, &failure);
}

void exchange_leave(struct exchange *x, const char *outcome)
{
    x->outcome = outcome;
    x->cut_phase = steps_name(x->at);
    limit_note_wait(x);
    timing_close(x, clock_us());
    if (x->at < steps_settle)
        x->at = steps_settle;
    exchange_resume(x);
}

/* --- what the conn says --- */

/* A client's trace is gone on with; one of our own begins when somebody takes spans. Its id is the request's. */
static void begin_trace(struct exchange *x, const struct http_request *request)
{
    const struct config_tracing *tracing = &x->flow->config->tracing;
    char id[RANDOM_ID_SIZE];

    x->traced = request->traceparent.size && trace_read(request->traceparent, &x->trace);
    if (!x->traced && !tracing->used)
        return;
    if (!x->traced) {
        memcpy(x->trace.trace_id, x->id + 4, TRACE_ID_SIZE);
        x->trace.sampled = tracing->sample_ppm >= 1000000 || random_u64() % 1000000 < tracing->sample_ppm;
    } else if (trace_state_good(request->tracestate)) {
        x->tracestate = arena_copy(&x->arena, request->tracestate);
    }
    random_id(id);
    memcpy(x->trace.span_id, id, SPAN_ID_SIZE);
    x->traced = true;
}

/* Whoever wants a dry run in words that are not known must not get the real one. */
static void read_explain(struct exchange *x, struct bytes value)
{
    x->explain = bytes_equal(value, BYTES("1")) || bytes_equal_nocase(value, BYTES("true"));
    if (!x->explain && value.size && !bytes_equal(value, BYTES("0")) && !bytes_equal_nocase(value, BYTES("false"))) {
        x->body_failed = true;
        x->body_failure = FAIL_INVALID;
        x->body_message = "The header x-embergate-explain must be 1 or 0.";
    }
}

/* A web page that somebody has open elsewhere may send a POST here without being asked (CSRF). */
static void refuse_foreign(struct exchange *x, const struct http_request *request)
{
    size_t scheme = bytes_find(request->origin, BYTES("://"));

    if (!x->flow->admin || request->method != HTTP_POST_ || request->origin.size == 0 ||
        (scheme < request->origin.size && bytes_equal_nocase(bytes_skip(request->origin, scheme + 3), request->host)))
        return;
    x->body_failed = true;
    x->body_failure = FAIL_INVALID;
    x->body_message = "The administration takes no requests from pages of another origin.";
}

/* The host of a Host field, without its port and brackets, and the dot at the end of a whole name. */
static struct bytes host_name(struct bytes host)
{
    size_t end = host.size;

    if (host.size && host.data[0] == '[')
        return (struct bytes){host.data + 1, bytes_find(host, BYTES("]")) - 1};
    while (end > 0 && host.data[end - 1] != ':')
        end--;
    host.size = end ? end - 1 : host.size;
    host.size -= host.size && host.data[host.size - 1] == '.';
    return host;
}

/* Could a stranger have this name point anywhere? Not an address, a name without a dot, or one that no public server
 * answers for. */
static bool is_public(struct bytes name)
{
    static const struct bytes local[] = {{".localhost", 10}, {".local", 6}, {".internal", 9}};

    if (resolve_is_literal(name) || bytes_find(name, BYTES(".")) == name.size)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(local); i++)
        if (name.size > local[i].size && bytes_equal_nocase(bytes_skip(name, name.size - local[i].size), local[i]))
            return false;
    return true;
}

/* A web page elsewhere may have its name point here (DNS rebinding), where only this machine can come. */
static void refuse_rebound(struct exchange *x, const struct http_request *request)
{
    const struct config_address *admin = &x->flow->config->admin;

    if (!x->flow->admin || admin->unix_path.size || !address_is_local(admin) ||
        !is_public(host_name(bytes_trim(request->host))))
        return;
    x->body_failed = true;
    x->body_failure = FAIL_INVALID;
    x->body_message = "The administration listens for this machine alone: ask for it by its address, or as localhost.";
}

static void on_request(struct conn *conn, const struct http_request *request)
{
    struct flow *flow = LIST_ENTRY(conn_context_of(conn), struct flow, conns);
    struct exchange *x = exchange_new(flow, conn);

    METRICS_COUNT(flow->metrics, requests_begun_total);
    x->path = arena_copy(&x->arena, request->path);
    x->query = request->query.data ? arena_copy(&x->arena, request->query) : BYTES_NONE;
    x->method = arena_copy(&x->arena, request->method_text);
    x->client_id = arena_copy(&x->arena, request->request_id);
    x->credential = arena_copy(
        &x->arena, request->api_key.size ? request->api_key : keyring_bearer(request->authorization));
    cache_control_read(request->cache_control, &x->memory.control);
    begin_trace(x, request);
    read_explain(x, request->explain);
    refuse_foreign(x, request);
    refuse_rebound(x, request);
    x->verb = request->method;
    x->minor = request->minor;
    x->may_keep = request->keep_alive;
    x->content_length = request->content_length;
    x->endpoint = endpoint_find(x->path, flow->admin);
    x->dialect = x->endpoint ? x->endpoint->dialect : endpoint_dialect(x->path);
    exchange_resume(x);
}

static void give_up_body(struct exchange *x, enum failure_kind kind, const char *message)
{
    if (x->body_failed)
        return;
    x->body_failed = true;
    x->body_failure = kind;
    x->body_message = message;
    exchange_resume(x);
}

static void on_body(struct conn *conn, struct bytes piece)
{
    struct exchange *x = conn_owner(conn);
    struct flow_shared *shared = x->flow->shared;
    const struct config_limits *limits = &x->flow->config->limits;
    uint64_t all;

    if (x->body_failed)
        return;
    if (x->question->body.size + piece.size > limits->body_bytes) {
        give_up_body(x, FAIL_TOO_LARGE, "The request body is larger than this gateway accepts.");
        return;
    }
    all = atomic_fetch_add(&shared->body_bytes, piece.size) + piece.size;
    METRICS_ADD(x->flow->metrics, body_bytes, (int64_t)piece.size);
    x->body_counted += piece.size;
    if (all > limits->buffered_bytes) {
        give_up_body(x, FAIL_OVERLOADED, "The gateway holds too many request bodies right now. Please retry.");
        return;
    }
    buffer_append(&x->question->body, piece);
    if (x->question->body.size > RECOGNISED_BYTES)
        json_doc_feed(&x->question->doc, buffer_bytes(&x->question->body)); /* its error is told at the end */
}

static void on_body_end(struct conn *conn)
{
    struct exchange *x = conn_owner(conn);

    x->body_complete = true;
    exchange_resume(x);
}

static void on_refuse(struct conn *conn, enum failure_kind kind, const char *message)
{
    struct flow *flow = LIST_ENTRY(conn_context_of(conn), struct flow, conns);
    struct exchange *x = conn_owner(conn);

    METRICS_COUNT(flow->metrics, bad_requests_total);
    if (!x) {
        METRICS_COUNT(flow->metrics, requests_begun_total);
        x = exchange_new(flow, conn);
    }
    x->may_keep = false;
    x->body_wanted = true;
    give_up_body(x, kind, message);
}

static void on_drained(struct conn *conn)
{
    struct exchange *x = conn_owner(conn);

    if (!x)
        return;
    x->choked = false;
    exchange_resume(x);
}

static void on_gone(struct conn *conn, const char *why)
{
    struct flow *flow = LIST_ENTRY(conn_context_of(conn), struct flow, conns);
    struct exchange *x = conn_owner(conn);

    if (!x)
        return;
    x->conn = NULL;
    if (bytes_equal(bytes_of(why), BYTES("stalled")))
        METRICS_COUNT(flow->metrics, clients_stalled_total);
    if (x->written)
        return;
    METRICS_COUNT(flow->metrics, clients_left_total);
    exchange_leave(x, bytes_equal(bytes_of(why), BYTES("stalled")) ? "client_stalled" : "client_left");
}

const struct conn_events exchange_conn_events = {on_request, on_body, on_body_end, on_refuse, on_drained, on_gone};
