/*
 * A dry run in JSON. The client reads its own question, and what its key may know anyway: no key of anybody is in it.
 */
#include "flow/explain.h"

#include "json/json_write.h"

static void write_flag(struct buffer *out, const char *name, bool value)
{
    json_write_member_raw(out, name, value ? BYTES("true") : BYTES("false"));
}

/* null where there is none */
static void write_text(struct buffer *out, const char *name, struct bytes text)
{
    if (text.size)
        json_write_member_string(out, name, text);
    else
        json_write_member_raw(out, name, BYTES("null"));
}

/* --- the question --- */

/* Members that are told as the client wrote them, where it did. */
static const enum chat_field shown[] = {
    FIELD_TEMPERATURE, FIELD_TOP_P, FIELD_TOP_K, FIELD_MIN_P, FIELD_SEED, FIELD_FREQUENCY_PENALTY,
    FIELD_PRESENCE_PENALTY, FIELD_REASONING_EFFORT,
};

static void write_normalised(const struct exchange *x, struct buffer *out)
{
    const struct chat_request *request = &x->question->request;
    const struct config_model *model = x->route.model;
    bool logits = request->operation == CHAT_LOGITS;

    buffer_append_char(out, '{');
    json_write_member_string(out, "model", request->model);
    json_write_member_string(out, "resolved", model ? model->name : request->model);
    write_text(out, "variant", x->route.variant ? x->route.variant->name : BYTES_NONE);
    json_write_member_i64(out, "messages", json_length(request->doc, chat_field(request, FIELD_MESSAGES)));
    if (logits) {
        json_write_member_string(out, "scale", request->scale == SCALE_PROB ? BYTES("prob") : BYTES("any"));
        json_write_member_i64(out, "strings",
                              json_length(request->doc, chat_field(request, FIELD_FILTER_VOCABULARY)));
    } else {
        write_flag(out, "stream", request->stream);
        write_flag(out, "include_usage", request->include_usage);
        json_write_member_i64(out, "choices", request->n);
        if (request->has_max_tokens)
            json_write_member_i64(out, "output_limit", request->max_tokens);
        else
            json_write_member_raw(out, "output_limit", BYTES("null"));
    }
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        const struct json_node *value = chat_field(request, shown[i]);

        if (value)
            json_write_member_raw(out, chat_field_name(shown[i]), json_raw(request->doc, value));
    }
    buffer_append_char(out, '}');
}

static void write_request(const struct exchange *x, struct buffer *out)
{
    bool logits = x->question->request.operation == CHAT_LOGITS;

    buffer_append_char(out, '{');
    json_write_member_string(out, "dialect", bytes_of(x->dialect->name));
    json_write_member_string(out, "operation", logits ? BYTES("logits") : BYTES("chat"));
    json_write_member_string(out, "path", bytes_of(x->endpoint->path));
    json_write_name(out, "normalised");
    write_normalised(x, out);
    json_write_member_raw(out, "body", buffer_bytes(&x->question->body));
    buffer_append_char(out, '}');
}

static void write_key(const struct exchange *x, struct buffer *out)
{
    if (!x->key) {
        buffer_append_text(out, "null");
        return;
    }
    buffer_append_char(out, '{');
    json_write_member_string(out, "name", x->key->name);
    write_text(out, "team", x->key->team);
    buffer_append_char(out, '}');
}

/* --- the memory --- */

static void write_cache(const struct explanation *explanation, struct buffer *out)
{
    static const char *const scopes[] = {
        [SCOPE_TENANT] = "tenant", [SCOPE_TEAM] = "team", [SCOPE_SHARED] = "shared"};
    static const char *const finds[] = {[MEMO_HIT] = "hit", [MEMO_JOIN] = "join", [MEMO_NONE] = "absent"};
    const struct memory *memory = &explanation->x->memory;
    bool keyed = !explanation->reason;
    char hex[2 * DIGEST_SIZE];

    digest_hex(memory->key, hex);
    buffer_append_char(out, '{');
    write_flag(out, "repeatable", keyed);
    write_text(out, "reason", explanation->reason ? bytes_of(explanation->reason) : BYTES_NONE);
    write_text(out, "key", keyed ? (struct bytes){hex, sizeof(hex)} : BYTES_NONE);
    json_write_member_raw(out, "parts", explanation->parts.size ? buffer_bytes(&explanation->parts) : BYTES("[]"));
    json_write_member_string(out, "scope", bytes_of(scopes[memory->policy->scope]));
    write_text(out, "now", keyed ? bytes_of(finds[explanation->found]) : BYTES_NONE);
    if (keyed && explanation->x->flow->second && explanation->found == MEMO_NONE)
        json_write_member_string(out, "second_shelf", BYTES("not looked at"));
    json_write_member_i64(out, "ttl_ms", memory->policy->ttl_ms);
    buffer_append_char(out, '}');
}

/* --- limits and cost --- */

static void write_line(const struct explanation *explanation, const struct scope *scope, const struct scope_line *line,
                       struct buffer *out)
{
    buffer_append_text(out, out->data[out->size - 1] == '[' ? "{" : ",{");
    json_write_member_string(out, "scope", bytes_of(scope_kind_name(scope_kind(scope))));
    json_write_member_string(out, "name", scope_name(scope));
    limits_write_line(out, line);
    write_flag(out, "would_pass", explain_passes(line, &explanation->charge));
    buffer_append_char(out, '}');
}

static void write_limits(const struct explanation *explanation, struct buffer *out)
{
    const struct shared_peek *peek = &explanation->peek;

    buffer_append_char(out, '[');
    for (unsigned i = 0; i < peek->count; i++)
        for (unsigned j = 0; peek->scopes[i] && j < peek->line_counts[i]; j++)
            write_line(explanation, peek->scopes[i], &peek->lines[i][j], out);
    buffer_append_char(out, ']');
}

static void write_charge(const struct explanation *explanation, struct buffer *out)
{
    const struct charge *charge = &explanation->charge;

    buffer_append_char(out, '{');
    json_write_member_i64(out, "requests", (int64_t)charge->requests);
    json_write_member_i64(out, "prompt_tokens", (int64_t)explanation->estimate.prompt);
    json_write_member_i64(out, "output_tokens", (int64_t)explanation->estimate.output);
    json_write_member_millionths(out, "cost", charge->money);
    write_flag(out, "estimated", true);
    buffer_append_char(out, '}');
}

void explain_write(const struct explanation *explanation, struct buffer *out)
{
    const struct exchange *x = explanation->x;

    buffer_append_char(out, '{');
    json_write_name(out, "request");
    write_request(x, out);
    json_write_name(out, "key");
    write_key(x, out);
    json_write_name(out, "candidates");
    explain_write_candidates(explanation, out);
    json_write_name(out, "cache");
    write_cache(explanation, out);
    json_write_name(out, "limits");
    write_limits(explanation, out);
    if (explanation->peek.degraded)
        write_flag(out, "limits_degraded", true);
    json_write_name(out, "charge");
    write_charge(explanation, out);
    buffer_append_text(out, "}\n");
}
