/*
 * One worker's corridor: built from the configuration, taken down once nothing is open any more.
 */
#include "flow/flow.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "admit/shared.h"
#include "flow/exchange.h"
#include "flow/timing.h"
#include "flow/variants.h"
#include "link/transfer.h"
#include "record/journal.h"
#include "record/redact.h"
#include "record/series.h"

/* Unused connections to backends that one worker keeps. */
#define IDLE_CONNECTIONS 256
/* Above this share of the connections the idle ones are let go soon. */
#define CROWDED_PERCENT 85
#define CROWDED_IDLE_MS 2000
/* How long the two clocks are taken to go alike. */
#define COMPARE_US 100000
/* Lines for the log leave together: after half its time, or so many bytes. Each time wakes the log's thread. */
#define LINES_BYTES 65536

/* --- the flights' notes --- */

static void book_failure(struct flow *flow, uint32_t backend, const struct failure *failure)
{
    uint64_t now = clock_ms();

    switch (failure->kind) {
    case FAIL_UPSTREAM_CONNECT:
    case FAIL_UPSTREAM_DNS:
    case FAIL_UPSTREAM_TLS:
        health_unreachable(flow->health, backend, now);
        identities_lost(flow->identities, backend);
        break;
    case FAIL_UPSTREAM_RESET:
        identities_lost(flow->identities, backend);
        break;
    case FAIL_UPSTREAM_BUSY:
    case FAIL_UPSTREAM_LOADING:
    case FAIL_OVERLOADED:
        if (failure->kind == FAIL_UPSTREAM_LOADING)
            identities_lost(flow->identities, backend);
        health_rest(flow->health, backend, now, failure->retry_after_ms ? failure->retry_after_ms : 1000);
        break;
    default:
        break;
    }
}

static void on_note(void *data, enum flight_note note, const struct config_backend *backend,
                    const struct failure *failure)
{
    struct flow *flow = data;
    struct metrics *metrics = flow->metrics;

    switch (note) {
    case FLIGHT_CALL:
        METRICS_COUNT(metrics, calls);
        METRICS_COUNT(metrics, calls_total);
        break;
    case FLIGHT_CALL_ENDED:
        METRICS_ADD(metrics, calls, -1);
        break;
    case FLIGHT_CANCELLED:
        METRICS_COUNT(metrics, calls_cancelled_total);
        series_call(flow->series, backend->index, SERIES_CALL_CANCELLED);
        break;
    case FLIGHT_RETRIED:
        METRICS_COUNT(metrics, calls_retried_total);
        break;
    case FLIGHT_FAILED:
        METRICS_COUNT(metrics, calls_failed_total);
        series_call(flow->series, backend->index, SERIES_CALL_FAILED);
        book_failure(flow, backend->index, failure);
        break;
    case FLIGHT_FAILOVER:
        METRICS_COUNT(metrics, failovers_total);
        break;
    case FLIGHT_FULL:
        METRICS_COUNT(metrics, requests_refused_total);
        METRICS_COUNT(metrics, limits_refused_total);
        break;
    case FLIGHT_PAUSED:
        METRICS_COUNT(metrics, pauses_total);
        break;
    case FLIGHT_FINISHED:
        series_call(flow->series, backend->index, SERIES_CALL_OK);
        break;
    case FLIGHT_REACHED:
        health_reached(flow->health, backend->index);
        identities_reached(flow->identities, backend->index);
        break;
    }
}

static bool on_may_retry(void *data)
{
    struct flow *flow = data;

    return health_spend(flow->health);
}

/* --- the turn of the loop --- */

static void on_flush(uv_timer_t *timer)
{
    source_hand_over(((struct flow *)timer->data)->source);
}

static void flush_soon(struct flow *flow)
{
    size_t waiting = source_waiting(flow->source);

    if (waiting >= LINES_BYTES || (waiting && flow->is_last))
        source_hand_over(flow->source);
    else if (waiting && !uv_is_active((uv_handle_t *)&flow->flusher))
        uv_timer_start(&flow->flusher, on_flush, flow->config->log.flush_ms / 2, 0);
}

static void on_before(uv_check_t *check)
{
    struct flow *flow = check->data;

    flow->turn_us = clock_us();
    if (flow->turn_us - flow->compared_us >= COMPARE_US) {
        flow->wall_ahead_us = clock_wall_us() - flow->turn_us;
        flow->compared_us = flow->turn_us;
    }
    if (flow->news)
        exchange_run_ready(flow);
}

static void on_check(uv_check_t *check)
{
    struct flow *flow = check->data;

    if (flow->news)
        exchange_run_ready(flow);
    if (flow->transfers)
        atomic_store_explicit(&flow->metrics->idle_handles, transfer_loop_idle(flow->transfers), memory_order_relaxed);
    flush_soon(flow);
}

