/*
 * Whole questions: one table of fields for completions, with each door's own limits, and one for logits.
 */
#include "chat/schema.h"

static bool model_fits(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c < 0x20 || c == 0x7f)
            return false;
        /* U+0080 to U+009F, the other set of control characters */
        if (c == 0xc2 && i + 1 < text.size && (unsigned char)text.data[i + 1] < 0xa0)
            return false;
    }
    return true;
}

static const struct rule_pattern model_pattern = {model_fits, "^[^\\x00-\\x1f\\x7f-\\x9f]+$"};
static const struct rule model = {.type = RULE_STRING, .min = 1, .max = 256, .pattern = &model_pattern};

/* --- numbers --- */

static const struct rule penalty = {.type = RULE_NUMBER, .min = -2, .max = 2};
static const struct rule temperature = {.type = RULE_NUMBER, .min = 0, .max = 2};
static const struct rule probability = {.type = RULE_NUMBER, .min = 0, .max = 1};
static const struct rule tokens = {.type = RULE_INTEGER, .min = 1, .max = INT32_MAX};
static const struct rule openai_n = {.type = RULE_INTEGER, .min = 1, .max = 128};
static const struct rule goodfire_n = {.type = RULE_INTEGER, .min = 1, .max = 1};
static const struct rule seed = {.type = RULE_INTEGER, .min = INT64_MIN, .max = INT64_MAX};
static const struct rule top_k = {.type = RULE_INTEGER, .min = INT32_MIN, .max = INT32_MAX};
static const struct rule top_logprobs = {.type = RULE_INTEGER, .min = 0, .max = 20};
static const struct rule bias = {.type = RULE_NUMBER, .min = -100, .max = 100};
static const struct rule logit_bias = {.type = RULE_OBJECT, .items = &bias};

/* --- words --- */

