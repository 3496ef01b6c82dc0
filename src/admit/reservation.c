/*
 * Taking holds the locks of all its scopes, for they say yes together; giving back goes from one to the next.
 *
 * Which scope is the tightest is seen while they are locked, without a division; that is done for one line of a head.
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
    rate_parts need[SCOPE_RATES];
    struct moment moment;
    struct refusal worst;       /* no scope: none */
};

static uint64_t add_most(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
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

static void refuse_rate(struct decision *decision, struct scope *scope, enum quota_limit limit)
{
    rate_parts room = scope->room[limit], need = decision->need[limit];
    uint64_t wait_us = rate_wait_us(&scope->rates[limit], room, need);

    if (limit == QUOTA_REQUESTS && need > room) {
        refuse(decision, scope, limit, 0, true);
    } else if (wait_us) {
        /* Another thread's clock may have been read a little later than ours. */
        wait_us = add_most(wait_us, scope->at_us - decision->moment.us);
        refuse(decision, scope, limit, wait_us / 1000 + (wait_us % 1000 != 0), false);
    }
}

static void refuse_budget(struct decision *decision, struct scope *scope, enum quota_limit limit, uint64_t amount)
{
    bool never = amount > scope->most[limit];
    enum budget_period period = scope_period(limit);

    refuse(decision, scope, limit, never ? 0 : budget_reset_ms(&scope->budgets[period], period, &decision->moment),
           never);
}

static void check_budgets(struct decision *decision, struct scope *scope, int period)
{
    const struct spent *spent = &scope->budgets[period].now, *most = &scope->ceilings[period];
    const struct charge *want = decision->want;

    if (want->tokens && add_most(spent->tokens, want->tokens) > most->tokens)
        refuse_budget(decision, scope, (enum quota_limit)(QUOTA_TOKENS_DAY + period), want->tokens);
    if (want->money && add_most(spent->money, want->money) > most->money)
        refuse_budget(decision, scope, (enum quota_limit)(QUOTA_MONEY_DAY + period), want->money);
}

static void check(struct decision *decision, struct scope *scope)
{
    const struct charge *want = decision->want;

    scope_advance(scope, &decision->moment);
    if (!want->placeless && scope->most[QUOTA_CONCURRENT] && scope->running >= scope->most[QUOTA_CONCURRENT])
        refuse(decision, scope, QUOTA_CONCURRENT, 0, false);
    for (int i = 0; i < SCOPE_RATES; i++)
        if (scope->most[i] && !rate_has(&scope->rates[i], scope->room[i], decision->need[i]))
            refuse_rate(decision, scope, (enum quota_limit)i);
    for (int period = 0; period < BUDGET_PERIODS; period++)
        check_budgets(decision, scope, period);
}

/* --- taking --- */

static void charge_part(struct reservation_part *part, const struct decision *decision)
{
    const struct charge *want = decision->want;
    struct scope *scope = part->scope;

    scope->running += !want->placeless;
    part->at_us = scope->at_us;
    for (int i = 0; i < SCOPE_RATES; i++) {
        rate_parts level = 0;

        if (scope->most[i])
            level = scope->rates[i].level += decision->need[i];
        part->behind[i] = level > BEHIND_MOST ? BEHIND_MOST : (uint64_t)level;
    }
    for (int i = 0; i < BUDGET_PERIODS; i++) {
        struct spent *spent = &scope->budgets[i].now;

        part->period[i] = spent->number;
        spent->tokens = add_most(spent->tokens, want->tokens);
        spent->money = add_most(spent->money, want->money);
    }
}

/* --- what headers tell --- */

/* Of two with the same room the one that takes longer to be whole again. */
static bool is_slower(const struct rate *one, const struct rate *other)
{
    if (one->per_minute == other->per_minute)
        return one->level > other->level;
    return rate_empty_us(one) > rate_empty_us(other);
}

static void see(struct rate_seen *tightest, const struct scope *scope, int rate)
{
    const struct rate *here = &scope->rates[rate];
    rate_parts room = scope->room[rate] > here->level ? scope->room[rate] - here->level : 0;

    if (tightest->rate.per_minute && (room > tightest->room || (room == tightest->room &&
                                                                !is_slower(here, &tightest->rate))))
        return;
    *tightest = (struct rate_seen){*here, room, scope->burst[rate]};
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
    struct decision decision = {
        .want = want,
        .need = {rate_parts_of(want->requests), rate_parts_of(want->tokens)},
        .moment = moment_of(now.us, now.wall_s),
    };

    gather(reservation, scopes, count);
    reservation->tightest[QUOTA_REQUESTS].rate.per_minute = reservation->tightest[QUOTA_TOKENS].rate.per_minute = 0;
    for (unsigned i = 0; i < reservation->count; i++) {
        lock_take(&reservation->parts[i].scope->lock);
        check(&decision, reservation->parts[i].scope);
    }
    for (unsigned i = reservation->count; i-- > 0;) {
        struct scope *scope = reservation->parts[i].scope;

        if (!decision.worst.scope)
            charge_part(&reservation->parts[i], &decision);
        for (int rate = 0; rate < SCOPE_RATES; rate++)
            if (scope->most[rate])
                see(&reservation->tightest[rate], scope, rate);
        lock_give(&scope->lock);
    }
    if (decision.worst.scope) {
        reservation->count = 0;
        reservation->held = false;
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

    lock_take(&scope->lock);
    scope_advance(scope, moment);
    scope->running -= !taken->placeless;
    if (actual->requests < taken->requests)
        give_rate(part, QUOTA_REQUESTS, taken->requests - actual->requests);
    if (actual->tokens < taken->tokens)
        give_rate(part, QUOTA_TOKENS, taken->tokens - actual->tokens);
    else if (scope->most[QUOTA_TOKENS])
        scope->rates[QUOTA_TOKENS].level += rate_parts_of(actual->tokens - taken->tokens);
    for (int i = 0; i < BUDGET_PERIODS; i++) {
        struct spent *spent = budget_of(&scope->budgets[i], part->period[i]);

        if (spent) {
            correct(&spent->tokens, taken->tokens, actual->tokens);
            correct(&spent->money, taken->money, actual->money);
        }
    }
    lock_give(&scope->lock);
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

bool reservation_line(const struct reservation *reservation, enum quota_limit limit, struct scope_line *ret)
{
    const struct rate_seen *seen = &reservation->tightest[limit];
    uint64_t used, empty_us;

    if (seen->rate.per_minute == 0)
        return false;
    used = rate_used(&seen->rate);
    empty_us = rate_empty_us(&seen->rate);
    *ret = (struct scope_line){
        .limit = limit,
        .most = seen->rate.per_minute,
        .used = used,
        .remaining = seen->burst > used ? seen->burst - used : 0,
        .reset_ms = empty_us / 1000 + (empty_us % 1000 != 0),
    };
    return true;
}

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
