/*
 * Tools that a model may call, in the present form and in the one before it (functions).
 */
#include "chat/schema.h"

static const struct rule_field function_fields[] = {
    FIELD("name", &rule_label, .required = true),
    FIELD("description", &rule_string),
    FIELD("parameters", &rule_object),
    FIELD("strict", &rule_boolean),
};
static const struct rule function = {.type = RULE_OBJECT, FIELDS(function_fields)};

static const struct rule_field custom_fields[] = {
    FIELD("name", &rule_label, .required = true),
    FIELD("description", &rule_string),
    FIELD("format", &rule_object),
};
static const struct rule custom = {.type = RULE_OBJECT, FIELDS(custom_fields)};

static const struct rule_field function_tool[] = {FIELD("function", &function, .required = true)};
static const struct rule_field custom_tool[] = {FIELD("custom", &custom, .required = true)};
static const struct rule_tag tool_tags[] = {
    {"function", function_tool, ARRAY_SIZE(function_tool)},
    {"custom", custom_tool, ARRAY_SIZE(custom_tool)},
    {NULL, NULL, 0},
};
static const struct rule tool = {.type = RULE_OBJECT, .tag = "type", .tags = tool_tags};

const struct rule rule_tools = {
    .type = RULE_ARRAY, .max = 128, .items = &tool, .expected = "an array of objects"};
const struct rule rule_functions = {
    .type = RULE_ARRAY, .min = 1, .max = 128, .items = &function, .expected = "an array of objects"};

/* --- choosing one --- */

static const struct rule_field named_fields[] = {FIELD("name", &rule_string, .required = true)};
static const struct rule named = {.type = RULE_OBJECT, FIELDS(named_fields)};

static const struct rule_field function_choice[] = {FIELD("function", &named, .required = true)};
static const struct rule_field custom_choice[] = {FIELD("custom", &named, .required = true)};
static const struct rule_field allowed_choice[] = {FIELD("allowed_tools", &rule_object, .required = true)};
static const struct rule_tag choice_tags[] = {
    {"function", function_choice, ARRAY_SIZE(function_choice)},
    {"custom", custom_choice, ARRAY_SIZE(custom_choice)},
    {"allowed_tools", allowed_choice, ARRAY_SIZE(allowed_choice)},
    {NULL, NULL, 0},
};
static const struct rule chosen_tool = {.type = RULE_OBJECT, .tag = "type", .tags = choice_tags};
static const char *const choice_values[] = {"none", "auto", "required", NULL};
static const struct rule choice_word = {.type = RULE_STRING, .values = choice_values};
static const struct rule *const choice_options[] = {&choice_word, &chosen_tool, NULL};

const struct rule rule_tool_choice = {
    .type = RULE_EITHER, .options = choice_options, .expected = "one of a string or object"};

static const char *const call_values[] = {"none", "auto", NULL};
static const struct rule call_word = {.type = RULE_STRING, .values = call_values};
static const struct rule *const call_options[] = {&call_word, &named, NULL};

const struct rule rule_function_call = {
    .type = RULE_EITHER, .options = call_options, .expected = "one of a string or object"};
