/*
 * Lines into a pipe that is read late or never.
 */
#include "record/lines.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static void append_lines(struct lines *lines, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        buffer_printf(&lines->text, "line %08u of many, as long as a line of a request mostly is\n", i);
}

/* Reads what is there; every line must be whole and follow the one before. */
static void expect_lines(int descriptor, struct buffer *read_so_far)
{
    ssize_t size;

    do {
        size = read(descriptor, buffer_reserve(read_so_far, 65536), 65536);
        read_so_far->size += size > 0 ? (size_t)size : 0;
    } while (size > 0);
}

static void what_waits_comes_later(void **state)
{
    struct lines lines;
    struct buffer got, wanted;
    struct lines all;
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    lines_init(&lines);
    lines_init(&all);
    buffer_init(&got);
    append_lines(&all, 0, 4000);
    wanted = all.text;
    append_lines(&lines, 0, 4000);
    while (lines.text.size) {
        assert_int_equal(lines_flush(&lines, ends[1]), 0);
        expect_lines(ends[0], &got);
    }
    assert_int_equal(got.size, wanted.size);
    assert_memory_equal(got.data, wanted.data, got.size);
    buffer_deinit(&got);
    lines_deinit(&lines);
    lines_deinit(&all);
    close(ends[0]);
    close(ends[1]);
}

static void what_nobody_takes_is_dropped_and_counted(void **state)
{
    struct lines lines;
    struct buffer got;
    unsigned dropped = 0, seen = 0;
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    lines_init(&lines);
    buffer_init(&got);
    for (unsigned round = 0; round < 20; round++) {
        append_lines(&lines, round * 1000, round * 1000 + 1000);
        dropped += lines_flush(&lines, ends[1]);
        assert_true(lines.text.size <= (256 << 10) + 100);
    }
    while (lines.text.size) {
        dropped += lines_flush(&lines, ends[1]);
        expect_lines(ends[0], &got);
    }
    for (size_t i = 0; i < got.size; i++)
        seen += got.data[i] == '\n';
    assert_true(dropped > 0);
    assert_int_equal(seen + dropped, 20000);
    assert_int_equal(got.data[got.size - 1], '\n');
    buffer_deinit(&got);
    lines_deinit(&lines);
    close(ends[0]);
    close(ends[1]);
}

static void nobody_is_there(void **state)
{
    struct lines lines;

    lines_init(&lines);
    append_lines(&lines, 0, 10);
    assert_int_equal(lines_flush(&lines, -1), 0);
    lines_deinit(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_comes_later),
        cmocka_unit_test(what_nobody_takes_is_dropped_and_counted),
        cmocka_unit_test(nobody_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
