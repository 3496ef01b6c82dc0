/*
 * Asking the backends what they serve: GET /v1/models, all that are stale at the same time. Whoever waits looks again
 * after each answer, and asks only once itself.
 */
#include "flow/exchange.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "dialect/backend.h"

/* A list that takes longer, or is larger, is as good as none. */
#define LIST_MS 5000
#define LIST_BYTES (1 << 20)

struct inquiry {
    struct discovery *discovery;
    uint32_t backend;
    struct call *call;
    struct bytes path;
    struct buffer body;
    unsigned status;
};

struct discovery {
    struct flow *flow;
    struct list waiters;
    unsigned open;
    struct arena arena;
    struct inquiry inquiries[];
};

static void on_head(void *data, const struct transfer_head *head)
{
    struct inquiry *inquiry = data;

    inquiry->status = head->status;
}

static void on_body(void *data, struct bytes piece)
{
    struct inquiry *inquiry = data;

    if (inquiry->body.size + piece.size <= LIST_BYTES)
        buffer_append(&inquiry->body, piece);
}

static void learn(struct inquiry *inquiry, bool good)
{
    struct flow *flow = inquiry->discovery->flow;
    const struct config_backend *backend = &flow->config->backends[inquiry->backend];
    struct json_doc doc;
    struct arena scratch;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    arena_init(&scratch);
    if (good && inquiry->status == 200 && json_doc_parse(&doc, buffer_bytes(&inquiry->body)) == 0)
        catalog_learn(flow->catalog, inquiry->backend,
                      backend->kind == KIND_AUTO ? backend_detect(&doc, &scratch) : backend->kind, &doc, clock_ms());
    else
        catalog_missed(flow->catalog, inquiry->backend, clock_ms());
    arena_deinit(&scratch);
    json_doc_deinit(&doc);
}

static void on_done(void *data, int result, const char *reason)
{
    struct inquiry *inquiry = data;
    struct discovery *discovery = inquiry->discovery;

    inquiry->call = NULL;
    learn(inquiry, result == 0);
    buffer_deinit(&inquiry->body);
    discovery->open--;
    LIST_EACH(&discovery->waiters, node) {
        list_remove(node);
        exchange_resume(LIST_ENTRY(node, struct exchange, discovering));
    }
}

static void inquire(struct inquiry *inquiry)
{
    static const struct transfer_events events = {on_head, on_body, on_done};
    struct call_request request = {
        .get = true,
        .path = inquiry->path,
        .timeouts = {.connect = LIST_MS, .first_byte = LIST_MS, .between_bytes = LIST_MS, .total = LIST_MS},
    };

    inquiry->status = 0;
    inquiry->discovery->open++;
    inquiry->call = call_start(inquiry->discovery->flow->upstreams[inquiry->backend], &request, &events, inquiry);
}

struct discovery *discovery_new(struct flow *flow)
{
    uint32_t count = flow->config->backend_count;
    struct discovery *discovery = alloc_zeroed(sizeof(*discovery) + count * sizeof(struct inquiry));

    discovery->flow = flow;
    list_init(&discovery->waiters);
    arena_init(&discovery->arena);
    for (uint32_t i = 0; i < count; i++) {
        const struct config_backend *backend = &flow->config->backends[i];

        discovery->inquiries[i] = (struct inquiry){
            .discovery = discovery,
            .backend = i,
            .path = backend_path(backend, &discovery->arena, "/v1/models"),
        };
    }
    return discovery;
}

void discovery_refresh(struct flow *flow, uint32_t max_age_ms)
{
    struct discovery *discovery = flow->discovery;

    for (uint32_t i = 0; i < flow->config->backend_count; i++)
        if (!discovery->inquiries[i].call && catalog_stale(flow->catalog, i, clock_ms(), max_age_ms))
            inquire(&discovery->inquiries[i]);
}

bool discovery_wait(struct flow *flow, struct exchange *x, uint32_t max_age_ms)
{
    if (!x->discovered)
        discovery_refresh(flow, max_age_ms);
    x->discovered = true;
    if (flow->discovery->open == 0)
        return false;
    if (list_empty(&x->discovering))
        list_append(&flow->discovery->waiters, &x->discovering);
    return true;
}

struct discovery *discovery_free(struct discovery *discovery)
{
    if (!discovery)
        return NULL;
    for (uint32_t i = 0; i < discovery->flow->config->backend_count; i++) {
        call_cancel(discovery->inquiries[i].call);
        buffer_deinit(&discovery->inquiries[i].body);
    }
    arena_deinit(&discovery->arena);
    return alloc_free(discovery);
}
