/*
 * A storm: threads take over overlapping scopes, settle, undo, leave one, and read, while quotas change; in the end the
 * books are exact. And a rush at one moment, in which exactly the burst may pass.
 *
 * STORM_MS in the environment says for how long; build with -fsanitize=thread to see the most of it.
 */
#include "admit_world.h"

#include "admit/guard.h"
#include "base/clock.h"

#include <stdatomic.h>
#include <uv.h>

#define THREADS 4
#define KEYS 40
#define TEAMS 5
#define HELD 30

struct books {
    uint64_t tokens, money;
};

struct shared {
    struct admit *admit;
    struct guard *guard;
    struct scope *keys[KEYS], *teams[TEAMS], *models[2], *backends[2], *gateway;
    uint64_t until;
};

struct held {
    struct reservation reservation;
    unsigned key, model, backend;
    bool left;                  /* its backend */
};

struct storm {
    struct shared *shared;
    uv_thread_t thread;
    uint64_t state;
    struct held held[HELD];
    uint64_t passed, refused[QUOTA_LIMITS];
    struct books keys[KEYS], teams[TEAMS], models[2], backends[2], gateway;
};

static void must(bool good, const char *text)
{
    if (good)
        return;
    fprintf(stderr, "storm: %s\n", text);
    abort();
}

static struct admit_time now_is(void)
{
    return at_us(clock_us());
}

static void book(struct books *books, const struct charge *actual)
{
    books->tokens += actual->tokens;
    books->money += actual->money;
}

static void ask(struct storm *storm, struct held *held)
{
    struct shared *shared = storm->shared;
    const struct charge want = {1, below(&storm->state, 300), below(&storm->state, 1000), false};
    struct refusal refusal;

    held->key = (unsigned)below(&storm->state, KEYS);
    held->model = (unsigned)below(&storm->state, 2);
    held->backend = (unsigned)below(&storm->state, 2);
    held->left = false;
    struct scope *const scopes[SCOPE_KINDS] = {
        shared->gateway, shared->keys[held->key], below(&storm->state, 9) ? shared->teams[held->key % TEAMS] : NULL,
        shared->models[held->model], shared->backends[held->backend],
    };
    if (reservation_take(&held->reservation, scopes, SCOPE_KINDS, &want, now_is(), &refusal) == 0) {
        storm->passed++;
    } else {
        must(refusal.scope && !refusal.never, "a refusal without reason");
        must(!held->reservation.held && held->reservation.count == 0, "refused and something taken");
        storm->refused[refusal.limit]++;
    }
}

static bool has(const struct reservation *reservation, const struct scope *scope)
{
    for (unsigned i = 0; i < reservation->count; i++) {
        if (reservation->parts[i].scope == scope)
            return true;
    }
    return false;
}

static void settle(struct storm *storm, struct held *held)
{
    struct shared *shared = storm->shared;
    const struct charge actual = {0, below(&storm->state, 400), below(&storm->state, 1500), false};

    if (has(&held->reservation, shared->teams[held->key % TEAMS]))
        book(&storm->teams[held->key % TEAMS], &actual);
    if (has(&held->reservation, shared->backends[held->backend]))
        book(&storm->backends[held->backend], &actual);
    book(&storm->keys[held->key], &actual);
    book(&storm->models[held->model], &actual);
    book(&storm->gateway, &actual);
    reservation_settle(&held->reservation, &actual, now_is());
    reservation_settle(&held->reservation, &actual, now_is());
}

static void meddle(struct storm *storm)
{
    struct shared *shared = storm->shared;
    struct scope_line lines[QUOTA_LIMITS];
    struct scope *scope = shared->keys[below(&storm->state, KEYS)];
    struct config_quota quota = {.requests_per_minute = 100000 + below(&storm->state, 100000), .requests_burst = 2000,
                                 .tokens_per_minute = 30000000, .tokens_per_day = UINT64_C(1) << 60};

    scope_lines(scope, now_is(), lines);
    must(admit_find(shared->admit, SCOPE_OF_KEY, scope_name(scope)) == scope, "a scope was lost");
    must(admit_scope(shared->admit, SCOPE_OF_KEY, scope_name(scope), &quota) == scope, "a scope was made twice");
    if (guard_wait_ms(shared->guard, BYTES("127.0.0.1:1"), clock_ms()) == 0)
        guard_failed(shared->guard, BYTES("127.0.0.1:1"), clock_ms());
}

static void act(struct storm *storm, struct held *held)
{
    struct scope *backend = storm->shared->backends[held->backend];

    if (!held->reservation.held)
        ask(storm, held);
    else if (below(&storm->state, 10) == 0)
        reservation_undo(&held->reservation, now_is());
    else if (below(&storm->state, 5) == 0)
        reservation_leave(&held->reservation, backend, now_is());
    else
        settle(storm, held);
}

static void run(void *data)
{
    struct storm *storm = data;

    for (unsigned round = 0; round % 64 || clock_ms() < storm->shared->until; round++) {
        act(storm, &storm->held[below(&storm->state, HELD)]);
        if (round % 500 == 0)
            meddle(storm);
    }
    for (int i = 0; i < HELD; i++) {
        if (storm->held[i].reservation.held)
            settle(storm, &storm->held[i]);
    }
}

