/*
 * The deny-list, as a table: a known member that no row names joins the key as it will be sent, and so does every
 * member nobody knows. A row says that a member stays out, that some values of it say no more than its absence, or that
 * it has a form of its own.
 */
#include "dialect/backend_key_private.h"

#include <stdlib.h>

/* --- values that say no more than absence --- */

/* What a kind is told explicitly never gets here unsaid; a Goodfire server has defaults of its own. */
static bool one_by_default(const struct backend_draft *draft, enum chat_field field)
{
    return !draft->quirks->goodfire_shape && backend_draft_one(draft, field);
}

static bool top_k_unlimited(const struct backend_draft *draft, enum chat_field field)
{
    if (draft->request->operation == CHAT_LOGITS)
        return !draft->quirks->goodfire_shape && draft->request->top_k == 10;
    return draft->quirks->top_k && (draft->value[field].data[0] == '-' || backend_draft_zero(draft, field));
}

static bool min_p_off(const struct backend_draft *draft, enum chat_field field)
{
    return draft->quirks->min_p && backend_draft_zero(draft, field);
}

static bool text_alone(const struct backend_draft *draft, enum chat_field field)
{
    return json_length(draft->request->doc, backend_draft_node(draft, field)) == 1 &&
           backend_draft_plain_text(draft, field);
}

static bool has_items(const struct backend_draft *draft, enum chat_field field)
{
    return draft->value[field].data && !backend_draft_empty(draft, field);
}

static bool usual_choice(const struct backend_draft *draft, enum chat_field field)
{
    if (has_items(draft, FIELD_TOOLS) || has_items(draft, FIELD_FUNCTIONS))
        return backend_draft_word(draft, field, "auto");
    return backend_draft_word(draft, field, "auto") || backend_draft_word(draft, field, "none");
}

/* llama-server has its own mind about what absence means. */
static bool usually_parallel(const struct backend_draft *draft, enum chat_field field)
{
    return draft->ask->kind != KIND_LLAMA_SERVER && bytes_equal(draft->value[field], BYTES("true"));
}

/* A seed that changes nothing, or is none. */
static bool seed_idle(const struct backend_draft *draft, enum chat_field field)
{
    return repeat_greedy(draft) || repeat_seed_random(draft);
}

/* --- forms of their own --- */

static void add_value(struct digest *digest, const struct backend_draft *draft, enum chat_field field,
                      struct bytes value)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *node = chat_field(draft->request, field);

    if (node && json_raw(doc, node).data == value.data)
        json_digest(digest, doc, node, draft->ask->arena);
    else
        json_digest_json(digest, value, draft->ask->arena);
}

/* One text is a list of one. */
static void add_stop(struct digest *digest, const struct backend_draft *draft, enum chat_field field,
                     struct bytes value)
{
    bool alone = value.data[0] == '"';

    if (alone)
        digest_add_byte(digest, '[');
    add_value(digest, draft, field, value);
    if (alone)
        digest_add_byte(digest, ']');
}

static int order_texts(const void *left, const void *right)
{
    const struct bytes *a = left, *b = right;

    return key_order(*a, *b);
}

/* A set of texts; a list of anything else is what it is. */
static void add_vocabulary(struct digest *digest, const struct backend_draft *draft, enum chat_field field,
                           struct bytes value)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *list = chat_field(draft->request, field), *item;
    struct bytes *texts = arena_alloc(draft->ask->arena, (json_length(doc, list) + 1) * sizeof(*texts));
    size_t count = 0;

    for (item = json_first(doc, list); json_is(item, JSON_STRING); item = json_after(doc, list, item))
        texts[count++] = json_text(doc, item, draft->ask->arena);
    if (draft->request->operation != CHAT_LOGITS || item || !json_is(list, JSON_ARRAY)) {
        add_value(digest, draft, field, value);
        return;
    }
    qsort(texts, count, sizeof(*texts), order_texts);
    digest_add_byte(digest, '[');
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !bytes_equal(texts[i - 1], texts[i]))
            json_digest_text(digest, texts[i]);
    digest_add_byte(digest, ']');
}

/* The usage comes to those who want it whatever was asked; what else a server takes here may change its events. */
static bool usual_stream_options(const struct backend_draft *draft, enum chat_field field)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *options = chat_field(draft->request, field), *key;

    for (key = json_first(doc, options); key; key = json_after(doc, options, key))
        if (!json_text_is(doc, key, BYTES("include_usage")) && !json_text_is(doc, key, BYTES("include_obfuscation")))
            return false;
    return true;
}

