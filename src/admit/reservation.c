/*
 * Taking holds the locks of all its scopes, for they say yes together; giving back goes from one to the next.
 *
 * What a rate gives back by itself leaves it in the order it was taken. So of a reservation that is settled late, the
 * part whose turn has passed is gone and cannot be given back a second time: else an old estimate could make room for
 * a second burst right behind the first.
 */
#include "admit/reservation.h"

#include "admit/scope_private.h"

#include <assert.h>

/* 300 billion tokens and more: nobody waits for these to come back, so they are given back whenever it is. */
#define BEHIND_MOST UINT64_MAX

/* What a reservation is held against. */
struct decision {
    const struct charge *want;
    struct moment moment;
    struct refusal worst;       /* no scope: none */
};

static uint64_t add_most(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* --- may it be taken? --- */

static void refuse(struct decision *decision, struct scope *scope, enum quota_limit limit, uint64_t retry_after_ms,
                   bool never)
{
    struct refusal *worst = &decision->worst;
    bool worse = !worst->scope;

    if (!worse && never != worst->never)
        worse = never;
    else if (!worse && retry_after_ms != worst->retry_after_ms)
        worse = retry_after_ms > worst->retry_after_ms;
    else if (!worse)
        worse = scope->kind < worst->scope->kind;
    if (worse)
        *worst = (struct refusal){scope, limit, retry_after_ms, never};
}

static void check_rate(struct decision *decision, struct scope *scope, enum quota_limit limit, uint64_t amount)
{
    uint64_t wait_us = rate_wait_us(&scope->rates[limit], scope->burst[limit], amount);

    if (limit == QUOTA_REQUESTS && amount > scope->burst[limit]) {
        refuse(decision, scope, limit, 0, true);
    } else if (wait_us) {
        /* Another thread's clock may have been read a little later than ours. */
        wait_us = add_most(wait_us, scope->at_us - decision->moment.us);
        refuse(decision, scope, limit, wait_us / 1000 + (wait_us % 1000 != 0), false);
    }
}

static void check_budget(struct decision *decision, struct scope *scope, enum quota_limit limit)
{
    const struct charge *want = decision->want;
    struct budget *budget = &scope->budgets[scope_period(limit)];
    uint64_t amount = limit == QUOTA_TOKENS_DAY || limit == QUOTA_TOKENS_MONTH ? want->tokens : want->money;
    uint64_t most = scope->most[limit];

    if (amount == 0 || add_most(*scope_spent(&budget->now, limit), amount) <= most)
        return;
    if (amount > most)
        refuse(decision, scope, limit, 0, true);
    else
        refuse(decision, scope, limit, budget_reset_ms(budget, scope_period(limit), &decision->moment), false);
}

static void check(struct decision *decision, struct scope *scope)
{
    scope_advance(scope, &decision->moment);
    if (!decision->want->placeless && scope->most[QUOTA_CONCURRENT] &&
        scope->running >= scope->most[QUOTA_CONCURRENT])
        refuse(decision, scope, QUOTA_CONCURRENT, 0, false);
    if (scope->most[QUOTA_REQUESTS])
        check_rate(decision, scope, QUOTA_REQUESTS, decision->want->requests);
    if (scope->most[QUOTA_TOKENS])
        check_rate(decision, scope, QUOTA_TOKENS, decision->want->tokens);
    for (int limit = QUOTA_TOKENS_DAY; limit < QUOTA_LIMITS; limit++) {
        if (scope->most[limit])
            check_budget(decision, scope, (enum quota_limit)limit);
    }
}

/* --- taking --- */

static void charge_part(struct reservation_part *part, const struct charge *want)
{
    const uint64_t amounts[SCOPE_RATES] = {[QUOTA_REQUESTS] = want->requests, [QUOTA_TOKENS] = want->tokens};
    struct scope *scope = part->scope;

    scope->running += !want->placeless;
    part->at_us = scope->at_us;
    for (int i = 0; i < SCOPE_RATES; i++) {
        rate_parts level;

        if (scope->most[i])
            rate_take(&scope->rates[i], amounts[i]);
        level = scope->rates[i].level;
        part->behind[i] = !scope->most[i] ? 0 : level > BEHIND_MOST ? BEHIND_MOST : (uint64_t)level;
    }
    for (int i = 0; i < BUDGET_PERIODS; i++) {
        struct spent *spent = &scope->budgets[i].now;

        part->period[i] = spent->number;
        spent->tokens = add_most(spent->tokens, want->tokens);
        spent->money = add_most(spent->money, want->money);
    }
}

/* The scopes that are there, each once, into RESERVATION. */
static void gather(struct reservation *reservation, struct scope *const *scopes, unsigned count)
{
    assert(count <= SCOPE_KINDS);
    reservation->count = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned place = reservation->count;

        while (place > 0 && (uintptr_t)reservation->parts[place - 1].scope > (uintptr_t)scopes[i])
            place--;
        if (!scopes[i] || (place > 0 && reservation->parts[place - 1].scope == scopes[i]))
            continue;
        for (unsigned at = reservation->count++; at > place; at--)
            reservation->parts[at].scope = reservation->parts[at - 1].scope;
        reservation->parts[place].scope = scopes[i];
    }
}

