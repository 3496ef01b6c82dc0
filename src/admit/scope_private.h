/*
 * A scope from the inside, for the files of this room.
 */
#pragma once

#include "admit/budget.h"
#include "admit/lock.h"
#include "admit/rate.h"
#include "admit/scope.h"

#include <uv.h>

/* The registry. */
struct admit {
    uv_rwlock_t lock;
    struct scope **buckets;
    unsigned bits;
    struct scope **all;     /* in the order they became known */
    uint32_t count, capacity;
    uint32_t most;          /* scopes of keys are made up to here */
    uint32_t attached;      /* moves with every keyring, from 0 */
};

/* Of a QUOTA_ that is a rate, its place; of one that is a budget, its period and account. */
#define SCOPE_RATES 2
#define SCOPE_IS_BUDGET(limit) ((limit) >= QUOTA_TOKENS_DAY)

/* Starts on a line of the cache of its own, what a decision looks at in front. */
struct scope {
    struct lock lock;           /* guards all but what never changes */
    uint32_t running;           /* places taken, also where there is no limit to them */
    uint8_t kind;               /* enum scope_kind; never changes */
    bool changed;               /* the quota did, and the rates do not know it yet */
    uint64_t at_us;             /* when time was last given back; does not go back */
    struct rate rates[SCOPE_RATES];         /* QUOTA_REQUESTS, QUOTA_TOKENS */
    uint64_t most[QUOTA_LIMITS];            /* 0: not limited */
    rate_parts room[SCOPE_RATES];           /* the burst */
    uint64_t burst[SCOPE_RATES];
    struct budget budgets[BUDGET_PERIODS];  /* kept also where they are not limited */
    struct spent ceilings[BUDGET_PERIODS];  /* of them; UINT64_MAX: not limited */
    struct config_quota quota;

    /* of keys */
    _Atomic uint32_t keyrings;  /* that have it; more only with the registry locked */
    uint32_t attached;          /* the last one that took it; 0: none ever. Guarded by the registry's lock */

    /* never changes but NEXT, which the registry's lock guards */
    struct scope *next;         /* in its bucket */
    uint64_t hash;
    void *memory;               /* as allocated */
    struct bytes name;
};

/* Private to scope_advance(). */
void scope_follow(struct scope *scope);

/* With the lock held: give back what time gives, open the periods that begin, follow a quota that changed. */
static inline void scope_advance(struct scope *scope, const struct moment *moment)
{
    uint64_t elapsed = moment->us > scope->at_us ? moment->us - scope->at_us : 0;

    scope->at_us += elapsed;
    for (int i = 0; i < SCOPE_RATES; i++)
        rate_pass(&scope->rates[i], elapsed);
    if (scope->changed)
        scope_follow(scope);
    for (int i = 0; i < BUDGET_PERIODS; i++)
        budget_roll(&scope->budgets[i], (enum budget_period)i, moment);
}

/* With the lock held: what is spent of a budget. */
static inline uint64_t *scope_spent(struct spent *spent, enum quota_limit limit)
{
    return limit == QUOTA_TOKENS_DAY || limit == QUOTA_TOKENS_MONTH ? &spent->tokens : &spent->money;
}

static inline enum budget_period scope_period(enum quota_limit limit)
{
    return limit == QUOTA_TOKENS_DAY || limit == QUOTA_MONEY_DAY ? BUDGET_DAY : BUDGET_MONTH;
}

/* LIMIT as it stands. False: there is no such limit. Takes the lock. */
bool scope_line(struct scope *scope, enum quota_limit limit, const struct moment *moment, struct scope_line *ret);

/* The quota as it was last given, bursts filled in. Takes the lock. */
struct config_quota scope_quota(struct scope *scope);
