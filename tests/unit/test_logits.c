/*
 * Conversations about logits: what is asked, what is answered, and the numbers that come of it.
 */
#include "dialect/logits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* in a table, what is not said is nothing */

/* One request of the gateway and its reply. */
struct turn {
    const char *path, *body; /* BODY NULL: not looked at; "GET": one without */
    unsigned status;
    const char *reply;
};

struct script {
    const char *title;
    enum config_kind kind;
    const char *client;
    int64_t top_k;
    enum logits_scale scale;
    struct chat_steering steering;
    struct turn turns[9];
    const char *answer;     /* NULL: fails */
    enum failure_kind failure;
};

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define ASKED "{\"model\":\"m\"," MESSAGES "}"
#define FILTER(list) "{\"model\":\"m\"," MESSAGES ",\"filter_vocabulary\":[" list "]}"
#define CHAT "{\"model\":\"m\"," MESSAGES ",\"temperature\":0,\"logprobs\":true"
#define CHAT_IDS(ids)                                                                                        \
    "{\"model\":\"m\"," MESSAGES ",\"logprob_token_ids\":[" ids "],\"return_tokens_as_token_ids\":true,"          \
    "\"temperature\":0,\"logprobs\":true,\"max_completion_tokens\":1}"
#define TOP(list) "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"q\",\"logprob\":-0.5,\"top_logprobs\":[" list "]}]}}]}"
#define T(token, value) "{\"token\":\"" token "\",\"logprob\":" value ",\"bytes\":null}"
#define TEMPLATE                                                                                             \
    {"/apply-template", "{\"model\":\"m\"," MESSAGES "}", 200, "{\"prompt\":\"<x>\\n\"}"}
#define TOKENIZE(text, ids)                                                                                  \
    {"/tokenize", "{\"content\":\"" text "\",\"add_special\":false,\"parse_special\":true}", 200,                \
     "{\"tokens\":[" ids "]}"}
#define HELPER TOKENIZE("a", "64")
#define LLAMA(n) "{\"prompt\":\"<x>\\n\",\"n_predict\":1,\"n_probs\":" n ",\"cache_prompt\":true,"             \
                 "\"response_fields\":[\"completion_probabilities\"]"
#define BEST(n) LLAMA(n) ",\"temperature\":0,\"logit_bias\":[[64,100]]}"
#define LIFTED(n, bias)                                                                                      \
    LLAMA(n) ",\"temperature\":1,\"samplers\":[\"temperature\"],\"post_sampling_probs\":true,\"logit_bias\":[" bias "]}"
#define PROBS(list) "{\"completion_probabilities\":[{\"id\":64,\"top_logprobs\":[" list "]}]}"
#define AFTER(list) "{\"completion_probabilities\":[{\"id\":64,\"top_probs\":[" list "]}]}"
#define L(id, token, bytes, value)                                                                           \
    "{\"id\":" id ",\"token\":\"" token "\",\"bytes\":[" bytes "],\"logprob\":" value "}"
#define P(id, value) "{\"id\":" id ",\"prob\":" value "}"
#define TAIL(scale, unanswered) ",\"scale\":\"" scale "\",\"unanswered\":[" unanswered "],\"model\":\"m\"}"

