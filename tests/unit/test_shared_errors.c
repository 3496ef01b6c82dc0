/*
 * A Redis that answers with errors: what it takes nothing of for a moment is kept for it, to the token; what it can
 * never take is dropped after a while, alone; and the log hears of each once.
 */
#include "admit/shared_private.h"
#include "shared_stage.h"

#define LEASE_MS 60000
#define DEADLINE_MS 5000

static struct gate gate;

/* What one test did to the server is none of the next one's. */
static int open_one(void **state)
{
    if (!redis_server_start(&server))
        return -1;
    gate_open(&gate, 1, LEASE_MS, DEADLINE_MS);
    return turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS) ? 0 : -1;
}

static int close_one(void **state)
{
    if (gate.shared)
        gate_close(&gate);
    redis_server_kill(&server);
    return 0;
}

static int begin_and_stop(void **state)
{
    int r = stage_begin(state);

    redis_server_kill(&server);
    return r;
}

static const struct config_quota some = {
    .requests_per_minute = 6000, .requests_burst = 6000, .concurrent = 5000, .tokens_per_day = 10000000,
    .on_redis_failure = REDIS_FAILURE_OPEN,
};

static struct scope *scope_of(enum scope_kind kind, const char *name)
{
    return admit_scope(gate.admit, kind, bytes_of(name), &some);
}

/* A command of at most four words. */
static struct bytes say(const char *command)
{
    struct bytes words[4], rest = bytes_of(command);
    uint32_t count = 0;

    while (rest.size && count < ARRAY_SIZE(words)) {
        size_t size = bytes_find(rest, BYTES(" "));

        words[count++] = (struct bytes){rest.data, size};
        rest = bytes_skip(rest, size < rest.size ? size + 1 : size);
    }
    return redis_server_say(&server, words, count);
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

    shared_peek(gate.shared, &peek, &scope, 1, done, &looked);
    assert_true(turn_until(&looked, 1, PATIENCE_MS));
    assert_false(peek.degraded);
    for (unsigned i = 0; i < peek.line_counts[0]; i++)
        if (peek.lines[0][i].limit == limit)
            return peek.lines[0][i].used;
    return UINT64_MAX;
}

/* How often Redis said CODE, as its own statistics tell. */
static long said(const char *code)
{
    struct bytes text = say("INFO errorstats");
    char name[64];
    size_t at;

    snprintf(name, sizeof(name), "errorstat_%s:count=", code);
    at = bytes_find(text, bytes_of(name));
    return at < text.size ? strtol(text.data + at + strlen(name), NULL, 10) : 0;
}

static bool until_said(const char *code, long wanted)
{
    for (int i = 0; i < PATIENCE_MS / 20 && said(code) < wanted; i++)
        turn_for(20);
    return said(code) >= wanted;
}

/* --- for the moment --- */

static const struct refusing {
    const char *code, *begin, *end;
    bool refuses_held;          /* also what settles a take that has a place */
} refusing[] = {
    {"NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", true},
    {"OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", false},
    {"NOPERM", "ACL SETUSER default -@scripting", "ACL SETUSER default +@scripting", true},
    {"NOPERM", "ACL SETUSER default resetkeys", "ACL SETUSER default allkeys", true},
    {"READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", true},
};

