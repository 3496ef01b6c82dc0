/*
 * What is answered without asking anyone: health, readiness, the list of models.
 */
#include "flow/exchange.h"

#include "flow/metrics_page.h"
#include "flow/status.h"
#include "json/json_write.h"

static enum verdict send_page(struct exchange *x, unsigned status, const char *content_type, struct buffer *body)
{
    deliver_page(x, status, content_type, buffer_bytes(body));
    buffer_deinit(body);
    return STEP_DONE;
}

static enum verdict health_page(struct exchange *x, bool good)
{
    struct buffer body;

    buffer_init(&body);
    buffer_append_text(&body, good ? "ok\n" : "shutting down\n");
    x->quiet = true;
    return send_page(x, good ? 200 : 503, "text/plain; charset=utf-8", &body);
}

/* --- models --- */

static void write_model(struct exchange *x, const struct route_name *name, struct buffer *out)
{
    buffer_append_char(out, '{');
    json_write_member_string(out, "id", name->name);
    json_write_member_string(out, "object", BYTES("model"));
    json_write_member_i64(out, "created", x->flow->shared->started);
    json_write_member_string(out, "owned_by", name->owner);
    if (name->parent.size)
        json_write_member_string(out, "parent", name->parent);
    buffer_append_char(out, '}');
}

/* RAW, a piece of a path, is NAME as it stands or percent-encoded. */
static bool path_names(struct bytes raw, struct bytes name)
{
    size_t at = 0;

    for (size_t i = 0; i < name.size; i++) {
        if (at < raw.size && raw.data[at] == name.data[i] && name.data[i] != '%') {
            at++;
        } else if (bytes_percent(raw, at) == (unsigned char)name.data[i]) {
            at += 3;
        } else {
            return false;
        }
    }
    return at == raw.size;
}

static enum verdict model_page(struct exchange *x, const struct route_name *names, uint32_t count)
{
    struct bytes id = bytes_skip(x->path, strlen("/v1/models/"));
    struct failure failure;
    struct buffer body;

    for (uint32_t i = 0; i < count; i++) {
        if (!path_names(id, names[i].name))
            continue;
        buffer_init(&body);
        write_model(x, &names[i], &body);
        return send_page(x, 200, "application/json", &body);
    }
    failure = failure_make(&x->arena, FAIL_NO_MODEL,
                           "The model `%.*s` does not exist or you do not have access to it.", BYTES_ARG(id));
    return exchange_refuse(x, &failure);
}

static enum verdict models_page(struct exchange *x)
{
    struct route_name *names;
    uint32_t count;
    struct buffer body;

    if (x->flow->config->model_count == 0 && discovery_wait(x->flow, x, 2000))
        return STEP_WAIT;
    count = route_names(x->flow->config, x->flow->catalog, &x->arena, &names);
    count = keep_allowed(x, names, count);
    if (x->endpoint->kind == ENDPOINT_MODEL)
        return model_page(x, names, count);
    buffer_init(&body);
    buffer_append_text(&body, "{\"object\":\"list\",\"data\":[");
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buffer_append_char(&body, ',');
        write_model(x, &names[i], &body);
    }
    buffer_append_text(&body, "]}");
    return send_page(x, 200, "application/json", &body);
}

/* --- the step --- */

static enum verdict no_path(struct exchange *x)
{
    struct failure failure = failure_make(&x->arena, FAIL_NO_PATH, "Invalid URL (%.*s %.*s)", BYTES_ARG(x->method),
                                          BYTES_ARG(x->path));

    return exchange_refuse(x, &failure);
}

static enum verdict no_method(struct exchange *x)
{
    struct failure failure =
        failure_make(&x->arena, FAIL_NO_METHOD, "Method %.*s is not allowed here. Use %s.", BYTES_ARG(x->method),
                     x->endpoint->allow);

    return exchange_refuse(x, &failure);
}

enum verdict page_step(struct exchange *x)
{
    if (x->body_failed && !x->head_sent)
        return exchange_refuse_text(x, x->body_failure, x->body_message);
    if (!x->endpoint)
        return no_path(x);
    if (!endpoint_allows(x->endpoint, x->verb))
        return no_method(x);
    switch (x->endpoint->kind) {
    case ENDPOINT_HEALTH:
        return health_page(x, true);
    case ENDPOINT_READY:
        return health_page(x, atomic_load(&x->flow->shared->ready));
    case ENDPOINT_METRICS:
        return metrics_page(x);
    case ENDPOINT_MODELS:
    case ENDPOINT_MODEL:
        return models_page(x);
    case ENDPOINT_CACHE:
        return cache_page(x);
    case ENDPOINT_PURGE:
        return purge_page(x);
    case ENDPOINT_OWN_USAGE:
        return own_usage_page(x);
    case ENDPOINT_ALL_USAGE:
        return all_usage_page(x);
    case ENDPOINT_STATUS:
        return status_page(x);
    case ENDPOINT_STATUS_JSON:
        return status_json_page(x);
    case ENDPOINT_STATUS_EVENTS:
        return status_feed(x);
    default:
        return STEP_NEXT;
    }
}
