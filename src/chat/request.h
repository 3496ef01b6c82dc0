/*
 * The question, as every room behind the dialects sees it: the client's own JSON, its members by number, and the few
 * values that steer. Read-only after `understand`.
 */
#pragma once

#include "base/arena.h"
#include "chat/failure.h"
#include "json/json_doc.h"

enum chat_operation { CHAT_COMPLETION, CHAT_LOGITS };

/* The members we know by name. Others travel on unchanged. */
#define CHAT_FIELDS(X)                                                                                       \
    X(MODEL, "model") X(MESSAGES, "messages") X(STREAM, "stream") X(STREAM_OPTIONS, "stream_options")        \
    X(SYSTEM_PROMPT, "system_prompt") X(CONTROLLER, "controller")                                            \
    X(MAX_TOKENS, "max_tokens") X(MAX_COMPLETION_TOKENS, "max_completion_tokens")                            \
    X(TEMPERATURE, "temperature") X(TOP_P, "top_p") X(TOP_K, "top_k") X(MIN_P, "min_p")                      \
    X(SEED, "seed") X(STOP, "stop") X(N, "n")                                                                \
    X(FREQUENCY_PENALTY, "frequency_penalty") X(PRESENCE_PENALTY, "presence_penalty")                        \
    X(LOGPROBS, "logprobs") X(TOP_LOGPROBS, "top_logprobs") X(LOGIT_BIAS, "logit_bias")                      \
    X(RESPONSE_FORMAT, "response_format") X(TOOLS, "tools") X(TOOL_CHOICE, "tool_choice")                    \
    X(PARALLEL_TOOL_CALLS, "parallel_tool_calls") X(FUNCTIONS, "functions")                                  \
    X(FUNCTION_CALL, "function_call") X(REASONING_EFFORT, "reasoning_effort") X(VERBOSITY, "verbosity")      \
    X(MODALITIES, "modalities") X(AUDIO, "audio") X(PREDICTION, "prediction")                                \
    X(WEB_SEARCH_OPTIONS, "web_search_options") X(SERVICE_TIER, "service_tier") X(STORE, "store")            \
    X(METADATA, "metadata") X(USER, "user") X(SAFETY_IDENTIFIER, "safety_identifier")                        \
    X(PROMPT_CACHE_KEY, "prompt_cache_key") X(PROMPT_CACHE_RETENTION, "prompt_cache_retention")              \
    X(PROMPT_CACHE_OPTIONS, "prompt_cache_options") X(MODERATION, "moderation")                              \
    X(FILTER_VOCABULARY, "filter_vocabulary") X(SCALE, "scale")

#define CHAT_FIELD_ENUM(name, text) FIELD_##name,
enum chat_field { CHAT_FIELDS(CHAT_FIELD_ENUM) FIELD_COUNT };
#undef CHAT_FIELD_ENUM

enum logits_scale { SCALE_ANY, SCALE_PROB };

/* Steering that was asked for, after the configuration had its say. Empty: none. */
struct chat_steering {
    struct bytes controller;    /* JSON, for a Goodfire backend */
    struct bytes lora;          /* JSON list of {id, scale}, for llama-server */
    struct bytes adapter;       /* a model name there, for all but Goodfire and llama-server */
};

struct chat_request {
    enum chat_operation operation;
    const struct json_doc *doc;
    uint32_t field[FIELD_COUNT];    /* index of the value's node; 0: absent or null */
    bool has_null;                  /* some member of the root object is null */

    struct bytes model;             /* as asked, decoded */
    bool stream;
    bool include_usage;             /* the client wants the usage chunk */
    bool has_max_tokens;
    int64_t max_tokens;             /* the effective output limit when has_max_tokens */
    int64_t n;                      /* 1 when absent */

    /* logits */
    int64_t top_k;
    enum logits_scale scale;
};

const char *chat_field_name(enum chat_field field);
/* NAME is one of them. */
bool chat_field_known(struct bytes name);

/* The value of FIELD, or NULL when absent or null. */
static inline const struct json_node *chat_field(const struct chat_request *request, enum chat_field field)
{
    return request->field[field] ? &request->doc->nodes[request->field[field]] : NULL;
}

/* The key node in front of a member's value: the node just before it. */
static inline const struct json_node *chat_field_key(const struct chat_request *request, enum chat_field field)
{
    return request->field[field] ? &request->doc->nodes[request->field[field] - 1] : NULL;
}

/* Index the members of DOC's root object, which must be one. 0, or FAIL_INVALID in *RET_FAILURE and -EINVAL when a
 * known member stands there twice. Steering values are not read yet: the schema check does that. */
int chat_request_index(struct chat_request *request, const struct json_doc *doc, struct arena *arena,
                       struct failure *ret_failure);
