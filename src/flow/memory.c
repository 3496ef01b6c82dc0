/*
 * The corridor's side of the memory: the second shelf's connection, the digest and scopes of the keys, and what is
 * counted and said of Redis. A change of its state is one line in the log.
 */
#include "flow/exchange.h"

#include "base/log.h"
#include "flow/heard.h"

/* --- what the second shelf tells --- */

static void say(const char *what, struct bytes text)
{
    log_line("embergate: redis: %s%s%.*s", what, text.size ? ": " : "", BYTES_ARG(text));
}

/* Until it goes well again. */
static void say_once(bool *said, const char *what, struct bytes text)
{
    if (!*said)
        say(what, text);
    *said = true;
}

static void on_news(void *data, enum second_news news, struct bytes text)
{
    struct flow *flow = data;
    struct metrics *metrics = flow->metrics;

    switch (news) {
    case SECOND_FOUND:
        METRICS_COUNT(metrics, redis_found_total);
        flow->redis_refuses_looks = false;
        break;
    case SECOND_MISSED:
        METRICS_COUNT(metrics, redis_missed_total);
        flow->redis_refuses_looks = false;
        break;
    case SECOND_BAD:
        METRICS_COUNT(metrics, redis_bad_total);
        break;
    case SECOND_VOID:
        METRICS_COUNT(metrics, redis_void_total);
        break;
    case SECOND_ERROR:
        METRICS_COUNT(metrics, redis_errors_total);
        say_once(&flow->redis_refuses_looks, "refuses a look", text);
        break;
    case SECOND_TIMEOUT:
        METRICS_COUNT(metrics, redis_timeouts_total);
        break;
    case SECOND_AWAY:
        METRICS_COUNT(metrics, redis_away_total);
        break;
    case SECOND_STORED:
        METRICS_COUNT(metrics, redis_stored_total);
        flow->redis_refuses_stores = false;
        break;
    case SECOND_STORE_FAILED:
        METRICS_COUNT(metrics, redis_store_failed_total);
        say_once(&flow->redis_refuses_stores, "does not store", text);
        break;
    case SECOND_UP:
        atomic_store(&metrics->redis_up, 1);
        say("connected", text);
        break;
    case SECOND_DOWN:
        atomic_store(&metrics->redis_up, 0);
        say("away, going on without it", text);
        break;
    }
}

/* --- life --- */

static void make_scopes(struct flow *flow)
{
    digest_begin(flow->digest);
    digest_add_text(flow->digest, BYTES("shared"));
    digest_end(flow->digest, flow->scope_shared);
    digest_begin(flow->digest);
    digest_add_text(flow->digest, BYTES("team"));
    digest_add_text(flow->digest, BYTES_NONE);
    digest_end(flow->digest, flow->scope_team);
}

/* What the words meant once they mean for ever: where the file lists the models. Names that the backends list may mean
 * something else tomorrow. */
static bool may_recognise(const struct config *config)
{
    for (uint32_t i = 0; i < config->model_count; i++)
        if (config->models[i].cache.when != CACHE_NEVER)
            return true;
    return false;
}

struct redis_config redis_config_of(const struct config_redis *redis)
{
    return (struct redis_config){
        .host = redis->host,
        .unix_path = redis->unix_path,
        .port = redis->port,
        .username = redis->username,
        .password = redis->password,
        .database = redis->database,
        .connect_ms = redis->connect_ms,
        .deadline_ms = redis->deadline_ms,
    };
}

static struct second *connect_second(struct flow *flow)
{
    const struct config_redis *redis = &flow->config->cache.redis;
    struct second_config config = {
        .redis = redis_config_of(redis),
        .prefix = redis->prefix,
        .secret = flow->config->cache.secret,
        .value_bytes = redis->value_bytes,
    };

    return redis->used ? second_new(flow->loop, flow->memo, &config, on_news, flow) : NULL;
}

void memory_init(struct flow *flow)
{
    flow->memo = flow->shared->memo;
    flow->digest = digest_new(flow->config->cache.secret);
    mailbox_init(&flow->mailbox, flow->loop);
    list_init(&flow->leads);
    flow->audits = audits_new(flow);
    if (may_recognise(flow->config))
        flow->heard = heard_new();
    make_scopes(flow);
    flow->second = connect_second(flow);
}

static void mailbox_gone(void *data)
{
    struct flow *flow = data;

    flow->memory_closed(flow->memory_closed_data);
}

static void second_gone(void *data)
{
    struct flow *flow = data;

    flow->second = NULL;
    mailbox_close(&flow->mailbox, mailbox_gone, flow);
}

void memory_close(struct flow *flow, void (*closed)(void *data), void *data)
{
    struct second *second = flow->second;

    flow->memory_closed = closed;
    flow->memory_closed_data = data;
    flow->second = NULL;
    if (second)
        second_close(second, second_gone, flow);
    else
        second_gone(flow);
}

void memory_deinit(struct flow *flow)
{
    mailbox_deinit(&flow->mailbox);
    flow->heard = heard_free(flow->heard);
    flow->audits = audits_free(flow->audits);
    flow->digest = digest_free(flow->digest);
}
