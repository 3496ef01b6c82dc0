/*
 * Any bytes as a configuration: refused with complaints or accepted whole, never something in between. The
 * environment is fixed, so that a finding repeats.
 */
#include "config/config.h"

#include <stdlib.h>

static void require(bool fact)
{
    if (!fact)
        abort();
}

static bool holds(struct bytes text, struct bytes part)
{
    return bytes_find(text, part) < text.size;
}

static void check_policy(const struct config_cache_policy *policy)
{
    require(policy->when <= CACHE_ALWAYS && policy->scope <= SCOPE_SHARED && policy->replay <= REPLAY_PACED);
    require(policy->ttl_ms >= 1000 && policy->audit_ppm <= 1000000);
}

static void check_cache(const struct config_cache *cache)
{
    const struct config_redis *redis = &cache->redis;

    check_policy(&cache->policy);
    require(cache->entry_bytes >= 1024 && (cache->memory == 0 || cache->entry_bytes <= cache->memory / 16));
    require(cache->secret.size == 0 || cache->secret.size >= 16);
    require(redis->value_bytes >= 1024 && redis->value_bytes <= cache->entry_bytes);
    require(redis->deadline_ms && redis->connect_ms && redis->prefix.size && redis->prefix.size <= 64);
    require(redis->used == (redis->host.size || redis->unix_path.size) && (!redis->host.size || redis->port));
    require(!redis->host.size || !redis->unix_path.size);
    require(redis->database <= CONFIG_DATABASE_MAX);
}

static void check_quota(const struct config_quota *quota)
{
    require(!quota->requests_per_minute == !quota->requests_burst && !quota->tokens_per_minute == !quota->tokens_burst);
    require(quota->requests_burst <= quota->requests_per_minute * 1440);
    require(quota->tokens_burst <= quota->tokens_per_minute * 1440);
    require(quota->any || (!quota->tokens_per_minute && !quota->concurrent && !quota->money_per_month));
    require(quota->on_redis_failure <= REDIS_FAILURE_CLOSED);
}

static void check_keys(const struct config *config)
{
    for (uint32_t i = 0; config->keys && i < config->keys->count; i++) {
        const struct config_key *key = &config->keys->list[i];

        require(key->name.size && (!key->metadata.size || bytes_end_with(key->metadata, BYTES("}"))));
        check_quota(&key->quota);
        for (uint32_t j = 0; j < key->model_count; j++)
            require(!config->model_count || config_find_model(config, key->models[j]) ||
                    config_find_variant(config, key->models[j]));
    }
}

static void check_admission(const struct config *config)
{
    const struct config_admission *admission = &config->admission;

    check_quota(&admission->quota);
    check_keys(config);
    require(admission->gateways && admission->lease_ms >= 1000 && admission->redis.deadline_ms);
    require(admission->redis.used == (admission->redis.host.size || admission->redis.unix_path.size));
    for (uint32_t i = 0; i < config->team_count; i++) {
        require(config->teams[i].weight && config->teams[i].name.size);
        check_quota(&config->teams[i].quota);
    }
    for (uint32_t i = 0; i < config->listen_count; i++)
        require(config->keys || config->keys_file.size || admission->open || config->listen[i].unix_path.size ||
                bytes_start_with(config->listen[i].host, BYTES("127.")) ||
                bytes_equal(config->listen[i].host, BYTES("::1")));
}

static void check_sink(const struct config_sink *sink)
{
    bool file = sink->kind == CONFIG_SINK_FILE, redis = sink->kind == CONFIG_SINK_REDIS;

    require(sink->kind <= CONFIG_SINK_REDIS && sink->facility < 24);
    require((file || sink->kind == CONFIG_SINK_SYSLOG) == (sink->path.size && sink->path.data[0] == '/'));
    require(file || (!sink->rotate_bytes && !sink->rotate_s && !sink->keep && !sink->gzip));
    require(redis == sink->redis.used && redis == (sink->stream.size > 0));
    require(redis || sink->length == 0);
}

static void check_log(const struct config *config)
{
    const struct config_log *log = &config->log;
    const struct config_tracing *tracing = &config->tracing;

    require(log->sink_count <= 8 && log->buffer >= 65536 && log->flush_ms >= 10 && log->block_ms);
    require(log->bodies > BODIES_UNSAID && log->bodies <= BODIES_FULL && log->body_bytes >= 1024);
    for (uint32_t i = 0; i < log->sink_count; i++)
        check_sink(&log->sinks[i]);
    for (uint32_t i = 0; i < log->redact_field_count; i++)
        require(log->redact_fields[i].size && !bytes_end_with(log->redact_fields[i], BYTES(".")));
    for (uint32_t i = 0; i < log->redact_pattern_count; i++)
        require(log->redact_patterns[i].size);
    require(tracing->service.size && tracing->sample_ppm <= 1000000);
    require(tracing->used == (tracing->unix_path.size || (tracing->host.size && tracing->port)));
    require(!tracing->used || tracing->path.data[0] == '/');
}

static void check_good(const struct config *config)
{
    require(config->references == 1 && config->listen_count && config->workers && config->backend_count);
    require(config->limits.low_water < config->limits.high_water);
    check_cache(&config->cache);
    check_admission(config);
    check_log(config);
    for (uint32_t i = 0; i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];

        require(backend->name.size && backend->index == i && backend->timeouts.total);
        require(backend->kind == KIND_ECHO || backend->unix_path.size ||
                (backend->host.size && backend->port));
        require(!bytes_end_with(backend->root, BYTES("/")));
        check_quota(&backend->quota);
        require(!backend->queue.length || backend->quota.concurrent);
    }
    for (uint32_t i = 0; i < config->model_count; i++) {
        require(config->models[i].backend_count && config->models[i].upstream.size);
        require(config_find_model(config, config->models[i].name) == &config->models[i]);
        check_policy(&config->models[i].cache);
        check_quota(&config->models[i].quota);
        require(!config->models[i].queue.length || config->models[i].quota.concurrent);
        require(config->models[i].default_output);
    }
    for (uint32_t i = 0; i < config->variant_count; i++)
        require(config->variants[i].model < config->model_count && config->variants[i].name.size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    clearenv();
    setenv("KEY", "sk-secret", 1);
    setenv("EMPTY", "", 1);
    setenv("LINES", "a\nb", 1);
    setenv("URL", "redis://u:sk-secret@h:sk-secret", 1);
    setenv("LONG", "sk-secret-of-enough-bytes", 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = {(const char *)data, size};
    static const struct config anything;
    struct config *config = NULL;
    struct config_keys *keys = NULL;
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = config_read_keys_text("keys.yaml", text, &anything, &errors, &keys);
    require((r == 0) == (errors.size == 0) && (r == 0) == (keys != NULL));
    config_keys_unref(keys);
    buffer_clear(&errors, errors.capacity);
    r = config_read_text("fuzz.yaml", "/nonexistent", text, NULL, &errors, &config);
    require((r == 0) == (errors.size == 0) && (r == 0) == (config != NULL));
    /* What passed the check must load, and a secret is not told (unless the input is these very words; a key that holds
     * them may stand on two lines). */
    require(!holds(buffer_bytes(&errors), BYTES("cannot be loaded")) || holds(text, BYTES("be loaded")));
    require(!holds(buffer_bytes(&errors), BYTES("sk-secret")) || holds(text, BYTES("sk-secret")));
    if (config)
        check_good(config);
    config_unref(config);
    buffer_deinit(&errors);
    return 0;
}
