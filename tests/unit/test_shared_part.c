/*
 * One scope of a take by itself: given back while the take goes on.
 */
#include "shared_stage.h"

#define LEASE_MS 60000
#define DEADLINE_MS 2000

static struct gate gate;

static int open_one(void **state)
{
    if (!server.pid)
        redis_server_start(&server);
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    gate_open(&gate, 2, LEASE_MS, DEADLINE_MS);
    return turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS) ? 0 : -1;
}

static int close_one(void **state)
{
    gate_close(&gate);
    return 0;
}

static struct scope *scope_of(enum scope_kind kind, const char *name, const struct config_quota *quota)
{
    return admit_scope(gate.admit, kind, bytes_of(name), quota);
}

static void done(void *data)
{
    ++*(unsigned *)data;
}

/* How LIMIT of SCOPE stands in Redis. */
static uint64_t used_of(struct scope *scope, enum quota_limit limit)
{
    struct shared_peek peek = {0};
    unsigned looked = 0;

    assert_true(gate_rest(&gate));
    shared_peek(gate.shared, &peek, &scope, 1, done, &looked);
    assert_true(turn_until(&looked, 1, PATIENCE_MS));
    for (unsigned i = 0; i < peek.line_counts[0]; i++)
        if (peek.lines[0][i].limit == limit)
            return peek.lines[0][i].used;
    return UINT64_MAX;
}

static const struct config_quota some = {
    .requests_per_minute = 1, .requests_burst = 5, .tokens_per_minute = 1, .tokens_burst = 1000,
    .concurrent = 2, .tokens_per_day = 1000, .money_per_month = 1000,
};

static void assert_used(struct scope *scope, uint64_t requests, uint64_t tokens, uint64_t places, uint64_t money)
{
    assert_int_equal(used_of(scope, QUOTA_REQUESTS), requests);
    assert_int_equal(used_of(scope, QUOTA_TOKENS), tokens);
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY), tokens);
    assert_int_equal(used_of(scope, QUOTA_MONEY_MONTH), money);
    assert_int_equal(used_of(scope, QUOTA_CONCURRENT), places);
}

static void a_part_is_given_back(void **state)
{
    struct scope *scopes[] = {scope_of(SCOPE_OF_KEY, "k", &some), scope_of(SCOPE_OF_BACKEND, "b", &some)};
    struct asked asked;

    ask_for(&gate, &asked, scopes, 2, &(struct charge){1, 100, 50, false});
    assert_true(turn_until(&asked.done, 1, PATIENCE_MS));
    assert_int_equal(asked.result, 0);
    assert_used(scopes[1], 1, 100, 1, 50);
    shared_leave(&asked.take, scopes[1], gate_now(&gate));
    shared_leave(&asked.take, scopes[1], gate_now(&gate));
    assert_used(scopes[1], 0, 0, 0, 0);
    assert_used(scopes[0], 1, 100, 1, 50);
    settle(&gate, &asked, 30, 20);
    assert_used(scopes[0], 1, 30, 0, 20);
    assert_used(scopes[1], 0, 0, 0, 0);
    shared_leave(&asked.take, scopes[0], gate_now(&gate));
    assert_used(scopes[0], 1, 30, 0, 20);
}

static void nothing_is_left_of_what_is_left_and_undone(void **state)
{
    struct scope *scopes[] = {scope_of(SCOPE_OF_KEY, "k", &some), scope_of(SCOPE_OF_BACKEND, "b", &some)};

    for (int i = 0; i < 20; i++) {
        struct asked asked;

        ask_for(&gate, &asked, scopes, 2, &(struct charge){1, 900, 900, false});
        assert_true(turn_until(&asked.done, 1, PATIENCE_MS));
        assert_int_equal(asked.result, 0);
        shared_leave(&asked.take, scopes[i % 2], gate_now(&gate));
        shared_undo(&asked.take, gate_now(&gate));
        assert_true(gate_rest(&gate));
    }
    assert_used(scopes[0], 0, 0, 0, 0);
    assert_used(scopes[1], 0, 0, 0, 0);
}

/* Without Redis: the local share. */
static void alone(void **state)
{
    struct config_quota quota = {.concurrent = 2, .tokens_per_day = 1000, .on_redis_failure = REDIS_FAILURE_LOCAL};
    struct scope *scopes[] = {scope_of(SCOPE_OF_KEY, "k", &quota), scope_of(SCOPE_OF_BACKEND, "b", &quota)};
    struct asked first, second;

    redis_server_kill(&server);
    assert_true(turn_until(&gate.news[SHARED_DOWN], 1, PATIENCE_MS));
    ask_for(&gate, &first, scopes, 2, &(struct charge){1, 10, 0, false});
    assert_int_equal(first.result, 0);
    assert_int_equal(take_of(&gate, &second, scopes[1], 10, 0), ADMIT_E_REFUSED);
    shared_leave(&first.take, scopes[1], gate_now(&gate));
    assert_int_equal(take_of(&gate, &second, scopes[1], 10, 0), 0);
    settle(&gate, &second, 0, 0);
    settle(&gate, &first, 0, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_part_is_given_back),
        TEST(nothing_is_left_of_what_is_left_and_undone),
        TEST(alone),
    };

    return cmocka_run_group_tests(tests, stage_begin, stage_end);
}
