/*
 * The Goodfire door: refusals as its users' programs match them, events its SDK can read, bodies for both
 * SDKs.
 */
#include "dialect/client.h"
#include "dialect/no_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define BASE "{\"model\":\"m\"," USER
#define EVENT_FROM(print, index, text, finish, rest)                                                         \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"              \
    "\"model\":\"m\\u00e9\",\"system_fingerprint\":\"" print "\",\"choices\":[{\"index\":0,\"delta\":{"      \
    "\"role\":\"assistant\",\"content\":\"" text "\"},\"gf_token_index\":" index                             \
    ",\"finish_reason\":" finish "}]" rest "}\n\n"
#define EVENT(index, text, finish) EVENT_FROM("embergate", index, text, finish, "")
#define DELTA(delta, finish) "{\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}"
#define TEXT_60 "123456789 123456789 123456789 123456789 123456789 123456789 "
#define TEXT_240 TEXT_60 TEXT_60 TEXT_60 TEXT_60

struct talk {
    struct arena arena;
    struct chat_request request;
    struct client_stream stream;
    struct buffer out;
};

static void begin(struct talk *talk)
{
    *talk = (struct talk){.request = {.model = BYTES("m\xc3\xa9"), .stream = true}};
    buffer_init(&talk->out);
    client_stream_init(&talk->stream, &client_goodfire, &talk->request, &talk->arena);
    talk->stream.id = BYTES("chatcmpl-1");
    talk->stream.created = 1700000000;
}

static void end(struct talk *talk)
{
    client_stream_deinit(&talk->stream);
    buffer_deinit(&talk->out);
    arena_deinit(&talk->arena);
}

/* What was written since the last time. */
static void assert_written(struct talk *talk, const char *text)
{
    buffer_append_char(&talk->out, '\0');
    assert_string_equal(talk->out.data, text);
    buffer_clear(&talk->out, SIZE_MAX);
}

static int tell(struct talk *talk, enum chat_event_kind kind, enum chat_shape shape, const char *payload)
{
    struct chat_event event = {.kind = kind, .shape = shape, .payload = bytes_of(payload)};

    return client_goodfire.write_event(&talk->stream, &event, &talk->out);
}

/* --- questions --- */

static int ask(struct talk *talk, struct json_doc *doc, struct bytes body, enum chat_operation operation,
               struct failure *failure)
{
    json_doc_init(doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(doc, body), 0);
    *failure = (struct failure){0};
    return client_goodfire.understand(&talk->request, doc, operation, &talk->arena, failure);
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
        struct talk talk;
        struct json_doc doc;
        struct failure failure;

        begin(&talk);
        assert_int_equal(ask(&talk, &doc, bytes_of(cases[i].body), CHAT_COMPLETION, &failure), -EINVAL);
        assert_int_equal(client_goodfire.status(&failure), 422);
        buffer_append(&talk.out, failure.detail);
        assert_written(&talk, cases[i].detail);
        json_doc_deinit(&doc);
        end(&talk);
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
        struct talk talk;
        struct json_doc doc;
        struct failure failure;

        begin(&talk);
        assert_int_equal(ask(&talk, &doc, bytes_of(cases[i].body), cases[i].operation, &failure), 0);
        json_doc_deinit(&doc);
        end(&talk);
    }
}

/* A question of COUNT messages, and perhaps a system prompt, which counts as one more. */
static void assert_count(int count, const char *rest, const char *message)
{
    struct talk talk;
    struct json_doc doc;
    struct failure failure;
    struct buffer body;

    begin(&talk);
    buffer_init(&body);
    for (int i = 0; i < count; i++)
        buffer_append_text(&body, i == 0
                                      ? "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}"
                                      : ",{\"role\":\"user\",\"content\":\"x\"}");
    buffer_append_text(&body, "]");
    buffer_append_text(&body, rest);
    assert_int_equal(ask(&talk, &doc, buffer_bytes(&body), CHAT_COMPLETION, &failure), message ? -EINVAL : 0);
    if (message)
        assert_true(bytes_find(failure.detail, bytes_of(message)) < failure.detail.size);
    buffer_deinit(&body);
    json_doc_deinit(&doc);
    end(&talk);
}

