/*
 * The OpenAI door: what passes, what is taken out, what is built anew for a Goodfire server's answer, and
 * refusals.
 */
#include "dialect/client.h"
#include "dialect/no_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* What the answers of all tests are read with, by turns. */
static struct json_doc scratch;

#define HEAD                                                                                                 \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\""
#define CHUNK(delta, finish)                                                                                 \
    "data: " HEAD ",\"choices\":[{\"index\":0,\"delta\":" delta                                              \
    ",\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"
#define ROLE CHUNK("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")
#define TOKEN(index, text, finish)                                                                           \
    "{\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"" text "\"},"   \
    "\"gf_token_index\":" index ",\"finish_reason\":" finish "}]}"

struct talk {
    struct arena arena;
    struct chat_request request;
    struct client_stream stream;
    struct buffer out;
};

static void begin(struct talk *talk, bool include_usage)
{
    *talk = (struct talk){.request = {.model = BYTES("m"), .stream = true, .include_usage = include_usage}};
    buffer_init(&talk->out);
    client_stream_init(&talk->stream, &client_openai, &talk->request, &talk->arena, &scratch);
    assert_int_equal(talk->stream.id.size, sizeof("chatcmpl-") - 1 + 32);
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
    const struct json_node *usage;

    /* As a backend's dialect says it. What it would refuse is told as having one. */
    if (json_doc_parse(&scratch, event.payload) == 0) {
        usage = json_member(&scratch, json_root(&scratch), BYTES("usage"));
        event.usage = usage && usage->type != JSON_NULL;
    } else {
        event.usage = strstr(payload, "\"usage\"") != NULL;
    }
    return client_openai.write_event(&talk->stream, &event, &talk->out);
}

static void events_of_its_own_shape_pass(void **state)
{
    static const struct {
        const char *name;
        bool include_usage;
        enum chat_event_kind kind;
        const char *payload, *written;
    } cases[] = {
        {"anything, even no JSON", false, EVENT_CHUNK, "{\"a\":1,}", "data: {\"a\":1,}\n\n"},
        {"usage chunk, wanted", true, EVENT_USAGE, "{\"choices\":[],\"usage\":{}}",
         "data: {\"choices\":[],\"usage\":{}}\n\n"},
        {"usage chunk, not wanted", false, EVENT_USAGE, "{\"choices\":[],\"usage\":{}}", ""},
        {"usage null", false, EVENT_CHUNK, "{\"x\":1,\"usage\" :\tnull}",
         "data: {\"x\":1,\"usage\" :\tnull}\n\n"},
        {"usage in the middle", false, EVENT_CHUNK, "{\"a\":1,\"usage\":{\"n\":[1]},\"b\":2}",
         "data: {\"a\":1,\"b\":2}\n\n"},
        {"usage at the end", false, EVENT_CHUNK, "{\"a\":1, \"usage\" : {\"n\":[1]} }",
         "data: {\"a\":1 }\n\n"},
        {"usage at the front", false, EVENT_CHUNK, "{\"usage\":5,\"a\":1}", "data: {\"a\":1}\n\n"},
        {"usage alone", false, EVENT_CHUNK, "{\"usage\":{}}", "data: {}\n\n"},
        {"usage wanted", true, EVENT_CHUNK, "{\"usage\":{}}", "data: {\"usage\":{}}\n\n"},
        {"the word alone", false, EVENT_CHUNK, "{\"a\":[\"usage\"]}", "data: {\"a\":[\"usage\"]}\n\n"},
        {"the word in a text", false, EVENT_CHUNK, "{\"a\":\"\\\"usage\\\": 1\"}",
         "data: {\"a\":\"\\\"usage\\\": 1\"}\n\n"},
        {"deeper usage stays", false, EVENT_CHUNK, "{\"a\":{\"usage\":1}}",
         "data: {\"a\":{\"usage\":1}}\n\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk, cases[i].include_usage);
        assert_int_equal(tell(&talk, cases[i].kind, SHAPE_OPENAI, cases[i].payload), 0);
        assert_written(&talk, cases[i].written);
        end(&talk);
    }
}

static void events_of_goodfire_are_rebuilt(void **state)
{
    struct talk talk;

    begin(&talk, false);
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, TOKEN("0", "a\\n\xc3\xa9", "null")), 0);
    assert_written(&talk, ROLE CHUNK("{\"content\":\"a\\n\xc3\xa9\"}", "null"));
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, TOKEN("0", "", "null")), 0);
    assert_written(&talk, "");
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, TOKEN("-1", "", "null")), 0);
    assert_written(&talk, "");
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, TOKEN("1", "b", "null")), 0);
    assert_written(&talk, CHUNK("{\"content\":\"b\"}", "null"));
    assert_int_equal(tell(&talk, EVENT_CHUNK, SHAPE_GOODFIRE, TOKEN("2", "c", "\"stop\"")), 0);
    assert_written(&talk, CHUNK("{\"content\":\"c\"}", "null") CHUNK("{}", "\"stop\""));
    end(&talk);
}