/* What was held before, given up before, and let in meanwhile. */
static void nothing_is_lost_in(const struct refusing *how)
{
    struct scope *scope = scope_of(SCOPE_OF_KEY, "alice");
    struct asked held[3], given_up, asked;

    for (size_t i = 0; i < ARRAY_SIZE(held); i++)
        assert_int_equal(take_of(&gate, &held[i], scope, 5000, 0), 0);
    assert_int_equal(take_of(&gate, &given_up, scope, 5000, 0), 0);
    say(how->begin);
    for (size_t i = 0; i < ARRAY_SIZE(held); i++)
        settle(&gate, &held[i], 12, 0);
    shared_undo(&given_up.take, gate_now(&gate));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(take_of(&gate, &asked, scope, 5000, 0), 0);
        assert_true(asked.take.degraded);
        settle(&gate, &asked, 12, 0);
    }
    assert_true(until_said(how->code, 5));
    turn_for(350);
    assert_true(shared_unsettled(gate.shared) >= (how->refuses_held ? 9 : 5));
    assert_int_equal(gate.news[SHARED_DROPPED], 0);
    say(how->end);
    assert_true(gate_rest(&gate));
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY), 8 * 12);
    assert_int_equal(used_of(scope, QUOTA_CONCURRENT), 0);
    assert_int_equal(take_of(&gate, &asked, scope, 12, 0), 0);
    assert_false(asked.take.degraded);
    settle(&gate, &asked, 12, 0);
    assert_true(gate_rest(&gate));
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY), 9 * 12);
    assert_int_equal(gate.news[SHARED_DROPPED], 0);
    assert_int_equal(gate.news[SHARED_FAILING], 1);
    if (how == &refusing[0]) /* it takes some seconds, and is the same for all */
        assert_true(turn_until(&gate.news[SHARED_SERVING], 1, PATIENCE_MS));
    assert_int_equal(gate.news[SHARED_UP] + gate.news[SHARED_DOWN], 1);
}

static void nothing_is_lost(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusing); i++) {
        print_message("%s: %s\n", refusing[i].code, refusing[i].begin);
        nothing_is_lost_in(&refusing[i]);
        close_one(state);
        assert_int_equal(open_one(state), 0);
    }
}

/* However many wait, a server that refuses is asked by one of them at a time, and ever more seldom. */
static void those_who_wait_are_quiet(void **state)
{
    enum { MANY = 300 };
    struct scope *scope = scope_of(SCOPE_OF_KEY, "alice");
    static struct asked held[MANY];
    long before;

    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(take_of(&gate, &held[i], scope, 100, 0), 0);
    say("CONFIG SET min-replicas-to-write 1");
    for (size_t i = 0; i < MANY; i++)
        settle(&gate, &held[i], 1, 0);
    assert_true(until_said("NOREPLICAS", 32));
    before = said("NOREPLICAS");
    turn_for(1500);
    assert_in_range(said("NOREPLICAS"), before + 1, before + 8);
    assert_int_equal(shared_unsettled(gate.shared), MANY);
    say("CONFIG SET min-replicas-to-write 0");
    assert_true(gate_rest(&gate));
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY), MANY);
    assert_int_equal(used_of(scope, QUOTA_CONCURRENT), 0);
}

/* Nothing is to be undone of a take that Redis refused to look at: thousands of them push nobody out. */
static void refused_takes_leave_nothing_behind(void **state)
{
    struct config_quota quota = {.requests_per_minute = 60, .on_redis_failure = REDIS_FAILURE_OPEN};
    struct scope *scope = scope_of(SCOPE_OF_KEY, "alice"), *other;
    struct asked held, asked;

    other = admit_scope(gate.admit, SCOPE_OF_KEY, BYTES("bob"), &quota);
    assert_int_equal(take_of(&gate, &held, scope, 5000, 0), 0);
    say("CONFIG SET min-replicas-to-write 1");
    settle(&gate, &held, 12, 0);
    for (int i = 0; i < 4200; i++) {
        ask_for(&gate, &asked, &other, 1, &(struct charge){1, 0, 0, false});
        while (!asked.done)
            uv_run(&loop, UV_RUN_ONCE);
        settle(&gate, &asked, 0, 0);
    }
    assert_int_equal(gate.news[SHARED_ERROR], 4200);
    assert_int_equal(gate.news[SHARED_FAILING], 1);
    assert_int_equal(shared_unsettled(gate.shared), 1);
    say("CONFIG SET min-replicas-to-write 0");
    assert_int_equal(take_of(&gate, &asked, other, 0, 0), 0);   /* it hears that Redis is well */
    settle(&gate, &asked, 0, 0);
    assert_true(gate_rest(&gate));
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY), 12);
}

/* --- for ever --- */

