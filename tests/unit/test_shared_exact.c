/*
 * Gateways that are processes of their own and share one limit: exactly what is permitted passes, by Redis' clock, at
 * any demand, whatever their own wall clocks say; and what one of them held when it was killed comes back.
 */
#include "base/random.h"
#include "shared_stage.h"

#include <sys/mman.h>

#define RATE 6000           /* a minute: one every 10 ms */
#define STEP_US 10000
#define BURST 50
#define PASSED_MOST 4000
#define GATEWAYS_MOST 4
#define ASKING_AT_ONCE 4
#define LEASE_MS 900

/* What the processes tell each other. */
struct board {
    _Atomic unsigned passed, refused, degraded, ready;
    int64_t passed_us[PASSED_MOST];     /* on Redis' clock */
};

static struct board *board;

static const struct config_quota limited = {.requests_per_minute = RATE, .requests_burst = BURST};

/* --- one gateway --- */

struct client {
    struct asked asked;
    struct gate *gate;
    struct scope *scope;
};

static void note(struct client *client)
{
    struct asked *asked = &client->asked;

    if (asked->result == 0) {
        unsigned place = board->passed++;

        if (place < PASSED_MOST)
            board->passed_us[place] = asked->take.redis_us;
        settle(client->gate, asked, 0, 0);
    } else {
        board->refused++;
    }
    board->degraded += asked->take.degraded;
}

static void gate_ready(struct gate *gate, unsigned index)
{
    uv_loop_init(&loop);
    for (int i = 0; i < 64; i++) /* what lies ready is the parent's, and its other children's */
        random_u64();
    gate_open(gate, 1, LEASE_MS, 5000);
    gate->wall_skew_s = index == 0 ? 3600 : 0;
    if (!turn_until(&gate->news[SHARED_UP], 1, PATIENCE_MS))
        _exit(1);
}

/* Clients who never wait, for MS. */
static void demand_all(struct gate *gate, struct scope *scope, unsigned ms)
{
    struct client clients[ASKING_AT_ONCE] = {0};
    uint64_t end_ms = clock_ms() + ms;

    while (clock_ms() < end_ms) {
        for (int i = 0; i < ASKING_AT_ONCE; i++) {
            clients[i].gate = gate;
            ask_for(gate, &clients[i].asked, &scope, 1, &(struct charge){1, 0, 0, false});
        }
        for (int i = 0; i < ASKING_AT_ONCE; i++) {
            turn_until(&clients[i].asked.done, 1, PATIENCE_MS);
            note(&clients[i]);
        }
    }
}

/* A client who asks every EVERY_US, for MS. */
static void demand_evenly(struct gate *gate, struct scope *scope, unsigned ms, unsigned every_us)
{
    struct client client = {.gate = gate};
    uint64_t begin_us = clock_us();

    for (uint64_t at_us = 0; at_us < ms * 1000u; at_us += every_us) {
        while (clock_us() < begin_us + at_us) {
            uv_run(&loop, UV_RUN_NOWAIT);
            usleep(200);
        }
        ask_for(gate, &client.asked, &scope, 1, &(struct charge){1, 0, 0, false});
        turn_until(&client.asked.done, 1, PATIENCE_MS);
        note(&client);
    }
}

static void gateway(unsigned index, unsigned ms, unsigned every_us)
{
    struct gate gate;
    struct scope *scope;

    gate_ready(&gate, index);
    scope = admit_scope(gate.admit, SCOPE_OF_GATEWAY, BYTES(""), &limited);
    if (every_us)
        demand_evenly(&gate, scope, ms, every_us);
    else
        demand_all(&gate, scope, ms);
    _exit(gate_rest(&gate) ? 0 : 1);
}

/* --- all of them --- */

