/*
 * What is remembered, for how long, and where: the process's own memory, and a Redis server shared with others.
 */
#include "config/build.h"

#define KB (UINT64_C(1) << 10)
#define MB (UINT64_C(1) << 20)
#define GB (UINT64_C(1) << 30)

#define HOUR_MS (3600 * 1000u)

/* As many of the largest answers must fit: the memory is in 16 parts, and what grows may take half of one. */
#define ENTRIES_LEAST 32
#define SECRET_LEAST 16

/* --- the policy --- */

static const char *const whens[] = {
    [CACHE_REPEATABLE] = "repeatable", [CACHE_NEVER] = "never", [CACHE_ALWAYS] = "always"};
static const char *const scopes[] = {[SCOPE_TENANT] = "tenant", [SCOPE_TEAM] = "team", [SCOPE_SHARED] = "shared"};
static const char *const replays[] = {[REPLAY_INSTANT] = "instant", [REPLAY_PACED] = "paced"};

void build_cache_policy(struct build *build, const struct raw_policy *raw, const struct tree_node *node,
                        struct config_cache_policy *policy)
{
    size_t at;

    if (!raw)
        return;
    if (build_word(build, tree_member(node, BYTES("when")), raw->when, whens, ARRAY_SIZE(whens), &at))
        policy->when = (enum config_cache_when)at;
    if (build_word(build, tree_member(node, BYTES("scope")), raw->scope, scopes, ARRAY_SIZE(scopes), &at))
        policy->scope = (enum config_cache_scope)at;
    if (build_word(build, tree_member(node, BYTES("replay")), raw->replay, replays, ARRAY_SIZE(replays), &at))
        policy->replay = (enum config_cache_replay)at;
    /* Milliseconds fit into 32 bits for 49 days. */
    build_duration_between(build, tree_member(node, BYTES("ttl")), raw->ttl, "1s", "49d", &policy->ttl_ms);
    build_share(build, tree_member(node, BYTES("audit")), raw->audit, &policy->audit_ppm);
}

/* --- Redis --- */

/* ENTRY is the largest answer that is kept; 0: not known. */
static void read_redis(struct build *build, const struct raw_redis *raw, const struct tree_node *node, uint64_t entry,
                       struct config_redis *redis)
{
    uint64_t value = entry && entry < MB ? entry : MB;

    *redis = (struct config_redis){.prefix = BYTES("embergate"), .connect_ms = 1000, .deadline_ms = 50};
    build_redis(build, raw, node, redis);
    if (raw && build_size(build, tree_member(node, BYTES("value")), raw->value, KB, 64 * MB, &value) && entry &&
        value > entry)
        report_member(build->report, node, "value",
                      "must be at most entry (%s): what is larger is not kept, and so never written",
                      build_size_text(build, entry));
    redis->value_bytes = (uint32_t)value;
}

/* --- the process --- */

/* The largest answer kept; 0: not known. */
static uint64_t read_entry(struct build *build, const struct raw_cache *raw, const struct tree_node *node,
                           uint64_t memory)
{
    uint64_t most = memory ? memory / ENTRIES_LEAST : GB, entry = most < 2 * MB ? most : 2 * MB;

    if (!build_size(build, tree_member(node, BYTES("entry")), raw->entry, KB, GB, &entry))
        return 0;
    if (entry > most) {
        report_member(build->report, node, "entry", "must be at most a thirty-second of memory (%s)",
                      build_size_text(build, most));
        return 0;
    }
    return entry;
}

/* False after a complaint. */
static bool read_memory(struct build *build, const struct raw_cache *raw, const struct tree_node *node,
                        uint64_t *ret)
{
    const struct tree_node *memory = tree_member(node, BYTES("memory"));

    if (!build_size(build, memory, raw->memory, 0, 1024 * GB, ret))
        return false;
    if (*ret == 0 || *ret >= MB)
        return true;
    report_node(build->report, memory, "must be 0, or from 1m to 1024g");
    return false;
}

static void read_secret(struct build *build, const struct raw_cache *raw, const struct tree_node *node,
                        struct bytes *target)
{
    if (build_text(build, node, raw->secret, target) && target->size < SECRET_LEAST)
        report_node(build->report, node, "must have at least %d bytes", SECRET_LEAST);
}

void build_cache(struct build *build, const struct raw_cache *raw, const struct tree_node *node)
{
    static const struct raw_cache none;
    struct config_cache *cache = &build->config->cache;
    uint64_t entry = 0;

    if (!raw)
        raw = &none;
    cache->policy = (struct config_cache_policy){.when = CACHE_REPEATABLE, .scope = SCOPE_TEAM,
                                                 .replay = REPLAY_INSTANT, .ttl_ms = 24 * HOUR_MS};
    cache->memory = 128 * MB;
    build_cache_policy(build, &raw->policy, node, &cache->policy);
    if (read_memory(build, raw, node, &cache->memory))
        entry = read_entry(build, raw, node, cache->memory);
    cache->entry_bytes = (uint32_t)entry;
    read_secret(build, raw, tree_member(node, BYTES("secret")), &cache->secret);
    read_redis(build, raw->redis, tree_member(node, BYTES("redis")), entry, &cache->redis);
}
