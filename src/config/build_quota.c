/*
 * How much may be asked in one scope, how long one may wait for it, and what it costs: one row per limit.
 */
#include "config/build.h"

#define MILLION UINT64_C(1000000)
#define DAY_MINUTES 1440

#define PLACES_MAX MILLION
#define QUEUE_MAX 100000

struct quota_row {
    const char *key;
    size_t raw, target; /* offsets */
    uint64_t most;      /* 0: money */
};

#define QUOTA_ROW(key, most) {#key, offsetof(struct raw_quota, key), offsetof(struct config_quota, key), most}

/* In any order of sums they stay far from 64 bits. */
static const struct quota_row rows[] = {
    QUOTA_ROW(requests_per_minute, 1000 * MILLION),
    QUOTA_ROW(requests_burst, 1000 * MILLION),
    QUOTA_ROW(tokens_per_minute, MILLION * MILLION),
    QUOTA_ROW(tokens_burst, MILLION * MILLION),
    QUOTA_ROW(tokens_per_day, 1000 * MILLION * MILLION),
    QUOTA_ROW(tokens_per_month, 1000 * MILLION * MILLION),
    QUOTA_ROW(money_per_day, 0),
    QUOTA_ROW(money_per_month, 0),
};

static void read_row(struct build *build, const struct quota_row *row, const struct raw_quota *raw,
                     const struct tree_node *node, struct config_quota *quota)
{
    const char *text = *(char *const *)(const void *)((const char *)raw + row->raw);
    uint64_t *target = (uint64_t *)(void *)((char *)quota + row->target);

    if (row->most)
        build_number(build, tree_member(node, bytes_of(row->key)), text, 1, row->most, target);
    else
        build_money(build, tree_member(node, bytes_of(row->key)), text, false, target);
}

/* What may come at once, where RATE a minute may: as many as a minute gives when the file does not say, and at most a
 * day's, for whoever empties it has to wait so long. */
static void settle_burst(struct build *build, const struct tree_node *node, const char *key, const char *rate_key,
                         uint64_t rate, uint64_t *burst)
{
    if (*burst && !rate && !tree_given(node, bytes_of(rate_key)))
        report_member(build->report, node, key, "needs %s", rate_key);
    else if (rate && *burst > rate * DAY_MINUTES)
        report_member(build->report, node, key, "must be at most what a day gives (%llu)",
                      (unsigned long long)rate * DAY_MINUTES);
    if (*burst == 0)
        *burst = rate;
}

void build_quota(struct build *build, const struct raw_quota *raw, const struct tree_node *node,
                 struct config_quota *quota)
{
    static const char *const words[] = {[REDIS_FAILURE_LOCAL] = "local", [REDIS_FAILURE_OPEN] = "open",
                                        [REDIS_FAILURE_CLOSED] = "closed"};
    uint64_t places = 0;
    size_t at;

    if (!raw)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        read_row(build, &rows[i], raw, node, quota);
    settle_burst(build, node, "requests_burst", "requests_per_minute", quota->requests_per_minute,
                 &quota->requests_burst);
    settle_burst(build, node, "tokens_burst", "tokens_per_minute", quota->tokens_per_minute, &quota->tokens_burst);
    build_number(build, tree_member(node, BYTES("concurrent")), raw->concurrent, 1, PLACES_MAX, &places);
    quota->concurrent = (uint32_t)places;
    if (build_word(build, tree_member(node, BYTES("on_redis_failure")), raw->on_redis_failure, words,
                   ARRAY_SIZE(words), &at))
        quota->on_redis_failure = (enum config_redis_failure)at;
    if (!build->spending && (quota->money_per_day || quota->money_per_month))
        build->spending = node;
    quota->any = quota->requests_per_minute || quota->tokens_per_minute || quota->concurrent ||
                 quota->tokens_per_day || quota->tokens_per_month || quota->money_per_day || quota->money_per_month;
}

void build_queue(struct build *build, const struct raw_queue *raw, const struct tree_node *item,
                 const struct config_quota *quota, struct config_queue *queue)
{
    const struct tree_node *node = tree_member(item, BYTES("queue")), *limits = tree_member(item, BYTES("quota"));

    if (!raw)
        return;
    *queue = (struct config_queue){.length = 100, .longest_ms = 30000};
    build_count(build, node, "length", raw->length, 0, QUEUE_MAX, &queue->length);
    build_duration_between(build, tree_member(node, BYTES("longest")), raw->longest, "1ms", "1h", &queue->longest_ms);
    if (node->bad || !queue->length || quota->concurrent)
        return;
    if (!(limits && limits->bad) && !tree_given(limits, BYTES("concurrent")))
        report_node(build->report, node, "needs quota.concurrent: it is a place among these that is waited for");
}

void build_check_prices(struct build *build, const struct config *config)
{
    if (!build->spending || build->models_unsure)
        return;
    for (uint32_t i = 0; i < config->model_count; i++)
        if (config->models[i].price.input || config->models[i].price.output)
            return;
    report_node(build->report, build->spending,
                "has a budget of money, and no model has a price, so nothing would ever be spent: give models a price "
                "(models: [{name: ..., price: {input: 0.50, output: 1.50}}])");
}

void build_price(struct build *build, const struct raw_price *raw, const struct tree_node *node,
                 struct config_price *price)
{
    if (!raw)
        return;
    build_money(build, tree_member(node, BYTES("input")), raw->input, true, &price->input);
    build_money(build, tree_member(node, BYTES("output")), raw->output, true, &price->output);
}
