/*
 * Edits inside `messages`, for servers that know less of them than the API: a role by its older name, content
 * in one string. Texts are joined without being decoded: what stands between the quotes is valid between any
 * others.
 */
#include "dialect/backend_draft.h"
#include "json/json_write.h"

#include <errno.h>
#include <stdio.h>

struct message {
    const struct json_node *role, *content, *tool_calls;
    uint32_t index;
};

static struct message read_message(const struct json_doc *doc, const struct json_node *node, uint32_t index)
{
    return (struct message){
        .role = json_member(doc, node, BYTES("role")),
        .content = json_member(doc, node, BYTES("content")),
        .tool_calls = json_member(doc, node, BYTES("tool_calls")),
        .index = index,
    };
}

static int refuse(struct backend_draft *draft, const struct message *message, const char *member, const char *what)
{
    char param[64];

    snprintf(param, sizeof(param), "messages[%u].%s", message->index, member);
    return backend_draft_refuse(draft, FAIL_UNSUPPORTED, param, "'%s': %s.", param, what);
}

static bool has_null(const struct json_doc *doc, const struct json_node *object)
{
    for (const struct json_node *key = json_first(doc, object); key; key = json_after(doc, object, key))
        if (json_is(json_value(doc, key), JSON_NULL))
            return true;
    return false;
}

/* Members that may be null or absent alike, as histories carry them that were answers once. */
static void drop_nulls(struct backend_draft *draft, const struct json_node *node)
{
    static const char *const names[] = {"refusal", "audio", "function_call", "tool_calls", "name", "annotations"};
    const struct json_doc *doc = draft->request->doc;

    if (!has_null(doc, node))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct json_node *value = json_member(doc, node, bytes_of(names[i]));

        if (json_is(value, JSON_NULL))
            json_splice_remove(&draft->splice, node, value - 1);
    }
}

static int fix_role(struct backend_draft *draft, const struct message *message)
{
    const struct json_doc *doc = draft->request->doc;

    if (json_text_is(doc, message->role, BYTES("developer"))) {
        json_splice_replace(&draft->splice, message->role, BYTES("\"system\""));
        return 0;
    }
    if (!draft->quirks->plain_roles)
        return 0;
    if (!json_text_is(doc, message->role, BYTES("system")) && !json_text_is(doc, message->role, BYTES("user")) &&
        !json_text_is(doc, message->role, BYTES("assistant")))
        return refuse(draft, message, "role", "this model's backend knows the roles system, user and assistant only");
    if (message->tool_calls && message->tool_calls->type != JSON_NULL)
        return refuse(draft, message, "tool_calls", "this model's backend has no tools");
    return 0;
}

static int join_parts(struct backend_draft *draft, const struct message *message, struct buffer *out)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *part = json_first(doc, message->content);

    buffer_append_char(out, '"');
    for (; part; part = json_after(doc, message->content, part)) {
        const struct json_node *text = json_member(doc, part, BYTES("text"));
        struct bytes raw = json_raw(doc, text);

        if (!json_text_is(doc, json_member(doc, part, BYTES("type")), BYTES("text")) || !json_is(text, JSON_STRING))
            return refuse(draft, message, "content", "this model's backend takes text only");
        buffer_append(out, (struct bytes){raw.data + 1, raw.size - 2});
    }
    buffer_append_char(out, '"');
    return 0;
}

static int fix_content(struct backend_draft *draft, const struct message *message)
{
    struct buffer joined;
    int r;

    if (json_is(message->content, JSON_STRING))
        return 0;
    if (!json_is(message->content, JSON_ARRAY)) {
        if (!draft->quirks->plain_roles)
            return 0;
        return refuse(draft, message, "content", "this model's backend needs a text");
    }
    buffer_init(&joined);
    r = join_parts(draft, message, &joined);
    if (r == 0)
        json_splice_replace(&draft->splice, message->content, arena_copy(draft->ask->arena, buffer_bytes(&joined)));
    buffer_deinit(&joined);
    return r;
}

static void put_system_prompt(struct backend_draft *draft, const struct json_node *messages)
{
    struct buffer message;

    buffer_init(&message);
    buffer_append_text(&message, "{\"role\":\"system\"");
    json_write_member_raw(&message, "content", draft->value[FIELD_SYSTEM_PROMPT]);
    buffer_append_char(&message, '}');
    json_splice_prepend(&draft->splice, messages, arena_copy(draft->ask->arena, buffer_bytes(&message)));
    buffer_deinit(&message);
    draft->value[FIELD_SYSTEM_PROMPT] = BYTES_NONE;
}

int backend_draft_messages(struct backend_draft *draft)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *messages = chat_field(draft->request, FIELD_MESSAGES), *node;
    uint32_t index = 0;
    int r = 0;

    if (!json_is(messages, JSON_ARRAY))
        return 0;
    if (json_is(chat_field(draft->request, FIELD_SYSTEM_PROMPT), JSON_STRING))
        put_system_prompt(draft, messages);
    if (!draft->quirks->system_role)
        return 0;
    for (node = json_first(doc, messages); node && r == 0; node = json_after(doc, messages, node)) {
        struct message message = read_message(doc, node, index++);

        drop_nulls(draft, node);
        r = fix_role(draft, &message);
        if (r == 0 && draft->quirks->flat_content)
            r = fix_content(draft, &message);
    }
    return r;
}

static struct message last_message(const struct chat_request *request)
{
    const struct json_doc *doc = request->doc;
    const struct json_node *messages = chat_field(request, FIELD_MESSAGES), *last = NULL, *node;

    if (json_is(messages, JSON_ARRAY))
        for (node = json_first(doc, messages); node; node = json_after(doc, messages, node))
            last = node;
    return read_message(doc, last, 0);
}

bool backend_ends_with_assistant(const struct chat_request *request)
{
    return json_text_is(request->doc, last_message(request).role, BYTES("assistant"));
}

bool backend_prefilled(const struct chat_request *request)
{
    struct message last = last_message(request);

    return json_text_is(request->doc, last.role, BYTES("assistant")) && last.content &&
           last.content->type != JSON_NULL && !last.tool_calls;
}
