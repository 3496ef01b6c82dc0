/*
 * Two gateways and one Redis: they take from the same limits, give back what was not used, once, and do as their
 * quotas say while Redis is away, late or of no use.
 */
#include "admit/shared_script.h"
#include "shared_stage.h"

#include <time.h>

#define LEASE_MS 60000
#define DEADLINE_MS 2000

static struct gate a, b;

static int open_with(uint32_t deadline_ms)
{
    if (!server.pid)
        redis_server_start(&server);
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    gate_open(&a, 2, LEASE_MS, deadline_ms);
    gate_open(&b, 2, LEASE_MS, deadline_ms);
    if (!turn_until(&a.news[SHARED_UP], 1, PATIENCE_MS) || !turn_until(&b.news[SHARED_UP], 1, PATIENCE_MS))
        return -1;
    return 0;
}

static int open_both(void **state)
{
    return open_with(DEADLINE_MS);
}

static int open_hasty(void **state)
{
    return open_with(50);
}

static int close_both(void **state)
{
    gate_close(&a);
    gate_close(&b);
    return 0;
}

static struct scope *key_of(struct gate *gate, const struct config_quota *quota)
{
    return admit_scope(gate->admit, SCOPE_OF_KEY, BYTES("alice"), quota);
}

static int64_t number_in(struct bytes reply)
{
    return reply.size > 1 && reply.data[0] == ':' ? strtoll(reply.data + 1, NULL, 10) : -1;
}

/* One of the numbers in the books of the key alice, as shared_script.c numbers them. */
static int64_t book(const char *place)
{
    return number_in(REDIS_SAY(&server, BYTES("EVAL"),
                               BYTES("local s = redis.call('GET', 't:{q}:key:alice') if not s then return 0 end "
                                     "return ({struct.unpack('<dddddddddddd', s)})[tonumber(ARGV[1])]"),
                               BYTES("0"), bytes_of(place)));
}

static int64_t leases(void)
{
    return number_in(REDIS_SAY(&server, BYTES("ZCARD"), BYTES("t:{q}c:key:alice")));
}

/* Keys that never expire. */
static int64_t eternal_keys(void)
{
    return number_in(REDIS_SAY(&server, BYTES("EVAL"),
                               BYTES("local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
                                     "if redis.call('PTTL', k) < 0 then n = n + 1 end end return n"),
                               BYTES("0")));
}

/* --- taking --- */

static void rates_are_shared(void **state)
{
    struct config_quota quota = {.requests_per_minute = 7, .requests_burst = 3};
    struct asked asked;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    assert_true(asked.take.leased && asked.take.has_requests && !asked.take.has_tokens && !asked.take.degraded);
    assert_int_equal(asked.take.requests.most, 7);
    assert_int_equal(asked.take.requests.used, 1);
    assert_int_equal(asked.take.requests.remaining, 2);
    assert_in_range(asked.take.requests.reset_ms, 8000, 8572);
    settle(&a, &asked, 0, 0);
    assert_int_equal(take_of(&b, &asked, key_of(&b, &quota), 0, 0), 0);
    settle(&b, &asked, 0, 0);
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    assert_int_equal(asked.take.requests.remaining, 0);
    settle(&a, &asked, 0, 0);
    assert_int_equal(take_of(&b, &asked, key_of(&b, &quota), 0, 0), ADMIT_E_REFUSED);
    assert_ptr_equal(asked.refusal.scope, key_of(&b, &quota));
    assert_int_equal(asked.refusal.limit, QUOTA_REQUESTS);
    assert_in_range(asked.refusal.retry_after_ms, 6000, 8572);
    assert_true(asked.take.has_requests);
    assert_int_equal(asked.take.requests.remaining, 0);
    assert_true(gate_rest(&a) && gate_rest(&b));
    assert_int_equal(eternal_keys(), 0);
}

static void a_refusal_is_known(void **state)
{
    struct config_quota quota = {.requests_per_minute = 6, .requests_burst = 1};
    struct asked asked;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    for (int i = 0; i < 5; i++) {
        struct asked other;

        assert_int_equal(take_of(&a, &other, key_of(&a, &quota), 0, 0), ADMIT_E_REFUSED);
        assert_in_range(other.refusal.retry_after_ms, 8000, 10000);
    }
    assert_int_equal(a.news[SHARED_ASKED], 2);
    assert_int_equal(a.news[SHARED_KNOWN], 4);
    shared_undo(&asked.take, gate_now(&a));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    settle(&a, &asked, 0, 0);
}