static const struct script scripts[] = {
    {"openai: the best, in order, digits as they came", KIND_OPENAI, ASKED, 3, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":13,\"max_tokens\":1}", 200,
       TOP(T("b", "-1.50") "," T(" a", "-0.1000001") "," T("b", "-1.4") "," T("\xef\xbf\xbd", "-0.2") "," T(
           "c", "-3") "," T("d", "-9999.0"))}},
     "{\"logits\":{\" a\":-0.1000001,\"b\":-1.4,\"c\":-3}" TAIL("logprob", "")},
    {"openai: no more than 20", KIND_OPENAI, ASKED, 50, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":20,\"max_tokens\":1}", 200, TOP(T("b", "-1"))}},
     "{\"logits\":{\"b\":-1}" TAIL("logprob", "")},
    {"openai: a server that tells fewer", KIND_OPENAI, ASKED, 5, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":15,\"max_tokens\":1}", 400, "{\"error\":\"top 5\"}"},
      {"/v1/chat/completions", CHAT ",\"top_logprobs\":5,\"max_tokens\":1}", 200, TOP(T("b", "-1"))}},
     "{\"logits\":{\"b\":-1}" TAIL("logprob", "")},
    {"openai: bytes know better than the token", KIND_OPENAI, ASKED, 5, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", NULL, 200,
       TOP("{\"token\":\"\\\\xe2\\\\x82\",\"logprob\":-1,\"bytes\":[226,130]},"
           "{\"token\":\"?\",\"logprob\":-2,\"bytes\":[226,130,172]},"
           "{\"token\":\"?\",\"logprob\":-2,\"bytes\":[300]}")}},
     "{\"logits\":{\"\xe2\x82\xac\":-2}" TAIL("logprob", "")},
    {"openai: probabilities", KIND_OPENAI, ASKED, 5, SCALE_PROB, {{0}},
     {{"/v1/chat/completions", NULL, 200, TOP(T("b", "-1e3") "," T("c", "0"))}},
     "{\"logits\":{\"c\":1,\"b\":0}" TAIL("prob", "")},
    {"openai: no log-probabilities", KIND_OPENAI, ASKED, 5, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", NULL, 200, "{\"choices\":[{\"logprobs\":null}]}"}}, NULL, FAIL_UNSUPPORTED},
    {"ollama: a filter is met by text", KIND_OLLAMA, FILTER("\"b\",\"zz\",\"b\",\"\\u0063\""), 1, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":20,\"max_tokens\":1}", 200,
       TOP(T("a", "-0.1") "," T("b", "-1") "," T("b", "-2") "," T("c", "-3"))}},
     "{\"logits\":{\"b\":-1,\"c\":-3}" TAIL("logprob", "\"zz\"")},

    {"vllm: the best", KIND_VLLM, ASKED, 2, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":12,\"max_completion_tokens\":1}", 200,
       TOP(T("<|eot_id|>", "-0.1") "," T("", "-0.2") "," T("b", "-1") "," T("c", "-2"))}},
     "{\"logits\":{\"<|eot_id|>\":-0.1,\"b\":-1}" TAIL("logprob", "")},
    {"vllm: more than 20, refused", KIND_VLLM, ASKED, 30, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", CHAT ",\"top_logprobs\":30,\"max_completion_tokens\":1}", 400, "{}"},
      {"/v1/chat/completions", CHAT ",\"top_logprobs\":20,\"max_completion_tokens\":1}", 200, TOP(T("b", "-1"))}},
     "{\"logits\":{\"b\":-1}" TAIL("logprob", "")},
    {"vllm: true logits", KIND_VLLM, ASKED, 2, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", NULL, 200, TOP(T("b", "17.25") "," T("c", "-2"))}},
     "{\"logits\":{\"b\":17.25,\"c\":-2}" TAIL("logit", "")},
    {"vllm: true logits are no probabilities", KIND_VLLM, ASKED, 2, SCALE_PROB, {{0}},
     {{"/v1/chat/completions", NULL, 200, TOP(T("b", "17.25") "," T("c", "-2"))}}, NULL, FAIL_UNSUPPORTED},
    {"vllm: a filter, by id", KIND_VLLM, FILTER("\" yes\",\"two tokens\",\"no\",\"<|eot_id|>\""), 1, SCALE_ANY, {{0}},
     {{"/tokenize", "{\"model\":\"m\",\"prompt\":\" yes\",\"add_special_tokens\":false}", 200, "{\"tokens\":[9]}"},
      {"/tokenize", NULL, 200, "{\"tokens\":[1,2]}"},
      {"/tokenize", NULL, 200, "{\"tokens\":[5]}"},
      {"/tokenize", NULL, 200, "{\"tokens\":[100]}"},
      {"/v1/chat/completions",
       CHAT_IDS("5,9,100"), 200,
       TOP(T("token_id:9", "-2.5") "," T("token_id:7", "-0.1") "," T("token_id:5", "-1.50") "," T("x", "-1"))}},
     "{\"logits\":{\"no\":-1.50,\" yes\":-2.5}" TAIL("logprob", "\"two tokens\",\"<|eot_id|>\"")},
    {"vllm: one that does not know ids", KIND_VLLM, FILTER("\"no\""), 1, SCALE_ANY, {{0}},
     {{"/tokenize", NULL, 200, "{\"tokens\":[5]}"},
      {"/v1/chat/completions", CHAT_IDS("5"), 200, TOP("")},
      {"/v1/chat/completions",
       "{\"model\":\"m\"," MESSAGES ",\"return_tokens_as_token_ids\":true,\"temperature\":0,\"logprobs\":true,"
       "\"top_logprobs\":20,\"max_completion_tokens\":1}",
       200, TOP(T("token_id:5", "-4"))}},
     "{\"logits\":{\"no\":-4}" TAIL("logprob", "")},
    {"vllm: nothing that is one token", KIND_VLLM, FILTER("\"a b\""), 1, SCALE_ANY, {{0}},
     {{"/tokenize", NULL, 200, "{\"tokens\":[1,2]}"}}, "{\"logits\":{}" TAIL("logprob", "\"a b\"")},
    {"vllm: an adapter", KIND_VLLM, ASKED, 2, SCALE_ANY, {.adapter = {"ad", 2}},
     {{"/v1/chat/completions",
       "{\"model\":\"ad\"," MESSAGES
       ",\"temperature\":0,\"logprobs\":true,\"top_logprobs\":12,\"max_completion_tokens\":1}",
       200, TOP(T("b", "-1"))}},
     "{\"logits\":{\"b\":-1}" TAIL("logprob", "")},

    {"sglang: the best", KIND_SGLANG, ASKED, 2, SCALE_ANY, {.adapter = {"base:ad", 7}},
     {{"/v1/chat/completions",
       "{\"model\":\"base:ad\"," MESSAGES
       ",\"return_prompt_token_ids\":true,\"temperature\":0,\"max_completion_tokens\":1}",
       200, "{\"choices\":[{\"prompt_token_ids\":[1,2,3]}]}"},
      {"/generate",
       "{\"input_ids\":[1,2,3],\"sampling_params\":{\"max_new_tokens\":1,\"temperature\":0},\"return_logprob\":true,"
       "\"top_logprobs_num\":12,\"return_text_in_logprobs\":true,\"lora_path\":\"ad\"}",
       200, "{\"meta_info\":{\"output_top_logprobs\":[[[-0.5,4,\"x\"],[-1.0,5,\"y\"],[-2,6,\"z\"],[-0.1,7,null]]]}}"}},
     "{\"logits\":{\"x\":-0.5,\"y\":-1.0}" TAIL("logprob", "")},
    {"sglang: a filter", KIND_SGLANG, FILTER("\"y\",\"a b\",\"x\""), 2, SCALE_ANY, {{0}},
     {{"/tokenize", "{\"model\":\"m\",\"prompt\":[\"y\",\"a b\",\"x\"],\"add_special_tokens\":false}", 200,
       "{\"tokens\":[[5],[1,2],[4]]}"},
      {"/v1/chat/completions", NULL, 200, "{\"choices\":[{\"prompt_token_ids\":[1]}]}"},
      {"/generate",
       "{\"input_ids\":[1],\"sampling_params\":{\"max_new_tokens\":1,\"temperature\":0},\"return_logprob\":true,"
       "\"token_ids_logprob\":[4,5]}",
       200, "{\"meta_info\":{\"output_token_ids_logprobs\":[[[-7.5,5,null],[-1.25,4,null]]]}}"}},
     "{\"logits\":{\"x\":-1.25,\"y\":-7.5}" TAIL("logprob", "\"a b\"")},
    {"sglang: one that does not tell the prompt", KIND_SGLANG, ASKED, 2, SCALE_ANY, {{0}},
     {{"/v1/chat/completions", NULL, 200, "{\"choices\":[{}]}"}}, NULL, FAIL_UNSUPPORTED},
    {"sglang: a trailing assistant message", KIND_SGLANG,
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]}", 2, SCALE_ANY, {{0}}, {{NULL}}, NULL,
     FAIL_UNSUPPORTED},

    {"llama-server: the best, and a special token's name", KIND_LLAMA_SERVER, ASKED, 3, SCALE_ANY, {{0}},
     {TEMPLATE, HELPER,
      {"/completion", BEST("13"), 200,
       PROBS(L("7", " b", "32,98", "-0.25") "," L("9", "", "", "-1.5") "," L("8", "", "226,130", "-1.0") "," L(
           "5", "c", "99", "-2.0") "," L("4", "d", "100", "-3"))},
      {"/detokenize", "{\"tokens\":[9]}", 200, "{\"content\":\"<|eot_id|>\"}"}},
     "{\"logits\":{\" b\":-0.25,\"<|eot_id|>\":-1.5,\"c\":-2.0}" TAIL("logprob", "")},
    {"llama-server: adapters", KIND_LLAMA_SERVER, ASKED, 1, SCALE_ANY, {.lora = {"[{\"id\":0,\"scale\":1}]", 20}},
     {{"/apply-template", NULL, 200, "{\"prompt\":\"<x>\\n\"}"}, HELPER,
      {"/completion", LLAMA("11") ",\"lora\":[{\"id\":0,\"scale\":1}],\"temperature\":0,\"logit_bias\":[[64,100]]}", 200,
       PROBS(L("7", "b", "98", "-0.25"))}},
     "{\"logits\":{\"b\":-0.25}" TAIL("logprob", "")},
    {"llama-server: a filter among the best", KIND_LLAMA_SERVER, FILTER("\"b\",\"two\""), 1, SCALE_ANY, {{0}},
     {TEMPLATE, TOKENIZE("b", "7"), TOKENIZE("two", "1,2"), HELPER,
      {"/completion", BEST("11"), 200, PROBS(L("7", "b", "98", "-0.25"))}},
     "{\"logits\":{\"b\":-0.25}" TAIL("logprob", "\"two\"")},
    /* the best token 7: p = e^-40; token 5 is e^-2 of it */
    {"llama-server: a filter that must be lifted", KIND_LLAMA_SERVER, FILTER("\"b\",\"c\""), 1, SCALE_ANY, {{0}},
     {TEMPLATE, TOKENIZE("b", "7"), TOKENIZE("c", "5"), HELPER,
      {"/completion", BEST("11"), 200, PROBS(L("7", "b", "98", "-0.25"))},
      {"/completion", LIFTED("4", "[64,60],[7,20],[5,20]"), 200, AFTER(P("64", "1.0") "," P("7", "0.5") "," P("5", "0.125"))}},
     "{\"logits\":{\"b\":-0.25,\"c\":-1.6362943611198906}" TAIL("logprob", "")},
    {"llama-server: the helper itself is asked for", KIND_LLAMA_SERVER, FILTER("\"a\""), 1, SCALE_ANY, {{0}},
     {TEMPLATE, HELPER, HELPER, {"/completion", BEST("11"), 200, PROBS(L("7", "b", "98", "0"))},
      {"/completion", LIFTED("4", "[64,60],[7,20]"), 200, AFTER(P("64", "0.5") "," P("7", "0.5"))}},
     "{\"logits\":{\"a\":-40}" TAIL("logprob", "")},
    {"llama-server: too improbable to be lifted", KIND_LLAMA_SERVER, FILTER("\"c\",\"z\""), 1, SCALE_ANY, {{0}},
     {TEMPLATE, TOKENIZE("c", "5"), TOKENIZE("z", "6"), HELPER,
      {"/completion", BEST("11"), 200, PROBS(L("7", "b", "98", "-0.25"))},
      {"/completion", NULL, 200, AFTER(P("64", "1.0") "," P("7", "0.5") "," P("5", "0.0"))},
      {"/v1/models", "GET", 200, "{\"data\":[{\"id\":\"m\",\"meta\":{\"n_vocab\":704}}]}"},
      {"/completion", BEST("704"), 200, PROBS(L("7", "b", "98", "-0.25") "," L("5", "c", "99", "-95.50"))}},
     "{\"logits\":{\"c\":-95.50}" TAIL("logprob", "\"z\"")},
    {"llama-server: loading", KIND_LLAMA_SERVER, ASKED, 1, SCALE_ANY, {{0}},
     {{"/apply-template", NULL, 503, "{\"error\":{\"message\":\"Loading model\",\"code\":503}}"}}, NULL,
     FAIL_UPSTREAM_LOADING},
    {"llama-server: a trailing assistant message", KIND_LLAMA_SERVER,
     "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I\"}]}", 2, SCALE_ANY, {{0}}, {{NULL}}, NULL,
     FAIL_UNSUPPORTED},
    {"not JSON", KIND_LLAMA_SERVER, ASKED, 1, SCALE_ANY, {{0}}, {{"/apply-template", NULL, 200, "<html>"}}, NULL,
     FAIL_UPSTREAM_BAD},
    {"steering nobody there can do", KIND_LLAMA_SERVER, ASKED, 1, SCALE_ANY, {.controller = {"{}", 2}}, {{NULL}}, NULL,
     FAIL_STEERING},

    {"goodfire: as it is", KIND_GOODFIRE,
     "{" MESSAGES ",\"top_k\":5,\"filter_vocabulary\":null,\"model\":\"public\",\"scale\":\"logit\"}", 5, SCALE_ANY,
     {.controller = {"{\"a\":1}", 7}},
     {{"/api/inference/v1/chat-attribution/compute-logits",
       "{" MESSAGES ",\"top_k\":5,\"model\":\"m\",\"controller\":{\"a\":1}}", 200, "{ \"logits\" : {\"x\": 1.50} , \"y\":1}"}},
     "{ \"logits\" : {\"x\": 1.50} , \"y\":1}"},
    {"goodfire: no logits", KIND_GOODFIRE, ASKED, 5, SCALE_ANY, {{0}}, {{NULL, NULL, 200, "{\"logits\":[]}"}}, NULL,
     FAIL_UPSTREAM_BAD},
    {"goodfire: no probabilities", KIND_GOODFIRE, ASKED, 5, SCALE_PROB, {{0}}, {{NULL}}, NULL, FAIL_UNSUPPORTED},
};