#define WORDS(name, ...)                                                                                     \
    static const char *const name##_values[] = {__VA_ARGS__, NULL};                                          \
    static const struct rule name = {.type = RULE_STRING, .values = name##_values}

WORDS(reasoning_effort, "none", "minimal", "low", "medium", "high", "xhigh", "max");
WORDS(verbosity, "low", "medium", "high");
WORDS(modality, "text", "audio");
WORDS(audio_format, "wav", "aac", "mp3", "flac", "opus", "pcm16");
WORDS(service_tier, "auto", "default", "flex", "scale", "priority", "fast");
WORDS(cache_retention, "in_memory", "24h");
WORDS(scale, "prob");

static const struct rule short_string = {.type = RULE_STRING, .max = 64};

/* --- lists --- */

static const struct rule stop_list = {
    .type = RULE_ARRAY, .min = 1, .max = 4, .items = &rule_string, .expected = "an array of strings"};
static const struct rule *const stop_options[] = {&rule_string, &stop_list, NULL};
static const struct rule openai_stop = {
    .type = RULE_EITHER, .options = stop_options, .expected = "one of a string or array of strings"};

/* The Goodfire SDK may send an empty list. */
static const struct rule goodfire_stop_list = {
    .type = RULE_ARRAY, .max = 4, .items = &rule_string, .expected = "an array of strings"};
static const struct rule *const goodfire_stop_options[] = {&goodfire_stop_list, &rule_string, NULL};
static const struct rule goodfire_stop = {
    .type = RULE_EITHER, .options = goodfire_stop_options, .expected = "one of a string or array of strings"};

static const struct rule modalities = {
    .type = RULE_ARRAY, .items = &modality, .expected = "an array of strings"};
static const struct rule token_text = {.type = RULE_STRING, .min = 1};
static const struct rule vocabulary = {
    .type = RULE_ARRAY, .max = 1024, .items = &token_text, .expected = "an array of strings"};

/* --- objects --- */

static const struct rule_field stream_options_fields[] = {
    FIELD("include_usage", &rule_boolean),
    FIELD("include_obfuscation", &rule_boolean),
};
static const struct rule stream_options = {.type = RULE_OBJECT, FIELDS(stream_options_fields)};

static const struct rule_field json_schema_fields[] = {
    FIELD("name", &rule_label, .required = true),
    FIELD("description", &rule_string),
    FIELD("schema", &rule_object),
    FIELD("strict", &rule_boolean),
};
static const struct rule json_schema = {.type = RULE_OBJECT, FIELDS(json_schema_fields)};
static const struct rule_field json_schema_format[] = {FIELD("json_schema", &json_schema, .required = true)};
static const struct rule_tag format_tags[] = {
    {"text", NULL, 0},
    {"json_object", NULL, 0},
    {"json_schema", json_schema_format, ARRAY_SIZE(json_schema_format)},
    {NULL, NULL, 0},
};
static const struct rule response_format = {.type = RULE_OBJECT, .tag = "type", .tags = format_tags};

static const struct rule *const voice_options[] = {&rule_string, &rule_object, NULL};
static const struct rule voice = {
    .type = RULE_EITHER, .options = voice_options, .expected = "one of a string or object"};
static const struct rule_field audio_fields[] = {
    FIELD("voice", &voice, .required = true),
    FIELD("format", &audio_format, .required = true),
};
static const struct rule audio = {.type = RULE_OBJECT, FIELDS(audio_fields)};

static const struct rule_field content_prediction[] = {
    FIELD("content", &rule_text_or_parts, .required = true)};
static const struct rule_tag prediction_tags[] = {
    {"content", content_prediction, ARRAY_SIZE(content_prediction)},
    {NULL, NULL, 0},
};
static const struct rule prediction = {.type = RULE_OBJECT, .tag = "type", .tags = prediction_tags};
static const struct rule metadata = {.type = RULE_OBJECT, .max = 16, .items = &rule_string};

/* --- completions --- */

/* clang-format off */
#define CHAT_REST                                                                                            \
    FIELD("stream", &rule_boolean),                                                                          \
    FIELD("stream_options", &stream_options, .only_with = "stream"),                                         \
    FIELD("max_tokens", &tokens),                                                                            \
    FIELD("max_completion_tokens", &tokens),                                                                 \
    FIELD("temperature", &temperature),                                                                      \
    FIELD("top_p", &probability),                                                                            \
    FIELD("top_k", &top_k),                                                                                  \
    FIELD("min_p", &rule_number),                                                                            \
    FIELD("frequency_penalty", &penalty),                                                                    \
    FIELD("presence_penalty", &penalty),                                                                     \
    FIELD("seed", &seed),                                                                                    \
    FIELD("logprobs", &rule_boolean),                                                                        \
    FIELD("top_logprobs", &top_logprobs, .only_with = "logprobs"),                                           \
    FIELD("logit_bias", &logit_bias),                                                                        \
    FIELD("response_format", &response_format),                                                              \
    FIELD("tool_choice", &rule_tool_choice),                                                                 \
    FIELD("parallel_tool_calls", &rule_boolean),                                                             \
    FIELD("function_call", &rule_function_call),                                                             \
    FIELD("reasoning_effort", &reasoning_effort),                                                            \
    FIELD("verbosity", &verbosity),                                                                          \
    FIELD("modalities", &modalities),                                                                        \
    FIELD("audio", &audio),                                                                                  \
    FIELD("prediction", &prediction),                                                                        \
    FIELD("web_search_options", &rule_object),                                                               \
    FIELD("service_tier", &service_tier),                                                                    \
    FIELD("store", &rule_boolean),                                                                           \
    FIELD("metadata", &metadata),                                                                            \
    FIELD("user", &rule_string),                                                                             \
    FIELD("safety_identifier", &short_string),                                                               \
    FIELD("prompt_cache_key", &rule_string),                                                                 \
    FIELD("prompt_cache_retention", &cache_retention),                                                       \
    FIELD("prompt_cache_options", &rule_object),                                                             \
    FIELD("moderation", &rule_object),                                                                       \
    FIELD("system_prompt", &rule_string),                                                                    \
    FIELD("controller", &rule_controller)
/* clang-format on */

static const struct rule_field openai_chat_fields[] = {
    FIELD("model", &model, .required = true),
    FIELD("messages", &rule_openai_messages, .required = true),
    FIELD("n", &openai_n),
    FIELD("stop", &openai_stop),
    FIELD("tools", &rule_tools),
    FIELD("functions", &rule_functions),
    CHAT_REST,
};
const struct rule schema_openai_chat = {.type = RULE_OBJECT, FIELDS(openai_chat_fields)};

/* A Goodfire stream has one choice and no words for a call of a tool. */
static const struct rule_field goodfire_chat_fields[] = {
    FIELD("model", &model, .required = true),
    FIELD("messages", &rule_goodfire_messages, .required = true, .counted_with = "system_prompt"),
    FIELD("n", &goodfire_n),
    FIELD("stop", &goodfire_stop),
    FIELD("tools", &rule_tools, .not_with = "stream"),
    FIELD("functions", &rule_functions, .not_with = "stream"),
    CHAT_REST,
};
const struct rule schema_goodfire_chat = {.type = RULE_OBJECT, FIELDS(goodfire_chat_fields)};

/* --- logits --- */

static const struct rule logits_top_k = {.type = RULE_INTEGER, .min = 1, .max = 1000000};

/* clang-format off */
#define LOGITS_REST                                                                                          \
    FIELD("top_k", &logits_top_k),                                                                           \
    FIELD("filter_vocabulary", &vocabulary),                                                                 \
    FIELD("scale", &scale),                                                                                  \
    FIELD("system_prompt", &rule_string),                                                                    \
    FIELD("controller", &rule_controller)
/* clang-format on */

static const struct rule_field openai_logits_fields[] = {
    FIELD("model", &model, .required = true),
    FIELD("messages", &rule_openai_messages, .required = true),
    LOGITS_REST,
};
const struct rule schema_openai_logits = {.type = RULE_OBJECT, FIELDS(openai_logits_fields)};

static const struct rule_field goodfire_logits_fields[] = {
    FIELD("model", &model, .required = true),
    FIELD("messages", &rule_goodfire_messages, .required = true, .counted_with = "system_prompt"),
    LOGITS_REST,
};
const struct rule schema_goodfire_logits = {.type = RULE_OBJECT, FIELDS(goodfire_logits_fields)};