static void add_stream_options(struct digest *digest, const struct backend_draft *draft, enum chat_field field,
                               struct bytes value)
{
    json_digest(digest, draft->request->doc, chat_field(draft->request, field), draft->ask->arena);
}

/* --- the table --- */

enum joins {
    AS_SENT,
    AS_ASKED,   /* also where the backend is not told */
    OUT,        /* does not change the answer */
    ELSEWHERE,  /* joins, but not from this table */
};

struct row {
    enum joins joins;
    bool (*usual)(const struct backend_draft *draft, enum chat_field field);    /* says no more than absence */
    void (*add)(struct digest *digest, const struct backend_draft *draft, enum chat_field field, struct bytes value);
};

static const struct row rows[FIELD_COUNT] = {
    [FIELD_MODEL] = {.joins = ELSEWHERE},
    [FIELD_MESSAGES] = {.joins = ELSEWHERE},
    [FIELD_CONTROLLER] = {.joins = ELSEWHERE},
    [FIELD_STREAM] = {.joins = ELSEWHERE},
    [FIELD_MAX_TOKENS] = {.joins = ELSEWHERE},
    [FIELD_MAX_COMPLETION_TOKENS] = {.joins = ELSEWHERE},

    [FIELD_STREAM_OPTIONS] = {.joins = AS_ASKED, .usual = usual_stream_options, .add = add_stream_options},
    [FIELD_USER] = {.joins = OUT},
    [FIELD_SAFETY_IDENTIFIER] = {.joins = OUT},
    [FIELD_METADATA] = {.joins = OUT},
    [FIELD_SERVICE_TIER] = {.joins = OUT},
    [FIELD_STORE] = {.joins = OUT},      /* when true, nothing is remembered at all */
    [FIELD_PROMPT_CACHE_KEY] = {.joins = OUT},
    [FIELD_PROMPT_CACHE_RETENTION] = {.joins = OUT},
    [FIELD_PROMPT_CACHE_OPTIONS] = {.joins = OUT},

    [FIELD_PREDICTION] = {.joins = AS_ASKED},
    [FIELD_MODERATION] = {.joins = AS_ASKED},

    [FIELD_TEMPERATURE] = {.usual = one_by_default},
    [FIELD_TOP_P] = {.usual = one_by_default},
    [FIELD_TOP_K] = {.usual = top_k_unlimited},
    [FIELD_MIN_P] = {.usual = min_p_off},
    [FIELD_SEED] = {.usual = seed_idle},
    [FIELD_STOP] = {.usual = backend_draft_empty, .add = add_stop},
    [FIELD_N] = {.usual = backend_draft_one},
    [FIELD_FREQUENCY_PENALTY] = {.usual = backend_draft_zero},
    [FIELD_PRESENCE_PENALTY] = {.usual = backend_draft_zero},
    [FIELD_LOGPROBS] = {.usual = backend_draft_untrue},
    [FIELD_LOGIT_BIAS] = {.usual = backend_draft_empty},
    [FIELD_RESPONSE_FORMAT] = {.usual = text_alone},
    [FIELD_MODALITIES] = {.usual = text_alone},
    [FIELD_TOOLS] = {.usual = backend_draft_empty},
    [FIELD_FUNCTIONS] = {.usual = backend_draft_empty},
    [FIELD_TOOL_CHOICE] = {.usual = usual_choice},
    [FIELD_FUNCTION_CALL] = {.usual = usual_choice},
    [FIELD_PARALLEL_TOOL_CALLS] = {.usual = usually_parallel},
    [FIELD_FILTER_VOCABULARY] = {.add = add_vocabulary},
};

/* What of FIELD joins; none when it does not. */
static struct bytes joining(const struct backend_draft *draft, enum chat_field field)
{
    const struct row *row = &rows[field];
    struct bytes value = draft->value[field];

    if (row->joins == AS_ASKED)
        value = json_raw(draft->request->doc, chat_field(draft->request, field));
    if (!value.data || row->joins == OUT || row->joins == ELSEWHERE || (row->usual && row->usual(draft, field)))
        return BYTES_NONE;
    return value;
}

static void add_field(struct digest *digest, const struct backend_draft *draft, enum chat_field field)
{
    const struct row *row = &rows[field];
    struct bytes value = joining(draft, field);

    if (!value.data)
        return;
    json_digest_text(digest, bytes_of(chat_field_name(field)));
    if (row->add)
        row->add(digest, draft, field, value);
    else
        add_value(digest, draft, field, value);
}

/* Whichever of its names was used. */
static void add_limit(struct digest *digest, const struct backend_draft *draft)
{
    if (!draft->limit.data)
        return;
    json_digest_text(digest, BYTES("max_tokens"));
    json_digest_json(digest, draft->limit, draft->ask->arena);
}

