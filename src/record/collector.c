/*
 * One request under way, with a deadline of its own, and judged:
 *
 *   IDLE -> ASKING -> ANSWERED -> done
 *             ^          |
 *             +- RESTING-+     429, 502, 503, 504, no answer: after 1, 2, 4 s (or what it says), then lost
 *
 * What an answer means is decided by a timer of 0, never inside the transfer's own callback, so that the owner may
 * close everything from where it is told.
 */
#include "record/collector.h"

#include "base/alloc.h"
#include "json/json_doc.h"
#include "link/resolve.h"
#include "link/transfer.h"

enum {
    CONNECT_MS = 5000,
    TOTAL_MS = 10000,
    ADDRESS_MS = 30000,
    RETRY_AFTER_S = 30,         /* at most */
    ANSWER_BYTES = 64 << 10,    /* what is read of it */
    TOLD_BYTES = 200,           /* of a collector's words */
};

static const unsigned rests_ms[] = {1000, 2000, 4000};

enum phase { IDLE, ASKING, ANSWERED, RESTING };

struct collector {
    const struct config_tracing *config;
    void (*done)(void *data, uint64_t lost);
    void *data;

    struct transfer_loop *transfers;
    struct transfer_target *target; /* NULL: what is configured cannot be asked */
    struct resolver *resolver;      /* NULL: the host is an address, or a path */

    /* The request */
    struct bytes body;
    uint64_t spans;
    enum phase phase;
    uv_timer_t clock;           /* the end of whatever the phase waits for */
    unsigned failures;
    struct resolve_wait wait;
    bool waiting;               /* `wait` is with the resolver */
    struct transfer *transfer;
    bool fresh;                 /* the next transfer is on a new connection */

    /* The answer */
    unsigned status;            /* 0: none */
    int result;                 /* of the transfer */
    int64_t retry_after_s;
    struct buffer answer;
    char reason[TOLD_BYTES];    /* why it is not well; empty: it is */

    unsigned handles;
    void (*closed)(void *data);
    void *closed_data;
};

/* --- what is wrong ------------------------------------------------------------------------------------ */

static void set_reason(struct collector *collector, struct bytes text)
{
    size_t size = text.size < TOLD_BYTES - 1 ? text.size : TOLD_BYTES - 1;

    for (size_t i = 0; i < size; i++)
        collector->reason[i] = text.data[i] >= ' ' && text.data[i] <= '~' ? text.data[i] : '?';
    collector->reason[size] = '\0';
}