static void all_or_nothing(void **state)
{
    struct config_quota key = {.requests_per_minute = 60}, team = {.concurrent = 1};
    struct scope *scopes[4] = {NULL};
    struct asked first, second;

    scopes[0] = admit_scope(a.admit, SCOPE_OF_TEAM, BYTES("t"), &team);
    scopes[2] = scopes[3] = key_of(&a, &key);
    ask_for(&a, &first, scopes, 4, &(struct charge){1, 0, 0, false});
    ask_for(&a, &second, scopes, 4, &(struct charge){1, 0, 0, false});
    assert_true(turn_until(&second.done, 1, PATIENCE_MS));
    assert_int_equal(first.result, 0);
    assert_int_equal(first.take.count, 2);
    assert_int_equal(first.take.requests.remaining, 59);
    assert_int_equal(second.result, ADMIT_E_REFUSED);
    assert_int_equal(second.refusal.limit, QUOTA_CONCURRENT);
    assert_ptr_equal(second.refusal.scope, scopes[0]);
    assert_int_equal(second.refusal.retry_after_ms, 0);
    settle(&a, &first, 0, 0);
    ask_for(&a, &second, scopes, 4, &(struct charge){1, 0, 0, false});
    assert_true(turn_until(&second.done, 1, PATIENCE_MS));
    assert_int_equal(second.result, 0);
    assert_int_equal(second.take.requests.remaining, 58);
    settle(&a, &second, 0, 0);
    assert_true(gate_rest(&a));
    assert_int_equal(eternal_keys(), 0);
}

static void places_come_back_once(void **state)
{
    struct config_quota quota = {.concurrent = 2};
    struct asked one, two, three;

    assert_int_equal(take_of(&a, &one, key_of(&a, &quota), 0, 0), 0);
    assert_int_equal(take_of(&b, &two, key_of(&b, &quota), 0, 0), 0);
    assert_int_equal(take_of(&a, &three, key_of(&a, &quota), 0, 0), ADMIT_E_REFUSED);
    assert_int_equal(leases(), 2);
    assert_int_equal(eternal_keys(), 0);
    settle(&a, &one, 0, 0);
    settle(&a, &one, 0, 0);
    shared_undo(&one.take, gate_now(&a));
    assert_int_equal(shared_unsettled(a.shared), 1);
    assert_int_equal(take_of(&a, &three, key_of(&a, &quota), 0, 0), 0);
    settle(&a, &three, 0, 0);
    settle(&b, &two, 0, 0);
    assert_true(gate_rest(&a) && gate_rest(&b));
    assert_int_equal(leases(), 0);
    assert_int_equal(number_in(REDIS_SAY(&server, BYTES("DBSIZE"))), 0);
}

static void tokens_are_settled(void **state)
{
    struct config_quota quota = {.tokens_per_minute = 60, .tokens_burst = 1000};
    struct asked asked, other;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 900, 0), 0);
    assert_int_equal(asked.take.tokens.remaining, 100);
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 200, 0), ADMIT_E_REFUSED);
    assert_int_equal(other.refusal.limit, QUOTA_TOKENS);
    settle(&a, &asked, 100, 0);
    assert_true(gate_rest(&a));
    turn_for(110); /* as long as b knows better */
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 200, 0), 0);
    assert_in_range(other.take.tokens.remaining, 700, 702);
    settle(&b, &other, 1500, 0); /* a debt */
    assert_true(gate_rest(&b));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 1, 0), ADMIT_E_REFUSED);
    assert_in_range(asked.refusal.retry_after_ms, 590000, 601000);
}

static void more_than_the_burst_waits_for_all(void **state)
{
    struct config_quota quota = {.tokens_per_minute = 600, .tokens_burst = 10, .requests_per_minute = 60};
    struct asked asked;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 50, 0), 0);
    assert_int_equal(asked.take.tokens.remaining, 0);
    settle(&a, &asked, 50, 0);
    assert_true(gate_rest(&a));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 50, 0), ADMIT_E_REFUSED);
    assert_false(asked.refusal.never);
    assert_in_range(asked.refusal.retry_after_ms, 3000, 5000);
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    settle(&a, &asked, 0, 0);
}

static void old_estimates_make_no_second_burst(void **state)
{
    struct config_quota quota = {.tokens_per_minute = 60000, .tokens_burst = 100};
    struct asked old, fresh;

    assert_int_equal(take_of(&a, &old, key_of(&a, &quota), 100, 0), 0);
    turn_for(150); /* longer than the rate took to give it back */
    assert_int_equal(take_of(&a, &fresh, key_of(&a, &quota), 100, 0), 0);
    int64_t before = book("4");

    settle(&a, &old, 0, 0);
    assert_true(gate_rest(&a));
    assert_int_equal(book("4"), before);
    settle(&a, &fresh, 100, 0);
}