int reservation_take(struct reservation *reservation, struct scope *const *scopes, unsigned count,
                     const struct charge *want, struct admit_time now, struct refusal *ret)
{
    struct decision decision = {.want = want, .moment = moment_of(now.us, now.wall_s)};

    gather(reservation, scopes, count);
    for (unsigned i = 0; i < reservation->count; i++) {
        uv_mutex_lock(&reservation->parts[i].scope->lock);
        check(&decision, reservation->parts[i].scope);
    }
    for (unsigned i = reservation->count; i-- > 0;) {
        if (!decision.worst.scope)
            charge_part(&reservation->parts[i], want);
        uv_mutex_unlock(&reservation->parts[i].scope->lock);
    }
    if (decision.worst.scope) {
        *reservation = (struct reservation){0};
        *ret = decision.worst;
        return ADMIT_E_REFUSED;
    }
    reservation->taken = *want;
    reservation->held = true;
    return 0;
}

/* --- giving back --- */

/* AMOUNT less of a rate, but no more than what time has left of it. */
static void give_rate(const struct reservation_part *part, int rate, uint64_t amount)
{
    struct scope *scope = part->scope;
    rate_parts passed = (rate_parts)scope->rates[rate].per_minute * (scope->at_us - part->at_us);
    rate_parts left = part->behind[rate] > passed ? part->behind[rate] - passed : 0;
    rate_parts parts = rate_parts_of(amount);

    if (part->behind[rate] == BEHIND_MOST)
        left = parts;
    rate_give(&scope->rates[rate], parts < left ? parts : left);
}

static void correct(uint64_t *account, uint64_t taken, uint64_t actual)
{
    uint64_t rest = *account > taken ? *account - taken : 0;

    *account = add_most(rest, actual);
}

/* From TAKEN to ACTUAL, and the place given back. */
static void settle_part(const struct reservation_part *part, const struct charge *taken, const struct charge *actual,
                        const struct moment *moment)
{
    struct scope *scope = part->scope;

    uv_mutex_lock(&scope->lock);
    scope_advance(scope, moment);
    scope->running -= !taken->placeless;
    if (actual->requests < taken->requests)
        give_rate(part, QUOTA_REQUESTS, taken->requests - actual->requests);
    if (actual->tokens < taken->tokens)
        give_rate(part, QUOTA_TOKENS, taken->tokens - actual->tokens);
    else if (scope->most[QUOTA_TOKENS])
        rate_take(&scope->rates[QUOTA_TOKENS], actual->tokens - taken->tokens);
    for (int i = 0; i < BUDGET_PERIODS; i++) {
        struct spent *spent = budget_of(&scope->budgets[i], part->period[i]);

        if (spent) {
            correct(&spent->tokens, taken->tokens, actual->tokens);
            correct(&spent->money, taken->money, actual->money);
        }
    }
    uv_mutex_unlock(&scope->lock);
}

static void settle_all(struct reservation *reservation, const struct charge *actual, struct admit_time now)
{
    struct moment moment = moment_of(now.us, now.wall_s);

    if (!reservation->held)
        return;
    reservation->held = false;
    for (unsigned i = 0; i < reservation->count; i++)
        settle_part(&reservation->parts[i], &reservation->taken, actual, &moment);
}

void reservation_settle(struct reservation *reservation, const struct charge *actual, struct admit_time now)
{
    struct charge with_requests = *actual;

    with_requests.requests = reservation->taken.requests;
    settle_all(reservation, &with_requests, now);
}

void reservation_undo(struct reservation *reservation, struct admit_time now)
{
    settle_all(reservation, &(struct charge){0}, now);
}

void reservation_leave(struct reservation *reservation, struct scope *scope, struct admit_time now)
{
    struct moment moment = moment_of(now.us, now.wall_s);
    unsigned place = 0;

    while (place < reservation->count && reservation->parts[place].scope != scope)
        place++;
    if (!reservation->held || place == reservation->count)
        return;
    settle_part(&reservation->parts[place], &reservation->taken, &(struct charge){0}, &moment);
    reservation->count--;
    memmove(&reservation->parts[place], &reservation->parts[place + 1],
            (reservation->count - place) * sizeof(reservation->parts[0]));
}

/* --- for headers --- */

bool reservation_tightest(struct scope *const *scopes, unsigned count, enum quota_limit limit, struct admit_time now,
                          struct scope_line *ret)
{
    struct moment moment = moment_of(now.us, now.wall_s);
    struct scope_line line;
    bool found = false;

    for (unsigned i = 0; i < count; i++) {
        if (!scopes[i] || !scope_line(scopes[i], limit, &moment, &line))
            continue;
        if (!found || line.remaining < ret->remaining ||
            (line.remaining == ret->remaining && line.reset_ms > ret->reset_ms))
            *ret = line;
        found = true;
    }
    return found;
}
