/*
 * What may be taken, when, and what comes back: by hand, and at random against a slow model that counts another way.
 */
#include "admit_world.h"

__extension__ typedef __int128 wide;

#define UNIT 60000000       /* parts of a request or token: a rate of 1 a minute gives back one in a microsecond */

struct stage {
    struct admit *admit;
    struct scope *scope;
    struct refusal refusal;
};

static struct stage stage_of(const struct config_quota *quota)
{
    struct stage stage = {.admit = admit_new()};

    stage.scope = admit_scope(stage.admit, SCOPE_OF_KEY, BYTES("k"), quota);
    return stage;
}

/* Taken and forgotten: its place stays taken. */
static bool take(struct stage *stage, uint64_t requests, uint64_t tokens, struct admit_time now)
{
    struct reservation reservation = {0};
    const struct charge want = {.requests = requests, .tokens = tokens};

    return reservation_take(&reservation, &stage->scope, 1, &want, now, &stage->refusal) == 0;
}

/* --- rates --- */

static void a_burst_and_then_the_rate(void **given)
{
    static const struct {
        uint64_t rate, burst;
    } cases[] = {{60, 10}, {60, 1}, {7, 3}, {1, 1}, {100000, 17}, {59999999, 5}, {59, 59}};

    for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
        struct stage stage = stage_of(&(struct config_quota){.requests_per_minute = cases[c].rate,
                                                             .requests_burst = cases[c].burst});
        uint64_t start = UINT64_C(123456789012);

        for (uint64_t i = 0; i < cases[c].burst; i++)
            assert_true(take(&stage, 1, 0, at_us(start)));
        assert_false(take(&stage, 1, 0, at_us(start)));
        for (uint64_t i = 1; i < 200; i++) {
            uint64_t due = start + (i * MINUTE_US + cases[c].rate - 1) / cases[c].rate;

            if (cases[c].rate < SECOND_US)
                assert_false(take(&stage, 1, 0, at_us(due - 1)));
            assert_true(take(&stage, 1, 0, at_us(due)));
        }
        admit_free(stage.admit);
    }
}

/* Asked as soon as the rate has one, again and again: what passed in a year is what the rate says, to the one. */
static void a_year_without_drift(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.requests_per_minute = 7, .requests_burst = 3});
    uint64_t year = UINT64_C(365) * 86400 * SECOND_US, passed = 0, start = 987654321, now = start;

    while (now < start + year) {
        if (take(&stage, 1, 0, at_us(now)))
            passed++;
        else
            now += stage.refusal.retry_after_ms * 1000 - (now - start) % 1000;
    }
    assert_int_equal(passed, 3 + (year - 1) / 1000 * 1000 * 7 / MINUTE_US);
    admit_free(stage.admit);
}

static void the_wait_is_exact(void **given)
{
    uint64_t state = 5;

    for (int i = 0; i < 3000; i++) {
        uint64_t rate = 1 + below(&state, i % 2 ? 100 : 3000000), burst = 1 + below(&state, 50), now = 1000000;
        struct stage stage = stage_of(&(struct config_quota){.tokens_per_minute = rate, .tokens_burst = burst});
        uint64_t first = 1 + below(&state, burst), cost = 1 + below(&state, burst), wait;

        assert_true(take(&stage, 0, first, at_us(now)));
        now += below(&state, 1000);
        if (!take(&stage, 0, cost, at_us(now))) {
            wait = stage.refusal.retry_after_ms;
            assert_int_equal(stage.refusal.limit, QUOTA_TOKENS);
            assert_false(stage.refusal.never);
            assert_true(wait > 0);
            assert_false(take(&stage, 0, cost, at_us(now + (wait - 1) * 1000)));
            assert_true(take(&stage, 0, cost, at_us(now + wait * 1000)));
        }
        admit_free(stage.admit);
    }
}

static void more_than_the_burst(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){
        .requests_per_minute = 60, .requests_burst = 2, .tokens_per_minute = 600, .tokens_burst = 100});

    assert_false(take(&stage, 3, 0, at_us(0)));
    assert_true(stage.refusal.never);
    /* Tokens: when all of the rate is there, and then as a debt. */
    assert_true(take(&stage, 0, 1, at_us(0)));
    assert_false(take(&stage, 0, 500, at_us(0)));
    assert_false(stage.refusal.never);
    assert_int_equal(stage.refusal.retry_after_ms, 100);
    assert_true(take(&stage, 0, 500, at_us(100000)));
    assert_false(take(&stage, 0, 1, at_us(100000)));
    assert_int_equal(stage.refusal.retry_after_ms, 40100);
    assert_true(take(&stage, 0, 0, at_us(100000)));
    assert_true(take(&stage, 0, 1, at_us(100000 + 40100000)));
    admit_free(stage.admit);
}

