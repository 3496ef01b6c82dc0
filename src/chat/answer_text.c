/*
 * Identifiers, times, counts of tokens and the borders of events say nothing of what was answered: they are left out.
 * The numbers of logits are compared as they are written.
 */
#include "chat/answer_text.h"

#include "base/alloc.h"

void answer_text_init(struct answer_text *text)
{
    *text = (struct answer_text){0};
}

void answer_text_deinit(struct answer_text *text)
{
    for (uint32_t i = 0; i < text->count; i++) {
        buffer_deinit(&text->choices[i].content);
        buffer_deinit(&text->choices[i].rest);
    }
    text->choices = alloc_free(text->choices);
    text->count = 0;
}

static struct answer_choice *choice_at(struct answer_text *text, uint32_t index)
{
    if (index >= text->count) {
        text->choices = alloc_resize(text->choices, (index + 1) * sizeof(*text->choices));
        for (; text->count <= index; text->count++) {
            buffer_init(&text->choices[text->count].content);
            buffer_init(&text->choices[text->count].rest);
            text->choices[text->count].ended = false;
        }
    }
    return &text->choices[index];
}

static void append_text(struct buffer *out, const struct json_doc *doc, const struct json_node *node)
{
    struct arena arena;

    arena_init(&arena);
    buffer_append(out, json_text(doc, node, &arena));
    arena_deinit(&arena);
}

static void add_tool_calls(struct buffer *out, const struct json_doc *doc, const struct json_node *calls)
{
    for (const struct json_node *call = json_first(doc, calls); call; call = json_after(doc, calls, call)) {
        const struct json_node *function = json_member(doc, call, BYTES("function"));

        append_text(out, doc, json_member(doc, function, BYTES("name")));
        append_text(out, doc, json_member(doc, function, BYTES("arguments")));
    }
}

static void add_choice(struct answer_text *text, const struct json_doc *doc, const struct json_node *node)
{
    const struct json_node *said = json_member(doc, node, BYTES("delta"));
    struct answer_choice *choice;
    int64_t index = 0;

    if (!said)
        said = json_member(doc, node, BYTES("message"));
    json_i64(doc, json_member(doc, node, BYTES("index")), &index);
    if (index < 0 || index >= ANSWER_TEXT_CHOICES || !json_is(said, JSON_OBJECT)) {
        text->unreadable = true;
        return;
    }
    choice = choice_at(text, (uint32_t)index);
    append_text(&choice->content, doc, json_member(doc, said, BYTES("content")));
    append_text(&choice->rest, doc, json_member(doc, said, BYTES("reasoning_content")));
    append_text(&choice->rest, doc, json_member(doc, said, BYTES("refusal")));
    add_tool_calls(&choice->rest, doc, json_member(doc, said, BYTES("tool_calls")));
    append_text(&choice->rest, doc, json_member(doc, node, BYTES("finish_reason")));
    choice->ended = choice->ended || json_is(json_member(doc, node, BYTES("finish_reason")), JSON_STRING);
}

void answer_text_add(struct answer_text *text, const struct chat_event *event, struct json_doc *doc)
{
    const struct json_node *choices;

    if (event->kind == EVENT_RAW || json_doc_parse(doc, event->payload) != 0 || !json_is(json_root(doc), JSON_OBJECT)) {
        text->unreadable = true;
        return;
    }
    if (event->kind == EVENT_USAGE)
        return;
    if (event->kind == EVENT_LOGITS) {
        const struct json_node *logits = json_member(doc, json_root(doc), BYTES("logits"));

        buffer_append(&choice_at(text, 0)->content, logits ? json_raw(doc, logits) : event->payload);
        choice_at(text, 0)->ended = json_is(logits, JSON_OBJECT);
        return;
    }
    choices = json_member(doc, json_root(doc), BYTES("choices"));
    for (const struct json_node *choice = json_first(doc, choices); choice; choice = json_after(doc, choices, choice))
        add_choice(text, doc, choice);
}

bool answer_text_whole(const struct answer_text *text)
{
    for (uint32_t i = 0; i < text->count; i++)
        if (!text->choices[i].ended)
            return false;
    return text->count > 0 && !text->unreadable;
}

/* The length of what A and B begin with alike. */
static size_t alike(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size, at = 0;

    while (at < size && a.data[at] == b.data[at])
        at++;
    return at;
}

bool answer_text_differ(const struct answer_text *a, const struct answer_text *b, uint32_t *ret_choice,
                        size_t *ret_at)
{
    static const struct answer_choice none;
    uint32_t count = a->count > b->count ? a->count : b->count;

    for (uint32_t i = 0; i < count; i++) {
        const struct answer_choice *one = i < a->count ? &a->choices[i] : &none;
        const struct answer_choice *other = i < b->count ? &b->choices[i] : &none;
        struct bytes content = buffer_bytes(&one->content), other_content = buffer_bytes(&other->content);
        struct bytes rest = buffer_bytes(&one->rest), other_rest = buffer_bytes(&other->rest);

        if (bytes_equal(content, other_content) && bytes_equal(rest, other_rest))
            continue;
        *ret_choice = i;
        *ret_at = alike(content, other_content);
        if (bytes_equal(content, other_content))
            *ret_at += alike(rest, other_rest);
        return true;
    }
    return false;
}
