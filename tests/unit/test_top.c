/*
 * Who asks most: exact while all fit, never missing a heavy one beyond, and summed over workers that add meanwhile.
 */
#include "record/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <uv.h>
#include <cmocka.h>

static struct bytes name_of(char text[32], unsigned number)
{
    return (struct bytes){text, (size_t)snprintf(text, 32, "key-%u", number)};
}

static void add(struct top *top, unsigned number, unsigned times)
{
    char text[32];

    for (unsigned i = 0; i < times; i++)
        top_add(top, name_of(text, number), 10, 3);
}

static void assert_line(const struct top_line *line, const char *name, uint64_t requests, uint64_t tokens, uint64_t cost)
{
    assert_int_equal(line->name.size, strlen(name));
    assert_memory_equal(line->name.data, name, line->name.size);
    assert_int_equal(line->requests, requests);
    assert_int_equal(line->tokens, tokens);
    assert_int_equal(line->cost, cost);
}

static void test_none(void **state)
{
    struct top *sets[] = {top_new(), top_new()};
    struct top_line *lines;

    (void)state;
    assert_int_equal(top_lines(sets, 2, 10, &lines), 0);
    top_lines_free(lines);
    assert_int_equal(top_lines(sets, 0, 10, &lines), 0);
    top_lines_free(lines);
    top_free(sets[0]);
    assert_null(top_free(sets[1]));
    assert_null(top_free(NULL));
}

static void test_exact_while_all_fit(void **state)
{
    struct top *top = top_new();
    struct top_line *lines;

    (void)state;
    for (unsigned i = 0; i < TOP_PLACES; i++)
        add(top, i, i + 1);
    assert_int_equal(top_lines(&top, 1, 1000, &lines), TOP_PLACES);
    for (unsigned i = 0; i < TOP_PLACES; i++) {
        char text[32];
        unsigned number = TOP_PLACES - 1 - i;

        name_of(text, number);
        assert_line(&lines[i], text, number + 1, (number + 1) * 10, (number + 1) * 3);
    }
    top_lines_free(lines);
    assert_int_equal(top_lines(&top, 1, 3, &lines), 3);
    assert_line(&lines[0], "key-63", 64, 640, 192);
    top_lines_free(lines);
    top_free(top);
}

static void test_summed_over_workers(void **state)
{
    struct top *sets[] = {top_new(), top_new(), top_new()};
    struct top_line *lines;

    (void)state;
    add(sets[0], 1, 5);
    add(sets[1], 2, 6);
    add(sets[2], 1, 4);
    add(sets[2], 3, 6);
    assert_int_equal(top_lines(sets, 3, 10, &lines), 3);
    assert_line(&lines[0], "key-1", 9, 90, 27);
    assert_line(&lines[1], "key-2", 6, 60, 18);     /* as many: by name */
    assert_line(&lines[2], "key-3", 6, 60, 18);
    top_lines_free(lines);
    for (unsigned i = 0; i < 3; i++)
        top_free(sets[i]);
}

/* Whoever has more than one in 64 of all requests is there, and no count is too small. */
static void test_the_heavy_are_never_missed(void **state)
{
    struct top *top = top_new();
    struct top_line *lines;
    unsigned found, heavy = 0, light = 1000;

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < 5; i++)
            add(top, i, 10);
        for (unsigned i = 0; i < 50; i++)
            add(top, light++, 1);
    }
    found = top_lines(&top, 1, TOP_PLACES, &lines);
    assert_int_equal(found, TOP_PLACES);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(lines[i].name.size, strlen("key-0"));
        assert_in_range(lines[i].requests, 10000, 10000 + 100 * 1000 / TOP_PLACES);
        heavy |= 1u << (lines[i].name.data[4] - '0');
    }
    assert_int_equal(heavy, 31);
    top_lines_free(lines);
    top_free(top);
}

static void test_names(void **state)
{
    struct top *top = top_new();
    struct top_line *lines;
    char name[200];

    (void)state;
    memset(name, 'a', sizeof(name));
    memcpy(name + 127, "\xc3\xa9", 2);      /* would be split at 128 bytes */
    top_add(top, (struct bytes){name, sizeof(name)}, 1, 1);
    top_add(top, BYTES_NONE, 2, 2);
    top_add(top, BYTES("a\0b"), 3, 3);
    top_add(top, BYTES("a"), 4, 4);
    assert_int_equal(top_lines(&top, 1, 10, &lines), 4);
    assert_int_equal(lines[0].name.size, 0);
    assert_int_equal(lines[1].name.size, 1);
    assert_int_equal(lines[2].name.size, 3);
    assert_int_equal(lines[3].name.size, 127);
    top_lines_free(lines);
    top_free(top);
}

/* --- one adds, another reads --- */

static void add_many(void *data)
{
    for (unsigned i = 0; i < 100000; i++)
        add(data, i % 10, 1);
}

static void test_read_while_it_grows(void **state)
{
    struct top *sets[] = {top_new(), top_new()};
    struct top_line *lines;
    uv_thread_t threads[2];
    uint64_t sum = 0, before;

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&threads[i], add_many, sets[i]), 0);
    while (sum < 200000) {
        unsigned found = top_lines(sets, 2, 100, &lines);

        before = sum;
        sum = 0;
        for (unsigned i = 0; i < found; i++) {
            assert_int_equal(lines[i].tokens, lines[i].requests * 10);
            sum += lines[i].requests;
        }
        assert_true(sum >= before);
        top_lines_free(lines);
    }
    assert_int_equal(sum, 200000);
    for (unsigned i = 0; i < 2; i++) {
        uv_thread_join(&threads[i]);
        top_free(sets[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_exact_while_all_fit),
        cmocka_unit_test(test_summed_over_workers),
        cmocka_unit_test(test_the_heavy_are_never_missed),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_read_while_it_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
