/*
 * The leaves: numbers out of text, strict UTF-8, buffers and arenas.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/random.h"
#include "base/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void integers_are_read_whole(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-1", 0, -1},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t value = 0;

        assert_int_equal(bytes_to_i64(bytes_of(cases[i].text), &value), cases[i].result);
        assert_true(value == cases[i].value);
    }
}

static void utf8_is_strict(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"plain ascii, longer than a word", true},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\xa5", true},
        {"\xc0\xaf", false},
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"12345678\xff", false},
        {"\xe2\x82", false},
        {"\x80", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(utf8_valid(bytes_of(cases[i].text)), cases[i].valid);
    assert_int_equal(utf8_cut(BYTES("a\xe2\x82\xac"), 3).size, 1);
}

static void buffers_grow_and_shrink(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer);
    for (int i = 0; i < 1000; i++)
        buffer_append_i64(&buffer, -i);
    buffer_consume(&buffer, 1);
    assert_true(bytes_start_with(buffer_bytes(&buffer), BYTES("-1-2-3")) || buffer.data[0] == '-');
    buffer_clear(&buffer, 0);
    buffer_append_i64(&buffer, INT64_MIN);
    assert_true(bytes_equal(buffer_bytes(&buffer), BYTES("-9223372036854775808")));
    buffer_deinit(&buffer);
}

static void arenas_keep_what_they_gave(void **state)
{
    struct arena arena;
    struct bytes first, big;

    arena_init(&arena);
    first = arena_copy(&arena, BYTES("first"));
    big = arena_printf(&arena, "%05000d", 7);
    assert_int_equal(big.size, 5000);
    assert_true(bytes_equal(first, BYTES("first")));
    assert_int_equal(first.data[5], '\0');
    arena_deinit(&arena);
}

static void identifiers_differ(void **state)
{
    char one[RANDOM_ID_SIZE], two[RANDOM_ID_SIZE];

    random_id(one);
    random_id(two);
    assert_memory_not_equal(one, two, sizeof(one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_whole), cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(buffers_grow_and_shrink), cmocka_unit_test(arenas_keep_what_they_gave),
        cmocka_unit_test(identifiers_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