/* Streams that are silent, and how the backends stand. */
static void on_tick(uv_timer_t *timer)
{
    struct flow *flow = timer->data;
    uint64_t now = clock_ms();

    deliver_tick(flow);
    for (uint32_t i = 0; flow->health && i < flow->config->backend_count; i++)
        series_backend_state(flow->series, i, (unsigned)health_look(flow->health, i, now));
}

/* --- connections --- */

bool flow_admit(void *data)
{
    struct flow *flow = data;
    struct flow_shared *shared = flow->shared;
    uint32_t open = atomic_fetch_add(&shared->connections, 1) + 1;
    bool crowded = (uint64_t)open * 100 > (uint64_t)shared->most_connections * CROWDED_PERCENT;

    flow->conns.limits.idle_ms =
        crowded && flow->config->idle_ms > CROWDED_IDLE_MS ? CROWDED_IDLE_MS : flow->config->idle_ms;
    if (open > shared->most_connections && !flow->admin) {
        atomic_fetch_sub(&shared->connections, 1);
        METRICS_COUNT(flow->metrics, connections_refused_total);
        return false;
    }
    METRICS_COUNT(flow->metrics, connections);
    METRICS_COUNT(flow->metrics, connections_total);
    return true;
}

static void on_conn_closed(struct conn_context *context)
{
    struct flow *flow = LIST_ENTRY(context, struct flow, conns);

    atomic_fetch_sub(&flow->shared->connections, 1);
    METRICS_ADD(flow->metrics, connections, -1);
}

struct conn_context *flow_conns(struct flow *flow)
{
    return &flow->conns;
}

static struct conn_limits conn_limits_of(const struct config *config)
{
    return (struct conn_limits){
        .http = {.line_bytes = 8192,
                 .head_bytes = config->limits.header_bytes,
                 .headers = config->limits.headers,
                 .overhead_bytes = 16384,
                 .body_bytes = config->limits.body_bytes},
        .header_ms = config->header_ms,
        .body_ms = config->body_ms,
        .idle_ms = config->idle_ms,
        .stall_ms = config->client_stall_ms,
        .high_water = config->limits.high_water,
        .low_water = config->limits.low_water,
        .ahead_bytes = 65536,
    };
}

/* --- life --- */

static void reach_backends(struct flow *flow)
{
    const struct config *config = flow->config;

    flow->transfers = transfer_loop_new(flow->loop, IDLE_CONNECTIONS);
    flow->upstreams = alloc_zeroed(config->backend_count * sizeof(struct upstream *));
    for (uint32_t i = 0; i < config->backend_count; i++)
        if (config->backends[i].kind != KIND_ECHO)
            flow->upstreams[i] = upstream_new(flow->loop, flow->transfers, &config->backends[i]);
    flow->catalog = catalog_new(config);
    flow->health = health_new(config->backend_count);
    flow->discovery = discovery_new(flow);
    flow->identities = identities_new(flow);
    flow->variants = variants_new(config);
}

static void open_log(struct flow *flow)
{
    struct journal *journal = flow->shared->journal;

    flow->source = journal_source_new(journal);
    flow->takes_lines = journal_takes(journal, JOURNAL_LINES);
    if (flow->source)
        flow->redact = redact_new(&flow->config->log);
    flow->log_room = log_room_new(flow);
}

struct flow *flow_new(uv_loop_t *loop, struct flow_shared *shared, unsigned index, bool admin)
{
    struct flow *flow = ALLOC_NEW(struct flow);
    struct conn_limits limits = conn_limits_of(shared->config);
    uint64_t tick_ms = shared->config->keepalive_ms / 4;

    flow->loop = loop;
    flow->shared = shared;
    flow->config = shared->config;
    flow->metrics = shared->sets[index];
    flow->series = shared->series[index];
    flow->top = shared->tops[index];
    flow->admin = admin;
    list_init(&flow->exchanges);
    list_init(&flow->ready);
    conn_context_init(&flow->conns, loop, &exchange_conn_events, &limits);
    flow->conns.closed = on_conn_closed;

    uv_check_init(loop, &flow->before);
    uv_check_init(loop, &flow->after);
    uv_idle_init(loop, &flow->idle);
    uv_timer_init(loop, &flow->ticker);
    uv_timer_init(loop, &flow->flusher);
    flow->before.data = flow->after.data = flow->idle.data = flow->ticker.data = flow->flusher.data = flow;
    uv_timer_start(&flow->ticker, on_tick, tick_ms ? tick_ms : 1, tick_ms ? tick_ms : 1);
    flow->paces = paces_new(flow);

