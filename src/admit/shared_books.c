/*
 * What a worker knows of its scopes beside Redis: until when they are refused for sure, how their rates stood when
 * they were last heard of, and which scope counts their local share. A table of fixed size without chains: of two
 * scopes that share a place the last one is remembered.
 */
#include "admit/shared_private.h"

#include "base/alloc.h"
#include "base/clock.h"

#define PAGE_BITS 9

/* Settlements of other gateways may make room before that. Tokens come back all the time. */
static const uint64_t longest_us[SHARED_RATES] = {[QUOTA_REQUESTS] = 1000000, [QUOTA_TOKENS] = 100000};

struct shared_page {
    const struct scope *scope;
    uint64_t until_us[SHARED_RATES];    /* as Redis said, on the monotonic clock */
    uint64_t trusted_us[SHARED_RATES];  /* Redis is asked again from here on */
    uint64_t wanted[SHARED_RATES];      /* that much was refused; less may be possible */
    uint64_t behind_us[SHARED_RATES];   /* as last heard: when all is given back, on the monotonic clock */
    struct scope *share;
    struct config_quota quota;          /* of which it is the share */
};

void shared_books_init(struct shared *shared)
{
    shared->pages = alloc_zeroed(sizeof(*shared->pages) << PAGE_BITS);
    shared->shares = shared->config.shares;
    if (!shared->shares)
        shared->shares = shared->own_shares = admit_new();
}

void shared_books_deinit(struct shared *shared)
{
    shared->pages = alloc_free(shared->pages);
    shared->own_shares = admit_free(shared->own_shares);
}

static struct shared_page *page_at(struct shared *shared, const struct scope *scope)
{
    uint64_t hash = (uint64_t)(uintptr_t)scope * UINT64_C(0x9e3779b97f4a7c15);

    return &shared->pages[hash >> (64 - PAGE_BITS)];
}

static struct shared_page *page_of(struct shared *shared, struct scope *scope)
{
    struct shared_page *page = page_at(shared, scope);

    if (page->scope != scope)
        *page = (struct shared_page){.scope = scope};
    return page;
}

/* --- refusals --- */

static uint64_t wanted_of(const struct charge *want, enum quota_limit limit)
{
    return limit == QUOTA_REQUESTS ? want->requests : want->tokens;
}

bool shared_is_known(struct shared *shared, const struct shared_take *take, uint64_t now_us, struct refusal *ret)
{
    uint64_t latest_us = now_us;

    for (unsigned i = 0; i < take->count; i++) {
        const struct shared_page *page = page_at(shared, take->parts[i].scope);

        for (int limit = 0; page->scope == take->parts[i].scope && limit < SHARED_RATES; limit++) {
            uint64_t wanted = wanted_of(&take->taken, (enum quota_limit)limit);

            if (page->trusted_us[limit] <= now_us || wanted == 0 || wanted < page->wanted[limit] ||
                page->until_us[limit] <= latest_us)
                continue;
            latest_us = page->until_us[limit];
            *ret = (struct refusal){.scope = take->parts[i].scope, .limit = (enum quota_limit)limit};
        }
    }
    if (latest_us == now_us)
        return false;
    ret->retry_after_ms = (latest_us - now_us + 999) / 1000;
    return true;
}

void shared_know(struct shared *shared, struct scope *scope, enum quota_limit limit, const struct charge *want,
                 uint64_t until_us)
{
    struct shared_page *page;
    uint64_t now_us = clock_us();

    if (limit != QUOTA_REQUESTS && limit != QUOTA_TOKENS)
        return;
    page = page_of(shared, scope);
    page->until_us[limit] = until_us;
    page->trusted_us[limit] = until_us < now_us + longest_us[limit] ? until_us : now_us + longest_us[limit];
    page->wanted[limit] = wanted_of(want, limit);
}

void shared_unknow(struct shared *shared, struct scope *scope)
{
    struct shared_page *page = page_at(shared, scope);

    if (page->scope == scope)
        memset(page->trusted_us, 0, sizeof(page->trusted_us));
}

static bool above(uint64_t amount, uint64_t most)
{
    return most && amount > most;
}

bool shared_is_never(const struct shared_take *take, struct refusal *ret)
{
    const struct charge *want = &take->taken;

    for (unsigned i = 0; i < take->count; i++) {
        struct config_quota quota = scope_quota(take->parts[i].scope);
        const bool over[QUOTA_LIMITS] = {
            [QUOTA_REQUESTS] = quota.requests_per_minute && want->requests > quota.requests_burst,
            [QUOTA_TOKENS_DAY] = above(want->tokens, quota.tokens_per_day),
            [QUOTA_TOKENS_MONTH] = above(want->tokens, quota.tokens_per_month),
            [QUOTA_MONEY_DAY] = above(want->money, quota.money_per_day),
            [QUOTA_MONEY_MONTH] = above(want->money, quota.money_per_month),
        };

        for (int limit = 0; limit < QUOTA_LIMITS; limit++) {
            if (!over[limit])
                continue;
            *ret = (struct refusal){take->parts[i].scope, (enum quota_limit)limit, 0, true};
            return true;
        }
    }
    return false;
}

/* --- how rates stand --- */

