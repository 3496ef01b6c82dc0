/*
 * A span is made of the same table as the line: a field that OpenTelemetry's conventions (generative AI, HTTP) have a
 * name for goes by that name, any other as embergate.NAME. Spans are asked for and sampled, so this is the plain way,
 * not the quickest.
 *
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 * https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hex, 64-bit integers as strings.
 */
#include "record/trace.h"

#include "json/json_write.h"
#include "record/record_private.h"

#include <assert.h>

#define KIND_SERVER 2
#define STATUS_ERROR 2
#define NS_PER_US 1000

/* Fields by their names in the conventions, in the order of the table, so that one look at each is enough; NULL: not
 * told here, or told in another place. */
static const struct name {
    const char *field, *key;
} names[] = {
    {"time", NULL},
    {"trace_id", NULL},
    {"span_id", NULL},
    {"parent_id", NULL},
    {"client", "client.address"},
    {"metadata", NULL},
    {"dialect", "gen_ai.provider.name"},
    {"operation", "gen_ai.operation.name"},
    {"method", "http.request.method"},
    {"path", "url.path"},
    {"model", "gen_ai.request.model"},
    {"upstream_model", "gen_ai.response.model"},
    {"tries", NULL},
    {"status", "http.response.status_code"},
    {"reason", "error.type"},
    {"finish_reason", NULL},
    {"prompt_tokens", "gen_ai.usage.input_tokens"},
    {"completion_tokens", "gen_ai.usage.output_tokens"},
    {"bytes_in", "http.request.body.size"},
    {"total_ms", NULL},
    {"request_cut", NULL},
    {"answer_cut", NULL},
    {"request", NULL},
    {"answer", NULL},
};

/* --- attributes --- */

/* `{"key":...,"value":{"TYPE":` */
static void begin_attribute(struct buffer *out, const char *prefix, const char *key, const char *type)
{
    if (out->data[out->size - 1] != '[')
        buffer_append_char(out, ',');
    buffer_append(out, BYTES("{\"key\":\""));
    buffer_append_text(out, prefix);
    buffer_append_text(out, key);
    buffer_append(out, BYTES("\",\"value\":{\""));
    buffer_append_text(out, type);
    buffer_append(out, BYTES("\":"));
}

static void end_attribute(struct buffer *out)
{
    buffer_append(out, BYTES("}}"));
}

static void write_word(struct buffer *out, const char *word)
{
    char *at = buffer_reserve(out, strlen(word) + 2);

    out->size = (size_t)(record_put_word(at, word) - out->data);
}

static void add_text(struct buffer *out, const char *prefix, const char *key, struct bytes text)
{
    if (text.size == 0)
        return;
    begin_attribute(out, prefix, key, "stringValue");
    record_write_text(out, text);
    end_attribute(out);
}

static void add_word(struct buffer *out, const char *prefix, const char *key, const char *word)
{
    if (!word)
        return;
    begin_attribute(out, prefix, key, "stringValue");
    write_word(out, word);
    end_attribute(out);
}

static void add_whole(struct buffer *out, const char *prefix, const char *key, uint64_t number)
{
    begin_attribute(out, prefix, key, "intValue");
    buffer_append_char(out, '"');
    buffer_append_u64(out, number);
    buffer_append_char(out, '"');
    end_attribute(out);
}

/* NUMBER is written by PUT. */
static void add_fraction(struct buffer *out, const char *prefix, const char *key,
                         char *(*put)(char *at, uint64_t number), uint64_t number)
{
    char *at;

    begin_attribute(out, prefix, key, "doubleValue");
    at = buffer_reserve(out, RECORD_NUMBER_ROOM);
    out->size = (size_t)(put(at, number) - out->data);
    end_attribute(out);
}

static void add_true(struct buffer *out, const char *prefix, const char *key)
{
    begin_attribute(out, prefix, key, "boolValue");
    buffer_append(out, BYTES("true"));
    end_attribute(out);
}

static void add_numeric(const struct record *record, const struct record_field *field, const char *prefix,
                        const char *key, struct buffer *out)
{
    const void *value = (const char *)record + field->offset;
    const unsigned *status = value;
    const uint64_t *number = value;
    const int64_t *whole = value;

    if (field->kind == RECORD_STATUS && *status)
        add_whole(out, prefix, key, *status);
    else if (field->kind == RECORD_MAYBE && *whole >= 0)
        add_whole(out, prefix, key, (uint64_t)*whole);
    else if (field->kind == RECORD_COUNT || (field->kind == RECORD_NUMBER && *number))
        add_whole(out, prefix, key, *number);
    else if (field->kind == RECORD_MS && *number)
        add_fraction(out, prefix, key, record_put_ms, *number);
    else if (field->kind == RECORD_MONEY && record->has_cost)
        add_fraction(out, prefix, key, record_put_money, *number);
}

