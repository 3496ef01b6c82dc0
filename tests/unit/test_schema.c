/*
 * What a question may look like at the OpenAI door, and in which words it is refused; what is read from a
 * good one.
 */
#include "chat/check.h"
#include "chat/understand.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BASE "{\"model\":\"m\"," USER
#define SAYS(message) "{\"model\":\"m\",\"messages\":[" message "]}"
#define TEXT_10 "0123456789"
#define TEXT_64 TEXT_10 TEXT_10 TEXT_10 TEXT_10 TEXT_10 TEXT_10 "0123"

struct asked {
    struct arena arena;
    struct json_doc doc;
    struct chat_request request;
    struct violations found;
    struct failure failure;
    int result;
};

static void ask(struct asked *asked, struct bytes body, enum chat_operation operation,
                const struct rule *schema)
{
    arena_init(&asked->arena);
    json_doc_init(&asked->doc, JSON_LIMITS_DEFAULT);
    asked->failure = (struct failure){0};
    asked->found.limit = 1;
    assert_int_equal(json_doc_parse(&asked->doc, body), 0);
    asked->result = chat_request_understand(&asked->request, &asked->doc, operation, schema, &asked->arena,
                                            &asked->found, &asked->failure);
}

static void forget(struct asked *asked)
{
    json_doc_deinit(&asked->doc);
    arena_deinit(&asked->arena);
}

static void assert_text(struct bytes is, const char *should)
{
    char text[2048];

    snprintf(text, sizeof(text), "%.*s", BYTES_ARG(is));
    assert_string_equal(text, should ? should : "");
    assert_int_equal(is.data == NULL, should == NULL);
}

static void good_questions_pass(void **state)
{
    static const struct {
        const char *name, *body;
    } cases[] = {
        {"plain", BASE "}"},
        {"nulls are absent",
         BASE ",\"temperature\":null,\"stop\":null,\"seed\":null,\"stream\":null,\"stream_options\":null,"
              "\"tools\":null,\"response_format\":null,\"logit_bias\":null,\"controller\":null}"},
        {"all numbers at their lower ends",
         BASE ",\"temperature\":0,\"top_p\":0,\"n\":1,\"max_tokens\":1,\"max_completion_tokens\":1,"
              "\"presence_penalty\":-2,\"frequency_penalty\":-2.0,\"seed\":-9223372036854775808,"
              "\"logprobs\":true,\"top_logprobs\":0,\"top_k\":-1,\"min_p\":0}"},
        {"all numbers at their upper ends", BASE
         ",\"temperature\":2.0,\"top_p\":1,\"n\":128,\"presence_penalty\":2,\"frequency_penalty\":2e0,"
         "\"seed\":9223372036854775807,\"logprobs\":true,\"top_logprobs\":20,\"max_tokens\":2147483647}"},
        {"whole numbers with a point", BASE ",\"n\":1.0,\"seed\":1.0,\"max_tokens\":1e2}"},
        {"stop text", BASE ",\"stop\":\"\"}"},
        {"stop list", BASE ",\"stop\":[\"a\",\"b\",\"c\",\"d\"]}"},
        {"unknown members", BASE ",\"chat_template_kwargs\":{\"a\":[1,{}]},\"nobody\":null,\"nobody\":1}"},
        {"stream with options",
         BASE ",\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false},\"stream\":true}"},
        {"bias", BASE ",\"logit_bias\":{\"50256\":-100,\"1\":99.5}}"},
        {"formats", BASE ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a-b_C\","
                         "\"schema\":{\"type\":\"object\"},\"strict\":null}}}"},
        {"tools", BASE ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}},"
                       "{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}],\"tool_choice\":\"auto\"}"},
        {"chosen tool", BASE ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}"},
        {"functions", BASE ",\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"f\"}}"},
        {"words", BASE ",\"reasoning_effort\":\"xhigh\",\"verbosity\":\"low\",\"service_tier\":\"fast\"}"},
        {"sound",
         BASE ",\"modalities\":[\"text\",\"audio\"],\"audio\":{\"voice\":\"x\",\"format\":\"pcm16\"}}"},
        {"the rest", BASE
         ",\"prediction\":{\"type\":\"content\",\"content\":\"x\"},\"web_search_options\":{},\"store\":true,"
         "\"metadata\":{\"a\":\"b\"},\"user\":\"u\",\"safety_identifier\":\"" TEXT_64 "\","
         "\"prompt_cache_key\":\"k\",\"prompt_cache_retention\":\"24h\",\"prompt_cache_options\":{},"
         "\"moderation\":{},\"parallel_tool_calls\":false,\"system_prompt\":\"s\"}"},
        {"all roles",
         SAYS("{\"role\":\"developer\",\"content\":\"a\",\"name\":\"n\"},"
              "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
              "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}},"
              "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"d\",\"format\":\"wav\"}},"
              "{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]},"
              "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
              "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"i\",\"content\":\"r\"},"
              "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":null},"
              "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
              "{\"role\":\"function\",\"name\":\"f\",\"content\":null}")},
        {"escaped keys and words", "{\"mod\\u0065l\":\"m\",\"messages\":[{\"r\\u006fle\":\"us\\u0065r\","
                                   "\"content\":\"\"}]}"},
        {"a name in another script", "{\"model\":\"\xc3\xa4\xe6\xa8\xa1\xf0\x9f\x94\xa5\"," USER "}"},
        {"steering", BASE ",\"controller\":{\"interventions\":[],\"scopes\":[],\"name\":\"controller__1\","
                          "\"nonzero_strength_threshold\":null}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct asked asked;

        ask(&asked, bytes_of(cases[i].body), CHAT_COMPLETION, &schema_openai_chat);
        if (asked.result)
            print_message("%s: %.*s\n", cases[i].name, BYTES_ARG(asked.failure.message));
        assert_int_equal(asked.result, 0);
        forget(&asked);
    }
}

