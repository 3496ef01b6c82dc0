/*
 * A look at the books in Redis that leaves them as they are. Without Redis it is a look at the local shares, and of
 * limits that are not counted here then, at what they would allow.
 */
#include "admit/shared_private.h"

#include "base/clock.h"

enum { PEEK_REQUESTS, PEEK_TOKENS, PEEK_LEASES, PEEK_SPENT, PEEK_DAY = PEEK_SPENT + 4, PEEK_MONTH, PEEK_NUMBERS };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- lines --- */

/* NUMBERS are the script's, of one scope. */
static bool line_of(const struct config_quota *quota, enum quota_limit limit, const int64_t *numbers,
                    struct scope_line *ret)
{
    const uint64_t most[QUOTA_LIMITS] = {
        [QUOTA_CONCURRENT] = quota->concurrent,
        [QUOTA_TOKENS_DAY] = quota->tokens_per_day,
        [QUOTA_TOKENS_MONTH] = quota->tokens_per_month,
        [QUOTA_MONEY_DAY] = quota->money_per_day,
        [QUOTA_MONEY_MONTH] = quota->money_per_month,
    };
    struct scope_line line = {.limit = limit, .most = most[limit]};

    if (limit == QUOTA_REQUESTS || limit == QUOTA_TOKENS)
        return shared_rate_line(quota, limit, (uint64_t)numbers[limit], ret);
    if (line.most == 0)
        return false;
    if (limit == QUOTA_CONCURRENT) {
        line.used = (uint64_t)numbers[PEEK_LEASES];
    } else {
        int64_t left_us = numbers[scope_period(limit) == BUDGET_DAY ? PEEK_DAY : PEEK_MONTH];

        line.used = (uint64_t)numbers[PEEK_SPENT + limit - QUOTA_TOKENS_DAY];
        line.reset_ms = ((uint64_t)left_us + 999) / 1000;
    }
    line.remaining = line.most - least(line.used, line.most);
    *ret = line;
    return true;
}

static void read_lines(struct shared_peek *peek, const int64_t *numbers)
{
    for (unsigned i = 0; i < peek->count; i++) {
        struct config_quota quota;

        if (!peek->scopes[i])
            continue;
        quota = scope_quota(peek->scopes[i]);
        for (int limit = 0; limit < QUOTA_LIMITS; limit++)
            peek->line_counts[i] += line_of(&quota, (enum quota_limit)limit, numbers,
                                            &peek->lines[i][peek->line_counts[i]]);
        numbers += PEEK_NUMBERS;
    }
}

static void end(struct shared_peek *peek)
{
    list_remove(&peek->link);
    peek->shared = NULL;
    peek->done(peek->data);
}

static void look_here(struct shared_peek *peek)
{
    struct admit_time now = {clock_us(), clock_wall_s()};

    peek->degraded = true;
    for (unsigned i = 0; i < peek->count; i++) {
        struct scope *scope = peek->scopes[i];
        struct config_quota quota;

        if (!scope)
            continue;
        quota = scope_quota(scope);
        if (quota.on_redis_failure == REDIS_FAILURE_LOCAL)
            scope = shared_share(peek->shared, scope, &quota);
        peek->line_counts[i] = scope ? scope_lines(scope, now, peek->lines[i]) : 0;
    }
    end(peek);
}

/* --- asking --- */

static int ask(struct shared_peek *peek, bool in_full)
{
    struct shared_words words;

    shared_words_init(peek->shared, &words);
    for (unsigned i = 0; i < peek->count; i++)
        if (peek->scopes[i])
            shared_words_scope(peek->shared, &words, peek->scopes[i]);
    return shared_run(peek->shared, SCRIPT_PEEK, &words, NULL, 0, in_full, &peek->call);
}

/* False: that is none of the script's answers. */
static bool read_reply(struct shared_peek *peek, const struct redis_reply *reply)
{
    int64_t numbers[SCOPE_KINDS * PEEK_NUMBERS];
    unsigned count = 0;

    for (unsigned i = 0; i < peek->count; i++)
        count += peek->scopes[i] ? PEEK_NUMBERS : 0;
    if (reply->kind != REDIS_TEXT || unpack_numbers(reply->text, numbers, count) != count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (numbers[i] < 0)
            return false;
    read_lines(peek, numbers);
    return true;
}

static void on_reply(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct shared_peek *peek = LIST_ENTRY(call, struct shared_peek, call);

    if (result == 0 && read_reply(peek, reply)) {
        end(peek);
    } else if (result == 0 && reply->kind == REDIS_ERROR && shared_is_noscript(reply->text) && !peek->told_script) {
        peek->told_script = true;
        if (ask(peek, true))
            look_here(peek);
    } else {
        look_here(peek);
    }
}

void shared_peek(struct shared *shared, struct shared_peek *peek, struct scope *const *scopes, unsigned count,
                 void (*done)(void *data), void *data)
{
    *peek = (struct shared_peek){.count = count, .shared = shared, .call.done = on_reply, .done = done, .data = data};
    list_init(&peek->call.link);
    list_append(&shared->peeking, &peek->link);
    for (unsigned i = 0; i < count; i++)
        peek->scopes[i] = scopes[i];
    if (ask(peek, false))
        look_here(peek);
}

void shared_peek_forget(struct shared_peek *peek)
{
    if (!peek->shared)
        return;
    redis_forget(peek->shared->redis, &peek->call);
    list_remove(&peek->link);
    peek->shared = NULL;
}

void shared_peek_drop_all(struct shared *shared)
{
    LIST_EACH(&shared->peeking, node) {
        shared_peek_forget(LIST_ENTRY(node, struct shared_peek, link));
    }
}
