/*
 * The Goodfire chat API, as its SDK reads it. The client splits every block of bytes it receives at `data: `
 * and wants each piece to be one small JSON object with exactly these members, so every event is written
 * anew: in ASCII, with no `data: ` inside, long text cut into several.
 *
 * OpenAI SDKs are pointed at this door too: whole answers and refusals satisfy both.
 */
#include "base/utf8.h"
#include "chat/understand.h"
#include "dialect/pydantic.h"
#include "dialect/told.h"
#include "json/json_write.h"

#define PIECE_MAX 240         /* bytes of text in one event ... */
#define PIECE_WRITTEN_MAX 600 /* ... and about as much when escaped: an event stays well under one packet */
#define TOKEN_MAX 16384       /* a Goodfire server's own token is not cut: its index must stay its own */
#define WORD_MAX 64
#define NAMES_MAX 64

static const struct bytes own_fingerprint = {"embergate", 9};

/* --- questions --- */

static int understand(struct chat_request *request, const struct json_doc *doc, enum chat_operation operation,
                      struct arena *arena, struct failure *ret_failure)
{
    const struct rule *schema = operation == CHAT_LOGITS ? &schema_goodfire_logits : &schema_goodfire_chat;
    struct violations found;
    struct buffer detail;
    int r;

    found.limit = VIOLATIONS_MAX;
    r = chat_request_understand(request, doc, operation, schema, arena, &found, ret_failure);
    if (r == 0 || found.count == 0)
        return r;
    buffer_init(&detail);
    pydantic_write(&detail, &found, doc, arena);
    ret_failure->detail = arena_copy(arena, buffer_bytes(&detail));
    buffer_deinit(&detail);
    return r;
}

/* --- failures --- */

static unsigned status(const struct failure *failure)
{
    return failure_row(failure->kind)->goodfire_status;
}

static void write_detail(const struct failure *failure, struct buffer *out)
{
    if (failure->detail.data)
        buffer_append(out, failure->detail);
    else if (status(failure) != 422)
        json_write_string(out, failure->message);
    else
        pydantic_write_plain(out, failure->kind == FAIL_BAD_JSON ? "json_invalid" : "value_error",
                             failure->param, failure->message);
}

static void write_failure(const struct failure *failure, struct buffer *out)
{
    buffer_append(out, BYTES("{\"detail\":"));
    write_detail(failure, out);
    buffer_append_char(out, ',');
    told_write_error(failure, false, out);
    buffer_append_char(out, '}');
}

static void write_failure_event(struct client_stream *stream, const struct failure *failure,
                                struct buffer *out)
{
    buffer_append(out, BYTES("data: {"));
    told_write_error(failure, true, out);
    buffer_append(out, BYTES("}\n\n"));
}

/* --- one event --- */

/* What every event of one payload has. */
struct setting {
    struct client_stream *stream;
    struct bytes fingerprint;
    const struct json_node *names; /* gf_event_names, or NULL; said once */
    struct buffer *out;
};

static void write_text(struct buffer *out, const char *name, struct bytes text)
{
    json_write_name(out, name);
    json_write_string_ascii(out, text);
}

/* gf_event_names, those of them that are strings. */
static void write_names(const struct json_doc *doc, const struct json_node *names, struct buffer *out)
{
    struct arena scratch;
    unsigned count = 0;

    arena_init(&scratch);
    buffer_append(out, BYTES(",\"gf_event_names\":["));
    for (const struct json_node *name = json_first(doc, names); name && count < NAMES_MAX;
         name = json_after(doc, names, name)) {
        if (name->type != JSON_STRING)
            continue;
        if (count++ > 0)
            buffer_append_char(out, ',');
        json_write_string_ascii(out, json_text(doc, name, &scratch));
    }
    buffer_append_char(out, ']');
    arena_deinit(&scratch);
}

