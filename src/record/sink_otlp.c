/*
 * Spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies, one batch under way, one being filled.
 *
 * A batch is a finished request body at any time but for its last brackets. It leaves when it is full, or a second
 * after its first span. While one is under way and the other is full nothing is taken, so two of them are all the
 * memory there is.
 */
#include "record/sink.h"

#include "base/alloc.h"
#include "json/json_write.h"
#include "record/collector.h"
#include "record/line_cut.h"

#include <errno.h>

enum {
    BATCH_SPANS = 512,
    BATCH_BYTES = 1 << 20,      /* a larger span goes alone */
    AGE_MS = 1000,
};

struct batch {
    struct buffer body;
    unsigned spans;
};

struct sink {
    const struct config_tracing *config;
    struct buffer opening;      /* of a body, up to its first span */
    struct sink_events events;

    struct collector *collector;    /* NULL: not started, or closed */
    struct batch filling, sending;
    uv_timer_t age;             /* of the one being filled */
    bool due;                   /* it is old enough */
    bool wanted;                /* a take found no room */

    unsigned handles;
    void (*closed)(void *data);
    void *closed_data;
};

/* --- batches ---------------------------------------------------------------------------------------------------- */

static void on_age(uv_timer_t *timer);

static void batch_clear(struct batch *batch)
{
    buffer_clear(&batch->body, 2 * BATCH_BYTES);
    batch->spans = 0;
}

static bool is_full(const struct batch *batch, size_t more)
{
    return batch->spans == BATCH_SPANS || (batch->spans && batch->body.size + more > BATCH_BYTES);
}

static void add(struct sink *sink, struct bytes span)
{
    struct batch *batch = &sink->filling;

    if (batch->spans == 0)
        buffer_append(&batch->body, buffer_bytes(&sink->opening));
    else
        buffer_append_char(&batch->body, ',');
    buffer_append(&batch->body, span);
    if (batch->spans++ == 0)
        uv_timer_start(&sink->age, on_age, AGE_MS, 0);
}

/* The batch being filled is the one to send: when there is none under way. */
static void send_batch(struct sink *sink)
{
    struct batch empty = sink->sending;

    sink->sending = sink->filling;
    sink->filling = empty;
    sink->due = false;
    uv_timer_stop(&sink->age);
    buffer_append(&sink->sending.body, BYTES("]}]}]}"));
    collector_ask(sink->collector, buffer_bytes(&sink->sending.body), sink->sending.spans);
}

static void on_age(uv_timer_t *timer)
{
    struct sink *sink = timer->data;

    sink->due = true;
    if (!collector_is_busy(sink->collector))
        send_batch(sink);
}

/* The journal may close the sink in each of its two calls. */
static void on_done(void *data, uint64_t lost)
{
    struct sink *sink = data;
    uint64_t kept = sink->sending.spans - lost;

    batch_clear(&sink->sending);
    if (sink->due || sink->wanted || is_full(&sink->filling, 0))
        send_batch(sink);
    sink->events.settled(sink->events.data, kept, lost);
    if (!sink->collector || !sink->wanted)
        return;
    sink->wanted = false;
    sink->events.ready(sink->events.data);
}

/* --- the journal's calls ---------------------------------------------------------------------------------------- */

static ssize_t otlp_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    struct bytes rest = lines;
    size_t taken = 0;

    *ret_later = true;
    while (rest.size) {
        struct bytes span = next_line(&rest);

        if (is_full(&sink->filling, span.size) && !collector_is_busy(sink->collector))
            send_batch(sink);
        if (is_full(&sink->filling, span.size))
            break;
        add(sink, span);
        taken = lines.size - rest.size;
    }
    if (is_full(&sink->filling, 0) && !collector_is_busy(sink->collector))
        send_batch(sink);
    sink->wanted = taken < lines.size;
    if (taken == 0 && collector_is_failing(sink->collector))
        return -EBUSY;
    return (ssize_t)taken;
}

static void write_attribute(struct buffer *out, const char *key, struct bytes value)
{
    buffer_printf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
    json_write_string(out, value);
    buffer_append_text(out, "}}");
}

static void write_opening(struct buffer *out, struct bytes service)
{
    buffer_append_text(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    write_attribute(out, "service.name", service.size ? service : BYTES("embergate"));
    buffer_append_char(out, ',');
    write_attribute(out, "service.version", BYTES(EMBERGATE_VERSION));
    buffer_append_text(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"embergate\",\"version\":");
    json_write_string(out, BYTES(EMBERGATE_VERSION));
    buffer_append_text(out, "},\"spans\":[");
}

static struct sink *otlp_free(struct sink *sink)
{
    if (!sink)
        return NULL;
    buffer_deinit(&sink->opening);
    buffer_deinit(&sink->filling.body);
    buffer_deinit(&sink->sending.body);
    return alloc_free(sink);
}

static int otlp_open(const void *config, struct buffer *errors, struct sink **ret)
{
    struct sink *sink = ALLOC_NEW(struct sink);

    sink->config = config;
    write_opening(&sink->opening, sink->config->service);
    *ret = sink;
    return 0;
}

static void otlp_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    sink->events = *events;
    sink->collector = collector_new(loop, sink->config, on_done, sink);
    uv_timer_init(loop, &sink->age);
    sink->age.data = sink;
}

static void release(void *data)
{
    struct sink *sink = data;

    if (--sink->handles == 0)
        sink->closed(sink->closed_data);
}

static void on_age_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void otlp_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    struct collector *collector = sink->collector;

    if (!collector) {
        closed(data);
        return;
    }
    sink->closed = closed;
    sink->closed_data = data;
    sink->handles = 2;
    sink->collector = NULL;
    collector_close(collector, release, sink);
    uv_close((uv_handle_t *)&sink->age, on_age_closed);
}

static const char *otlp_trouble(const struct sink *sink)
{
    return sink->collector ? collector_trouble(sink->collector) : NULL;
}

const struct sink_kind sink_otlp = {
    .name = "otlp",
    .open = otlp_open,
    .start = otlp_start,
    .take = otlp_take,
    .trouble = otlp_trouble,
    .close = otlp_close,
    .free = otlp_free,
};
