/*
 * Conversations about logits: what is asked, what is answered, and the numbers that come of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "logits_scripts.h"

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
    talk = logits_start(
        &(struct backend_ask){
            .request = &request, .backend = &backend, .kind = KIND_VLLM, .upstream_model = BYTES("m"), .arena = &arena},
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