static void debts_and_refunds(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_minute = 60, .tokens_burst = 100});
    struct reservation a = {0}, b = {0};
    const struct charge want = {1, 50, 0, false};

    assert_int_equal(reservation_take(&a, &stage.scope, 1, &want, at_us(0), &stage.refusal), 0);
    assert_int_equal(reservation_take(&b, &stage.scope, 1, &want, at_us(0), &stage.refusal), 0);
    reservation_settle(&a, &(struct charge){0, 10, 0, false}, at_us(0));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(0)), 60);
    reservation_settle(&a, &(struct charge){0, 0, 0, false}, at_us(0));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(0)), 60);
    reservation_settle(&b, &(struct charge){0, 130, 0, false}, at_us(0));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(0)), 140);
    assert_false(take(&stage, 0, 1, at_us(0)));
    assert_int_equal(stage.refusal.retry_after_ms, 41000);
    admit_free(stage.admit);
}

/* What time gave back cannot be given back again, behind the backs of others. */
static void a_late_refund_makes_no_second_burst(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_minute = 60, .tokens_burst = 100});
    struct reservation old = {0};
    const struct charge want = {1, 100, 0, false};

    assert_int_equal(reservation_take(&old, &stage.scope, 1, &want, at_us(0), &stage.refusal), 0);
    assert_true(take(&stage, 0, 70, at_us(70 * SECOND_US)));
    /* 30 of the old ones are left, and come back. */
    reservation_settle(&old, &(struct charge){0}, at_us(70 * SECOND_US));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(70 * SECOND_US)), 70);
    assert_false(take(&stage, 0, 31, at_us(70 * SECOND_US)));
    assert_true(take(&stage, 0, 30, at_us(70 * SECOND_US)));

    assert_int_equal(reservation_take(&old, &stage.scope, 1, &want, at_us(1000 * SECOND_US), &stage.refusal), 0);
    assert_true(take(&stage, 0, 100, at_us(1100 * SECOND_US)));
    reservation_settle(&old, &(struct charge){0}, at_us(1100 * SECOND_US));
    assert_false(take(&stage, 0, 1, at_us(1100 * SECOND_US)));
    admit_free(stage.admit);
}

/* --- the model --- */

/* Virtual scheduling in whole numbers: a time, in parts, at which all will have been given back. */
struct model {
    wide time, rate, burst;
};

struct taken {
    struct reservation reservation;
    wide due, cost;
};

struct movement {
    uint64_t us;
    wide parts;
    bool take;
};

static bool model_take(struct model *model, uint64_t now, uint64_t cost)
{
    wide here = now * model->rate, from = model->time > here ? model->time : here;
    bool whole = (wide)cost > model->burst && from == here;

    if (cost && !whole && from + (wide)cost * UNIT - here > model->burst * UNIT)
        return false;
    model->time = from + (wide)cost * UNIT;
    return true;
}

/* What really came back. */
static wide model_settle(struct model *model, uint64_t now, const struct taken *taken, uint64_t actual)
{
    wide here = now * model->rate, parts = (taken->cost - (wide)actual) * UNIT;
    wide left = taken->due > here ? taken->due - here : 0;

    if (model->time < here)
        model->time = here;
    if (parts > left)
        parts = left;
    if (parts > model->time - here)
        parts = model->time - here;
    model->time -= parts;
    return parts;
}

#define STEPS 3000
#define HELD 20

/* In no interval that ends with something taken: more than the burst, and what the rate gives meanwhile. */
static void check_intervals(const struct movement *movements, int count, const struct model *model)
{
    for (int last = 0; last < count; last++) {
        wide sum = 0;

        for (int first = last; movements[last].take && first >= 0; first--) {
            sum += movements[first].parts;
            assert_true(sum <= model->burst * UNIT + (wide)(movements[last].us - movements[first].us) * model->rate);
        }
    }
}