static void set_reason_status(struct collector *collector)
{
    struct buffer text;

    buffer_init(&text);
    buffer_printf(&text, "the collector answered %u", collector->status);
    set_reason(collector, buffer_bytes(&text));
    buffer_deinit(&text);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static void on_clock(uv_timer_t *timer);

static void wait_in(struct collector *collector, enum phase phase, uint64_t ms)
{
    collector->phase = phase;
    uv_timer_start(&collector->clock, on_clock, ms, 0);
}

static void answered(struct collector *collector, int result, struct bytes reason)
{
    collector->result = result;
    if (result)
        set_reason(collector, reason);
    wait_in(collector, ANSWERED, 0);
}

static void on_head(void *data, const struct transfer_head *head)
{
    struct collector *collector = data;

    collector->status = head->status;
    if (bytes_to_i64(head->retry_after, &collector->retry_after_s) < 0)
        collector->retry_after_s = 0;
}

static void on_body(void *data, struct bytes piece)
{
    struct collector *collector = data;

    if (collector->answer.size + piece.size <= ANSWER_BYTES)
        buffer_append(&collector->answer, piece);
}

static void on_done(void *data, int result, const char *reason)
{
    struct collector *collector = data;

    collector->transfer = NULL;
    answered(collector, result, bytes_of(reason));
}

static void post(struct collector *collector)
{
    static const struct transfer_events events = {on_head, on_body, on_done};
    struct transfer_request request = {
        .path = collector->config->path, .body = collector->body, .fresh = collector->fresh};

    collector->transfer = transfer_start(collector->target, &request, &events, collector);
}

static void on_resolved(void *data, int status)
{
    struct collector *collector = data;
    const char *address = status == 0 ? resolver_address(collector->resolver) : NULL;

    collector->waiting = false;
    if (!address) {
        answered(collector, TRANSFER_E_DNS, bytes_of(status ? uv_strerror(status) : "no address"));
        return;
    }
    transfer_target_resolved(collector->target, address);
    post(collector);
}

static void ask(struct collector *collector)
{
    const char *address = collector->resolver ? resolver_address(collector->resolver) : NULL;

    collector->status = 0;
    collector->result = 0;
    collector->retry_after_s = 0;
    buffer_clear(&collector->answer, ANSWER_BYTES);
    wait_in(collector, ASKING, TOTAL_MS);
    if (!collector->target) {
        answered(collector, TRANSFER_E_BAD, BYTES("its URL or its key cannot be used"));
        return;
    }
    if (address)
        transfer_target_resolved(collector->target, address);
    if (address || !collector->resolver) {
        post(collector);
        return;
    }
    collector->wait = (struct resolve_wait){.done = on_resolved, .data = collector};
    collector->waiting = true;
    resolver_wait(collector->resolver, &collector->wait);
}

static void stop_asking(struct collector *collector)
{
    if (collector->waiting)
        resolver_cancel(collector->resolver, &collector->wait);
    collector->waiting = false;
    collector->transfer = transfer_cancel(collector->transfer);
}

/* --- what an answer means --------------------------------------------------------------------------------------- */

/* An int64 of protobuf's JSON: a string, or a number. */
static uint64_t read_count(const struct json_doc *doc, const struct json_node *node, struct arena *arena)
{
    int64_t count = 0;

    if (json_is(node, JSON_STRING))
        bytes_to_i64(json_text(doc, node, arena), &count);
    else
        json_i64(doc, node, &count);
    return count > 0 ? (uint64_t)count : 0;
}

/* Spans that the collector took note of and did not want. */
static uint64_t read_rejected(struct collector *collector)
{
    uint64_t rejected = 0;
    struct json_doc doc;
    struct arena arena;

    json_doc_init(&doc, (struct json_limits){.depth = 16, .nodes = 1000});
    arena_init(&arena);
    if (collector->answer.size && json_doc_parse(&doc, buffer_bytes(&collector->answer)) == 0) {
        const struct json_node *partial = json_at(&doc, json_root(&doc), "partialSuccess");

        rejected = read_count(&doc, json_at(&doc, partial, "rejectedSpans"), &arena);
        set_reason(collector, json_text(&doc, json_at(&doc, partial, "errorMessage"), &arena));
        if (!collector->reason[0])
            set_reason(collector, BYTES("the collector rejected them"));
    }
    arena_deinit(&arena);
    json_doc_deinit(&doc);
    return rejected < collector->spans ? rejected : collector->spans;
}

static void finish(struct collector *collector, uint64_t lost)
{
    uv_timer_stop(&collector->clock);
    collector->phase = IDLE;
    if (lost == 0)
        collector->reason[0] = '\0';
    collector->done(collector->data, lost);
}

static void ask_later(struct collector *collector)
{
    uint64_t ms;

    if (collector->failures == ARRAY_SIZE(rests_ms)) {
        finish(collector, collector->spans);
        return;
    }
    ms = rests_ms[collector->failures++];
    if (collector->retry_after_s > 0)
        ms = (uint64_t)(collector->retry_after_s < RETRY_AFTER_S ? collector->retry_after_s : RETRY_AFTER_S) * 1000;
    wait_in(collector, RESTING, ms);
}

/* An answer that may be another one soon. */
static bool is_passing(unsigned status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static void judge_status(struct collector *collector)
{
    set_reason_status(collector);
    if (collector->status / 100 == 2)
        finish(collector, read_rejected(collector));
    else if (is_passing(collector->status))
        ask_later(collector);
    else
        finish(collector, collector->spans);
}

static void judge(struct collector *collector)
{
    if (collector->status) {
        judge_status(collector);
    } else if (collector->result == TRANSFER_E_BAD) {
        finish(collector, collector->spans);
    } else if (collector->result == TRANSFER_E_STALE) {
        collector->fresh = true; /* nothing is wrong but the age of a connection */
        ask(collector);
    } else {
        ask_later(collector);
    }
}

static void on_clock(uv_timer_t *timer)
{
    struct collector *collector = timer->data;

    if (collector->phase == RESTING) {
        ask(collector);
        return;
    }
    if (collector->phase == ASKING) {
        stop_asking(collector);
        set_reason(collector, BYTES("no answer in time"));
    }
    judge(collector);
}

/* --- the owner's calls ------------------------------------------------------------------------------------------ */

void collector_ask(struct collector *collector, struct bytes body, uint64_t spans)
{
    collector->body = body;
    collector->spans = spans;
    collector->failures = 0;
    collector->fresh = false;
    ask(collector);
}

bool collector_is_busy(const struct collector *collector)
{
    return collector->phase != IDLE;
}

bool collector_is_failing(const struct collector *collector)
{
    return collector->phase != IDLE && collector->failures > 0;
}

const char *collector_trouble(const struct collector *collector)
{
    return collector->reason[0] ? collector->reason : NULL;
}

static struct transfer_target_spec spec_of(const struct config_tracing *config)
{
    return (struct transfer_target_spec){
        .tls = config->tls,
        .host = config->host,
        .port = config->port,
        .unix_path = config->unix_path,
        .api_key = config->api_key,
        .ca_file = config->ca_file,
        .connect_ms = CONNECT_MS,
    };
}

struct collector *collector_new(uv_loop_t *loop, const struct config_tracing *config,
                                void (*done)(void *data, uint64_t lost), void *data)
{
    struct collector *collector = ALLOC_NEW(struct collector);
    struct transfer_target_spec spec = spec_of(config);

    collector->config = config;
    collector->done = done;
    collector->data = data;
    collector->transfers = transfer_loop_new(loop, 1);
    collector->target = transfer_target_new(collector->transfers, &spec);
    if (config->unix_path.size == 0 && !resolve_is_literal(config->host))
        collector->resolver = resolver_new(loop, config->host, ADDRESS_MS);
    uv_timer_init(loop, &collector->clock);
    collector->clock.data = collector;
    return collector;
}

static void release(void *data)
{
    struct collector *collector = data;

    if (--collector->handles > 0)
        return;
    collector->closed(collector->closed_data);
    buffer_deinit(&collector->answer);
    alloc_free(collector);
}

static void on_clock_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void collector_close(struct collector *collector, void (*closed)(void *data), void *data)
{
    stop_asking(collector);
    collector->closed = closed;
    collector->closed_data = data;
    collector->handles = 2;
    resolver_free(collector->resolver);
    transfer_target_free(collector->target);
    transfer_loop_close(collector->transfers, release, collector);
    uv_close((uv_handle_t *)&collector->clock, on_clock_closed);
}
