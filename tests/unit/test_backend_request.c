/*
 * Questions on their way to each kind of backend: tables of the client's body and the body that leaves.
 */
#include "dialect/backend.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* One question, and what it is asked with. */
struct question {
    struct arena arena;
    struct json_doc doc;
    struct chat_request request;
    struct config_backend backend;
    struct chat_steering steering;
    struct config_params defaults, fixed;
    struct backend_ask ask;
    struct backend_request written;
    struct failure failure;
};

static void question_init(struct question *question, enum config_kind kind, const char *body)
{
    const struct json_node *stream;

    memset(question, 0, sizeof(*question));
    arena_init(&question->arena);
    json_doc_init(&question->doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&question->doc, bytes_of(body)), 0);
    assert_int_equal(chat_request_index(&question->request, &question->doc, &question->arena, &question->failure), 0);
    question->request.model = json_text(&question->doc, chat_field(&question->request, FIELD_MODEL), &question->arena);
    stream = chat_field(&question->request, FIELD_STREAM);
    question->request.stream = json_is(stream, JSON_TRUE);
    question->backend.kind = kind;
    question->backend.root = BYTES("");
    question->ask = (struct backend_ask){
        .request = &question->request,
        .client = SHAPE_OPENAI,
        .backend = &question->backend,
        .kind = kind,
        .upstream_model = BYTES("m"),
        .steering = &question->steering,
        .defaults = &question->defaults,
        .fixed = &question->fixed,
        .arena = &question->arena,
    };
}

static void question_deinit(struct question *question)
{
    json_doc_deinit(&question->doc);
    arena_deinit(&question->arena);
}

static int write_it(struct question *question)
{
    return backend_write_request(&question->ask, &question->written, &question->failure);
}

static void expect_text(struct bytes text, const char *expected, const char *what)
{
    if (bytes_equal(text, bytes_of(expected)))
        return;
    print_error("%s\n  got      %.*s\n  expected %s\n", what, BYTES_ARG(text), expected);
    fail();
}

#define M "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define SAMPLE ",\"temperature\":1,\"top_p\":1"
#define LLAMA_SAMPLE SAMPLE ",\"top_k\":0,\"min_p\":0"
#define SGLANG_SAMPLE SAMPLE ",\"top_k\":-1,\"min_p\":0"
#define OLLAMA_SAID "\"temperature\":0.5,\"top_p\":0.9"
#define SAID "\"temperature\":0.5,\"top_p\":0.9,\"top_k\":3,\"min_p\":0.1"

struct body_case {
    enum config_kind kind;
    const char *client, *upstream;
};