static void messages_are_counted(void **state)
{
    assert_count(128, "}", NULL);
    assert_count(
        130, "}",
        "{\"type\":\"too_long\",\"loc\":[\"body\",\"messages\"],\"msg\":\"List should have at most 128 "
        "items after validation, not 130\",");
    assert_count(130, "}", "\"ctx\":{\"field_type\":\"List\",\"max_length\":128,\"actual_length\":130}");
    assert_count(128, ",\"system_prompt\":\"\"}", NULL);
    assert_count(127, ",\"system_prompt\":\"be kind\"}", NULL);
    assert_count(128, ",\"system_prompt\":\"be kind\"}", "at most 128 items after validation, not 129");
}

static void many_violations_are_cut(void **state)
{
    struct talk talk;
    struct json_doc doc;
    struct failure failure;
    struct json_doc detail;
    char body[4096] = "{\"model\":\"m\",\"messages\":[";

    begin(&talk);
    for (int i = 0; i < 60; i++)
        strncat(body, i == 0 ? "{}" : ",{}", sizeof(body) - strlen(body) - 1);
    strncat(body, "]}", sizeof(body) - strlen(body) - 1);
    assert_int_equal(ask(&talk, &doc, bytes_of(body), CHAT_COMPLETION, &failure), -EINVAL);
    json_doc_init(&detail, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&detail, failure.detail), 0);
    assert_int_equal(json_length(&detail, json_root(&detail)), 20);
    assert_true(bytes_equal(failure.message, BYTES("Missing required parameter: 'messages[0].role'.")));
    json_doc_deinit(&detail);
    json_doc_deinit(&doc);
    end(&talk);
}

/* --- refusals --- */

