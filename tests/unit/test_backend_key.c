/*
 * Keys: fixed ones, so that a change of the format is noticed; and who and what makes them differ. What each member of
 * a question does to a key is in test_backend_key_fields.c, whether there is one in test_repeat.c.
 */
#include "key_stage.h"

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define SEEDED CHAT ",\"seed\":7}"
#define STREAMED(options) ",\"seed\":7,\"stream\":true,\"stream_options\":{" options "}"
#define INDEX(number) "{\"features\":[{\"index_in_sae\":" number ",\"uuid\":\"abc\",\"label\":\"l\"}]}"
#define NUDGE(number, value) "{\"mode\":\"nudge\",\"features\":" INDEX(number) ",\"value\":" value "}"
#define CONTROLLER(number, value) "{\"interventions\":[" NUDGE(number, value) "],\"name\":\"controller__1\"}"
#define FIVE CONTROLLER("5", "0.5")
#define EVENT                                                                                                        \
    "{\"scopes\":[{\"conditionals\":{\"conditionals\":[],\"operator\":\"AND\"},\"event_name\":\"abc\"}]}"
#define DEEP_EVENT                                                                                                   \
    "{\"scopes\":[{\"conditionals\":{\"conditionals\":[],\"operator\":\"AND\"},\"controller\":" EVENT "}]}"

static char golden_hex[2 * DIGEST_SIZE + 1];

/* --- fixed keys --- */

static void plain(struct key_stage *stage)
{
    key_stage_init(stage, &client_openai, CHAT_COMPLETION, SEEDED);
}

static void sdk(struct key_stage *stage)
{
    key_stage_init(stage, &client_goodfire, CHAT_COMPLETION,
                   "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\\n\"}],"
                   "\"stream\":true,\"max_completion_tokens\":2048,\"top_p\":0.9,\"temperature\":0.6,"
                   "\"stop\":[\"<|eot_id|>\",\"<|begin_of_text|>\"],\"seed\":42,\"model\":\"m\","
                   "\"controller\":" FIVE "}");
    key_kind(stage, KIND_GOODFIRE);
    stage->steering[0].controller = BYTES(FIVE);
}

static void next_token(struct key_stage *stage)
{
    key_stage_init(stage, &client_openai, CHAT_LOGITS, CHAT ",\"top_k\":5,\"filter_vocabulary\":[\"b\",\"a\"]}");
    key_kind(stage, KIND_LLAMA_SERVER);
}

static void pool(struct key_stage *stage)
{
    static struct config_param list[] = {
        {BYTES("repetition_penalty"), BYTES("1.1")},
        {BYTES("stop"), BYTES("[\"z\"]")},
    };
    static const struct config_params params = {list, ARRAY_SIZE(list)};

    key_stage_init(stage, &client_openai, CHAT_COMPLETION, SEEDED);
    stage->count = 3;
    stage->ask[1].kind = stage->ask[2].kind = KIND_VLLM;
    stage->ask[2].fixed = &params;
    stage->backend[1].tls = true;
}

static void under_a_secret(struct key_stage *stage)
{
    plain(stage);
    digest_free(stage->digest);
    stage->digest = digest_new(BYTES("0123456789abcdef"));
}