static void undone_is_as_if_never_taken(void **state)
{
    struct config_quota quota = {
        .requests_per_minute = 1, .requests_burst = 5, .tokens_per_minute = 60, .concurrent = 1, .tokens_per_day = 100,
    };
    struct asked asked;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 60, 0), 0);
        shared_undo(&asked.take, gate_now(&a));
        shared_undo(&asked.take, gate_now(&a));
    }
    assert_true(gate_rest(&a));
    assert_int_equal(book("7"), 0);
    assert_int_equal(leases(), 0);
    assert_true(book("2") <= book("1") + 1);
    assert_int_equal(eternal_keys(), 0);
}

static void budgets_are_counted_to_the_token(void **state)
{
    struct config_quota quota = {.tokens_per_day = 1000, .money_per_month = 500};
    struct asked asked, other;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 600, 100), 0);
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 600, 100), ADMIT_E_REFUSED);
    assert_int_equal(other.refusal.limit, QUOTA_TOKENS_DAY);
    assert_in_range(other.refusal.retry_after_ms, 1, 86400000);
    assert_false(other.refusal.never);
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 1001, 1), ADMIT_E_REFUSED);
    assert_true(other.refusal.never);
    settle(&a, &asked, 333, 77);
    assert_true(gate_rest(&a));
    assert_int_equal(book("7"), 333);
    assert_int_equal(book("11"), 77);
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 10, 424), ADMIT_E_REFUSED);
    assert_int_equal(other.refusal.limit, QUOTA_MONEY_MONTH);
    assert_int_equal(take_of(&b, &other, key_of(&b, &quota), 10, 423), 0);
    settle(&b, &other, 20, 400);
    assert_true(gate_rest(&b));
    assert_int_equal(book("7"), 353);
    assert_int_equal(book("11"), 477);
    assert_int_equal(book("6") % 86400000000, 0);
    assert_int_equal(eternal_keys(), 0);
}

static void forgotten_takes_are_given_back(void **state)
{
    struct config_quota quota = {.requests_per_minute = 1, .requests_burst = 1, .concurrent = 1};
    struct scope *scope;
    struct asked asked;

    scope = key_of(&a, &quota);
    for (int i = 0; i < 3; i++) {
        ask_for(&a, &asked, &scope, 1, &(struct charge){1, 0, 0, false});
        shared_forget(&asked.take);
        shared_forget(&asked.take);
        assert_true(gate_rest(&a));
        assert_int_equal(asked.done, 0);
    }
    assert_int_equal(take_of(&a, &asked, scope, 0, 0), 0);
    settle(&a, &asked, 0, 0);
}

static void scripts_may_be_lost(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .concurrent = 10};
    struct asked asked;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    REDIS_SAY(&server, BYTES("SCRIPT"), BYTES("FLUSH"));
    settle(&a, &asked, 0, 0);
    assert_true(gate_rest(&a));
    REDIS_SAY(&server, BYTES("SCRIPT"), BYTES("FLUSH"));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    assert_false(asked.take.degraded);
    settle(&a, &asked, 0, 0);
    assert_true(gate_rest(&a));
    assert_int_equal(leases(), 0);
    assert_int_equal(a.news[SHARED_ERROR] + a.news[SHARED_DROPPED], 0);
}

/* --- without Redis --- */

