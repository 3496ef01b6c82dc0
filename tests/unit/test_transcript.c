/*
 * Private transcripts: order, letting go, water marks, and who is told what when readers leave.
 */
#include "chat/transcript.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct heard {
    unsigned wakes, drains, abandons;
};

static void on_wake(void *data)
{
    ((struct heard *)data)->wakes++;
}

static void on_drained(void *data)
{
    ((struct heard *)data)->drains++;
}

static void on_abandoned(void *data)
{
    ((struct heard *)data)->abandons++;
}

static struct transcript *start(struct heard *heard, size_t high, size_t low)
{
    struct transcript *transcript = transcript_new(high, low);

    transcript_set_writer(transcript, &(struct transcript_writer){on_drained, on_abandoned, heard});
    return transcript;
}

static bool append_text(struct transcript *transcript, const char *text)
{
    struct chat_event event = {.kind = EVENT_CHUNK, .shape = SHAPE_OPENAI, .payload = bytes_of(text)};

    return transcript_append(transcript, &event);
}

static void expect_text(struct reader *reader, const char *text)
{
    struct chat_event event;

    assert_int_equal(reader_next(reader, &event), 0);
    assert_true(bytes_equal(event.payload, bytes_of(text)));
}

static void events_come_in_order(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 1 << 20, 1 << 10);
    struct reader reader;
    struct chat_event event;
    char text[48];

    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    assert_int_equal(reader_next(&reader, &event), READER_E_EMPTY);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof(text), "event %d of round %d", i, round);
            assert_true(append_text(transcript, text));
        }
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof(text), "event %d of round %d", i, round);
            expect_text(&reader, text);
        }
        assert_int_equal(reader_next(&reader, &event), READER_E_EMPTY);
    }
    assert_int_equal(heard.wakes, 3); /* only who found it empty is woken */
    transcript_finish(transcript);
    assert_int_equal(reader_next(&reader, &event), READER_E_END);
    reader_deinit(&reader);
    assert_int_equal(heard.abandons, 0);
    transcript_unref(transcript);
}

static void an_event_may_be_large_or_empty(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 1 << 30, 0);
    static char large[3 << 20];
    struct reader reader;
    struct chat_event event;

    memset(large, 'x', sizeof(large));
    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    append_text(transcript, "");
    event = (struct chat_event){
        .kind = EVENT_BODY, .shape = SHAPE_GOODFIRE, .at_ms = 77, .payload = {large, sizeof(large)}};
    transcript_append(transcript, &event);
    append_text(transcript, "after");
    expect_text(&reader, "");
    assert_int_equal(reader_next(&reader, &event), 0);
    assert_int_equal(event.kind, EVENT_BODY);
    assert_int_equal(event.shape, SHAPE_GOODFIRE);
    assert_int_equal(event.at_ms, 77); /* a private transcript takes no time of its own */
    assert_int_equal(event.payload.size, sizeof(large));
    expect_text(&reader, "after");
    reader_deinit(&reader);
    transcript_unref(transcript);
}

static void the_writer_is_held_and_let_go(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 100, 20);
    struct reader reader;

    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    for (int i = 0; i < 10; i++)
        assert_true(append_text(transcript, "0123456789"));
    assert_false(append_text(transcript, "0123456789"));
    assert_int_equal(transcript_undelivered(transcript), 110);
    for (int i = 0; i < 8; i++)
        expect_text(&reader, "0123456789");
    assert_int_equal(heard.drains, 0);
    expect_text(&reader, "0123456789");
    assert_int_equal(heard.drains, 1);
    assert_true(append_text(transcript, "0123456789"));
    reader_deinit(&reader);
    transcript_unref(transcript);
}

static void the_last_reader_ends_the_making(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 100, 20);
    struct reader reader, late;

    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    reader_deinit(&reader);
    assert_int_equal(heard.abandons, 1);
    reader_deinit(&reader);
    assert_int_equal(heard.abandons, 1);
    assert_false(reader_init(&late, transcript, NULL, on_wake, &heard));
    reader_deinit(&late);
    transcript_finish(transcript);
    transcript_unref(transcript);
}