static void bodies_change_as_little_as_they_must(void **state)
{
    static const struct body_case cases[] = {
        /* nothing to change: the same bytes */
        {KIND_OPENAI, "{ " M " , \"x\" : 1.50 }", "{ " M " , \"x\" : 1.50 }"},
        {KIND_OPENAI, "{" M ",\"max_tokens\":5,\"user\":\"u\",\"frequency_penalty\":0}",
         "{" M ",\"max_tokens\":5,\"user\":\"u\",\"frequency_penalty\":0}"},
        {KIND_VLLM, "{" M ",\"stream\":false," SAID ",\"max_completion_tokens\":5,\"zzz\":[1]}",
         "{" M ",\"stream\":false," SAID ",\"max_completion_tokens\":5,\"zzz\":[1]}"},
        {KIND_LLAMA_SERVER, "{\"model\":\"\\u006d\"," SAID ",\"messages\":[]}",
         "{\"model\":\"\\u006d\"," SAID ",\"messages\":[]}"},
        {KIND_GOODFIRE, "{" M ",\"max_completion_tokens\":5,\"temperature\":0.6,\"top_p\":0.9,\"seed\":42}",
         "{" M ",\"max_completion_tokens\":5,\"temperature\":0.6,\"top_p\":0.9,\"seed\":42}"},

        /* the model's name */
        {KIND_OPENAI, "{\"model\":\"other\",\"messages\":[]}", "{\"model\":\"m\",\"messages\":[]}"},

        /* nulls */
        {KIND_OPENAI, "{" M ",\"stop\":null,\"unknown\":null,\"seed\":1}", "{" M ",\"seed\":1}"},
        {KIND_LLAMA_SERVER, "{\"temperature\":null," M ",\"top_p\":1,\"top_k\":0,\"min_p\":0}",
         "{" M ",\"top_p\":1,\"top_k\":0,\"min_p\":0,\"temperature\":1}"},

        /* the system prompt */
        {KIND_OPENAI, "{" M ",\"system_prompt\":\"be \\\"good\\\"\"}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be \\\"good\\\"\"},"
         "{\"role\":\"user\",\"content\":\"x\"}]}"},
        {KIND_OPENAI, "{\"model\":\"m\",\"system_prompt\":\"s\",\"messages\":[]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"}]}"},

        /* sampling, where the server's own defaults differ */
        {KIND_OPENAI, "{" M "}", "{" M "}"},
        {KIND_GOODFIRE, "{" M "}", "{" M SAMPLE "}"},
        {KIND_OLLAMA, "{" M "}", "{" M SAMPLE "}"},
        {KIND_LLAMA_SERVER, "{" M "}", "{" M LLAMA_SAMPLE "}"},
        {KIND_VLLM, "{" M "}", "{" M LLAMA_SAMPLE "}"},
        {KIND_SGLANG, "{" M "}", "{" M SGLANG_SAMPLE "}"},
        {KIND_SGLANG, "{" M ",\"top_k\":0}", "{" M ",\"top_k\":-1" SAMPLE ",\"min_p\":0}"},
        {KIND_VLLM, "{" M ",\"top_p\":0.0}", "{" M ",\"top_p\":1,\"temperature\":0,\"top_k\":0,\"min_p\":0}"},
        {KIND_SGLANG, "{" M ",\"top_p\":0,\"temperature\":0.7,\"top_k\":5,\"min_p\":0}",
         "{" M ",\"top_p\":1,\"temperature\":0,\"top_k\":5,\"min_p\":0}"},
        {KIND_LLAMA_SERVER, "{" M ",\"top_p\":0,\"temperature\":1,\"top_k\":0,\"min_p\":0}",
         "{" M ",\"top_p\":0,\"temperature\":1,\"top_k\":0,\"min_p\":0}"},

        /* the name of the output limit */
        {KIND_OLLAMA, "{" M ",\"max_completion_tokens\":7," OLLAMA_SAID "}", "{" M ",\"max_tokens\":7," OLLAMA_SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"max_completion_tokens\":7," SAID "}", "{" M ",\"max_tokens\":7," SAID "}"},
        {KIND_SGLANG, "{" M ",\"max_tokens\":7," SAID "}", "{" M ",\"max_completion_tokens\":7," SAID "}"},
        {KIND_VLLM, "{" M ",\"max_tokens\":9,\"max_completion_tokens\":7," SAID "}",
         "{" M ",\"max_completion_tokens\":7," SAID "}"},
        {KIND_OLLAMA, "{" M ",\"max_tokens\":9,\"max_completion_tokens\":7," OLLAMA_SAID "}",
         "{" M ",\"max_tokens\":7," OLLAMA_SAID "}"},
        {KIND_OPENAI, "{" M ",\"max_tokens\":9,\"max_completion_tokens\":7}", "{" M ",\"max_completion_tokens\":7}"},

        /* seeds */
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":4294967338," SAID "}", "{" M ",\"seed\":42," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":-1," SAID "}", "{" M "," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":4294967295," SAID "}", "{" M ",\"seed\":4294967295," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":-2," SAID "}", "{" M ",\"seed\":4294967294," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":-9223372036854775808," SAID "}", "{" M ",\"seed\":0," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"seed\":42.0," SAID "}", "{" M ",\"seed\":42.0," SAID "}"},
        {KIND_VLLM, "{" M ",\"seed\":4294967338," SAID "}", "{" M ",\"seed\":4294967338," SAID "}"},

        /* stop strings */
        {KIND_VLLM, "{" M ",\"stop\":[\"<|eot_id|>\",\"<|begin_of_text|>\"]," SAID "}", "{" M "," SAID "}"},
        {KIND_VLLM, "{" M ",\"stop\":[\"a\",\"<|eot_id|>\",\"\\u0062\"]," SAID "}",
         "{" M ",\"stop\":[\"a\",\"\\u0062\"]," SAID "}"},
        {KIND_VLLM, "{" M ",\"stop\":\"<|eot_id|>\"," SAID "}", "{" M "," SAID "}"},
        {KIND_VLLM, "{" M ",\"stop\":\"a\"," SAID "}", "{" M ",\"stop\":\"a\"," SAID "}"},
        {KIND_LLAMA_SERVER, "{" M ",\"stop\":[\"<|eot_id|>\"]," SAID "}", "{" M ",\"stop\":[\"<|eot_id|>\"]," SAID "}"},
        {KIND_GOODFIRE, "{" M ",\"stop\":\"a\",\"temperature\":0,\"top_p\":1}",
         "{" M ",\"stop\":[\"a\"],\"temperature\":0,\"top_p\":1}"},

        /* roles */
        {KIND_VLLM, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\",\"role\":\"developer\"}]," SAID "}",
         "{\"model\":\"m\",\"messages\":[{\"content\":\"x\",\"role\":\"system\"}]," SAID "}"},
        {KIND_OPENAI, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\",\"role\":\"developer\"}]}",
         "{\"model\":\"m\",\"messages\":[{\"content\":\"x\",\"role\":\"developer\"}]}"},

        /* content in parts */
        {KIND_OLLAMA,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
         "\"a\\n\"},"
         "{\"type\":\"text\",\"text\":\"\\u00e9\"}]}]," OLLAMA_SAID "}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\\u00e9\"}]," OLLAMA_SAID "}"},
        {KIND_OLLAMA, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[]}]," OLLAMA_SAID "}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]," OLLAMA_SAID "}"},
        {KIND_VLLM,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}"
         "]," SAID "}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}"
         "]," SAID "}"},

        /* what says nothing */
        {KIND_SGLANG, "{" M ",\"frequency_penalty\":0,\"presence_penalty\":0.0,\"logit_bias\":{ }," SAID "}",
         "{" M "," SAID "}"},
        {KIND_SGLANG, "{" M ",\"frequency_penalty\":0.1,\"logit_bias\":{\"1\":2}," SAID "}",
         "{" M ",\"frequency_penalty\":0.1,\"logit_bias\":{\"1\":2}," SAID "}"},
        {KIND_VLLM, "{" M ",\"user\":\"u\",\"metadata\":{},\"store\":true,\"prompt_cache_key\":\"k\"," SAID "}",
         "{" M "," SAID "}"},
        {KIND_OLLAMA, "{" M ",\"n\":1,\"tool_choice\":\"auto\"," OLLAMA_SAID "}", "{" M "," OLLAMA_SAID "}"},
        {KIND_GOODFIRE,
         "{" M ",\"n\":1,\"logprobs\":false,\"top_logprobs\":0,\"response_format\":{\"type\":\"text\"},"
         "\"tools\":[],\"tool_choice\":\"none\",\"modalities\":[\"text\"],\"temperature\":0,\"top_p\":1}",
         "{" M ",\"temperature\":0,\"top_p\":1}"},

        /* usage of streams */
        {KIND_OPENAI, "{" M ",\"stream\":true}", "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {KIND_OPENAI, "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {KIND_OPENAI, "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":false,\"a\":1}}",
         "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"a\":1}}"},
        {KIND_OPENAI, "{" M ",\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}}",
         "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}}"},
        {KIND_OPENAI, "{" M ",\"stream\":true,\"stream_options\":{}}",
         "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {KIND_GOODFIRE,
         "{" M ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"temperature\":1,\"top_p\":1}",
         "{" M ",\"stream\":true,\"temperature\":1,\"top_p\":1}"},

        /* an answer begun by the client */
        {KIND_VLLM, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]," SAID "}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]," SAID
         ",\"add_generation_prompt\":false,\"continue_final_message\":true}"},
        {KIND_VLLM,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]," SAID
         ",\"continue_final_message\":false}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]," SAID
         ",\"continue_final_message\":false}"},

        /* a controller that says nothing is not sent */
        {KIND_LLAMA_SERVER, "{" M ",\"controller\":{\"interventions\":[]}," SAID "}", "{" M "," SAID "}"},
        {KIND_GOODFIRE, "{" M ",\"controller\":{\"interventions\":[]},\"temperature\":1,\"top_p\":1}",
         "{" M ",\"temperature\":1,\"top_p\":1}"},
        {KIND_ECHO, "{" M ",\"top_p\":0,\"x\":1}", "{" M ",\"top_p\":0,\"x\":1}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct question question;

        question_init(&question, cases[i].kind, cases[i].client);
        assert_int_equal(write_it(&question), 0);
        expect_text(question.written.body, cases[i].upstream, cases[i].client);
        if (strcmp(cases[i].client, cases[i].upstream) == 0)
            assert_ptr_equal(question.written.body.data, cases[i].client);
        question_deinit(&question);
    }
}

