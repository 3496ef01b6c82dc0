/*
 * Pieces are appended where they belong by index, as the SDKs do it.
 */
#include "chat/assembled.h"

#include "base/alloc.h"
#include "json/json_write.h"

void assembled_init(struct assembled *assembled)
{
    *assembled = (struct assembled){0};
}

static void call_deinit(struct assembled_call *call)
{
    buffer_deinit(&call->id);
    buffer_deinit(&call->name);
    buffer_deinit(&call->arguments);
}

static void choice_deinit(struct assembled_choice *choice)
{
    buffer_deinit(&choice->content);
    buffer_deinit(&choice->reasoning);
    buffer_deinit(&choice->refusal);
    buffer_deinit(&choice->finish);
    for (uint32_t i = 0; i < choice->call_count; i++)
        call_deinit(&choice->calls[i]);
    alloc_free(choice->calls);
    if (choice->function)
        call_deinit(choice->function);
    alloc_free(choice->function);
}

void assembled_deinit(struct assembled *assembled)
{
    for (uint32_t i = 0; i < assembled->count; i++)
        choice_deinit(&assembled->choices[i]);
    assembled->choices = alloc_free(assembled->choices);
    assembled->count = 0;
}

/* --- adding --- */

static struct assembled_choice *choice_at(struct assembled *assembled, uint32_t index)
{
    if (index >= assembled->count) {
        assembled->choices = alloc_resize(assembled->choices, (index + 1) * sizeof(*assembled->choices));
        while (assembled->count <= index)
            assembled->choices[assembled->count++] = (struct assembled_choice){0};
    }
    return &assembled->choices[index];
}

static struct assembled_call *call_at(struct assembled_choice *choice, uint32_t index)
{
    if (index >= choice->call_count) {
        choice->calls = alloc_resize(choice->calls, (index + 1) * sizeof(*choice->calls));
        while (choice->call_count <= index)
            choice->calls[choice->call_count++] = (struct assembled_call){0};
    }
    return &choice->calls[index];
}

/* False: it is no text. */
static bool append(struct buffer *to, const struct json_doc *doc, const struct json_node *node)
{
    struct arena arena;

    if (!json_is(node, JSON_STRING))
        return false;
    arena_init(&arena);
    buffer_append(to, json_text(doc, node, &arena));
    arena_deinit(&arena);
    return true;
}

/* The member INDEX, or OTHERWISE; negative when it is none that could be. */
static int64_t index_of(const struct json_doc *doc, const struct json_node *node, int64_t otherwise)
{
    int64_t index = otherwise;

    json_i64(doc, json_member(doc, node, BYTES("index")), &index);
    return index < ASSEMBLED_MOST ? index : -1;
}

static void add_function(struct assembled_call *call, const struct json_doc *doc, const struct json_node *function)
{
    append(&call->name, doc, json_member(doc, function, BYTES("name")));
    append(&call->arguments, doc, json_member(doc, function, BYTES("arguments")));
}

static void add_calls(struct assembled_choice *choice, const struct json_doc *doc, const struct json_node *calls)
{
    const struct json_node *node = json_first(doc, calls);

    for (int64_t place = 0; node; place++, node = json_after(doc, calls, node)) {
        int64_t index = index_of(doc, node, place);
        struct assembled_call *call;

        if (index < 0 || !json_is(node, JSON_OBJECT))
            continue;
        call = call_at(choice, (uint32_t)index);
        append(&call->id, doc, json_member(doc, node, BYTES("id")));
        add_function(call, doc, json_member(doc, node, BYTES("function")));
    }
}