static void away_each_does_as_told(void **state)
{
    static const struct {
        enum config_redis_failure key, team;
        int first, third;
    } cases[] = {
        {REDIS_FAILURE_OPEN, REDIS_FAILURE_OPEN, 0, 0},
        {REDIS_FAILURE_LOCAL, REDIS_FAILURE_LOCAL, 0, ADMIT_E_REFUSED},
        {REDIS_FAILURE_LOCAL, REDIS_FAILURE_OPEN, 0, ADMIT_E_REFUSED},
        {REDIS_FAILURE_OPEN, REDIS_FAILURE_CLOSED, ADMIT_E_REFUSED, ADMIT_E_REFUSED},
        {REDIS_FAILURE_CLOSED, REDIS_FAILURE_LOCAL, ADMIT_E_REFUSED, ADMIT_E_REFUSED},
    };

    redis_server_kill(&server);
    assert_true(turn_until(&a.news[SHARED_DOWN], 1, PATIENCE_MS));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_quota key = {.requests_per_minute = 4, .on_redis_failure = cases[i].key};
        struct config_quota team = {.requests_per_minute = 1000, .on_redis_failure = cases[i].team};
        char name = (char)('a' + i);
        struct scope *scopes[] = {admit_scope(a.admit, SCOPE_OF_KEY, (struct bytes){&name, 1}, &key),
                                  admit_scope(a.admit, SCOPE_OF_TEAM, (struct bytes){&name, 1}, &team)};
        struct asked asked[3];

        for (int j = 0; j < 3; j++) {
            ask_for(&a, &asked[j], scopes, 2, &(struct charge){1, 0, 0, false});
            assert_int_equal(asked[j].done, 1);
            assert_true(asked[j].take.degraded);
        }
        assert_int_equal(asked[0].result, cases[i].first);
        assert_int_equal(asked[2].result, cases[i].third);
        if (cases[i].third)
            assert_ptr_equal(asked[2].refusal.scope, scopes[cases[i].team == REDIS_FAILURE_CLOSED]);
        if (cases[i].first)
            assert_int_equal(asked[0].refusal.retry_after_ms, 1000);
        for (int j = 0; j < 3; j++)
            settle(&a, &asked[j], 0, 0);
    }
    assert_int_equal(a.news[SHARED_OPENED], 3);
    assert_int_equal(a.news[SHARED_LOCAL], 6);
    assert_int_equal(a.news[SHARED_CLOSED], 6);
    assert_int_equal(a.news[SHARED_AWAY], 15);
}

static void what_was_used_meanwhile_is_added(void **state)
{
    struct config_quota quota = {.tokens_per_day = 100000, .money_per_month = 1000000, .concurrent = 10};
    struct asked asked, held;

    assert_int_equal(take_of(&a, &held, key_of(&a, &quota), 1000, 10), 0);
    redis_server_kill(&server);
    assert_true(turn_until(&a.news[SHARED_DOWN], 1, PATIENCE_MS));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 10, 1), 0);
        assert_true(asked.take.degraded);
        settle(&a, &asked, 7, 2);
    }
    settle(&a, &held, 500, 5);
    assert_int_equal(shared_unsettled(a.shared), 101);
    assert_true(redis_server_start(&server));
    assert_true(turn_until(&a.news[SHARED_UP], 2, PATIENCE_MS));
    assert_true(gate_rest(&a));
    assert_int_equal(book("7"), 700); /* what was held died with the books */
    assert_int_equal(book("11"), 200);
    assert_int_equal(eternal_keys(), 0);
    assert_int_equal(a.news[SHARED_DROPPED], 0);
}

static void too_many_settlements_are_dropped(void **state)
{
    struct config_quota quota = {.tokens_per_day = UINT64_MAX, .on_redis_failure = REDIS_FAILURE_OPEN};
    struct asked asked;

    redis_server_kill(&server);
    assert_true(turn_until(&a.news[SHARED_DOWN], 1, PATIENCE_MS));
    for (int i = 0; i < 4100; i++) {
        struct scope *scope = key_of(&a, &quota);

        ask_for(&a, &asked, &scope, 1, &(struct charge){1, 1, 0, false});
        settle(&a, &asked, 1, 0);
    }
    assert_int_equal(a.news[SHARED_DROPPED], 4);
    assert_true(redis_server_start(&server));
    assert_true(turn_until(&a.news[SHARED_UP], 2, PATIENCE_MS));
    assert_true(gate_rest(&a));
    assert_int_equal(book("7"), 4096);
}

/* A server that hangs executes in the end what was sent to it: once. */
static void late_is_local_and_undone(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .tokens_per_day = 1000, .concurrent = 10};
    struct asked held, late;
    uint64_t begin_ms;

    assert_int_equal(take_of(&a, &held, key_of(&a, &quota), 100, 0), 0);
    kill(server.pid, SIGSTOP);
    settle(&a, &held, 42, 0);
    begin_ms = clock_ms();
    assert_int_equal(take_of(&a, &late, key_of(&a, &quota), 100, 0), 0);
    assert_true(clock_ms() - begin_ms < 1000);
    assert_true(late.take.degraded);
    assert_int_equal(a.news[SHARED_TIMEOUT], 1);
    settle(&a, &late, 5, 0);
    assert_int_equal(shared_unsettled(a.shared), 3);
    kill(server.pid, SIGCONT);
    assert_true(turn_until(&a.news[SHARED_UP], 2, PATIENCE_MS));
    assert_true(gate_rest(&a));
    assert_int_equal(book("7"), 47);
    assert_int_equal(leases(), 0);
    assert_int_equal(eternal_keys(), 0);
}

