/*
 * The YAML format: the structs that libcyaml fills and the tables that say how. The check reads the same
 * tables, so a key exists in one place.
 *
 * Texts are as written: ${NAME} is not yet expanded, durations and sizes are not yet read. NULL: not in the
 * file, or the check complained of it.
 */
#pragma once

#include "config/config.h"

#include <cyaml/cyaml.h>

/* Parameters that a model's `defaults` and `fixed` may hold: id, name, form, least, most. */
#define CONFIG_PARAMS(X)                                                                                     \
    X(TEMPERATURE,           "temperature",           NUMBER, 0, 2)                                          \
    X(TOP_P,                 "top_p",                 NUMBER, 0, 1)                                          \
    X(TOP_K,                 "top_k",                 WHOLE, -1, 1000000)                                    \
    X(MIN_P,                 "min_p",                 NUMBER, 0, 1)                                          \
    X(MAX_TOKENS,            "max_tokens",            WHOLE, 1, 2147483647)                                  \
    X(MAX_COMPLETION_TOKENS, "max_completion_tokens", WHOLE, 1, 2147483647)                                  \
    X(SEED,                  "seed",                  WHOLE, -9007199254740991, 9007199254740991)            \
    X(PRESENCE_PENALTY,      "presence_penalty",      NUMBER, -2, 2)                                         \
    X(FREQUENCY_PENALTY,     "frequency_penalty",     NUMBER, -2, 2)                                         \
    X(REPETITION_PENALTY,    "repetition_penalty",    NUMBER, 0, 10)                                         \
    X(REASONING_EFFORT,      "reasoning_effort",      WORD, 0, 0)

#define CONFIG_PARAM_ENUM(id, name, form, least, most) PARAM_##id,
enum { CONFIG_PARAMS(CONFIG_PARAM_ENUM) PARAM_COUNT };
#undef CONFIG_PARAM_ENUM

/* `stop` is text or a list of it: libcyaml passes it by, it is read from the tree. */
struct raw_params {
    char *values[PARAM_COUNT];
};

struct raw_limits {
    uint32_t *connections, *headers;
    char *header_bytes, *body_bytes, *buffered_bytes, *answer_bytes, *event_bytes, *high_water, *low_water;
};

/* Those of one backend, and of all. */
struct raw_waits {
    char *connect, *first_byte, *between_bytes, *total;
};

struct raw_timeouts {
    char *header, *body, *idle, *client_stall, *drain, *keepalive;
    struct raw_waits waits;
};

struct raw_echo {
    char *pace;
};

/* Of the cache, and of one model. */
struct raw_policy {
    char *when, *scope, *ttl, *replay, *audit;
};

struct raw_redis {
    char *url, *username, *password, *prefix, *deadline, *connect, *value;
    uint32_t *database;
};

/* How much may be asked in one scope. */
struct raw_quota {
    char *requests_per_minute, *requests_burst, *tokens_per_minute, *tokens_burst, *concurrent;
    char *tokens_per_day, *tokens_per_month, *money_per_day, *money_per_month;
    char *on_redis_failure;
};

struct raw_queue {
    uint32_t *length;
    char *longest;
};

struct raw_price {
    char *input, *output;
};

/* `metadata` is any map of scalars: libcyaml passes it by, it is read from the tree. */
struct raw_key {
    char *name, *team, *sha256, *expires;
    char **models;
    uint32_t models_count;
    struct raw_quota *quota;
    char *log_bodies;
};

/* A file of keys, and what the main file says of them. */
struct raw_keys {
    struct raw_key *list;
    uint32_t list_count;
};

struct raw_team {
    char *name;
    uint32_t *weight;
    struct raw_quota *quota;
};

struct raw_admission {
    struct raw_quota *quota;
    struct raw_redis *redis;
    uint32_t *gateways;
    char *lease, *charge_joined, *charge_hits, *open;
};

struct raw_cache {
    struct raw_policy policy;
    char *memory, *entry, *secret;
    struct raw_redis *redis;
};

struct raw_rotate {
    char *size, *age, *compress;
    uint32_t *keep;
};

struct raw_sink {
    char *kind;
    char *path;
    struct raw_rotate *rotate;
    char *facility, *tag;
    struct raw_redis *redis;
    char *stream, *length;
};

struct raw_redact {
    char **fields;
    uint32_t fields_count;
    char **patterns;
    uint32_t patterns_count;
};

struct raw_log {
    struct raw_sink *sinks;
    uint32_t sinks_count;
    char *when_full, *block, *flush, *buffer, *bodies, *body;
    struct raw_redact *redact;
};

struct raw_tracing {
    char *url, *api_key, *ca_file, *service, *sample;
};

struct raw_backend {
    char *name, *kind;
    char *url, *api_key, *ca_file;
    char *seeds;
    struct raw_waits *timeouts;
    struct raw_echo *echo;
    struct raw_quota *quota;
    struct raw_queue *queue;
    char *pass_through_key;
};

struct raw_model {
    char *name;
    char **aliases;
    uint32_t aliases_count;
    char **backends;
    uint32_t backends_count;
    char *upstream;
    struct raw_params *defaults, *fixed;
    struct raw_policy *cache;
    struct raw_quota *quota;
    struct raw_queue *queue;
    struct raw_price *price;
    uint32_t *default_output;
    char *log_bodies;
};

struct raw_lora {
    int64_t *id;
    char *scale;
};

struct raw_variant {
    char *name, *model, *controller;
    struct raw_lora *lora;
    uint32_t lora_count;
    char *adapter;
};

struct raw {
    char **listen;
    uint32_t listen_count;
    char *admin;
    uint32_t *workers;
    struct raw_limits *limits;
    struct raw_timeouts *timeouts;
    struct raw_cache *cache;
    struct raw_keys keys;
    char *keys_file;
    struct raw_team *teams;
    uint32_t teams_count;
    struct raw_admission *admission;
    struct raw_log *log;
    struct raw_tracing *tracing;
    char *server_timing;
    struct raw_backend *backends;
    uint32_t backends_count;
    struct raw_model *models;
    uint32_t models_count;
    struct raw_variant *variants;
    uint32_t variants_count;
};

/* On a CYAML_IGNORE, for the check: any map of scalars. (Without it: text, or a list of texts.) */
#define SCHEMA_FREE_MAP CYAML_FLAG_BLOCK

/* A pointer to struct raw. */
extern const cyaml_schema_value_t schema_root;
/* A file of keys: a pointer to struct raw_keys. */
extern const cyaml_schema_value_t schema_keys;