static void golden(void **state)
{
    static const struct {
        void (*set)(struct key_stage *stage);
        const char *key;
    } cases[] = {
        {plain, "b426672977f8e4d598f710360b95ffbb63816c91e03d9e5399bed437747e85c2"},
        {sdk, "a8c0fb584b2330c036c40cf7b1784d74ff87d5785a39233f537d077d5850ed3b"},
        {next_token, "b79909bf80c77e29300b0f31e7f0b03c6baad485d75fb0d7b68be5e09e97d169"},
        {pool, "d08b4a610ad2251bafdde4428bbf38c096dd3f08baddf9a37ffe788da3f0942c"},
        {under_a_secret, "dfdd9c3087f240b5d212ebcc5473af1a5eae31894bdf0b27e7d841f08d787b1e"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_stage stage;

        cases[i].set(&stage);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        memcpy(golden_hex, stage.hex, sizeof(golden_hex));
        key_make(&stage);
        assert_string_equal(golden_hex, stage.hex);
        assert_string_equal(stage.hex, cases[i].key);
        key_stage_deinit(&stage);
    }
}

/* --- who is asked --- */

static void name(struct key_stage *stage)
{
    stage->backend[0].name = BYTES("other");
}

static void kind(struct key_stage *stage)
{
    stage->ask[0].kind = KIND_ECHO;
}

static void host(struct key_stage *stage)
{
    stage->backend[0].host = BYTES("127.0.0.2");
}

static void port(struct key_stage *stage)
{
    stage->backend[0].port++;
}

static void unix_path(struct key_stage *stage)
{
    stage->backend[0].unix_path = BYTES("/run/x");
}

static void root(struct key_stage *stage)
{
    stage->backend[0].root = BYTES("/x");
}

static void tls(struct key_stage *stage)
{
    stage->backend[0].tls = true;
}

static void versionless(struct key_stage *stage)
{
    stage->backend[0].versionless = true;
}

static void upstream_model(struct key_stage *stage)
{
    stage->ask[0].upstream_model = BYTES("n");
}

static void adapter(struct key_stage *stage)
{
    stage->steering[0].adapter = BYTES("pirate");
}

static void scope(struct key_stage *stage)
{
    stage->scope[31] = 1;
}

static void second_backend(struct key_stage *stage)
{
    stage->count = 2;
}

static void nothing(struct key_stage *stage)
{
}

static void api_key(struct key_stage *stage)
{
    stage->backend[0].api_key = BYTES("sk");
}

static void index_there(struct key_stage *stage)
{
    stage->backend[0].index = 3;
}

static void the_name_asked_by(struct key_stage *stage)
{
    stage->request.model = BYTES("alias");
}

static void empty_steering(struct key_stage *stage)
{
    stage->ask[0].steering = NULL;
}

static void empty_params(struct key_stage *stage)
{
    static const struct config_params none;

    stage->ask[0].fixed = stage->ask[0].defaults = &none;
}

static void who_is_asked(void **state)
{
    static const struct {
        void (*change)(struct key_stage *stage);
        bool same;
    } cases[] = {
        {nothing, true},
        {name, false},
        {kind, false},
        {host, false},
        {port, false},
        {unix_path, false},
        {root, false},
        {tls, false},
        {versionless, false},
        {upstream_model, false},
        {adapter, false},
        {scope, false},
        {second_backend, false},
        {api_key, true},
        {index_there, true},
        {the_name_asked_by, true},
        {empty_steering, true},
        {empty_params, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_stage stage;
        char before[sizeof(stage.hex)];

        plain(&stage);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        memcpy(before, stage.hex, sizeof(before));
        cases[i].change(&stage);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        if ((strcmp(before, stage.hex) == 0) != cases[i].same)
            fail_msg("case %zu", i);
        key_stage_deinit(&stage);
    }
}

/* Without a configured name there, the client's goes out. */
static void a_model_nobody_renamed(void **state)
{
    struct key_stage stage;
    char before[sizeof(stage.hex)];

    plain(&stage);
    key_make(&stage);
    memcpy(before, stage.hex, sizeof(before));
    stage.ask[0].upstream_model = BYTES_NONE;
    key_make(&stage);
    assert_string_equal(before, stage.hex);
    stage.request.model = BYTES("alias");
    key_make(&stage);
    assert_string_not_equal(before, stage.hex);
    key_stage_deinit(&stage);
}

/* --- several candidates --- */

static void the_order_of_asking_does_not_count(void **state)
{
    struct key_stage stage;
    struct backend_ask first;
    char before[sizeof(stage.hex)];

    pool(&stage);
    key_make(&stage);
    memcpy(before, stage.hex, sizeof(before));
    first = stage.ask[0];
    stage.ask[0] = stage.ask[2];
    stage.ask[2] = first;
    key_make(&stage);
    assert_string_equal(before, stage.hex);
    key_stage_deinit(&stage);
}

static void one_that_cannot_is_left_out(void **state)
{
    struct key_stage stage;
    char before[sizeof(stage.hex)];

    key_stage_init(&stage, &client_openai, CHAT_COMPLETION, CHAT ",\"seed\":7,\"logprobs\":true}");
    stage.ask[0].kind = KIND_GOODFIRE;
    assert_int_equal(key_make(&stage), REPEAT_UNASKABLE);
    stage.count = 2;
    assert_int_equal(key_make(&stage), REPEAT_YES);
    memcpy(before, stage.hex, sizeof(before));
    stage.ask[0] = stage.ask[1];
    stage.count = 1;
    assert_int_equal(key_make(&stage), REPEAT_YES);
    assert_string_equal(before, stage.hex);
    stage.count = 0;
    assert_int_equal(key_make(&stage), REPEAT_UNASKABLE);
    key_stage_deinit(&stage);
}

/* Three backends, of which the last is asked like the first or like the second. */
static void which_question_goes_to_whom(void **state)
{
    static struct config_param list[] = {{BYTES("top_p"), BYTES("0.5")}};
    static const struct config_params params = {list, ARRAY_SIZE(list)};
    struct key_stage stage;
    char before[sizeof(stage.hex)];

    plain(&stage);
    stage.count = 3;
    stage.ask[1].fixed = &params;
    key_make(&stage);
    memcpy(before, stage.hex, sizeof(before));
    stage.ask[2].fixed = &params;
    key_make(&stage);
    assert_string_not_equal(before, stage.hex);
    key_stage_deinit(&stage);
}

static void all_must_be_repeatable(void **state)
{
    static struct config_param list[] = {{BYTES("seed"), BYTES("-1")}};
    static const struct config_params params = {list, ARRAY_SIZE(list)};
    struct key_stage stage;

    plain(&stage);
    stage.count = 2;
    stage.backend[1].seeds = false;
    assert_int_equal(key_make(&stage), REPEAT_SEED_UNUSABLE);
    stage.backend[1].seeds = true;
    assert_int_equal(key_make(&stage), REPEAT_YES);
    stage.ask[1].fixed = &params;
    assert_int_equal(key_make(&stage), REPEAT_SEED_UNUSABLE);
    key_stage_deinit(&stage);
}

/* --- the configuration's part --- */

/* A question with MEMBERS, and with a seed when they have none. */
static void seeded(struct key_stage *stage, const char *members, enum config_kind kind)
{
    char body[1024];

    snprintf(body, sizeof(body), CHAT "%s%s}", members, strstr(members, "seed") ? "" : ",\"seed\":7");
    key_stage_init(stage, &client_openai, CHAT_COMPLETION, body);
    key_kind(stage, kind);
}

static void parameters_of_the_configuration(void **state)
{
    static const struct {
        const char *name, *value;
        bool fixed;
        enum config_kind kind;
        const char *asked, *effective; /* the question as asked, and one that says it all itself */
    } cases[] = {
        {"temperature", "0.7", false, KIND_OPENAI, "", ",\"temperature\":0.70"},
        {"temperature", "0.7", false, KIND_OPENAI, ",\"temperature\":0.2", ",\"temperature\":0.2"},
        {"temperature", "0.7", true, KIND_OPENAI, ",\"temperature\":0.2", ",\"temperature\":0.7"},
        {"temperature", "1", true, KIND_VLLM, ",\"temperature\":0.2", ""},
        {"temperature", "0", true, KIND_OPENAI, ",\"seed\":8", ",\"temperature\":0"},
        {"max_tokens", "9", true, KIND_OPENAI, ",\"max_completion_tokens\":5", ",\"max_completion_tokens\":9"},
        {"max_tokens", "9", false, KIND_SGLANG, "", ",\"max_tokens\":9"},
        {"stop", "[\"a\"]", false, KIND_OPENAI, "", ",\"stop\":\"a\""},
        {"stop", "\"a\"", true, KIND_GOODFIRE, ",\"stop\":[\"b\"]", ",\"stop\":[\"a\"]"},
        {"reasoning_effort", "\"low\"", false, KIND_OPENAI, "", ",\"reasoning_effort\":\"low\""},
        {"repetition_penalty", "1.1", false, KIND_OPENAI, "", ",\"repetition_penalty\":1.10"},
        {"repetition_penalty", "1.1", false, KIND_OPENAI, ",\"repetition_penalty\":null",
         ",\"repetition_penalty\":1.1"},
        {"repetition_penalty", "1.1", false, KIND_OPENAI, ",\"repetition_penalty\":2",
         ",\"repetition_penalty\":2.0"},
        {"repetition_penalty", "1.1", true, KIND_OPENAI, ",\"zz\":0,\"repetition_penalty\":2,\"a\":1",
         ",\"a\":1,\"repetition_penalty\":1.1,\"zz\":0"},
        {"seed", "4294967303", true, KIND_LLAMA_SERVER, ",\"seed\":9", ",\"seed\":7"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_param param = {bytes_of(cases[i].name), bytes_of(cases[i].value)};
        struct config_params params = {&param, 1};
        struct key_stage stage;
        char expected[sizeof(stage.hex)];

        seeded(&stage, cases[i].effective, cases[i].kind);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        memcpy(expected, stage.hex, sizeof(expected));
        key_stage_deinit(&stage);

        seeded(&stage, cases[i].asked, cases[i].kind);
        if (cases[i].fixed)
            stage.ask[0].fixed = &params;
        else
            stage.ask[0].defaults = &params;
        assert_int_equal(key_make(&stage), REPEAT_YES);
        if (strcmp(expected, stage.hex) != 0)
            fail_msg("case %zu: %s is not %s", i, cases[i].asked, cases[i].effective);
        key_stage_deinit(&stage);
    }
}

/* What is beside a temperature of 0 may undo it: then the seed tells answers apart. What else a stream is to tell does
 * so always. */
static void what_is_beside_may_count(void **state)
{
    static const struct {
        enum config_kind kind;
        const char *one, *other;
        bool same;
    } cases[] = {
        {KIND_LLAMA_SERVER, ",\"temperature\":0,\"seed\":1", ",\"temperature\":0,\"seed\":2", true},
        {KIND_LLAMA_SERVER, ",\"temperature\":0,\"seed\":1,\"samplers\":[\"top_k\"]",
         ",\"temperature\":0,\"seed\":2,\"samplers\":[\"top_k\"]", false},
        {KIND_OPENAI, ",\"temperature\":0,\"seed\":1,\"unheard_of\":1",
         ",\"temperature\":0,\"seed\":2,\"unheard_of\":1", false},
        {KIND_OPENAI, ",\"temperature\":0,\"seed\":1,\"unheard_of\":1",
         ",\"temperature\":0,\"unheard_of\":1", false},
        {KIND_OPENAI, ",\"temperature\":0,\"seed\":-1,\"unheard_of\":null",
         ",\"temperature\":0,\"seed\":2", true},
        {KIND_VLLM, ",\"temperature\":0,\"seed\":1,\"repetition_penalty\":1.1",
         ",\"temperature\":0,\"seed\":2,\"repetition_penalty\":1.1", true},
        {KIND_VLLM, ",\"top_k\":1,\"seed\":1", ",\"top_k\":1,\"seed\":2", true},
        {KIND_VLLM, ",\"top_k\":1,\"seed\":1,\"unheard_of\":1",
         ",\"top_k\":1,\"seed\":2,\"unheard_of\":1", false},
        {KIND_VLLM, STREAMED(""), STREAMED("\"include_usage\":true"), true},
        {KIND_VLLM, STREAMED("\"include_obfuscation\":false"), STREAMED("\"include_usage\":true"), true},
        {KIND_VLLM, STREAMED("\"continuous_usage_stats\":true,\"include_usage\":true"),
         STREAMED("\"include_usage\":true"), false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_stage stage;
        char before[sizeof(stage.hex)], body[512];

        snprintf(body, sizeof(body), CHAT "%s}", cases[i].one);
        key_stage_init(&stage, &client_openai, CHAT_COMPLETION, body);
        key_kind(&stage, cases[i].kind);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        memcpy(before, stage.hex, sizeof(before));
        key_stage_deinit(&stage);
        snprintf(body, sizeof(body), CHAT "%s}", cases[i].other);
        key_stage_init(&stage, &client_openai, CHAT_COMPLETION, body);
        key_kind(&stage, cases[i].kind);
        assert_int_equal(key_make(&stage), REPEAT_YES);
        if ((strcmp(before, stage.hex) == 0) != cases[i].same)
            fail_msg("case %zu", i);
        key_stage_deinit(&stage);
    }
}

/* The configuration's members are beside it too. */
static void what_the_file_puts_beside_counts(void **state)
{
    static const struct {
        const char *name, *value;
        enum repeat_reason reason;  /* without a seed */
        bool same;                  /* with one and with another */
    } cases[] = {
        {"repeat_penalty", "1.1", REPEAT_YES, true},
        {"unheard_of", "1", REPEAT_YES, false},
        {"samplers", "[\"top_k\"]", REPEAT_NOT_ASKED, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static const char *const seeds[] = {"", ",\"seed\":1", ",\"seed\":2"};
        struct config_param param = {bytes_of(cases[i].name), bytes_of(cases[i].value)};
        struct config_params params = {&param, 1};
        struct key_stage stage;
        char hex[ARRAY_SIZE(seeds)][sizeof(stage.hex)];

        for (size_t seed = 0; seed < ARRAY_SIZE(seeds); seed++) {
            char body[256];

            snprintf(body, sizeof(body), CHAT ",\"temperature\":0%s}", seeds[seed]);
            key_stage_init(&stage, &client_openai, CHAT_COMPLETION, body);
            key_kind(&stage, KIND_LLAMA_SERVER);
            stage.ask[0].fixed = &params;
            assert_int_equal(key_make(&stage), seed ? REPEAT_YES : cases[i].reason);
            memcpy(hex[seed], stage.hex, sizeof(stage.hex));
            key_stage_deinit(&stage);
        }
        assert_int_equal(strcmp(hex[1], hex[2]) == 0, cases[i].same);
    }
}

/* --- both doors --- */

static void both_doors_ask_the_same(void **state)
{
    static const struct {
        enum config_kind kind;
        const char *openai, *goodfire;
        bool same;
    } cases[] = {
        {KIND_VLLM,
         "{\"seed\":42,\"model\":\"m\",\"temperature\":0.60,\"top_p\":0.9,\"max_tokens\":2048,"
         "\"messages\":[{\"content\":\"s\",\"role\":\"developer\"},{\"role\":\"user\",\"content\":\"x\"}]}",
         "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"}],"
         "\"stream\":false,\"max_completion_tokens\":2048,\"top_p\":0.9,\"temperature\":0.6,"
         "\"stop\":[\"<|eot_id|>\",\"<|begin_of_text|>\"],\"seed\":42,\"model\":\"m\","
         "\"controller\":{\"interventions\":[],\"scopes\":[],\"name\":\"controller__1\"}}",
         true},
        {KIND_GOODFIRE, SEEDED, CHAT ",\"temperature\":1,\"top_p\":1,\"seed\":7}", true},
        {KIND_GOODFIRE, SEEDED, SEEDED, false},
        {KIND_LLAMA_SERVER, SEEDED, SEEDED, true},
        {KIND_OPENAI, SEEDED, SEEDED, true},
        {KIND_GOODFIRE, CHAT ",\"stop\":\"a\",\"seed\":7,\"temperature\":0.5,\"top_p\":1}",
         CHAT ",\"seed\":7,\"stop\":[\"a\"],\"temperature\":5e-1,\"top_p\":1.0}", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_result one = key_of(&client_openai, cases[i].kind, CHAT_COMPLETION, cases[i].openai);
        struct key_result other = key_of(&client_goodfire, cases[i].kind, CHAT_COMPLETION, cases[i].goodfire);

        assert_true(one.understood && other.understood);
        assert_int_equal(one.reason, REPEAT_YES);
        assert_int_equal(other.reason, REPEAT_YES);
        if ((strcmp(one.hex, other.hex) == 0) != cases[i].same)
            fail_msg("case %zu", i);
    }
}

/* A Goodfire server's logits are told to each door in other words. */
static void logits_at_both_doors(void **state)
{
    static const struct {
        enum config_kind kind;
        bool same;
    } cases[] = {{KIND_GOODFIRE, false}, {KIND_VLLM, true}, {KIND_ECHO, true}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_result one = key_of(&client_openai, cases[i].kind, CHAT_LOGITS, CHAT "}");
        struct key_result other = key_of(&client_goodfire, cases[i].kind, CHAT_LOGITS, CHAT "}");

        assert_int_equal(one.reason, REPEAT_YES);
        assert_int_equal(strcmp(one.hex, other.hex) == 0, cases[i].same);
    }
    assert_string_not_equal(key_of(&client_openai, KIND_VLLM, CHAT_LOGITS, SEEDED).hex,
                            key_of(&client_openai, KIND_VLLM, CHAT_COMPLETION, SEEDED).hex);
}

/* --- steering --- */

#define SAME_CONTROLLER                                                                                              \
    "{\"name\":\"controller__9\",\"scopes\":[],\"interventions\":[{\"value\":5e-1,\"mode\":\"nudge\","               \
    "\"features\":{\"features\":[{\"uuid\":\"other\",\"index_in_sae\":5.0,\"label\":\"m\"}]}}]}"

#define STEERED(text) {.controller = BYTES(text)}
#define LORA(text) {.lora = BYTES(text)}
#define ADAPTED(text) {.adapter = BYTES(text)}
#define NOTHING {.adapter = BYTES_NONE}

static void steered(void **state)
{
    static const struct {
        enum config_kind kind;
        struct chat_steering one, other;
        bool same;
    } cases[] = {
        {KIND_GOODFIRE, STEERED(FIVE), STEERED(SAME_CONTROLLER), true},
        {KIND_GOODFIRE, STEERED(FIVE), STEERED(CONTROLLER("5", "0.6")), false},
        {KIND_GOODFIRE, STEERED(FIVE), STEERED(CONTROLLER("6", "0.5")), false},
        {KIND_GOODFIRE, STEERED(FIVE), NOTHING, false},
        {KIND_GOODFIRE, STEERED("{\"scopes\":[]}"), NOTHING, true},
        {KIND_ECHO, STEERED(FIVE), STEERED(SAME_CONTROLLER), true},
        {KIND_ECHO, STEERED(FIVE), ADAPTED("a"), false},
        {KIND_ECHO, ADAPTED("b"), ADAPTED("a"), false},
        {KIND_ECHO, LORA("[{\"id\":1,\"scale\":1}]"), LORA("[{\"scale\":1.0,\"id\":1}]"), true},
        {KIND_ECHO, LORA("[{\"id\":1,\"scale\":1}]"), LORA("[{\"scale\":2.0,\"id\":1}]"), false},
        {KIND_LLAMA_SERVER, LORA("[{\"id\":1,\"scale\":1}]"), LORA("[{\"scale\":1.0,\"id\":1}]"), true},
        {KIND_LLAMA_SERVER, LORA("[{\"id\":1,\"scale\":1}]"), LORA("[{\"id\":1,\"scale\":2}]"), false},
        {KIND_LLAMA_SERVER, LORA("[{\"id\":1,\"scale\":1}]"), NOTHING, false},
        {KIND_VLLM, ADAPTED("a"), ADAPTED("b"), false},
        {KIND_VLLM, ADAPTED("m"), NOTHING, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_stage stage;
        char before[sizeof(stage.hex)];

        plain(&stage);
        key_kind(&stage, cases[i].kind);
        stage.steering[0] = cases[i].one;
        assert_int_equal(key_make(&stage), REPEAT_YES);
        memcpy(before, stage.hex, sizeof(before));
        stage.steering[0] = cases[i].other;
        assert_int_equal(key_make(&stage), REPEAT_YES);
        if ((strcmp(before, stage.hex) == 0) != cases[i].same)
            fail_msg("case %zu", i);
        key_stage_deinit(&stage);
    }
}

/* A controller that the client wrote, and the same one out of a configuration. */
static void written_or_configured(void **state)
{
    struct key_stage stage;
    char before[sizeof(stage.hex)];

    key_stage_init(&stage, &client_openai, CHAT_COMPLETION, CHAT ",\"seed\":7,\"controller\":" SAME_CONTROLLER "}");
    key_kind(&stage, KIND_GOODFIRE);
    stage.steering[0].controller = json_raw(&stage.doc, chat_field(&stage.request, FIELD_CONTROLLER));
    assert_int_equal(key_make(&stage), REPEAT_YES);
    memcpy(before, stage.hex, sizeof(before));
    key_stage_deinit(&stage);
    plain(&stage);
    key_kind(&stage, KIND_GOODFIRE);
    stage.steering[0].controller = BYTES(FIVE);
    assert_int_equal(key_make(&stage), REPEAT_YES);
    assert_string_equal(before, stage.hex);
    stage.steering[0].controller = BYTES(DEEP_EVENT);
    assert_int_equal(key_make(&stage), REPEAT_EVENT_NAME);
    key_stage_deinit(&stage);
}

/* vLLM must be told to go on with the last message; a client that says so itself says nothing new. */
static void prefills(void **state)
{
    static const char spoken[] =
        "{\"model\":\"m\",\"seed\":7,\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]";
    static const char *const members[] = {
        "", ",\"add_generation_prompt\":false,\"continue_final_message\":true", ",\"continue_final_message\":false"};
    char hex[3][2 * DIGEST_SIZE + 1];

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        char body[512];

        snprintf(body, sizeof(body), "%s%s}", spoken, members[i]);
        memcpy(hex[i], key_of(&client_openai, KIND_VLLM, CHAT_COMPLETION, body).hex, sizeof(hex[i]));
    }
    assert_string_equal(hex[0], hex[1]);
    assert_string_not_equal(hex[0], hex[2]);
}

/* More candidates and members than fit anywhere by hand. */
static void large(void **state)
{
    static char body[400000];
    size_t size = (size_t)snprintf(body, sizeof(body), "%s", CHAT ",\"seed\":7");
    struct key_stage stage;

    for (int i = 0; i < 20000; i++)
        size += (size_t)snprintf(body + size, sizeof(body) - size, ",\"x%d\":%d", (i * 7919) % 20000, i);
    snprintf(body + size, sizeof(body) - size, "}");
    key_stage_init(&stage, &client_openai, CHAT_COMPLETION, body);
    stage.count = KEY_ASKS;
    assert_int_equal(key_make(&stage), REPEAT_YES);
    key_stage_deinit(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(who_is_asked),
        cmocka_unit_test(a_model_nobody_renamed),
        cmocka_unit_test(the_order_of_asking_does_not_count),
        cmocka_unit_test(one_that_cannot_is_left_out),
        cmocka_unit_test(which_question_goes_to_whom),
        cmocka_unit_test(all_must_be_repeatable),
        cmocka_unit_test(parameters_of_the_configuration),
        cmocka_unit_test(what_is_beside_may_count),
        cmocka_unit_test(what_the_file_puts_beside_counts),
        cmocka_unit_test(both_doors_ask_the_same),
        cmocka_unit_test(logits_at_both_doors),
        cmocka_unit_test(steered),
        cmocka_unit_test(written_or_configured),
        cmocka_unit_test(prefills),
        cmocka_unit_test(large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