/* --- members nobody knows --- */

struct unknown {
    struct bytes name;
    const struct json_node *node;   /* the client's; or */
    struct bytes value;             /* what is sent instead */
    uint32_t place;
};

static int order_unknown(const void *left, const void *right)
{
    const struct unknown *a = left, *b = right;
    int order = key_order(a->name, b->name);

    return order ? order : (a->place > b->place) - (a->place < b->place);
}

static bool is_known(const struct chat_request *request, const struct json_node *value)
{
    uint32_t index = (uint32_t)(value - request->doc->nodes), found = 0;

    for (int i = 0; i < FIELD_COUNT; i++)
        found |= request->field[i] == index;
    return found;
}

/* The client's own that are neither known nor null. */
static uint32_t collect_unknown(const struct backend_draft *draft, struct unknown **ret)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *root = json_root(doc), *key;
    uint32_t known = 0, said = 0, count = 0;

    for (int i = 0; i < FIELD_COUNT; i++)
        known += draft->request->field[i] != 0;
    for (key = json_first(doc, root); key; key = json_after(doc, root, key))
        said += json_value(doc, key)->type != JSON_NULL;
    *ret = arena_alloc(draft->ask->arena, (said - known + draft->extra_count) * sizeof(**ret));
    if (said == known)
        return 0;
    for (key = json_first(doc, root); key; key = json_after(doc, root, key)) {
        const struct json_node *value = json_value(doc, key);

        if (value->type != JSON_NULL && !is_known(draft->request, value))
            (*ret)[count++] = (struct unknown){.name = json_text(doc, key, draft->ask->arena), .node = value};
    }
    return count;
}

/* EXTRA takes the place of the client's member, or stands beside the others. */
static uint32_t merge_extra(const struct backend_draft *draft, const struct backend_extra *extra, struct unknown *list,
                            uint32_t count)
{
    const struct json_node *said = backend_draft_said(draft, extra->name);

    if (!said) {
        list[count] = (struct unknown){.name = extra->name, .value = extra->value};
        return count + (extra->value.data != NULL);
    }
    for (uint32_t i = 0; i < count && !extra->keep; i++)
        if (list[i].node == said)
            list[i] = (struct unknown){.name = extra->name, .value = extra->value};
    return count;
}

/* All of them, in their order. */
static uint32_t sort_unknown(const struct backend_draft *draft, struct unknown **ret)
{
    struct unknown *list;
    uint32_t count = collect_unknown(draft, &list);

    for (uint32_t i = 0; i < draft->extra_count; i++)
        count = merge_extra(draft, &draft->extras[i], list, count);
    for (uint32_t i = 0; i < count; i++)
        list[i].place = i;
    if (count > 1)
        qsort(list, count, sizeof(*list), order_unknown);
    *ret = list;
    return count;
}

static void add_unknown(struct digest *digest, const struct backend_draft *draft)
{
    struct unknown *list;
    uint32_t count = sort_unknown(draft, &list);

    for (uint32_t i = 0; i < count; i++) {
        if (!list[i].node && !list[i].value.data)
            continue;
        json_digest_text(digest, list[i].name);
        if (list[i].node)
            json_digest(digest, draft->request->doc, list[i].node, draft->ask->arena);
        else
            json_digest_json(digest, list[i].value, draft->ask->arena);
    }
}

void key_add_fields(struct digest *digest, const struct backend_draft *draft)
{
    digest_add_byte(digest, draft->request->stream ? 'S' : 'W');
    for (int i = 0; i < FIELD_COUNT; i++)
        add_field(digest, draft, (enum chat_field)i);
    add_limit(digest, draft);
    digest_add_byte(digest, 'u');
    add_unknown(digest, draft);
    digest_add_byte(digest, 'e');
}

void key_each_member(const struct backend_draft *draft,
                     void (*each)(void *data, struct bytes name, struct bytes value), void *data)
{
    struct unknown *list;
    uint32_t count = sort_unknown(draft, &list);

    for (int i = 0; i < FIELD_COUNT; i++) {
        struct bytes value = joining(draft, (enum chat_field)i);

        if (value.data)
            each(data, bytes_of(chat_field_name((enum chat_field)i)), value);
    }
    if (draft->limit.data)
        each(data, BYTES("max_tokens"), draft->limit);
    for (uint32_t i = 0; i < count; i++)
        if (list[i].node || list[i].value.data)
            each(data, list[i].name, list[i].node ? json_raw(draft->request->doc, list[i].node) : list[i].value);
}
