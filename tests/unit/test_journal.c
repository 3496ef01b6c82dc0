/*
 * What goes into the journal comes out of every sink, numbered, whole, in order; and what does not is counted, by line.
 */
#include "journal_stage.h"

struct stage {
    struct script scripts[2];
    struct script *views[2];
    struct journal *journal;
    struct journal_source *source;
};

static void begin(struct stage *stage, unsigned sinks, uint64_t bound)
{
    struct journal_sink_setup setups[2];
    struct buffer errors = {0};

    *stage = (struct stage){0};
    for (unsigned i = 0; i < sinks; i++) {
        stage->views[i] = &stage->scripts[i];
        setups[i] = (struct journal_sink_setup){&sink_script, &stage->views[i], JOURNAL_LINES};
    }
    assert_int_equal(journal_new_with(setups, sinks, bound, &errors, &stage->journal), 0);
    stage->source = journal_source_new(stage->journal);
}

static struct journal_sink_counts counts_of(const struct stage *stage, unsigned at)
{
    struct journal_sink_counts counts = journal_sink_counts(stage->journal, at);

    assert_true(stage_adds_up(&counts));
    return counts;
}

static void finish(struct stage *stage)
{
    stage->source = journal_source_free(stage->source);
    journal_finish(stage->journal, 3000);
}

static void end(struct stage *stage)
{
    stage->journal = journal_free(stage->journal);
    for (unsigned i = 0; i < 2; i++)
        buffer_deinit(&stage->scripts[i].got);
}

static void expect_all(struct stage *stage, unsigned at, uint64_t accepted)
{
    struct journal_sink_counts counts = counts_of(stage, at);
    struct reading reading = {0};

    read_text(&reading, buffer_bytes(&stage->scripts[at].got));
    assert_int_equal(counts.accepted, accepted);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(reading.records, counts.written);
    assert_int_equal(reading.dropped, counts.dropped);
    assert_int_equal(reading.seq, accepted);
}

static void all_sinks_get_all_lines(void **state)
{
    struct stage stage;

    begin(&stage, 2, 16 << 20);
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 20000, 100);
    stage_put_many(stage.source, 20000, 20010, 300000);
    finish(&stage);
    expect_all(&stage, 0, 20010);
    expect_all(&stage, 1, 20010);
    assert_int_equal(counts_of(&stage, 0).dropped, 0);
    assert_int_equal(stage.scripts[0].got.size, counts_of(&stage, 0).bytes);
    assert_string_equal(counts_of(&stage, 0).name, "script");
    assert_string_equal(counts_of(&stage, 1).name, "script-2");
    end(&stage);
}

static void numbers_grow_by_a_digit(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    assert_int_equal(journal_start(stage.journal), 0);
    for (unsigned i = 0; i < 1200; i += 7)
        stage_put_many(stage.source, i, i + 7, 1);
    finish(&stage);
    expect_all(&stage, 0, 1204);
    end(&stage);
}

/* In one place lines of several journals may meet. */
static void each_journal_is_a_run(void **state)
{
    struct reading readings[2] = {0};

    for (unsigned i = 0; i < 2; i++) {
        struct stage stage;

        begin(&stage, 1, 1 << 20);
        assert_int_equal(journal_start(stage.journal), 0);
        stage_put_many(stage.source, 0, 3, 1);
        finish(&stage);
        read_text(&readings[i], buffer_bytes(&stage.scripts[0].got));
        end(&stage);
    }
    assert_string_not_equal(readings[0].run, readings[1].run);
}

/* One sink is slow or broken, the other gets everything all the same. */
static void drops(enum script_mode mode, bool good)
{
    struct stage stage;

    begin(&stage, 2, 50000);
    stage.scripts[0].mode = mode;
    assert_int_equal(journal_start(stage.journal), 0);
    for (unsigned i = 0; i < 1000; i += 100) {
        stage_put_many(stage.source, i, i + 100, 100);
        stage_wait(counts_of(&stage, 1).waiting == 0);
    }
    assert_true(counts_of(&stage, 0).dropped > 500);
    assert_true(counts_of(&stage, 0).waiting > 100);
    assert_true(journal_counts(stage.journal, JOURNAL_LINES).waiting_bytes > 40000);
    assert_true(counts_of(&stage, 0).good == good);
    assert_true(journal_is_crowded(stage.journal));
    stage.scripts[0].mode = SCRIPT_TAKE;
    stage_wait(counts_of(&stage, 0).waiting == 0);
    assert_true(counts_of(&stage, 0).good);
    stage_wait(!journal_is_crowded(stage.journal));
    stage_put_many(stage.source, 1000, 1100, 100);
    finish(&stage);
    expect_all(&stage, 0, 1100);
    expect_all(&stage, 1, 1100);
    assert_int_equal(counts_of(&stage, 1).dropped, 0);
    assert_int_equal(counts_of(&stage, 0).errors > 0, !good);
    end(&stage);
}

