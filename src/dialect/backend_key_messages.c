/*
 * Messages as the backend will read them: what its draft writes in another way is the same here from the start. A
 * message goes in member by member, sorted, without its nulls, the two that each has under a byte instead of a name.
 * Whether the last one is a beginning to be continued is told by the messages themselves, and by the members the draft
 * adds where a server must be told.
 */
#include "dialect/backend_key_private.h"

static void add_role(struct digest *digest, const struct backend_draft *draft, const struct json_node *role)
{
    const struct json_doc *doc = draft->request->doc;

    digest_add_byte(digest, 'r');
    if (draft->quirks->system_role && json_text_is(doc, role, BYTES("developer")))
        json_digest_text(digest, BYTES("system"));
    else
        json_digest(digest, doc, role, draft->ask->arena);
}

static bool is_text_part(const struct json_doc *doc, const struct json_node *part, const struct json_node **ret_text)
{
    *ret_text = json_member(doc, part, BYTES("text"));
    return json_text_is(doc, json_member(doc, part, BYTES("type")), BYTES("text")) && json_is(*ret_text, JSON_STRING);
}

/* The texts of all parts in one; false when there is another kind of part. */
static bool join_parts(const struct backend_draft *draft, const struct json_node *parts, struct bytes *ret)
{
    const struct json_doc *doc = draft->request->doc;
    char *joined = arena_alloc(draft->ask->arena, json_raw(doc, parts).size);
    size_t size = 0;

    for (const struct json_node *part = json_first(doc, parts), *text; part; part = json_after(doc, parts, part)) {
        struct bytes decoded;

        if (!is_text_part(doc, part, &text))
            return false;
        decoded = json_text(doc, text, draft->ask->arena);
        memcpy(joined + size, decoded.data, decoded.size);
        size += decoded.size;
    }
    *ret = (struct bytes){joined, size};
    return true;
}

static void add_content(struct digest *digest, const struct backend_draft *draft, const struct json_node *content)
{
    struct bytes joined;

    digest_add_byte(digest, 'c');
    if (draft->quirks->flat_content && json_is(content, JSON_ARRAY) && join_parts(draft, content, &joined))
        json_digest_text(digest, joined);
    else
        json_digest(digest, draft->request->doc, content, draft->ask->arena);
}

static void add_member(struct digest *digest, const struct backend_draft *draft, struct bytes name,
                       const struct json_node *value)
{
    json_digest_text(digest, name);
    json_digest(digest, draft->request->doc, value, draft->ask->arena);
}

static void add_message(struct digest *digest, const struct backend_draft *draft, const struct json_node *message)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node **keys;
    uint32_t count;

    digest_add_byte(digest, 'm');
    keys = json_sorted_keys(doc, message, draft->ask->arena, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct json_node *value = json_value(doc, keys[i]);
        struct bytes name = json_text(doc, keys[i], draft->ask->arena);

        if (value->type == JSON_NULL)
            continue;
        if (bytes_equal(name, BYTES("role")))
            add_role(digest, draft, value);
        else if (bytes_equal(name, BYTES("content")))
            add_content(digest, draft, value);
        else
            add_member(digest, draft, name, value);
    }
    digest_add_byte(digest, 'e');
}

/* The text that the draft puts in front, in the form of a message that is there. */
static void add_system_prompt(struct digest *digest, const struct backend_draft *draft, const struct json_node *prompt)
{
    digest_add_byte(digest, 'm');
    add_content(digest, draft, prompt);
    digest_add_byte(digest, 'r');
    json_digest_text(digest, BYTES("system"));
    digest_add_byte(digest, 'e');
}

void key_add_messages(struct digest *digest, const struct backend_draft *draft)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *messages = chat_field(draft->request, FIELD_MESSAGES), *message;
    const struct json_node *prompt = chat_field(draft->request, FIELD_SYSTEM_PROMPT);

    if (!json_is(messages, JSON_ARRAY)) {
        json_digest(digest, doc, messages, draft->ask->arena);
        return;
    }
    if (json_is(prompt, JSON_STRING))
        add_system_prompt(digest, draft, prompt);
    for (message = json_first(doc, messages); message; message = json_after(doc, messages, message)) {
        if (json_is(message, JSON_OBJECT))
            add_message(digest, draft, message);
        else
            json_digest(digest, doc, message, draft->ask->arena);
    }
    digest_add_byte(digest, 'e');
}
