/*
 * The same limits over any number of gateways: one Lua script per decision, on Redis' own clock, all scopes together
 * or not at all. One per worker, on its own connection.
 *
 * Every decision is a round trip: permits that a gateway held ahead would be refused wrongly elsewhere, and permits it
 * gave on credit may be a thousandth of a limit over all gateways, which is none of the limits that most keys have. One
 * such scope, or one with leases, among the five of a request needs the trip for all of them.
 *
 * A place among the concurrent ones is a lease: it ends by itself when its gateway does not renew it, so a killed
 * gateway's share comes back after the lease's time. What its requests took from the rates is not given back by a
 * death, nor what they had reserved of the budgets of the day and the month: they were sent, and nobody is left to say
 * what they used.
 *
 *   PREFIX:{q}:KIND:NAME      a scope's books, packed: the times of its rates, the budgets of this day and month
 *   PREFIX:{q}c:KIND:NAME     a sorted set: leases by the time they end
 *   PREFIX:{q}t:ID            a request that was let in and is not settled yet, so that settling twice does nothing
 *
 * All of them expire. A Redis that evicts what is about to expire forgets what was counted: let it not.
 *
 * While Redis is away each scope does as its quota says (on_redis_failure): `local` counts in the process, against the
 * share of one gateway; `open` lets through, counted; `closed` refuses. Of a request's scopes one that is closed
 * decides, then those that are local. What was used meanwhile is added to the shared budgets when Redis is back. A
 * Redis that answers with errors is as good as away: settlements that it does not take for the moment wait for it with
 * growing pauses, and go on as soon as it takes anything.
 *
 * A scope known to be over its rate is not asked about again until that is over, or a second has passed: so a refusal
 * may be said a moment longer than Redis would, never one less.
 */
#pragma once

#include "admit/reservation.h"
#include "link/redis.h"

struct shared;

struct shared_config {
    struct redis_config redis;  /* reply_bytes, queue_bytes 0: enough */
    struct bytes prefix;
    uint32_t gateways;          /* a local share is one of so many */
    uint32_t lease_ms;
    struct admit *shares;       /* of the process: where its workers count their local share. NULL: one of its own */
};

/* What became of a take: ASKED (Redis decided), KNOWN (refused from memory), or, without Redis, why (TIMEOUT, ERROR,
 * AWAY) and then how (OPENED, CLOSED, LOCAL). DROPPED: a settlement was given up.
 *
 * The others are a line for the log each, with a TEXT that is fit for it. UP and DOWN: DOWN comes without an UP before
 * it when Redis is away from the start, and once more when a Redis that was away comes back and refuses us. FAILING:
 * it began to answer with errors (TEXT: the first one); SERVING: none came for some seconds, and it did what it was
 * asked; neither UP nor DOWN is told of a connection that is given up for such an error. GAVE_UP: how many settlements
 * were dropped, and why the last one was; some seconds after the last, or a minute after the first. */
enum shared_news { SHARED_ASKED, SHARED_KNOWN, SHARED_TIMEOUT, SHARED_ERROR, SHARED_AWAY, SHARED_OPENED,
                   SHARED_CLOSED, SHARED_LOCAL, SHARED_DROPPED, SHARED_UP, SHARED_DOWN, SHARED_FAILING,
                   SHARED_SERVING, SHARED_GAVE_UP };

/* CONFIG's views must outlive it. NEWS counts and tells, and may come from inside any of these functions. */
struct shared *shared_new(uv_loop_t *loop, const struct shared_config *config,
                          void (*news)(void *data, enum shared_news news, struct bytes text), void *data);
/* Takes and peeks in flight end without DONE; what is still held may be settled afterwards, which does nothing. What
 * Redis was not told is dropped; no NEWS comes after that. */
void shared_close(struct shared *shared, void (*closed)(void *data), void *data);
/* Settlements that Redis has not acknowledged yet. */
uint32_t shared_unsettled(const struct shared *shared);
/* Are they worth waiting for at the end? Not while Redis is away, or has refused them for most of a second, or when
 * those that are left are such as it cannot take. */