static void write_one(struct setting *setting, int64_t token_index, struct bytes content, struct bytes finish)
{
    const struct client_stream *stream = setting->stream;
    struct buffer *out = setting->out;

    buffer_append(out, BYTES("data: {"));
    write_text(out, "id", stream->id);
    buffer_append(out, BYTES(",\"object\":\"chat.completion.chunk\",\"created\":"));
    buffer_append_i64(out, stream->created);
    write_text(out, "model", stream->request->model);
    write_text(out, "system_fingerprint", setting->fingerprint);
    buffer_append(out, BYTES(",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"));
    json_write_string_ascii(out, content);
    buffer_append(out, BYTES("},\"gf_token_index\":"));
    buffer_append_i64(out, token_index);
    buffer_append(out, BYTES(",\"finish_reason\":"));
    if (finish.data)
        json_write_string_ascii(out, finish);
    else
        buffer_append(out, BYTES("null"));
    buffer_append(out, BYTES("}]"));
    if (setting->names)
        write_names(stream->doc, setting->names, out);
    setting->names = NULL;
    buffer_append(out, BYTES("}\n\n"));
}

static void begin(struct setting *setting, struct client_stream *stream, struct buffer *out,
                  struct arena *scratch)
{
    const struct json_node *fingerprint = told_string(stream->doc, "system_fingerprint");

    *setting = (struct setting){.stream = stream, .fingerprint = own_fingerprint, .out = out};
    if (fingerprint)
        setting->fingerprint = utf8_cut(json_text(stream->doc, fingerprint, scratch), WORD_MAX);
}

/* How much of TEXT, whole characters, goes into one event. */
static size_t piece_size(struct bytes text)
{
    size_t at = 0, written = 0;

    while (at < text.size) {
        unsigned char lead = (unsigned char)text.data[at];
        size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

        written += lead >= 0x20 && lead < 0x80 ? 1 : size == 4 ? 12 : 6;
        if (at > 0 && (at + size > PIECE_MAX || written > PIECE_WRITTEN_MAX))
            return at;
        at += size;
    }
    return text.size;
}

static void write_pieces(struct setting *setting, struct bytes text)
{
    while (text.size > 0) {
        size_t size = piece_size(text);

        write_one(setting, setting->stream->token_index++, (struct bytes){text.data, size}, BYTES_NONE);
        text = bytes_skip(text, size);
    }
}

static struct bytes told_finish(const struct json_doc *doc, const struct told_choice *told,
                              struct arena *scratch)
{
    return told->finish ? utf8_cut(json_text(doc, told->finish, scratch), WORD_MAX) : BYTES_NONE;
}

/* --- events of an OpenAI server --- */

static bool calls_tool(const struct json_doc *doc, const struct json_node *delta)
{
    const struct json_node *call = json_member(doc, delta, BYTES("function_call"));

    return json_first(doc, json_member(doc, delta, BYTES("tool_calls"))) || json_is(call, JSON_OBJECT);
}

static int tell_openai(struct setting *setting, const struct json_node *choice, struct arena *scratch)
{
    struct client_stream *stream = setting->stream;
    struct told_choice told;

    if (told_choice(stream->doc, choice, "delta", &told) || told.index != 0 ||
        calls_tool(stream->doc, told.part))
        return CLIENT_E_UNTELLABLE;
    if (told.content)
        write_pieces(setting, json_text(stream->doc, told.content, scratch));
    if (told.finish)
        write_one(setting, stream->token_index++, BYTES(""), told_finish(stream->doc, &told, scratch));
    return 0;
}

/* --- events of a Goodfire server --- */

static int tell_goodfire(struct setting *setting, const struct json_node *choice, struct arena *scratch)
{
    struct client_stream *stream = setting->stream;
    struct bytes text = BYTES("");
    struct told_choice told;
    int64_t index = stream->token_index;

    if (told_choice(stream->doc, choice, "delta", &told) || told.index != 0)
        return CLIENT_E_UNTELLABLE;
    if (told.content)
        text = json_text(stream->doc, told.content, scratch);
    if (text.size > TOKEN_MAX)
        return CLIENT_E_UNTELLABLE;
    if (told.token_index)
        json_i64(stream->doc, told.token_index, &index);
    if (index >= stream->token_index && index < UINT32_MAX)
        stream->token_index = (uint32_t)index + 1;
    setting->names = json_member(stream->doc, json_root(stream->doc), BYTES("gf_event_names"));
    if (!json_is(setting->names, JSON_ARRAY))
        setting->names = NULL;
    write_one(setting, index, text, told_finish(stream->doc, &told, scratch));
    return 0;
}

