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

bool backend_draft_whole(const struct backend_draft *draft, enum chat_field field, int64_t *ret)
{
    const struct json_node *node = backend_draft_node(draft, field);
    double wide;

    if (node)
        return json_i64(draft->request->doc, node, ret) == 0;
    if (bytes_to_i64(draft->value[field], ret) == 0)
        return true;
    if (!backend_draft_number(draft, field, &wide) || !(wide > -9e18 && wide < 9e18))
        return false;
    *ret = (int64_t)wide;
    return (double)*ret == wide;
}

/* --- what a value says --- */

bool backend_draft_empty(const struct backend_draft *draft, enum chat_field field)
{
    struct bytes value = draft->value[field];
    size_t at = 1;

    if (value.data[0] != '[' && value.data[0] != '{')
        return false;
    while (at < value.size && strchr(" \t\r\n", value.data[at]))
        at++;
    return at + 1 == value.size;
}

/* Digits that say it without being calculated; with an exponent they are. */
static bool has_exponent(struct bytes number)
{
    return memchr(number.data, 'e', number.size) || memchr(number.data, 'E', number.size);
}

bool backend_number_zero(struct bytes number)
{
    double value;

    if (!number.size || !strchr("-0123456789", number.data[0]))
        return false;
    if (has_exponent(number))
        return bytes_to_double(number, &value) == 0 && value == 0;
    for (size_t i = 0; i < number.size; i++)
        if (number.data[i] >= '1' && number.data[i] <= '9')
            return false;
    return true;
}

bool backend_number_one(struct bytes number)
{
    double value;

    if (number.size < 2)
        return number.size == 1 && number.data[0] == '1';
    if (number.data[0] != '1' && number.size <= 17 && !has_exponent(number))
        return false;
    return bytes_to_double(number, &value) == 0 && value == 1;
}

bool backend_draft_zero(const struct backend_draft *draft, enum chat_field field)
{
    return backend_number_zero(draft->value[field]);
}

bool backend_draft_one(const struct backend_draft *draft, enum chat_field field)
{
    return backend_number_one(draft->value[field]);
}

bool backend_draft_untrue(const struct backend_draft *draft, enum chat_field field)
{
    return bytes_equal(draft->value[field], BYTES("false"));
}

bool backend_draft_word(const struct backend_draft *draft, enum chat_field field, const char *word)
{
    const struct json_node *node = backend_draft_node(draft, field);
    struct bytes value = draft->value[field], expected = bytes_of(word);

    if (node)
        return json_text_is(draft->request->doc, node, expected);
    return value.size == expected.size + 2 && value.data[0] == '"' && memcmp(value.data + 1, word, expected.size) == 0;
}

bool backend_draft_plain_text(const struct backend_draft *draft, enum chat_field field)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *node = backend_draft_node(draft, field);

    if (json_is(node, JSON_ARRAY))
        return json_length(doc, node) == 1 && json_text_is(doc, json_first(doc, node), BYTES("text"));
    return json_text_is(doc, json_member(doc, node, BYTES("type")), BYTES("text"));
}

/* --- parameters of the configuration --- */

/* Members that say what the question is and how it is answered: no parameter of a model. */
static bool parameter(enum chat_field field)
{
    return field != FIELD_MODEL && field != FIELD_MESSAGES && field != FIELD_STREAM && field != FIELD_STREAM_OPTIONS &&
           field != FIELD_CONTROLLER && field != FIELD_SYSTEM_PROMPT;
}

static bool is_named(enum chat_field field, struct bytes name)
{
    const char *known = chat_field_name(field);

    return name.size && known[0] == name.data[0] && bytes_equal(name, bytes_of(known));
}

static enum chat_field field_named(struct bytes name)
{
    int field = 0;

    while (field < FIELD_COUNT && !is_named((enum chat_field)field, name))
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
    if (draft->extra_count == draft->extra_capacity) {
        uint32_t capacity = draft->extra_capacity ? 2 * draft->extra_capacity : 4;
        struct backend_extra *extras = arena_alloc(draft->ask->arena, capacity * sizeof(*extras));

        if (draft->extra_count)
            memcpy(extras, draft->extras, draft->extra_count * sizeof(*extras));
        draft->extras = extras;
        draft->extra_capacity = capacity;
    }
    draft->extras[draft->extra_count++] = (struct backend_extra){name, value, keep};
}

const struct json_node *backend_draft_said(const struct backend_draft *draft, struct bytes name)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *node = json_member(doc, json_root(doc), name);

    return json_is(node, JSON_NULL) ? NULL : node;
}

/* --- writing --- */

static void splice_extra(struct backend_draft *draft, const struct backend_extra *extra)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *node = backend_draft_said(draft, extra->name);

    if (!node && extra->value.data)
        json_splice_add(&draft->splice, arena_copy(draft->ask->arena, extra->name).data, extra->value);
    else if (node && !extra->value.data)
        json_splice_remove(&draft->splice, json_root(doc), node - 1);
    else if (node && !extra->keep && !bytes_equal(json_raw(doc, node), extra->value))
        json_splice_replace(&draft->splice, node, extra->value);
}

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

    for (uint32_t i = 0; i < draft->extra_count; i++)
        splice_extra(draft, &draft->extras[i]);
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