static void bad_questions_are_refused_in_openai_words(void **state)
{
    static const struct {
        const char *body, *message, *param, *code;
    } cases[] = {
        {BASE ",\"n\":130}",
         "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 130 instead.", "n",
         "integer_above_max_value"},
        {BASE ",\"max_tokens\":-678}",
         "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got -678 instead.",
         "max_tokens", "integer_below_min_value"},
        {BASE ",\"max_completion_tokens\":1e30}",
         "Invalid 'max_completion_tokens': integer above maximum value. Expected a value <= 2147483647, but "
         "got "
         "1e30 instead.",
         "max_completion_tokens", "integer_above_max_value"},
        {BASE ",\"seed\":9223372036854775808}",
         "Invalid 'seed': integer above maximum value. Expected a value <= 9223372036854775807, but got "
         "9223372036854775808 instead.",
         "seed", "integer_above_max_value"},
        {BASE ",\"seed\":-9223372036854775809}",
         "Invalid 'seed': integer below minimum value. Expected a value >= -9223372036854775808, but got "
         "-9223372036854775809 instead.",
         "seed", "integer_below_min_value"},
        {BASE ",\"temperature\":3}",
         "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
         "temperature", "decimal_above_max_value"},
        {BASE ",\"temperature\":1e999}",
         "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 1e999 instead.",
         "temperature", "decimal_above_max_value"},
        {BASE ",\"top_p\":-0.5}",
         "Invalid 'top_p': decimal below minimum value. Expected a value >= 0, but got -0.5 instead.",
         "top_p", "decimal_below_min_value"},
        {BASE ",\"max_tokens\":\"ten\"}",
         "Invalid type for 'max_tokens': expected an integer, but got a string instead.", "max_tokens",
         "invalid_type"},
        {BASE ",\"n\":1.5}", "Invalid type for 'n': expected an integer, but got a decimal number instead.",
         "n", "invalid_type"},
        {BASE ",\"stream\":\"yes\"}",
         "Invalid type for 'stream': expected a boolean, but got a string instead.", "stream",
         "invalid_type"},
        {BASE ",\"stop\":1}",
         "Invalid type for 'stop': expected one of a string or array of strings, but got an integer instead.",
         "stop", "invalid_type"},
        {BASE ",\"stop\":[\"a\",null]}",
         "Invalid type for 'stop[1]': expected a string, but got null instead.", "stop[1]", "invalid_type"},
        {BASE ",\"stop\":[]}",
         "Invalid 'stop': empty array. Expected an array with minimum length 1, but got an empty array "
         "instead.",
         "stop", "empty_array"},
        {BASE ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}",
         "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
         "length 5 "
         "instead.",
         "stop", "array_above_max_length"},
        {"{\"model\":\"m\",\"messages\":[]}",
         "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array "
         "instead.",
         "messages", "empty_array"},
        {"{\"model\":\"m\"}", "Missing required parameter: 'messages'.", "messages",
         "missing_required_parameter"},
        {"{" USER "}", "Missing required parameter: 'model'.", "model", "missing_required_parameter"},
        {"{\"model\":null," USER "}", "Missing required parameter: 'model'.", "model",
         "missing_required_parameter"},
        {"{\"model\":\"\"," USER "}",
         "Invalid 'model': empty string. Expected a string with minimum length 1, but got an empty string "
         "instead.",
         "model", "empty_string"},
        {"{\"model\":\"" TEXT_64 TEXT_64 TEXT_64 TEXT_64 "x\"," USER "}",
         "Invalid 'model': string too long. Expected a string with maximum length 256, but got a string with "
         "length 257 instead.",
         "model", "string_above_max_length"},
        {"{\"model\":\"a\\nb\"," USER "}",
         "Invalid 'model': string does not match pattern. Expected a string that matches the pattern "
         "'^[^\\x00-\\x1f\\x7f-\\x9f]+$'.",
         "model", "invalid_value"},
        {"{\"model\":\"a\xc2\x85\"," USER "}",
         "Invalid 'model': string does not match pattern. Expected a string that matches the pattern "
         "'^[^\\x00-\\x1f\\x7f-\\x9f]+$'.",
         "model", "invalid_value"},
        {"{\"model\":\"m\",\"messages\":{}}",
         "Invalid type for 'messages': expected an array of objects, but got an object instead.", "messages",
         "invalid_type"},
        {"[]", "Invalid type: expected an object, but got an array instead.", NULL, "invalid_type"},
        {"null", "Invalid type: expected an object, but got null instead.", NULL, "invalid_type"},
        {SAYS("{\"role\":\"wizard\",\"content\":\"x\"}"),
         "Invalid value: 'wizard'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', "
         "and "
         "'developer'.",
         "messages[0].role", "invalid_value"},
        {SAYS("{\"content\":\"x\"}"), "Missing required parameter: 'messages[0].role'.", "messages[0].role",
         "missing_required_parameter"},
        {SAYS("{\"role\":1,\"content\":\"x\"}"),
         "Invalid type for 'messages[0].role': expected a string, but got an integer instead.",
         "messages[0].role", "invalid_type"},
        {SAYS("{\"role\":\"user\"}"), "Missing required parameter: 'messages[0].content'.",
         "messages[0].content", "missing_required_parameter"},
        {SAYS("{\"role\":\"user\",\"content\":{}}"),
         "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an "
         "object "
         "instead.",
         "messages[0].content", "invalid_type"},
        {SAYS("{\"role\":\"user\",\"content\":\"x\"},\"y\""),
         "Invalid type for 'messages[1]': expected an object, but got a string instead.", "messages[1]",
         "invalid_type"},
        {SAYS("{\"role\":\"user\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"\"},"
              "{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}"),
         "Invalid value: 'image_url'. Supported values are: 'text'.", "messages[2].content[0].type",
         "invalid_value"},
        {SAYS("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"),
         "Missing required parameter: 'messages[0].content[0].text'.", "messages[0].content[0].text",
         "missing_required_parameter"},
        {SAYS("{\"role\":\"assistant\"}"), "Missing required parameter: 'messages[0].content'.",
         "messages[0].content", "missing_required_parameter"},
        {SAYS("{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]}"),
         "Invalid 'messages[0].tool_calls': empty array. Expected an array with minimum length 1, but got an "
         "empty "
         "array instead.",
         "messages[0].tool_calls", "empty_array"},
        {SAYS("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\",\"function\":{"
              "\"name\":\"f\",\"arguments\":{}}}]}"),
         "Invalid type for 'messages[0].tool_calls[0].function.arguments': expected a string, but got an "
         "object "
         "instead.",
         "messages[0].tool_calls[0].function.arguments", "invalid_type"},
        {SAYS("{\"role\":\"tool\",\"content\":\"r\"}"),
         "Missing required parameter: 'messages[0].tool_call_id'.", "messages[0].tool_call_id",
         "missing_required_parameter"},
        {SAYS("{\"role\":\"user\",\"content\":\"a\",\"c\\u006fntent\":\"b\"}"),
         "Duplicate parameter: 'messages[0].content'.", "messages[0].content", "duplicate_parameter"},
        {SAYS("{\"role\":\"user\",\"role\":\"user\",\"content\":\"a\"}"),
         "Duplicate parameter: 'messages[0].role'.", "messages[0].role", "duplicate_parameter"},
        {BASE ",\"model\":\"n\"}", "Duplicate parameter: 'model'.", "model", "duplicate_parameter"},
        {BASE ",\"scale\":\"x\",\"scale\":\"x\"}", "Duplicate parameter: 'scale'.", "scale",
         "duplicate_parameter"},
        {BASE ",\"stream_options\":{\"include_usage\":true}}",
         "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", NULL},
        {BASE ",\"stream\":false,\"stream_options\":{}}",
         "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", NULL},
        {BASE ",\"top_logprobs\":2}",
         "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs", NULL},
        {BASE ",\"logprobs\":true,\"top_logprobs\":21}",
         "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, but got 21 instead.",
         "top_logprobs", "integer_above_max_value"},
        {BASE ",\"logit_bias\":{\"1\":101}}",
         "Invalid 'logit_bias.1': decimal above maximum value. Expected a value <= 100, but got 101 instead.",
         "logit_bias.1", "decimal_above_max_value"},
        {BASE ",\"reasoning_effort\":\"huge\"}",
         "Invalid value: 'huge'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', "
         "and "
         "'max'.",
         "reasoning_effort", "invalid_value"},
        {BASE ",\"prompt_cache_retention\":\"x\"}",
         "Invalid value: 'x'. Supported values are: 'in_memory' and '24h'.", "prompt_cache_retention",
         "invalid_value"},
        {BASE ",\"response_format\":{\"type\":\"xml\"}}",
         "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
         "response_format.type", "invalid_value"},
        {BASE ",\"response_format\":{\"type\":\"json_schema\"}}",
         "Missing required parameter: 'response_format.json_schema'.", "response_format.json_schema",
         "missing_required_parameter"},
        {BASE ",\"tool_choice\":\"never\"}",
         "Invalid value: 'never'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice",
         "invalid_value"},
        {BASE ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}",
         "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches "
         "the "
         "pattern '^[a-zA-Z0-9_-]+$'.",
         "tools[0].function.name", "invalid_value"},
        {BASE ",\"metadata\":{\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\",\"7\":\"\","
              "\"8\":\"\",\"9\":\"\",\"10\":\"\",\"11\":\"\",\"12\":\"\",\"13\":\"\",\"14\":\"\",\"15\":\"\","
              "\"16\":\"\",\"17\":\"\"}}",
         "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an "
         "object with 17 properties instead.",
         "metadata", "object_above_max_properties"},
        {BASE ",\"metadata\":{\"a\":1}}",
         "Invalid type for 'metadata.a': expected a string, but got an integer instead.", "metadata.a",
         "invalid_type"},
        {BASE ",\"safety_identifier\":\"" TEXT_64 "x\"}",
         "Invalid 'safety_identifier': string too long. Expected a string with maximum length 64, but got a "
         "string with length 65 instead.",
         "safety_identifier", "string_above_max_length"},
        {BASE ",\"min_p\":\"0\"}", "Invalid type for 'min_p': expected a number, but got a string instead.",
         "min_p", "invalid_type"},
        {BASE ",\"controller\":[]}",
         "Invalid type for 'controller': expected an object, but got an array instead.", "controller",
         "invalid_type"},
        {BASE ",\"controller\":{\"interventions\":[{\"mode\":\"shove\",\"features\":{\"features\":[]},"
              "\"value\":1}]}}",
         "Invalid value: 'shove'. Supported values are: 'nudge', 'pin', and 'mul'.",
         "controller.interventions[0].mode", "invalid_value"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct asked asked;

        ask(&asked, bytes_of(cases[i].body), CHAT_COMPLETION, &schema_openai_chat);
        assert_int_equal(asked.result, -EINVAL);
        assert_int_equal(asked.failure.kind, FAIL_INVALID);
        assert_text(asked.failure.message, cases[i].message);
        assert_text(asked.failure.param, cases[i].param);
        assert_text(asked.failure.code, cases[i].code);
        forget(&asked);
    }
}