/* --- streams --- */

static int write_payload(struct client_stream *stream, const struct chat_event *event, struct buffer *out,
                         struct arena *scratch)
{
    const struct json_doc *doc = stream->doc;
    const struct json_node *choices;
    struct setting setting;

    if (told_parse(stream, event->payload))
        return CLIENT_E_UNTELLABLE;
    choices = json_member(doc, json_root(doc), BYTES("choices"));
    if (choices && choices->type != JSON_ARRAY && choices->type != JSON_NULL)
        return CLIENT_E_UNTELLABLE;
    begin(&setting, stream, out, scratch);
    for (const struct json_node *choice = json_first(doc, choices); choice;
         choice = json_after(doc, choices, choice)) {
        int r = event->shape == SHAPE_GOODFIRE ? tell_goodfire(&setting, choice, scratch)
                                               : tell_openai(&setting, choice, scratch);

        if (r)
            return r;
    }
    return 0;
}

static int write_event(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    size_t before = out->size;
    struct arena scratch; /* of this event alone: a stream may be endless */
    int r;

    if (event->kind == EVENT_USAGE)
        return 0;
    if (event->kind != EVENT_CHUNK)
        return CLIENT_E_UNTELLABLE;
    arena_init(&scratch);
    r = write_payload(stream, event, out, &scratch);
    arena_deinit(&scratch);
    if (r)
        out->size = before;
    return r;
}

/* The client skips a token whose index it has seen. Before the first one there is none to repeat: then the
 * first keepalive shows an empty token, and its repetitions nothing. */
static void write_keepalive(struct client_stream *stream, struct buffer *out)
{
    struct setting setting = {.stream = stream, .fingerprint = own_fingerprint, .out = out};

    write_one(&setting, (int64_t)stream->token_index - 1, BYTES(""), BYTES_NONE);
    stream->silent = true;
}

static void write_end(struct client_stream *stream, struct buffer *out)
{
}

/* --- whole answers --- */

static bool is_member(const struct json_doc *doc, const struct json_node *object, const char *name,
                      enum json_type type)
{
    return json_is(json_member(doc, object, bytes_of(name)), type);
}

/* A Goodfire server's body that the SDK will take as it is. */
static bool good_already(const struct json_doc *doc, const struct json_node *choices)
{
    const struct json_node *root = json_root(doc), *message;
    int64_t created;

    if (!told_string(doc, "id") || !told_string(doc, "object") || !told_string(doc, "model") ||
        !told_string(doc, "system_fingerprint") ||
        json_i64(doc, json_member(doc, root, BYTES("created")), &created) < 0)
        return false;
    for (const struct json_node *choice = json_first(doc, choices); choice;
         choice = json_after(doc, choices, choice)) {
        message = json_member(doc, choice, BYTES("message"));
        if (!is_member(doc, choice, "index", JSON_NUMBER) || !is_member(doc, message, "role", JSON_STRING) ||
            !is_member(doc, message, "content", JSON_STRING) ||
            !json_member(doc, choice, BYTES("finish_reason")))
            return false;
    }
    return true;
}

/* MEMBER of OBJECT as it is, when it is of TYPE. */
static void pass_member(const struct json_doc *doc, const struct json_node *object, const char *member,
                        enum json_type type, struct buffer *out)
{
    const struct json_node *node = json_member(doc, object, bytes_of(member));

    if (json_is(node, type))
        json_write_member_raw(out, member, json_raw(doc, node));
}

