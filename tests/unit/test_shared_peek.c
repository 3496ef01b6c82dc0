/*
 * How scopes stand, as Redis has it and as it is known here: looks, the lines of refusals that Redis is not asked for,
 * and takes that need no place.
 */
#include "shared_stage.h"

#define LEASE_MS 600
#define DEADLINE_MS 2000

static struct gate a, b;

struct looked {
    struct shared_peek peek;
    unsigned done;
};

static int open_with(uint32_t deadline_ms)
{
    if (!server.pid)
        redis_server_start(&server);
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    gate_open(&a, 2, LEASE_MS, deadline_ms);
    gate_open(&b, 2, LEASE_MS, deadline_ms);
    return turn_until(&a.news[SHARED_UP], 1, PATIENCE_MS) && turn_until(&b.news[SHARED_UP], 1, PATIENCE_MS) ? 0 : -1;
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

static bool reply_is(struct bytes reply, const char *text)
{
    return bytes_start_with(reply, bytes_of(text));
}

static void on_looked(void *data)
{
    ((struct looked *)data)->done++;
}

static void look_begin(struct gate *gate, struct looked *looked, struct scope *const *scopes, unsigned count)
{
    *looked = (struct looked){0};
    shared_peek(gate->shared, &looked->peek, scopes, count, on_looked, looked);
}

static void look(struct gate *gate, struct looked *looked, struct scope *scope)
{
    look_begin(gate, looked, &scope, 1);
    assert_true(turn_until(&looked->done, 1, PATIENCE_MS));
    assert_int_equal(looked->done, 1);
}

static struct scope_line line_at(const struct shared_peek *peek, unsigned scope, enum quota_limit limit)
{
    for (unsigned i = 0; i < peek->line_counts[scope]; i++)
        if (peek->lines[scope][i].limit == limit)
            return peek->lines[scope][i];
    return (struct scope_line){.limit = QUOTA_LIMITS};
}

/* --- looks --- */

static void a_look_tells_what_all_took(void **state)
{
    struct config_quota quota = {
        .requests_per_minute = 6, .requests_burst = 5, .tokens_per_minute = 60, .tokens_burst = 1000, .concurrent = 9,
        .tokens_per_day = 5000, .tokens_per_month = 70000, .money_per_day = 1000, .money_per_month = 30000,
    };
    const uint64_t used[QUOTA_LIMITS] = {2, 700, 1, 700, 700, 42, 42};
    const uint64_t remaining[QUOTA_LIMITS] = {3, 300, 8, 4300, 69300, 958, 29958};
    struct asked one, two;
    struct looked looked;

    assert_int_equal(take_of(&a, &one, key_of(&a, &quota), 400, 20), 0);
    assert_int_equal(take_of(&b, &two, key_of(&b, &quota), 300, 22), 0);
    settle(&b, &two, 300, 22);
    assert_true(gate_rest(&b));
    for (int i = 0; i < 3; i++)
        look(&a, &looked, key_of(&a, &quota));
    assert_false(looked.peek.degraded);
    assert_int_equal(looked.peek.line_counts[0], QUOTA_LIMITS);
    for (int limit = 0; limit < QUOTA_LIMITS; limit++) {
        struct scope_line line = looked.peek.lines[0][limit];

        assert_int_equal(line.limit, limit);
        assert_in_range(line.used, used[limit] - (limit == QUOTA_TOKENS), used[limit]);
        assert_in_range(line.remaining, remaining[limit], remaining[limit] + (limit == QUOTA_TOKENS));
        assert_int_equal(line.reset_ms == 0, limit == QUOTA_CONCURRENT);
    }
    assert_int_equal(looked.peek.lines[0][QUOTA_REQUESTS].most, 6);
    assert_in_range(looked.peek.lines[0][QUOTA_REQUESTS].reset_ms, 15000, 20000);
    assert_in_range(looked.peek.lines[0][QUOTA_TOKENS_DAY].reset_ms, 1, 86400000);
    settle(&a, &one, 0, 0);
    assert_true(gate_rest(&a));
    look(&b, &looked, key_of(&b, &quota));
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_CONCURRENT).used, 0);
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_MONEY_MONTH).used, 22);
}

static void a_look_leaves_everything_as_it_is(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .concurrent = 2, .tokens_per_day = 10};
    struct looked looked;

    look(&a, &looked, key_of(&a, &quota));
    assert_int_equal(looked.peek.line_counts[0], 3);
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_REQUESTS).remaining, 60);
    assert_true(reply_is(REDIS_SAY(&server, BYTES("DBSIZE")), ":0"));
    assert_int_equal(a.news[SHARED_ASKED] + a.news[SHARED_ERROR], 0);
    REDIS_SAY(&server, BYTES("SCRIPT"), BYTES("FLUSH"));
    look(&a, &looked, key_of(&a, &quota));
    assert_false(looked.peek.degraded);
}