static void a_busy_sink_drops_and_says_so(void **state)
{
    drops(SCRIPT_BUSY, true);
}

static void a_failing_sink_drops_and_says_so(void **state)
{
    drops(SCRIPT_FAIL, false);
}

static void what_is_taken_by_halves_is_whole(void **state)
{
    struct stage stage;

    begin(&stage, 1, 8 << 20);
    stage.scripts[0].mode = SCRIPT_HALF;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 3000, 100);
    usleep(300000);
    stage.scripts[0].mode = SCRIPT_TAKE;
    finish(&stage);
    expect_all(&stage, 0, 3000);
    assert_int_equal(counts_of(&stage, 0).written, 3000);
    end(&stage);
}

/* The thread does nothing yet: sources find no room, and their drops stand where they happened. */
static void sources_without_room(void **state)
{
    struct stage stage;
    unsigned refused = 0;

    begin(&stage, 1, 20000);
    for (unsigned i = 0; i < 1000; i++) {
        refused += !stage_put(stage.source, 0, i, 100);
        source_hand_over(stage.source);
    }
    assert_true(refused > 500 && refused < 1000);
    assert_true(journal_is_crowded(stage.journal));
    assert_int_equal(journal_counts(stage.journal, JOURNAL_LINES).accepted, 1000);
    assert_int_equal(counts_of(&stage, 0).waiting, 1000);
    assert_int_equal(journal_start(stage.journal), 0);
    stage_wait(counts_of(&stage, 0).waiting == 0);
    assert_int_equal(counts_of(&stage, 0).dropped, refused);
    stage_put_many(stage.source, 1000, 1010, 100);
    finish(&stage);
    expect_all(&stage, 0, 1010);
    end(&stage);
}

static void settled_later(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    stage.scripts[0].mode = SCRIPT_HOLD;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    assert_int_equal(counts_of(&stage, 0).waiting, 50);
    stage_wait(counts_of(&stage, 0).waiting == 0);
    assert_int_equal(counts_of(&stage, 0).written, 49);
    assert_int_equal(counts_of(&stage, 0).dropped, 1);
    stage.scripts[0].mode = SCRIPT_TAKE;
    finish(&stage);
    assert_non_null(memmem(stage.scripts[0].got.data, stage.scripts[0].got.size, "\"dropped\":1,\"first\":1,", 22));
    assert_int_equal(counts_of(&stage, 0).written, 49);
    assert_int_equal(counts_of(&stage, 0).dropped, 1);
    end(&stage);
}

static void lost_at_once(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    stage.scripts[0].mode = SCRIPT_LOSE;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    stage_wait(counts_of(&stage, 0).dropped == 50);
    assert_false(counts_of(&stage, 0).good);
    stage.scripts[0].mode = SCRIPT_TAKE;
    stage_put_many(stage.source, 50, 60, 100);
    finish(&stage);
    assert_int_equal(counts_of(&stage, 0).written, 10);
    assert_int_equal(counts_of(&stage, 0).dropped, 50);
    end(&stage);
}

static void a_sink_that_is_gone(void **state)
{
    struct stage stage;

    begin(&stage, 2, 1 << 20);
    stage.scripts[0].mode = SCRIPT_GONE;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    stage_wait(counts_of(&stage, 0).dropped == 50);
    stage_put_many(stage.source, 50, 60, 100);
    finish(&stage);
    assert_int_equal(counts_of(&stage, 0).dropped, 60);
    assert_int_equal(counts_of(&stage, 0).errors, 1);
    expect_all(&stage, 1, 60);
    end(&stage);
}