static void requests_are_read(void **state)
{
    static const char body[] = "{\"model\":\"m\\u00e9\",\"stream\":true,\"stream_options\":{\"include_"
                               "usage\":true},\"max_tokens\":7,"
                               "\"max_completion_tokens\":9.0,\"n\":2,\"seed\":null," USER "}";
    struct asked asked;

    ask(&asked, BYTES(body), CHAT_COMPLETION, &schema_openai_chat);
    assert_int_equal(asked.result, 0);
    assert_text(asked.request.model, "m\xc3\xa9");
    assert_true(asked.request.stream && asked.request.include_usage && asked.request.has_max_tokens);
    assert_int_equal(asked.request.max_tokens, 9);
    assert_int_equal(asked.request.n, 2);
    assert_true(asked.request.has_null);
    assert_null(chat_field(&asked.request, FIELD_SEED));
    assert_null(chat_field(&asked.request, FIELD_TOP_P));
    assert_true(json_text_is(&asked.doc, chat_field_key(&asked.request, FIELD_N), BYTES("n")));
    forget(&asked);

    ask(&asked, BYTES(BASE "}"), CHAT_COMPLETION, &schema_openai_chat);
    assert_false(asked.request.stream || asked.request.include_usage || asked.request.has_max_tokens ||
                 asked.request.has_null);
    assert_int_equal(asked.request.n, 1);
    forget(&asked);
}

