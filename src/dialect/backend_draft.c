/*
 * Values are settled first and spliced last: each known member leaves as it came, with another value, not at
 * all, or newly added, and that is decided by one comparison here.
 */
#include "dialect/backend_draft.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char limit_names[2][sizeof("max_completion_tokens")] = {"max_tokens", "max_completion_tokens"};

void backend_draft_init(struct backend_draft *draft, const struct backend_ask *ask, struct failure *ret_failure)
{
    const struct chat_request *request = ask->request;

    *draft = (struct backend_draft){
        .ask = ask,
        .quirks = backend_quirks(ask->kind),
        .request = request,
        .ret_failure = ret_failure,
    };
    json_splice_init(&draft->splice, request->doc, ask->arena);
    for (int i = 0; i < FIELD_COUNT; i++)
        if (request->field[i])
            draft->value[i] = json_raw(request->doc, &request->doc->nodes[request->field[i]]);
    draft->limit_name = limit_names[draft->value[FIELD_MAX_COMPLETION_TOKENS].data ? 1 : 0];
    draft->limit = draft->value[draft->limit_name == limit_names[1] ? FIELD_MAX_COMPLETION_TOKENS : FIELD_MAX_TOKENS];
}

int backend_draft_refuse(struct backend_draft *draft, enum failure_kind kind, const char *param, const char *format,
                         ...)
{
    char message[512];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    *draft->ret_failure = failure_make(draft->ask->arena, kind, "%s", message);
    draft->ret_failure->param = arena_copy(draft->ask->arena, bytes_of(param));
    return -EINVAL;
}

const struct json_node *backend_draft_node(const struct backend_draft *draft, enum chat_field field)
{
    const struct json_node *node = chat_field(draft->request, field);

    return node && json_raw(draft->request->doc, node).data == draft->value[field].data ? node : NULL;
}

bool backend_draft_number(const struct backend_draft *draft, enum chat_field field, double *ret)
{
    return draft->value[field].data && bytes_to_double(draft->value[field], ret) == 0;
}

/* --- parameters of the configuration --- */

/* Members that say what the question is and how it is answered: no parameter of a model. */
static bool parameter(enum chat_field field)
{
    return field != FIELD_MODEL && field != FIELD_MESSAGES && field != FIELD_STREAM && field != FIELD_STREAM_OPTIONS &&
           field != FIELD_CONTROLLER && field != FIELD_SYSTEM_PROMPT;
}

static enum chat_field field_named(struct bytes name)
{
    int field = 0;

    while (field < FIELD_COUNT && !bytes_equal(name, bytes_of(chat_field_name((enum chat_field)field))))
        field++;
    return (enum chat_field)field;
}

static void take_param(struct backend_draft *draft, const struct config_param *param, bool fixed)
{
    enum chat_field field = field_named(param->name);

    if (field == FIELD_COUNT) {
        backend_draft_extra(draft, param->name, param->value, !fixed);
    } else if (field == FIELD_MAX_TOKENS || field == FIELD_MAX_COMPLETION_TOKENS) {
        if (!fixed && draft->limit.data)
            return;
        draft->limit = param->value;
        draft->limit_name = limit_names[field == FIELD_MAX_COMPLETION_TOKENS];
    } else if (parameter(field) && (fixed || !draft->value[field].data)) {
        draft->value[field] = param->value;
    }
}

void backend_draft_params(struct backend_draft *draft)
{
    const struct config_params *fixed = draft->ask->fixed, *defaults = draft->ask->defaults;

    for (uint32_t i = 0; fixed && i < fixed->count; i++)
        take_param(draft, &fixed->list[i], true);
    for (uint32_t i = 0; defaults && i < defaults->count; i++)
        take_param(draft, &defaults->list[i], false);
}

void backend_draft_extra(struct backend_draft *draft, struct bytes name, struct bytes value, bool keep)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *node = json_member(doc, json_root(doc), name);

    if (!node || node->type == JSON_NULL)
        json_splice_add(&draft->splice, arena_copy(draft->ask->arena, name).data, value);
    else if (!keep && !bytes_equal(json_raw(doc, node), value))
        json_splice_replace(&draft->splice, node, value);
}

/* --- writing --- */

static void splice_field(struct backend_draft *draft, enum chat_field field)
{
    const struct json_node *node = chat_field(draft->request, field);
    struct bytes value = draft->value[field];

    if (!value.data && node)
        json_splice_remove(&draft->splice, json_root(draft->request->doc), chat_field_key(draft->request, field));
    else if (value.data && !node)
        json_splice_add(&draft->splice, chat_field_name(field), value);
    else if (value.data && !bytes_equal(json_raw(draft->request->doc, node), value))
        json_splice_replace(&draft->splice, node, value);
}

/* One of the two names is sent: the client's member is renamed, or the one too many dropped. */
static void splice_limit(struct backend_draft *draft)
{
    const char *name = draft->quirks->limit ? draft->quirks->limit : draft->limit_name;
    bool completion = strcmp(name, limit_names[1]) == 0;
    enum chat_field sent = completion ? FIELD_MAX_COMPLETION_TOKENS : FIELD_MAX_TOKENS;
    enum chat_field other = completion ? FIELD_MAX_TOKENS : FIELD_MAX_COMPLETION_TOKENS;

    draft->value[sent] = draft->limit;
    draft->value[other] = BYTES_NONE;
    if (draft->limit.data && chat_field(draft->request, other) && !chat_field(draft->request, sent)) {
        json_splice_rename(&draft->splice, chat_field_key(draft->request, other), bytes_of(name));
        if (!bytes_equal(json_raw(draft->request->doc, chat_field(draft->request, other)), draft->limit))
            json_splice_replace(&draft->splice, chat_field(draft->request, other), draft->limit);
        return;
    }
    splice_field(draft, other);
    splice_field(draft, sent);
}

/* Several backends take a null for a value, or refuse it: absent is what it means. */
static void drop_nulls(struct backend_draft *draft)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *root = json_root(doc);

    if (!draft->request->has_null)
        return;
    for (const struct json_node *key = json_first(doc, root); key; key = json_after(doc, root, key))
        if (json_is(json_value(doc, key), JSON_NULL))
            json_splice_remove(&draft->splice, root, key);
}

struct bytes backend_draft_write(struct backend_draft *draft)
{
    struct buffer body;
    struct bytes copy;

    for (int i = 0; i < FIELD_COUNT; i++)
        if (i != FIELD_MESSAGES && i != FIELD_MAX_TOKENS && i != FIELD_MAX_COMPLETION_TOKENS)
            splice_field(draft, (enum chat_field)i);
    splice_limit(draft);
    drop_nulls(draft);
    if (json_splice_clean(&draft->splice))
        return draft->request->doc->text;
    buffer_init(&body);
    json_splice_write(&draft->splice, &body);
    copy = arena_copy(draft->ask->arena, buffer_bytes(&body));
    buffer_deinit(&body);
    return copy;
}