static void add_choice(struct assembled *assembled, const struct json_doc *doc, const struct json_node *node)
{
    const struct json_node *said = json_member(doc, node, BYTES("delta"));
    const struct json_node *function, *finish;
    int64_t index = index_of(doc, node, 0);
    struct assembled_choice *choice;

    if (!said)
        said = json_member(doc, node, BYTES("message"));
    if (index < 0 || !json_is(node, JSON_OBJECT))
        return;
    choice = choice_at(assembled, (uint32_t)index);
    choice->has_content |= append(&choice->content, doc, json_member(doc, said, BYTES("content")));
    choice->has_reasoning |= append(&choice->reasoning, doc, json_member(doc, said, BYTES("reasoning_content")));
    choice->has_refusal |= append(&choice->refusal, doc, json_member(doc, said, BYTES("refusal")));
    add_calls(choice, doc, json_member(doc, said, BYTES("tool_calls")));
    function = json_member(doc, said, BYTES("function_call"));
    if (json_is(function, JSON_OBJECT)) {
        if (!choice->function)
            choice->function = ALLOC_NEW(struct assembled_call);
        add_function(choice->function, doc, function);
    }
    finish = json_member(doc, node, BYTES("finish_reason"));
    if (json_is(finish, JSON_STRING))
        choice->finish.size = 0;
    append(&choice->finish, doc, finish);
}

void assembled_add(struct assembled *assembled, struct bytes payload, struct json_doc *doc)
{
    const struct json_node *choices;

    if (json_doc_parse(doc, payload) != 0 || !json_is(json_root(doc), JSON_OBJECT))
        return;
    choices = json_member(doc, json_root(doc), BYTES("choices"));
    if (!json_is(choices, JSON_ARRAY))
        return;
    for (const struct json_node *node = json_first(doc, choices); node; node = json_after(doc, choices, node))
        add_choice(assembled, doc, node);
}

/* --- writing --- */

static void write_function(const struct assembled_call *call, struct buffer *out)
{
    buffer_append_char(out, '{');
    json_write_member_string(out, "name", buffer_bytes(&call->name));
    json_write_member_string(out, "arguments", buffer_bytes(&call->arguments));
    buffer_append_char(out, '}');
}

static void write_calls(const struct assembled_choice *choice, struct buffer *out)
{
    json_write_name(out, "tool_calls");
    for (uint32_t i = 0; i < choice->call_count; i++) {
        buffer_append_text(out, i ? ",{" : "[{");
        json_write_member_string(out, "id", buffer_bytes(&choice->calls[i].id));
        json_write_member_string(out, "type", BYTES("function"));
        json_write_name(out, "function");
        write_function(&choice->calls[i], out);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_message(const struct assembled_choice *choice, struct buffer *out)
{
    buffer_append_char(out, '{');
    json_write_member_string(out, "role", BYTES("assistant"));
    if (choice->has_content)
        json_write_member_string(out, "content", buffer_bytes(&choice->content));
    else
        json_write_member_raw(out, "content", BYTES("null"));
    if (choice->has_reasoning)
        json_write_member_string(out, "reasoning_content", buffer_bytes(&choice->reasoning));
    if (choice->has_refusal)
        json_write_member_string(out, "refusal", buffer_bytes(&choice->refusal));
    if (choice->call_count)
        write_calls(choice, out);
    if (choice->function) {
        json_write_name(out, "function_call");
        write_function(choice->function, out);
    }
    buffer_append_char(out, '}');
}

void assembled_write(const struct assembled *assembled, struct buffer *out)
{
    buffer_append_text(out, "{\"choices\":[");
    for (uint32_t i = 0; i < assembled->count; i++) {
        const struct assembled_choice *choice = &assembled->choices[i];

        buffer_append_text(out, i ? ",{" : "{");
        json_write_member_i64(out, "index", i);
        json_write_name(out, "message");
        write_message(choice, out);
        if (choice->finish.size)
            json_write_member_string(out, "finish_reason", buffer_bytes(&choice->finish));
        else
            json_write_member_raw(out, "finish_reason", BYTES("null"));
        buffer_append_char(out, '}');
    }
    buffer_append_text(out, "]}");
}
