/*
 * The configuration: an immutable, reference-counted snapshot. Whoever began with one ends with it.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"

enum config_kind {
    KIND_AUTO,          /* only from --backend: found out by asking the server */
    KIND_OPENAI,
    KIND_GOODFIRE,
    KIND_VLLM,
    KIND_LLAMA_SERVER,
    KIND_SGLANG,
    KIND_OLLAMA,
    KIND_ECHO,
    KIND_COUNT,
};

/* Milliseconds, none of them 0. */
struct config_timeouts {
    uint32_t connect, first_byte, between_bytes, total;
};

struct config_address {
    struct bytes host;          /* an IP literal; none when it is a unix socket */
    struct bytes unix_path;
    uint16_t port;              /* 0: any free one */
};

/* What to do about a shared limit while Redis is away. */
enum config_redis_failure { REDIS_FAILURE_LOCAL, REDIS_FAILURE_OPEN, REDIS_FAILURE_CLOSED };

/* How much may be asked in one scope: a key, a team, a model, a backend, the whole gateway. 0: not limited. */
struct config_quota {
    bool any;                                   /* some limit is set */
    uint64_t requests_per_minute, requests_burst;   /* burst: at once; a minute's when not said */
    uint64_t tokens_per_minute, tokens_burst;
    uint32_t concurrent;
    uint64_t tokens_per_day, tokens_per_month;
    uint64_t money_per_day, money_per_month;    /* millionths of the currency */
    enum config_redis_failure on_redis_failure;
};

/* What the log holds of requests and answers. */
enum config_bodies { BODIES_UNSAID, BODIES_NONE, BODIES_HASH, BODIES_FULL };

/* One who may ask. */
struct config_key {
    struct bytes name, team;    /* team: none is one of its own, "" */
    uint8_t digest[32];         /* SHA-256 of the key */
    int64_t expires_s;          /* wall clock; 0: never */
    struct bytes *models;       /* names, aliases and variants it may ask for; none: all */
    uint32_t model_count;
    struct config_quota quota;
    struct bytes metadata;      /* a JSON object, for the log; or none */
    enum config_bodies bodies;  /* of its requests, in the log */
};

/* The keys of one file: an immutable snapshot of its own, since keys change more often than the rest. */
struct config_keys {
    _Atomic uint32_t references;
    struct arena arena;
    struct config_key *list;
    uint32_t count;
};

struct config_team {
    struct bytes name;
    uint32_t weight;            /* its share of a queue; 1 when not said */
    struct config_quota quota;
};

/* A bounded queue in front of a concurrency limit. */
struct config_queue {
    uint32_t length;            /* requests that may wait; 0: none, they are refused */
    uint32_t longest_ms;        /* how long one may wait */
};

/* Money per million tokens, in millionths of the currency. */
struct config_price {
    uint64_t input, output;
};

/* What a model's `default_output` is when the file does not say, or has no list of models. */
#define CONFIG_DEFAULT_OUTPUT 1024

struct config_backend {
    struct bytes name;
    enum config_kind kind;
    bool tls;
    struct bytes host;          /* a name or an IP literal, without brackets */
    uint16_t port;
    struct bytes unix_path;     /* instead of host and port */
    struct bytes root;          /* the path before /v1: "" or "/some/prefix", never with a slash at its end */
    bool versionless;           /* kind openai only: the URL's path did not end in /v1 and was not empty, so
                                   "/chat/completions" follows it directly */
    struct bytes api_key;       /* none: no Authorization is sent */
    struct bytes ca_file;
    struct config_timeouts timeouts;
    uint32_t echo_pace_ms;
    struct config_quota quota;
    struct config_queue queue;
    bool pass_through_key;      /* the client's own key goes there, instead of api_key */
    bool seeds;                 /* it honours seeds: the same one gives the same answer (not SGLang, by default; true
                                   of KIND_AUTO, where whoever finds out the kind knows better) */
    uint32_t index;             /* its place in config.backends */
};

/* One parameter a model's entry sets: `value` is JSON. */
struct config_param {
    struct bytes name, value;
};

struct config_params {
    struct config_param *list;
    uint32_t count;
};