/* A value that is not ours, under one scope of two: others go on; when it is gone both are settled, once. */
static void a_foreign_value_may_go(void **state)
{
    struct scope *scopes[] = {scope_of(SCOPE_OF_KEY, "alice"), scope_of(SCOPE_OF_BACKEND, "b")};
    struct asked both, one;

    ask_for(&gate, &both, scopes, 2, &(struct charge){1, 5000, 0, false});
    assert_true(turn_until(&both.done, 1, PATIENCE_MS));
    assert_int_equal(take_of(&gate, &one, scopes[0], 5000, 0), 0);
    say("RENAME t:{q}:backend:b kept");
    say("RPUSH t:{q}:backend:b x");
    settle(&gate, &both, 12, 0);
    settle(&gate, &one, 12, 0);
    assert_true(until_said("WRONGTYPE", 2));
    assert_int_equal(shared_unsettled(gate.shared), 1);
    say("DEL t:{q}:backend:b");
    say("RENAME kept t:{q}:backend:b");
    assert_true(gate_rest(&gate));
    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        assert_int_equal(used_of(scopes[i], QUOTA_TOKENS_DAY), i == 0 ? 24 : 12);
        assert_int_equal(used_of(scopes[i], QUOTA_CONCURRENT), 0);
    }
    assert_int_equal(gate.news[SHARED_DROPPED], 0);
}

static void a_foreign_value_may_stay(void **state)
{
    struct scope *alice = scope_of(SCOPE_OF_KEY, "alice"), *bob = scope_of(SCOPE_OF_KEY, "bob");
    struct asked held[3], asked;

    for (size_t i = 0; i < ARRAY_SIZE(held); i++)
        assert_int_equal(take_of(&gate, &held[i], alice, 5000, 0), 0);
    say("DEL t:{q}:key:alice");
    say("RPUSH t:{q}:key:alice x");
    for (size_t i = 0; i < ARRAY_SIZE(held); i++)
        settle(&gate, &held[i], 12, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(take_of(&gate, &asked, i % 10 ? bob : alice, 10, 0), 0);
        assert_int_equal(asked.take.degraded, i % 10 == 0);
        if (i % 10)
            settle(&gate, &asked, 10, 0);
        else
            shared_undo(&asked.take, gate_now(&gate));
    }
    assert_int_equal(gate.news[SHARED_FAILING], 1);
    assert_non_null(strstr(gate.line, "WRONGTYPE"));
    assert_int_equal(gate.news[SHARED_SERVING], 0);
    assert_true(shared_unsettled(gate.shared) >= 3);
    assert_true(turn_until(&gate.news[SHARED_GAVE_UP], 1, 2 * PATIENCE_MS));
    assert_int_equal(strncmp(gate.line, "3: WRONGTYPE", 12), 0);
    assert_int_equal(gate.news[SHARED_DROPPED], 3);
    assert_int_equal(shared_unsettled(gate.shared), 0);
    assert_int_equal(used_of(bob, QUOTA_TOKENS_DAY), 900);
    assert_int_equal(gate.news[SHARED_SERVING], 1);
    assert_int_equal(gate.news[SHARED_GAVE_UP], 1);
}

/* --- the end --- */

static void the_end_does_not_wait_for_ever(void **state)
{
    struct scope *scope = scope_of(SCOPE_OF_KEY, "alice");
    struct asked held;
    uint64_t begin_ms;

    assert_false(shared_is_up(gate.shared) && shared_unsettled(gate.shared));
    assert_int_equal(take_of(&gate, &held, scope, 5000, 0), 0);
    say("CONFIG SET min-replicas-to-write 1");
    settle(&gate, &held, 12, 0);
    assert_true(shared_is_up(gate.shared));
    begin_ms = clock_ms();
    while (shared_is_up(gate.shared) && clock_ms() - begin_ms < PATIENCE_MS)
        turn_for(10);
    assert_in_range(clock_ms() - begin_ms, 300, 5000);
    assert_int_equal(shared_unsettled(gate.shared), 1);
    gate_close(&gate);
    assert_int_equal(gate.news[SHARED_DROPPED], 1);
    assert_int_equal(gate.news[SHARED_GAVE_UP], 1);
    assert_string_equal(gate.line, "1: the gateway ends");
}

