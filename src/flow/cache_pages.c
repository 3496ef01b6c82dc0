/*
 * The memory as its operators see it: what it holds, model by model, and how to make it forget.
 */
#include "flow/exchange.h"

#include "json/json_write.h"
#include "record/prometheus.h"

#include <stddef.h>
#include <stdio.h>

/* --- GET /cache --- */

static const struct {
    const char *name;
    size_t offset;
    const char *help;
} counts[] = {
#define COUNT(name, help) {#name, offsetof(struct memo_counts, name), help},
    COUNT(hits, "Questions answered from memory")
    COUNT(joins, "Questions answered by a flight that was under way")
    COUNT(misses, "Questions that had to be asked")
    COUNT(recalled, "Misses that were found on the second shelf")
    COUNT(bypasses, "Questions that may not be remembered, or whose clients did not want it")
    COUNT(stored, "Answers remembered")
    COUNT(too_large, "Answers let go because they grew too large, or for want of room")
    COUNT(evicted, "Answers that made room for others")
    COUNT(expired, "Answers that became too old")
    COUNT(voided, "Answers of an older model or purge, dropped when they were asked for")
    COUNT(purged, "Answers dropped by a purge")
    COUNT(fingerprints, "Times a backend's fingerprint changed")
    COUNT(audit_same, "Answers asked again that said the same")
    COUNT(audit_different, "Answers asked again that said something else")
    COUNT(audit_failed, "Answers asked again that did not come")
    COUNT(audit_skipped, "Audits not made because others were under way, or the backend was down")
#undef COUNT
};

static uint64_t count_of(const struct memo_counts *all, size_t row)
{
    return *(const uint64_t *)(const void *)((const char *)all + counts[row].offset);
}

static void write_number(struct buffer *out, const char *name, uint64_t value)
{
    json_write_member_i64(out, name, (int64_t)value);
}

static void write_counts(struct buffer *out, const struct memo_counts *all)
{
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        write_number(out, counts[i].name, count_of(all, i));
}

static int64_t sum(const struct flow_shared *shared, size_t offset)
{
    int64_t all = 0;

    for (unsigned i = 0; i < shared->set_count; i++)
        all += metrics_read((const _Atomic int64_t *)(const void *)((const char *)shared->sets[i] + offset));
    return all;
}

static void write_redis(struct flow *flow, struct buffer *out)
{
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {
        {"up", offsetof(struct metrics, redis_up)},
        {"found", offsetof(struct metrics, redis_found_total)},
        {"missed", offsetof(struct metrics, redis_missed_total)},
        {"void", offsetof(struct metrics, redis_void_total)},
        {"bad", offsetof(struct metrics, redis_bad_total)},
        {"errors", offsetof(struct metrics, redis_errors_total)},
        {"timeouts", offsetof(struct metrics, redis_timeouts_total)},
        {"away", offsetof(struct metrics, redis_away_total)},
        {"stored", offsetof(struct metrics, redis_stored_total)},
        {"store_failed", offsetof(struct metrics, redis_store_failed_total)},
    };

    buffer_append_char(out, '{');
    json_write_member_raw(out, "configured", flow->config->cache.redis.used ? BYTES("true") : BYTES("false"));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        json_write_member_i64(out, rows[i].name, sum(flow->shared, rows[i].offset));
    buffer_append_char(out, '}');
}

