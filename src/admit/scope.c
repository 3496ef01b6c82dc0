/*
 * Scopes are found by a chained table under a read-write lock. Each has a mutex of its own, held for some ten
 * nanoseconds. Whoever has a pointer keeps it: only a key's scope ever goes, when no keyring has it, no place in it is
 * taken and nothing is counted there that a key of its name would come back to.
 *
 * A quota that changes is followed by the next decision: the time before that still belongs to the old rate.
 */
#include "admit/scope_private.h"

#include "base/alloc.h"

#define LINE 64             /* of the cache */
#define FIRST_BITS 6
#define SCOPES_MOST 1000000

static const char *const limit_names[QUOTA_LIMITS] = {
    [QUOTA_REQUESTS] = "requests_per_minute",    [QUOTA_TOKENS] = "tokens_per_minute",
    [QUOTA_CONCURRENT] = "concurrent",           [QUOTA_TOKENS_DAY] = "tokens_per_day",
    [QUOTA_TOKENS_MONTH] = "tokens_per_month",   [QUOTA_MONEY_DAY] = "money_per_day",
    [QUOTA_MONEY_MONTH] = "money_per_month",
};

static const char *const kind_names[SCOPE_KINDS] = {
    [SCOPE_OF_KEY] = "key",         [SCOPE_OF_TEAM] = "team",       [SCOPE_OF_MODEL] = "model",
    [SCOPE_OF_BACKEND] = "backend", [SCOPE_OF_GATEWAY] = "gateway",
};

const char *quota_limit_name(enum quota_limit limit)
{
    return limit_names[limit];
}

const char *scope_kind_name(enum scope_kind kind)
{
    return kind_names[kind];
}

/* --- the registry --- */

struct admit *admit_new(void)
{
    struct admit *admit = ALLOC_NEW(struct admit);

    admit->bits = FIRST_BITS;
    admit->most = SCOPES_MOST;
    admit->buckets = alloc_zeroed(sizeof(*admit->buckets) << FIRST_BITS);
    uv_rwlock_init(&admit->lock);
    return admit;
}

struct admit *admit_free(struct admit *admit)
{
    if (!admit)
        return NULL;
    for (uint32_t i = 0; i < admit->count; i++)
        alloc_free(admit->all[i]->memory);
    uv_rwlock_destroy(&admit->lock);
    alloc_free(admit->all);
    alloc_free(admit->buckets);
    return alloc_free(admit);
}

/* FNV-1a, its high bits mixed: names are the operator's. */
static uint64_t hash_of(enum scope_kind kind, struct bytes name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)kind;

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * UINT64_C(0x100000001b3);
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

static struct scope **bucket_of(struct admit *admit, uint64_t hash)
{
    return &admit->buckets[hash >> (64 - admit->bits)];
}

static struct scope *look(struct admit *admit, enum scope_kind kind, struct bytes name, uint64_t hash)
{
    struct scope *scope = *bucket_of(admit, hash);

    while (scope && (scope->hash != hash || scope->kind != kind || !bytes_equal(scope->name, name)))
        scope = scope->next;
    return scope;
}

static void link_scope(struct admit *admit, struct scope *scope)
{
    struct scope **bucket = bucket_of(admit, scope->hash);

    scope->next = *bucket;
    *bucket = scope;
}

static void link_all(struct admit *admit)
{
    alloc_free(admit->buckets);
    admit->buckets = alloc_zeroed(sizeof(*admit->buckets) << admit->bits);
    for (uint32_t i = 0; i < admit->count; i++)
        link_scope(admit, admit->all[i]);
}

static struct scope *scope_new(enum scope_kind kind, struct bytes name, uint64_t hash)
{
    char *memory = alloc_zeroed(sizeof(struct scope) + name.size + LINE);
    struct scope *scope = (struct scope *)(void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
    char *text = (char *)(scope + 1);

    if (name.size)
        memcpy(text, name.data, name.size);
    scope->memory = memory;
    scope->kind = (uint8_t)kind;
    scope->hash = hash;
    scope->name = (struct bytes){text, name.size};
    return scope;
}

static struct scope *add(struct admit *admit, enum scope_kind kind, struct bytes name, uint64_t hash)
{
    struct scope *scope = scope_new(kind, name, hash);

