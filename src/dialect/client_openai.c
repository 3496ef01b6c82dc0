/*
 * The OpenAI chat completions API. What comes in this shape from upstream goes out as it is: a payload is
 * only looked into when it carries a usage nobody asked for, or when a Goodfire server wrote it.
 */
#include "chat/understand.h"
#include "dialect/told.h"
#include "json/json_write.h"

#include <errno.h>

static int understand(struct chat_request *request, const struct json_doc *doc, enum chat_operation operation,
                      struct arena *arena, struct failure *ret_failure)
{
    const struct rule *schema = operation == CHAT_LOGITS ? &schema_openai_logits : &schema_openai_chat;
    struct violations found;

    found.limit = 1;
    return chat_request_understand(request, doc, operation, schema, arena, &found, ret_failure);
}

/* --- failures --- */

static unsigned status(const struct failure *failure)
{
    return failure_row(failure->kind)->openai_status;
}

static void write_failure(const struct failure *failure, struct buffer *out)
{
    buffer_append_char(out, '{');
    told_write_error(failure, false, out);
    buffer_append_char(out, '}');
}

static void write_failure_event(struct client_stream *stream, const struct failure *failure,
                                struct buffer *out)
{
    buffer_append(out, BYTES("data: "));
    write_failure(failure, out);
    buffer_append(out, BYTES("\n\n"));
}

/* --- events that pass --- */

static void write_data(struct buffer *out, struct bytes payload)
{
    static const char before[] = {'d', 'a', 't', 'a', ':', ' '};
    char *at = buffer_reserve(out, sizeof(before) + payload.size + 2);

    memcpy(at, before, sizeof(before));
    at += sizeof(before);
    if (payload.size)
        memcpy(at, payload.data, payload.size);
    memcpy(at + payload.size, "\n\n", 2);
    out->size += sizeof(before) + payload.size + 2;
}

/* Where the root's member NAME stands, with the comma that falls free; false when it has none. */
static bool member_span(const struct json_doc *doc, struct bytes name, uint32_t *ret_start, uint32_t *ret_end)
{
    const struct json_node *root = json_root(doc), *before = NULL, *key = json_first(doc, root), *after;

    while (key && !json_text_is(doc, key, name)) {
        before = key;
        key = json_after(doc, root, key);
    }
    if (!key)
        return false;
    after = json_after(doc, root, key);
    *ret_start = !after && before ? json_value(doc, before)->end : key->start;
    *ret_end = after ? after->start : json_value(doc, key)->end;
    return true;
}

static int write_without_usage(struct client_stream *stream, struct bytes payload, struct buffer *out)
{
    uint32_t start, end;

    if (told_parse(stream, payload))
        return CLIENT_E_UNTELLABLE;
    if (!member_span(stream->doc, BYTES("usage"), &start, &end)) {
        write_data(out, payload);
        return 0;
    }
    buffer_append(out, BYTES("data: "));
    buffer_append(out, (struct bytes){payload.data, start});
    buffer_append(out, bytes_skip(payload, end));
    buffer_append(out, BYTES("\n\n"));
    return 0;
}

/* --- answers of a Goodfire server --- */

static void write_head(const struct client_stream *stream, const char *object, struct buffer *out)
{
    const struct json_node *fingerprint = told_string(stream->doc, "system_fingerprint");

    buffer_append_char(out, '{');
    json_write_member_string(out, "id", stream->id);
    json_write_member_string(out, "object", bytes_of(object));
    json_write_member_i64(out, "created", stream->created);
    json_write_member_string(out, "model", stream->request->model);
    if (fingerprint)
        json_write_member_raw(out, "system_fingerprint", json_raw(stream->doc, fingerprint));
    json_write_name(out, "choices");
}

/* One chunk with DELTA (the inside of an object) and FINISH (JSON). */
static void write_chunk(const struct client_stream *stream, int64_t index, const char *delta,
                        struct bytes content, struct bytes finish, struct buffer *out)
{
    buffer_append(out, BYTES("data: "));
    write_head(stream, "chat.completion.chunk", out);
    buffer_append(out, BYTES("[{\"index\":"));
    buffer_append_i64(out, index);
    buffer_append(out, BYTES(",\"delta\":{"));
    buffer_append_text(out, delta);
    buffer_append(out, content);
    buffer_append(out, BYTES("},\"logprobs\":null,\"finish_reason\":"));
    buffer_append(out, finish);
    buffer_append(out, BYTES("}]}\n\n"));
}

/* A token whose index came before is a repetition that keeps the connection alive. */
static bool repeated(struct client_stream *stream, const struct told_choice *told)
{
    int64_t index;

    if (json_i64(stream->doc, told->token_index, &index) < 0)
        return false;
    if (index < 0)
        return !told->content && !told->finish;
    if (index + 1 == stream->token_index)
        return true;
    stream->token_index = index < UINT32_MAX ? (uint32_t)index + 1 : 0;
    return false;
}