static void several_scopes_keep_their_places(void **state)
{
    struct config_quota key = {.requests_per_minute = 60}, gateway = {.concurrent = 3, .tokens_per_minute = 50};
    struct scope *scopes[SCOPE_KINDS] = {NULL};
    struct asked asked;
    struct looked looked;

    scopes[0] = key_of(&a, &key);
    scopes[4] = admit_scope(a.admit, SCOPE_OF_GATEWAY, BYTES_NONE, &gateway);
    ask_for(&a, &asked, scopes, SCOPE_KINDS, &(struct charge){1, 7, 0, false});
    assert_true(turn_until(&asked.done, 1, PATIENCE_MS));
    look_begin(&a, &looked, scopes, SCOPE_KINDS);
    assert_int_equal(looked.done, 0);
    assert_true(turn_until(&looked.done, 1, PATIENCE_MS));
    assert_int_equal(looked.peek.line_counts[0], 1);
    assert_int_equal(looked.peek.line_counts[1] + looked.peek.line_counts[2] + looked.peek.line_counts[3], 0);
    assert_int_equal(looked.peek.line_counts[4], 2);
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_REQUESTS).used, 1);
    assert_int_equal(line_at(&looked.peek, 4, QUOTA_TOKENS).used, 7);
    assert_int_equal(line_at(&looked.peek, 4, QUOTA_CONCURRENT).remaining, 2);
    settle(&a, &asked, 7, 0);
}

/* A gateway that died holds its places for the lease; the set is not tidied up before somebody needs it. */
static void leases_that_have_ended_do_not_count(void **state)
{
    struct config_quota quota = {.concurrent = 4};
    struct looked looked;

    REDIS_SAY(&server, BYTES("ZADD"), BYTES("t:{q}c:key:alice"), BYTES("1000"), BYTES("dead"),
              BYTES("9000000000000000"), BYTES("living"));
    look(&a, &looked, key_of(&a, &quota));
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_CONCURRENT).used, 1);
}

static void without_redis_it_is_what_is_counted_here(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .requests_burst = 10};
    struct asked asked;
    struct looked looked;

    redis_server_kill(&server);
    assert_true(turn_until(&a.news[SHARED_DOWN], 1, PATIENCE_MS));
    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 0, 0), 0);
    look_begin(&a, &looked, (struct scope *[]){NULL, key_of(&a, &quota)}, 2);
    assert_int_equal(looked.done, 1);
    assert_true(looked.peek.degraded);
    assert_int_equal(line_at(&looked.peek, 1, QUOTA_REQUESTS).most, 30);
    assert_int_equal(line_at(&looked.peek, 1, QUOTA_REQUESTS).remaining, 4);
    assert_int_equal(a.news[SHARED_AWAY], 1);
    quota.on_redis_failure = REDIS_FAILURE_OPEN;
    look(&a, &looked, key_of(&a, &quota));
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_REQUESTS).most, 60);
    settle(&a, &asked, 0, 0);
}

static void late_or_wrong_it_is_degraded(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60};
    struct looked looked;

    REDIS_SAY(&server, BYTES("RPUSH"), BYTES("t:{q}:key:alice"), BYTES("x"));
    look(&a, &looked, key_of(&a, &quota));
    assert_true(looked.peek.degraded);
    assert_int_equal(looked.peek.line_counts[0], 1);
    kill(server.pid, SIGSTOP);
    look(&a, &looked, key_of(&a, &quota));
    kill(server.pid, SIGCONT);
    assert_true(looked.peek.degraded);
}

static void forgotten_looks_end_silently(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60};
    struct scope *scope;
    struct looked looked, closed;
    struct gate gate;

    scope = key_of(&a, &quota);
    look_begin(&a, &looked, &scope, 1);
    shared_peek_forget(&looked.peek);
    shared_peek_forget(&looked.peek);
    turn_for(50);
    assert_int_equal(looked.done, 0);
    gate_open(&gate, 1, LEASE_MS, DEADLINE_MS);
    assert_true(turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS));
    scope = key_of(&gate, &quota);
    look_begin(&gate, &closed, &scope, 1);
    gate_close(&gate);
    assert_int_equal(closed.done, 0);
    shared_peek_forget(&closed.peek);
    shared_peek_forget(&(struct shared_peek){.shared = NULL});
}

/* --- lines of refusals --- */

static void known_refusals_tell_how_it_stands(void **state)
{
    struct config_quota quota = {.requests_per_minute = 6, .requests_burst = 1, .tokens_per_minute = 600,
                                 .tokens_burst = 100};
    struct asked asked, other;

    assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 60, 0), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take_of(&a, &other, key_of(&a, &quota), 0, 0), ADMIT_E_REFUSED);
        assert_true(other.take.has_requests && other.take.has_tokens);
        assert_int_equal(other.take.requests.most, 6);
        assert_int_equal(other.take.requests.remaining, 0);
        assert_in_range(other.take.requests.reset_ms, 8000, 10000);
        assert_in_range(other.take.tokens.remaining, 40, 60);
        assert_in_range(other.take.tokens.reset_ms, 4000, 6000);
    }
    assert_int_equal(a.news[SHARED_KNOWN], 2);
    settle(&a, &asked, 60, 0);
}