static void expect_text(struct bytes text, const char *expected, const char *what)
{
    if (bytes_equal(text, bytes_of(expected)))
        return;
    print_error("%s\n  got      %.*s\n  expected %s\n", what, BYTES_ARG(text), expected);
    fail();
}

static void expect_turn(const struct script *script, const struct turn *turn, const struct backend_request *request)
{
    assert_non_null(turn->reply);
    if (turn->path)
        expect_text(request->path, turn->path, script->title);
    assert_int_equal(request->get, turn->body && strcmp(turn->body, "GET") == 0);
    if (turn->body && !request->get)
        expect_text(request->body, turn->body, script->title);
}

static void expect_failure(const struct script *script, const struct failure *failure)
{
    if (script->answer || failure->kind != script->failure)
        print_error("%s: %.*s\n", script->title, BYTES_ARG(failure->message));
    assert_null(script->answer);
    assert_int_equal(failure->kind, script->failure);
    assert_true(failure->message.size > 0);
}

static void play(const struct script *script, struct logits_talk *talk)
{
    const struct turn *turn = script->turns;
    struct backend_request request;
    struct bytes answer;
    struct failure failure;
    enum logits_verdict verdict = logits_next(talk, 0, BYTES_NONE, &request, &answer, &failure);

    for (; verdict == LOGITS_ASK; turn++) {
        expect_turn(script, turn, &request);
        verdict = logits_next(talk, turn->status, bytes_of(turn->reply), &request, &answer, &failure);
    }
    if (verdict == LOGITS_FAILED) {
        expect_failure(script, &failure);
        return;
    }
    assert_non_null(script->answer);
    expect_text(answer, script->answer, script->title);
    assert_null(turn->reply);
}

