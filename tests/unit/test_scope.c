/*
 * Scopes: found again, counted on, shown; and the calendar of their budgets.
 */
#include "admit_world.h"

#include "admit/budget.h"

#include <time.h>

static void found_again(void **given)
{
    const struct config_quota quota = {.concurrent = 1};
    struct admit *admit = admit_new();
    struct scope *scope;
    char name[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        scope = admit_scope(admit, (enum scope_kind)(i % SCOPE_KINDS), bytes_of(name), &quota);
        assert_non_null(scope);
        assert_int_equal((uintptr_t)scope % 64, 0);
        assert_int_equal(scope_kind(scope), i % SCOPE_KINDS);
        assert_true(bytes_equal(scope_name(scope), bytes_of(name)));
    }
    for (int i = 0; i < 1000; i++) {
        enum scope_kind kind = (enum scope_kind)(i % SCOPE_KINDS);

        snprintf(name, sizeof(name), "n%d", i);
        scope = admit_find(admit, kind, bytes_of(name));
        assert_ptr_equal(scope, admit_at(admit, (uint32_t)i));
        assert_ptr_equal(scope, admit_scope(admit, kind, bytes_of(name), &quota));
        assert_null(admit_find(admit, (enum scope_kind)((i + 1) % SCOPE_KINDS), bytes_of(name)));
    }
    assert_null(admit_at(admit, 1000));
    assert_non_null(admit_scope(admit, SCOPE_OF_TEAM, BYTES_NONE, &quota));
    assert_non_null(admit_find(admit, SCOPE_OF_TEAM, BYTES("")));
    admit_free(admit);
    admit_free(NULL);
}

static void no_quota_no_scope(void **given)
{
    const struct config_quota none = {0}, some = {.tokens_per_day = 10};
    struct admit *admit = admit_new();
    struct reservation reservation = {0};
    struct scope_line lines[QUOTA_LIMITS];
    struct refusal refusal;
    struct scope *scope;

    assert_null(admit_scope(admit, SCOPE_OF_KEY, BYTES("a"), &none));
    assert_null(admit_find(admit, SCOPE_OF_KEY, BYTES("a")));
    scope = admit_scope(admit, SCOPE_OF_KEY, BYTES("a"), &some);
    assert_int_equal(reservation_take(&reservation, &scope, 1, &(struct charge){.tokens = 7}, at_us(1), &refusal), 0);
    assert_null(admit_scope(admit, SCOPE_OF_KEY, BYTES("a"), &none));
    assert_int_equal(scope_lines(scope, at_us(2), lines), 0);
    assert_ptr_equal(admit_scope(admit, SCOPE_OF_KEY, BYTES("a"), &some), scope);
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY, at_us(3)), 7);
    reservation_undo(&reservation, at_us(4));
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY, at_us(5)), 0);
    admit_free(admit);
}

static void lines(void **given)
{
    const struct config_quota quota = {
        .requests_per_minute = 60, .requests_burst = 10, .tokens_per_minute = 6000, .concurrent = 4,
        .tokens_per_day = 1000, .tokens_per_month = 5000, .money_per_day = 100, .money_per_month = 500,
    };
    static const struct scope_line wanted[QUOTA_LIMITS] = {
        {QUOTA_REQUESTS, 60, 1, 9, 1000},         {QUOTA_TOKENS, 6000, 250, 5750, 2500},
        {QUOTA_CONCURRENT, 4, 1, 3, 0},           {QUOTA_TOKENS_DAY, 1000, 250, 750, 43200000},
        {QUOTA_TOKENS_MONTH, 5000, 250, 4750, UINT64_C(648000000)},
        {QUOTA_MONEY_DAY, 100, 42, 58, 43200000}, {QUOTA_MONEY_MONTH, 500, 42, 458, UINT64_C(648000000)},
    };
    struct admit *admit = admit_new();
    struct scope *scope = admit_scope(admit, SCOPE_OF_MODEL, BYTES("m"), &quota);
    struct reservation reservation = {0};
    struct scope_line found[QUOTA_LIMITS];
    struct refusal refusal;

    assert_int_equal(reservation_take(&reservation, &scope, 1, &(struct charge){1, 250, 42, false}, at_us(5000000), &refusal),
                     0);
    assert_int_equal(scope_lines(scope, at_us(5000000), found), QUOTA_LIMITS);
    for (int i = 0; i < QUOTA_LIMITS; i++) {
        assert_int_equal(found[i].limit, wanted[i].limit);
        assert_int_equal(found[i].most, wanted[i].most);
        assert_int_equal(found[i].used, wanted[i].used);
        assert_int_equal(found[i].remaining, wanted[i].remaining);
        assert_int_equal(found[i].reset_ms, wanted[i].reset_ms);
    }
    assert_string_equal(quota_limit_name(QUOTA_TOKENS_MONTH), "tokens_per_month");
    assert_string_equal(scope_kind_name(SCOPE_OF_GATEWAY), "gateway");
    reservation_settle(&reservation, &reservation.taken, at_us(5000000));
    admit_free(admit);
}

