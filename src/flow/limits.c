/*
 * The corridor's side of admission: the scopes of the configuration, the shared books in Redis, and what is counted and
 * said of them.
 */
#include "flow/patience.h"

#include "base/alloc.h"
#include "base/log.h"
#include "json/json_write.h"

static void say(const char *what, struct bytes text)
{
    log_line("embergate: redis of the limits: %s%s%.*s", what, text.size ? ": " : "", BYTES_ARG(text));
}

static void on_news(void *data, enum shared_news news, struct bytes text)
{
    struct metrics *metrics = ((struct flow *)data)->metrics;

    switch (news) {
    case SHARED_ASKED:
        METRICS_COUNT(metrics, limits_asked_total);
        break;
    case SHARED_KNOWN:
        METRICS_COUNT(metrics, limits_known_total);
        break;
    case SHARED_TIMEOUT:
    case SHARED_ERROR:
    case SHARED_AWAY:
        METRICS_COUNT(metrics, limits_degraded_total);
        break;
    case SHARED_OPENED:
        METRICS_COUNT(metrics, limits_opened_total);
        break;
    case SHARED_CLOSED:
        METRICS_COUNT(metrics, limits_closed_total);
        break;
    case SHARED_LOCAL:
        METRICS_COUNT(metrics, limits_local_total);
        break;
    case SHARED_DROPPED:
        METRICS_COUNT(metrics, limits_dropped_total);
        break;
    case SHARED_UP:
        say("connected", text);
        break;
    case SHARED_DOWN:
        say("away; each limit does as its on_redis_failure says", text);
        break;
    case SHARED_FAILING:
        say("answers with errors; each limit does as its on_redis_failure says", text);
        break;
    case SHARED_SERVING:
        say("answers well again", text);
        break;
    case SHARED_GAVE_UP:
        say("settlements it was never told of", text);
        break;
    }
}

/* --- what is told on pages --- */

void limits_write_line(struct buffer *out, const struct scope_line *line)
{
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {{"most", line->most}, {"used", line->used}, {"remaining", line->remaining}};
    bool money = line->limit == QUOTA_MONEY_DAY || line->limit == QUOTA_MONEY_MONTH;

    json_write_member_string(out, "limit", bytes_of(quota_limit_name(line->limit)));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (money)
            json_write_member_millionths(out, members[i].name, members[i].value);
        else
            json_write_member_i64(out, members[i].name, (int64_t)members[i].value);
    }
    json_write_member_i64(out, "reset_ms", (int64_t)line->reset_ms);
}

/* --- the life of it --- */

static void find_scopes(struct flow *flow)
{
    const struct config *config = flow->config;
    struct admit *admit = flow->shared->admit;
    struct scopes *scopes = &flow->scopes;

    scopes->teams = alloc_zeroed((config->team_count + 1) * sizeof(struct scope *));
    scopes->models = alloc_zeroed((config->model_count + 1) * sizeof(struct scope *));
    scopes->backends = alloc_zeroed((config->backend_count + 1) * sizeof(struct scope *));
    scopes->gateway = admit_scope(admit, SCOPE_OF_GATEWAY, BYTES_NONE, &config->admission.quota);
    flow->limited = scopes->gateway != NULL || config->keys || config->keys_file.size;
    for (uint32_t i = 0; i < config->team_count; i++) {
        scopes->teams[i] =
            admit_scope(admit, SCOPE_OF_TEAM, config->teams[i].name, &config->teams[i].quota);
        flow->limited = flow->limited || scopes->teams[i];
    }
    for (uint32_t i = 0; i < config->model_count; i++) {
        scopes->models[i] =
            admit_scope(admit, SCOPE_OF_MODEL, config->models[i].name, &config->models[i].quota);
        flow->limited = flow->limited || scopes->models[i];
    }
    for (uint32_t i = 0; i < config->backend_count; i++) {
        scopes->backends[i] =
            admit_scope(admit, SCOPE_OF_BACKEND, config->backends[i].name, &config->backends[i].quota);
        flow->limited = flow->limited || scopes->backends[i];
    }
}

static struct shared *connect_shared(struct flow *flow)
{
    const struct config_admission *admission = &flow->config->admission;
    const struct config_redis *redis = &admission->redis;
    struct shared_config config = {
        .redis = redis_config_of(redis),
        .prefix = redis->prefix,
        .gateways = admission->gateways,
        .lease_ms = admission->lease_ms,
        .shares = flow->shared->shares,
    };

    /* The administration only looks, for its pages: it has nothing to say. */
    return redis->used ? shared_new(flow->loop, &config, flow->admin ? NULL : on_news, flow) : NULL;
}

static void settle(void *data, void *bill, const struct transcript_facts *facts)
{
    (void)data;
    admission_settle(bill, facts);
}

static enum flight_move may_move(void *data, void *bill, const struct config_backend *backend, struct flight *flight)
{
    (void)data;
    return admission_move(bill, backend, flight);
}

void limits_init(struct flow *flow)
{
    flow->plain = digest_new(BYTES_NONE);
    flow->flights.settle = settle;
    flow->flights.may_move = may_move;
    find_scopes(flow);
    flow->limits_shared = connect_shared(flow);
    flow->patience = patience_new(flow);
}

void limits_close(struct flow *flow, uv_close_cb patience_closed, void (*closed)(void *data), void *data)
{
    struct shared *shared = flow->limits_shared;

    patience_close(flow->patience, patience_closed);
    flow->limits_shared = NULL;
    if (shared)
        shared_close(shared, closed, data);
    else
        closed(data);
}

void limits_deinit(struct flow *flow)
{
    flow->plain = digest_free(flow->plain);
    flow->patience = patience_free(flow->patience);
    flow->keyring = keyring_unref(flow->keyring);
    alloc_free(flow->scopes.teams);
    alloc_free(flow->scopes.models);
    alloc_free(flow->scopes.backends);
}
