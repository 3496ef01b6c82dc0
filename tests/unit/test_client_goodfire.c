/*
 * The Goodfire door: refusals as its users' programs match them, events its SDK can read, bodies for both
 * SDKs.
 */
#include "dialect/client.h"
#include "dialect/no_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* What the answers of all tests are read with, by turns. */
static struct json_doc scratch;

#define EVENT_FROM(print, index, text, finish, rest)                                                         \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"              \
    "\"model\":\"m\\u00e9\",\"system_fingerprint\":\"" print "\",\"choices\":[{\"index\":0,\"delta\":{"      \
    "\"role\":\"assistant\",\"content\":\"" text "\"},\"gf_token_index\":" index                             \
    ",\"finish_reason\":" finish "}]" rest "}\n\n"
#define EVENT(index, text, finish) EVENT_FROM("embergate", index, text, finish, "")
#define DELTA(delta, finish) "{\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}"
#define TEXT_60 "123456789 123456789 123456789 123456789 123456789 123456789 "
#define WORD_40 "123456789_123456789_123456789_123456789_"
#define WORD_120 WORD_40 WORD_40 WORD_40
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
    client_stream_init(&talk->stream, &client_goodfire, &talk->request, &talk->arena, &scratch);
    talk->stream.id = BYTES("chatcmpl-1");
    talk->stream.created = 1700000000;
}

static void end(struct talk *talk)
{
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
    "{\"id\":\"chatcmpl-1\",\"created\":1700000000,\"system_fingerprint\":\"gf\",\"choices\":[{\"index\":0,\"delta\":{"        \
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

#define HEAD "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%lld,"
#define REST                                                                                                 \
    "\"model\":\"m\\u00e9\",\"system_fingerprint\":\"embergate\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"    \
    "\"assistant\",\"content\":\"a\"},\"gf_token_index\":%d,\"finish_reason\":null}]}\n\n"

/* An answer's own name and time, where they are fit to be told: told again they are the same. */
static void names_are_the_answer_s_own(void **state)
{
    static const struct {
        const char *members, *id;
        int64_t created;
    } cases[] = {
        {"\"id\":\"a-B_9\",\"created\":5,", "a-B_9", 5},
        {"\"id\":\"" WORD_120 "12345678\",\"created\":5,", WORD_120 "12345678", 5},
        {"\"id\":\"" WORD_120 "123456789\",\"created\":5,", "chatcmpl-1", 5},
        {"\"id\":\"a data: b\",\"created\":5,", "chatcmpl-1", 5},
        {"\"id\":\"data: \",", "chatcmpl-1", 1700000000},
        {"\"id\":\"a\\n\",", "chatcmpl-1", 1700000000},
        {"\"id\":\"caf\xc3\xa9\",", "chatcmpl-1", 1700000000},
        {"\"id\":\"caf\\u00e9\",", "chatcmpl-1", 1700000000},
        {"\"id\":\"\",\"created\":\"5\",", "chatcmpl-1", 1700000000},
        {"\"id\":null,\"created\":null,", "chatcmpl-1", 1700000000},
        {"\"id\":{\"a\":1},\"created\":{},", "chatcmpl-1", 1700000000},
        {"\"created\":1e400,", "chatcmpl-1", 1700000000},
        {"", "chatcmpl-1", 1700000000},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static const char choice[] = "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}";
        struct talk talk;
        char payload[512], written[1024];

        begin(&talk);
        snprintf(payload, sizeof(payload), "{%s%s", cases[i].members, choice);
        if (tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, payload) != 0)
            fail_msg("case %zu", i);
        snprintf(payload, sizeof(payload), "{\"id\":\"later\",\"created\":6,%s", choice);
        assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_OPENAI, payload), 0);
        for (int index = 0, size = 0; index < 2; index++)
            size += snprintf(written + size, sizeof(written) - (size_t)size, HEAD REST,
                             cases[i].id, (long long)cases[i].created, index);
        assert_written(&talk, written);
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
    "{\"id\":\"chatcmpl-1\"," head "\"object\":\"chat.completion\",\"model\":\"y\",\"choices\":[{\"index\":0,"        \
    "\"message\":{\"role\":\"assistant\"," message "}," rest "}],\"usage\":{\"total_tokens\":3}}"
#define BODY(created, print, message, rest)                                                                  \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":" created ",\"model\":\"m\xc3\xa9\"," \
    "\"system_fingerprint\":\"" print                                                                        \
    "\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message "}," rest                    \
    "}],\"usage\":{\"total_tokens\":3}}"
#define GOODFIRE_BODY                                                                                        \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"y\",\"system_fingerprint\":"     \
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
        cmocka_unit_test(refusals),
        cmocka_unit_test(failures_in_a_stream),
        cmocka_unit_test(unknown_models),
        cmocka_unit_test(events_of_openai_are_rebuilt),
        cmocka_unit_test(events_stay_small),
        cmocka_unit_test(indexes_go_on),
        cmocka_unit_test(events_of_goodfire_are_cleaned),
        cmocka_unit_test(names_are_the_answer_s_own),
        cmocka_unit_test(untellable_payloads),
        cmocka_unit_test(bodies),
    };

    int failed;

    json_doc_init(&scratch, ANSWER_JSON_LIMITS);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_doc_deinit(&scratch);
    return failed;
}
