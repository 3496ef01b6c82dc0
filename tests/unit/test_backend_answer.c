/*
 * Answers and errors of each kind of backend: streams event by event, whole bodies, and every shape of an
 * error.
 */
#include "dialect/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* What the answers of all tests are read with, by turns. */
static struct json_doc scratch;

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* in a table, what is not said is nothing */

#define BEGIN "{\"id\":\"i\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":["
#define DELTA(text, finish) BEGIN "{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":" finish "}]}"
#define CHOICE(index, finish) BEGIN "{\"index\":" index ",\"delta\":{},\"finish_reason\":" finish "}]}"
#define USAGE "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}"

enum seen { CHUNK, COUNT, NOTHING, DONE, FAILED };

/* One event, what is seen of it, and the payload or failure it becomes (NULL: the event itself). */
struct step {
    const char *data;
    enum seen seen;
    const char *payload;
    enum failure_kind failure;
    const char *name;
};

struct story {
    const char *title;
    enum config_kind kind;
    struct step steps[8];
    bool ends_well; /* when the body ends after the last step */
};

static const struct story stories[] = {
    {"a plain stream",
     KIND_VLLM,
     {{BEGIN "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}"},
      {DELTA("a", "null")},
      {DELTA("\\n\\\"b\xc3\xa9", "null")},
      {DELTA("\\u00e9", "null")},
      {CHOICE("0", "\"stop\"")},
      {"{\"choices\":[]," USAGE "}", COUNT},
      {"[DONE]", DONE}},
     true},
    {"no [DONE]", KIND_OPENAI, {{DELTA("a", "null")}, {DELTA("b", "\"length\"")}}, true},
    {"no finish", KIND_OPENAI, {{DELTA("a", "null")}, {DELTA("b", "null")}}, false},
    {"no finish, but [DONE]",
     KIND_OPENAI,
     {{DELTA("a", "null")}, {"[DONE]", FAILED, NULL, FAIL_UPSTREAM_RESET}},
     false},
    {"nothing at all", KIND_OPENAI, {{"", NOTHING}}, false},
    {"[DONE] at once", KIND_OPENAI, {{" [DONE] ", FAILED, NULL, FAIL_UPSTREAM_RESET}}, false},
    {"two choices",
     KIND_OPENAI,
     {{CHOICE("0", "null")},
      {CHOICE("1", "null")},
      {CHOICE("0", "\"stop\"")},
      {CHOICE("1", "\"stop\"")},
      {"[DONE]", DONE}},
     true},
    {"one choice of two is missing its end",
     KIND_OPENAI,
     {{CHOICE("0", "null")},
      {CHOICE("127", "null")},
      {CHOICE("0", "\"stop\"")},
      {"[DONE]", FAILED, NULL, FAIL_UPSTREAM_RESET}},
     false},
    {"an index nobody asked for", KIND_OPENAI, {{CHOICE("128", "null"), FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"an index that is none", KIND_OPENAI, {{CHOICE("\"0\"", "null"), FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"reasons by other names",
     KIND_OPENAI,
     {{CHOICE("0", "\"eos_token\""), CHUNK, CHOICE("0", "\"stop\"")},
      {CHOICE("1", "\"max_tokens\""), CHUNK, CHOICE("1", "\"length\"")},
      {CHOICE("2", "\"tool_use\""), CHUNK, CHOICE("2", "\"tool_calls\"")},
      {CHOICE("3", "\"function_call\"")},
      {CHOICE("4", "\"whatever\"")},
      {"[DONE]", DONE}},
     true},
    {"an empty reason is none", KIND_OPENAI, {{CHOICE("0", "\"\""), CHUNK, CHOICE("0", "null")}}, false},
    {"aborted", KIND_VLLM, {{DELTA("a", "null")}, {DELTA("", "\"abort\""), FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"reason that is no text", KIND_VLLM, {{DELTA("a", "5"), FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"no key for the reason",
     KIND_OPENAI,
     {{"{\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0}]}", CHUNK,
       "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0,\"finish_reason\":null}]}"},
      {"{\"choices\":[{\"delta\":{\"content\":\"bcd\"},\"index\":0}]}", CHUNK,
       "{\"choices\":[{\"delta\":{\"content\":\"bcd\"},\"index\":0,\"finish_reason\":null}]}"},
      {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}", CHUNK,
       "{\"choices\":[{\"index\":0,\"finish_reason\":null,\"delta\":{\"content\":\"a\"}}]}"},
      {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}", CHUNK,
       "{\"choices\":[{\"index\":0,\"finish_reason\":null,\"delta\":{\"content\":\"\"}}]}"},
      {CHOICE("0", "\"stop\"")}},
     true},
    {"lines joined",
     KIND_OPENAI,
     {{"{\"choices\":[{\"index\":0,\n\"delta\":{},\r\n\"finish_reason\":null}]}", CHUNK,
       "{\"choices\":[{\"index\":0, \"delta\":{},  \"finish_reason\":null}]}"},
      {DELTA("x", "\"stop\"")}},
     true},
    {"a broken string is not taken for a known frame",
     KIND_OPENAI,
     {{DELTA("a", "null")}, {DELTA("a\x01", "null"), FAILED, NULL, FAIL_UPSTREAM_BAD}},
     false},
    {"a cut escape is not taken for a known frame",
     KIND_OPENAI,
     {{DELTA("a", "null")}, {DELTA("a\\", "null"), FAILED, NULL, FAIL_UPSTREAM_BAD}},
     false},
    {"bad UTF-8 is not taken for a known frame",
     KIND_OPENAI,
     {{DELTA("a", "null")}, {DELTA("a\xff", "null"), FAILED, NULL, FAIL_UPSTREAM_BAD}},
     false},
    {"a quote is not taken for a known frame",
     KIND_OPENAI,
     {{DELTA("a", "null")}, {DELTA("\"},\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{\"content\":\"x", "null")}},
     false},
    {"usage in the finish chunk",
     KIND_OPENAI,
     {{BEGIN "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]," USAGE "}"}},
     true},
    {"chunks without choices",
     KIND_OPENAI,
     {{"{\"choices\":[],\"prompt_filter_results\":[]}"}, {"{\"moderation\":{}}"}, {CHOICE("0", "\"stop\"")}},
     true},
    {"not JSON", KIND_OPENAI, {{"<html>", FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"not an object", KIND_OPENAI, {{"[1]", FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"choices that are none", KIND_OPENAI, {{"{\"choices\":{}}", FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"a choice that is none", KIND_OPENAI, {{"{\"choices\":[3]}", FAILED, NULL, FAIL_UPSTREAM_BAD}}, false},
    {"an error",
     KIND_VLLM,
     {{DELTA("a", "null")},
      {"{\"error\":{\"message\":\"out of memory\",\"type\":\"x\",\"code\":500}}", FAILED, "out of memory",
       FAIL_UPSTREAM_FAILED}},
     false},
    {"an error that is the client's",
     KIND_SGLANG,
     {{"{\"error\":{\"message\":\"bad\",\"code\":400}}", FAILED, "bad", FAIL_UPSTREAM_REFUSED}},
     false},
    {"a flat error",
     KIND_SGLANG,
     {{"{\"object\":\"error\",\"message\":\"flat\",\"code\":503}", FAILED, "flat", FAIL_OVERLOADED}},
     false},
    {"a named error",
     KIND_OPENAI,
     {{"{\"error\":{\"message\":\"named\"}}", FAILED, "named", FAIL_UPSTREAM_FAILED, "error"}},
     false},
    {"an old llama.cpp's line",
     KIND_LLAMA_SERVER,
     {{"{\"code\":500,\"message\":\"line\",\"type\":\"server_error\"}", FAILED, "line", FAIL_UPSTREAM_FAILED, "error"}},
     false},
    {"an error that is text", KIND_OPENAI, {{"{\"error\":\"text\"}", FAILED, "text", FAIL_UPSTREAM_FAILED}}, false},
    {"an error that is no JSON", KIND_OPENAI, {{"oh\tno", FAILED, "oh no", FAIL_UPSTREAM_FAILED, "error"}}, false},
    {"TGI's error",
     KIND_OPENAI,
     {{"{\"error\":{\"message\":\"tgi\",\"http_status_code\":422}}", FAILED, "tgi", FAIL_UPSTREAM_REFUSED}},
     false},
    {"mistral.rs's error", KIND_OPENAI, {{"{\"message\":\"m\"}", FAILED, "m", FAIL_UPSTREAM_FAILED}}, false},
    {"error: null is none",
     KIND_OPENAI,
     {{"{\"error\":null,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"}},
     true},
    {"an Ollama that failed in the middle",
     KIND_OLLAMA,
     {{"{\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":null}"
       "]}",
       CHUNK, "{\"id\":ID,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":null}]}"},
      {"{\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"next\"},\"finish_reason\":"
       "null}]}",
       CHUNK, "{\"id\":ID,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"next\"},\"finish_reason\":null}]}"}},
     false},
    {"Goodfire",
     KIND_GOODFIRE,
     {{"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"gf_token_index\":0,\"finish_reason\":null}"
       "]}"},
      {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"gf_token_index\":1,\"finish_reason\":"
       "\"stop\"}]}"}},
     true},
};

static void expect_text(struct bytes text, const char *expected, const char *what)
{
    if (bytes_equal(text, bytes_of(expected)))
        return;
    print_error("%s\n  got      %.*s\n  expected %s\n", what, BYTES_ARG(text), expected);
    fail();
}

/* EXPECTED with ID replaced by the answer's own. */
static struct bytes with_id(struct arena *arena, const char *expected, struct bytes id)
{
    size_t at = bytes_find(bytes_of(expected), BYTES("ID"));

    if (at == strlen(expected) || !id.size)
        return bytes_of(expected);
    return arena_printf(arena, "%.*s%.*s%s", (int)at, expected, BYTES_ARG(id), expected + at + 2);
}

/* False: the answer is over. */
static bool take_step(struct backend_answer *answer, const struct story *story, const struct step *step)
{
    static const enum backend_verdict verdicts[] = {BACKEND_EVENT, BACKEND_EVENT, BACKEND_NOTHING, BACKEND_DONE,
                                                    BACKEND_FAILED};
    struct failure failure = {0};
    struct chat_event event = {0};
    enum backend_verdict verdict =
        backend_read_event(answer, bytes_of(step->name), bytes_of(step->data), &event, &failure);

    if (verdict != verdicts[step->seen])
        print_error("%s: %s\n", story->title, step->data);
    assert_int_equal(verdict, verdicts[step->seen]);
    if (verdict == BACKEND_FAILED) {
        if (failure.kind != step->failure)
            print_error("%s\n", story->title);
        assert_int_equal(failure.kind, step->failure);
        if (step->payload)
            expect_text(failure.message, step->payload, story->title);
        assert_true(failure.message.size > 0);
        return false;
    }
    if (verdict == BACKEND_EVENT) {
        struct bytes expected = with_id(answer->arena, step->payload ? step->payload : step->data, answer->id);

        assert_int_equal(event.kind, step->seen == COUNT ? EVENT_USAGE : EVENT_CHUNK);
        assert_int_equal(event.shape, story->kind == KIND_GOODFIRE ? SHAPE_GOODFIRE : SHAPE_OPENAI);
        expect_text(event.payload, arena_copy(answer->arena, expected).data, story->title);
    }
    return true;
}

static void streams(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(stories); i++) {
        const struct story *story = &stories[i];
        struct backend_answer answer;
        struct failure failure;
        struct arena arena;
        bool going = true;

        arena_init(&arena);
        backend_answer_init(&answer, story->kind, NULL, &arena, &scratch);
        for (size_t s = 0; going && s < ARRAY_SIZE(story->steps) && story->steps[s].data; s++)
            going = take_step(&answer, story, &story->steps[s]);
        if (going) {
            enum backend_verdict end = backend_read_end(&answer, &failure);

            if (end != (story->ends_well ? BACKEND_DONE : BACKEND_FAILED))
                print_error("%s\n", story->title);
            assert_int_equal(end, story->ends_well ? BACKEND_DONE : BACKEND_FAILED);
        }
        backend_answer_deinit(&answer);
        arena_deinit(&arena);
    }
}

static void usage_is_counted(void **state)
{
    struct backend_answer answer;
    struct chat_event event;
    struct failure failure;
    struct arena arena;

    arena_init(&arena);
    backend_answer_init(&answer, KIND_VLLM, NULL, &arena, &scratch);
    assert_true(answer.prompt_tokens == -1 && answer.completion_tokens == -1);
    backend_read_event(&answer, BYTES_NONE, BYTES(DELTA("a", "null")), &event, &failure);
    backend_read_event(&answer, BYTES_NONE, BYTES("{\"choices\":[]," USAGE "}"), &event, &failure);
    assert_true(answer.prompt_tokens == 3 && answer.completion_tokens == 2);
    backend_answer_deinit(&answer);
    arena_deinit(&arena);
}

/* Every token of a long stream reads the same as it would alone. */
static void frames_change_nothing(void **state)
{
    static const char *const texts[] = {"", "a", "\\\"", " b", "\\\\", "\xf0\x9f\x94\xa5", "\\ud83d\\ude00", "\\t/\\/"};
    static const enum config_kind kinds[] = {KIND_OPENAI, KIND_OLLAMA};
    struct arena arena;

    arena_init(&arena);
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct backend_answer answer, fresh;
        struct chat_event one, other;
        struct failure failure;

        backend_answer_init(&answer, kinds[k], NULL, &arena, &scratch);
        for (unsigned i = 0; i < 64; i++) {
            struct bytes event = arena_printf(
                &arena, "{\"id\":\"x\",\"created\":%u,\"choices\":[{\"delta\":{\"content\":\"%s\"},\"index\":0}]}",
                i / 9, texts[i % ARRAY_SIZE(texts)]);

            backend_answer_init(&fresh, kinds[k], NULL, &arena, &scratch);
            fresh.id = answer.id;
            assert_int_equal(backend_read_event(&answer, BYTES_NONE, event, &one, &failure), BACKEND_EVENT);
            assert_int_equal(backend_read_event(&fresh, BYTES_NONE, event, &other, &failure), BACKEND_EVENT);
            expect_text(one.payload, arena_copy(&arena, other.payload).data, "frame");
            backend_answer_deinit(&fresh);
        }
        backend_answer_deinit(&answer);
    }
    arena_deinit(&arena);
}

static void whole_answers(void **state)
{
    static const struct {
        enum config_kind kind;
        const char *body, *payload; /* NULL: fails */
        enum failure_kind failure;
    } cases[] = {
        {KIND_OPENAI, "{\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]," USAGE "}",
         "{\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]," USAGE "}", 0},
        {KIND_OPENAI, "{\"choices\":[{\"message\":{},\"finish_reason\":\"end_turn\"}]}",
         "{\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]}", 0},
        {KIND_OLLAMA, "{\"id\":\"chatcmpl-9\",\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]}",
         "{\"id\":ID,\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]}", 0},
        {KIND_GOODFIRE, "{\"choices\":[{\"message\":{},\"finish_reason\":\"length\"}]}",
         "{\"choices\":[{\"message\":{},\"finish_reason\":\"length\"}]}", 0},
        {KIND_OPENAI, "{\"choices\":[{\"message\":{},\"finish_reason\":null}]}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{\"choices\":[{\"message\":{}}]}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{\"choices\":[{\"message\":{},\"finish_reason\":\"abort\"}]}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{\"choices\":[{\"finish_reason\":\"stop\"}]}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{\"choices\":[]}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{}", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "[]", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "<html>", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "", NULL, FAIL_UPSTREAM_BAD},
        {KIND_OPENAI, "{\"error\":{\"message\":\"no\"}}", NULL, FAIL_UPSTREAM_FAILED},
        {KIND_SGLANG, "{\"object\":\"error\",\"message\":\"no\",\"code\":400}", NULL, FAIL_UPSTREAM_REFUSED},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct backend_answer answer;
        struct chat_event event;
        struct failure failure;
        struct arena arena;
        enum backend_verdict verdict;

        arena_init(&arena);
        backend_answer_init(&answer, cases[i].kind, NULL, &arena, &scratch);
        verdict = backend_read_body(&answer, bytes_of(cases[i].body), &event, &failure);
        if (cases[i].payload) {
            assert_int_equal(verdict, BACKEND_EVENT);
            assert_int_equal(event.kind, EVENT_BODY);
            expect_text(event.payload, arena_copy(&arena, with_id(&arena, cases[i].payload, answer.id)).data,
                        cases[i].body);
        } else {
            assert_int_equal(verdict, BACKEND_FAILED);
            assert_int_equal(failure.kind, cases[i].failure);
            assert_true(bytes_find(failure.message, BYTES("<html>")) == failure.message.size);
        }
        backend_answer_deinit(&answer);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams),
        cmocka_unit_test(usage_is_counted),
        cmocka_unit_test(frames_change_nothing),
        cmocka_unit_test(whole_answers),
    };

    int failed;

    json_doc_init(&scratch, ANSWER_JSON_LIMITS);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_doc_deinit(&scratch);
    return failed;
}
