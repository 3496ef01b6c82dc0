/*
 * A scope from the inside, for the files of this room.
 */
#pragma once

#include "admit/budget.h"
#include "admit/rate.h"
#include "admit/scope.h"

#include <uv.h>

/* Of a QUOTA_ that is a rate, its place; of one that is a budget, its period and account. */
#define SCOPE_RATES 2
#define SCOPE_IS_BUDGET(limit) ((limit) >= QUOTA_TOKENS_DAY)

/* Starts on a line of the cache of its own, what a decision looks at in front. */
struct scope {
    uv_mutex_t lock;            /* guards all but what never changes */
    uint32_t running;           /* places taken, also where there is no limit to them */
    enum scope_kind kind;       /* never changes */
    uint64_t at_us;             /* when time was last given back; does not go back */
    struct rate rates[SCOPE_RATES];         /* QUOTA_REQUESTS, QUOTA_TOKENS */
    uint64_t most[QUOTA_LIMITS];            /* 0: not limited */
    uint64_t burst[SCOPE_RATES];
    struct budget budgets[BUDGET_PERIODS];  /* kept also where they are not limited */
    struct config_quota quota;

    /* never changes but NEXT, which the registry's lock guards */
    struct scope *next;         /* in its bucket */
    uint64_t hash;
    void *memory;               /* as allocated */
    struct bytes name;
};

/* With the lock held: give back what time gives, open the periods that begin, follow a quota that changed. */
void scope_advance(struct scope *scope, const struct moment *moment);

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
