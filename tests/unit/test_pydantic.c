/*
 * What a question may look like at the Goodfire door, and the lists of violations that its users' programs
 * match on.
 */
#include "dialect/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BASE "{\"model\":\"m\"," USER

struct asked {
    struct arena arena;
    struct json_doc doc;
    struct chat_request request;
    struct failure failure;
    int result;
};

static void ask(struct asked *asked, struct bytes body, enum chat_operation operation)
{
    *asked = (struct asked){0};
    json_doc_init(&asked->doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&asked->doc, body), 0);
    asked->result =
        client_goodfire.understand(&asked->request, &asked->doc, operation, &asked->arena, &asked->failure);
}

static void forget(struct asked *asked)
{
    json_doc_deinit(&asked->doc);
    arena_deinit(&asked->arena);
}

static void details_are_pydantics(void **state)
{
    static const struct {
        const char *body, *detail;
    } cases[] = {
        {BASE ",\"top_p\":1.1}", "[{\"type\":\"less_than_equal\",\"loc\":[\"body\",\"top_p\"],\"msg\":"
                                 "\"Input should be less than or equal "
                                 "to 1\",\"input\":1.1,\"ctx\":{\"le\":1.0}}]"},
        {BASE ",\"temperature\":-0.1,\"top_p\":-1}",
         "[{\"type\":\"greater_than_equal\",\"loc\":[\"body\",\"temperature\"],\"msg\":\"Input should be "
         "greater "
         "than or equal to 0\",\"input\":-0.1,\"ctx\":{\"ge\":0.0}},"
         "{\"type\":\"greater_than_equal\",\"loc\":[\"body\",\"top_p\"],\"msg\":\"Input should be greater "
         "than or equal to 0\",\"input\":-1,\"ctx\":{\"ge\":0.0}}]"},
        {"{\"model\":\"m\",\"messages\":[]}",
         "[{\"type\":\"too_short\",\"loc\":[\"body\",\"messages\"],\"msg\":\"List should have at least 1 "
         "item after "
         "validation, not 0\",\"input\":[],\"ctx\":{\"field_type\":\"List\",\"min_length\":1,"
         "\"actual_length\":0}}]"},
        {"{\"model\":\"m\"}",
         "[{\"type\":\"missing\",\"loc\":[\"body\",\"messages\"],\"msg\":\"Field required\","
         "\"input\":{\"model\":\"m\"}}]"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"},{\"role\":\"user\"}]}",
         "[{\"type\":\"literal_error\",\"loc\":[\"body\",\"messages\",0,\"role\"],\"msg\":\"Input should be "
         "'assistant', 'system' or 'user'\",\"input\":\"tool\",\"ctx\":{\"expected\":\"'assistant', 'system' "
         "or "
         "'user'\"}},"
         "{\"type\":\"missing\",\"loc\":[\"body\",\"messages\",1,\"content\"],\"msg\":\"Field required\","
         "\"input\":{\"role\":\"user\"}}]"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":5,\"content\":5}]}",
         "[{\"type\":\"literal_error\",\"loc\":[\"body\",\"messages\",0,\"role\"],\"msg\":\"Input should be "
         "'assistant', 'system' or 'user'\",\"input\":5,\"ctx\":{\"expected\":\"'assistant', 'system' or "
         "'user'\"}},"
         "{\"type\":\"string_type\",\"loc\":[\"body\",\"messages\",0,\"content\"],\"msg\":\"Input should be "
         "a valid "
         "string\",\"input\":5}]"},
        {BASE ",\"max_completion_tokens\":\"many\",\"seed\":1.5,\"max_tokens\":true}",
         "[{\"type\":\"int_type\",\"loc\":[\"body\",\"max_tokens\"],\"msg\":\"Input should be a valid "
         "integer\","
         "\"input\":true},"
         "{\"type\":\"int_parsing\",\"loc\":[\"body\",\"max_completion_tokens\"],\"msg\":\"Input should be a "
         "valid "
         "integer, unable to parse string as an integer\",\"input\":\"many\"},"
         "{\"type\":\"int_from_float\",\"loc\":[\"body\",\"seed\"],\"msg\":\"Input should be a valid "
         "integer, got a "
         "number with a fractional part\",\"input\":1.5}]"},
        {BASE ",\"n\":2,\"stop\":5,\"stream\":\"x\",\"temperature\":\"hot\",\"metadata\":[]}",
         "[{\"type\":\"less_than_equal\",\"loc\":[\"body\",\"n\"],\"msg\":\"Input should be less than or "
         "equal to "
         "1\",\"input\":2,\"ctx\":{\"le\":1}},"
         "{\"type\":\"list_type\",\"loc\":[\"body\",\"stop\"],\"msg\":\"Input should be a valid "
         "list\",\"input\":5},"
         "{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"stream\"],\"msg\":\"Input should be a valid "
         "boolean, unable "
         "to interpret input\",\"input\":\"x\"},"
         "{\"type\":\"float_parsing\",\"loc\":[\"body\",\"temperature\"],\"msg\":\"Input should be a valid "
         "number, "
         "unable to parse string as a number\",\"input\":\"hot\"},"
         "{\"type\":\"dict_type\",\"loc\":[\"body\",\"metadata\"],\"msg\":\"Input should be a valid "
         "dictionary\","
         "\"input\":[]}]"},
        {"[1]", "[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input should be a valid "
                "dictionary or object to extract fields from\",\"input\":[1]}]"},
        {BASE ",\"model\":\"n\"}", "[{\"type\":\"value_error\",\"loc\":[\"body\",\"model\"],\"msg\":\"Value "
                                   "error, Duplicate parameter: "
                                   "'model'.\",\"input\":\"n\"}]"},
        {BASE ",\"stream\":true,\"tools\":[]}",
         "[{\"type\":\"value_error\",\"loc\":[\"body\",\"tools\"],\"msg\":\"Value error, The 'tools' "
         "parameter is "
         "not supported here when 'stream' is enabled.\",\"input\":[]}]"},
        {"{\"model\":\"\"," USER "}", "[{\"type\":\"string_too_short\",\"loc\":[\"body\",\"model\"],\"msg\":"
                                      "\"String should have at least 1 "
                                      "character\",\"input\":\"\",\"ctx\":{\"min_length\":1}}]"},
        {"{\"model\":\"a\\u0001\"," USER "}",
         "[{\"type\":\"string_pattern_mismatch\",\"loc\":[\"body\",\"model\"],\"msg\":\"String should match "
         "pattern "
         "'^[^\\\\x00-\\\\x1f\\\\x7f-\\\\x9f]+$'\",\"input\":\"a\\u0001\",\"ctx\":{\"pattern\":"
         "\"^[^\\\\x00-\\\\x1f\\\\x7f-\\\\x9f]+$\"}}]"},
        {BASE ",\"controller\":{\"scopes\":[{}]}}", "[{\"type\":\"missing\",\"loc\":[\"body\",\"controller\","
                                                    "\"scopes\",0,\"conditionals\"],\"msg\":\"Field "
                                                    "required\",\"input\":{}}]"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct asked asked;
        char detail[2048];

        ask(&asked, bytes_of(cases[i].body), CHAT_COMPLETION);
        assert_int_equal(asked.result, -EINVAL);
        assert_int_equal(client_goodfire.status(&asked.failure), 422);
        snprintf(detail, sizeof(detail), "%.*s", BYTES_ARG(asked.failure.detail));
        assert_string_equal(detail, cases[i].detail);
        forget(&asked);
    }
}

static void good_questions_pass(void **state)
{
    static const struct {
        enum chat_operation operation;
        const char *body;
    } cases[] = {
        {CHAT_COMPLETION,
         "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"}],"
         "\"stream\":true,\"max_completion_tokens\":2048,\"top_p\":0.9,\"temperature\":0.6,"
         "\"stop\":[\"<|eot_id|>\",\"<|begin_of_text|>\"],\"seed\":42,\"model\":\"m\",\"controller\":{"
         "\"interventions\":[],\"scopes\":[],\"name\":\"controller__14004510\","
         "\"nonzero_strength_threshold\":null,\"min_nudge_entropy\":null,\"max_nudge_entropy\":null}}"},
        {CHAT_COMPLETION, BASE ",\"stop\":[],\"max_tokens\":5,\"stream\":true,\"stream_options\":{"
                               "\"include_usage\":true}}"},
        {CHAT_COMPLETION, BASE ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}"},
        {CHAT_COMPLETION, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                          "\"text\":\"a\"}]}]}"},
        {CHAT_LOGITS, BASE ",\"top_k\":10,\"filter_vocabulary\":null}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct asked asked;

        ask(&asked, bytes_of(cases[i].body), cases[i].operation);
        assert_int_equal(asked.result, 0);
        forget(&asked);
    }
}

