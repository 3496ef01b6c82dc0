/*
 * A question in a backend's words: a walk over steps, each of which settles a few values of the draft. The
 * quirks of the kind say which steps have something to do.
 */
#include "dialect/backend_draft.h"

#include <errno.h>

/* --- steering --- */

static bool steering_met(const struct chat_steering *steering, enum quirk_steering can)
{
    switch (can) {
    case STEER_CONTROLLER:
        return steering->controller.size > 0;
    case STEER_LORA:
        return steering->lora.size > 0;
    case STEER_ADAPTER:
        return steering->adapter.size > 0;
    case STEER_SHOWN:
        return true;
    default:
        return false;
    }
}

/* A variant may say the same in several ways; one that this kind knows is enough. */
int backend_check_steering(const struct backend_ask *ask, struct failure *ret_failure)
{
    const struct chat_steering *steering = ask->steering;
    const char *could = "";

    if (!steering || (!steering->controller.size && !steering->lora.size && !steering->adapter.size))
        return 0;
    if (steering_met(steering, backend_quirks(ask->kind)->steering))
        return 0;
    if (steering->controller.size)
        could = "a Goodfire server";
    else if (steering->lora.size)
        could = "llama-server";
    else
        could = "vLLM or SGLang";
    *ret_failure =
        failure_make(ask->arena, FAIL_STEERING,
                     "This question is steered, and this model's backend (%s) cannot steer that way; %s could. "
                     "An unsteered answer is not given instead.",
                     config_kind_name(ask->kind), could);
    ret_failure->param = chat_field(ask->request, FIELD_CONTROLLER) ? BYTES("controller") : BYTES("model");
    return -EINVAL;
}

static void steer(struct backend_draft *draft)
{
    const struct chat_steering *steering = draft->ask->steering;

    draft->value[FIELD_CONTROLLER] = BYTES_NONE;
    if (!steering)
        return;
    if (draft->quirks->steering == STEER_CONTROLLER && steering->controller.size)
        draft->value[FIELD_CONTROLLER] = steering->controller;
    if (draft->quirks->steering == STEER_LORA && steering->lora.size)
        backend_draft_extra(draft, BYTES("lora"), steering->lora, false);
}

struct bytes backend_draft_model(const struct backend_draft *draft)
{
    const struct chat_steering *steering = draft->ask->steering;
    bool adapted = draft->quirks->steering == STEER_ADAPTER && steering && steering->adapter.size;

    return adapted ? steering->adapter : draft->ask->upstream_model;
}

static void name_model(struct backend_draft *draft)
{
    struct bytes name = backend_draft_model(draft);

    if (name.size && (!draft->value[FIELD_MODEL].data || !bytes_equal(name, draft->request->model)))
        draft->value[FIELD_MODEL] = backend_json_string(draft->ask->arena, name);
}

/* A trailing assistant message is the beginning of the answer, unless the client says itself what it is. */
static void continue_prefill(struct backend_draft *draft)
{
    if (!draft->quirks->prefill_asked || !backend_prefilled(draft->request) ||
        backend_draft_said(draft, BYTES("add_generation_prompt")) ||
        backend_draft_said(draft, BYTES("continue_final_message")))
        return;
    backend_draft_extra(draft, BYTES("add_generation_prompt"), BYTES("false"), true);
    backend_draft_extra(draft, BYTES("continue_final_message"), BYTES("true"), true);
}

int backend_draft_prompt(struct backend_draft *draft)
{
    int r = backend_check_steering(draft->ask, draft->ret_failure);

    if (r < 0)
        return r;
    steer(draft);
    name_model(draft);
    continue_prefill(draft);
    return backend_draft_messages(draft);
}

/* --- what a kind cannot do --- */

static bool off(const struct backend_draft *draft, enum chat_field field)
{
    double number;

    return backend_draft_number(draft, field, &number) && number <= 0;
}

