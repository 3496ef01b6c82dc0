/*
 * Scopes: found again, counted on, shown; and the calendar of their budgets.
 */
#include "admit_world.h"

#include "admit/scope_private.h"

#include <time.h>

static void found_again(void **given)
{
    const struct config_quota quota = {.concurrent = 1};
    struct admit *admit = admit_new();
    struct scope *scope;
    uint32_t place = 0;
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
        assert_ptr_equal(scope, admit_next(admit, &place));
        assert_ptr_equal(scope, admit_scope(admit, kind, bytes_of(name), &quota));
        assert_null(admit_find(admit, (enum scope_kind)((i + 1) % SCOPE_KINDS), bytes_of(name)));
    }
    assert_null(admit_next(admit, &place));
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

/* --- those of keys --- */

static const struct config_quota some = {.requests_per_minute = 60, .concurrent = 5, .tokens_per_month = 1000};

/* A keyring of the keys NAMES has come, and its scopes are in *RET. */
static bool attach(struct admit *admit, const char *names, struct scope **ret)
{
    struct admit_key keys[8];
    uint32_t count = 0;

    for (; names[count]; count++)
        keys[count] = (struct admit_key){.name = {&names[count], 1}, .quota = &some};
    if (!admit_attach(admit, keys, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        ret[i] = keys[i].scope;
    return true;
}

static void assert_shown(struct admit *admit, const char *names)
{
    uint32_t place = 0;
    struct scope *scope;

    while ((scope = admit_next(admit, &place)))
        assert_int_equal(scope_name(scope).data[0], *names++);
    assert_int_equal(*names, 0);
}

static void keys_that_are_gone_are_not_shown(void **given)
{
    struct admit *admit = admit_new();
    struct scope *scopes[8], *others[8];
    struct reservation reservation = {0};
    struct refusal refusal;

    admit_scope(admit, SCOPE_OF_TEAM, BYTES("t"), &some);
    assert_true(attach(admit, "abc", scopes));
    assert_shown(admit, "tabc");
    assert_int_equal(reservation_take(&reservation, &scopes[1], 1, &(struct charge){.tokens = 7}, at_us(1), &refusal), 0);
    assert_true(attach(admit, "dc", others));
    assert_ptr_equal(others[1], scopes[2]);
    assert_shown(admit, "tbcd"); /* a place of b is taken */
    reservation_settle(&reservation, &(struct charge){.tokens = 7}, at_us(2));
    assert_shown(admit, "tcd");
    assert_true(attach(admit, "", others));
    assert_shown(admit, "t");
    admit_free(admit);
}

/* Of what nobody can come back to nothing stays: however many names there were. */
static void names_that_rotate_are_forgotten(void **given)
{
    struct admit *admit = admit_new();
    struct scope *scopes[8];

    admit_scope(admit, SCOPE_OF_KEY, BYTES("z"), &some); /* of no keyring: kept */
    for (int i = 0; i < 26 * 100; i++) {
        const char name[] = {(char)('A' + i % 26), 0};

        assert_true(attach(admit, name, scopes));
        admit_forget(admit, at_us(0));
        assert_ptr_equal(admit_find(admit, SCOPE_OF_KEY, bytes_of(name)), scopes[0]);
        assert_int_equal(admit->count, 2);
        scope_detach(scopes[0]);
    }
    admit_forget(admit, at_us(0));
    assert_int_equal(admit->count, 1);
    assert_non_null(admit_find(admit, SCOPE_OF_KEY, BYTES("z")));
    scope_detach(NULL);
    admit_free(admit);
}

static void what_counts_is_not_forgotten(void **given)
{
    const int64_t month = 31 * DAY_S;
    struct admit *admit = admit_new();
    struct scope *scopes[8], *again[8];
    struct reservation reservation = {0};
    struct refusal refusal;

    assert_true(attach(admit, "ab", scopes));
    assert_true(attach(admit, "b", again));
    assert_int_equal(reservation_take(&reservation, &scopes[0], 1, &(struct charge){1, 7, 0, false}, at_us(1), &refusal), 0);
    admit_forget(admit, at_wall(MINUTE_US, NOON + month));
    assert_int_equal(admit->count, 2); /* the first keyring has it */
    scope_detach(scopes[0]);
    scope_detach(scopes[1]);
    admit_forget(admit, at_wall(2 * MINUTE_US, NOON + month));
    assert_int_equal(admit->count, 2); /* a place is taken */
    reservation_settle(&reservation, &(struct charge){.tokens = 7}, at_wall(2 * MINUTE_US, NOON));
    reservation = (struct reservation){0};
    assert_int_equal(reservation_take(&reservation, &scopes[0], 1, &(struct charge){1, 5, 0, false},
                                      at_wall(3 * MINUTE_US, NOON + month), &refusal), 0);
    reservation_settle(&reservation, &(struct charge){.tokens = 5}, at_wall(3 * MINUTE_US, NOON + month));
    admit_forget(admit, at_wall(4 * MINUTE_US, NOON + month));
    assert_int_equal(admit->count, 2); /* the month's budget was used */
    assert_true(attach(admit, "a", again + 1));
    assert_ptr_equal(again[1], scopes[0]);
    assert_int_equal(used_of(scopes[0], QUOTA_TOKENS_MONTH, at_wall(5 * MINUTE_US, NOON + month)), 5);
    scope_detach(scopes[0]);
    admit_forget(admit, at_wall(6 * MINUTE_US + 31 * (uint64_t)DAY_S * SECOND_US, NOON + 2 * month));
    assert_int_equal(admit->count, 1); /* and is over */
    assert_ptr_equal(admit_find(admit, SCOPE_OF_KEY, BYTES("b")), again[0]);
    admit_free(admit);
}

static void a_rate_that_is_used_is_not_forgotten(void **given)
{
    const struct config_quota rate = {.requests_per_minute = 60};
    struct admit *admit = admit_new();
    struct admit_key key = {.name = BYTES("r"), .quota = &rate};
    struct reservation reservation = {0};
    struct refusal refusal;

    assert_true(admit_attach(admit, &key, 1));
    scope_detach(key.scope);
    assert_int_equal(reservation_take(&reservation, &key.scope, 1, &(struct charge){.requests = 60}, at_us(1), &refusal), 0);
    reservation_settle(&reservation, &(struct charge){0}, at_us(2));
    admit_forget(admit, at_us(59 * SECOND_US));
    assert_int_equal(admit->count, 1);
    admit_forget(admit, at_us(61 * SECOND_US));
    assert_int_equal(admit->count, 0);
    admit_free(admit);
}

static void a_registry_may_be_full(void **given)
{
    struct admit *admit = admit_new();
    struct scope *scopes[8];

    admit->most = 4;
    assert_true(attach(admit, "abc", scopes));
    assert_false(attach(admit, "cdef", scopes));
    assert_int_equal(admit->count, 3);
    assert_shown(admit, "abc"); /* nothing changed */
    assert_true(attach(admit, "cbd", scopes));
    assert_false(attach(admit, "e", scopes));
    assert_true(attach(admit, "abcd", scopes));
    assert_shown(admit, "abcd");
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
        cmocka_unit_test(keys_that_are_gone_are_not_shown),
        cmocka_unit_test(names_that_rotate_are_forgotten),
        cmocka_unit_test(what_counts_is_not_forgotten),
        cmocka_unit_test(a_rate_that_is_used_is_not_forgotten),
        cmocka_unit_test(a_registry_may_be_full),
        cmocka_unit_test(months_as_libc_has_them),
        cmocka_unit_test(a_clock_that_steps_back),
        cmocka_unit_test(clocks_of_no_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