static void refusals(void **state)
{
    static const struct {
        struct failure failure;
        unsigned status;
        const char *body;
    } cases[] = {
        {{.kind = FAIL_INVALID,
          .message = {"No", 2},
          .param = {"n", 1},
          .code = {"invalid_type", 12},
          .detail = {"[{\"type\":\"x\"}]", 14}},
         422,
         "{\"detail\":[{\"type\":\"x\"}],\"error\":{\"message\":\"No\",\"type\":\"invalid_request_error\","
         "\"param\":\"n\",\"code\":\"invalid_type\"}}"},
        {{.kind = FAIL_STEERING, .message = {"a/b", 3}, .param = {"messages[12].content", 20}},
         422,
         "{\"detail\":[{\"type\":\"value_error\",\"loc\":[\"body\",\"messages\",12,\"content\"],\"msg\":\"a/"
         "b\"}],"
         "\"error\":{\"message\":\"a/"
         "b\",\"type\":\"invalid_request_error\",\"param\":\"messages[12].content\","
         "\"code\":\"unsupported_steering\"}}"},
        {{.kind = FAIL_BAD_JSON, .message = {"bad", 3}},
         422,
         "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\"],\"msg\":\"bad\"}],\"error\":{"
         "\"message\":\"bad\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"},
        {{.kind = FAIL_OVERLOADED, .message = {"full", 4}},
         429,
         "{\"detail\":\"full\",\"error\":{\"message\":\"full\",\"type\":\"server_error\",\"param\":null,"
         "\"code\":\"overloaded\"}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk);
        assert_int_equal(client_goodfire.status(&cases[i].failure), cases[i].status);
        client_goodfire.write_failure(&cases[i].failure, &talk.out);
        assert_written(&talk, cases[i].body);
        end(&talk);
    }
}

static void failures_in_a_stream(void **state)
{
    struct failure failure = {.kind = FAIL_UPSTREAM_RESET, .message = BYTES("data: \xc3\xa9")};
    struct talk talk;

    begin(&talk);
    client_goodfire.write_failure_event(&talk.stream, &failure, &talk.out);
    assert_written(&talk, "data: {\"error\":{\"message\":\"data\\u003a \\u00e9\",\"type\":\"server_error\","
                          "\"param\":null,\"code\":\"upstream_reset\"}}\n\n");
    end(&talk);
}

static void unknown_models(void **state)
{
    const struct bytes names[] = {BYTES("meta-llama/Meta-Llama-3.1-8B-Instruct"),
                                  BYTES("meta-llama/Llama-3.3-70B-Instruct")};
    struct talk talk;
    struct failure failure;

    begin(&talk);
    failure = failure_no_model(&client_goodfire, &talk.arena, BYTES("gpt"), names, 2);
    assert_int_equal(client_goodfire.status(&failure), 422);
    client_goodfire.write_failure(&failure, &talk.out);
    assert_written(
        &talk,
        "{\"detail\":[{\"type\":\"literal_error\",\"loc\":[\"body\",\"model\"],\"msg\":\"Input should be "
        "'meta-llama/Meta-Llama-3.1-8B-Instruct' or 'meta-llama/Llama-3.3-70B-Instruct'\","
        "\"input\":\"gpt\",\"ctx\":{\"expected\":\"'meta-llama/Meta-Llama-3.1-8B-Instruct' or "
        "'meta-llama/Llama-3.3-70B-Instruct'\"}}],\"error\":{\"message\":\"Input should be "
        "'meta-llama/Meta-Llama-3.1-8B-Instruct' or 'meta-llama/Llama-3.3-70B-Instruct'\","
        "\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":\"model_not_found\"}}");
    end(&talk);
}

/* --- streams --- */

static void events_of_openai_are_rebuilt(void **state)
{
    static const struct {
        const char *name, *payload, *written;
    } cases[] = {
        {"role", DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null"), ""},
        {"null content", DELTA("{\"role\":\"assistant\",\"content\":null}", "null"), ""},
        {"text", DELTA("{\"content\":\"h\\u00e9/\"}", "null"), EVENT("0", "h\\u00e9/", "null")},
        {"text and finish", DELTA("{\"content\":\"a\"}", "\"stop\""),
         EVENT("0", "a", "null") EVENT("1", "", "\"stop\"")},
        {"finish", DELTA("{}", "\"length\""), EVENT("0", "", "\"length\"")},
        {"finish without delta", "{\"choices\":[{\"finish_reason\":\"stop\"}]}", EVENT("0", "", "\"stop\"")},
        {"the splitting bytes", DELTA("{\"content\":\"x data: y\"}", "null"),
         EVENT("0", "x data\\u003a y", "null")},
        {"reasoning", DELTA("{\"reasoning_content\":\"hm\"}", "null"), ""},
        {"empty list of calls", DELTA("{\"content\":\"a\",\"tool_calls\":[],\"function_call\":null}", "null"),
         EVENT("0", "a", "null")},
        {"usage in the finish chunk",
         "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":1}"
         "}",
         EVENT("0", "", "\"stop\"")},
        {"no choice", "{\"choices\":[]}", ""},
        {"fingerprint", "{\"system_fingerprint\":\"b\\u00e9\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
         EVENT_FROM("b\\u00e9", "0", "a", "null", "")},
        {"long text", DELTA("{\"content\":\"" TEXT_240 "tail\"}", "null"),
         EVENT("0", TEXT_240, "null") EVENT("1", "tail", "null")},
        {"no character is cut",
         DELTA("{\"content\":\"x" TEXT_60 TEXT_60 TEXT_60 "123456789 123456789 123456789 "
               "123456789 123456789 12345678\xf0\x9f\x94\xa5\"}",
               "null"),
         EVENT("0", "x" TEXT_60 TEXT_60 TEXT_60 "123456789 123456789 123456789 123456789 123456789 12345678",
               "null") EVENT("1", "\\ud83d\\udd25", "null")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk);
        assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, cases[i].payload), 0);
        assert_written(&talk, cases[i].written);
        end(&talk);
    }
}

static void events_stay_small(void **state)
{
    static const char *const texts[] = {"\\u0001",          "\xc3\xa9", "\xe6\xa8\xa1",
                                        "\xf0\x9f\x94\xa5", "data: ",   "\\\""};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct buffer payload;
        struct talk talk;
        size_t at;

        begin(&talk);
        buffer_init(&payload);
        buffer_append_text(&payload, "{\"choices\":[{\"delta\":{\"content\":\"");
        for (int k = 0; k < 1000; k++)
            buffer_append_text(&payload, texts[i]);
        buffer_append(&payload, (struct bytes){"\"}}]}", 6});
        assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, payload.data), 0);
        while (talk.out.size > 0) {
            at = bytes_find(buffer_bytes(&talk.out), BYTES("\n\n"));
            assert_true(at < 1100);
            assert_true(bytes_find(bytes_skip(buffer_bytes(&talk.out), 6), BYTES("data: ")) + 6 >= at);
            buffer_consume(&talk.out, at + 2);
        }
        buffer_deinit(&payload);
        end(&talk);
    }
}