static void what_a_kind_cannot_do_is_refused(void **state)
{
    static const struct {
        enum config_kind kind;
        const char *client, *param;
    } cases[] = {
        {KIND_VLLM, "{" M ",\"n\":2,\"temperature\":0}", "n"},
        {KIND_VLLM, "{" M ",\"n\":2,\"top_p\":0}", "n"},
        {KIND_OLLAMA, "{" M ",\"n\":2}", "n"},
        {KIND_OLLAMA, "{" M ",\"top_k\":3}", "top_k"},
        {KIND_OLLAMA, "{" M ",\"logit_bias\":{\"1\":2}}", "logit_bias"},
        {KIND_OLLAMA, "{" M ",\"tool_choice\":\"required\"}", "tool_choice"},
        {KIND_OLLAMA, "{" M ",\"tools\":[1],\"tool_choice\":\"none\"}", "tool_choice"},
        {KIND_OLLAMA, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
         "messages[0].content"},
        {KIND_GOODFIRE, "{" M ",\"n\":2}", "n"},
        {KIND_GOODFIRE, "{" M ",\"tools\":[{}]}", "tools"},
        {KIND_GOODFIRE, "{" M ",\"functions\":[{}]}", "functions"},
        {KIND_GOODFIRE, "{" M ",\"logprobs\":true}", "logprobs"},
        {KIND_GOODFIRE, "{" M ",\"logit_bias\":{\"1\":1}}", "logit_bias"},
        {KIND_GOODFIRE, "{" M ",\"response_format\":{\"type\":\"json_object\"}}", "response_format"},
        {KIND_GOODFIRE, "{" M ",\"presence_penalty\":1}", "presence_penalty"},
        {KIND_GOODFIRE, "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages[0].role"},
        {KIND_GOODFIRE,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\","
         "\"content\":null}]}",
         "messages[1].content"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct question question;

        question_init(&question, cases[i].kind, cases[i].client);
        assert_int_equal(write_it(&question), -EINVAL);
        assert_int_equal(question.failure.kind, FAIL_UNSUPPORTED);
        expect_text(question.failure.param, cases[i].param, cases[i].client);
        assert_true(question.failure.message.size > 20);
        question_deinit(&question);
    }
}

#define CONTROLLER "{\"interventions\":[{\"mode\":\"nudge\"}]}"
#define LORA "[{\"id\":0,\"scale\":0.5}]"

static void steering_is_done_or_refused(void **state)
{
    static const struct {
        enum config_kind kind;
        const char *controller, *lora, *adapter;
        const char *client, *upstream; /* NULL: refused */
    } cases[] = {
        {KIND_GOODFIRE, CONTROLLER, "", "", "{" M ",\"controller\":" CONTROLLER ",\"temperature\":1,\"top_p\":1}",
         "{" M ",\"controller\":" CONTROLLER ",\"temperature\":1,\"top_p\":1}"},
        {KIND_GOODFIRE, CONTROLLER, "", "", "{" M ",\"temperature\":1,\"top_p\":1}",
         "{" M ",\"temperature\":1,\"top_p\":1,\"controller\":" CONTROLLER "}"},
        {KIND_LLAMA_SERVER, CONTROLLER, LORA, "p", "{" M "," SAID ",\"controller\":" CONTROLLER "}",
         "{" M "," SAID ",\"lora\":" LORA "}"},
        {KIND_VLLM, CONTROLLER, LORA, "pirate", "{" M "," SAID "}",
         "{\"model\":\"pirate\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," SAID "}"},
        {KIND_SGLANG, "", "", "m:pirate", "{" M "," SAID "}",
         "{\"model\":\"m:pirate\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," SAID "}"},
        {KIND_LLAMA_SERVER, CONTROLLER, "", "p", "{" M "}", NULL},
        {KIND_VLLM, CONTROLLER, LORA, "", "{" M "}", NULL},
        {KIND_SGLANG, CONTROLLER, "", "", "{" M "}", NULL},
        {KIND_OLLAMA, CONTROLLER, LORA, "", "{" M "}", NULL},
        {KIND_OPENAI, CONTROLLER, LORA, "", "{" M "}", NULL},
        {KIND_OPENAI, "", "", "p", "{" M "}",
         "{\"model\":\"p\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {KIND_GOODFIRE, "", LORA, "", "{" M "}", NULL},
        {KIND_ECHO, CONTROLLER, LORA, "p", "{" M "}", "{" M "}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct question question;

        question_init(&question, cases[i].kind, cases[i].client);
        question.steering = (struct chat_steering){
            .controller = bytes_of(cases[i].controller),
            .lora = bytes_of(cases[i].lora),
            .adapter = bytes_of(cases[i].adapter),
        };
        if (cases[i].upstream) {
            assert_int_equal(write_it(&question), 0);
            expect_text(question.written.body, cases[i].upstream, cases[i].client);
        } else {
            assert_int_equal(write_it(&question), -EINVAL);
            assert_int_equal(question.failure.kind, FAIL_STEERING);
        }
        question_deinit(&question);
    }
}

static void parameters_of_the_configuration(void **state)
{
    static struct config_param fixed[] = {
        {BYTES("top_p"), BYTES("0.5")}, {BYTES("max_tokens"), BYTES("9")}, {BYTES("zeta"), BYTES("[1]")}};
    static struct config_param defaults[] = {{BYTES("temperature"), BYTES("0.7")},
                                             {BYTES("max_completion_tokens"), BYTES("512")},
                                             {BYTES("repetition_penalty"), BYTES("1.1")},
                                             {BYTES("model"), BYTES("\"evil\"")}};
    static const struct {
        enum config_kind kind;
        bool fixed;
        const char *client, *upstream;
    } cases[] = {
        {KIND_OPENAI, true, "{" M "}", "{" M ",\"zeta\":[1],\"top_p\":0.5,\"max_tokens\":9}"},
        {KIND_OPENAI, true, "{" M ",\"top_p\":1,\"max_completion_tokens\":3,\"zeta\":null}",
         "{" M ",\"top_p\":0.5,\"max_tokens\":9,\"zeta\":[1]}"},
        {KIND_OPENAI, true, "{" M ",\"zeta\":2,\"max_tokens\":3,\"top_p\":0.5}",
         "{" M ",\"zeta\":[1],\"max_tokens\":9,\"top_p\":0.5}"},
        {KIND_VLLM, true, "{" M ",\"zeta\":2,\"max_tokens\":3," SAID "}",
         "{" M ",\"zeta\":[1],\"max_completion_tokens\":9,\"temperature\":0.5,\"top_p\":0.5,\"top_k\":3,"
         "\"min_p\":0.1}"},
        {KIND_OPENAI, false, "{" M "}",
         "{" M ",\"repetition_penalty\":1.1,\"temperature\":0.7,\"max_completion_tokens\":512}"},
        {KIND_OPENAI, false, "{" M ",\"max_tokens\":3,\"temperature\":0,\"repetition_penalty\":2}",
         "{" M ",\"max_tokens\":3,\"temperature\":0,\"repetition_penalty\":2}"},
        {KIND_OLLAMA, false, "{" M ",\"top_p\":1}",
         "{" M ",\"top_p\":1,\"repetition_penalty\":1.1,\"temperature\":0.7,\"max_tokens\":512}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct question question;

        question_init(&question, cases[i].kind, cases[i].client);
        if (cases[i].fixed)
            question.fixed = (struct config_params){fixed, ARRAY_SIZE(fixed)};
        else
            question.defaults = (struct config_params){defaults, ARRAY_SIZE(defaults)};
        assert_int_equal(write_it(&question), 0);
        expect_text(question.written.body, cases[i].upstream, cases[i].client);
        question_deinit(&question);
    }
}

static void a_goodfire_client_keeps_its_servers_defaults(void **state)
{
    struct question question;

    question_init(&question, KIND_GOODFIRE, "{" M "}");
    question.ask.client = SHAPE_GOODFIRE;
    assert_int_equal(write_it(&question), 0);
    expect_text(question.written.body, "{" M "}", "goodfire");
    question_deinit(&question);
}

static void paths_begin_at_the_backends_root(void **state)
{
    static const struct {
        const char *root;
        bool versionless;
        const char *rest, *path;
    } cases[] = {
        {"", false, "/v1/models", "/v1/models"},
        {"/some", false, "/tokenize", "/some/tokenize"},
        {"/api/paas/v4", true, "/v1/chat/completions", "/api/paas/v4/chat/completions"},
        {"/api/inference", false, "/api/inference/v1/chat/completions", "/api/inference/v1/chat/completions"},
        {"", false, "/api/inference/v1/chat/completions", "/api/inference/v1/chat/completions"},
    };
    struct arena arena;

    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_backend backend = {.root = bytes_of(cases[i].root), .versionless = cases[i].versionless};

        expect_text(backend_path(&backend, &arena, cases[i].rest), cases[i].path, cases[i].root);
    }
    arena_deinit(&arena);
}

static void kinds_are_told_by_their_models(void **state)
{
    static const struct {
        const char *models;
        enum config_kind kind;
    } cases[] = {
        {"{\"object\":\"list\",\"data\":[{\"id\":\"x\",\"owned_by\":\"llamacpp\"}]}", KIND_LLAMA_SERVER},
        {"{\"data\":[{\"id\":\"x\",\"owned_by\":\"?\",\"meta\":{\"n_vocab\":5}}]}", KIND_LLAMA_SERVER},
        {"{\"data\":[{\"id\":\"x\",\"owned_by\":\"vllm\"}]}", KIND_VLLM},
        {"{\"data\":[{\"id\":\"x\",\"owned_by\":\"sglang\"}]}", KIND_SGLANG},
        {"{\"data\":[{\"id\":\"x\",\"owned_by\":\"me\"},{\"owned_by\":\"library\"}]}", KIND_OLLAMA},
        {"{\"data\":[{\"id\":\"gpt\",\"owned_by\":\"openai\"}]}", KIND_OPENAI},
        {"{\"data\":{}}", KIND_OPENAI},
        {"[]", KIND_OPENAI},
    };
    struct arena arena;
    struct json_doc doc;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(json_doc_parse(&doc, bytes_of(cases[i].models)), 0);
        assert_int_equal(backend_detect(&doc, &arena), cases[i].kind);
    }
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_change_as_little_as_they_must),
        cmocka_unit_test(what_a_kind_cannot_do_is_refused),
        cmocka_unit_test(steering_is_done_or_refused),
        cmocka_unit_test(parameters_of_the_configuration),
        cmocka_unit_test(a_goodfire_client_keeps_its_servers_defaults),
        cmocka_unit_test(paths_begin_at_the_backends_root),
        cmocka_unit_test(kinds_are_told_by_their_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
