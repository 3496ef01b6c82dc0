/*
 * Decided without Redis: of a request's scopes one that is closed refuses, then those that are local count against the
 * share of one gateway, and the open ones let through.
 */
#include "admit/shared_private.h"

#include "base/clock.h"

#define SECOND_US 1000000
#define CLOSED_RETRY_MS 1000

/* Of those that WANT has to do with; QUOTA_LIMITS: none. */
static enum quota_limit first_limit(const struct config_quota *quota, const struct charge *want)
{
    const uint64_t limits[QUOTA_LIMITS] = {
        [QUOTA_REQUESTS] = quota->requests_per_minute,    [QUOTA_TOKENS] = quota->tokens_per_minute,
        [QUOTA_CONCURRENT] = want->placeless ? 0 : quota->concurrent,
        [QUOTA_TOKENS_DAY] = quota->tokens_per_day,       [QUOTA_TOKENS_MONTH] = quota->tokens_per_month,
        [QUOTA_MONEY_DAY] = quota->money_per_day,         [QUOTA_MONEY_MONTH] = quota->money_per_month,
    };
    int limit = 0;

    while (limit < QUOTA_LIMITS && limits[limit] == 0)
        limit++;
    return (enum quota_limit)limit;
}

static bool has_budget(const struct config_quota *quota)
{
    return quota->tokens_per_day || quota->tokens_per_month || quota->money_per_day || quota->money_per_month;
}

/* What the take's scopes say to a Redis that is away. */
struct policy {
    struct scope *closed;
    enum quota_limit limit;                 /* of CLOSED */
    struct scope *shares[SCOPE_KINDS];      /* NULL: let through */
    bool is_local, owes;
};

static struct policy policy_of(struct shared_take *take)
{
    struct policy policy = {0};

    for (unsigned i = 0; i < take->count; i++) {
        struct config_quota quota = scope_quota(take->parts[i].scope);
        enum quota_limit limit = first_limit(&quota, &take->taken);

        policy.owes = policy.owes || has_budget(&quota);
        if (quota.on_redis_failure == REDIS_FAILURE_CLOSED && !policy.closed && limit < QUOTA_LIMITS) {
            policy.closed = take->parts[i].scope;
            policy.limit = limit;
        } else if (quota.on_redis_failure == REDIS_FAILURE_LOCAL) {
            policy.shares[i] = shared_share(take->shared, take->parts[i].scope, &quota);
            policy.is_local = true;
        }
    }
    return policy;
}

/* False with REFUSAL: the local share is used up. */
static bool take_share(struct shared_take *take, const struct policy *policy, struct admit_time now,
                       struct refusal *refusal)
{
    if (reservation_take(&take->reservation, policy->shares, take->count, &take->taken, now, refusal) == 0)
        return true;
    for (unsigned i = 0; i < take->count; i++)
        if (policy->shares[i] == refusal->scope)
            refusal->scope = take->parts[i].scope;
    if (refusal->never) { /* of the share, not of the whole */
        refusal->never = false;
        refusal->retry_after_ms = CLOSED_RETRY_MS;
    }
    return false;
}

void shared_degrade(struct shared_take *take, enum shared_news why, struct bytes text)
{
    struct shared *shared = take->shared;
    struct policy policy = policy_of(take);
    struct admit_time now = {clock_us(), take->redis_us / SECOND_US};
    struct refusal refusal = {policy.closed, policy.limit, CLOSED_RETRY_MS, false};
    bool refused = policy.closed || (policy.is_local && !take_share(take, &policy, now, &refusal));

    take->degraded = true;
    take->has_requests = reservation_tightest(policy.shares, take->count, QUOTA_REQUESTS, now, &take->requests);
    take->has_tokens = reservation_tightest(policy.shares, take->count, QUOTA_TOKENS, now, &take->tokens);
    shared_tell(shared, why, text);
    shared_tell(shared, policy.closed ? SHARED_CLOSED : policy.is_local ? SHARED_LOCAL : SHARED_OPENED, BYTES_NONE);
    if (refused) {
        shared_refuse(take, &refusal);
        return;
    }
    take->owed = policy.owes;
    shared_hold(take);
}