static void indexes_go_on(void **state)
{
    struct talk talk;

    begin(&talk);
    client_goodfire.write_keepalive(&talk.stream, &talk.out);
    assert_written(&talk, EVENT("-1", "", "null"));
    client_goodfire.write_keepalive(&talk.stream, &talk.out);
    assert_written(&talk, EVENT("-1", "", "null"));
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, DELTA("{\"content\":\"a\"}", "null")), 0);
    assert_int_equal(tell(&talk, EVENT_USAGE, SHAPE_OPENAI, "{\"choices\":[],\"usage\":{}}"), 0);
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, DELTA("{\"content\":\"b\"}", "null")), 0);
    assert_written(&talk, EVENT("0", "a", "null") EVENT("1", "b", "null"));
    client_goodfire.write_keepalive(&talk.stream, &talk.out);
    client_goodfire.write_end(&talk.stream, &talk.out);
    assert_written(&talk, EVENT("1", "", "null"));
    end(&talk);
}

#define TOKEN(index, text, finish, rest)                                                                     \
    "{\"id\":\"x\",\"created\":5,\"system_fingerprint\":\"gf\",\"choices\":[{\"index\":0,\"delta\":{"        \
    "\"content\":\"" text "\"},\"gf_token_index\":" index ",\"finish_reason\":" finish "}]" rest "}"

static void events_of_goodfire_are_cleaned(void **state)
{
    static const struct {
        const char *name, *payload, *written;
    } cases[] = {
        {"token", TOKEN("7", "a\\n", "null", ""), EVENT_FROM("gf", "7", "a\\n", "null", "")},
        {"index null", TOKEN("null", "a", "null", ""), EVENT_FROM("gf", "0", "a", "null", "")},
        {"empty token", TOKEN("-1", "", "null", ""), EVENT_FROM("gf", "-1", "", "null", "")},
        {"finish", TOKEN("3", "a", "\"stop\"", ""), EVENT_FROM("gf", "3", "a", "\"stop\"", "")},
        {"names", TOKEN("3", "", "null", ",\"gf_event_names\":[\"e-1\",5,\"\\u00e9\"]"),
         EVENT_FROM("gf", "3", "", "null", ",\"gf_event_names\":[\"e-1\",\"\\u00e9\"]")},
        {"names null", TOKEN("3", "", "null", ",\"gf_event_names\":null"),
         EVENT_FROM("gf", "3", "", "null", "")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk);
        assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, cases[i].payload), 0);
        assert_written(&talk, cases[i].written);
        end(&talk);
    }
}

static void untellable_payloads(void **state)
{
    static const struct {
        const char *name;
        enum chat_shape shape;
        const char *payload;
    } cases[] = {
        {"no JSON", SHAPE_OPENAI, "oh"},
        {"no object", SHAPE_OPENAI, "\"oh\""},
        {"choices no list", SHAPE_OPENAI, "{\"choices\":{}}"},
        {"choice no object", SHAPE_OPENAI, "{\"choices\":[5]}"},
        {"content no text", SHAPE_OPENAI, DELTA("{\"content\":[]}", "null")},
        {"second choice", SHAPE_OPENAI,
         "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"content\":"
         "\"b\"}}]}"},
        {"a call", SHAPE_OPENAI, DELTA("{\"content\":\"a\",\"tool_calls\":[{\"index\":0}]}", "null")},
        {"Goodfire's second choice", SHAPE_GOODFIRE,
         "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk);
        assert_int_equal(tell(&talk, EVENT_CHUNK, cases[i].shape, cases[i].payload), CLIENT_E_UNTELLABLE);
        assert_written(&talk, "");
        end(&talk);
    }
}

/* --- bodies --- */

#define OPENAI_BODY(head, message, rest)                                                                     \
    "{\"id\":\"x\"," head "\"object\":\"chat.completion\",\"model\":\"y\",\"choices\":[{\"index\":0,"        \
    "\"message\":{\"role\":\"assistant\"," message "}," rest "}],\"usage\":{\"total_tokens\":3}}"
#define BODY(created, print, message, rest)                                                                  \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":" created ",\"model\":\"m\xc3\xa9\"," \
    "\"system_fingerprint\":\"" print                                                                        \
    "\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message "}," rest                    \
    "}],\"usage\":{\"total_tokens\":3}}"