static void write_models(struct memo *memo, struct buffer *out)
{
    struct memo_model *model;

    buffer_append_char(out, '[');
    for (uint32_t i = 0; (model = memo_model_at(memo, i)); i++) {
        uint64_t entries, bytes;
        struct memo_counts all = memo_model_counts(model, &entries, &bytes);

        buffer_append_text(out, i ? ",{" : "{");
        json_write_member_string(out, "name", memo_model_name(model));
        write_number(out, "entries", entries);
        write_number(out, "bytes", bytes);
        write_counts(out, &all);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_stats(struct flow *flow, struct buffer *out)
{
    struct memo_stats stats;

    memo_stats(flow->memo, &stats);
    buffer_append_char(out, '{');
    write_number(out, "entries", stats.entries);
    write_number(out, "bytes", stats.bytes);
    write_number(out, "growing", stats.growing);
    write_number(out, "growing_bytes", stats.growing_bytes);
    write_number(out, "memory", stats.memory);
    buffer_append_text(out, ",\"counts\":{");
    write_counts(out, &stats.counts);
    buffer_append_text(out, "},\"redis\":");
    write_redis(flow, out);
    buffer_append_text(out, ",\"models\":");
    write_models(flow->memo, out);
    buffer_append_text(out, "}\n");
}

static enum verdict send_json(struct exchange *x, struct buffer *body)
{
    x->quiet = true;
    deliver_page(x, 200, "application/json", buffer_bytes(body));
    buffer_deinit(body);
    return STEP_DONE;
}

enum verdict cache_page(struct exchange *x)
{
    struct buffer body;

    buffer_init(&body);
    write_stats(x->flow, &body);
    return send_json(x, &body);
}

/* --- POST /cache/purge --- */

bool query_value(struct bytes query, struct bytes name, struct arena *arena, struct bytes *ret)
{
    while (query.size) {
        struct bytes pair = {query.data, bytes_find(query, BYTES("&"))};
        size_t size = 0;
        char *text;

        query = bytes_skip(query, pair.size < query.size ? pair.size + 1 : pair.size);
        if (!bytes_start_with(pair, name) || pair.size == name.size || pair.data[name.size] != '=')
            continue;
        pair = bytes_skip(pair, name.size + 1);
        text = arena_alloc(arena, pair.size + 1);
        for (size_t i = 0; i < pair.size; i++) {
            int coded = bytes_percent(pair, i);

            text[size++] = coded < 0 ? pair.data[i] : (char)coded;
            i += coded < 0 ? 0 : 2;
        }
        *ret = (struct bytes){text, size};
        return true;
    }
    return false;
}

static uint64_t purge_model(struct flow *flow, struct memo_model *model)
{
    uint64_t dropped = memo_purge_model(flow->memo, model);

    if (flow->second)
        second_void(flow->second, model);
    return dropped;
}

static uint64_t purge_all(struct flow *flow)
{
    uint64_t dropped = 0;
    struct memo_model *model;

    for (uint32_t i = 0; (model = memo_model_at(flow->memo, i)); i++)
        dropped += purge_model(flow, model);
    return dropped;
}

/* A model nobody asked for since the start may yet have answers on the second shelf. A variant's are its base's. */
static bool model_named(struct flow *flow, struct bytes name, struct memo_model **ret)
{
    const struct config_variant *variant = config_find_variant(flow->config, name);
    const struct config_model *model = variant ? &flow->config->models[variant->model]
                                               : config_find_model(flow->config, name);

    *ret = model ? memo_model(flow->memo, model->name) : memo_find_model(flow->memo, name);
    return *ret != NULL;
}

enum verdict purge_page(struct exchange *x)
{
    struct flow *flow = x->flow;
    uint8_t key[DIGEST_SIZE];
    struct memo_model *model;
    struct bytes value;
    struct buffer body;
    uint64_t dropped;

    if (query_value(x->query, BYTES("key"), &x->arena, &value)) {
        if (query_value(x->query, BYTES("model"), &x->arena, &(struct bytes){0}))
            return exchange_refuse_text(x, FAIL_INVALID, "Say either 'model' or 'key'.");
        if (digest_from_hex(value, key) < 0)
            return exchange_refuse_text(x, FAIL_INVALID, "'key' must be the 64 hex digits of x-embergate-cache-key.");
        dropped = memo_purge_key(flow->memo, key);
        if (flow->second)
            second_purge_key(flow->second, key);
    } else if (query_value(x->query, BYTES("model"), &x->arena, &value)) {
        if (!model_named(flow, value, &model))
            return exchange_refuse_text(x, FAIL_NO_MODEL, "No model of this name is known here.");
        dropped = purge_model(flow, model);
    } else if (x->query.size) {
        return exchange_refuse_text(x, FAIL_INVALID, "Say ?model=NAME, ?key=HEX, or nothing to forget everything.");
    } else {
        dropped = purge_all(flow);
    }
    buffer_init(&body);
    buffer_printf(&body, "{\"purged\":%llu}\n", (unsigned long long)dropped);
    return send_json(x, &body);
}

/* --- /metrics --- */

/* An unlabelled "embergate_cache_NAME". */
static void write_metric(struct buffer *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    char whole[64];

    snprintf(whole, sizeof(whole), "embergate_cache_%s", name);
    prometheus_single(out, whole, kind, help, (int64_t)value);
}

static void write_audit(struct memo_model *model, const char *result, uint64_t count, struct buffer *out)
{
    const struct prometheus_label labels[] = {{"model", memo_model_name(model)}, {"result", bytes_of(result)}};

    prometheus_sample(out, &(struct prometheus_series){"embergate_audit_total", labels, 2}, (int64_t)count);
}

static void write_audits(struct memo *memo, struct buffer *out)
{
    struct memo_model *model;

    prometheus_family(out, "embergate_audit_total", "counter", "Remembered answers that were asked again");
    for (uint32_t i = 0; (model = memo_model_at(memo, i)); i++) {
        struct memo_counts all = memo_model_counts(model, NULL, NULL);

        write_audit(model, "same", all.audit_same, out);
        write_audit(model, "different", all.audit_different, out);
        write_audit(model, "failed", all.audit_failed, out);
        write_audit(model, "skipped", all.audit_skipped, out);
    }
}

void cache_metrics_write(struct flow *flow, struct buffer *out)
{
    struct memo_stats stats;
    char name[40];

    memo_stats(flow->memo, &stats);
    write_metric(out, "entries", "gauge", "Answers remembered in the process", stats.entries);
    write_metric(out, "bytes", "gauge", "Bytes they take", stats.bytes);
    write_metric(out, "growing", "gauge", "Answers under way that can be joined", stats.growing);
    write_metric(out, "growing_bytes", "gauge", "Bytes they take", stats.growing_bytes);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        if (bytes_start_with(bytes_of(counts[i].name), BYTES("audit_")))
            continue;
        snprintf(name, sizeof(name), "%s_total", counts[i].name);
        write_metric(out, name, "counter", counts[i].help, count_of(&stats.counts, i));
    }
    write_audits(flow->memo, out);
}
