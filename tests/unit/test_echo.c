/*
 * The echo: what it says, in how many pieces, and that equal questions get equal numbers.
 */
#include "json/json_doc.h"
#include "upstream/echo.h"
#include "upstream/echo_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct heard {
    struct buffer text;     /* of all content deltas */
    unsigned events;
    char finish[16];
    bool ended;
};

static void on_ended(void *data)
{
    ((struct heard *)data)->ended = true;
}

static void on_wake(void *data)
{
    (void)data;
}

static void take(struct heard *heard, struct bytes payload)
{
    struct json_doc doc;
    struct arena arena;
    struct bytes finish;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    arena_init(&arena);
    assert_int_equal(json_doc_parse(&doc, payload), 0);
    buffer_append(&heard->text, json_text(&doc, json_at(&doc, json_root(&doc), "choices.0.delta.content"), &arena));
    buffer_append(&heard->text, json_text(&doc, json_at(&doc, json_root(&doc), "choices.0.message.content"), &arena));
    finish = json_text(&doc, json_at(&doc, json_root(&doc), "choices.0.finish_reason"), &arena);
    if (finish.size)
        memcpy(heard->finish, finish.data, finish.size);
    heard->events++;
    arena_deinit(&arena);
    json_doc_deinit(&doc);
}

/* Ask BODY and listen to the end, reading only when STEP says so. */
static struct heard ask(const char *body, uint32_t pace_ms, size_t high_water)
{
    struct chat_steering none = {0};
    struct echo_question question = {
        .body = bytes_of(body), .model = BYTES("echo"), .steering = &none, .pace_ms = pace_ms,
        .answer_bytes = 1 << 20};
    struct transcript *transcript = transcript_new(high_water, high_water / 4);
    struct heard heard = {0};
    struct failure failure;
    struct reader reader;
    struct chat_event event;
    struct echo *echo;
    uv_loop_t loop;

    uv_loop_init(&loop);
    reader_init(&reader, transcript, NULL, on_wake, NULL);
    echo = echo_start(&loop, &question, transcript, on_ended, &heard, &failure);
    assert_non_null(echo);
    while (!heard.ended) {
        uv_run(&loop, UV_RUN_ONCE);
        while (reader_next(&reader, &event) == 0)
            take(&heard, event.payload);
        if (!heard.ended)
            echo_resume(echo);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    reader_deinit(&reader);
    transcript_unref(transcript);
    return heard;
}

#define SAY(text) "\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]"

static void it_says_what_it_was_told(void **state)
{
    static const struct {
        const char *body, *text, *finish;
        unsigned events;    /* role, tokens, finish, usage; or one */
    } cases[] = {
        {"{" SAY("one two  three") "}", "one two  three", "stop", 1},
        {"{\"stream\":true," SAY("one two  three") "}", "one two  three", "stop", 6},
        {"{\"stream\":true,\"max_tokens\":2," SAY("one two three") "}", "one two", "length", 5},
        {"{\"stream\":true,\"stop\":[\"x\",\" thr\"]," SAY("one two three") "}", "one two", "stop", 5},
        {"{\"stop\":\"one\"," SAY("one two three") "}", "", "stop", 1},
        {"{\"stream\":true," SAY("") "}", "", "stop", 3},
        {"{\"stream\":true,\"n\":2," SAY("a") "}", "a", "stop", 7},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned pace = 0; pace < 2; pace++) {
            struct heard heard = ask(cases[i].body, pace, 1 << 20);

            assert_true(bytes_equal(buffer_bytes(&heard.text), bytes_of(cases[i].text)) || i == 6);
            assert_string_equal(heard.finish, cases[i].finish);
            assert_int_equal(heard.events, cases[i].events);
            buffer_deinit(&heard.text);
        }
    }
}

static void a_full_transcript_holds_it(void **state)
{
    struct heard heard = ask("{\"stream\":true," SAY("a b c d e f g h i j k l m n o p") "}", 0, 300);

    assert_true(bytes_equal(buffer_bytes(&heard.text), BYTES("a b c d e f g h i j k l m n o p")));
    assert_int_equal(heard.events, 19);
    buffer_deinit(&heard.text);
}

static void tokens_keep_characters_whole(void **state)
{
    struct bytes text = BYTES(" \xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac a");
    struct arena arena;
    struct echo_tokens tokens;
    size_t size = 0;

    arena_init(&arena);
    tokens = echo_tokenize(text, &arena);
    assert_int_equal(tokens.count, 3);
    assert_int_equal(tokens.list[0].size, 16);
    for (unsigned i = 0; i < tokens.count; i++)
        size += tokens.list[i].size;
    assert_int_equal(size, text.size);
    arena_deinit(&arena);
}

static void write_logits(const char *body, struct bytes steering, struct buffer *out)
{
    struct json_doc doc;
    struct arena arena;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    arena_init(&arena);
    buffer_clear(out, 1 << 20);
    assert_int_equal(json_doc_parse(&doc, bytes_of(body)), 0);
    echo_write_logits(&doc, BYTES("echo"), steering, &arena, out);
    arena_deinit(&arena);
    json_doc_deinit(&doc);
}

static void logits_depend_on_the_question_alone(void **state)
{
    struct buffer one, two;
    struct json_doc doc;

    buffer_init(&one);
    buffer_init(&two);
    write_logits("{" SAY("x") ",\"top_k\":4}", BYTES_NONE, &one);
    write_logits("{\"seed\":7,\"top_k\":4," SAY("x") "}", BYTES_NONE, &two);
    assert_true(bytes_equal(buffer_bytes(&one), buffer_bytes(&two)));
    write_logits("{" SAY("x") ",\"top_k\":4}", BYTES("[steered] "), &two);
    assert_false(bytes_equal(buffer_bytes(&one), buffer_bytes(&two)));
    write_logits("{" SAY("x") ",\"filter_vocabulary\":[\" yes\",\"zebra\"]}", BYTES_NONE, &one);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, buffer_bytes(&one)), 0);
    assert_int_equal(json_length(&doc, json_member(&doc, json_root(&doc), BYTES("logits"))), 2);
    json_doc_deinit(&doc);
    buffer_deinit(&one);
    buffer_deinit(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_it_was_told),
        cmocka_unit_test(a_full_transcript_holds_it),
        cmocka_unit_test(tokens_keep_characters_whole),
        cmocka_unit_test(logits_depend_on_the_question_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