static void as_the_model_says(uint64_t seed)
{
    static const uint64_t paces[] = {1, 1000, 100000, 5000000, 600000000};
    uint64_t state = seed, now = below(&state, UINT64_C(1) << 50);
    struct model model = {.rate = 1 + (wide)below(&state, seed % 3 ? 1000 : 10000000),
                          .burst = 1 + (wide)below(&state, 100)};
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_minute = (uint64_t)model.rate,
                                                         .tokens_burst = (uint64_t)model.burst});
    static struct movement movements[STEPS];
    struct taken held[HELD] = {0};
    int count = 0;

    for (int step = 0; step < STEPS; step++) {
        struct taken *taken = &held[below(&state, HELD)];
        uint64_t amount = below(&state, (uint64_t)model.burst + (step % 50 == 0 ? 30 : 1));

        if (below(&state, 3) == 0)
            now += below(&state, paces[below(&state, ARRAY_SIZE(paces))]);
        if (taken->reservation.held) {
            wide parts = model_settle(&model, now, taken, amount);

            reservation_settle(&taken->reservation, &(struct charge){.tokens = amount}, at_us(now));
            movements[count++] = (struct movement){now, parts > 0 ? -parts : 0, false};
        } else {
            bool good = model_take(&model, now, amount);
            int r = reservation_take(&taken->reservation, &stage.scope, 1, &(struct charge){.tokens = amount},
                                     at_us(now), &stage.refusal);

            assert_int_equal(r == 0, good);
            taken->due = model.time;
            taken->cost = amount;
            if (good && (wide)amount <= model.burst)
                movements[count++] = (struct movement){now, (wide)amount * UNIT, true};
        }
        assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(now)),
                         model.time > now * model.rate ? (model.time - now * model.rate + UNIT - 1) / UNIT : 0);
    }
    check_intervals(movements, count, &model);
    admit_free(stage.admit);
}

static void at_random_as_the_model_says(void **given)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        as_the_model_says(seed);
}

/* --- all or nothing --- */

static void all_scopes_or_none(void **given)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct admit *admit = admit_new();
    struct scope *scopes[SCOPE_KINDS + 1] = {NULL};
    struct reservation first = {0}, second = {0};
    struct refusal refusal;
    const struct charge want = {1, 10, 100, false};

    for (int i = 0; i < SCOPE_KINDS; i++) {
        const struct config_quota quota = {.concurrent = i == 2 ? 1 : 9, .requests_per_minute = 60,
                                           .tokens_per_day = 1000, .money_per_month = i == 4 ? 350 : 100000};

        scopes[i] = admit_scope(admit, (enum scope_kind)i, bytes_of(names[i]), &quota);
    }
    assert_int_equal(reservation_take(&first, scopes, SCOPE_KINDS, &want, at_us(1), &refusal), 0);
    assert_int_equal(reservation_take(&second, scopes, SCOPE_KINDS, &want, at_us(1), &refusal), ADMIT_E_REFUSED);
    assert_ptr_equal(refusal.scope, scopes[2]);
    assert_int_equal(refusal.limit, QUOTA_CONCURRENT);
    assert_int_equal(refusal.retry_after_ms, 0);
    assert_false(second.held);
    reservation_settle(&second, &want, at_us(1));
    for (int i = 0; i < SCOPE_KINDS; i++) {
        assert_int_equal(used_of(scopes[i], QUOTA_CONCURRENT, at_us(1)), 1);
        assert_int_equal(used_of(scopes[i], QUOTA_REQUESTS, at_us(1)), 1);
        assert_int_equal(used_of(scopes[i], QUOTA_TOKENS_DAY, at_us(1)), 10);
    }
    /* Of two in the way, the one that takes longer. */
    assert_int_equal(reservation_take(&second, scopes, SCOPE_KINDS, &(struct charge){1, 1, 300, false}, at_us(1), &refusal),
                     ADMIT_E_REFUSED);
    assert_int_equal(refusal.limit, QUOTA_MONEY_MONTH);
    assert_ptr_equal(refusal.scope, scopes[4]);
    assert_false(refusal.never);
    assert_int_equal(refusal.retry_after_ms, UINT64_C(648000000));
    assert_int_equal(reservation_take(&second, scopes, SCOPE_KINDS, &(struct charge){1, 1, 351, false}, at_us(1), &refusal),
                     ADMIT_E_REFUSED);
    assert_true(refusal.never);

    /* One leaves; the rest is undone. */
    reservation_leave(&first, scopes[2], at_us(1));
    reservation_leave(&first, scopes[2], at_us(1));
    assert_int_equal(first.count, 4);
    assert_int_equal(used_of(scopes[2], QUOTA_REQUESTS, at_us(1)), 0);
    assert_int_equal(used_of(scopes[2], QUOTA_TOKENS_DAY, at_us(1)), 0);
    assert_int_equal(reservation_take(&second, scopes, SCOPE_KINDS, &want, at_us(1), &refusal), 0);
    reservation_undo(&first, at_us(1));
    reservation_undo(&first, at_us(1));
    reservation_undo(&second, at_us(1));
    for (int i = 0; i < SCOPE_KINDS; i++) {
        for (int limit = 0; limit < QUOTA_LIMITS; limit++) {
            struct scope_line line = line_of(scopes[i], (enum quota_limit)limit, at_us(1));

            assert_true(line.limit == QUOTA_LIMITS || line.used == 0);
        }
    }
    admit_free(admit);
}

