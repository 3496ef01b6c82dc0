/*
 * Standard output that is read late, by pieces, or never. Each test has a standard output of its own for a while.
 */
#include "journal_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

struct stage {
    struct journal *journal;
    struct journal_source *source;
    int reader, saved;
    struct buffer got;
};

static void begin(struct stage *stage, int reader, int writer, uint64_t bound)
{
    struct journal_sink_setup setup = {&sink_stdout, NULL, JOURNAL_LINES};
    struct buffer errors = {0};

    *stage = (struct stage){.reader = reader};
    fflush(stdout);
    stage->saved = dup(STDOUT_FILENO);
    dup2(writer, STDOUT_FILENO);
    close(writer);
    assert_int_equal(journal_new_with(&setup, 1, bound, &errors, &stage->journal), 0);
    stage->source = journal_source_new(stage->journal);
    assert_int_equal(journal_start(stage->journal), 0);
    fcntl(stage->reader, F_SETFL, O_NONBLOCK);
}

static void begin_pipe(struct stage *stage, uint64_t bound)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    begin(stage, ends[0], ends[1], bound);
}

static struct journal_sink_counts counts_of(const struct stage *stage)
{
    struct journal_sink_counts counts = journal_sink_counts(stage->journal, 0);

    assert_true(stage_adds_up(&counts));
    return counts;
}

static void read_some(struct stage *stage)
{
    ssize_t size = read(stage->reader, buffer_reserve(&stage->got, 3000), 3000);

    stage->got.size += size > 0 ? (size_t)size : 0;
}

static void end(struct stage *stage, uint32_t within_ms)
{
    stage->source = journal_source_free(stage->source);
    journal_finish(stage->journal, within_ms);
    dup2(stage->saved, STDOUT_FILENO);
    close(stage->saved);
}

static void clean(struct stage *stage)
{
    journal_free(stage->journal);
    buffer_deinit(&stage->got);
    if (stage->reader >= 0)
        close(stage->reader);
}

static void all_lines_come(struct stage *stage, unsigned count)
{
    struct reading reading = {0};
    size_t before;

    stage_wait((read_some(stage), counts_of(stage).waiting == 0));
    end(stage, 3000);
    do {
        before = stage->got.size;
        read_some(stage);
    } while (stage->got.size > before);
    read_text(&reading, buffer_bytes(&stage->got));
    assert_int_equal(reading.records, counts_of(stage).written);
    assert_int_equal(reading.dropped, counts_of(stage).dropped);
    assert_int_equal(reading.seq, count);
    clean(stage);
}

static void a_pipe_that_is_read_late(void **state)
{
    struct stage stage;

    begin_pipe(&stage, 8 << 20);
    stage_put_many(stage.source, 0, 5000, 100);
    stage_put_many(stage.source, 5000, 5020, 50000); /* longer than a pipe takes at once */
    usleep(100000);
    all_lines_come(&stage, 5020);
}

static void a_pipe_that_is_shared_stays_blocking(void **state)
{
    struct stage stage;

    begin_pipe(&stage, 1 << 20);
    stage_put_many(stage.source, 0, 3000, 100);
    usleep(50000);
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
    all_lines_come(&stage, 3000);
}

static void a_socket(void **state)
{
    struct stage stage;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    begin(&stage, ends[0], ends[1], 8 << 20);
    stage_put_many(stage.source, 0, 10000, 100);
    usleep(50000);
    all_lines_come(&stage, 10000);
}

static void a_pipe_that_nobody_reads(void **state)
{
    struct stage stage;

    begin_pipe(&stage, 100000);
    for (unsigned i = 0; i < 5000; i += 100)
        stage_put_many(stage.source, i, i + 100, 100);
    stage_wait(counts_of(&stage).dropped > 3000);
    all_lines_come(&stage, 5000);
}

static void nobody_at_the_end(void **state)
{
    struct stage stage;
    uint64_t before = clock_ms();

    begin_pipe(&stage, 1 << 20);
    stage_put_many(stage.source, 0, 3000, 100);
    end(&stage, 200);
    assert_true(clock_ms() - before < 1500);
    assert_true(counts_of(&stage).dropped > 1000);
    clean(&stage);
}

static void a_reader_that_left(void **state)
{
    struct stage stage;

    signal(SIGPIPE, SIG_IGN);
    begin_pipe(&stage, 1 << 20);
    close(stage.reader);
    stage.reader = -1;
    stage_put_many(stage.source, 0, 100, 100);
    stage_wait(counts_of(&stage).dropped == 100);
    stage_put_many(stage.source, 100, 200, 100);
    end(&stage, 1000);
    assert_int_equal(counts_of(&stage).dropped, 200);
    assert_int_equal(counts_of(&stage).errors, 1);
    clean(&stage);
}

static void a_file(void **state)
{
    char path[] = "/tmp/test_sink_stdout.XXXXXX";
    struct reading reading = {0};
    struct stage stage;

    begin(&stage, -1, mkstemp(path), 1 << 20);
    stage_put_many(stage.source, 0, 1000, 100);
    end(&stage, 1000);
    read_file(&reading, path);
    unlink(path);
    assert_int_equal(reading.records, 1000);
    clean(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_that_is_read_late),
        cmocka_unit_test(a_pipe_that_is_shared_stays_blocking),
        cmocka_unit_test(a_socket),
        cmocka_unit_test(a_pipe_that_nobody_reads),
        cmocka_unit_test(nobody_at_the_end),
        cmocka_unit_test(a_reader_that_left),
        cmocka_unit_test(a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