static void logits_are_read(void **state)
{
    static const struct {
        const char *body, *message;
        int64_t top_k;
        enum logits_scale scale;
    } cases[] = {
        {BASE "}", NULL, 10, SCALE_ANY},
        {BASE ",\"top_k\":null,\"filter_vocabulary\":null,\"scale\":null}", NULL, 10, SCALE_ANY},
        {BASE ",\"top_k\":3,\"filter_vocabulary\":[\" a\"],\"scale\":\"prob\"}", NULL, 3, SCALE_PROB},
        {BASE ",\"temperature\":99}", NULL, 10, SCALE_ANY},
        {BASE ",\"top_k\":0}",
         "Invalid 'top_k': integer below minimum value. Expected a value >= 1, but got 0 instead.", 0,
         SCALE_ANY},
        {BASE ",\"scale\":\"logit\"}", "Invalid value: 'logit'. Supported values are: 'prob'.", 0, SCALE_ANY},
        {BASE ",\"filter_vocabulary\":[\"\"]}",
         "Invalid 'filter_vocabulary[0]': empty string. Expected a string with minimum length 1, but got an "
         "empty "
         "string instead.",
         0, SCALE_ANY},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct asked asked;

        ask(&asked, bytes_of(cases[i].body), CHAT_LOGITS, &schema_openai_logits);
        if (cases[i].message) {
            assert_int_equal(asked.result, -EINVAL);
            assert_text(asked.failure.message, cases[i].message);
        } else {
            assert_int_equal(asked.result, 0);
            assert_int_equal(asked.request.operation, CHAT_LOGITS);
            assert_int_equal(asked.request.top_k, cases[i].top_k);
            assert_int_equal(asked.request.scale, cases[i].scale);
        }
        forget(&asked);
    }
}