static void run(unsigned count, unsigned ms, unsigned every_us)
{
    pid_t pids[GATEWAYS_MOST];

    memset(board, 0, sizeof(*board));
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    for (unsigned i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            gateway(i, ms, every_us);
    }
    for (unsigned i = 0; i < count; i++) {
        int status;

        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(board->degraded, 0);
    assert_in_range(board->passed, 1, PASSED_MOST);
}

static int by_time(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;

    return (first > second) - (first < second);
}

/* Nothing passed before its time. */
static void assert_none_early(void)
{
    unsigned passed = board->passed;

    qsort(board->passed_us, passed, sizeof(board->passed_us[0]), by_time);
    for (unsigned i = BURST; i < passed; i++)
        for (unsigned j = 0; j + BURST <= i; j++) /* in any stretch: a burst, and what the rate gives */
            assert_true(board->passed_us[i] - board->passed_us[j] >= (int64_t)(i - j - BURST + 1) * STEP_US);
}

/* Take what is left: now exactly what is permitted since the first one has passed. */
static void assert_none_lost(void)
{
    struct gate gate;
    struct asked asked;
    struct scope *scope;

    gate_open(&gate, 1, LEASE_MS, 5000);
    assert_true(turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS));
    scope = admit_scope(gate.admit, SCOPE_OF_GATEWAY, BYTES(""), &limited);
    while (take_of(&gate, &asked, scope, 0, 0) == 0) {
        board->passed++;
        settle(&gate, &asked, 0, 0);
    }
    assert_int_equal(board->passed, BURST + (asked.take.redis_us - board->passed_us[0]) / STEP_US);
    gate_close(&gate);
}

static void what_is_permitted_passes(void **state)
{
    static const unsigned counts[] = {1, 2, 4};

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        run(counts[i], 1200, 0);
        assert_true(board->refused > 0);
        assert_none_early();
        assert_none_lost();
    }
}

static void a_little_too_much_is_too_much(void **state)
{
    run(2, 6000, 2 * STEP_US * 10 / 11);
    assert_true(board->refused > 0);
    assert_none_early();
    assert_none_lost();
}

static void a_little_less_all_passes(void **state)
{
    run(2, 2000, 2 * STEP_US * 10 / 9);
    assert_int_equal(board->refused, 0);
    assert_none_early();
}

/* --- death --- */

static const struct config_quota few = {.concurrent = 4};

static void hold_three(void)
{
    struct asked asked[3];
    struct gate gate;

    gate_ready(&gate, 0);
    for (int i = 0; i < 3; i++)
        if (take_of(&gate, &asked[i], admit_scope(gate.admit, SCOPE_OF_MODEL, BYTES("m"), &few), 0, 0))
            _exit(1);
    board->ready = 1;
    turn_for(PATIENCE_MS);
    _exit(0);
}

static void what_the_dead_held_comes_back(void **state)
{
    struct asked mine, back[3], other;
    struct scope *scope;
    struct gate gate;
    uint64_t killed_ms;
    pid_t pid;

    REDIS_SAY(&server, BYTES("FLUSHALL"));
    memset(board, 0, sizeof(*board));
    pid = fork();
    if (pid == 0)
        hold_three();
    while (!board->ready)
        usleep(1000);
    gate_open(&gate, 1, LEASE_MS, 5000);
    assert_true(turn_until(&gate.news[SHARED_UP], 1, PATIENCE_MS));
    scope = admit_scope(gate.admit, SCOPE_OF_MODEL, BYTES("m"), &few);
    assert_int_equal(take_of(&gate, &mine, scope, 0, 0), 0);
    turn_for(2 * LEASE_MS); /* all of them are renewed */
    assert_int_equal(take_of(&gate, &other, scope, 0, 0), ADMIT_E_REFUSED);
    kill(pid, SIGKILL);
    killed_ms = clock_ms();
    waitpid(pid, NULL, 0);
    while (take_of(&gate, &back[0], scope, 0, 0))
        turn_for(5);
    assert_in_range(clock_ms() - killed_ms, LEASE_MS / 2, LEASE_MS + 200);
    for (int i = 1; i < 3; i++)
        assert_int_equal(take_of(&gate, &back[i], scope, 0, 0), 0);
    assert_int_equal(take_of(&gate, &other, scope, 0, 0), ADMIT_E_REFUSED);
    gate_close(&gate);
}

/* --- */

static int begin(void **state)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return board == MAP_FAILED ? -1 : stage_begin(state);
}

static int end(void **state)
{
    munmap(board, sizeof(*board));
    return stage_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_permitted_passes),
        cmocka_unit_test(a_little_too_much_is_too_much),
        cmocka_unit_test(a_little_less_all_passes),
        cmocka_unit_test(what_the_dead_held_comes_back),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