static void what_lies_there_may_be_wrong(void **state)
{
    struct config_quota quota = {.requests_per_minute = 4, .requests_burst = 4};
    struct asked asked;

    REDIS_SAY(&server, BYTES("RPUSH"), BYTES("t:{q}:key:alice"), BYTES("x"));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    assert_true(asked.take.degraded);
    assert_int_equal(a.news[SHARED_ERROR], 1);
    assert_non_null(strstr(a.text, "WRONGTYPE"));
    settle(&a, &asked, 0, 0);
    REDIS_SAY(&server, BYTES("SET"), BYTES("t:{q}:key:alice"), BYTES("rubbish"));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    assert_false(asked.take.degraded);
    settle(&a, &asked, 0, 0);
}

static void closing_ends_what_is_asked(void **state)
{
    struct config_quota quota = {.requests_per_minute = 4, .concurrent = 4};
    struct asked held, asking;
    struct scope *scope;
    struct gate gate;

    gate_open(&gate, 1, LEASE_MS, DEADLINE_MS);
    assert_true(turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS));
    scope = key_of(&gate, &quota);
    assert_int_equal(take_of(&gate, &held, scope, 0, 0), 0);
    ask_for(&gate, &asking, &scope, 1, &(struct charge){1, 0, 0, false});
    gate_close(&gate);
    assert_int_equal(asking.done, 0);
    settle(&gate, &held, 0, 0);
    shared_forget(&asking.take);
    shared_undo(&asking.take, gate_now(&gate));
}

/* --- numbers --- */

static void spans_are_exact(void **state)
{
    static const struct {
        uint64_t amount, rate, whole_us, rest;
    } cases[] = {
        {1, 60, 1000000, 0}, {1, 7, 8571428, 4}, {7, 7, 60000000, 0}, {0, 7, 0, 0}, {5, UINT64_MAX, 0, 300000000},
        {3, 7000000, 25, 5000000}, {UINT64_MAX, 1, SHARED_MOST, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct span span = span_of(cases[i].amount, cases[i].rate);

        assert_int_equal(span.whole_us, cases[i].whole_us);
        assert_int_equal(span.rest, cases[i].rest);
    }
    assert_int_equal(span_amount(8571428, 7), 1);
    assert_int_equal(span_amount(8571429, 7), 2);
    assert_int_equal(span_amount(0, 7), 0);
    assert_int_equal(span_amount(UINT64_MAX, UINT64_MAX), SHARED_MOST);
}

/* The script's calendar is the C library's. */
static void months_begin_on_their_day(void **state)
{
    struct bytes text = shared_script_text(SCRIPT_TAKE);
    size_t size = bytes_find(text, BYTES("local function load"));
    struct buffer script;

    buffer_init(&script);
    buffer_append(&script, (struct bytes){text.data, size});
    buffer_append_text(&script, "return month_start(tonumber(ARGV[1]))");
    for (int day = 0; day < 50000; day += day % 400 < 70 ? 1 : 29) {
        time_t seconds = (time_t)day * 86400;
        char number[16];
        struct tm date;

        gmtime_r(&seconds, &date);
        snprintf(number, sizeof(number), "%d", day);
        assert_int_equal(number_in(REDIS_SAY(&server, BYTES("EVAL"), buffer_bytes(&script), BYTES("0"),
                                             bytes_of(number))),
                         day - date.tm_mday + 1);
    }
    buffer_deinit(&script);
}

#define TEST_WITH(test, open) cmocka_unit_test_setup_teardown(test, open, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH(rates_are_shared, open_both),
        TEST_WITH(a_refusal_is_known, open_both),
        TEST_WITH(all_or_nothing, open_both),
        TEST_WITH(places_come_back_once, open_both),
        TEST_WITH(tokens_are_settled, open_both),
        TEST_WITH(more_than_the_burst_waits_for_all, open_both),
        TEST_WITH(old_estimates_make_no_second_burst, open_both),
        TEST_WITH(undone_is_as_if_never_taken, open_both),
        TEST_WITH(budgets_are_counted_to_the_token, open_both),
        TEST_WITH(forgotten_takes_are_given_back, open_both),
        TEST_WITH(scripts_may_be_lost, open_both),
        TEST_WITH(away_each_does_as_told, open_both),
        TEST_WITH(what_was_used_meanwhile_is_added, open_both),
        TEST_WITH(too_many_settlements_are_dropped, open_both),
        TEST_WITH(late_is_local_and_undone, open_hasty),
        TEST_WITH(what_lies_there_may_be_wrong, open_both),
        TEST_WITH(closing_ends_what_is_asked, open_both),
        cmocka_unit_test(spans_are_exact),
        cmocka_unit_test(months_begin_on_their_day),
    };

    return cmocka_run_group_tests(tests, stage_begin, stage_end);
}
