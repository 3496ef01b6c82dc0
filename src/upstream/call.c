/*
 * A call is a transfer with deadlines.
 *
 * One timer per backend and worker looks after all its calls: it sleeps until the earliest deadline and then walks the
 * list, at most fifty times a second. So a call costs no timer of its own, a byte costs one store, and ten thousand
 * silent streams cost one walk each time one of them is due. By the loop's clock deadlines are late by up to 20 ms,
 * never early.
 *
 * A deadline that has passed counts only when it is still passed after the loop has looked at its sockets once more:
 * after a suspended process or a long turn, the bytes that were waiting come first.
 */
#include "upstream/call.h"

#include "base/alloc.h"
#include "base/list.h"

#include <assert.h>
#include <stdio.h>

enum {
    ADDRESS_MS = 30000, /* how long a name's address is used */
    WALK_GAP_MS = 20,
    GRACE_MS = 1,
};

#define NEVER UINT64_MAX

struct upstream {
    uv_loop_t *loop;
    const struct config_backend *backend;
    struct transfer_target *target;
    struct resolver *resolver; /* NULL: the host is an address, or a path */
    struct list calls;
    uv_timer_t timer;
    uint64_t wakes_at; /* NEVER: the timer sleeps */
};

struct call {
    struct list node;
    struct upstream *upstream;
    struct call_request request;
    const struct transfer_events *events;
    void *data;
    struct transfer *transfer; /* NULL while the name is looked up */
    struct resolve_wait wait;
    bool waiting; /* `wait` is with the resolver */
    uint64_t started_at, last_byte_at;
    bool answered; /* the head came */
    bool paused;
    bool warned; /* found late once */
};

/* --- deadlines -------------------------------------------------------------------------------------------------- */

struct deadline {
    uint64_t at;
    int result;
};

/* What the call waits for now, besides its end. */
static struct deadline next_step(const struct call *call)
{
    const struct config_timeouts *timeouts = &call->request.timeouts;

    if (!call->transfer || !transfer_connected(call->transfer))
        return (struct deadline){call->started_at + timeouts->connect, TRANSFER_E_CONNECT_TIMEOUT};
    if (timeouts->first_byte == 0 || call->paused)
        return (struct deadline){NEVER, 0};
    if (!call->answered)
        return (struct deadline){transfer_connected_at(call->transfer) + timeouts->first_byte,
                                 CALL_E_FIRST_BYTE};
    return (struct deadline){call->last_byte_at + timeouts->between_bytes, CALL_E_BETWEEN_BYTES};
}

static struct deadline call_deadline(const struct call *call)
{
    struct deadline step = next_step(call);
    struct deadline total = {call->started_at + call->request.timeouts.total, CALL_E_TOTAL};

    return step.at < total.at ? step : total;
}

/* When to look at the call again. Nobody tells when it gets its connection, and then another deadline begins. */
static uint64_t look_again(const struct call *call, uint64_t now)
{
    uint64_t at = call_deadline(call).at;
    uint32_t first_byte = call->request.timeouts.first_byte;
    bool connected = call->transfer && transfer_connected(call->transfer);

    return !connected && first_byte && now + first_byte < at ? now + first_byte : at;
}

static const char *explain(int result)
{
    switch (result) {
    case TRANSFER_E_CONNECT_TIMEOUT:
        return "no connection in time";
    case CALL_E_FIRST_BYTE:
        return "no answer in time";
    case CALL_E_BETWEEN_BYTES:
        return "the answer stalled";
    default:
        return "the call took too long";
    }
}

static void on_timer(uv_timer_t *timer);

/* Sleep until AT, unless an earlier end of sleep is set. */
static void wake_at(struct upstream *upstream, uint64_t at)
{
    uint64_t now = uv_now(upstream->loop);

    if (at >= upstream->wakes_at)
        return;
    upstream->wakes_at = at;
    uv_timer_start(&upstream->timer, on_timer, at > now ? at - now : 0, 0);
}

static void finish(struct call *call, int result, const char *reason)
{
    const struct transfer_events *events = call->events;
    void *data = call->data;

    call_cancel(call);
    events->done(data, result, reason);
}

/* Moves those that are late for the second time to LATE. Returns when to look again. */
static uint64_t walk(struct upstream *upstream, uint64_t now, struct list *late)
{
    uint64_t next = NEVER;

    LIST_EACH(&upstream->calls, node) {
        struct call *call = LIST_ENTRY(node, struct call, node);
        uint64_t at = call_deadline(call).at;

        if (at > now) {
            call->warned = false;
            at = look_again(call, now);
        } else if (call->warned) {
            list_remove(node);
            list_append(late, node);
            continue;
        } else {
            call->warned = true;
            at = now + GRACE_MS;
        }
        if (at < next)
            next = at;
    }
    return next;
}

static void on_timer(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;
    uint64_t now = uv_now(upstream->loop), next;
    struct list late, *node;

    list_init(&late);
    upstream->wakes_at = NEVER;
    next = walk(upstream, now, &late);
    if (next != NEVER && next > now + GRACE_MS && next < now + WALK_GAP_MS)
        next = now + WALK_GAP_MS;
    wake_at(upstream, next);
    while ((node = list_first(&late))) {
        struct call *call = LIST_ENTRY(node, struct call, node);
        int result = call_deadline(call).result;

        finish(call, result, explain(result));
    }
}

