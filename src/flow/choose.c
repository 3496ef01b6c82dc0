/*
 * Which backends may be asked this: they serve the model, they can do the steering, and when it comes to asking they
 * are not known to be down.
 *
 * Steering that a backend cannot do is refused, never dropped: an unsteered answer to a steered question is a wrong
 * result. So a backend that cannot is no candidate, and with no candidate left the question is refused with the reason.
 */
#include "flow/exchange.h"

#include "base/clock.h"
#include "chat/steering.h"
#include "dialect/no_model.h"
#include "flow/variants.h"

#include <errno.h>

/* How long a list of models is good for, and how soon an unknown name makes us ask again. */
#define LIST_AGE_MS 60000
#define UNKNOWN_AGE_MS 2000

/* What was asked for, whoever can do it. */
struct wish {
    struct bytes controller;                /* JSON; none */
    const struct config_variant *variant;   /* whose lora and adapter do it; or NULL */
    bool steered;
};

static int read_wish(struct exchange *x, struct wish *wish, struct failure *ret_failure)
{
    struct chat_request *request = &x->question->request;
    const struct json_node *controller = chat_field(request, FIELD_CONTROLLER);
    const struct config_variant *variant = x->route.variant;

    *wish = (struct wish){.variant = variant};
    if (variant)
        wish->controller = variant->controller;
    wish->steered = wish->controller.size > 0 || (variant && (variant->lora_count > 0 || variant->adapter.size > 0));
    if (!steering_controller_empty(request->doc, controller)) {
        const struct config_variant *same = variants_like(x->flow->variants, x->route.model, request->doc, controller);

        if (wish->steered && same != variant) {
            *ret_failure = failure_make(&x->arena, FAIL_STEERING,
                                        "The model '%.*s' is a variant with steering of its own; it cannot be combined "
                                        "with a 'controller'. Ask for its base model, or leave the controller out.",
                                        BYTES_ARG(variant->name));
            ret_failure->param = BYTES("controller");
            return -EINVAL;
        }
        *wish = (struct wish){.controller = json_raw(request->doc, controller), .variant = same, .steered = true};
    }
    return 0;
}

static struct bytes lora_json(const struct config_variant *variant, struct arena *arena)
{
    struct buffer text;
    struct bytes copy;

    buffer_init(&text);
    for (uint32_t i = 0; i < variant->lora_count; i++)
        buffer_printf(&text, "%s{\"id\":%lld,\"scale\":%.*s}", i ? "," : "[", (long long)variant->lora[i].id,
                      BYTES_ARG(variant->lora[i].scale));
    buffer_append_char(&text, ']');
    copy = arena_copy(arena, buffer_bytes(&text));
    buffer_deinit(&text);
    return copy;
}

/* How a backend of KIND would do WISH; false when it cannot. */
static bool steering_for(enum config_kind kind, const struct wish *wish, struct arena *arena,
                         struct chat_steering *ret)
{
    const struct config_variant *variant = wish->variant;
    bool lora = variant && variant->lora_count > 0, adapter = variant && variant->adapter.size > 0;

    *ret = (struct chat_steering){0};
    if (!wish->steered)
        return true;
    if ((kind == KIND_GOODFIRE || kind == KIND_ECHO) && wish->controller.size)
        ret->controller = wish->controller;
    else if ((kind == KIND_LLAMA_SERVER || kind == KIND_ECHO) && lora)
        ret->lora = lora_json(variant, arena);
    else if (kind != KIND_GOODFIRE && kind != KIND_LLAMA_SERVER && adapter)
        ret->adapter = variant->adapter;
    else
        return false;
    return true;
}

static enum verdict refuse_steering(struct exchange *x, const struct wish *wish)
{
    struct failure failure = failure_make(
        &x->arena, FAIL_STEERING,
        "The model '%.*s' runs on a backend of kind '%s', which cannot do this steering%s. It is refused rather than "
        "dropped. Use a Goodfire backend, or configure a variant that maps it to a LoRA or an adapter.",
        BYTES_ARG(x->question->request.model), config_kind_name(x->route.targets[0].kind),
        wish->controller.size ? " (a controller)" : "");

    failure.param = x->route.variant ? BYTES("model") : BYTES("controller");
    return exchange_refuse(x, &failure);
}

/* The model may be where nobody could be asked. */
static bool some_list_is_missing(const struct exchange *x)
{
    const struct config *config = x->flow->config;

    for (uint32_t i = 0; i < config->backend_count && config->model_count == 0; i++)
        if (!catalog_known(x->flow->catalog, i))
            return true;
    return false;
}

static enum verdict refuse_model(struct exchange *x)
{
    struct route_name *names;
    uint32_t count = route_names(x->flow->config, x->flow->catalog, &x->arena, &names);
    struct bytes *list = arena_alloc(&x->arena, count * sizeof(*list));
    struct failure failure;

    if (some_list_is_missing(x))
        return exchange_refuse_text(x, FAIL_UPSTREAM_CONNECT,
                                    "A backend could not be asked which models it has, and no other one has this "
                                    "model. Check that it runs, and its URL.");
    count = keep_allowed(x, names, count);
    for (uint32_t i = 0; i < count; i++)
        list[i] = names[i].name;
    failure = failure_no_model(x->dialect, &x->arena, x->question->request.model, list, count);
    return exchange_refuse(x, &failure);
}

