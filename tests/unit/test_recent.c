/*
 * The last failures: the newest first, the oldest gone, texts cut at whole characters, read while others add.
 */
#include "record/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <uv.h>
#include <cmocka.h>

static void add(struct recent *recent, unsigned number)
{
    char id[32];
    size_t size = (size_t)snprintf(id, sizeof(id), "req_%u", number);

    recent_add(recent, number, (struct bytes){id, size}, BYTES("alice"), BYTES("tiny"), BYTES("one"), "TOO_LARGE", number);
}

static void test_newest_first(void **state)
{
    struct recent *recent = recent_new();
    struct recent_failure list[RECENT_PLACES + 1];

    (void)state;
    assert_int_equal(recent_list(recent, list, 10), 0);
    for (unsigned number = 1; number <= 3 * RECENT_PLACES + 7; number++) {
        unsigned have = number < RECENT_PLACES ? number : RECENT_PLACES;

        add(recent, number);
        assert_int_equal(recent_list(recent, list, RECENT_PLACES + 1), have);
        for (unsigned i = 0; i < have; i++) {
            char id[32];

            snprintf(id, sizeof(id), "req_%u", number - i);
            assert_string_equal(list[i].id, id);
            assert_int_equal(list[i].status, number - i);
            assert_int_equal(list[i].wall_ms, number - i);
        }
    }
    assert_int_equal(recent_list(recent, list, 2), 2);
    assert_int_equal(recent_list(recent, list, 0), 0);
    assert_string_equal(list[0].key, "alice");
    assert_string_equal(list[0].model, "tiny");
    assert_string_equal(list[0].backend, "one");
    assert_string_equal(list[0].reason, "TOO_LARGE");
    assert_null(recent_free(recent));
    assert_null(recent_free(NULL));
}

static void test_texts_are_cut(void **state)
{
    struct recent *recent = recent_new();
    struct recent_failure one;
    char text[300];

    (void)state;
    for (unsigned i = 0; i < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    recent_add(recent, 1, BYTES_NONE, (struct bytes){text, 299}, (struct bytes){text, 300}, (struct bytes){text, 65}, NULL,
               500);
    assert_int_equal(recent_list(recent, &one, 1), 1);
    assert_string_equal(one.id, "");
    assert_string_equal(one.reason, "");
    assert_int_equal(strlen(one.key), 63);
    assert_int_equal(strlen(one.model), 93);
    assert_int_equal(strlen(one.backend), 63);
    /* A place that is written over shows nothing of who was there. */
    for (unsigned i = 0; i < RECENT_PLACES; i++)
        recent_add(recent, 2, BYTES("b"), BYTES_NONE, BYTES("c"), BYTES_NONE, "d", 501);
    assert_int_equal(recent_list(recent, &one, 1), 1);
    assert_string_equal(one.key, "");
    assert_string_equal(one.model, "c");
    recent_free(recent);
}

/* --- many add, another reads --- */

static void add_many(void *data)
{
    for (unsigned i = 0; i < 20000; i++)
        add(data, i);
}

static void test_threads(void **state)
{
    struct recent *recent = recent_new();
    struct recent_failure list[RECENT_PLACES];
    uv_thread_t threads[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(uv_thread_create(&threads[i], add_many, recent), 0);
    for (unsigned round = 0; round < 2000; round++) {
        unsigned count = recent_list(recent, list, RECENT_PLACES);

        for (unsigned i = 0; i < count; i++) {
            char id[32];

            snprintf(id, sizeof(id), "req_%u", list[i].status);
            assert_string_equal(list[i].id, id);
        }
    }
    for (unsigned i = 0; i < 3; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(recent_list(recent, list, RECENT_PLACES), RECENT_PLACES);
    recent_free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_texts_are_cut),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
