/*
 * One row per key. What may be left out may also stand there empty. For libcyaml so may the rest: it is empty
 * where the check complained, so that all else of the file can be read.
 */
#include "config/schema.h"

#define NAME_MAX_SIZE 256
#define TEXT_MAX_SIZE 4096

#define GIVEN CYAML_FLAG_POINTER_NULL
#define OPTIONAL (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR)

#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, OPTIONAL, type, member, 1, TEXT_MAX_SIZE)
#define TEXT_GIVEN(key, type, member) CYAML_FIELD_STRING_PTR(key, GIVEN, type, member, 1, TEXT_MAX_SIZE)
#define COUNT(key, type, member) CYAML_FIELD_UINT_PTR(key, OPTIONAL, type, member)
#define GROUP(key, type, member, fields) CYAML_FIELD_MAPPING_PTR(key, OPTIONAL, type, member, fields)
#define LIST(key, flags, type, member, entry, min, max)                                                      \
    CYAML_FIELD_SEQUENCE(key, (flags) | CYAML_FLAG_POINTER, type, member, entry, min, max)

static const cyaml_schema_value_t name_entry = {
    CYAML_VALUE_STRING(GIVEN, char *, 1, NAME_MAX_SIZE),
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

static const cyaml_schema_field_t redis_fields[] = {
    TEXT("url", struct raw_redis, url),
    TEXT("username", struct raw_redis, username),
    TEXT("password", struct raw_redis, password),
    COUNT("database", struct raw_redis, database),
    TEXT("prefix", struct raw_redis, prefix),
    TEXT("deadline", struct raw_redis, deadline),
    TEXT("connect", struct raw_redis, connect),
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
    GROUP("redis", struct raw_cache, redis, redis_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t policy_fields[] = {
    POLICY_FIELDS(struct raw_policy, ),
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
    LIST("backends", OPTIONAL, struct raw, backends, &backend_entry, 0, 256),
    LIST("models", OPTIONAL, struct raw, models, &model_entry, 0, 1000),
    LIST("variants", OPTIONAL, struct raw, variants, &variant_entry, 0, 1000),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t schema_root = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, root_fields),
};
