/*
 * Shared transcripts, one thing at a time: two mailboxes on one loop stand for two threads.
 */
#include "chat/transcript_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct room {
    uv_loop_t loop;
    uv_timer_t life;            /* keeps the loop alive */
    struct mailbox home, away;
    struct transcript *transcript;
    char told[32];              /* who was told: d(rained) a(bandoned) F(inished) X(failed) G(rowing, left) w(oken) */
    size_t granted, limit;
    unsigned asked;
    unsigned wakes;
};

static void tell(struct room *room, char what)
{
    size_t at = strlen(room->told);

    assert_true(at + 1 < sizeof(room->told));
    room->told[at] = what;
    assert_int_equal(uv_mutex_trylock(&room->transcript->lock), 0); /* nobody is called under the lock */
    uv_mutex_unlock(&room->transcript->lock);
}

static void on_drained(void *data)
{
    tell(data, 'd');
}

static void on_abandoned(void *data)
{
    tell(data, 'a');
}

static void on_wake(void *data)
{
    tell(data, 'w');
}

static void count_wake(void *data)
{
    ((struct room *)data)->wakes++;
}

static bool on_grow(void *data, size_t bytes)
{
    struct room *room = data;

    room->asked++;
    assert_int_equal(uv_mutex_trylock(&room->transcript->lock), 0);
    uv_mutex_unlock(&room->transcript->lock);
    if (room->granted + bytes > room->limit)
        return false;
    room->granted += bytes;
    return true;
}

static void on_ended(void *data, struct transcript *transcript, enum transcript_status status)
{
    assert_ptr_equal(((struct room *)data)->transcript, transcript);
    assert_int_equal(transcript_status(transcript), TRANSCRIPT_GROWING);
    tell(data, "GFX"[status]);
}

static void begin(struct room *room, size_t limit, size_t high, size_t low)
{
    struct transcript_keeper keeper = {on_grow, on_ended, room};

    room->told[0] = 0;
    memset(room->told, 0, sizeof(room->told));
    room->granted = room->asked = room->wakes = 0;
    room->limit = limit;
    room->transcript = transcript_new_shared(&room->home, &keeper, high, low);
    transcript_set_writer(room->transcript, &(struct transcript_writer){on_drained, on_abandoned, room});
}

static void never(uv_timer_t *timer)
{
    fail();
}

static int setup(void **state)
{
    static struct room room;

    uv_loop_init(&room.loop);
    uv_timer_init(&room.loop, &room.life);
    uv_timer_start(&room.life, never, 3600000, 0);
    mailbox_init(&room.home, &room.loop);
    mailbox_init(&room.away, &room.loop);
    *state = &room;
    return 0;
}

static int teardown(void **state)
{
    struct room *room = *state;

    uv_close((uv_handle_t *)&room->life, NULL);
    mailbox_close(&room->home, NULL, NULL);
    mailbox_close(&room->away, NULL, NULL);
    uv_run(&room->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&room->home);
    mailbox_deinit(&room->away);
    return uv_loop_close(&room->loop);
}

static void open_mail(struct room *room)
{
    for (int i = 0; i < 3; i++)
        uv_run(&room->loop, UV_RUN_NOWAIT);
}

static bool append(struct room *room, const char *text)
{
    struct chat_event event = {.kind = EVENT_CHUNK, .shape = SHAPE_OPENAI, .at_ms = 5, .payload = bytes_of(text)};

    return transcript_append(room->transcript, &event);
}

static bool append_number(struct room *room, unsigned number)
{
    char text[101];

    snprintf(text, sizeof(text), "%0100u", number);
    return append(room, text);
}

static void expect_number(struct reader *reader, unsigned number)
{
    struct chat_event event;
    char text[101];

    snprintf(text, sizeof(text), "%0100u", number);
    assert_int_equal(reader_next(reader, &event), 0);
    assert_true(bytes_equal(event.payload, bytes_of(text)));
}

static void expect_none(struct reader *reader, int code)
{
    struct chat_event event;
    uint32_t at_ms;

    assert_int_equal(reader_peek(reader, &at_ms), code);
    assert_int_equal(reader_next(reader, &event), code);
}

static bool start(struct room *room, struct reader *reader, struct mailbox *home)
{
    return reader_init(reader, room->transcript, home, count_wake, room);
}

/* --- keeping --- */