static void nor_for_what_cannot_be_told(void **state)
{
    struct asked held;

    assert_int_equal(take_of(&gate, &held, scope_of(SCOPE_OF_KEY, "alice"), 5000, 0), 0);
    say("DEL t:{q}:key:alice");
    say("RPUSH t:{q}:key:alice x");
    settle(&gate, &held, 12, 0);
    assert_true(until_said("WRONGTYPE", 1));
    turn_for(20);
    assert_false(shared_is_up(gate.shared));
    assert_int_equal(shared_unsettled(gate.shared), 1);
}

/* --- words --- */

static void errors_of_servers(void **state)
{
    static const struct {
        const char *text;
        bool momentary, wrong_type;
    } cases[] = {
        {"OOM command not allowed when used memory > 'maxmemory'. script: x, on @user_script:42.", true, false},
        {"NOREPLICAS Not enough good replicas to write.", true, false},
        {"MISCONF Redis is configured to save RDB snapshots", true, false},
        {"READONLY You can't write against a read only replica.", true, false},
        {"LOADING Redis is loading the dataset in memory", true, false},
        {"BUSY Redis is busy running a script.", true, false},
        {"MASTERDOWN Link with MASTER is down", true, false},
        {"CLUSTERDOWN Hash slot not served", true, false},
        {"TRYAGAIN Multiple keys request during rehashing of slot", true, false},
        {"NOAUTH Authentication required.", true, false},
        {"NOPERM this user has no permissions to run the 'evalsha' command", true, false},
        {"MOVED 3999 127.0.0.1:6381", true, false},
        {"ERR max number of clients reached", true, false},
        {"ERR Error running script (call to f_x): @user_script:4: @user_script: 4: -OOM command not allowed", true, false},
        {"ERR ACL failure in script: User u has no permissions to run the 'set' command", true, false},
        {"ERR The user executing the script can't run this command or subcommand script: x", true, false},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", false, true},
        {"ERR Error running script (call to f_x): @user_script:4: WRONGTYPE Operation against a key", false, true},
        {"ERR value is not an integer or out of range script: x, on @user_script:33.", false, false},
        {"ERR unknown command 'EVALSHA'", false, false},
        {"ERR", false, false},
        {"", false, false},
        {"closed by the server", false, false},
        {"Protocol error, got \"H\" as reply type byte", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].text);
        assert_int_equal(shared_is_momentary(bytes_of(cases[i].text)), cases[i].momentary);
        assert_int_equal(shared_is_wrong_type(bytes_of(cases[i].text)), cases[i].wrong_type);
    }
}

static void words_are_fit_for_a_log(void **state)
{
    struct shared shared = {.news = gate_news, .data = &gate, .config.redis.password = BYTES("hunter2 is s\xc3\xa4" "fe")};
    char long_text[1000], *at;

    gate = (struct gate){0};
    uv_timer_init(&loop, &shared.story.tick);
    shared_story_redis(&shared, REDIS_REFUSED,
                       BYTES("ERR unknown command 'AUTH', with args beginning with: 'hunter2 is s\xc3\xa4" "fe'"));
    assert_string_equal(gate.line, "ERR unknown command 'AUTH', with args beginning with: '...");
    shared_story_failed(&shared, BYTES("OOM two\r\nlines \x1b[31m\xff"));
    assert_string_equal(gate.line, "OOM two??lines ?[31m?");
    memset(long_text, 'x', sizeof(long_text));
    shared_story_redis(&shared, REDIS_LOST, (struct bytes){long_text, sizeof(long_text)});
    assert_int_equal(strlen(gate.line), REDIS_WORDS_MOST);
    at = strstr(gate.line, "...");
    assert_ptr_equal(at, gate.line + REDIS_WORDS_MOST - 3);
    uv_close((uv_handle_t *)&shared.story.tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_lost),
        TEST(those_who_wait_are_quiet),
        TEST(refused_takes_leave_nothing_behind),
        TEST(a_foreign_value_may_go),
        TEST(a_foreign_value_may_stay),
        TEST(the_end_does_not_wait_for_ever),
        TEST(nor_for_what_cannot_be_told),
        cmocka_unit_test(errors_of_servers),
        cmocka_unit_test(words_are_fit_for_a_log),
    };

    return cmocka_run_group_tests(tests, begin_and_stop, stage_end);
}