static void write_choice(const struct json_doc *doc, const struct json_node *choice,
                         const struct told_choice *told, struct buffer *out)
{
    buffer_append(out, BYTES("{\"index\":"));
    buffer_append_i64(out, told->index);
    buffer_append(out, BYTES(",\"message\":{\"role\":\"assistant\",\"content\":"));
    buffer_append(out, told->content ? json_raw(doc, told->content) : BYTES("\"\""));
    pass_member(doc, told->part, "refusal", JSON_STRING, out);
    pass_member(doc, told->part, "tool_calls", JSON_ARRAY, out);
    pass_member(doc, told->part, "function_call", JSON_OBJECT, out);
    buffer_append_char(out, '}');
    pass_member(doc, choice, "logprobs", JSON_OBJECT, out);
    json_write_member_raw(out, "finish_reason", told->finish ? json_raw(doc, told->finish) : BYTES("null"));
    buffer_append_char(out, '}');
}

static void write_body_head(const struct client_stream *stream, struct buffer *out)
{
    const struct json_node *fingerprint = told_string(stream->doc, "system_fingerprint");
    const struct json_node *created = json_member(stream->doc, json_root(stream->doc), BYTES("created"));
    int64_t seconds;

    if (json_i64(stream->doc, created, &seconds) < 0)
        seconds = stream->created;
    buffer_append_char(out, '{');
    json_write_member_string(out, "id", stream->id);
    json_write_member_string(out, "object", BYTES("chat.completion"));
    json_write_member_i64(out, "created", seconds);
    json_write_member_string(out, "model", stream->request->model);
    if (fingerprint)
        json_write_member_raw(out, "system_fingerprint", json_raw(stream->doc, fingerprint));
    else
        json_write_member_string(out, "system_fingerprint", own_fingerprint);
    json_write_name(out, "choices");
}

static int rebuild_body(struct client_stream *stream, const struct json_node *choices, struct buffer *out)
{
    const struct json_doc *doc = stream->doc;
    const struct json_node *choice = json_first(doc, choices);
    struct told_choice told;

    write_body_head(stream, out);
    buffer_append_char(out, '[');
    for (const char *comma = ""; choice; choice = json_after(doc, choices, choice), comma = ",") {
        if (told_choice(doc, choice, "message", &told) || !told.part)
            return CLIENT_E_UNTELLABLE;
        buffer_append_text(out, comma);
        write_choice(doc, choice, &told, out);
    }
    buffer_append_char(out, ']');
    pass_member(doc, json_root(doc), "usage", JSON_OBJECT, out);
    pass_member(doc, json_root(doc), "gf_event_names", JSON_ARRAY, out);
    buffer_append_char(out, '}');
    return 0;
}

static int write_answer(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    const struct json_node *choices;

    if (told_parse(stream, event->payload))
        return CLIENT_E_UNTELLABLE;
    choices = json_member(stream->doc, json_root(stream->doc), BYTES("choices"));
    if (!json_is(choices, JSON_ARRAY) || !json_first(stream->doc, choices))
        return CLIENT_E_UNTELLABLE;
    if (event->shape != SHAPE_GOODFIRE || !good_already(stream->doc, choices))
        return rebuild_body(stream, choices, out);
    buffer_append(out, event->payload);
    return 0;
}

static int write_body(struct client_stream *stream, const struct chat_event *event, struct buffer *out)
{
    size_t before = out->size;
    int r;

    if (event->kind == EVENT_CHUNK || event->kind == EVENT_USAGE)
        return CLIENT_E_UNTELLABLE;
    if (event->kind != EVENT_BODY) {
        buffer_append(out, event->payload);
        return 0;
    }
    r = write_answer(stream, event, out);
    if (r)
        out->size = before;
    return r;
}

const struct client_dialect client_goodfire = {
    .name = "goodfire",
    .shape = SHAPE_GOODFIRE,
    .event_per_chunk = true,
    .understand = understand,
    .status = status,
    .write_failure = write_failure,
    .write_body = write_body,
    .write_event = write_event,
    .write_failure_event = write_failure_event,
    .write_keepalive = write_keepalive,
    .write_end = write_end,
};