static void run(const struct script *script)
{
    struct config_backend backend = {.kind = script->kind, .root = BYTES("")};
    struct chat_request request = {.operation = CHAT_LOGITS};
    struct logits_talk *talk;
    struct failure failure;
    struct json_doc doc;
    struct arena arena;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_of(script->client)), 0);
    assert_int_equal(chat_request_index(&request, &doc, &arena, &failure), 0);
    request.operation = CHAT_LOGITS;
    request.model = json_text(&doc, chat_field(&request, FIELD_MODEL), &arena);
    request.top_k = script->top_k;
    request.scale = script->scale;
    talk = logits_start(&(struct backend_ask){.request = &request,
                                              .client = SHAPE_OPENAI,
                                              .backend = &backend,
                                              .kind = script->kind,
                                              .upstream_model = BYTES("m"),
                                              .steering = &script->steering,
                                              .arena = &arena},
                        &failure);
    if (talk)
        play(script, talk);
    else
        expect_failure(script, &failure);
    logits_free(talk);
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

static void conversations(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
        run(&scripts[i]);
}

/* 130 strings are two batches. */
static void ids_are_asked_for_128_at_a_time(void **state)
{
    struct config_backend backend = {.kind = KIND_VLLM, .root = BYTES("")};
    struct chat_request request = {.operation = CHAT_LOGITS};
    struct backend_request asked;
    struct logits_talk *talk;
    struct failure failure;
    struct bytes answer;
    struct buffer body;
    struct json_doc doc;
    struct arena arena;
    unsigned ids[2] = {0}, batches = 0, tokens = 0;
    enum logits_verdict verdict;

    arena_init(&arena);
    buffer_init(&body);
    buffer_append_text(&body, "{\"model\":\"m\"," MESSAGES ",\"filter_vocabulary\":[");
    for (int i = 0; i < 130; i++)
        buffer_printf(&body, "%s\"t%d\"", i ? "," : "", i);
    buffer_append_text(&body, "]}");
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, buffer_bytes(&body)), 0);
    assert_int_equal(chat_request_index(&request, &doc, &arena, &failure), 0);
    talk = logits_start(&(struct backend_ask){.request = &request,
                                              .backend = &backend,
                                              .kind = KIND_VLLM,
                                              .upstream_model = BYTES("m"),
                                              .arena = &arena},
                        &failure);
    verdict = logits_next(talk, 0, BYTES_NONE, &asked, &answer, &failure);
    while (verdict == LOGITS_ASK) {
        struct bytes reply = arena_printf(&arena, "{\"tokens\":[%u]}", tokens);

        if (bytes_equal(asked.path, BYTES("/tokenize"))) {
            tokens++;
        } else {
            size_t at = bytes_find(asked.body, BYTES("\"logprob_token_ids\":["));
            struct bytes list = bytes_skip(asked.body, at);

            for (size_t i = 0; list.data[i] != ']'; i++)
                ids[batches] += list.data[i] == '[' || list.data[i] == ',';
            reply = batches++ ? BYTES(TOP(T("token_id:129", "-2"))) : BYTES(TOP(T("token_id:0", "-1")));
        }
        verdict = logits_next(talk, 200, reply, &asked, &answer, &failure);
    }
    assert_int_equal(verdict, LOGITS_DONE);
    assert_int_equal(batches, 2);
    assert_int_equal(ids[0], 128);
    assert_int_equal(ids[1], 2);
    assert_true(bytes_start_with(answer, BYTES("{\"logits\":{\"t0\":-1,\"t129\":-2},")));
    logits_free(talk);
    json_doc_deinit(&doc);
    buffer_deinit(&body);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations),
        cmocka_unit_test(ids_are_asked_for_128_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