static void all_is_kept_for_those_who_come_late(void **state)
{
    struct room *room = *state;
    struct reader near, late, hit;

    begin(room, 1 << 20, 100, 50);
    assert_true(start(room, &near, NULL));
    for (unsigned i = 0; i < 500; i++) {
        assert_true(append_number(room, i)); /* high water does not count */
        expect_number(&near, i);
        expect_none(&near, READER_E_EMPTY);
    }
    assert_true(start(room, &late, &room->away));
    for (unsigned i = 0; i < 500; i++)
        expect_number(&late, i);
    expect_none(&late, READER_E_EMPTY);
    assert_int_equal(transcript_undelivered(room->transcript), 50000);
    assert_int_equal(transcript_size(room->transcript), sizeof(struct transcript) + room->granted);
    assert_true(room->asked > 10 && room->asked < 20);
    transcript_finish(room->transcript);
    assert_string_equal(room->told, "F");
    expect_none(&near, READER_E_END);
    expect_none(&late, READER_E_END);
    reader_deinit(&near);
    reader_deinit(&late);
    assert_true(start(room, &hit, &room->away));
    for (unsigned i = 0; i < 500; i++)
        expect_number(&hit, i);
    expect_none(&hit, READER_E_END);
    reader_deinit(&hit);
    open_mail(room);
    assert_string_equal(room->told, "F");
    room->transcript = transcript_unref(room->transcript);
}

/* The lock is held here: whoever wants it never gets it. */
static void settled_it_is_read_without_a_lock(void **state)
{
    struct room *room = *state;
    struct reader old, hit;
    uint32_t at_ms;

    begin(room, 1 << 20, 100, 50);
    assert_true(start(room, &old, &room->away));
    expect_none(&old, READER_E_EMPTY);
    append_number(room, 1);
    append_number(room, 2);
    transcript_finish(room->transcript);
    uv_mutex_lock(&room->transcript->lock);
    assert_true(start(room, &hit, &room->away));
    assert_int_equal(reader_peek(&hit, &at_ms), 0);
    expect_number(&hit, 1);
    expect_number(&hit, 2);
    expect_none(&hit, READER_E_END);
    assert_true(reader_ready(&hit));
    expect_number(&old, 1);
    reader_deinit(&old);
    reader_deinit(&hit);
    assert_true(transcript_size(room->transcript) > 4096);
    assert_int_equal(transcript_facts(room->transcript).attempts, 0);
    uv_mutex_unlock(&room->transcript->lock);
    room->transcript = transcript_unref(room->transcript);
}

static void only_who_waits_is_woken(void **state)
{
    struct room *room = *state;
    struct reader near, far, busy, gone;

    begin(room, 1 << 20, 100, 50);
    append_number(room, 0);
    assert_true(start(room, &near, &room->home));
    assert_true(start(room, &far, &room->away));
    assert_true(start(room, &busy, &room->away));
    assert_true(start(room, &gone, &room->away));
    expect_number(&near, 0);
    expect_number(&far, 0);
    expect_number(&gone, 0);
    expect_none(&near, READER_E_EMPTY);
    expect_none(&far, READER_E_EMPTY);
    expect_none(&gone, READER_E_EMPTY);
    append_number(room, 1);
    assert_int_equal(room->wakes, 1); /* the near one, at once */
    append_number(room, 2);
    reader_deinit(&gone);
    open_mail(room);
    assert_int_equal(room->wakes, 2); /* the far one, by letter; not the one that left */
    reader_deinit(&near);
    reader_deinit(&far);
    reader_deinit(&busy);
    open_mail(room);
    assert_string_equal(room->told, "Ga");
    room->transcript = transcript_unref(room->transcript);
}

static void events_know_when_they_came(void **state)
{
    struct room *room = *state;
    struct chat_event event = {.kind = EVENT_BODY, .payload = BYTES("{}")};
    struct reader reader;
    uint32_t at_ms = 0;

    begin(room, 1 << 20, 100, 50);
    append(room, "five");
    uv_sleep(12);
    transcript_append(room->transcript, &event);
    assert_true(start(room, &reader, NULL));
    assert_int_equal(reader_peek(&reader, &at_ms), 0);
    assert_int_equal(at_ms, 5);
    assert_int_equal(reader_next(&reader, &event), 0);
    assert_int_equal(event.at_ms, 5);
    assert_int_equal(reader_peek(&reader, &at_ms), 0);
    assert_true(at_ms >= 11 && at_ms < 60000);
    reader_deinit(&reader);
    room->transcript = transcript_unref(room->transcript);
}