#define GOODFIRE_BODY                                                                                        \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"y\",\"system_fingerprint\":"     \
    "\"\","                                                                                                  \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\"},"                      \
    "\"finish_reason\":null}]}"

static void bodies(void **state)
{
    static const struct {
        const char *name;
        enum chat_event_kind kind;
        enum chat_shape shape;
        const char *payload, *written;
    } cases[] = {
        {"plain", EVENT_BODY, SHAPE_OPENAI,
         OPENAI_BODY("\"created\":9,", "\"content\":\"a\\n\",\"refusal\":null",
                     "\"logprobs\":null,\"finish_reason\":\"stop\""),
         BODY("9", "embergate", "\"content\":\"a\\n\"", "\"finish_reason\":\"stop\"")},
        {"null content", EVENT_BODY, SHAPE_OPENAI,
         OPENAI_BODY("\"system_fingerprint\":\"fp\",",
                     "\"content\":null,\"refusal\":\"no\",\"tool_calls\":[{\"id\":\"i\"}]",
                     "\"logprobs\":{\"content\":[]},\"finish_reason\":\"tool_calls\""),
         BODY("1700000000", "fp", "\"content\":\"\",\"refusal\":\"no\",\"tool_calls\":[{\"id\":\"i\"}]",
              "\"logprobs\":{\"content\":[]},\"finish_reason\":\"tool_calls\"")},
        {"Goodfire's own", EVENT_BODY, SHAPE_GOODFIRE, " " GOODFIRE_BODY, " " GOODFIRE_BODY},
        {"Goodfire's, not good", EVENT_BODY, SHAPE_GOODFIRE,
         OPENAI_BODY("\"created\":null,\"gf_event_names\":[\"e\"],", "\"content\":\"a\"",
                     "\"finish_reason\":null"),
         "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":"
         "\"m\xc3\xa9\","
         "\"system_fingerprint\":\"embergate\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
         "\"content\":\"a\"},\"finish_reason\":null}],\"usage\":{\"total_tokens\":3},\"gf_event_names\":["
         "\"e\"]}"},
        {"logits", EVENT_LOGITS, SHAPE_OPENAI, "{\"logits\":{}}", "{\"logits\":{}}"},
        {"no JSON", EVENT_BODY, SHAPE_OPENAI, "oh", NULL},
        {"no choice", EVENT_BODY, SHAPE_OPENAI, "{\"choices\":[]}", NULL},
        {"no message", EVENT_BODY, SHAPE_OPENAI, "{\"choices\":[{\"index\":0}]}", NULL},
        {"content no text", EVENT_BODY, SHAPE_OPENAI, "{\"choices\":[{\"message\":{\"content\":[]}}]}", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct chat_event event = {
            .kind = cases[i].kind, .shape = cases[i].shape, .payload = bytes_of(cases[i].payload)};
        struct talk talk;

        begin(&talk);
        assert_int_equal(client_goodfire.write_body(&talk.stream, &event, &talk.out),
                         cases[i].written ? 0 : CLIENT_E_UNTELLABLE);
        assert_written(&talk, cases[i].written ? cases[i].written : "");
        end(&talk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(details_are_pydantics),
        cmocka_unit_test(good_questions_pass),
        cmocka_unit_test(messages_are_counted),
        cmocka_unit_test(many_violations_are_cut),
        cmocka_unit_test(refusals),
        cmocka_unit_test(failures_in_a_stream),
        cmocka_unit_test(unknown_models),
        cmocka_unit_test(events_of_openai_are_rebuilt),
        cmocka_unit_test(events_stay_small),
        cmocka_unit_test(indexes_go_on),
        cmocka_unit_test(events_of_goodfire_are_cleaned),
        cmocka_unit_test(untellable_payloads),
        cmocka_unit_test(bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