static void never_tells_how_it_stands(void **state)
{
    struct config_quota quota = {.requests_per_minute = 6, .requests_burst = 3, .tokens_per_day = 100};
    struct asked asked, other;

    for (unsigned left = 3; left >= 2; left--) {
        assert_int_equal(take_of(&a, &other, key_of(&a, &quota), 101, 0), ADMIT_E_REFUSED);
        assert_true(other.refusal.never && other.take.has_requests && !other.take.has_tokens);
        assert_int_equal(other.take.requests.remaining, left);
        assert_int_equal(take_of(&a, &asked, key_of(&a, &quota), 1, 0), 0);
        settle(&a, &asked, 1, 0);
    }
}

static void closed_ones_tell_of_the_local_shares(void **state)
{
    struct config_quota key = {.requests_per_minute = 60}, team = {.concurrent = 1,
                                                                   .on_redis_failure = REDIS_FAILURE_CLOSED};
    struct scope *scopes[2];
    struct asked asked;

    redis_server_kill(&server);
    assert_true(turn_until(&a.news[SHARED_DOWN], 1, PATIENCE_MS));
    scopes[0] = key_of(&a, &key);
    scopes[1] = admit_scope(a.admit, SCOPE_OF_TEAM, BYTES("t"), &team);
    ask_for(&a, &asked, scopes, 2, &(struct charge){1, 0, 0, false});
    assert_int_equal(asked.result, ADMIT_E_REFUSED);
    assert_ptr_equal(asked.refusal.scope, scopes[1]);
    assert_true(asked.take.has_requests);
    assert_int_equal(asked.take.requests.remaining, 30);
    ask_for(&a, &asked, scopes, 2, &(struct charge){1, 0, 0, true});
    assert_int_equal(asked.result, 0); /* places are all that is closed */
    assert_int_equal(asked.take.requests.remaining, 29);
    shared_undo(&asked.take, gate_now(&a));
}

/* --- without a place --- */

static void no_place_is_looked_at_nor_taken(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .requests_burst = 9, .concurrent = 1,
                                 .tokens_per_day = 100};
    struct asked placed, hits[2], other;
    struct looked looked;
    struct scope *scope;

    scope = key_of(&a, &quota);
    assert_int_equal(take_of(&a, &placed, scope, 0, 0), 0);
    for (int i = 0; i < 2; i++) {
        ask_for(&a, &hits[i], &scope, 1, &(struct charge){1, 10, 0, true});
        assert_true(turn_until(&hits[i].done, 1, PATIENCE_MS));
        assert_int_equal(hits[i].result, 0);
    }
    turn_for(LEASE_MS); /* renewals take no place either */
    assert_true(reply_is(REDIS_SAY(&server, BYTES("ZCARD"), BYTES("t:{q}c:key:alice")), ":1"));
    settle(&a, &placed, 0, 0);
    assert_true(gate_rest(&a));
    assert_true(reply_is(REDIS_SAY(&server, BYTES("ZCARD"), BYTES("t:{q}c:key:alice")), ":0"));
    assert_int_equal(take_of(&a, &other, scope, 0, 0), 0);
    settle(&a, &hits[0], 30, 0);
    shared_undo(&hits[1].take, gate_now(&a));
    assert_true(gate_rest(&a));
    look(&b, &looked, key_of(&b, &quota));
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_CONCURRENT).used, 1);
    assert_int_equal(line_at(&looked.peek, 0, QUOTA_TOKENS_DAY).used, 30);
    settle(&a, &other, 0, 0);
}

#define TEST_WITH(test, open) cmocka_unit_test_setup_teardown(test, open, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH(a_look_tells_what_all_took, open_both),
        TEST_WITH(a_look_leaves_everything_as_it_is, open_both),
        TEST_WITH(several_scopes_keep_their_places, open_both),
        TEST_WITH(leases_that_have_ended_do_not_count, open_both),
        TEST_WITH(without_redis_it_is_what_is_counted_here, open_both),
        TEST_WITH(late_or_wrong_it_is_degraded, open_hasty),
        TEST_WITH(forgotten_looks_end_silently, open_both),
        TEST_WITH(known_refusals_tell_how_it_stands, open_both),
        TEST_WITH(never_tells_how_it_stands, open_both),
        TEST_WITH(closed_ones_tell_of_the_local_shares, open_both),
        TEST_WITH(no_place_is_looked_at_nor_taken, open_both),
    };

    return cmocka_run_group_tests(tests, stage_begin, stage_end);
}