static void scopes_that_are_not_there(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.concurrent = 1});
    struct scope *scopes[] = {NULL, stage.scope, NULL, stage.scope};
    struct reservation reservation = {0};
    struct scope_line line;

    assert_int_equal(reservation_take(&reservation, scopes, 4, &(struct charge){1, 1, 1, false}, at_us(1), &stage.refusal), 0);
    assert_int_equal(reservation.count, 1);
    assert_int_equal(used_of(stage.scope, QUOTA_CONCURRENT, at_us(1)), 1);
    reservation_settle(&reservation, &(struct charge){0}, at_us(1));
    assert_int_equal(used_of(stage.scope, QUOTA_CONCURRENT, at_us(1)), 0);
    assert_int_equal(reservation_take(&reservation, scopes, 1, &(struct charge){1, 1, 1, false}, at_us(1), &stage.refusal), 0);
    assert_true(reservation.held);
    reservation_leave(&reservation, stage.scope, at_us(1));
    reservation_settle(&reservation, &(struct charge){0}, at_us(1));
    assert_false(reservation_tightest(scopes, 4, QUOTA_REQUESTS, at_us(1), &line));
    admit_free(stage.admit);
}

static void the_tightest(void **given)
{
    struct admit *admit = admit_new();
    struct scope *scopes[3];
    struct reservation reservation = {0};
    struct refusal refusal;
    struct scope_line line;

    scopes[0] = admit_scope(admit, SCOPE_OF_KEY, BYTES("k"), &(struct config_quota){.requests_per_minute = 100});
    scopes[1] = admit_scope(admit, SCOPE_OF_TEAM, BYTES("t"), &(struct config_quota){.requests_per_minute = 50});
    scopes[2] = admit_scope(admit, SCOPE_OF_MODEL, BYTES("m"), &(struct config_quota){.tokens_per_minute = 70});
    assert_int_equal(reservation_take(&reservation, scopes, 3, &(struct charge){1, 20, 0, false}, at_us(9), &refusal), 0);
    assert_true(reservation_tightest(scopes, 3, QUOTA_REQUESTS, at_us(9), &line));
    assert_int_equal(line.most, 50);
    assert_int_equal(line.remaining, 49);
    assert_int_equal(line.reset_ms, 1200);
    assert_true(reservation_tightest(scopes, 3, QUOTA_TOKENS, at_us(9), &line));
    assert_int_equal(line.remaining, 50);
    admit_free(admit);
}

static void assert_line(const struct scope_line *line, const struct scope_line *other)
{
    assert_int_equal(line->limit, other->limit);
    assert_int_equal(line->most, other->most);
    assert_int_equal(line->used, other->used);
    assert_int_equal(line->remaining, other->remaining);
    assert_int_equal(line->reset_ms, other->reset_ms);
}