    if (admit->count >> admit->bits) {
        admit->bits++;
        link_all(admit);
    }
    if (admit->count == admit->capacity) {
        admit->capacity = admit->capacity ? admit->capacity * 2 : 16;
        admit->all = alloc_resize(admit->all, admit->capacity * sizeof(*admit->all));
    }
    admit->all[admit->count++] = scope;
    link_scope(admit, scope);
    return scope;
}

static uint64_t most_or_all(uint64_t most)
{
    return most ? most : UINT64_MAX;
}

static void set_quota(struct scope *scope, const struct config_quota *quota)
{
    const uint64_t most[QUOTA_LIMITS] = {
        [QUOTA_REQUESTS] = quota->requests_per_minute,    [QUOTA_TOKENS] = quota->tokens_per_minute,
        [QUOTA_CONCURRENT] = quota->concurrent,           [QUOTA_TOKENS_DAY] = quota->tokens_per_day,
        [QUOTA_TOKENS_MONTH] = quota->tokens_per_month,   [QUOTA_MONEY_DAY] = quota->money_per_day,
        [QUOTA_MONEY_MONTH] = quota->money_per_month,
    };

    lock_take(&scope->lock);
    memcpy(scope->most, most, sizeof(most));
    scope->changed = true;
    scope->quota = *quota;
    if (!quota->requests_burst)
        scope->quota.requests_burst = quota->requests_per_minute;
    if (!quota->tokens_burst)
        scope->quota.tokens_burst = quota->tokens_per_minute;
    scope->burst[QUOTA_REQUESTS] = scope->quota.requests_burst;
    scope->burst[QUOTA_TOKENS] = scope->quota.tokens_burst;
    for (int i = 0; i < SCOPE_RATES; i++)
        scope->room[i] = rate_parts_of(scope->burst[i]);
    for (int i = 0; i < BUDGET_PERIODS; i++) {
        scope->ceilings[i].tokens = most_or_all(most[QUOTA_TOKENS_DAY + i]);
        scope->ceilings[i].money = most_or_all(most[QUOTA_MONEY_DAY + i]);
    }
    lock_give(&scope->lock);
}

static bool limits_something(const struct config_quota *quota)
{
    return quota->requests_per_minute || quota->tokens_per_minute || quota->concurrent || quota->tokens_per_day ||
           quota->tokens_per_month || quota->money_per_day || quota->money_per_month;
}

/* With the lock held for writing. */
static struct scope *find_or_add(struct admit *admit, enum scope_kind kind, struct bytes name,
                                 const struct config_quota *quota)
{
    uint64_t hash = hash_of(kind, name);
    bool wanted = limits_something(quota);
    struct scope *scope = look(admit, kind, name, hash);

    if (!scope && wanted)
        scope = add(admit, kind, name, hash);
    if (scope)
        set_quota(scope, quota);
    return wanted ? scope : NULL;
}

struct scope *admit_scope(struct admit *admit, enum scope_kind kind, struct bytes name,
                          const struct config_quota *quota)
{
    struct scope *scope;

    uv_rwlock_wrlock(&admit->lock);
    scope = find_or_add(admit, kind, name, quota);
    uv_rwlock_wrunlock(&admit->lock);
    return scope;
}

struct scope *admit_find(struct admit *admit, enum scope_kind kind, struct bytes name)
{
    struct scope *scope;

    uv_rwlock_rdlock(&admit->lock);
    scope = look(admit, kind, name, hash_of(kind, name));
    uv_rwlock_rdunlock(&admit->lock);
    return scope;
}

/* Its key is gone, and so is all that was let in with it. */
static bool is_over(const struct admit *admit, struct scope *scope)
{
    bool over = scope->attached != 0 && scope->attached != admit->attached;

    if (over) {
        lock_take(&scope->lock);
        over = scope->running == 0;
        lock_give(&scope->lock);
    }
    return over;
}

struct scope *admit_next(struct admit *admit, uint32_t *place)
{
    struct scope *scope = NULL;

