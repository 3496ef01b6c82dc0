/*
 * The messages of a question: which role may say what, in which kinds of parts.
 */
#include "chat/schema.h"

/* --- parts --- */

static const char *const detail_values[] = {"auto", "low", "high", "original", NULL};
static const struct rule detail = {.type = RULE_STRING, .values = detail_values};
static const struct rule_field image_fields[] = {
    FIELD("url", &rule_string, .required = true),
    FIELD("detail", &detail),
};
static const struct rule image = {.type = RULE_OBJECT, FIELDS(image_fields)};

static const char *const sound_values[] = {"wav", "mp3", NULL};
static const struct rule sound_format = {.type = RULE_STRING, .values = sound_values};
static const struct rule_field sound_fields[] = {
    FIELD("data", &rule_string, .required = true),
    FIELD("format", &sound_format, .required = true),
};
static const struct rule sound = {.type = RULE_OBJECT, FIELDS(sound_fields)};

static const struct rule_field file_fields[] = {
    FIELD("file_id", &rule_string),
    FIELD("file_data", &rule_string),
    FIELD("filename", &rule_string),
};
static const struct rule file = {.type = RULE_OBJECT, FIELDS(file_fields)};

static const struct rule_field text_part[] = {FIELD("text", &rule_string, .required = true)};
static const struct rule_field image_part[] = {FIELD("image_url", &image, .required = true)};
static const struct rule_field sound_part[] = {FIELD("input_audio", &sound, .required = true)};
static const struct rule_field file_part[] = {FIELD("file", &file, .required = true)};
static const struct rule_field refusal_part[] = {FIELD("refusal", &rule_string, .required = true)};

static const struct rule_tag text_tags[] = {
    {"text", text_part, ARRAY_SIZE(text_part)},
    {NULL, NULL, 0},
};
static const struct rule_tag user_tags[] = {
    {"text", text_part, ARRAY_SIZE(text_part)},
    {"image_url", image_part, ARRAY_SIZE(image_part)},
    {"input_audio", sound_part, ARRAY_SIZE(sound_part)},
    {"file", file_part, ARRAY_SIZE(file_part)},
    {NULL, NULL, 0},
};
static const struct rule_tag assistant_tags[] = {
    {"text", text_part, ARRAY_SIZE(text_part)},
    {"refusal", refusal_part, ARRAY_SIZE(refusal_part)},
    {NULL, NULL, 0},
};

/* NAME_content: a string, or at least one part of those in TAGS. */
#define CONTENT(name, tag_table, ...)                                                                        \
    static const struct rule name##_one = {.type = RULE_OBJECT, .tag = "type", .tags = (tag_table)};         \
    static const struct rule name##_list = {                                                                 \
        .type = RULE_ARRAY, .min = 1, .items = &name##_one, .expected = "an array of objects"};              \
    static const struct rule *const name##_options[] = {&rule_string, &name##_list, NULL};                   \
    static const struct rule name##_content = {.type = RULE_EITHER,                                          \
                                               .options = name##_options,                                    \
                                               .expected = "one of a string or array of objects",            \
                                               __VA_ARGS__}

CONTENT(text, text_tags, .null_ok = false);
CONTENT(user, user_tags, .null_ok = false);
CONTENT(assistant, assistant_tags, .null_ok = true);

const struct rule rule_text_or_parts = {
    .type = RULE_EITHER, .options = text_options, .expected = "one of a string or array of objects"};

/* --- calls of tools --- */

static const struct rule_field call_function_fields[] = {
    FIELD("name", &rule_string, .required = true),
    FIELD("arguments", &rule_string, .required = true),
};
static const struct rule call_function = {.type = RULE_OBJECT, FIELDS(call_function_fields)};
static const struct rule_field call_custom_fields[] = {
    FIELD("name", &rule_string, .required = true),
    FIELD("input", &rule_string, .required = true),
};
static const struct rule call_custom = {.type = RULE_OBJECT, FIELDS(call_custom_fields)};

static const struct rule_field function_call_fields[] = {
    FIELD("id", &rule_string, .required = true),
    FIELD("function", &call_function, .required = true),
};
static const struct rule_field custom_call_fields[] = {
    FIELD("id", &rule_string, .required = true),
    FIELD("custom", &call_custom, .required = true),
};
static const struct rule_tag call_tags[] = {
    {"function", function_call_fields, ARRAY_SIZE(function_call_fields)},
    {"custom", custom_call_fields, ARRAY_SIZE(custom_call_fields)},
    {NULL, NULL, 0},
};
static const struct rule call = {.type = RULE_OBJECT, .tag = "type", .tags = call_tags};
static const struct rule calls = {
    .type = RULE_ARRAY, .min = 1, .items = &call, .expected = "an array of objects"};

/* --- messages --- */

static const struct rule string_or_null = {.type = RULE_STRING, .null_ok = true};
static const struct rule_field voice_fields[] = {FIELD("id", &rule_string, .required = true)};
static const struct rule voice = {.type = RULE_OBJECT, FIELDS(voice_fields)};

static const struct rule_field system_fields[] = {
    FIELD("content", &text_content, .required = true),
    FIELD("name", &rule_string),
};
static const struct rule_field user_fields[] = {
    FIELD("content", &user_content, .required = true),
    FIELD("name", &rule_string),
};
static const struct rule_field assistant_fields[] = {
    FIELD("content", &assistant_content, .required = true, .unless = {"tool_calls", "function_call"}),
    FIELD("refusal", &rule_string),
    FIELD("name", &rule_string),
    FIELD("audio", &voice),
    FIELD("tool_calls", &calls),
    FIELD("function_call", &call_function),
};
static const struct rule_field tool_fields[] = {
    FIELD("content", &text_content, .required = true),
    FIELD("tool_call_id", &rule_string, .required = true),
};
static const struct rule_field function_fields[] = {
    FIELD("content", &string_or_null, .required = true),
    FIELD("name", &rule_string, .required = true),
};
static const struct rule_tag roles[] = {
    {"system", system_fields, ARRAY_SIZE(system_fields)},
    {"assistant", assistant_fields, ARRAY_SIZE(assistant_fields)},
    {"user", user_fields, ARRAY_SIZE(user_fields)},
    {"function", function_fields, ARRAY_SIZE(function_fields)},
    {"tool", tool_fields, ARRAY_SIZE(tool_fields)},
    {"developer", system_fields, ARRAY_SIZE(system_fields)},
    {NULL, NULL, 0},
};
static const struct rule openai_message = {.type = RULE_OBJECT, .tag = "role", .tags = roles};

const struct rule rule_openai_messages = {
    .type = RULE_ARRAY, .min = 1, .items = &openai_message, .expected = "an array of objects"};

static const char *const goodfire_roles[] = {"assistant", "system", "user", NULL};
static const struct rule goodfire_role = {.type = RULE_STRING, .values = goodfire_roles};
static const struct rule_field goodfire_fields[] = {
    FIELD("role", &goodfire_role, .required = true),
    FIELD("content", &text_content, .required = true),
};
static const struct rule goodfire_message = {.type = RULE_OBJECT, FIELDS(goodfire_fields)};

const struct rule rule_goodfire_messages = {
    .type = RULE_ARRAY, .min = 1, .max = 128, .items = &goodfire_message, .expected = "an array of objects"};