/* A stream relayed event by event stays in one block; the beginning is gone with the first reuse. */
static void the_last_block_is_used_anew(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 1 << 20, 0);
    struct reader reader, late;
    struct chat_event event;
    uint32_t at_ms;
    size_t size;

    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    append_text(transcript, "event");
    size = transcript_size(transcript);
    for (int i = 0; i < 1000; i++) {
        expect_text(&reader, "event");
        assert_int_equal(reader_peek(&reader, &at_ms), READER_E_EMPTY);
        assert_false(reader_ready(&reader));
        append_text(transcript, "event");
        assert_true(reader_ready(&reader));
        assert_int_equal(reader_peek(&reader, &at_ms), 0);
        assert_int_equal(at_ms, 0);
    }
    assert_int_equal(heard.wakes, 1001); /* the first append woke it too: there was nothing when it came */
    assert_int_equal(transcript_size(transcript), size);
    assert_int_equal(transcript_events(transcript), 1001);
    assert_false(reader_init(&late, transcript, NULL, on_wake, &heard));
    transcript_finish(transcript);
    expect_text(&reader, "event");
    assert_int_equal(reader_next(&reader, &event), READER_E_END);
    reader_deinit(&reader);
    transcript_unref(transcript);
}

static void facts_are_copied(void **state)
{
    struct transcript *transcript = transcript_new(1, 1);
    char name[] = "one";
    struct transcript_facts facts = transcript_facts(transcript);
    size_t size;

    assert_int_equal(facts.prompt_tokens, -1);
    assert_int_equal(facts.completion_tokens, -1);
    facts.backend = (struct bytes){name, 3};
    facts.whole = true;
    transcript_tell(transcript, &facts);
    name[0] = 'x';
    facts = transcript_facts(transcript);
    assert_true(bytes_equal(facts.backend, BYTES("one")));
    assert_true(facts.whole);
    size = transcript_size(transcript);
    for (facts.attempts = 0; facts.attempts < 1000; facts.attempts++)
        transcript_tell(transcript, &facts); /* what is known already is not copied again */
    assert_int_equal(transcript_size(transcript), size);
    facts.backend = BYTES_NONE;
    facts.model = BYTES("m");
    transcript_tell(transcript, &facts);
    assert_int_equal(transcript_facts(transcript).backend.size, 0);
    transcript_finish(transcript);
    facts.attempts = 7;
    transcript_tell(transcript, &facts);
    assert_int_equal(transcript_facts(transcript).attempts, 1000);
    transcript_unref(transcript);
}

static void a_failure_stands_after_the_events(void **state)
{
    struct heard heard = {0};
    struct transcript *transcript = start(&heard, 100, 20);
    struct failure failure = {.kind = FAIL_UPSTREAM_RESET, .message = BYTES("gone")};
    struct reader reader;
    struct chat_event event;

    assert_true(reader_init(&reader, transcript, NULL, on_wake, &heard));
    append_text(transcript, "one");
    assert_null(transcript_failure(transcript));
    transcript_fail(transcript, &failure);
    assert_true(reader_ready(&reader));
    expect_text(&reader, "one");
    assert_int_equal(reader_next(&reader, &event), READER_E_FAILED);
    assert_int_equal(transcript_failure(transcript)->kind, FAIL_UPSTREAM_RESET);
    reader_deinit(&reader);
    transcript_unref(transcript);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order),
        cmocka_unit_test(an_event_may_be_large_or_empty),
        cmocka_unit_test(the_writer_is_held_and_let_go),
        cmocka_unit_test(the_last_reader_ends_the_making),
        cmocka_unit_test(the_last_block_is_used_anew),
        cmocka_unit_test(facts_are_copied),
        cmocka_unit_test(a_failure_stands_after_the_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