/* The tools may be used or not as the model likes, or there are none. */
static bool free_choice(const struct backend_draft *draft, enum chat_field field)
{
    if (backend_draft_word(draft, field, "none"))
        return !draft->value[FIELD_TOOLS].data && !draft->value[FIELD_FUNCTIONS].data;
    return backend_draft_word(draft, field, "auto");
}

#define ON(kind) (1u << (kind))

/* Members a kind does not know: dropped when they say nothing, else refused. Top to bottom: an empty list of
 * tools is gone before the choice among them is looked at. */
static const struct {
    unsigned kinds;
    enum chat_field field;
    bool (*harmless)(const struct backend_draft *draft, enum chat_field field);
    const char *why;
} unknown[] = {
    {ON(KIND_GOODFIRE), FIELD_TOOLS, backend_draft_empty, "has no tools"},
    {ON(KIND_GOODFIRE), FIELD_FUNCTIONS, backend_draft_empty, "has no functions"},
    {ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), FIELD_N, backend_draft_one, "gives one choice per request"},
    {ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), FIELD_LOGIT_BIAS, backend_draft_empty, "has no logit_bias"},
    {ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), FIELD_TOOL_CHOICE, free_choice, "has no tool_choice"},
    {ON(KIND_GOODFIRE), FIELD_FUNCTION_CALL, free_choice, "has no functions"},
    {ON(KIND_GOODFIRE), FIELD_LOGPROBS, backend_draft_untrue, "gives no log-probabilities with a chat"},
    {ON(KIND_GOODFIRE), FIELD_TOP_LOGPROBS, backend_draft_zero, "gives no log-probabilities with a chat"},
    {ON(KIND_GOODFIRE), FIELD_RESPONSE_FORMAT, backend_draft_plain_text, "answers in plain text only"},
    {ON(KIND_GOODFIRE), FIELD_MODALITIES, backend_draft_plain_text, "answers in text only"},
    {ON(KIND_GOODFIRE), FIELD_FREQUENCY_PENALTY, backend_draft_zero, "has no penalties"},
    {ON(KIND_GOODFIRE), FIELD_PRESENCE_PENALTY, backend_draft_zero, "has no penalties"},
    {ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), FIELD_TOP_K, off, "has no top_k"},
    {ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), FIELD_MIN_P, backend_draft_zero, "has no min_p"},
};

static int refuse_unknown(struct backend_draft *draft)
{
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        enum chat_field field = unknown[i].field;

        if (!(unknown[i].kinds & ON(draft->ask->kind)) || !draft->value[field].data)
            continue;
        if (!unknown[i].harmless(draft, field))
            return backend_draft_refuse(draft, FAIL_UNSUPPORTED, chat_field_name(field),
                                        "'%s': this model's backend (%s) %s.", chat_field_name(field),
                                        config_kind_name(draft->ask->kind), unknown[i].why);
        draft->value[field] = BYTES_NONE;
    }
    return 0;
}

/* --- what says nothing there --- */

static const enum chat_field company_members[] = {
    FIELD_USER,         FIELD_METADATA,           FIELD_STORE,
    FIELD_SERVICE_TIER, FIELD_SAFETY_IDENTIFIER,  FIELD_PROMPT_CACHE_KEY,
    FIELD_MODERATION,   FIELD_PREDICTION,         FIELD_PROMPT_CACHE_RETENTION,
    FIELD_AUDIO,        FIELD_WEB_SEARCH_OPTIONS, FIELD_PROMPT_CACHE_OPTIONS,
};

static int drop_company(struct backend_draft *draft)
{
    if (!draft->quirks->plain_members)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(company_members); i++)
        draft->value[company_members[i]] = BYTES_NONE;
    if (backend_draft_zero(draft, FIELD_FREQUENCY_PENALTY))
        draft->value[FIELD_FREQUENCY_PENALTY] = BYTES_NONE;
    if (backend_draft_zero(draft, FIELD_PRESENCE_PENALTY))
        draft->value[FIELD_PRESENCE_PENALTY] = BYTES_NONE;
    if (draft->value[FIELD_LOGIT_BIAS].data && backend_draft_empty(draft, FIELD_LOGIT_BIAS))
        draft->value[FIELD_LOGIT_BIAS] = BYTES_NONE;
    return 0;
}