/* The targets that can do WISH. */
static void gather_candidates(struct exchange *x, const struct wish *wish)
{
    x->steered = wish->variant || wish->controller.size;
    x->candidate_count = 0;
    x->candidates = arena_alloc(&x->arena, x->route.count * sizeof(*x->candidates));
    for (uint32_t i = 0; i < x->route.count; i++) {
        const struct route_target *target = &x->route.targets[i];
        struct flight_candidate candidate = {
            .upstream = x->flow->upstreams[target->backend->index],
            .backend = target->backend,
            .kind = target->kind,
            .upstream_model = target->upstream_model,
            .defaults = target->defaults,
            .fixed = target->fixed,
        };

        if (steering_for(target->kind, wish, &x->question->arena, &candidate.steering))
            x->candidates[x->candidate_count++] = candidate;
    }
}

static uint32_t sort_healthy(struct flow *flow, const struct flight_candidate *candidates, uint32_t count, bool asks,
                             struct flight_candidate *ret)
{
    uint64_t now = flow->turn_us / 1000;
    uint32_t all = 0, good = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t backend = candidates[i].backend->index;
        enum health_state state =
            asks ? health_ask(flow->health, backend, now) : health_look(flow->health, backend, now);

        if (state == HEALTH_DOWN)
            continue;
        ret[all++] = candidates[i];
        if (state == HEALTH_GOOD) {
            ret[all - 1] = ret[good];
            ret[good++] = candidates[i];
        }
    }
    return all;
}

uint32_t choose_healthy(struct flow *flow, const struct flight_candidate *candidates, uint32_t count,
                        struct flight_candidate *ret)
{
    return sort_healthy(flow, candidates, count, true, ret);
}

uint32_t choose_look(struct flow *flow, const struct flight_candidate *candidates, uint32_t count,
                     struct flight_candidate *ret)
{
    return sort_healthy(flow, candidates, count, false, ret);
}

/* A key for some models may not ask about others by the side door: the call has to say a model that it may. */
static bool may_pass(struct exchange *x)
{
    const struct json_doc *doc = &x->question->doc;
    struct bytes model;

    if (!x->key || x->key->model_count == 0)
        return true;
    if (x->verb == HTTP_GET_ || !doc->complete)
        return false;
    model = json_text(doc, json_member(doc, json_root(doc), BYTES("model")), &x->question->arena);
    return model.size && may_ask_model(x, model, model, BYTES_NONE);
}

static enum verdict pass_on(struct exchange *x)
{
    const struct config *config = x->flow->config;
    struct route_target *target = arena_zeroed(&x->arena, sizeof(*target));

    for (uint32_t i = 0; i < config->backend_count && !target->backend; i++)
        if (config->backends[i].kind == KIND_GOODFIRE)
            target->backend = &config->backends[i];
    if (!target->backend)
        return exchange_refuse_text(x, FAIL_NO_PATH,
                                    "This call needs a Goodfire server, and this gateway has no backend of kind "
                                    "'goodfire'. Completions and logits work with any backend.");
    if (!may_pass(x))
        return exchange_refuse_text(x, FAIL_NOT_ALLOWED,
                                    "Your API key is for some models only, and this call does not name one of them.");
    target->kind = KIND_GOODFIRE;
    x->route = (struct route){.targets = target, .count = 1};
    gather_candidates(x, &(struct wish){0});
    return STEP_NEXT;
}

static bool is_allowed(const struct exchange *x)
{
    struct bytes asked = x->question->request.model;

    return may_ask_model(x, asked, x->route.model ? x->route.model->name : asked,
                         x->route.variant ? x->route.variant->name : BYTES_NONE);
}

static enum verdict refuse_permission(struct exchange *x)
{
    struct failure failure =
        failure_make(&x->arena, FAIL_NOT_ALLOWED, "Your API key may not use the model `%.*s`. GET /v1/models lists "
                                                  "those it may.",
                     BYTES_ARG(x->question->request.model));

    failure.param = BYTES("model");
    return exchange_refuse(x, &failure);
}

enum verdict choose_step(struct exchange *x)
{
    struct flow *flow = x->flow;
    struct failure failure;
    struct wish wish;

    if (x->endpoint->kind == ENDPOINT_PASS)
        return pass_on(x);
    if (flow->config->model_count == 0)
        discovery_refresh(flow, LIST_AGE_MS);
    if (route_find(flow->config, flow->catalog, x->question->request.model, &x->question->arena, &x->route) != 0) {
        if (flow->config->model_count == 0 && discovery_wait(flow, x, UNKNOWN_AGE_MS))
            return STEP_WAIT;
        return refuse_model(x);
    }
    if (!is_allowed(x))
        return refuse_permission(x);
    if (read_wish(x, &wish, &failure) < 0)
        return exchange_refuse(x, &failure);
    gather_candidates(x, &wish);
    return x->candidate_count ? STEP_NEXT : refuse_steering(x, &wish);
}