    uv_rwlock_rdlock(&admit->lock);
    while (!scope && *place < admit->count) {
        scope = admit->all[(*place)++];
        if (is_over(admit, scope))
            scope = NULL;
    }
    uv_rwlock_rdunlock(&admit->lock);
    return scope;
}

/* --- those of keys --- */

static bool has_room(struct admit *admit, const struct admit_key *keys, uint32_t count)
{
    uint32_t unknown = 0;

    for (uint32_t i = 0; i < count; i++)
        if (limits_something(keys[i].quota))
            unknown += !look(admit, SCOPE_OF_KEY, keys[i].name, hash_of(SCOPE_OF_KEY, keys[i].name));
    return unknown == 0 || (admit->count <= admit->most && unknown <= admit->most - admit->count);
}

bool admit_attach(struct admit *admit, struct admit_key *keys, uint32_t count)
{
    bool good;

    uv_rwlock_wrlock(&admit->lock);
    good = has_room(admit, keys, count);
    admit->attached += good;
    for (uint32_t i = 0; good && i < count; i++) {
        struct scope *scope = find_or_add(admit, SCOPE_OF_KEY, keys[i].name, keys[i].quota);

        keys[i].scope = scope;
        if (scope) {
            scope->attached = admit->attached;
            atomic_fetch_add_explicit(&scope->keyrings, 1, memory_order_relaxed);
        }
    }
    uv_rwlock_wrunlock(&admit->lock);
    return good;
}

void scope_detach(struct scope *scope)
{
    if (scope)
        atomic_fetch_sub_explicit(&scope->keyrings, 1, memory_order_release);
}

static bool is_empty(struct scope *scope, const struct moment *moment)
{
    bool empty;

    lock_take(&scope->lock);
    scope_advance(scope, moment);
    empty = scope->running == 0;
    for (int i = 0; i < SCOPE_RATES; i++)
        empty = empty && (scope->rates[i].level == 0 || scope->rates[i].per_minute == 0);
    for (int i = 0; i < BUDGET_PERIODS; i++)
        empty = empty && scope->budgets[i].now.tokens == 0 && scope->budgets[i].now.money == 0;
    lock_give(&scope->lock);
    return empty;
}

/* Who has a keyring may take at any moment; without one, what was taken is all there is. */
static bool may_go(struct scope *scope, const struct moment *moment)
{
    return scope->attached && atomic_load_explicit(&scope->keyrings, memory_order_acquire) == 0 &&
           is_empty(scope, moment);
}

void admit_forget(struct admit *admit, struct admit_time now)
{
    struct moment moment = moment_of(now.us, now.wall_s);
    uint32_t kept = 0, count;

    uv_rwlock_wrlock(&admit->lock);
    count = admit->count;
    for (uint32_t i = 0; i < count; i++) {
        if (may_go(admit->all[i], &moment))
            alloc_free(admit->all[i]->memory);
        else
            admit->all[kept++] = admit->all[i];
    }
    admit->count = kept;
    if (kept < count)
        link_all(admit);
    uv_rwlock_wrunlock(&admit->lock);
}

/* --- a scope --- */

enum scope_kind scope_kind(const struct scope *scope)
{
    return (enum scope_kind)scope->kind;
}

struct bytes scope_name(const struct scope *scope)
{
    return scope->name;
}

struct config_quota scope_quota(struct scope *scope)
{
    struct config_quota quota;

    lock_take(&scope->lock);
    quota = scope->quota;
    lock_give(&scope->lock);
    return quota;
}

/* A rate that is not limited any more gives back what was taken as it did. */
void scope_follow(struct scope *scope)
{
    scope->changed = false;
    for (int i = 0; i < SCOPE_RATES; i++)
        if (scope->most[i])
            scope->rates[i].per_minute = scope->most[i];
}

/* --- how it stands --- */

static void read_limit(struct scope *scope, enum quota_limit limit, const struct moment *moment,
                       struct scope_line *line)
{
    uint64_t most = scope->most[limit];

    if (limit == QUOTA_CONCURRENT) {
        line->used = scope->running;
    } else if (SCOPE_IS_BUDGET(limit)) {
        struct budget *budget = &scope->budgets[scope_period(limit)];

        line->used = *scope_spent(&budget->now, limit);
        line->reset_ms = budget_reset_ms(budget, scope_period(limit), moment);
    } else {
        uint64_t empty_us = rate_empty_us(&scope->rates[limit]);

        line->used = rate_used(&scope->rates[limit]);
        line->reset_ms = empty_us / 1000 + (empty_us % 1000 != 0);
        most = scope->burst[limit];
    }
    line->remaining = most > line->used ? most - line->used : 0;
}

bool scope_line(struct scope *scope, enum quota_limit limit, const struct moment *moment, struct scope_line *ret)
{
    struct scope_line line = {.limit = limit};

    lock_take(&scope->lock);
    line.most = scope->most[limit];
    if (line.most) {
        scope_advance(scope, moment);
        read_limit(scope, limit, moment, &line);
    }
    lock_give(&scope->lock);
    if (line.most)
        *ret = line;
    return line.most != 0;
}

unsigned scope_lines(struct scope *scope, struct admit_time now, struct scope_line ret[QUOTA_LIMITS])
{
    struct moment moment = moment_of(now.us, now.wall_s);
    unsigned count = 0;

    for (int limit = 0; limit < QUOTA_LIMITS; limit++)
        count += scope_line(scope, (enum quota_limit)limit, &moment, &ret[count]);
    return count;
}
