/*
 * A key told to people, in the order in which its parts join it: so that two keys can be held against each other, and
 * what made them differ is seen. What is short is told as it is, what is long by the digest of what it says.
 */
#include "dialect/backend_key_private.h"

#include "json/json_write.h"

#define VALUE_MOST 200
/* A client may write as many members as its body has room for. */
#define MEMBERS_MOST 256

static void begin(struct key_parts *parts, const char *part)
{
    buffer_append_text(parts->out, parts->out->data[parts->out->size - 1] == '[' ? "{" : ",{");
    json_write_member_string(parts->out, "part", bytes_of(part));
}

static void end(struct key_parts *parts)
{
    buffer_append_char(parts->out, '}');
}

static void write_digest(struct key_parts *parts, const uint8_t digest[DIGEST_SIZE])
{
    char hex[2 * DIGEST_SIZE];

    digest_hex(digest, hex);
    json_write_member_string(parts->out, "digest", (struct bytes){hex, sizeof(hex)});
}

/* What was added to the scratch digest since it was begun. */
static void write_scratch(struct key_parts *parts)
{
    uint8_t digest[DIGEST_SIZE];

    digest_end(parts->digest, digest);
    write_digest(parts, digest);
}

void key_parts_begin(struct key_parts *parts, const char *version, enum chat_operation operation,
                     const uint8_t scope[DIGEST_SIZE])
{
    buffer_append_char(parts->out, '[');
    begin(parts, "version");
    json_write_member_string(parts->out, "value", bytes_of(version));
    end(parts);
    begin(parts, "operation");
    json_write_member_string(parts->out, "value", operation == CHAT_LOGITS ? BYTES("logits") : BYTES("chat"));
    end(parts);
    begin(parts, "scope");
    write_digest(parts, scope);
    end(parts);
}

void key_parts_end(struct key_parts *parts)
{
    buffer_append_char(parts->out, ']');
}

void key_parts_candidate(struct key_parts *parts, const struct backend_draft *draft, uint32_t number)
{
    struct bytes model = backend_draft_model(draft);

    begin(parts, "candidate");
    json_write_name(parts->out, "value");
    buffer_append_char(parts->out, '{');
    json_write_member_string(parts->out, "backend", draft->ask->backend->name);
    json_write_member_string(parts->out, "kind", bytes_of(config_kind_name(draft->ask->kind)));
    json_write_member_string(parts->out, "model", model.size ? model : draft->request->model);
    json_write_member_i64(parts->out, "question", number);
    buffer_append_char(parts->out, '}');
    end(parts);
}

/* --- a question --- */

static void tell_member(void *data, struct bytes name, struct bytes value)
{
    struct key_parts *parts = data;
    struct arena arena;

    if (parts->members++ >= MEMBERS_MOST) {
        parts->more++;
        return;
    }
    begin(parts, "member");
    if (name.size <= VALUE_MOST) {
        json_write_member_string(parts->out, "name", name);
    } else {
        json_write_member_i64(parts->out, "name_bytes", (int64_t)name.size);
    }
    if (value.size <= VALUE_MOST) {
        json_write_member_raw(parts->out, "value", value);
    } else {
        arena_init(&arena);
        digest_begin(parts->digest);
        json_digest_json(parts->digest, value, &arena);
        write_scratch(parts);
        arena_deinit(&arena);
    }
    end(parts);
}

static void tell_steering(struct key_parts *parts, const struct backend_draft *draft)
{
    const struct chat_steering *steering = draft->ask->steering;
    bool shown = draft->quirks->steering == STEER_SHOWN;

    /* Of other kinds it is in the name of the model, or a member. */
    if (!steering || !(shown ? steering->controller.size || steering->lora.size || steering->adapter.size
                             : draft->quirks->steering == STEER_CONTROLLER && steering->controller.size))
        return;
    begin(parts, "steering");
    digest_begin(parts->digest);
    key_add_steering(parts->digest, draft);
    write_scratch(parts);
    end(parts);
}

void key_parts_question(struct key_parts *parts, const struct backend_draft *draft)
{
    if (draft->request->operation == CHAT_LOGITS && draft->quirks->goodfire_shape) {
        begin(parts, "door");
        json_write_member_string(parts->out, "value",
                                 draft->ask->client == SHAPE_GOODFIRE ? BYTES("goodfire") : BYTES("openai"));
        end(parts);
    }
    begin(parts, "messages");
    digest_begin(parts->digest);
    key_add_messages(parts->digest, draft);
    write_scratch(parts);
    end(parts);
    tell_steering(parts, draft);
    begin(parts, "stream");
    json_write_member_raw(parts->out, "value", draft->request->stream ? BYTES("true") : BYTES("false"));
    end(parts);
    parts->members = 0;
    parts->more = 0;
    key_each_member(draft, tell_member, parts);
    if (!parts->more)
        return;
    begin(parts, "more");
    json_write_member_i64(parts->out, "count", (int64_t)parts->more);
    end(parts);
}
