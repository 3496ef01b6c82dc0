/*
 * The known members of a question, found by one walk over its keys.
 */
#include "chat/request.h"

#include <errno.h>

static const struct bytes names[] = {
#define CHAT_FIELD_NAME(name, text) {text, sizeof(text) - 1},
    CHAT_FIELDS(CHAT_FIELD_NAME)
#undef CHAT_FIELD_NAME
};

const char *chat_field_name(enum chat_field field)
{
    return names[field].data;
}

static enum chat_field field_of(struct bytes name)
{
    unsigned field = 0;

    while (field < FIELD_COUNT && !bytes_equal(names[field], name))
        field++;
    return (enum chat_field)field;
}

bool chat_field_known(struct bytes name)
{
    return field_of(name) != FIELD_COUNT;
}

static int duplicate(struct bytes name, struct arena *arena, struct failure *ret_failure)
{
    struct failure failure =
        failure_make(arena, FAIL_INVALID, "Duplicate parameter: '%.*s'.", BYTES_ARG(name));

    failure.param = name;
    failure.code = BYTES("duplicate_parameter");
    *ret_failure = failure;
    return -EINVAL;
}

int chat_request_index(struct chat_request *request, const struct json_doc *doc, struct arena *arena,
                       struct failure *ret_failure)
{
    const struct json_node *root = json_root(doc);
    struct chat_request found = {.doc = doc, .n = 1};
    bool seen[FIELD_COUNT] = {false};

    for (const struct json_node *key = json_first(doc, root); key; key = json_after(doc, root, key)) {
        const struct json_node *value = json_value(doc, key);
        enum chat_field field = field_of(json_text(doc, key, arena));

        found.has_null |= json_is(value, JSON_NULL);
        if (field == FIELD_COUNT)
            continue;
        if (seen[field])
            return duplicate(names[field], arena, ret_failure);
        seen[field] = true;
        found.field[field] = json_is(value, JSON_NULL) ? 0 : (uint32_t)(value - doc->nodes);
    }
    *request = found;
    return 0;
}