static void add_attribute(const struct record *record, const struct record_field *field, const char *prefix,
                          const char *key, struct buffer *out)
{
    const void *value = (const char *)record + field->offset;

    if (field->kind == RECORD_TEXT || field->kind == RECORD_PLAIN)
        add_text(out, prefix, key, *(const struct bytes *)value);
    else if (field->kind == RECORD_WORD)
        add_word(out, prefix, key, *(const char *const *)value);
    else if (field->kind == RECORD_FLAG && *(const bool *)value)
        add_true(out, prefix, key);
    else
        add_numeric(record, field, prefix, key, out);
}

static void add_fields(const struct record *record, struct buffer *out)
{
    const struct name *name = names, *end = names + ARRAY_SIZE(names);

    for (unsigned i = 0; i < record_field_count; i++) {
        const struct record_field *field = &record_fields[i];

        if (name == end || strcmp(name->field, field->name) != 0)
            add_attribute(record, field, "embergate.", field->name, out);
        else if ((name++)->key)
            add_attribute(record, field, "", name[-1].key, out);
    }
    assert(name == end);
}

/* What is no field of the line, or has another form there. */
static void add_others(const struct record *record, struct buffer *out)
{
    if (record->finish_reason.size) {
        begin_attribute(out, "", "gen_ai.response.finish_reasons", "arrayValue");
        buffer_append(out, BYTES("{\"values\":[{\"stringValue\":"));
        record_write_text(out, record->finish_reason);
        buffer_append(out, BYTES("}]}"));
        end_attribute(out);
    }
    if (record->stream && record->first_token_us)
        add_fraction(out, "", "gen_ai.response.time_to_first_chunk", record_put_money, record->first_token_us);
}

/* --- the span --- */

static void write_id(struct buffer *out, const char *name, struct bytes id)
{
    if (id.size == 0)
        return;
    json_write_name(out, name);
    record_write_text(out, id);
}

/* "chat llama-3.3-70b"; without a model, as HTTP's conventions have it, the method. */
static void write_span_name(const struct record *record, struct buffer *out)
{
    struct buffer name;

    buffer_init(&name);
    if (record->operation && record->model.size) {
        buffer_append_text(&name, record->operation);
        buffer_append_char(&name, ' ');
        buffer_append(&name, record->model);
    } else {
        buffer_append(&name, record->method.size ? record->method : BYTES("request"));
    }
    json_write_name(out, "name");
    record_write_text(out, buffer_bytes(&name));
    buffer_deinit(&name);
}

static void write_time(struct buffer *out, const char *name, uint64_t us)
{
    json_write_name(out, name);
    buffer_append_char(out, '"');
    buffer_append_u64(out, us > UINT64_MAX / NS_PER_US ? UINT64_MAX : us * NS_PER_US);
    buffer_append_char(out, '"');
}

static void write_status(const struct record *record, struct buffer *out)
{
    json_write_name(out, "status");
    buffer_append_char(out, '{');
    if (record->reason) {
        json_write_member_i64(out, "code", STATUS_ERROR);
        json_write_name(out, "message");
        write_word(out, record->reason);
    }
    buffer_append_char(out, '}');
}

void trace_write_span(const struct record *record, struct buffer *out)
{
    uint64_t began = record->wall_us > 0 ? (uint64_t)record->wall_us : 0;
    uint64_t ended = began > UINT64_MAX - record->total_us ? UINT64_MAX : began + record->total_us;

    buffer_append_char(out, '{');
    write_id(out, "traceId", record->trace_id);
    write_id(out, "spanId", record->span_id);
    write_id(out, "parentSpanId", record->parent_id);
    write_span_name(record, out);
    json_write_member_i64(out, "kind", KIND_SERVER);
    write_time(out, "startTimeUnixNano", began);
    write_time(out, "endTimeUnixNano", ended);
    json_write_name(out, "attributes");
    buffer_append_char(out, '[');
    add_fields(record, out);
    add_others(record, out);
    buffer_append_char(out, ']');
    write_status(record, out);
    buffer_append_char(out, '}');
}