static void untellable_payloads(void **state)
{
    static const struct {
        const char *name;
        enum chat_event_kind kind;
        enum chat_shape shape;
        const char *payload;
    } cases[] = {
        {"no JSON", EVENT_CHUNK, SHAPE_GOODFIRE, "data"},
        {"no object", EVENT_CHUNK, SHAPE_GOODFIRE, "[]"},
        {"no text", EVENT_CHUNK, SHAPE_GOODFIRE, "{\"choices\":[{\"delta\":{\"content\":5}}]}"},
        {"second choice bad", EVENT_CHUNK, SHAPE_GOODFIRE,
         "{\"choices\":[{\"delta\":{\"content\":\"a\"}},{\"delta\":5}]}"},
        {"broken, with usage", EVENT_CHUNK, SHAPE_OPENAI, "{\"usage\":{}"},
        {"a body in a stream", EVENT_BODY, SHAPE_OPENAI, "{}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct talk talk;

        begin(&talk, false);
        assert_int_equal(tell(&talk, cases[i].kind, cases[i].shape, cases[i].payload), CLIENT_E_UNTELLABLE);
        assert_written(&talk, "");
        end(&talk);
    }
}

static void bodies(void **state)
{
    static const struct {
        const char *name;
        enum chat_event_kind kind;
        enum chat_shape shape;
        const char *payload, *written;
    } cases[] = {
        {"its own", EVENT_BODY, SHAPE_OPENAI, "{ \"x\" : 1 }\n", "{ \"x\" : 1 }\n"},
        {"logits", EVENT_LOGITS, SHAPE_GOODFIRE, "{\"logits\":{}}", "{\"logits\":{}}"},
        {"Goodfire's", EVENT_BODY, SHAPE_GOODFIRE,
         "{\"id\":\"chatcmpl-1\",\"created\":null,\"model\":\"y\",\"system_fingerprint\":\"fp\",\"choices\":[{"
         "\"index\":0,"
         "\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}],"
         "\"usage\":{\"total_tokens\":3}}",
         "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\","
         "\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
         "\"content\":\"hi\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
         "\"usage\":{\"total_tokens\":3}}"},
        {"Goodfire's, without a message", EVENT_BODY, SHAPE_GOODFIRE, "{\"choices\":[{\"index\":0}]}", NULL},
        {"Goodfire's, without a choice", EVENT_BODY, SHAPE_GOODFIRE, "{\"choices\":[]}", NULL},
        {"a chunk", EVENT_CHUNK, SHAPE_OPENAI, "{}", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct chat_event event = {
            .kind = cases[i].kind, .shape = cases[i].shape, .payload = bytes_of(cases[i].payload)};
        struct talk talk;

        begin(&talk, false);
        assert_int_equal(client_openai.write_body(&talk.stream, &event, &talk.out),
                         cases[i].written ? 0 : CLIENT_E_UNTELLABLE);
        assert_written(&talk, cases[i].written ? cases[i].written : "");
        end(&talk);
    }
}

static void refusals(void **state)
{
    static const struct {
        struct failure failure;
        unsigned status;
        const char *body;
    } cases[] = {
        {{.kind = FAIL_INVALID,
          .message = {"Say \"a/b\"", 9},
          .param = {"n", 1},
          .code = {"invalid_type", 12},
          .detail = {"[]", 2}},
         400,
         "{\"error\":{\"message\":\"Say \\\"a/b\\\"\",\"type\":\"invalid_request_error\",\"param\":\"n\","
         "\"code\":\"invalid_type\"}}"},
        {{.kind = FAIL_INTERNAL, .message = {"oh", 2}},
         500,
         "{\"error\":{\"message\":\"oh\",\"type\":\"server_error\",\"param\":null,\"code\":null}}"},
        {{.kind = FAIL_RATE_LIMITED, .message = {"slow", 4}},
         429,
         "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_"
         "exceeded\"}}"},
        {{.kind = FAIL_UPSTREAM_LOADING},
         503,
         "{\"error\":{\"message\":\"\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_"
         "loading\"}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char event[512];
        struct talk talk;

        begin(&talk, false);
        assert_int_equal(client_openai.status(&cases[i].failure), cases[i].status);
        client_openai.write_failure(&cases[i].failure, &talk.out);
        assert_written(&talk, cases[i].body);
        client_openai.write_failure_event(&talk.stream, &cases[i].failure, &talk.out);
        snprintf(event, sizeof(event), "data: %s\n\n", cases[i].body);
        assert_written(&talk, event);
        end(&talk);
    }
}

static void unknown_models(void **state)
{
    struct talk talk;
    struct failure failure;

    begin(&talk, false);
    failure = failure_no_model(&client_openai, &talk.arena, BYTES("x"), NULL, 0);
    assert_int_equal(client_openai.status(&failure), 404);
    client_openai.write_failure(&failure, &talk.out);
    assert_written(
        &talk, "{\"error\":{\"message\":\"The model `x` does not exist or you do not have access to it.\","
               "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}");
    end(&talk);
}

static void questions(void **state)
{
    static const char body[] = "{\"model\":5}";
    struct json_doc doc;
    struct failure failure;
    struct talk talk;

    begin(&talk, false);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, BYTES(body)), 0);
    assert_int_equal(client_openai.understand(&talk.request, &doc, CHAT_COMPLETION, &talk.arena, &failure),
                     -EINVAL);
    client_openai.write_failure(&failure, &talk.out);
    assert_written(
        &talk, "{\"error\":{\"message\":\"Invalid type for 'model': expected a string, but got an integer "
               "instead.\",\"type\":\"invalid_request_error\",\"param\":\"model\","
               "\"code\":\"invalid_type\"}}");
    json_doc_deinit(&doc);
    end(&talk);
}

static void the_frame(void **state)
{
    struct talk talk;

    begin(&talk, false);
    client_openai.write_keepalive(&talk.stream, &talk.out);
    client_openai.write_end(&talk.stream, &talk.out);
    assert_written(&talk, ": keepalive\n\ndata: [DONE]\n\n");
    end(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_its_own_shape_pass),
        cmocka_unit_test(events_of_goodfire_are_rebuilt),
        cmocka_unit_test(untellable_payloads),
        cmocka_unit_test(bodies),
        cmocka_unit_test(refusals),
        cmocka_unit_test(unknown_models),
        cmocka_unit_test(questions),
        cmocka_unit_test(the_frame),
    };

    int failed;

    json_doc_init(&scratch, ANSWER_JSON_LIMITS);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_doc_deinit(&scratch);
    return failed;
}