/* --- sampling --- */

static void fill(struct backend_draft *draft, enum chat_field field, const char *value)
{
    if (value && !draft->value[field].data)
        draft->value[field] = bytes_of(value);
}

static int settle_sampling(struct backend_draft *draft)
{
    const struct backend_quirks *quirks = draft->quirks;
    double choices;

    if (quirks->neutral_sampling || (quirks->goodfire_shape && draft->ask->client == SHAPE_OPENAI)) {
        fill(draft, FIELD_TEMPERATURE, "1");
        fill(draft, FIELD_TOP_P, "1");
    }
    fill(draft, FIELD_TOP_K, quirks->top_k);
    fill(draft, FIELD_MIN_P, quirks->min_p);
    if (draft->ask->kind == KIND_SGLANG && backend_draft_zero(draft, FIELD_TOP_K))
        draft->value[FIELD_TOP_K] = BYTES("-1");
    if (quirks->positive_top_p && backend_draft_zero(draft, FIELD_TOP_P)) {
        draft->value[FIELD_TEMPERATURE] = BYTES("0");
        draft->value[FIELD_TOP_P] = BYTES("1");
    }
    if (quirks->greedy_alone && backend_draft_zero(draft, FIELD_TEMPERATURE) &&
        backend_draft_number(draft, FIELD_N, &choices) && choices > 1)
        return backend_draft_refuse(draft, FAIL_UNSUPPORTED, "n",
                                    "'n': several choices would all be the same at temperature 0, and this model's "
                                    "backend (%s) refuses that; ask for one, or raise the temperature.",
                                    config_kind_name(draft->ask->kind));
    return 0;
}

static int settle_seed(struct backend_draft *draft)
{
    const int64_t modulus = INT64_C(1) << 32;
    int64_t seed;

    /* No seed, said with a number. */
    if (draft->quirks->plain_members && bytes_equal(draft->value[FIELD_SEED], BYTES("-1")))
        draft->value[FIELD_SEED] = BYTES_NONE;
    if (draft->quirks->seed_modulo && backend_draft_whole(draft, FIELD_SEED, &seed) && seed != -1 &&
        (seed < 0 || seed >= modulus))
        draft->value[FIELD_SEED] =
            arena_printf(draft->ask->arena, "%lld", (long long)((seed % modulus + modulus) % modulus));
    return 0;
}

/* --- stop strings --- */

static bool special_token(const struct json_doc *doc, const struct json_node *text)
{
    return json_text_is(doc, text, BYTES("<|eot_id|>")) || json_text_is(doc, text, BYTES("<|begin_of_text|>"));
}

/* The list without the special tokens; none when nothing is left. */
static struct bytes useful_stops(struct backend_draft *draft, const struct json_node *stops)
{
    const struct json_doc *doc = draft->request->doc;
    struct bytes left = BYTES_NONE;
    struct buffer list;

    buffer_init(&list);
    for (const struct json_node *stop = json_first(doc, stops); stop; stop = json_after(doc, stops, stop)) {
        if (special_token(doc, stop))
            continue;
        buffer_append_char(&list, list.size ? ',' : '[');
        buffer_append(&list, json_raw(doc, stop));
    }
    if (list.size) {
        buffer_append_char(&list, ']');
        left = arena_copy(draft->ask->arena, buffer_bytes(&list));
    }
    buffer_deinit(&list);
    return left;
}

static bool holds_special_token(const struct json_doc *doc, const struct json_node *stops)
{
    for (const struct json_node *stop = json_first(doc, stops); stop; stop = json_after(doc, stops, stop))
        if (special_token(doc, stop))
            return true;
    return false;
}

