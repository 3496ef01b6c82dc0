/*
 * From what the file says to what it means: raw structs become the snapshot, every value checked. Each part
 * complains about all that is wrong in it and goes on; a snapshot with complaints is thrown away. What the
 * check of the tree complained of is silently passed by, and so is what only follows from another complaint.
 */
#pragma once

#include "config/config.h"
#include "config/schema.h"
#include "config/tree.h"

struct build {
    struct config *config;
    const struct config *known; /* where keys look up teams and models */
    struct arena *arena;    /* what lives as long as what is built */
    struct report *report;
    const char *folder; /* relative paths start there */
    /* An entry has a name that cannot be read: who names something unknown may mean that one. */
    bool backends_unsure, models_unsure, variants_unsure, teams_unsure;
    const struct tree_node *spending;   /* the first quota with a budget of money; or NULL */
};

/* RAW and its tree ROOT (NULL: no file) with OVERRIDES (may be NULL) on top. */
void build_config(struct build *build, const struct raw *raw, const struct tree_node *root,
                  const struct config_overrides *overrides);

/* --- its parts --- */

/* RAW with its variables expanded, free of control bytes. False when RAW is NULL, or after a complaint at
 * NODE. */
bool build_text(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret);
/* The same, where line breaks and the like are welcome. */
bool build_free_text(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret);
/* *TARGET is only changed when RAW is a good duration. ZERO: it may be none. */
void build_duration(struct build *build, const struct tree_node *node, const char *raw, bool zero,
                    uint32_t *target);
/* The same within bounds, given as they are written in a file: "1ms", "10s". */
void build_duration_between(struct build *build, const struct tree_node *node, const char *raw, const char *least,
                            const char *most, uint32_t *target);
/* *TARGET is only changed when there is a size within the bounds. False after a complaint. */
bool build_size(struct build *build, const struct tree_node *node, const char *raw, uint64_t least, uint64_t most,
                uint64_t *target);
/* The same for a number such as 60, 100k or 2m (powers of 1000). */
bool build_number(struct build *build, const struct tree_node *node, const char *raw, uint64_t least, uint64_t most,
                  uint64_t *target);
/* An amount of money such as 12.50, in millionths; at most a million millions. It may be none when ZERO. */
void build_money(struct build *build, const struct tree_node *node, const char *raw, bool zero, uint64_t *target);
/* *RAW within bounds. *TARGET is only changed when RAW is there and good. */
void build_count(struct build *build, const struct tree_node *map, const char *key, const uint32_t *raw,
                 uint32_t least, uint32_t most, uint32_t *target);
/* A name fit for log lines and metrics. False when RAW is NULL, or after a complaint, and then *RET may be set: the
 * name as far as others may mean it. */
bool build_name(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret);
/* "64k" where that is exact. Lives as long as the report. */
const char *build_size_text(struct build *build, uint64_t size);
/* RAW is one of WORDS: its index. False when RAW is NULL, or after a complaint. */
bool build_word(struct build *build, const struct tree_node *node, const char *raw, const char *const *words,
                size_t count, size_t *ret);
/* "true" or "false". *TARGET is only changed by one of them. */
void build_flag(struct build *build, const struct tree_node *node, const char *raw, bool *target);
/* A share from 0 to 1, as parts in a million; what is not nothing is at least one of them. */
void build_share(struct build *build, const struct tree_node *node, const char *raw, uint32_t *target);
/* What goes into a header, and never into a message: visible ASCII. */
void build_secret(struct build *build, const struct tree_node *node, const char *raw, struct bytes *target);
/* A file of certificates that can be read. PLAIN: no TLS is spoken, so there is nothing to check by it. */
void build_ca_file(struct build *build, const struct tree_node *node, const char *raw, bool plain,
                   struct bytes *target);
/* The entry ITEM has a name in the file, which is not (or not surely) NAME. */
bool build_name_unsure(const struct tree_node *item, struct bytes name);
/* PATH in the file's folder, unless it is absolute. */
struct bytes build_path(struct build *build, struct bytes path);