bool shared_is_up(const struct shared *shared);

#define SHARED_ID_SIZE 32

/* One scope of a take, and when its rates (requests, tokens) will have given back all, on Redis' clock. */
struct shared_part {
    struct scope *scope;
    int64_t behind_us[2];
};

/* A decision under way, and what it took: part of an exchange, instead of a struct reservation. All zero: nothing. */
struct shared_take {
    struct shared_part parts[SCOPE_KINDS];
    unsigned count;
    struct charge taken;
    struct reservation reservation;     /* of the local share, when it was decided locally */
    struct redis_call call;
    struct list link;                   /* among those that ask, or hold */
    struct shared *shared;
    char id[SHARED_ID_SIZE];            /* the lease's name; not terminated */
    bool asking, leased, degraded;      /* degraded: decided without Redis */
    bool owed;                          /* let in without Redis: to be added to the shared budgets */
    bool told_script;                   /* Redis had forgotten the script, and was told it */
    int64_t redis_us;                   /* when it was decided, on Redis' clock; without Redis as near as is known */
    void (*done)(void *data, int result, const struct refusal *refusal);
    void *data;
    /* As Redis said, for headers: of the tightest scope. Refused without asking: as it was last heard; without Redis
     * that of the local shares. */
    struct scope_line requests, tokens;
    bool has_requests, has_tokens;
};

/* Take WANT from SCOPES. DONE comes once, maybe from inside: 0, or ADMIT_E_REFUSED with REFUSAL. */
void shared_take(struct shared *shared, struct shared_take *take, struct scope *const *scopes, unsigned count,
                 const struct charge *want, struct admit_time now,
                 void (*done)(void *data, int result, const struct refusal *refusal), void *data);
/* How SCOPES stand as Redis was last heard, in RET's lines; nothing is asked, nothing is to be settled. */
void shared_last_heard(struct shared *shared, struct scope *const *scopes, unsigned count, struct admit_time now,
                       struct shared_take *ret);
/* DONE does not come any more; what it takes in the end is given back. Fine when it is not asking. */
void shared_forget(struct shared_take *take);
/* As reservation_settle() and reservation_undo(): written behind, not waited for; kept for Redis' return when it is
 * away or takes nothing for the moment (a bounded number, oldest dropped and counted). One that it cannot take (a
 * foreign value under our key) is dropped after some seconds. Twice is fine, after shared_close() too. */
void shared_settle(struct shared_take *take, const struct charge *actual, struct admit_time now);
void shared_undo(struct shared_take *take, struct admit_time now);

/* One scope less: its lease and its charge are undone (a hit needs no backend). */
void shared_leave(struct shared_take *take, struct scope *scope, struct admit_time now);

/* A look at how scopes stand: part of whoever looks. All zero: none is under way. */
struct shared_peek {
    struct scope *scopes[SCOPE_KINDS];
    unsigned count;
    /* As scope_lines() gives them, for each scope. */
    struct scope_line lines[SCOPE_KINDS][QUOTA_LIMITS];
    unsigned line_counts[SCOPE_KINDS];
    bool degraded;              /* without Redis: what is counted here */

    struct redis_call call;
    struct list link;           /* among those under way */
    struct shared *shared;      /* NULL: not under way */
    bool told_script;
    void (*done)(void *data);
    void *data;
};

/* Read how SCOPES (COUNT, at most SCOPE_KINDS; NULLs have no lines) stand in Redis, or here when it is away. DONE comes
 * once, maybe from inside. */
void shared_peek(struct shared *shared, struct shared_peek *peek, struct scope *const *scopes, unsigned count,
                 void (*done)(void *data), void *data);
/* DONE does not come any more. Fine when it is not under way, and after shared_close(). */
void shared_peek_forget(struct shared_peek *peek);