/* Of scopes that can be told apart, what the decision saw is what stands there right behind it. */
static void the_decision_saw_the_tightest(void **given)
{
    uint64_t state = 11, now = 5000000;
    struct admit *admit = admit_new();
    struct scope *scopes[SCOPE_KINDS];
    struct reservation reservation = {0};
    struct scope_line seen, read;
    struct refusal refusal;

    assert_false(reservation_line(&reservation, QUOTA_REQUESTS, &seen));
    for (int kind = 0; kind < SCOPE_KINDS; kind++)
        scopes[kind] = admit_scope(admit, (enum scope_kind)kind, BYTES("x"), &(struct config_quota){
            .requests_per_minute = 60 + (uint64_t)kind, .requests_burst = 10 + 3 * (uint64_t)kind,
            .tokens_per_minute = kind == SCOPE_OF_TEAM ? 0 : 6000 + 1000 * (uint64_t)kind});
    for (int i = 0; i < 3000; i++) {
        struct charge want = {1, below(&state, 300), 0, false};
        bool is_refused = reservation_take(&reservation, scopes, SCOPE_KINDS, &want, at_us(now), &refusal) != 0;

        for (int limit = QUOTA_REQUESTS; limit <= QUOTA_TOKENS; limit++) {
            assert_true(reservation_line(&reservation, (enum quota_limit)limit, &seen));
            assert_true(reservation_tightest(scopes, SCOPE_KINDS, (enum quota_limit)limit, at_us(now), &read));
            assert_int_equal(seen.remaining, read.remaining);
            if (seen.most == read.most)
                assert_line(&seen, &read);
        }
        assert_true(!is_refused || !reservation.held);
        reservation_settle(&reservation, &(struct charge){0, below(&state, 300), 0, false}, at_us(now));
        now += below(&state, 1500000);
    }
    admit_free(admit);
}

/* --- budgets --- */

static void a_settlement_belongs_to_its_day(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_day = 100, .tokens_per_month = 200});
    struct reservation late = {0}, next = {0};
    const struct charge want = {1, 80, 0, false};
    int64_t midnight = NOON / DAY_S * DAY_S + DAY_S;

    assert_int_equal(reservation_take(&late, &stage.scope, 1, &want, at_wall(1, midnight - 1), &stage.refusal), 0);
    assert_int_equal(reservation_take(&next, &stage.scope, 1, &want, at_wall(2, midnight - 1), &stage.refusal),
                     ADMIT_E_REFUSED);
    assert_int_equal(stage.refusal.limit, QUOTA_TOKENS_DAY);
    assert_int_equal(stage.refusal.retry_after_ms, 1000);
    assert_int_equal(reservation_take(&next, &stage.scope, 1, &(struct charge){1, 70, 0, false}, at_wall(3, midnight),
                                      &stage.refusal), 0);
    reservation_settle(&late, &(struct charge){0, 20, 0, false}, at_wall(4, midnight + 5));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_DAY, at_wall(5, midnight + 5)), 70);
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_MONTH, at_wall(5, midnight + 5)), 90);
    reservation_settle(&next, &(struct charge){0, 95, 0, false}, at_wall(6, midnight + 6));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_DAY, at_wall(7, midnight + 6)), 95);
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_MONTH, at_wall(7, midnight + 6)), 115);
    admit_free(stage.admit);
}

static void no_new_budget_for_a_clock_that_steps_back(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_day = 100});
    struct reservation taken = {0};

    assert_true(take(&stage, 1, 60, at_wall(1, NOON)));
    assert_false(take(&stage, 1, 60, at_wall(2, NOON - DAY_S)));
    /* What is taken meanwhile is settled where it was counted. */
    assert_int_equal(reservation_take(&taken, &stage.scope, 1, &(struct charge){1, 40, 0, false}, at_wall(3, NOON - DAY_S),
                                      &stage.refusal), 0);
    reservation_settle(&taken, &(struct charge){0, 15, 0, false}, at_wall(4, NOON));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_DAY, at_wall(5, NOON)), 75);
    admit_free(stage.admit);
}

static void more_than_a_budget(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){.tokens_per_day = 100, .money_per_day = 100});
    struct reservation reservation = {0};

    assert_false(take(&stage, 1, 101, at_us(1)));
    assert_true(stage.refusal.never);
    assert_int_equal(reservation_take(&reservation, &stage.scope, 1, &(struct charge){1, 10, 100, false}, at_us(1),
                                      &stage.refusal), 0);
    reservation_settle(&reservation, &(struct charge){0, 10, 500, false}, at_us(1));
    /* What costs nothing may be asked even then. */
    assert_true(take(&stage, 1, 10, at_us(1)));
    assert_int_equal(reservation_take(&reservation, &stage.scope, 1, &(struct charge){1, 10, 1, false}, at_us(1),
                                      &stage.refusal), ADMIT_E_REFUSED);
    assert_int_equal(stage.refusal.limit, QUOTA_MONEY_DAY);
    assert_int_equal(stage.refusal.retry_after_ms, 43200000);
    admit_free(stage.admit);
}

