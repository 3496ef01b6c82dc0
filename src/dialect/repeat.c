/*
 * A question is repeatable when its answer hangs on nothing but itself: greedy or seeded, and nothing looked up, stored
 * or waited for on the way. Influence is looked for in what the client asked, also where a backend would not be told.
 */
#include "dialect/repeat.h"

static const char *const names[] = {
    [REPEAT_YES] = "",
    [REPEAT_POLICY] = "never",
    [REPEAT_NOT_ASKED] = "no-seed",
    [REPEAT_SEED_UNUSABLE] = "unusable-seed",
    [REPEAT_WEB_SEARCH] = "web-search",
    [REPEAT_SERVER_TOOLS] = "server-tools",
    [REPEAT_STORE] = "store",
    [REPEAT_AUDIO] = "audio",
    [REPEAT_EVENT_NAME] = "event-name",
    [REPEAT_UNASKABLE] = "unaskable",
};

const char *repeat_reason_name(enum repeat_reason reason)
{
    return names[reason];
}

/* --- greedy --- */

/* Each alone leaves one token to choose from. */
static const struct {
    enum chat_field field;
    bool (*greedy)(struct bytes value);
} signs[] = {
    {FIELD_TEMPERATURE, backend_number_zero},
    {FIELD_TOP_P, backend_number_zero},
    {FIELD_TOP_K, backend_number_one},
};

/* Members beside the API's that leave the choice among tokens alone. */
static const char *const tame[] = {
    "lora",           "add_generation_prompt", "continue_final_message", "repetition_penalty", "repeat_penalty",
    "stop_token_ids", "chat_template_kwargs",  "cache_prompt",           "ignore_eos",         "n_predict",
};

/* Members that may undo a temperature of 0: llama-server then samples by what they say. */
static const char *const hot[] = {
    "samplers", "sampler_seq", "dynatemp_range", "dynatemp_exponent", "min_keep", "mirostat",
    "typical_p", "xtc_probability", "adaptive_target",
};

static bool is_among(struct bytes name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(name, bytes_of(list[i])))
            return true;
    return false;
}

/* Some member that is no chat_field, the client's or the configuration's, is in LIST; or is not, with OTHERS. */
static bool has_member(const struct backend_draft *draft, const char *const *list, size_t count, bool others)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *root = json_root(doc), *key;

    for (key = json_first(doc, root); key; key = json_after(doc, root, key)) {
        struct bytes name = json_text(doc, key, draft->ask->arena);

        if (json_value(doc, key)->type != JSON_NULL && !chat_field_known(name) &&
            is_among(name, list, count) != others)
            return true;
    }
    for (uint32_t i = 0; i < draft->extra_count; i++)
        if (draft->extras[i].value.data && is_among(draft->extras[i].name, list, count) != others)
            return true;
    return false;
}

bool repeat_cold(const struct backend_draft *draft)
{
    struct bytes temperature = draft->value[FIELD_TEMPERATURE];

    return temperature.data && backend_number_zero(temperature) && !has_member(draft, hot, ARRAY_SIZE(hot), false);
}

static bool looks_greedy(const struct backend_draft *draft)
{
    for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
        struct bytes value = draft->value[signs[i].field];

        if (value.data && signs[i].greedy(value))
            return true;
    }
    return false;
}

bool repeat_greedy(const struct backend_draft *draft)
{
    return looks_greedy(draft) && !has_member(draft, tame, ARRAY_SIZE(tame), true);
}

static bool says_greedy(enum chat_field field, struct bytes value)
{
    for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
        if (signs[i].field == field && signs[i].greedy(value))
            return true;
    return false;
}

static bool params_ask(const struct config_params *params)
{
    for (uint32_t i = 0; params && i < params->count; i++) {
        const struct config_param *param = &params->list[i];

        if (bytes_equal(param->name, BYTES("seed")))
            return true;
        for (size_t sign = 0; sign < ARRAY_SIZE(signs); sign++)
            if (bytes_equal(param->name, bytes_of(chat_field_name(signs[sign].field))) &&
                says_greedy(signs[sign].field, param->value))
                return true;
    }
    return false;
}

bool repeat_surely_not(const struct chat_request *request, const struct config_params *defaults,
                       const struct config_params *fixed)
{
    if (request->operation == CHAT_LOGITS || chat_field(request, FIELD_SEED))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
        const struct json_node *node = chat_field(request, signs[i].field);

        if (node && signs[i].greedy(json_raw(request->doc, node)))
            return false;
    }
    return !params_ask(defaults) && !params_ask(fixed);
}

/* --- seeds --- */

bool repeat_seed_random(const struct backend_draft *draft)
{
    int64_t seed;

    return backend_draft_whole(draft, FIELD_SEED, &seed) &&
           (seed == -1 || (draft->quirks->seed_modulo && seed == UINT32_MAX));
}

enum repeat_reason repeat_seeded(const struct backend_draft *draft)
{
    int64_t seed;

    if (!draft->value[FIELD_SEED].data && !chat_field(draft->request, FIELD_SEED))
        return REPEAT_NOT_ASKED;
    if (!backend_draft_whole(draft, FIELD_SEED, &seed) || repeat_seed_random(draft))
        return REPEAT_SEED_UNUSABLE;
    return REPEAT_YES;
}

/* --- influence --- */

/* Tools that the client runs itself do not count: it asks again, with what came of them. */
static bool has_server_tools(const struct chat_request *request)
{
    const struct json_doc *doc = request->doc;
    const struct json_node *tools = chat_field(request, FIELD_TOOLS), *tool;

    for (tool = json_first(doc, tools); tool; tool = json_after(doc, tools, tool)) {
        const struct json_node *type = json_member(doc, tool, BYTES("type"));

        if (!json_text_is(doc, type, BYTES("function")) && !json_text_is(doc, type, BYTES("custom")))
            return true;
    }
    return false;
}

static bool has_audio(const struct chat_request *request)
{
    const struct json_doc *doc = request->doc;
    const struct json_node *list = chat_field(request, FIELD_MODALITIES), *item;

    for (item = json_first(doc, list); item; item = json_after(doc, list, item))
        if (json_text_is(doc, item, BYTES("audio")))
            return true;
    return chat_field(request, FIELD_AUDIO) != NULL;
}

/* Names are looked for wherever they stand: a controller within a scope within ... */
bool repeat_event_named(const struct json_doc *doc, const struct json_node *controller)
{
    for (const struct json_node *node = controller; node && node < &doc->nodes[controller->next]; node++)
        if (node->type == JSON_KEY && json_text_is(doc, node, BYTES("event_name")) &&
            !json_is(json_value(doc, node), JSON_NULL))
            return true;
    return false;
}

enum repeat_reason repeat_influence(const struct chat_request *request)
{
    const struct json_node *store = chat_field(request, FIELD_STORE);

    if (chat_field(request, FIELD_WEB_SEARCH_OPTIONS))
        return REPEAT_WEB_SEARCH;
    if (has_server_tools(request))
        return REPEAT_SERVER_TOOLS;
    if (store && store->type != JSON_FALSE)
        return REPEAT_STORE;
    if (has_audio(request))
        return REPEAT_AUDIO;
    return repeat_event_named(request->doc, chat_field(request, FIELD_CONTROLLER)) ? REPEAT_EVENT_NAME : REPEAT_YES;
}
