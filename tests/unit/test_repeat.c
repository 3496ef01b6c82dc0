/*
 * Whether an answer may be remembered, and the word for why not.
 */
#include "key_stage.h"

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define SCOPE(rest) "{\"scopes\":[{\"conditionals\":{\"conditionals\":[],\"operator\":\"AND\"}" rest "}]}"
#define EVENT SCOPE(",\"event_name\":\"abc\"")
#define NO_EVENT SCOPE(",\"event_name\":null")
#define DEEP_EVENT SCOPE(",\"controller\":" EVENT)

static void reasons(void **state)
{
    static const struct {
        const char *members;
        enum repeat_reason reason;
        enum config_kind kind;
        enum config_cache_when when;
        bool seedless;      /* the backend does not honour seeds */
        bool logits;
    } cases[] = {
        {"", REPEAT_NOT_ASKED, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {"", REPEAT_YES, KIND_OPENAI, CACHE_ALWAYS, false, false},
        {"", REPEAT_POLICY, KIND_OPENAI, CACHE_NEVER, false, false},
        {",\"seed\":7", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"n\":5", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":0", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":null", REPEAT_NOT_ASKED, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7", REPEAT_SEED_UNUSABLE, KIND_SGLANG, CACHE_REPEATABLE, true, false},
        {"", REPEAT_NOT_ASKED, KIND_SGLANG, CACHE_REPEATABLE, true, false},
        {",\"seed\":7", REPEAT_YES, KIND_SGLANG, CACHE_REPEATABLE, false, false},
        {",\"seed\":7", REPEAT_YES, KIND_SGLANG, CACHE_ALWAYS, true, false},
        {",\"temperature\":0", REPEAT_YES, KIND_SGLANG, CACHE_REPEATABLE, true, false},

        /* seeds that are none */
        {",\"seed\":-1", REPEAT_SEED_UNUSABLE, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":-1", REPEAT_SEED_UNUSABLE, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"seed\":-1.0", REPEAT_SEED_UNUSABLE, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"seed\":-1", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":-1.0", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":4294967295", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":4294967295.0", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":8589934591", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":-4294967297", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":8589934590", REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":-2", REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"seed\":4294967295", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"seed\":9223372036854775807", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"seed\":9223372036854775807", REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},

        /* greedy */
        {",\"temperature\":0", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0.0,\"seed\":-1", REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0e5", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0.1", REPEAT_NOT_ASKED, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"top_p\":0", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"top_p\":0", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_p\":0.5", REPEAT_NOT_ASKED, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_k\":1", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_k\":1.0", REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"top_k\":10", REPEAT_NOT_ASKED, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"top_k\":0", REPEAT_NOT_ASKED, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},

        /* greedy, but for what is beside it */
        {",\"temperature\":0,\"samplers\":[\"top_k\"]",
         REPEAT_NOT_ASKED, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"samplers\":[\"top_k\"]",
         REPEAT_NOT_ASKED, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"samplers\":[\"top_k\"]",
         REPEAT_YES, KIND_LLAMA_SERVER, CACHE_ALWAYS, false, false},
        {",\"temperature\":0,\"samplers\":[],\"seed\":7",
         REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"samplers\":[],\"seed\":-1",
         REPEAT_SEED_UNUSABLE, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"samplers\":null",
         REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"mirostat\":2",
         REPEAT_NOT_ASKED, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"sampler_seq\":\"k\"",
         REPEAT_NOT_ASKED, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"unheard_of\":1",
         REPEAT_YES, KIND_LLAMA_SERVER, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"unheard_of\":1,\"seed\":-1",
         REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"temperature\":0,\"mirostat\":2,\"unheard_of\":1",
         REPEAT_NOT_ASKED, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_k\":1,\"unheard_of\":1", REPEAT_NOT_ASKED, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_k\":1,\"unheard_of\":null", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_k\":1,\"repetition_penalty\":1.1", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"top_p\":0,\"unheard_of\":1", REPEAT_NOT_ASKED, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"top_p\":0,\"unheard_of\":1,\"seed\":7", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},

        /* influence, also where the backend is not told */
        {",\"seed\":7,\"web_search_options\":{}", REPEAT_WEB_SEARCH, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"web_search_options\":{}", REPEAT_WEB_SEARCH, KIND_VLLM, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"web_search_options\":{}", REPEAT_WEB_SEARCH, KIND_OPENAI, CACHE_ALWAYS, false, false},
        {",\"seed\":7,\"store\":true", REPEAT_STORE, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"store\":true", REPEAT_STORE, KIND_VLLM, CACHE_ALWAYS, false, false},
        {",\"seed\":7,\"store\":false", REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"modalities\":[\"text\",\"audio\"]", REPEAT_AUDIO, KIND_OPENAI, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"audio\":{\"voice\":\"a\",\"format\":\"wav\"}", REPEAT_AUDIO, KIND_SGLANG, CACHE_ALWAYS, false,
         false},
        {",\"seed\":7,\"controller\":" EVENT, REPEAT_EVENT_NAME, KIND_GOODFIRE, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"controller\":" DEEP_EVENT, REPEAT_EVENT_NAME, KIND_VLLM, CACHE_ALWAYS, false, false},
        {",\"seed\":7,\"controller\":" NO_EVENT, REPEAT_YES, KIND_GOODFIRE, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
         "{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]",
         REPEAT_YES, KIND_OPENAI, CACHE_REPEATABLE, false, false},

        /* logits */
        {"", REPEAT_YES, KIND_VLLM, CACHE_REPEATABLE, false, true},
        {"", REPEAT_YES, KIND_SGLANG, CACHE_REPEATABLE, true, true},
        {"", REPEAT_POLICY, KIND_VLLM, CACHE_NEVER, false, true},
        {",\"controller\":" EVENT, REPEAT_EVENT_NAME, KIND_GOODFIRE, CACHE_REPEATABLE, false, true},

        /* nobody to ask */
        {",\"seed\":7,\"n\":2", REPEAT_UNASKABLE, KIND_OLLAMA, CACHE_REPEATABLE, false, false},
        {",\"seed\":7,\"n\":2", REPEAT_UNASKABLE, KIND_GOODFIRE, CACHE_ALWAYS, false, false},
        {",\"custom_logit_processor\":\"x\"", REPEAT_UNASKABLE, KIND_SGLANG, CACHE_ALWAYS, false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_stage stage;
        char body[1024];

        snprintf(body, sizeof(body), CHAT "%s}", cases[i].members);
        key_stage_init(&stage, &client_openai, cases[i].logits ? CHAT_LOGITS : CHAT_COMPLETION, body);
        key_kind(&stage, cases[i].kind);
        stage.when = cases[i].when;
        stage.backend[0].seeds = !cases[i].seedless;
        if (key_make(&stage) != cases[i].reason)
            fail_msg("case %zu, %s: '%s' for '%s'", i, cases[i].members, repeat_reason_name(stage.reason),
                     repeat_reason_name(cases[i].reason));
        /* the quick no is never wrong */
        if (repeat_surely_not(&stage.request, NULL, NULL))
            assert_true(stage.reason != REPEAT_YES || stage.when == CACHE_ALWAYS);
        key_stage_deinit(&stage);
    }
}

/* The schema refuses other types of tools; should it once let them in, they are not repeatable. */
static void tools_of_the_server(void **state)
{
    static const char *const tools[] = {"{\"type\":\"web_search\"}", "{}", "{\"type\":1}", "1"};

    for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
        struct key_stage stage;
        struct json_doc doc;
        struct failure failure;
        char body[256];

        snprintf(body, sizeof(body), "{\"model\":\"m\",\"seed\":7,\"messages\":[],\"tools\":[%s]}", tools[i]);
        key_stage_init(&stage, &client_openai, CHAT_COMPLETION, CHAT "}");
        json_doc_init(&doc, JSON_LIMITS_DEFAULT);
        assert_int_equal(json_doc_parse(&doc, bytes_of(body)), 0);
        assert_int_equal(chat_request_index(&stage.request, &doc, &stage.arena, &failure), 0);
        assert_int_equal(key_make(&stage), REPEAT_SERVER_TOOLS);
        json_doc_deinit(&doc);
        key_stage_deinit(&stage);
    }
}

static void a_quick_no(void **state)
{
    static const struct {
        const char *members, *name, *value;
        bool no;
    } cases[] = {
        {"", NULL, NULL, true},
        {",\"temperature\":0.5,\"top_p\":0.5,\"top_k\":5", NULL, NULL, true},
        {",\"seed\":null", NULL, NULL, true},
        {",\"seed\":1", NULL, NULL, false},
        {",\"temperature\":0", NULL, NULL, false},
        {",\"top_p\":0.0", NULL, NULL, false},
        {",\"top_k\":1", NULL, NULL, false},
        {"", "temperature", "0.5", true},
        {"", "temperature", "0", false},
        {"", "top_k", "1", false},
        {"", "top_k", "2", true},
        {"", "seed", "5", false},
        {"", "repetition_penalty", "0", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_param param = {bytes_of(cases[i].name), bytes_of(cases[i].value)};
        struct config_params params = {&param, cases[i].name != NULL};
        struct key_stage stage;
        char body[256];

        snprintf(body, sizeof(body), CHAT "%s}", cases[i].members);
        key_stage_init(&stage, &client_openai, CHAT_COMPLETION, body);
        assert_int_equal(repeat_surely_not(&stage.request, &params, NULL), cases[i].no);
        assert_int_equal(repeat_surely_not(&stage.request, NULL, &params), cases[i].no);
        key_stage_deinit(&stage);
    }
}

static void words_for_reasons(void **state)
{
    static const char *const words[] = {"",      "never", "no-seed",    "unusable-seed", "web-search", "server-tools",
                                        "store", "audio", "event-name", "unaskable"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        assert_string_equal(repeat_reason_name((enum repeat_reason)i), words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons),
        cmocka_unit_test(tools_of_the_server),
        cmocka_unit_test(a_quick_no),
        cmocka_unit_test(words_for_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