static void a_failure_is_heard_by_all(void **state)
{
    struct room *room = *state;
    struct failure failure = {.kind = FAIL_UPSTREAM_RESET, .message = BYTES("gone")};
    struct reader near, far, late;

    begin(room, 1 << 20, 100, 50);
    assert_true(reader_init(&near, room->transcript, NULL, on_wake, room));
    assert_true(start(room, &far, &room->away));
    transcript_fail(room->transcript, &failure);
    assert_string_equal(room->told, "Xw"); /* the keeper first */
    open_mail(room);
    assert_int_equal(room->wakes, 1);
    assert_true(start(room, &late, &room->away));
    expect_none(&near, READER_E_FAILED);
    expect_none(&far, READER_E_FAILED);
    expect_none(&late, READER_E_FAILED);
    assert_true(bytes_equal(transcript_failure(room->transcript)->message, BYTES("gone")));
    reader_deinit(&near);
    reader_deinit(&far);
    room->transcript = transcript_unref(room->transcript);
    assert_true(bytes_equal(transcript_failure(late.transcript)->message, BYTES("gone")));
    reader_deinit(&late);
}

/* --- letting go --- */

static void refused_it_lets_go_behind_the_only_one(void **state)
{
    struct room *room = *state;
    struct reader slow, late;
    struct chat_event held;
    size_t size;
    unsigned number = 0;

    begin(room, 10000, 2000, 500); /* two blocks */
    assert_true(start(room, &slow, &room->away));
    while (room->asked < 3) {
        assert_true(start(room, &late, NULL));
        reader_deinit(&late);
        append_number(room, number++);
    }
    assert_false(start(room, &late, NULL));
    reader_deinit(&late);
    assert_false(append_number(room, number++));
    assert_int_equal(transcript_undelivered(room->transcript), number * 100);
    size = transcript_size(room->transcript);
    for (unsigned i = 0; i < number - 6; i++)
        expect_number(&slow, i);
    open_mail(room);
    assert_string_equal(room->told, "");
    assert_int_equal(reader_next(&slow, &held), 0);
    assert_string_equal(room->told, ""); /* it is on another thread */
    open_mail(room);
    assert_string_equal(room->told, "d");
    assert_int_equal(transcript_undelivered(room->transcript), 500);
    assert_int_equal(transcript_size(room->transcript), size - 4096);
    for (unsigned i = 0; i < 10; i++)
        append_number(room, number++);
    assert_int_equal(held.payload.data[99], '0' + (char)((number - 16) % 10));
    assert_int_equal(room->asked, 3); /* not asked again */
    transcript_finish(room->transcript);
    for (unsigned i = number - 15; i < number; i++)
        expect_number(&slow, i);
    expect_none(&slow, READER_E_END);
    assert_false(start(room, &late, NULL));
    reader_deinit(&slow);
    open_mail(room);
    assert_string_equal(room->told, "dF");
    room->transcript = transcript_unref(room->transcript);
}

static void the_slowest_may_leave(void **state)
{
    struct room *room = *state;
    struct reader slow, fast;

    begin(room, 0, 300, 100);
    room->transcript->lag = 15000;
    assert_true(start(room, &slow, NULL));
    assert_true(start(room, &fast, NULL));
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(append_number(room, i), i < 150); /* the fast one never asked for more, so it does not wait */
        expect_number(&fast, i);
    }
    assert_int_equal(transcript_undelivered(room->transcript), 20000);
    assert_true(transcript_size(room->transcript) > 20000);
    reader_deinit(&slow);
    assert_string_equal(room->told, "d");
    assert_int_equal(transcript_undelivered(room->transcript), 0);
    assert_true(transcript_size(room->transcript) < 10000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(append_number(room, i));
        expect_number(&fast, i);
    }
    assert_true(transcript_size(room->transcript) < 13000);
    reader_deinit(&fast);
    assert_string_equal(room->told, "dGa");
    for (unsigned i = 0; i < 1000; i++)
        assert_true(append_number(room, i)); /* nobody hears it; it is not held */
    assert_true(transcript_size(room->transcript) < 13000);
    transcript_finish(room->transcript);
    assert_string_equal(room->told, "dGa");
    room->transcript = transcript_unref(room->transcript);
}