static void keep(struct stage *stage, unsigned sinks, uint64_t bound)
{
    begin(stage, sinks, bound);
    journal_keep_lines(stage->journal);
}

static bool put_spare(struct journal_source *source)
{
    struct buffer *out = source_line_if_room(source, JOURNAL_LINES);

    if (!out)
        return false;
    buffer_append_text(out, "\"time\":\"now\",\"who\":1,\"number\":0,\"pad\":\"0\"}\n");
    source_end_line(source, JOURNAL_LINES);
    return true;
}

/* The bound is at the door: what was let in is kept, far beyond it; only the others find no room. */
static void what_must_be_kept_is(enum script_mode mode)
{
    struct stage stage;

    keep(&stage, 2, 20000);
    stage.scripts[0].mode = mode;
    assert_int_equal(journal_start(stage.journal), 0);
    for (unsigned i = 0; i < 1000; i += 100)
        stage_put_many(stage.source, i, i + 100, 1000);
    stage_wait(counts_of(&stage, 1).waiting == 0);
    assert_int_equal(counts_of(&stage, 0).waiting, 1000);
    assert_true(journal_is_crowded(stage.journal));
    assert_false(put_spare(stage.source));
    assert_true(stage_put(stage.source, 0, 1000, 1000));
    source_hand_over(stage.source);
    stage_wait(counts_of(&stage, 0).dropped == 1);
    stage.scripts[0].mode = SCRIPT_TAKE;
    stage_wait(counts_of(&stage, 0).waiting == 0);
    stage_wait(!journal_is_crowded(stage.journal));
    assert_true(put_spare(stage.source));
    finish(&stage);
    expect_all(&stage, 0, 1003);
    assert_int_equal(counts_of(&stage, 0).written, 1002);
    end(&stage);
}

static void what_was_let_in_is_kept(void **state)
{
    what_must_be_kept_is(SCRIPT_BUSY);
    what_must_be_kept_is(SCRIPT_FAIL);
}

/* Before the thread has numbered them as well. */
static void kept_while_the_thread_sleeps(void **state)
{
    struct stage stage;

    keep(&stage, 1, 10000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(stage_put(stage.source, 0, i, 100));
        source_hand_over(stage.source);
    }
    assert_false(put_spare(stage.source));
    assert_int_equal(journal_start(stage.journal), 0);
    finish(&stage);
    expect_all(&stage, 0, 1001);
    assert_int_equal(counts_of(&stage, 0).dropped, 1);
    end(&stage);
}

/* It will lose all that comes, so nobody should. */
static void one_that_is_gone_is_crowded_for_ever(void **state)
{
    struct stage stage;

    keep(&stage, 2, 1 << 20);
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    stage_wait(counts_of(&stage, 0).written == 50);
    assert_false(journal_is_crowded(stage.journal));
    stage.scripts[0].mode = SCRIPT_GONE;
    stage_put_many(stage.source, 50, 60, 100);
    stage_wait(journal_is_crowded(stage.journal));
    stage_wait(counts_of(&stage, 0).dropped == 10);
    assert_true(put_spare(stage.source));
    source_hand_over(stage.source);
    stage_wait(counts_of(&stage, 1).written == 61);
    assert_true(journal_is_crowded(stage.journal));
    finish(&stage);
    expect_all(&stage, 1, 61);
    end(&stage);
}

/* Bytes are written when they were kept, and lines that were lost on their way are an error. */
static void bytes_are_counted_when_kept(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    stage.scripts[0].mode = SCRIPT_HOLD;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 10, 100);
    usleep(50000);
    assert_int_equal(counts_of(&stage, 0).waiting, 10);
    assert_int_equal(counts_of(&stage, 0).bytes, 0);
    assert_int_equal(counts_of(&stage, 0).errors, 0);
    stage_wait(counts_of(&stage, 0).waiting == 0);
    assert_int_equal(counts_of(&stage, 0).written, 9);
    assert_in_range(counts_of(&stage, 0).bytes, 9 * 165, 9 * 185);
    assert_int_equal(counts_of(&stage, 0).errors, 1);
    finish(&stage);
    end(&stage);
}

