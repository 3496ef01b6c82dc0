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
    struct report *report;
    const char *folder; /* relative paths start there */
    /* An entry has a name that cannot be read: who names something unknown may mean that one. */
    bool backends_unsure, models_unsure;
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
/* "64k" where that is exact. Lives as long as the report. */
const char *build_size_text(struct build *build, uint64_t size);
/* RAW is one of WORDS: its index. False when RAW is NULL, or after a complaint. */
bool build_word(struct build *build, const struct tree_node *node, const char *raw, const char *const *words,
                size_t count, size_t *ret);
/* "true" or "false". *TARGET is only changed by one of them. */
void build_flag(struct build *build, const struct tree_node *node, const char *raw, bool *target);
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