enum config_cache_when { CACHE_REPEATABLE, CACHE_NEVER, CACHE_ALWAYS };
enum config_cache_scope { SCOPE_TENANT, SCOPE_TEAM, SCOPE_SHARED };
enum config_cache_replay { REPLAY_INSTANT, REPLAY_PACED };

/* What is remembered of one model's answers: the file's `cache`, and what a model's entry says otherwise. */
struct config_cache_policy {
    enum config_cache_when when;
    enum config_cache_scope scope;
    enum config_cache_replay replay;
    uint32_t ttl_ms;
    uint32_t audit_ppm;         /* hits in a million that are asked again */
};

#define CONFIG_DATABASE_MAX 65535

struct config_redis {
    bool used;
    struct bytes host, unix_path;   /* one of the two */
    uint16_t port;
    struct bytes username, password;
    uint32_t database;
    struct bytes prefix;
    uint32_t connect_ms, deadline_ms;
    uint32_t value_bytes;       /* larger answers stay in the process */
};

struct config_cache {
    struct config_cache_policy policy;
    uint64_t memory;            /* bytes kept in the process; 0: none */
    uint32_t entry_bytes;       /* the largest answer kept */
    struct bytes secret;        /* keys the digests; or none */
    struct config_redis redis;
};

/* Limits that several gateways share, and what is charged. */
struct config_admission {
    struct config_quota quota;  /* of the whole gateway */
    struct config_redis redis;
    uint32_t gateways;          /* how many share the limits: a local share is one of so many */
    bool charge_joined;         /* a joined answer is charged to whoever joined, as if asked alone */
    bool charge_hits;           /* a remembered answer too */
    uint32_t lease_ms;          /* after so long a dead gateway's share comes back */
    bool open;                  /* anyone who reaches a listener may ask: no keys are needed for any address */
};

struct config_model {
    struct bytes name;
    struct bytes *aliases;
    uint32_t alias_count;
    uint32_t *backends;         /* indices, in the order of asking */
    uint32_t backend_count;
    struct bytes upstream;      /* its name there; the public name when the file is silent */
    struct config_params defaults, fixed;
    struct config_cache_policy cache;
    struct config_quota quota;
    struct config_queue queue;
    struct config_price price;
    uint32_t default_output;    /* tokens estimated for an answer without an output limit */
    uint32_t fixed_output;      /* the output limit among FIXED; 0: none */
    enum config_bodies bodies;  /* of its requests, in the log, unless the key says otherwise */
};

struct config_lora {
    int64_t id;
    struct bytes scale;         /* a number as written */
};

struct config_variant {
    struct bytes name;
    uint32_t model;             /* index of its base */
    struct bytes controller;    /* the controller's JSON object; none */
    struct config_lora *lora;
    uint32_t lora_count;
    struct bytes adapter;       /* a model's name there, for every kind but goodfire and llama-server */
};

struct config_limits {
    uint32_t connections;       /* whole process; 0: from the fd limit */
    uint32_t header_bytes, headers;
    uint32_t body_bytes;
    uint64_t buffered_bytes;
    uint32_t answer_bytes, event_bytes;
    uint32_t high_water, low_water;
};

enum config_sink_kind { CONFIG_SINK_STDOUT, CONFIG_SINK_FILE, CONFIG_SINK_SYSLOG, CONFIG_SINK_REDIS };

/* Where request lines are kept. */
struct config_sink {
    enum config_sink_kind kind;
    struct bytes path;          /* of a file; of syslog's unix socket (/dev/log) */
    uint64_t rotate_bytes;      /* a larger file is closed and another begun; 0: never */
    uint32_t rotate_s;          /* an older one too; 0: never */
    uint32_t keep;              /* closed files that stay; 0: all */
    bool gzip;                  /* closed files are compressed */
    struct bytes tag;           /* syslog's */
    unsigned facility;          /* syslog's, 0 to 23 */
    struct config_redis redis;
    struct bytes stream;        /* the Redis stream's key, whole */
    uint64_t length;            /* it is trimmed to about so many; 0: never */
};

enum config_when_full { WHEN_FULL_DROP, WHEN_FULL_BLOCK };