static void the_end_does_not_wait_for_ever(void **state)
{
    struct stage stage;
    uint64_t before;

    begin(&stage, 2, 1 << 20);
    stage.scripts[0].mode = SCRIPT_BUSY;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    stage.source = journal_source_free(stage.source);
    before = clock_ms();
    journal_finish(stage.journal, 200);
    assert_in_range(clock_ms() - before, 150, 1500);
    assert_int_equal(counts_of(&stage, 0).dropped, 50);
    expect_all(&stage, 1, 50);
    end(&stage);
}

static void handed_over_too_late(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 5, 100);
    journal_finish(stage.journal, 1000);
    stage_put_many(stage.source, 5, 10, 100);
    assert_int_equal(counts_of(&stage, 0).written, 5);
    assert_int_equal(counts_of(&stage, 0).dropped, 5);
    journal_reopen(stage.journal);
    stage.source = journal_source_free(stage.source);
    end(&stage);
}

static void never_started(void **state)
{
    struct stage stage;

    begin(&stage, 1, 1 << 20);
    stage_put_many(stage.source, 0, 5, 100);
    journal_finish(stage.journal, 1000);
    stage.source = journal_source_free(stage.source);
    end(&stage);
}

static void no_journal(void **state)
{
    assert_int_equal(journal_start(NULL), 0);
    assert_null(journal_source_new(NULL));
    assert_null(source_line(NULL, JOURNAL_LINES));
    assert_null(source_line_if_room(NULL, JOURNAL_LINES));
    assert_int_equal(source_waiting(NULL), 0);
    source_hand_over(NULL);
    assert_null(journal_source_free(NULL));
    journal_reopen(NULL);
    journal_finish(NULL, 1);
    assert_false(journal_is_crowded(NULL));
    assert_false(journal_takes(NULL, JOURNAL_LINES));
    assert_int_equal(journal_counts(NULL, JOURNAL_LINES).accepted, 0);
    assert_int_equal(journal_sink_count(NULL), 0);
    assert_null(journal_free(NULL));
}

static void put_span(struct journal_source *source)
{
    struct buffer *line = source_line(source, JOURNAL_SPANS);

    if (!line)
        return; /* no room: it counts as dropped */
    buffer_append_text(line, "{\"span\":1}\n");
    source_end_line(source, JOURNAL_SPANS);
}

static void spans_have_no_numbers(void **state)
{
    struct stage stage = {0};
    struct buffer errors = {0};
    struct journal_sink_setup setup;

    stage.views[0] = &stage.scripts[0];
    setup = (struct journal_sink_setup){&sink_script, &stage.views[0], JOURNAL_SPANS};
    assert_int_equal(journal_new_with(&setup, 1, 1000, &errors, &stage.journal), 0);
    stage.source = journal_source_new(stage.journal);
    assert_true(journal_takes(stage.journal, JOURNAL_SPANS));
    assert_false(journal_takes(stage.journal, JOURNAL_LINES));
    assert_null(source_line(stage.source, JOURNAL_LINES));
    stage.scripts[0].mode = SCRIPT_BUSY;
    assert_int_equal(journal_start(stage.journal), 0);
    for (unsigned i = 0; i < 200; i++)
        put_span(stage.source);
    source_hand_over(stage.source);
    stage_wait(counts_of(&stage, 0).dropped == 200 - 1000 / 11);
    stage.scripts[0].mode = SCRIPT_TAKE;
    finish(&stage);
    assert_int_equal(stage.scripts[0].got.size, 1000 / 11 * 11);
    assert_int_equal(counts_of(&stage, 0).written, 1000 / 11);
    assert_memory_equal(stage.scripts[0].got.data, "{\"span\":1}\n{", 12);
    end(&stage);
}