static void write_told(struct client_stream *stream, const struct told_choice *told, struct buffer *out)
{
    const struct json_doc *doc = stream->doc;

    if (!stream->begun)
        write_chunk(stream, told->index, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
                    BYTES_NONE, BYTES("null"), out);
    stream->begun = true;
    if (told->content)
        write_chunk(stream, told->index, "\"content\":", json_raw(doc, told->content), BYTES("null"), out);
    if (told->finish)
        write_chunk(stream, told->index, "", BYTES_NONE, json_raw(doc, told->finish), out);
}

static int write_goodfire_event(struct client_stream *stream, struct bytes payload, struct buffer *out)
{
    const struct json_doc *doc = stream->doc;
    const struct json_node *choices, *choice;
    struct told_choice told;

    if (told_parse(stream, payload))
        return CLIENT_E_UNTELLABLE;
    choices = json_member(doc, json_root(doc), BYTES("choices"));
    for (choice = json_first(doc, choices); choice; choice = json_after(doc, choices, choice)) {
        if (told_choice(doc, choice, "delta", &told))
            return CLIENT_E_UNTELLABLE;
        if (!repeated(stream, &told))
            write_told(stream, &told, out);
    }
    return 0;
}

static void write_choice(const struct json_doc *doc, const struct told_choice *told, struct buffer *out)
{
    buffer_append(out, BYTES("{\"index\":"));
    buffer_append_i64(out, told->index);
    buffer_append(out, BYTES(",\"message\":{\"role\":\"assistant\",\"content\":"));
    buffer_append(out, told->content ? json_raw(doc, told->content) : BYTES("\"\""));
    buffer_append(out, BYTES(",\"refusal\":null},\"logprobs\":null,\"finish_reason\":"));
    buffer_append(out, told->finish ? json_raw(doc, told->finish) : BYTES("null"));
    buffer_append_char(out, '}');
}

static int write_goodfire_body(struct client_stream *stream, struct bytes payload, struct buffer *out)
{
    const struct json_doc *doc = stream->doc;
    const struct json_node *choices, *choice, *usage;
    struct told_choice told;

    if (told_parse(stream, payload))
        return CLIENT_E_UNTELLABLE;
    choices = json_member(doc, json_root(doc), BYTES("choices"));
    choice = json_is(choices, JSON_ARRAY) ? json_first(doc, choices) : NULL;
    if (!choice)
        return CLIENT_E_UNTELLABLE;
    write_head(stream, "chat.completion", out);
    buffer_append_char(out, '[');
    for (const char *comma = ""; choice; choice = json_after(doc, choices, choice), comma = ",") {
        if (told_choice(doc, choice, "message", &told) || !told.part)
            return CLIENT_E_UNTELLABLE;
        buffer_append_text(out, comma);
        write_choice(doc, &told, out);
    }
    buffer_append_char(out, ']');
    usage = json_member(doc, json_root(doc), BYTES("usage"));
    if (json_is(usage, JSON_OBJECT))
        json_write_member_raw(out, "usage", json_raw(doc, usage));
    buffer_append_char(out, '}');
    return 0;
}

/* --- the dialect --- */

static int write_payload(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    bool usage_wanted = stream->request->include_usage;

    if (event->kind != EVENT_CHUNK && event->kind != EVENT_USAGE)
        return CLIENT_E_UNTELLABLE;
    if (event->kind == EVENT_USAGE && !usage_wanted)
        return 0;
    if (event->shape == SHAPE_GOODFIRE)
        return write_goodfire_event(stream, event->payload, out);
    if (!usage_wanted && event->usage)
        return write_without_usage(stream, event->payload, out);
    write_data(out, event->payload);
    return 0;
}

static int write_whole(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    if (event->kind == EVENT_CHUNK || event->kind == EVENT_USAGE)
        return CLIENT_E_UNTELLABLE;
    if (event->kind == EVENT_BODY && event->shape == SHAPE_GOODFIRE)
        return write_goodfire_body(stream, event->payload, out);
    buffer_append(out, event->payload);
    return 0;
}

static int write_event(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    size_t before = out->size;
    int r = write_payload(stream, event, out);

    if (r)
        out->size = before;
    return r;
}

static int write_body(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    size_t before = out->size;
    int r = write_whole(stream, event, out);

    if (r)
        out->size = before;
    return r;
}

static void write_keepalive(struct client_stream *stream, struct buffer *out)
{
    buffer_append(out, BYTES(": keepalive\n\n"));
}

static void write_end(struct client_stream *stream, struct buffer *out)
{
    buffer_append(out, BYTES("data: [DONE]\n\n"));
}

const struct client_dialect client_openai = {
    .name = "openai",
    .shape = SHAPE_OPENAI,
    .event_per_chunk = false,
    .understand = understand,
    .status = status,
    .write_failure = write_failure,
    .write_body = write_body,
    .write_event = write_event,
    .write_failure_event = write_failure_event,
    .write_keepalive = write_keepalive,
    .write_end = write_end,
};
