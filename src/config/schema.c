/*
 * One row per key. What may be left out may also stand there empty. For libcyaml so may the rest: it is empty
 * where the check complained, so that all else of the file can be read.
 */
#include "config/schema.h"

#define NAME_MAX_SIZE 256
#define TEXT_MAX_SIZE 4096
/* As many as fit into a file of keys. */
#define KEYS_MAX 200000

#define GIVEN CYAML_FLAG_POINTER_NULL
#define OPTIONAL (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR)

#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, OPTIONAL, type, member, 1, TEXT_MAX_SIZE)
#define TEXT_GIVEN(key, type, member) CYAML_FIELD_STRING_PTR(key, GIVEN, type, member, 1, TEXT_MAX_SIZE)
#define NAME_GIVEN(key, type, member) CYAML_FIELD_STRING_PTR(key, GIVEN, type, member, 1, NAME_MAX_SIZE)
#define COUNT(key, type, member) CYAML_FIELD_UINT_PTR(key, OPTIONAL, type, member)
#define GROUP(key, type, member, fields) CYAML_FIELD_MAPPING_PTR(key, OPTIONAL, type, member, fields)
#define LIST(key, flags, type, member, entry, min, max)                                                      \
    CYAML_FIELD_SEQUENCE(key, (flags) | CYAML_FLAG_POINTER, type, member, entry, min, max)

static const cyaml_schema_value_t name_entry = {
    CYAML_VALUE_STRING(GIVEN, char *, 1, NAME_MAX_SIZE),
};

static const cyaml_schema_value_t text_entry = {
    CYAML_VALUE_STRING(GIVEN, char *, 1, TEXT_MAX_SIZE),
};

