/*
 * Percentiles against the exact ones, of single times, of spread ones and of those beyond the steps.
 */
#include "record/gaps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define MANY 10000

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Right to a tenth, or to the few microseconds of the first step. */
static void assert_close(uint64_t got, uint64_t exact)
{
    uint64_t apart = got > exact ? got - exact : exact - got;

    if (apart > exact / 10 + 4)
        fail_msg("%llu, not %llu", (unsigned long long)got, (unsigned long long)exact);
}

static void none_is_zero(void **state)
{
    struct gaps gaps = {0};

    assert_int_equal(gaps_percentile(&gaps, 50), 0);
    assert_int_equal(gaps_percentile(&gaps, 100), 0);
}

static void one_is_exact(void **state)
{
    for (uint64_t us = 0; us < UINT64_MAX / 3; us += us / 4 + 1) {
        struct gaps gaps = {0};

        gaps_add(&gaps, us);
        assert_int_equal(gaps.max_us, us);
        assert_int_equal(gaps_percentile(&gaps, 1), us);
        assert_int_equal(gaps_percentile(&gaps, 99), us);
    }
}

static void every_time_is_right_to_a_tenth(void **state)
{
    for (uint64_t us = 0; us < 56000000; us += us / 50 + 1) {
        struct gaps gaps = {0};

        gaps_add(&gaps, us);
        gaps_add(&gaps, UINT64_MAX);
        assert_close(gaps_percentile(&gaps, 50), us);
        assert_int_equal(gaps_percentile(&gaps, 51), UINT64_MAX);
    }
}

static void percentiles_of_many(void **state)
{
    static const unsigned percents[] = {1, 10, 50, 90, 99};
    static uint64_t all[MANY];
    struct gaps gaps = {0};
    uint32_t seed = 1;

    for (size_t i = 0; i < MANY; i++) {
        seed = seed * 1664525 + 1013904223;
        all[i] = (uint64_t)(seed >> 16) * (seed >> 24) + 4;
        gaps_add(&gaps, all[i]);
    }
    qsort(all, MANY, sizeof(all[0]), by_size);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        assert_close(gaps_percentile(&gaps, percents[i]), all[MANY * percents[i] / 100 - 1]);
    assert_int_equal(gaps_percentile(&gaps, 100), all[MANY - 1]);
    assert_int_equal(gaps.max_us, all[MANY - 1]);
    assert_int_equal(gaps.count, MANY);
}

static void never_more_than_the_maximum(void **state)
{
    struct gaps gaps = {0};

    for (unsigned i = 0; i < 100; i++)
        gaps_add(&gaps, 1000);
    assert_close(gaps_percentile(&gaps, 50), 1000);
    assert_true(gaps_percentile(&gaps, 99) <= 1000);
    for (unsigned i = 0; i < 100; i++)
        gaps_add(&gaps, (uint64_t)3600 * 1000000);
    assert_int_equal(gaps_percentile(&gaps, 99), (uint64_t)3600 * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_zero),
        cmocka_unit_test(one_is_exact),
        cmocka_unit_test(every_time_is_right_to_a_tenth),
        cmocka_unit_test(percentiles_of_many),
        cmocka_unit_test(never_more_than_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