static enum chat_field field_named(const char *name)
{
    unsigned field = 0;

    while (field < FIELD_COUNT && strcmp(chat_field_name((enum chat_field)field), name) != 0)
        field++;
    return (enum chat_field)field;
}

static void every_table_speaks_of_known_fields(void **state)
{
    static const struct rule *const schemas[] = {&schema_openai_chat, &schema_openai_logits,
                                                 &schema_goodfire_chat, &schema_goodfire_logits};

    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        assert_true(schemas[i]->field_count <= RULE_FIELDS_MAX);
        for (unsigned k = 0; k < schemas[i]->field_count; k++) {
            const struct rule_field *field = &schemas[i]->fields[k];

            assert_true(field_named(field->name) < FIELD_COUNT);
            assert_int_equal(field->name_size, strlen(field->name));
        }
    }
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        const char *name = chat_field_name((enum chat_field)field);
        unsigned k = 0;

        while (k < schema_openai_chat.field_count && strcmp(schema_openai_chat.fields[k].name, name) != 0)
            k++;
        assert_true(k < schema_openai_chat.field_count || field >= FIELD_FILTER_VOCABULARY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_questions_pass),
        cmocka_unit_test(bad_questions_are_refused_in_openai_words),
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(logits_are_read),
        cmocka_unit_test(every_table_speaks_of_known_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
