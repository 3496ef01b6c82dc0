/*
 * The shared limits from the inside. shared.c has takes and the life, shared_ask.c the words with Redis, shared_alone.c
 * decisions without it, shared_books.c what is known here (refusals, rates, local shares), shared_settle.c what is
 * written behind (settlements and renewals), shared_peek.c looks at the books, shared_story.c what is told of Redis.
 */
#pragma once

#include "admit/scope_private.h"
#include "admit/shared.h"
#include "admit/shared_script.h"

#define SHARED_RATES 2

struct shared_page;

/* What was said last of Redis. */
enum shared_told { TOLD_NOTHING, TOLD_UP, TOLD_DOWN, TOLD_REFUSED, TOLD_FAILING };

struct shared_story {
    enum shared_told told;
    uv_timer_t tick;                /* while it is failing, or a number is to be told */
    bool has_failed, is_dropping;   /* since the last tick */
    bool has_served;                /* since it failed */
    uint32_t dropped;               /* settlements, not told yet */
    unsigned ticks;                 /* since the first of them */
    char why[REDIS_WORDS_MOST];     /* the last of them */
    size_t why_size;
};

struct shared {
    struct redis *redis;
    struct shared_config config;
    struct admit *shares, *own_shares;
    void (*news)(void *data, enum shared_news news, struct bytes text);
    void *data;
    struct shared_story story;

    struct list asking, holding;    /* takes */
    struct list peeking;
    char name[16];                  /* in front of its takes' ids */
    uint64_t last_id;

    int64_t ahead_us;               /* of Redis' clock before our monotonic one */
    bool has_ahead;

    struct redis_call load[SCRIPTS];
    char sha[SCRIPTS][40];
    bool has_sha[SCRIPTS];

    struct list waiting, sent, aside;   /* settlements */
    uint32_t unsettled, in_flight;
    unsigned refusals;              /* in a row: Redis took none of them for the moment */
    uint64_t rest_until_ms;         /* none is sent before; 0: it is not resting */
    uv_timer_t alarm;               /* the end of the rest, or of somebody's time aside */
    uv_timer_t timer;               /* renewals */

    struct shared_page *pages;
    struct buffer keys, numbers;    /* of the command being written */

    unsigned handles;
    void (*closed)(void *data);
    void *closed_data;
};

void shared_tell(struct shared *shared, enum shared_news news, struct bytes text);
void shared_new_id(struct shared *shared, char id[SHARED_ID_SIZE]);
/* The ends of a take's question: DONE comes from inside. */
void shared_hold(struct shared_take *take);
void shared_refuse(struct shared_take *take, const struct refusal *refusal);

/* --- shared_ask.c --- */

#define SHARED_KEYS_MAX 256

/* A command being made: keys are gathered in one buffer, so they are views of it only when all are there. */
struct shared_words {
    size_t ends[SHARED_KEYS_MAX];
    unsigned count;
};

void shared_words_init(struct shared *shared, struct shared_words *words);
void shared_words_take(struct shared *shared, struct shared_words *words, const char id[SHARED_ID_SIZE]);
void shared_words_leases(struct shared *shared, struct shared_words *words, const struct scope *scope);
/* Its books and its leases. */
void shared_words_scope(struct shared *shared, struct shared_words *words, const struct scope *scope);

/* TAKE as the script wants it. */
void shared_pack_take(struct buffer *out, const struct shared_take *take);

/* Run SCRIPT with the keys of WORDS and ARGUMENTS; IN_FULL: with its text. As redis_ask(). */
int shared_run(struct shared *shared, enum shared_script script, const struct shared_words *words,
               const struct bytes *arguments, unsigned count, bool in_full, struct redis_call *call);
/* Tell Redis all scripts, and learn their names. */
void shared_load(struct shared *shared);
bool shared_is_noscript(struct bytes error);
/* Redis serves nobody now, or nobody like us, and may do it later: of the command nothing was done. */
bool shared_is_momentary(struct bytes error);
/* The same of an error that has to do with what is asked: a script that found it had written nothing. */
bool shared_is_wrong_type(struct bytes error);

/* --- shared_alone.c --- */

/* Decide TAKE without Redis, and say WHY. */
void shared_degrade(struct shared_take *take, enum shared_news why, struct bytes text);

/* --- shared_books.c --- */

void shared_books_init(struct shared *shared);
void shared_books_deinit(struct shared *shared);
/* Does it want more than one of its scopes could ever give? True with RET. */
bool shared_is_never(const struct shared_take *take, struct refusal *ret);
/* Is it known to be refused? True with RET. */
bool shared_is_known(struct shared *shared, const struct shared_take *take, uint64_t now_us, struct refusal *ret);
void shared_know(struct shared *shared, struct scope *scope, enum quota_limit limit, const struct charge *want,
                 uint64_t until_us);
/* Something came back. */
void shared_unknow(struct shared *shared, struct scope *scope);
/* What Redis said of TAKE's rates, two numbers for each of its scopes, is remembered, and told in its lines. */
void shared_heard(struct shared_take *take, const int64_t *ahead_us, uint64_t now_us);
/* TAKE's lines from what is remembered; of what was never heard of nothing is used. */
void shared_recall(struct shared_take *take, uint64_t now_us);
/* A rate of QUOTA of which all is given back in AHEAD_US. False: there is no such limit. */
bool shared_rate_line(const struct config_quota *quota, enum quota_limit limit, uint64_t ahead_us,
                      struct scope_line *ret);
/* The local share of SCOPE. */
struct scope *shared_share(struct shared *shared, struct scope *scope, const struct config_quota *quota);

/* --- shared_settle.c --- */

/* LEFT: of a take that goes on, one part is undone. */
enum shared_settling { SETTLE_TAKEN, SETTLE_UNDONE, SETTLE_OWED, SETTLE_LEFT };

/* TAKE is over and used ACTUAL: told to Redis now or later. */
void shared_settle_add(struct shared *shared, enum shared_settling kind, const struct shared_take *take,
                       const struct charge *actual);
/* Send what waits, as far as it may. */
void shared_settle_go_on(struct shared *shared);
/* Redis takes what is written: the rest is over. */
void shared_settle_resume(struct shared *shared);
/* Redis may be another one: one goes ahead. */
void shared_settle_reconnect(struct shared *shared);
void shared_settle_alarm(uv_timer_t *alarm);
void shared_settle_drop_all(struct shared *shared);
/* Put off the end of all leases held. */
void shared_renew(struct shared *shared);

/* --- shared_story.c --- */

/* The connection's news. */
void shared_story_redis(struct shared *shared, enum redis_news news, struct bytes text);
/* A decision, or all settlements, were answered by an error. */
void shared_story_failed(struct shared *shared, struct bytes text);
void shared_story_dropped(struct shared *shared, uint32_t count, struct bytes why);
void shared_story_tick(uv_timer_t *tick);
/* What is not told yet is told now. */
void shared_story_end(struct shared *shared);

/* Redis did what it was asked. */
static inline void shared_story_served(struct shared *shared)
{
    shared->story.has_served = true;
}

/* --- shared_peek.c --- */

/* They end without DONE. */
void shared_peek_drop_all(struct shared *shared);