/* A question of COUNT messages, and perhaps a system prompt, which counts as one more. */
static void assert_count(int count, const char *rest, const char *message)
{
    struct asked asked;
    struct buffer body;

    buffer_init(&body);
    buffer_append_text(&body, "{\"model\":\"m\",\"messages\":[");
    for (int i = 0; i < count; i++)
        buffer_append_text(&body, i == 0 ? "{\"role\":\"user\",\"content\":\"x\"}"
                                         : ",{\"role\":\"user\",\"content\":\"x\"}");
    buffer_append_text(&body, rest);
    ask(&asked, buffer_bytes(&body), CHAT_COMPLETION);
    assert_int_equal(asked.result, message ? -EINVAL : 0);
    if (message)
        assert_true(bytes_find(asked.failure.detail, bytes_of(message)) < asked.failure.detail.size);
    forget(&asked);
    buffer_deinit(&body);
}

static void messages_are_counted(void **state)
{
    assert_count(128, "]}", NULL);
    assert_count(
        130, "]}",
        "{\"type\":\"too_long\",\"loc\":[\"body\",\"messages\"],\"msg\":\"List should have at most 128 "
        "items after validation, not 130\",");
    assert_count(130, "]}", "\"ctx\":{\"field_type\":\"List\",\"max_length\":128,\"actual_length\":130}");
    assert_count(128, "],\"system_prompt\":\"\"}", NULL);
    assert_count(127, "],\"system_prompt\":\"be kind\"}", NULL);
    assert_count(128, "],\"system_prompt\":\"be kind\"}", "at most 128 items after validation, not 129");
}

static void many_violations_are_cut(void **state)
{
    struct json_doc detail;
    struct buffer body;
    struct asked asked;

    buffer_init(&body);
    buffer_append_text(&body, "{\"model\":\"m\",\"messages\":[{}");
    for (int i = 1; i < 60; i++)
        buffer_append_text(&body, ",{}");
    buffer_append_text(&body, "]}");
    ask(&asked, buffer_bytes(&body), CHAT_COMPLETION);
    assert_int_equal(asked.result, -EINVAL);
    json_doc_init(&detail, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&detail, asked.failure.detail), 0);
    assert_int_equal(json_length(&detail, json_root(&detail)), 20);
    assert_true(bytes_equal(asked.failure.message, BYTES("Missing required parameter: 'messages[0].role'.")));
    json_doc_deinit(&detail);
    forget(&asked);
    buffer_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(details_are_pydantics),
        cmocka_unit_test(good_questions_pass),
        cmocka_unit_test(messages_are_counted),
        cmocka_unit_test(many_violations_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