/* A sink that took all may still lose all: it is well again once it kept something. */
static void relief_comes_with_what_was_kept(void **state)
{
    struct stage stage = {0};
    struct buffer errors = {0};
    struct journal_sink_setup setup;
    FILE *said = stage_listen();

    stage.views[0] = &stage.scripts[0];
    setup = (struct journal_sink_setup){&sink_script, &stage.views[0], JOURNAL_SPANS};
    assert_int_equal(journal_new_with(&setup, 1, 1000, &errors, &stage.journal), 0);
    stage.source = journal_source_new(stage.journal);
    stage.scripts[0].mode = SCRIPT_HOLD;
    for (unsigned i = 0; i < 400; i++) {
        put_span(stage.source);
        source_hand_over(stage.source);
    }
    assert_int_equal(journal_start(stage.journal), 0);
    stage_wait(stage_said(said, "embergate: tracing", "", ": spans are dropped: they come faster than they are taken\n"));
    usleep(300000);
    assert_int_equal(counts_of(&stage, 0).kind, JOURNAL_SPANS);
    assert_true(counts_of(&stage, 0).waiting > 0 && counts_of(&stage, 0).written == 0);
    assert_false(stage_said(said, "takes spans again", "", ""));
    stage.scripts[0].mode = SCRIPT_TAKE;
    put_span(stage.source);
    finish(&stage);
    assert_true(stage_said(said, "embergate: tracing", "", ": takes spans again; "));
    end(&stage);
    stage_listen_no_more(said);
}

static void the_operator_hears_which_sink(void **state)
{
    struct stage stage;
    FILE *said = stage_listen();

    begin(&stage, 2, 1 << 20);
    stage.scripts[1].mode = SCRIPT_LOSE;
    assert_int_equal(journal_start(stage.journal), 0);
    stage_put_many(stage.source, 0, 50, 100);
    stage_wait(counts_of(&stage, 1).dropped == 50);
    assert_true(stage_said(said, "embergate: log: ", "script-2", ": lines are dropped: they were refused\n"));
    stage.scripts[1].mode = SCRIPT_TAKE;
    stage_put_many(stage.source, 50, 60, 100);
    stage_wait(stage_said(said, "embergate: log: ", "script-2", ": takes lines again; 50 were dropped\n"));
    stage.scripts[0].mode = SCRIPT_BUSY;
    stage_put_many(stage.source, 60, 65, 100);
    stage.source = journal_source_free(stage.source);
    journal_finish(stage.journal, 100);
    assert_true(stage_said(said, "embergate: log: ", "script", ": 5 lines could not be written before the end\n"));
    end(&stage);
    stage_listen_no_more(said);
}

/* All kinds of moods by turns; the books are right at any moment, and the numbers unbroken in the end. */
static void moods(void **state)
{
    static const int modes[] = {SCRIPT_TAKE, SCRIPT_BUSY, SCRIPT_HALF, SCRIPT_FAIL};
    struct stage stage;
    unsigned number = 0;

    srandom(1);
    begin(&stage, 2, 6000);
    assert_int_equal(journal_start(stage.journal), 0);
    for (unsigned round = 0; round < 400; round++) {
        unsigned some = (unsigned)random() % 60;

        stage.scripts[0].mode = modes[random() % 4];
        stage_put_many(stage.source, number, number + some, (unsigned)random() % 300 + 1);
        number += some;
        counts_of(&stage, 0);
        usleep((unsigned)random() % 5000);
    }
    stage.scripts[0].mode = SCRIPT_TAKE;
    finish(&stage);
    expect_all(&stage, 0, number);
    expect_all(&stage, 1, number);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sinks_get_all_lines),
        cmocka_unit_test(numbers_grow_by_a_digit),
        cmocka_unit_test(each_journal_is_a_run),
        cmocka_unit_test(a_busy_sink_drops_and_says_so),
        cmocka_unit_test(a_failing_sink_drops_and_says_so),
        cmocka_unit_test(what_is_taken_by_halves_is_whole),
        cmocka_unit_test(sources_without_room),
        cmocka_unit_test(settled_later),
        cmocka_unit_test(lost_at_once),
        cmocka_unit_test(a_sink_that_is_gone),
        cmocka_unit_test(what_was_let_in_is_kept),
        cmocka_unit_test(kept_while_the_thread_sleeps),
        cmocka_unit_test(one_that_is_gone_is_crowded_for_ever),
        cmocka_unit_test(bytes_are_counted_when_kept),
        cmocka_unit_test(the_end_does_not_wait_for_ever),
        cmocka_unit_test(handed_over_too_late),
        cmocka_unit_test(never_started),
        cmocka_unit_test(no_journal),
        cmocka_unit_test(spans_have_no_numbers),
        cmocka_unit_test(relief_comes_with_what_was_kept),
        cmocka_unit_test(the_operator_hears_which_sink),
        cmocka_unit_test(moods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