static struct scope *scope_of(struct admit *admit, enum scope_kind kind, int number, uint32_t concurrent)
{
    const struct config_quota quota = {
        .requests_per_minute = 10000000, .requests_burst = 100000, .tokens_per_minute = UINT64_C(3000000000),
        .concurrent = concurrent, .tokens_per_day = UINT64_C(1) << 60, .money_per_month = UINT64_C(1) << 60,
    };
    char name[16];

    snprintf(name, sizeof(name), "n%d", number);
    return admit_scope(admit, kind, bytes_of(name), &quota);
}

/* Nothing is held, and what is charged is what was used. */
static void check_books(struct scope *scope, const struct books *of_first, uint64_t passed)
{
    struct books sum = {0};
    struct scope_line month = line_of(scope, QUOTA_MONEY_MONTH, now_is());

    for (int i = 0; i < THREADS; i++) {
        const struct books *books = (const void *)((const char *)of_first + (size_t)i * sizeof(struct storm));

        sum.tokens += books->tokens;
        sum.money += books->money;
    }
    assert_int_equal(used_of(scope, QUOTA_TOKENS_DAY, now_is()), sum.tokens);
    assert_true(month.limit == QUOTA_LIMITS || month.used == sum.money);
    if (line_of(scope, QUOTA_CONCURRENT, now_is()).limit != QUOTA_LIMITS)
        assert_int_equal(used_of(scope, QUOTA_CONCURRENT, now_is()), 0);
    assert_true(passed > 0);
}

static void make_scopes(struct shared *shared)
{
    shared->admit = admit_new();
    shared->guard = guard_new(5, 1);
    for (int i = 0; i < KEYS; i++)
        shared->keys[i] = scope_of(shared->admit, SCOPE_OF_KEY, i, 3);
    for (int i = 0; i < TEAMS; i++)
        shared->teams[i] = scope_of(shared->admit, SCOPE_OF_TEAM, i, 20);
    for (int i = 0; i < 2; i++) {
        shared->models[i] = scope_of(shared->admit, SCOPE_OF_MODEL, i, 55);
        shared->backends[i] = scope_of(shared->admit, SCOPE_OF_BACKEND, i, 0);
    }
    shared->gateway = scope_of(shared->admit, SCOPE_OF_GATEWAY, 0, 100);
}

static void a_storm(void **given)
{
    static struct shared shared;
    static struct storm storms[THREADS];
    const char *text = getenv("STORM_MS");
    uint64_t passed = 0, refused[QUOTA_LIMITS] = {0};

    make_scopes(&shared);
    shared.until = clock_ms() + (text ? strtoul(text, NULL, 10) : 1500);
    for (int i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){.shared = &shared, .state = (uint64_t)i + 1};
        assert_int_equal(uv_thread_create(&storms[i].thread, run, &storms[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&storms[i].thread);
        passed += storms[i].passed;
        for (int j = 0; j < QUOTA_LIMITS; j++)
            refused[j] += storms[i].refused[j];
    }
    for (int i = 0; i < KEYS; i++)
        check_books(shared.keys[i], &storms[0].keys[i], passed);
    for (int i = 0; i < TEAMS; i++)
        check_books(shared.teams[i], &storms[0].teams[i], passed);
    for (int i = 0; i < 2; i++) {
        check_books(shared.models[i], &storms[0].models[i], passed);
        check_books(shared.backends[i], &storms[0].backends[i], passed);
    }
    check_books(shared.gateway, &storms[0].gateway, passed);
    printf("passed %lu, refused by requests %lu, tokens %lu, places %lu\n", passed, refused[QUOTA_REQUESTS],
           refused[QUOTA_TOKENS], refused[QUOTA_CONCURRENT]);
    guard_free(shared.guard);
    admit_free(shared.admit);
}

/* --- the rush --- */

struct rush {
    uv_thread_t thread;
    struct scope *scopes[2];
    uint64_t start_us, span_us, passed;
};

/* SPAN_US in steps of a millisecond, each thread on a clock of its own. */
static void run_rush(void *data)
{
    struct rush *rush = data;
    struct refusal refusal;

    for (uint64_t at = 0; at <= rush->span_us; at += 1000) {
        for (int i = 0; i < 30; i++) {
            struct reservation reservation = {0};

            rush->passed += reservation_take(&reservation, rush->scopes, 2, &(struct charge){.requests = 1},
                                             at_us(rush->start_us + at), &refusal) == 0;
        }
    }
}

static uint64_t passed_in(uint64_t span_us)
{
    struct admit *admit = admit_new();
    struct rush rushes[THREADS];
    uint64_t passed = 0;

    for (int i = 0; i < THREADS; i++) {
        rushes[i] = (struct rush){.start_us = 1000, .span_us = span_us};
        rushes[i].scopes[i % 2] = admit_scope(admit, SCOPE_OF_KEY, BYTES("k"),
                                              &(struct config_quota){.requests_per_minute = 6000, .requests_burst = 77});
        rushes[i].scopes[1 - i % 2] = admit_scope(admit, SCOPE_OF_TEAM, BYTES("t"),
                                                  &(struct config_quota){.requests_per_minute = 100000});
        assert_int_equal(uv_thread_create(&rushes[i].thread, run_rush, &rushes[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        uv_thread_join(&rushes[i].thread);
        passed += rushes[i].passed;
    }
    admit_free(admit);
    return passed;
}

static void exactly_the_burst_and_the_rate(void **given)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(passed_in(0), 77);
    assert_int_equal(passed_in(10 * SECOND_US), 77 + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm),
        cmocka_unit_test(exactly_the_burst_and_the_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