    open_log(flow);
    json_doc_init(&flow->doc, ANSWER_JSON_LIMITS);
    json_doc_init(&flow->reader, JSON_LIMITS_DEFAULT);
    flight_context_init(&flow->flights, loop);
    flow->flights.answer_bytes = flow->config->limits.answer_bytes;
    flow->flights.event_bytes = flow->config->limits.event_bytes;
    flow->flights.note = on_note;
    flow->flights.may_retry = on_may_retry;
    flow->flights.data = flow;
    memory_init(flow);
    limits_init(flow);
    /* The check handle that is started last runs first: what was asked goes out in the turn of the transfers, and what
     * they report in it is served right after. */
    uv_check_start(&flow->after, on_check);
    if (!admin)
        reach_backends(flow);
    uv_check_start(&flow->before, on_before);
    return flow;
}

void flow_drain(struct flow *flow)
{
    audits_cancel_all(flow->audits);
    if (flow->identities)
        identities_cancel_all(flow->identities);
    conn_drain_all(&flow->conns);
}

void flow_abort(struct flow *flow)
{
    struct failure failure = {.kind = FAIL_DRAINING, .message = BYTES("The gateway is shutting down.")};

    leads_cancel_all(flow, &failure);
    flight_cancel_all(&flow->flights, &failure);
    LIST_EACH(&flow->exchanges, node) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, link);

        if (x->at < steps_deliver) {
            x->cut_phase = steps_name(x->at);
            limit_note_wait(x);
            timing_close(x, clock_us());
            x->body_failed = true;
            x->body_failure = FAIL_DRAINING;
            x->body_message = "The gateway is shutting down.";
            x->at = 0;
        }
        exchange_resume(x);
    }
    conn_end_all(&flow->conns);
}

void flow_cut(struct flow *flow)
{
    flow->is_last = true;
    LIST_EACH(&flow->exchanges, node)
        exchange_leave(LIST_ENTRY(node, struct exchange, link), "cut");
}

bool flow_idle(const struct flow *flow)
{
    return flow->conns.count == 0 && list_empty(&flow->exchanges) && list_empty(&flow->leads) &&
           !flight_busy(&flow->flights) &&
           !(flow->limits_shared && shared_is_up(flow->limits_shared) && shared_unsettled(flow->limits_shared));
}

static void one_closed(struct flow *flow)
{
    if (--flow->closing == 0)
        flow->closed(flow->closed_data);
}

static void handle_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void memory_closed(void *data)
{
    one_closed(data);
}

static void transfers_closed(void *data)
{
    struct flow *flow = data;

    flow->transfers = NULL;
    one_closed(flow);
}

void flow_close(struct flow *flow, void (*closed)(void *data), void *data)
{
    struct failure failure = {.kind = FAIL_DRAINING, .message = BYTES("The gateway is shutting down.")};

    flow->closed = closed;
    flow->closed_data = data;
    flow->closing = 10;
    audits_cancel_all(flow->audits);
    leads_cancel_all(flow, &failure);
    flight_cancel_all(&flow->flights, &failure);
    source_hand_over(flow->source); /* other workers may take long, and then the process does not wait for them */
    flow->discovery = discovery_free(flow->discovery);
    flow->identities = identities_free(flow->identities);
    for (uint32_t i = 0; flow->upstreams && i < flow->config->backend_count; i++)
        upstream_free(flow->upstreams[i]);
    flow->upstreams = alloc_free(flow->upstreams);
    if (flow->transfers) {
        flow->closing++;
        transfer_loop_close(flow->transfers, transfers_closed, flow);
    }
    uv_close((uv_handle_t *)&flow->before, handle_closed);
    uv_close((uv_handle_t *)&flow->after, handle_closed);
    uv_close((uv_handle_t *)&flow->idle, handle_closed);
    uv_close((uv_handle_t *)&flow->ticker, handle_closed);
    uv_close((uv_handle_t *)&flow->flusher, handle_closed);
    paces_close(flow->paces, handle_closed);
    log_room_close(flow->log_room, handle_closed);
    memory_close(flow, memory_closed, flow);
    limits_close(flow, handle_closed, memory_closed, flow);
}

struct flow *flow_free(struct flow *flow)
{
    limits_deinit(flow);
    memory_deinit(flow);
    paces_free(flow->paces);
    catalog_free(flow->catalog);
    health_free(flow->health);
    variants_free(flow->variants);
    flight_context_deinit(&flow->flights);
    json_doc_deinit(&flow->doc);
    json_doc_deinit(&flow->reader);
    buffer_deinit(&flow->out);
    buffer_deinit(&flow->front);
    log_room_free(flow->log_room);
    journal_source_free(flow->source);
    redact_free(flow->redact);
    return alloc_free(flow);
}
