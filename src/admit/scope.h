/*
 * How much was asked in one scope (a key, a team, a model, a backend, the whole gateway), and how much may be: rates,
 * concurrency, budgets. One struct per scope with a quota, for all workers; a scope that has none is not there.
 *
 * Rates are GCRA (ATM Forum TM 4.0): one level per rate says how much of what was taken time has not given back yet;
 * so a rate has no window whose seam could let twice as much through, a refusal costs nothing, and a refund is a
 * subtraction. At most BURST at once and RATE a minute in any minute that follows.
 * Budgets are counted per day and month (UTC).
 *
 * Numbers: requests, tokens, money in millionths of the currency; times in microseconds on the monotonic clock, days
 * and months on the wall clock.
 */
#pragma once

#include "config/config.h"

struct admit;
struct scope;

enum scope_kind { SCOPE_OF_KEY, SCOPE_OF_TEAM, SCOPE_OF_MODEL, SCOPE_OF_BACKEND, SCOPE_OF_GATEWAY, SCOPE_KINDS };

/* What a quota can run out of. */
enum quota_limit {
    QUOTA_REQUESTS,         /* per minute */
    QUOTA_TOKENS,           /* per minute */
    QUOTA_CONCURRENT,
    QUOTA_TOKENS_DAY,
    QUOTA_TOKENS_MONTH,
    QUOTA_MONEY_DAY,
    QUOTA_MONEY_MONTH,
    QUOTA_LIMITS,
};

/* "requests_per_minute" ... */
const char *quota_limit_name(enum quota_limit limit);
const char *scope_kind_name(enum scope_kind kind);

/* Now, on both clocks: taken once per decision. */
struct admit_time {
    uint64_t us;            /* monotonic */
    int64_t wall_s;
};

struct admit *admit_new(void);
struct admit *admit_free(struct admit *admit);

/* The scope of KIND called NAME with QUOTA, made when it was not there; one that was there keeps what it has counted
 * and takes the new quota. NULL when QUOTA limits nothing (and what was there limits nothing any more). Lives as long
 * as ADMIT, if no keyring ever has it. From any thread. */
struct scope *admit_scope(struct admit *admit, enum scope_kind kind, struct bytes name,
                          const struct config_quota *quota);
/* One that is there, or NULL: a short read lock. */
struct scope *admit_find(struct admit *admit, enum scope_kind kind, struct bytes name);

enum scope_kind scope_kind(const struct scope *scope);
struct bytes scope_name(const struct scope *scope);

/* One limit of a scope as it stands. */
struct scope_line {
    enum quota_limit limit;
    uint64_t most;          /* what the configuration says */
    uint64_t used;          /* of rates: what is not given back yet */
    uint64_t remaining;     /* of rates: of the burst */
    uint64_t reset_ms;      /* until all of it is there again */
};

/* The limits SCOPE has, at most QUOTA_LIMITS. The number. */
unsigned scope_lines(struct scope *scope, struct admit_time now, struct scope_line ret[QUOTA_LIMITS]);

/* The next scope from *PLACE on, which begins at 0 and moves, in the order they became known; NULL behind the last.
 * Those of keys that the newest keyring does not have are passed by, unless a place in them is taken. */
struct scope *admit_next(struct admit *admit, uint32_t *place);

/* --- the scopes of keys --- */

struct admit_key {
    struct bytes name;
    const struct config_quota *quota;
    struct scope *scope;    /* found by admit_attach(): as admit_scope() gives it */
};

/* A new keyring has KEYS: find each its scope, which stays until scope_detach(). False, and nothing changed: so many
 * scopes are known that not all of these can be made. */
bool admit_attach(struct admit *admit, struct admit_key *keys, uint32_t count);
/* A keyring less has SCOPE, and whoever took something there with it holds a place, or has given it back. NULL is
 * fine. From any thread. */
void scope_detach(struct scope *scope);
/* Free the scopes of keys that no keyring has, where no place is taken and nothing is counted: rates that time has
 * emptied, no budget used this day or month. Not where Redis keeps the books, for then who took something holds no
 * place here; and from the one thread that uses what admit_next() gave. */
void admit_forget(struct admit *admit, struct admit_time now);