/* The request log. */
struct config_log {
    struct config_sink *sinks;
    uint32_t sink_count;        /* 0: there is no log */
    enum config_when_full when_full;
    uint32_t block_ms;          /* how long a new request waits for room before it is refused */
    uint32_t flush_ms;          /* a line is written so soon */
    uint64_t buffer;            /* bytes that may wait, for each sink */
    enum config_bodies bodies;  /* never BODIES_UNSAID */
    uint32_t body_bytes;        /* of each body; longer ones are cut */
    struct bytes *redact_fields, *redact_patterns;
    uint32_t redact_field_count, redact_pattern_count;
};

/* Spans by OTLP/HTTP JSON. */
struct config_tracing {
    bool used;
    bool tls;
    struct bytes host, path;    /* path: from the first slash */
    uint16_t port;
    struct bytes unix_path, api_key, ca_file;
    struct bytes service;       /* service.name */
    uint32_t sample_ppm;        /* of requests whose client does not say */
};

struct config {
    uint32_t references;
    struct arena arena;
    struct config_address *listen;
    uint32_t listen_count;
    struct config_address admin;
    bool has_admin;
    uint32_t workers;           /* at least 1 */
    struct config_limits limits;
    struct config_cache cache;
    struct config_admission admission;
    struct config_log log;
    struct config_tracing tracing;
    bool server_timing;         /* every answer tells where its time went */
    struct config_keys *keys;   /* of the file itself; NULL: none */
    struct bytes keys_file;     /* a file of keys, read again when it changes; or none */
    struct config_team *teams;
    uint32_t team_count;
    uint32_t header_ms, body_ms, idle_ms, client_stall_ms, drain_ms, keepalive_ms;
    struct config_backend *backends;
    uint32_t backend_count;
    struct config_model *models;    /* none: everything the backends list */
    uint32_t model_count;
    struct config_variant *variants;
    uint32_t variant_count;
};

/* What the command line says on top of (or instead of) a file. */
struct config_overrides {
    const char *listen;         /* or NULL */
    const char *admin;          /* or NULL; "off": none */
    const char **backends;      /* URLs; replace the file's backends, models and variants */
    uint32_t backend_count;
    uint32_t workers;           /* 0: not said */
};

enum { CONFIG_E_BAD = 1 };

/* Read PATH (NULL: defaults only) and OVERRIDES (may be NULL) into a new snapshot. On CONFIG_E_BAD every
 * error found is a line in ERRORS: `PATH:LINE: KEY: message` or `command line: --OPTION: message`. A negative
 * return is errno of reading PATH (also a line in ERRORS). Relative paths in the file are relative to the
 * file's folder. */
int config_read(const char *path, const struct config_overrides *overrides, struct buffer *errors,
                struct config **ret);

/* The same from text in memory; NAME stands for the path in messages, FOLDER for its folder. */
int config_read_text(const char *name, const char *folder, struct bytes text,
                     const struct config_overrides *overrides, struct buffer *errors, struct config **ret);

struct config *config_ref(struct config *config);
struct config *config_unref(struct config *config);

/* The keys of PATH (YAML: `keys`, a list as in the main file), a snapshot with one reference. Errors as for
 * config_read(). Teams and models are looked up in CONFIG, when it lists them; a name that one of CONFIG's own keys has
 * is an error, and so is a file without a list: one that means none says `keys: []`. */
int config_read_keys(const char *path, const struct config *config, struct buffer *errors, struct config_keys **ret);
/* The same from text in memory, which may say nothing yet; NAME stands for the path in messages. */
int config_read_keys_text(const char *name, struct bytes text, const struct config *config, struct buffer *errors,
                          struct config_keys **ret);
struct config_keys *config_keys_ref(struct config_keys *keys);
struct config_keys *config_keys_unref(struct config_keys *keys);

/* "llama-server" */
const char *config_kind_name(enum config_kind kind);

/* The model that answers to NAME: its own name or an alias. NULL if none. */
const struct config_model *config_find_model(const struct config *config, struct bytes name);
const struct config_variant *config_find_variant(const struct config *config, struct bytes name);