/* One reads on as it comes; the others may lag so far, and no further. */
static void laggards_are_lost(struct room *room, struct mailbox *home)
{
    struct reader slow, idle, fast;
    struct chat_event held;

    begin(room, 0, 300, 100);
    room->transcript->lag = 10000;
    assert_true(start(room, &slow, home));
    assert_true(start(room, &idle, home));
    assert_true(start(room, &fast, &room->away));
    append_number(room, 7);
    assert_int_equal(reader_next(&slow, &held), 0);
    expect_number(&fast, 7);
    expect_none(&fast, READER_E_EMPTY);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(append_number(room, i));
        expect_number(&fast, i);
        expect_none(&fast, READER_E_EMPTY);
        assert_int_equal(idle.lost, i > 100);
        assert_int_equal(slow.lost, i > 101);
        assert_true(transcript_undelivered(room->transcript) <= 10200);
    }
    assert_int_equal(transcript_undelivered(room->transcript), 0);
    assert_int_equal(transcript_size(room->transcript), sizeof(struct transcript) + 2 * 4096);
    assert_int_equal(held.payload.data[99], '7'); /* its last event may still be looked at */
    assert_true(reader_ready(&slow));
    expect_none(&slow, READER_E_LOST);
    assert_int_equal(transcript_size(room->transcript), sizeof(struct transcript) + 4096);
    reader_deinit(&slow);
    transcript_finish(room->transcript);
    expect_none(&idle, READER_E_LOST);
    expect_none(&fast, READER_E_END);
    reader_deinit(&fast);
    reader_deinit(&idle);
    open_mail(room);
    assert_string_equal(room->told, "F");
    room->transcript = transcript_unref(room->transcript);
}

static void a_laggard_is_lost_when_others_wait(void **state)
{
    struct room *room = *state;

    laggards_are_lost(room, NULL);
    laggards_are_lost(room, &room->home);
    laggards_are_lost(room, &room->away);
}

static void who_is_lost_is_woken_and_counts_no_more(void **state)
{
    struct room *room = *state;
    struct reader near, far, fast;

    begin(room, 0, 300, 100);
    room->transcript->lag = 300;
    assert_true(start(room, &near, NULL));
    assert_true(start(room, &far, &room->away));
    assert_true(start(room, &fast, NULL));
    for (unsigned i = 0; i < 5; i++) {
        append_number(room, i);
        expect_number(&fast, i);
        expect_none(&fast, READER_E_EMPTY);
    }
    open_mail(room);
    room->wakes = 0;
    assert_true(append_number(room, 5));
    assert_int_equal(room->wakes, 2); /* the fast one and the near one */
    open_mail(room);
    assert_int_equal(room->wakes, 3);
    reader_deinit(&near);
    assert_string_equal(room->told, "");
    reader_deinit(&fast);
    assert_string_equal(room->told, "Ga");
    expect_none(&far, READER_E_LOST);
    reader_deinit(&far);
    open_mail(room);
    assert_string_equal(room->told, "Ga");
    room->transcript = transcript_unref(room->transcript);
}

/* Nobody waits: the writer is held for the laggard, and goes on once somebody does. */
static void while_nobody_waits_nobody_is_lost(void **state)
{
    struct room *room = *state;
    struct reader slow, fast;
    unsigned number = 0;

    begin(room, 0, 300, 100);
    room->transcript->lag = 5000;
    assert_true(start(room, &slow, &room->away));
    assert_true(start(room, &fast, NULL));
    while (append_number(room, number))
        expect_number(&fast, number++);
    assert_int_equal(number, 50);
    expect_number(&fast, number++);
    assert_false(append_number(room, number));
    expect_number(&fast, number++);
    assert_string_equal(room->told, "");
    expect_none(&fast, READER_E_EMPTY);
    assert_string_equal(room->told, "d");
    assert_false(slow.lost);
    reader_deinit(&fast);
    assert_false(append_number(room, number++)); /* held for the only one there is */
    for (unsigned i = 0; i < number - 1; i++)
        expect_number(&slow, i);
    open_mail(room);
    assert_string_equal(room->told, "dd");
    expect_number(&slow, number - 1);
    expect_none(&slow, READER_E_EMPTY);
    for (unsigned i = 0; i < 100; i++) /* the writer does not obey: it is kept all the same */
        assert_int_equal(append_number(room, i), i < 3);
    for (unsigned i = 0; i < 100; i++)
        expect_number(&slow, i);
    expect_none(&slow, READER_E_EMPTY);
    reader_deinit(&slow);
    open_mail(room);
    assert_string_equal(room->told, "ddGa");
    room->transcript = transcript_unref(room->transcript);
}