static int settle_stop(struct backend_draft *draft)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *stop = backend_draft_node(draft, FIELD_STOP);
    struct bytes value = draft->value[FIELD_STOP];

    if (draft->quirks->stop_list && value.size && value.data[0] == '"')
        draft->value[FIELD_STOP] = arena_printf(draft->ask->arena, "[%.*s]", BYTES_ARG(value));
    if (!draft->quirks->own_stops)
        return 0;
    if (json_is(stop, JSON_STRING) && special_token(doc, stop))
        draft->value[FIELD_STOP] = BYTES_NONE;
    else if (json_is(stop, JSON_ARRAY) && holds_special_token(doc, stop))
        draft->value[FIELD_STOP] = useful_stops(draft, stop);
    return 0;
}

/* --- streams --- */

/* The gateway needs the usage of every stream; a client that did not ask never sees that chunk. */
static int settle_stream_options(struct backend_draft *draft)
{
    const struct json_doc *doc = draft->request->doc;
    const struct json_node *options = chat_field(draft->request, FIELD_STREAM_OPTIONS);
    const struct json_node *usage = json_member(doc, options, BYTES("include_usage"));
    struct bytes raw = json_raw(doc, options);

    if (draft->quirks->goodfire_shape || (!draft->request->stream && draft->quirks->plain_members)) {
        draft->value[FIELD_STREAM_OPTIONS] = BYTES_NONE;
    } else if (draft->request->stream && draft->quirks->usage_asked) {
        if (!json_is(options, JSON_OBJECT) || json_length(doc, options) == 0)
            draft->value[FIELD_STREAM_OPTIONS] = BYTES("{\"include_usage\":true}");
        else if (!usage)
            draft->value[FIELD_STREAM_OPTIONS] =
                arena_printf(draft->ask->arena, "{\"include_usage\":true,%.*s", (int)raw.size - 1, raw.data + 1);
        else if (usage->type != JSON_TRUE)
            json_splice_replace(&draft->splice, usage, BYTES("true"));
    }
    return 0;
}

/* Code that SGLang would run. */
static int refuse_code(struct backend_draft *draft)
{
    if (draft->ask->kind != KIND_SGLANG || !backend_draft_said(draft, BYTES("custom_logit_processor")))
        return 0;
    return backend_draft_refuse(draft, FAIL_UNSUPPORTED, "custom_logit_processor",
                                "'custom_logit_processor' is code for the model server to run; it is not passed on.");
}

/* llama-server has a third name for the output limit, which wins over the others there: it is one of them here. */
static void take_third_limit(struct backend_draft *draft)
{
    const struct json_node *limit;

    if (draft->ask->kind != KIND_LLAMA_SERVER || !(limit = backend_draft_said(draft, BYTES("n_predict"))))
        return;
    if (!draft->limit.data)
        draft->limit = json_raw(draft->request->doc, limit);
    backend_draft_extra(draft, BYTES("n_predict"), BYTES_NONE, false);
}

static int settle_params(struct backend_draft *draft)
{
    take_third_limit(draft);
    backend_draft_params(draft);
    return 0;
}

static int (*const steps[])(struct backend_draft *draft) = {
    backend_draft_prompt, settle_params, refuse_unknown, refuse_code,          drop_company,
    settle_sampling,      settle_seed,   settle_stop,    settle_stream_options,
};

int backend_draft_settle(struct backend_draft *draft)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(steps); i++)
        r = steps[i](draft);
    return r;
}

int backend_write_request(const struct backend_ask *ask, struct backend_request *ret, struct failure *ret_failure)
{
    struct backend_draft draft;
    int r;

    backend_draft_init(&draft, ask, ret_failure);
    r = backend_draft_settle(&draft);
    if (r < 0)
        return r;
    *ret = (struct backend_request){
        .path = backend_path(ask->backend, ask->arena, draft.quirks->chat_path),
        .body = backend_draft_write(&draft),
    };
    return 0;
}