/* --- the transfer's events --------------------------------------------------------------------------------------- */

/* The owner may cancel in each: the call is not touched after that. */

static void on_head(void *data, const struct transfer_head *head)
{
    struct call *call = data;

    call->answered = true;
    call->last_byte_at = uv_now(call->upstream->loop);
    wake_at(call->upstream, call_deadline(call).at);
    call->events->head(call->data, head);
}

static void on_body(void *data, struct bytes piece)
{
    struct call *call = data;

    call->last_byte_at = uv_now(call->upstream->loop);
    call->events->body(call->data, piece);
}

static void on_done(void *data, int result, const char *reason)
{
    struct call *call = data;

    call->transfer = NULL;
    finish(call, result, reason);
}

static const struct transfer_events transfer_events = {on_head, on_body, on_done};

/* --- a call ------------------------------------------------------------------------------------------------------ */

static void ask(struct call *call)
{
    const struct call_request *request = &call->request;
    struct transfer_request wire = {
        .get = request->get,
        .path = request->path,
        .body = request->body,
        .fresh = request->fresh,
        .event_stream = request->event_stream,
        .key = request->key,
        .traceparent = request->traceparent,
        .tracestate = request->tracestate,
    };

    call->transfer = transfer_start(call->upstream->target, &wire, &transfer_events, call);
    if (call->paused)
        transfer_pause(call->transfer);
}

static void on_resolved(void *data, int status)
{
    struct call *call = data;
    struct upstream *upstream = call->upstream;
    const char *address = status == 0 ? resolver_address(upstream->resolver) : NULL;

    call->waiting = false;
    if (!address) {
        finish(call, TRANSFER_E_DNS, status ? uv_strerror(status) : "no address");
        return;
    }
    transfer_target_resolved(upstream->target, address);
    ask(call);
}

struct call *call_start(struct upstream *upstream, const struct call_request *request,
                        const struct transfer_events *events, void *data)
{
    struct call *call = ALLOC_NEW(struct call);
    const char *address = upstream->resolver ? resolver_address(upstream->resolver) : NULL;

    call->upstream = upstream;
    call->request = *request;
    call->events = events;
    call->data = data;
    call->started_at = uv_now(upstream->loop);
    list_append(&upstream->calls, &call->node);
    if (address)
        transfer_target_resolved(upstream->target, address);
    if (address || !upstream->resolver) {
        ask(call);
    } else {
        call->wait = (struct resolve_wait){.done = on_resolved, .data = call};
        call->waiting = true;
        resolver_wait(upstream->resolver, &call->wait);
    }
    wake_at(upstream, look_again(call, call->started_at));
    return call;
}

struct call *call_cancel(struct call *call)
{
    if (!call)
        return NULL;
    if (call->waiting)
        resolver_cancel(call->upstream->resolver, &call->wait);
    transfer_cancel(call->transfer);
    list_remove(&call->node);
    return alloc_free(call);
}

uint64_t call_connected_us(const struct call *call)
{
    return call->transfer ? transfer_connected_us(call->transfer) : 0;
}

void call_hurry(struct call *call, uint32_t ms)
{
    uint64_t total = uv_now(call->upstream->loop) - call->started_at + ms;

    if (total < call->request.timeouts.total)
        call->request.timeouts.total = (uint32_t)total;
    wake_at(call->upstream, call_deadline(call).at);
}

void call_pause(struct call *call)
{
    call->paused = true;
    if (call->transfer)
        transfer_pause(call->transfer);
}

void call_resume(struct call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    call->last_byte_at = uv_now(call->upstream->loop);
    if (call->transfer)
        transfer_resume(call->transfer);
    wake_at(call->upstream, call_deadline(call).at);
}

/* --- a backend --------------------------------------------------------------------------------------------------- */

struct upstream *upstream_new(uv_loop_t *loop, struct transfer_loop *transfers, const struct config_backend *backend)
{
    struct transfer_target_spec spec = {
        .tls = backend->tls,
        .host = backend->host,
        .port = backend->port,
        .unix_path = backend->unix_path,
        .api_key = backend->pass_through_key ? BYTES_NONE : backend->api_key,
        .ca_file = backend->ca_file,
        .connect_ms = backend->timeouts.connect,
    };
    struct transfer_target *target = transfer_target_new(transfers, &spec);
    struct upstream *upstream;

    if (!target)
        return NULL;
    upstream = ALLOC_NEW(struct upstream);
    upstream->loop = loop;
    upstream->backend = backend;
    upstream->target = target;
    if (backend->unix_path.size == 0 && !resolve_is_literal(backend->host))
        upstream->resolver = resolver_new(loop, backend->host, ADDRESS_MS);
    list_init(&upstream->calls);
    upstream->wakes_at = NEVER;
    uv_timer_init(loop, &upstream->timer);
    upstream->timer.data = upstream;
    uv_unref((uv_handle_t *)&upstream->timer);
    return upstream;
}

static void on_closed(uv_handle_t *handle)
{
    alloc_free(handle->data);
}

struct upstream *upstream_free(struct upstream *upstream)
{
    if (!upstream)
        return NULL;
    assert(list_empty(&upstream->calls));
    resolver_free(upstream->resolver);
    transfer_target_free(upstream->target);
    uv_close((uv_handle_t *)&upstream->timer, on_closed);
    return NULL;
}

const struct config_backend *upstream_backend(const struct upstream *upstream)
{
    return upstream->backend;
}