static void numbers_beyond_all_measure(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){
        .tokens_per_minute = 1000, .requests_per_minute = UINT64_MAX, .tokens_per_month = UINT64_MAX});
    struct reservation reservation = {0};
    struct charge want = {UINT64_MAX / 2, UINT64_MAX / 2, UINT64_MAX, false};

    assert_int_equal(reservation_take(&reservation, &stage.scope, 1, &want, at_us(1), &stage.refusal), 0);
    assert_false(take(&stage, 1, 1, at_us(2)));
    assert_true(stage.refusal.retry_after_ms > 1000000);
    reservation_undo(&reservation, at_us(UINT64_MAX / 4));
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS, at_us(UINT64_MAX / 4)), 0);
    assert_true(take(&stage, 1, 1000, at_us(UINT64_MAX / 4)));
    admit_free(stage.admit);
}

/* --- without a place --- */

static void no_place_is_looked_at_nor_taken(void **given)
{
    struct stage stage = stage_of(&(struct config_quota){
        .concurrent = 1, .requests_per_minute = 60, .requests_burst = 4, .tokens_per_day = 100});
    const struct charge hit = {1, 10, 0, true};
    struct reservation placed = {0}, hits[3];
    struct scope_line line;

    assert_int_equal(reservation_take(&placed, &stage.scope, 1, &(struct charge){1, 0, 0, false}, at_us(1),
                                      &stage.refusal), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(reservation_take(&hits[i], &stage.scope, 1, &hit, at_us(1), &stage.refusal), 0);
    assert_int_equal(used_of(stage.scope, QUOTA_CONCURRENT, at_us(1)), 1);
    assert_int_equal(used_of(stage.scope, QUOTA_REQUESTS, at_us(1)), 4);
    assert_int_equal(reservation_take(&(struct reservation){0}, &stage.scope, 1, &hit, at_us(1), &stage.refusal),
                     ADMIT_E_REFUSED);
    assert_int_equal(stage.refusal.limit, QUOTA_REQUESTS);
    reservation_settle(&hits[0], &(struct charge){0, 25, 0, false}, at_us(1));
    reservation_undo(&hits[1], at_us(1));
    reservation_leave(&hits[2], stage.scope, at_us(1));
    reservation_settle(&hits[2], &(struct charge){0}, at_us(1));
    line = line_of(stage.scope, QUOTA_CONCURRENT, at_us(1));
    assert_int_equal(line.used, 1);
    assert_int_equal(used_of(stage.scope, QUOTA_REQUESTS, at_us(1)), 2);
    assert_int_equal(used_of(stage.scope, QUOTA_TOKENS_DAY, at_us(1)), 25);
    assert_false(take(&stage, 1, 0, at_us(1)));
    assert_int_equal(stage.refusal.limit, QUOTA_CONCURRENT);
    reservation_settle(&placed, &(struct charge){0}, at_us(1));
    assert_int_equal(used_of(stage.scope, QUOTA_CONCURRENT, at_us(1)), 0);
    admit_free(stage.admit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(a_year_without_drift),
        cmocka_unit_test(the_wait_is_exact),
        cmocka_unit_test(more_than_the_burst),
        cmocka_unit_test(debts_and_refunds),
        cmocka_unit_test(a_late_refund_makes_no_second_burst),
        cmocka_unit_test(at_random_as_the_model_says),
        cmocka_unit_test(all_scopes_or_none),
        cmocka_unit_test(scopes_that_are_not_there),
        cmocka_unit_test(the_tightest),
        cmocka_unit_test(the_decision_saw_the_tightest),
        cmocka_unit_test(a_settlement_belongs_to_its_day),
        cmocka_unit_test(no_new_budget_for_a_clock_that_steps_back),
        cmocka_unit_test(more_than_a_budget),
        cmocka_unit_test(numbers_beyond_all_measure),
        cmocka_unit_test(no_place_is_looked_at_nor_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