static void a_new_quota_keeps_the_counts(void **given)
{
    struct config_quota quota = {.requests_per_minute = 6000, .requests_burst = 100, .tokens_per_day = 50};
    struct admit *admit = admit_new();
    struct scope *scope = admit_scope(admit, SCOPE_OF_KEY, BYTES("k"), &quota);
    const struct charge want = {.requests = 80, .tokens = 30};
    struct reservation reservation = {0}, other = {0};
    struct refusal refusal;

    assert_int_equal(reservation_take(&reservation, &scope, 1, &want, at_us(0), &refusal), 0);
    quota.requests_per_minute = 1;
    quota.tokens_per_day = 40;
    assert_ptr_equal(admit_scope(admit, SCOPE_OF_KEY, BYTES("k"), &quota), scope);
    /* The time before is the old rate's: in 500 ms 50 of the 80 came back. */
    assert_int_equal(used_of(scope, QUOTA_REQUESTS, at_us(500000)), 30);
    assert_int_equal(used_of(scope, QUOTA_REQUESTS, at_us(500000 + MINUTE_US)), 29);
    assert_int_equal(reservation_take(&other, &scope, 1, &(struct charge){.tokens = 11}, at_us(600000), &refusal),
                     ADMIT_E_REFUSED);
    assert_int_equal(refusal.limit, QUOTA_TOKENS_DAY);
    quota.tokens_per_day = 41;
    admit_scope(admit, SCOPE_OF_KEY, BYTES("k"), &quota);
    assert_int_equal(reservation_take(&other, &scope, 1, &(struct charge){.tokens = 11}, at_us(600000), &refusal), 0);
    admit_free(admit);
}

/* --- the calendar --- */

static void months_as_libc_has_them(void **given)
{
    for (int64_t day = 0; day < 200000; day++) {
        time_t wall = (time_t)(day * DAY_S + day % DAY_S);
        struct moment moment = moment_of(0, wall);
        struct budget budget = {.now.number = moment.number[BUDGET_MONTH]};
        struct tm tm, next;

        assert_non_null(gmtime_r(&wall, &tm));
        assert_int_equal(moment.number[BUDGET_DAY], day);
        assert_int_equal(moment.number[BUDGET_MONTH], (tm.tm_year + 1900) * 12 + tm.tm_mon);
        next = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
        assert_int_equal(budget_reset_ms(&budget, BUDGET_MONTH, &moment), (timegm(&next) - wall) * 1000);
    }
}

static void a_clock_that_steps_back(void **given)
{
    struct budget budget = {0};
    struct moment moment = moment_of(1000, NOON);
    uint64_t day_us = (uint64_t)DAY_S * SECOND_US;

    budget_roll(&budget, BUDGET_DAY, &moment);
    budget.now.tokens = 5;
    moment = moment_of(2000, NOON - DAY_S);
    budget_roll(&budget, BUDGET_DAY, &moment);
    assert_int_equal(budget.now.tokens, 5);
    assert_int_equal(budget_reset_ms(&budget, BUDGET_DAY, &moment), 86400000 - 1);
    moment = moment_of(1000 + day_us - 1, NOON - DAY_S);
    budget_roll(&budget, BUDGET_DAY, &moment);
    assert_int_equal(budget.now.tokens, 5);
    assert_int_equal(budget_reset_ms(&budget, BUDGET_DAY, &moment), 1);
    moment = moment_of(1000 + day_us, NOON - DAY_S);
    budget_roll(&budget, BUDGET_DAY, &moment);
    assert_int_equal(budget.now.tokens, 0);
    assert_int_equal(budget.before.tokens, 5);
    assert_int_equal(budget_reset_ms(&budget, BUDGET_DAY, &moment), 43200000);
}

static void clocks_of_no_sense(void **given)
{
    assert_int_equal(moment_of(0, -1).number[BUDGET_DAY], 0);
    assert_int_equal(moment_of(0, INT64_MIN).number[BUDGET_MONTH], 1970 * 12);
    assert_true(moment_of(0, INT64_MAX).number[BUDGET_DAY] > 1000000);
    assert_true(moment_of(0, INT64_MAX).number[BUDGET_MONTH] > 12 * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_again),
        cmocka_unit_test(no_quota_no_scope),
        cmocka_unit_test(lines),
        cmocka_unit_test(a_new_quota_keeps_the_counts),
        cmocka_unit_test(months_as_libc_has_them),
        cmocka_unit_test(a_clock_that_steps_back),
        cmocka_unit_test(clocks_of_no_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
