/*
 * Several workers put lines in as fast as they can, while files are moved away and opened again, a sink next to the
 * file limps, and somebody reads the numbers all the time. Nothing is lost but what is counted, and said in place.
 *
 * STORM_MS in the environment says for how long; build with -fsanitize=thread to see the most of it.
 */
#include "journal_stage.h"

#define WORKERS 4

struct storm {
    struct journal *journal;
    struct config_sink config;
    struct script script, *script_view;
    char folder[64], path[96];
    _Atomic bool stop;
    uv_barrier_t ready;
    unsigned moved;             /* files */
    bool waits;                 /* workers wait while it is crowded */
};

struct worker {
    struct storm *storm;
    uv_thread_t thread;
    unsigned who;
    uint64_t accepted;
};

static void run_worker(void *data)
{
    struct worker *worker = data;
    struct storm *storm = worker->storm;
    struct journal_source *source = journal_source_new(storm->journal);
    unsigned padding = 1;

    uv_barrier_wait(&storm->ready);
    while (!storm->stop) {
        padding = padding * 17 % 1009;
        while (storm->waits && journal_is_crowded(storm->journal) && !storm->stop)
            usleep(100);
        stage_put(source, worker->who, (unsigned)worker->accepted++, padding);
        if (source_waiting(source) > 32768 || padding % 100 == 0)
            source_hand_over(source);
        if (padding % 250 == 0)
            usleep(500);
    }
    journal_source_free(source);
}

static void run_reader(void *data)
{
    struct storm *storm = data;

    uv_barrier_wait(&storm->ready);
    while (!storm->stop) {
        for (unsigned i = 0; i < journal_sink_count(storm->journal); i++) {
            struct journal_sink_counts counts = journal_sink_counts(storm->journal, i);

            if (!stage_adds_up(&counts))
                abort();
        }
        journal_counts(storm->journal, JOURNAL_LINES);
        usleep(1000);
    }
}

static void begin(struct storm *storm, uint64_t bound, bool with_script)
{
    struct journal_sink_setup setups[2];
    struct buffer errors = {0};

    snprintf(storm->folder, sizeof(storm->folder), "/tmp/test_journal_threads.XXXXXX");
    assert_non_null(mkdtemp(storm->folder));
    snprintf(storm->path, sizeof(storm->path), "%s/requests.log", storm->folder);
    storm->config.path = bytes_of(storm->path);
    storm->script_view = &storm->script;
    setups[0] = (struct journal_sink_setup){&sink_file, &storm->config, JOURNAL_LINES};
    setups[1] = (struct journal_sink_setup){&sink_script, &storm->script_view, JOURNAL_LINES};
    assert_int_equal(journal_new_with(setups, with_script ? 2 : 1, bound, &errors, &storm->journal), 0);
    assert_int_equal(journal_start(storm->journal), 0);
}

static void move_away(struct storm *storm)
{
    char name[128];

    snprintf(name, sizeof(name), "%s/old.%05u", storm->folder, storm->moved);
    if (rename(storm->path, name) == 0)
        storm->moved++;
    journal_reopen(storm->journal);
}

static uint64_t run(struct storm *storm)
{
    const char *text = getenv("STORM_MS");
    uint64_t until = clock_ms() + (text ? (uint64_t)strtoull(text, NULL, 10) : 700), accepted = 0;
    struct worker workers[WORKERS];
    uv_thread_t reader;

    uv_barrier_init(&storm->ready, WORKERS + 2);
    uv_thread_create(&reader, run_reader, storm);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.storm = storm, .who = i};
        uv_thread_create(&workers[i].thread, run_worker, &workers[i]);
    }
    uv_barrier_wait(&storm->ready);
    while (clock_ms() < until) {
        usleep(7000);
        move_away(storm);
        storm->script.sleep_us = storm->script.sleep_us ? 0 : 3000;
        storm->script.mode = storm->moved % 3 == 0 ? SCRIPT_BUSY : SCRIPT_TAKE;
    }
    storm->stop = true;
    uv_thread_join(&reader);
    for (unsigned i = 0; i < WORKERS; i++) {
        uv_thread_join(&workers[i].thread);
        accepted += workers[i].accepted;
    }
    uv_barrier_destroy(&storm->ready);
    storm->script.mode = SCRIPT_TAKE;
    journal_finish(storm->journal, 10000);
    return accepted;
}

static void read_folder(struct storm *storm, struct reading *reading)
{
    char name[128];

    for (unsigned i = 0; i < storm->moved; i++) {
        snprintf(name, sizeof(name), "%s/old.%05u", storm->folder, i);
        read_file(reading, name);
        unlink(name);
    }
    read_file(reading, storm->path);
    unlink(storm->path);
    rmdir(storm->folder);
}

static void expect(struct storm *storm, unsigned sink, const struct reading *reading, uint64_t accepted)
{
    struct journal_sink_counts counts = journal_sink_counts(storm->journal, sink);

    assert_int_equal(reading->seq, accepted);
    assert_int_equal(counts.accepted, accepted);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(counts.written, reading->records);
    assert_int_equal(counts.dropped, reading->dropped);
}

static void nothing_is_lost_when_workers_wait(void **state)
{
    struct storm storm = {.waits = true};
    struct reading reading = {0};
    uint64_t accepted;

    begin(&storm, 4 << 20, false);
    accepted = run(&storm);
    read_folder(&storm, &reading);
    expect(&storm, 0, &reading, accepted);
    assert_int_equal(reading.dropped, 0);
    assert_true(storm.moved > 0);
    journal_free(storm.journal);
}

static void what_is_lost_is_told_in_place(void **state)
{
    struct storm storm = {0};
    struct reading reading = {0}, script = {0};
    uint64_t accepted;

    begin(&storm, 100000, true);
    accepted = run(&storm);
    read_folder(&storm, &reading);
    expect(&storm, 0, &reading, accepted);
    read_text(&script, buffer_bytes(&storm.script.got));
    expect(&storm, 1, &script, accepted);
    assert_true(script.dropped > 0);
    buffer_deinit(&storm.script.got);
    journal_free(storm.journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_when_workers_wait),
        cmocka_unit_test(what_is_lost_is_told_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