void build_limits(struct build *build, const struct raw_limits *raw, const struct tree_node *node);
/* Those of the process; *RET_WAITS are the defaults of a backend. */
void build_timeouts(struct build *build, const struct raw_timeouts *raw, const struct tree_node *node,
                    struct config_timeouts *ret_waits);
/* Those of one backend, over the defaults that stand in *WAITS. */
void build_waits(struct build *build, const struct raw_waits *raw, const struct tree_node *node,
                 struct config_timeouts *waits);
/* What is remembered; before the models, whose policies begin with this one. */
void build_cache(struct build *build, const struct raw_cache *raw, const struct tree_node *node);
/* What RAW says otherwise than POLICY. RAW may be NULL. */
void build_cache_policy(struct build *build, const struct raw_policy *raw, const struct tree_node *node,
                        struct config_cache_policy *policy);
/* A Redis server; *REDIS holds the defaults. RAW may be NULL. */
void build_redis(struct build *build, const struct raw_redis *raw, const struct tree_node *node,
                 struct config_redis *redis);
/* How much may be asked in one scope. RAW may be NULL. */
void build_quota(struct build *build, const struct raw_quota *raw, const struct tree_node *node,
                 struct config_quota *quota);
/* In front of QUOTA, the quota of the same entry ITEM. RAW may be NULL. */
void build_queue(struct build *build, const struct raw_queue *raw, const struct tree_node *item,
                 const struct config_quota *quota, struct config_queue *queue);
/* All quotas and models are read: a budget of money is filled by somebody's price, in CONFIG. */
void build_check_prices(struct build *build, const struct config *config);
void build_price(struct build *build, const struct raw_price *raw, const struct tree_node *node,
                 struct config_price *price);
/* Keys, teams and the limits of the gateway; after the models. OPTION: what --listen says, or NULL. */
void build_admission(struct build *build, const struct raw *raw, const struct tree_node *root, const char *option);
/* What the log holds of bodies. */
void build_bodies(struct build *build, const struct tree_node *node, const char *raw, enum config_bodies *target);
/* The request log, and where spans go. RAW may be NULL. */
void build_log(struct build *build, const struct raw_log *raw, const struct tree_node *node);
void build_tracing(struct build *build, const struct raw_tracing *raw, const struct tree_node *node);
/* RAW's keys, whose list in the file is NODE, as a snapshot with one reference. Teams and models are looked up in
 * build->known, whose own keys have other names. */
struct config_keys *build_keys(struct build *build, const struct raw_keys *raw, const struct tree_node *node);
void build_backends(struct build *build, const struct raw *raw, const struct tree_node *node,
                    const struct config_timeouts *waits);
void build_override_backends(struct build *build, const struct config_overrides *overrides,
                             const struct config_timeouts *waits);
void build_models(struct build *build, const struct raw *raw, const struct tree_node *node);
void build_params(struct build *build, const struct raw_params *raw, const struct tree_node *node,
                  struct config_params *ret);
/* No parameter may be in both. */
void build_compare_params(struct build *build, const struct tree_node *defaults,
                          const struct tree_node *fixed);
void build_variants(struct build *build, const struct raw *raw, const struct tree_node *node);
/* Models, aliases and variants share one space of names. */
void build_unique_names(struct build *build, const struct tree_node *models,
                        const struct tree_node *variants);

/* --- names that must differ --- */

struct name_use;

struct name_list {
    struct name_use *uses;
    uint32_t count, room;
};

/* NAME, which stands at NODE (NULL: in the configuration, which is another file, and first); an empty one is passed
 * by. */
void names_add(struct name_list *list, struct bytes name, const struct tree_node *node);
/* Complain of all that stand there twice: they are already WHAT. LIST is empty then. */
void names_check(struct build *build, struct name_list *list, const char *what);
