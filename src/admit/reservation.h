/*
 * What one request took from its scopes before it ran, to be settled when it is over: all scopes are checked and
 * charged together or not at all, and every path gives back what was not used.
 *
 * Requests stay charged. Tokens and money are an estimate at first; settled they are what was really used, more or
 * less. The place among the concurrent ones is given back; who asks nobody (a hit) is PLACELESS and takes none.
 */
#pragma once

#include "admit/rate.h"
#include "admit/scope.h"

struct charge {
    uint64_t requests, tokens, money;
    bool placeless;     /* concurrency is neither looked at nor taken */
};

/* Where in one scope it was taken: what is needed to give it back there and nowhere else. */
struct reservation_part {
    struct scope *scope;
    uint64_t at_us;
    uint64_t behind[2];     /* of requests and tokens: the level with this one on top; time gives it back in turn */
    int32_t period[2];      /* the day and the month that were charged */
};

/* A rate at the decision, in the scope where the least of it remained. Its PER_MINUTE is 0: no scope has it. */
struct rate_seen {
    struct rate rate;
    rate_parts room;
    uint64_t burst;
};

/* Part of an exchange. All zero: nothing is held. */
struct reservation {
    struct reservation_part parts[SCOPE_KINDS];     /* in the order of their scopes' addresses */
    unsigned count;
    struct charge taken;
    bool held;              /* a place among the concurrent ones, and an estimate, are to be given back */
    struct rate_seen tightest[2];       /* of requests and of tokens, this one counted; after a refusal as well */
};

struct refusal {
    struct scope *scope;
    enum quota_limit limit;
    uint64_t retry_after_ms;    /* for concurrency: 0, nobody knows */
    bool never;                 /* more than could ever be taken at once */
};

enum { ADMIT_E_REFUSED = 1 };

/* Take WANT and one place (but see `placeless`) from each of SCOPES, at most SCOPE_KINDS (NULLs are passed by). 0, or
 * ADMIT_E_REFUSED with nothing taken; of several limits in the way the one that takes longest, so that RETRY_AFTER_MS
 * is enough for all, and concurrency only when nothing else is. Locks are taken in the order of the scopes' addresses;
 * no call waits.
 *
 * Tokens above a rate's burst may be taken when all of that rate is there, and are then a debt that others wait for:
 * better than never. Of budgets, what is larger than all of one is refused for good. */
int reservation_take(struct reservation *reservation, struct scope *const *scopes, unsigned count,
                     const struct charge *want, struct admit_time now, struct refusal *ret);

/* The request is over and used ACTUAL (its `requests` is not looked at). Twice is fine: the second does nothing. What
 * a rate's time has given back already is not given back again; what was used above the estimate is a debt. */
void reservation_settle(struct reservation *reservation, const struct charge *actual, struct admit_time now);

/* The request was not let in after all: as if it had not been taken, its request included. */
void reservation_undo(struct reservation *reservation, struct admit_time now);

/* One scope less: its part is undone (a hit needs no backend). */
void reservation_leave(struct reservation *reservation, struct scope *scope, struct admit_time now);

/* For headers: the tightest of its scopes for LIMIT, requests or tokens, as the last decision left it. Takes no lock.
 * False: no scope has such a limit, or nothing was decided. */
bool reservation_line(const struct reservation *reservation, enum quota_limit limit, struct scope_line *ret);
/* The same of SCOPES as they stand now. */
bool reservation_tightest(struct scope *const *scopes, unsigned count, enum quota_limit limit, struct admit_time now,
                          struct scope_line *ret);