bool shared_rate_line(const struct config_quota *quota, enum quota_limit limit, uint64_t ahead_us,
                      struct scope_line *ret)
{
    bool is_requests = limit == QUOTA_REQUESTS;
    uint64_t rate = is_requests ? quota->requests_per_minute : quota->tokens_per_minute;
    uint64_t burst = is_requests ? quota->requests_burst : quota->tokens_burst;
    struct scope_line line = {.limit = limit, .most = rate, .reset_ms = (ahead_us + 999) / 1000};

    if (rate == 0)
        return false;
    line.used = span_amount(ahead_us, rate);
    line.remaining = burst > line.used ? burst - line.used : 0;
    *ret = line;
    return true;
}

static void tighten(struct scope_line *line, bool *has, const struct config_quota *quota, enum quota_limit limit,
                    uint64_t ahead_us)
{
    struct scope_line other;

    if (!shared_rate_line(quota, limit, ahead_us, &other))
        return;
    if (!*has || other.remaining < line->remaining ||
        (other.remaining == line->remaining && other.reset_ms > line->reset_ms))
        *line = other;
    *has = true;
}

static void tighten_both(struct shared_take *take, struct scope *scope, const uint64_t ahead_us[SHARED_RATES])
{
    struct config_quota quota = scope_quota(scope);

    tighten(&take->requests, &take->has_requests, &quota, QUOTA_REQUESTS, ahead_us[QUOTA_REQUESTS]);
    tighten(&take->tokens, &take->has_tokens, &quota, QUOTA_TOKENS, ahead_us[QUOTA_TOKENS]);
}

/* A refusal that is known keeps its place: it saves a question, this only serves headers. */
static void remember(struct shared *shared, struct scope *scope, const uint64_t ahead_us[SHARED_RATES],
                     uint64_t now_us)
{
    struct shared_page *page = page_at(shared, scope);

    if (page->scope != scope &&
        (page->trusted_us[QUOTA_REQUESTS] > now_us || page->trusted_us[QUOTA_TOKENS] > now_us))
        return;
    page = page_of(shared, scope);
    for (int i = 0; i < SHARED_RATES; i++)
        page->behind_us[i] = now_us + ahead_us[i];
}

void shared_heard(struct shared_take *take, const int64_t *ahead_us, uint64_t now_us)
{
    for (unsigned i = 0; i < take->count; i++, ahead_us += SHARED_RATES) {
        struct shared_part *part = &take->parts[i];
        const uint64_t ahead[SHARED_RATES] = {(uint64_t)ahead_us[0], (uint64_t)ahead_us[1]};

        part->behind_us[0] = take->redis_us + ahead_us[0];
        part->behind_us[1] = take->redis_us + ahead_us[1];
        remember(take->shared, part->scope, ahead, now_us);
        tighten_both(take, part->scope, ahead);
    }
}

void shared_recall(struct shared_take *take, uint64_t now_us)
{
    for (unsigned i = 0; i < take->count; i++) {
        const struct shared_page *page = page_at(take->shared, take->parts[i].scope);
        uint64_t ahead[SHARED_RATES] = {0};

        for (int limit = 0; page->scope == take->parts[i].scope && limit < SHARED_RATES; limit++)
            if (page->behind_us[limit] > now_us)
                ahead[limit] = page->behind_us[limit] - now_us;
        tighten_both(take, take->parts[i].scope, ahead);
    }
}

/* --- local shares --- */

static uint64_t part_of(uint64_t most, uint32_t gateways)
{
    return most && most < gateways ? 1 : most / gateways;
}

static struct config_quota quota_part(const struct config_quota *quota, uint32_t gateways)
{
    struct config_quota part = *quota;

    part.requests_per_minute = part_of(quota->requests_per_minute, gateways);
    part.requests_burst = part_of(quota->requests_burst, gateways);
    part.tokens_per_minute = part_of(quota->tokens_per_minute, gateways);
    part.tokens_burst = part_of(quota->tokens_burst, gateways);
    part.concurrent = (uint32_t)part_of(quota->concurrent, gateways);
    part.tokens_per_day = part_of(quota->tokens_per_day, gateways);
    part.tokens_per_month = part_of(quota->tokens_per_month, gateways);
    part.money_per_day = part_of(quota->money_per_day, gateways);
    part.money_per_month = part_of(quota->money_per_month, gateways);
    return part;
}

static bool same_quota(const struct config_quota *a, const struct config_quota *b)
{
    return a->requests_per_minute == b->requests_per_minute && a->requests_burst == b->requests_burst &&
           a->tokens_per_minute == b->tokens_per_minute && a->tokens_burst == b->tokens_burst &&
           a->concurrent == b->concurrent && a->tokens_per_day == b->tokens_per_day &&
           a->tokens_per_month == b->tokens_per_month && a->money_per_day == b->money_per_day &&
           a->money_per_month == b->money_per_month;
}

struct scope *shared_share(struct shared *shared, struct scope *scope, const struct config_quota *quota)
{
    struct shared_page *page = page_of(shared, scope);
    struct config_quota part;

    if (page->share && same_quota(&page->quota, quota))
        return page->share;
    part = quota_part(quota, shared->config.gateways);
    page->quota = *quota;
    page->share = admit_scope(shared->shares, scope_kind(scope), scope_name(scope), &part);
    return page->share;
}
