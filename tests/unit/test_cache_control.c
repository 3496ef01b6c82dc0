/*
 * What clients say about remembered answers: good lists, strange ones, and every cut of each.
 */
#include "entry/cache_control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define ANY UINT32_MAX
#define MOST CACHE_CONTROL_AGE_MOST

static const struct {
    const char *value;
    struct cache_control means;
} cases[] = {
    {"", {.max_age_s = ANY}},
    {" \t", {.max_age_s = ANY}},
    {",", {.max_age_s = ANY}},
    {"no-cache", {.no_cache = true, .max_age_s = ANY}},
    {"NO-Cache", {.no_cache = true, .max_age_s = ANY}},
    {"no-store", {.no_store = true, .max_age_s = ANY}},
    {"Only-If-Cached", {.only_if_cached = true, .max_age_s = ANY}},
    {"max-age=60", {.max_age_s = 60}},
    {"Max-Age=060", {.max_age_s = 60}},
    {"max-age=0", {.max_age_s = 0}},
    {"max-age=\"60\"", {.max_age_s = 60}},
    {"max-age = 60", {.max_age_s = 60}},
    {" no-cache ,\tno-store,only-if-cached , max-age=1", {true, true, true, 1}},
    {",,no-cache,,max-age=7,,", {.no_cache = true, .max_age_s = 7}},
    {"max-age=60, max-age=5, max-age=70", {.max_age_s = 5}},
    /* no number: the strict reading */
    {"max-age", {.max_age_s = 0}},
    {"max-age=", {.max_age_s = 0}},
    {"max-age=\"\"", {.max_age_s = 0}},
    {"max-age=-1", {.max_age_s = 0}},
    {"max-age=+1", {.max_age_s = 0}},
    {"max-age=1.5", {.max_age_s = 0}},
    {"max-age=1e3", {.max_age_s = 0}},
    {"max-age=60s", {.max_age_s = 0}},
    {"max-age='60'", {.max_age_s = 0}},
    {"max-age=6 0", {.max_age_s = 0}},
    {"max-age=\"60", {.max_age_s = 0}},
    {"max-age=\"60\"x", {.max_age_s = 0}},
    /* too large */
    {"max-age=2147483647", {.max_age_s = 2147483647}},
    {"max-age=2147483648", {.max_age_s = MOST}},
    {"max-age=2147483649", {.max_age_s = MOST}},
    {"max-age=4294967296", {.max_age_s = MOST}},
    {"max-age=18446744073709551616000000000000000000000", {.max_age_s = MOST}},
    {"max-age=18446744073709551616000000000000000000000x", {.max_age_s = 0}},
    /* unknown or not well formed */
    {"private, max-stale=5, no-transform", {.max_age_s = ANY}},
    {"no-cachex, xno-store, no_cache", {.max_age_s = ANY}},
    {"no-cache no-store", {.max_age_s = ANY}},
    {"no-cache; no-store", {.max_age_s = ANY}},
    {"no-cache=\"a, no-store\"", {.no_cache = true, .max_age_s = ANY}},
    {"no-store=1", {.no_store = true, .max_age_s = ANY}},
    {"ext=\"no-cache, no-store\", max-age=3", {.max_age_s = 3}},
    {"ext=\"\\\", no-store\", max-age=3", {.max_age_s = 3}},
    {"ext=\"\\\\\", no-store", {.no_store = true, .max_age_s = ANY}},
    {"ext=\"no-cache, no-store", {.max_age_s = ANY}},
    {"ext=\"no-cache, no-store\\", {.max_age_s = ANY}},
    {"\"no-cache\"", {.max_age_s = ANY}},
    {"no-store, ext=\"", {.no_store = true, .max_age_s = ANY}},
    {"=5, =, no-cache", {.no_cache = true, .max_age_s = ANY}},
};

static void lists_mean_what_they_say(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cache_control got, means = cases[i].means;

        memset(&got, 0xff, sizeof(got));
        cache_control_read(bytes_of(cases[i].value), &got);
        if (got.no_cache != means.no_cache || got.no_store != means.no_store ||
            got.only_if_cached != means.only_if_cached || got.max_age_s != means.max_age_s)
            fail_msg("\"%s\": %d %d %d %u", cases[i].value, got.no_cache, got.no_store, got.only_if_cached,
                     got.max_age_s);
    }
}

/* Each cut on the heap, at its exact size: a read too far is seen. */
static void no_cut_leads_outside(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t size = strlen(cases[i].value);

        for (size_t from = 0; from <= size; from++) {
            for (size_t to = from; to <= size; to++) {
                char *copy = malloc(to - from ? to - from : 1);
                struct cache_control got;

                memcpy(copy, cases[i].value + from, to - from);
                cache_control_read((struct bytes){copy, to - from}, &got);
                assert_true(got.max_age_s <= MOST || got.max_age_s == ANY);
                free(copy);
            }
        }
    }
}

static void long_ones_take_their_time_once(void **state)
{
    static const char *const pieces[] = {"\"", "\\\"", ",", "=", "\"a\",", "max-age=\"1\",", "a=\"\\"};
    static char text[1 << 20];

    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        size_t length = strlen(pieces[i]);
        struct cache_control got;

        for (size_t at = 0; at < sizeof(text); at++)
            text[at] = pieces[i][at % length];
        cache_control_read((struct bytes){text, sizeof(text)}, &got);
        assert_false(got.no_cache || got.no_store || got.only_if_cached);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_mean_what_they_say),
        cmocka_unit_test(no_cut_leads_outside),
        cmocka_unit_test(long_ones_take_their_time_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