/* The newest event may be larger than all allowed lag; what was kept was not too much. */
static void large_events_lose_nobody_by_themselves(void **state)
{
    static char large[3 << 20];
    struct room *room = *state;
    struct chat_event event = {.kind = EVENT_CHUNK, .payload = {large, sizeof(large)}};
    struct reader slow, fast;

    begin(room, 4 << 20, 300, 100);
    assert_true(start(room, &slow, &room->away));
    assert_true(start(room, &fast, NULL));
    for (int i = 0; i < 3; i++) {
        transcript_append(room->transcript, &event); /* only the first one is kept */
        assert_int_equal(reader_next(&fast, &event), 0);
        expect_none(&fast, READER_E_EMPTY);
        assert_false(slow.lost);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(reader_next(&slow, &event), 0);
    reader_deinit(&slow);
    reader_deinit(&fast);
    open_mail(room);
    room->transcript = transcript_unref(room->transcript);
}

static void two_slowest_count_as_two(void **state)
{
    struct room *room = *state;
    struct reader readers[5];

    begin(room, 0, 300, 100);
    for (int i = 0; i < 5; i++)
        assert_true(start(room, &readers[i], NULL));
    append(room, "");
    append_number(room, 0);
    append_number(room, 1);
    for (int i = 0; i < 5; i++) {
        struct chat_event event;

        assert_int_equal(reader_next(&readers[i], &event), 0);
        assert_int_equal(event.payload.size, 0);
        assert_int_equal(transcript_undelivered(room->transcript), 200);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(transcript_undelivered(room->transcript), 200);
        if (i == 2)
            reader_deinit(&readers[i]);
        else
            expect_number(&readers[i], 0);
    }
    assert_int_equal(transcript_undelivered(room->transcript), 100);
    for (int i = 0; i < 5; i++)
        reader_deinit(&readers[i]);
    room->transcript = transcript_unref(room->transcript);
}

/* --- leaving --- */

static void the_last_to_leave_is_heard_once(void **state)
{
    struct room *room = *state;
    struct reader near, far, late;

    begin(room, 1 << 20, 300, 100);
    assert_true(start(room, &near, &room->home));
    assert_true(start(room, &far, &room->away));
    append_number(room, 0);
    reader_deinit(&near);
    reader_deinit(&far);
    assert_false(start(room, &late, &room->away));
    assert_string_equal(room->told, ""); /* the writer is on another thread */
    open_mail(room);
    assert_string_equal(room->told, "Ga");
    assert_false(start(room, &late, NULL));
    room->transcript = transcript_unref(room->transcript);
}

/* The end was on its way when the last one left: the answer is whole, and there for others. */
static void an_end_before_the_letter_counts(void **state)
{
    struct room *room = *state;
    struct reader far, late;

    begin(room, 1 << 20, 300, 100);
    assert_true(start(room, &far, &room->away));
    append_number(room, 0);
    reader_deinit(&far);
    append_number(room, 1);
    assert_false(start(room, &late, NULL));
    assert_false(list_empty(&room->transcript->letter.link));
    transcript_finish(room->transcript);
    assert_true(list_empty(&room->transcript->letter.link)); /* the mailbox may be closed now */
    open_mail(room);
    assert_string_equal(room->told, "F");
    assert_true(start(room, &late, NULL));
    expect_number(&late, 0);
    expect_number(&late, 1);
    expect_none(&late, READER_E_END);
    reader_deinit(&late);
    room->transcript = transcript_unref(room->transcript);
}

/* The letter holds the transcript, whoever else lets go of it. */
static void a_letter_outlives_the_other_references(void **state)
{
    struct room *room = *state;
    struct reader far;

    begin(room, 1 << 20, 300, 100);
    assert_true(start(room, &far, &room->away));
    transcript_unref(room->transcript);
    reader_deinit(&far);
    open_mail(room);
    assert_string_equal(room->told, "Ga");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_kept_for_those_who_come_late),
        cmocka_unit_test(settled_it_is_read_without_a_lock),
        cmocka_unit_test(only_who_waits_is_woken),
        cmocka_unit_test(events_know_when_they_came),
        cmocka_unit_test(a_failure_is_heard_by_all),
        cmocka_unit_test(refused_it_lets_go_behind_the_only_one),
        cmocka_unit_test(the_slowest_may_leave),
        cmocka_unit_test(a_laggard_is_lost_when_others_wait),
        cmocka_unit_test(who_is_lost_is_woken_and_counts_no_more),
        cmocka_unit_test(while_nobody_waits_nobody_is_lost),
        cmocka_unit_test(large_events_lose_nobody_by_themselves),
        cmocka_unit_test(two_slowest_count_as_two),
        cmocka_unit_test(the_last_to_leave_is_heard_once),
        cmocka_unit_test(an_end_before_the_letter_counts),
        cmocka_unit_test(a_letter_outlives_the_other_references),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