static const cyaml_schema_field_t limit_fields[] = {
    COUNT("connections", struct raw_limits, connections),
    TEXT("header_bytes", struct raw_limits, header_bytes),
    COUNT("headers", struct raw_limits, headers),
    TEXT("body_bytes", struct raw_limits, body_bytes),
    TEXT("buffered_bytes", struct raw_limits, buffered_bytes),
    TEXT("answer_bytes", struct raw_limits, answer_bytes),
    TEXT("event_bytes", struct raw_limits, event_bytes),
    TEXT("high_water", struct raw_limits, high_water),
    TEXT("low_water", struct raw_limits, low_water),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t timeout_fields[] = {
    TEXT("header", struct raw_timeouts, header),
    TEXT("body", struct raw_timeouts, body),
    TEXT("idle", struct raw_timeouts, idle),
    TEXT("client_stall", struct raw_timeouts, client_stall),
    TEXT("drain", struct raw_timeouts, drain),
    TEXT("keepalive", struct raw_timeouts, keepalive),
    TEXT("connect", struct raw_timeouts, waits.connect),
    TEXT("first_byte", struct raw_timeouts, waits.first_byte),
    TEXT("between_bytes", struct raw_timeouts, waits.between_bytes),
    TEXT("total", struct raw_timeouts, waits.total),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t wait_fields[] = {
    TEXT("connect", struct raw_waits, connect),
    TEXT("first_byte", struct raw_waits, first_byte),
    TEXT("between_bytes", struct raw_waits, between_bytes),
    TEXT("total", struct raw_waits, total),
    CYAML_FIELD_END,
};

#define REDIS_FIELDS                                                                                         \
    TEXT("url", struct raw_redis, url), TEXT("username", struct raw_redis, username),                        \
        TEXT("password", struct raw_redis, password), COUNT("database", struct raw_redis, database),         \
        TEXT("prefix", struct raw_redis, prefix), TEXT("deadline", struct raw_redis, deadline),              \
        TEXT("connect", struct raw_redis, connect)

static const cyaml_schema_field_t redis_fields[] = {
    REDIS_FIELDS,
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t cache_redis_fields[] = {
    REDIS_FIELDS,
    TEXT("value", struct raw_redis, value),
    CYAML_FIELD_END,
};

#define POLICY_FIELDS(type, prefix)                                                                          \
    TEXT("when", type, prefix when), TEXT("scope", type, prefix scope), TEXT("ttl", type, prefix ttl),       \
        TEXT("replay", type, prefix replay), TEXT("audit", type, prefix audit)

static const cyaml_schema_field_t cache_fields[] = {
    POLICY_FIELDS(struct raw_cache, policy.),
    TEXT("memory", struct raw_cache, memory),
    TEXT("entry", struct raw_cache, entry),
    TEXT("secret", struct raw_cache, secret),
    GROUP("redis", struct raw_cache, redis, cache_redis_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t policy_fields[] = {
    POLICY_FIELDS(struct raw_policy, ),
    CYAML_FIELD_END,
};

#define QUOTA_FIELD(key) TEXT(#key, struct raw_quota, key)

static const cyaml_schema_field_t quota_fields[] = {
    QUOTA_FIELD(requests_per_minute),
    QUOTA_FIELD(requests_burst),
    QUOTA_FIELD(tokens_per_minute),
    QUOTA_FIELD(tokens_burst),
    QUOTA_FIELD(concurrent),
    QUOTA_FIELD(tokens_per_day),
    QUOTA_FIELD(tokens_per_month),
    QUOTA_FIELD(money_per_day),
    QUOTA_FIELD(money_per_month),
    QUOTA_FIELD(on_redis_failure),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t queue_fields[] = {
    COUNT("length", struct raw_queue, length),
    TEXT("longest", struct raw_queue, longest),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t price_fields[] = {
    TEXT("input", struct raw_price, input),
    TEXT("output", struct raw_price, output),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t key_fields[] = {
    NAME_GIVEN("name", struct raw_key, name),
    TEXT("team", struct raw_key, team),
    TEXT_GIVEN("sha256", struct raw_key, sha256),
    TEXT("expires", struct raw_key, expires),
    LIST("models", OPTIONAL, struct raw_key, models, &name_entry, 1, 1000),
    GROUP("quota", struct raw_key, quota, quota_fields),
    TEXT("log_bodies", struct raw_key, log_bodies),
    CYAML_FIELD_IGNORE("metadata", CYAML_FLAG_OPTIONAL | SCHEMA_FREE_MAP),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t key_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_key, key_fields),
};

static const cyaml_schema_field_t team_fields[] = {
    NAME_GIVEN("name", struct raw_team, name),
    COUNT("weight", struct raw_team, weight),
    GROUP("quota", struct raw_team, quota, quota_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t team_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_team, team_fields),
};

static const cyaml_schema_field_t admission_fields[] = {
    GROUP("quota", struct raw_admission, quota, quota_fields),
    GROUP("redis", struct raw_admission, redis, redis_fields),
    COUNT("gateways", struct raw_admission, gateways),
    TEXT("lease", struct raw_admission, lease),
    TEXT("charge_joined", struct raw_admission, charge_joined),
    TEXT("charge_hits", struct raw_admission, charge_hits),
    TEXT("open", struct raw_admission, open),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t rotate_fields[] = {
    TEXT("size", struct raw_rotate, size),
    TEXT("age", struct raw_rotate, age),
    COUNT("keep", struct raw_rotate, keep),
    TEXT("compress", struct raw_rotate, compress),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t sink_fields[] = {
    TEXT_GIVEN("kind", struct raw_sink, kind),
    TEXT("path", struct raw_sink, path),
    GROUP("rotate", struct raw_sink, rotate, rotate_fields),
    TEXT("facility", struct raw_sink, facility),
    TEXT("tag", struct raw_sink, tag),
    GROUP("redis", struct raw_sink, redis, redis_fields),
    TEXT("stream", struct raw_sink, stream),
    TEXT("length", struct raw_sink, length),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t sink_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_sink, sink_fields),
};

static const cyaml_schema_field_t redact_fields[] = {
    LIST("fields", OPTIONAL, struct raw_redact, fields, &name_entry, 0, 64),
    LIST("patterns", OPTIONAL, struct raw_redact, patterns, &text_entry, 0, 64),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    LIST("sinks", OPTIONAL, struct raw_log, sinks, &sink_entry, 0, 8),
    TEXT("when_full", struct raw_log, when_full),
    TEXT("block", struct raw_log, block),
    TEXT("flush", struct raw_log, flush),
    TEXT("buffer", struct raw_log, buffer),
    TEXT("bodies", struct raw_log, bodies),
    TEXT("body", struct raw_log, body),
    GROUP("redact", struct raw_log, redact, redact_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tracing_fields[] = {
    TEXT("url", struct raw_tracing, url),
    TEXT("api_key", struct raw_tracing, api_key),
    TEXT("ca_file", struct raw_tracing, ca_file),
    TEXT("service", struct raw_tracing, service),
    TEXT("sample", struct raw_tracing, sample),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t echo_fields[] = {
    TEXT("pace", struct raw_echo, pace),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t backend_fields[] = {
    TEXT_GIVEN("name", struct raw_backend, name),
    TEXT_GIVEN("kind", struct raw_backend, kind),
    TEXT("url", struct raw_backend, url),
    TEXT("api_key", struct raw_backend, api_key),
    TEXT("ca_file", struct raw_backend, ca_file),
    GROUP("timeouts", struct raw_backend, timeouts, wait_fields),
    GROUP("echo", struct raw_backend, echo, echo_fields),
    TEXT("seeds", struct raw_backend, seeds),
    GROUP("quota", struct raw_backend, quota, quota_fields),
    GROUP("queue", struct raw_backend, queue, queue_fields),
    TEXT("pass_through_key", struct raw_backend, pass_through_key),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t backend_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_backend, backend_fields),
};

#define PARAM_FIELD(id, name, form, least, most) TEXT(name, struct raw_params, values[PARAM_##id]),
static const cyaml_schema_field_t param_fields[] = {
    CONFIG_PARAMS(PARAM_FIELD)
    CYAML_FIELD_IGNORE("stop", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t model_fields[] = {
    TEXT_GIVEN("name", struct raw_model, name),
    LIST("aliases", OPTIONAL, struct raw_model, aliases, &name_entry, 0, 256),
    LIST("backends", GIVEN, struct raw_model, backends, &name_entry, 1, 64),
    TEXT("upstream", struct raw_model, upstream),
    GROUP("defaults", struct raw_model, defaults, param_fields),
    GROUP("fixed", struct raw_model, fixed, param_fields),
    GROUP("cache", struct raw_model, cache, policy_fields),
    GROUP("quota", struct raw_model, quota, quota_fields),
    GROUP("queue", struct raw_model, queue, queue_fields),
    GROUP("price", struct raw_model, price, price_fields),
    COUNT("default_output", struct raw_model, default_output),
    TEXT("log_bodies", struct raw_model, log_bodies),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t model_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_model, model_fields),
};

static const cyaml_schema_field_t lora_fields[] = {
    CYAML_FIELD_INT_PTR("id", GIVEN, struct raw_lora, id),
    TEXT("scale", struct raw_lora, scale),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t lora_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_lora, lora_fields),
};

static const cyaml_schema_field_t variant_fields[] = {
    TEXT_GIVEN("name", struct raw_variant, name),
    TEXT_GIVEN("model", struct raw_variant, model),
    TEXT("controller", struct raw_variant, controller),
    LIST("lora", OPTIONAL, struct raw_variant, lora, &lora_entry, 1, 64),
    TEXT("adapter", struct raw_variant, adapter),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t variant_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_variant, variant_fields),
};

static const cyaml_schema_field_t root_fields[] = {
    LIST("listen", OPTIONAL, struct raw, listen, &name_entry, 1, 64),
    TEXT("admin", struct raw, admin),
    COUNT("workers", struct raw, workers),
    GROUP("limits", struct raw, limits, limit_fields),
    GROUP("timeouts", struct raw, timeouts, timeout_fields),
    GROUP("cache", struct raw, cache, cache_fields),
    LIST("keys", OPTIONAL, struct raw, keys.list, &key_entry, 0, KEYS_MAX),
    TEXT("keys_file", struct raw, keys_file),
    LIST("teams", OPTIONAL, struct raw, teams, &team_entry, 0, 1000),
    GROUP("admission", struct raw, admission, admission_fields),
    GROUP("log", struct raw, log, log_fields),
    GROUP("tracing", struct raw, tracing, tracing_fields),
    TEXT("server_timing", struct raw, server_timing),
    LIST("backends", OPTIONAL, struct raw, backends, &backend_entry, 0, 256),
    LIST("models", OPTIONAL, struct raw, models, &model_entry, 0, 1000),
    LIST("variants", OPTIONAL, struct raw, variants, &variant_entry, 0, 1000),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t schema_root = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, root_fields),
};

static const cyaml_schema_field_t keys_fields[] = {
    LIST("keys", OPTIONAL, struct raw_keys, list, &key_entry, 0, KEYS_MAX),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t schema_keys = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_keys, keys_fields),
};
