/*
 * Scopes are found once, when the worker begins; only keys are looked up by name. With a shared Redis the decision is
 * one command there, else one call here. Whoever gives a place back offers it to the queues in front of its scopes.
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"

static struct admit_time now(void)
{
    return (struct admit_time){clock_us(), clock_wall_s()};
}

/* --- which scopes --- */

static struct scope *team_scope(const struct flow *flow, struct bytes team)
{
    for (uint32_t i = 0; i < flow->config->team_count; i++)
        if (bytes_equal(flow->config->teams[i].name, team))
            return flow->scopes.teams[i];
    return NULL;
}

static struct scope *key_scope(const struct flow *flow, const struct config_key *key)
{
    return key && key->quota.any ? admit_find(flow->shared->admit, SCOPE_OF_KEY, key->name) : NULL;
}

struct admission *admission_new(struct exchange *x, const struct config_backend *backend)
{
    struct flow *flow = x->flow;
    const struct config_model *model = x->route.model;
    struct scope *scopes[SCOPE_KINDS] = {
        [SCOPE_OF_KEY] = key_scope(flow, x->key),
        [SCOPE_OF_TEAM] = x->key ? team_scope(flow, x->key->team) : NULL,
        [SCOPE_OF_MODEL] = model ? flow->scopes.models[model - flow->config->models] : NULL,
        [SCOPE_OF_BACKEND] = backend ? flow->scopes.backends[backend->index] : NULL,
        [SCOPE_OF_GATEWAY] = flow->scopes.gateway,
    };
    struct admission *admission;
    bool any = false;

    for (unsigned i = 0; i < SCOPE_KINDS; i++)
        any = any || scopes[i];
    if (!any)
        return NULL;
    admission = ALLOC_NEW(struct admission);
    memcpy(admission->scopes, scopes, sizeof(scopes));
    admission->flow = flow;
    admission->x = x;
    list_init(&admission->waiting);
    if (model)
        admission->price = model->price;
    return admission;
}

void admission_set_backend(struct admission *admission, const struct config_backend *backend)
{
    admission->scopes[SCOPE_OF_BACKEND] = backend ? admission->flow->scopes.backends[backend->index] : NULL;
}

struct queue *admission_queue(struct flow *flow, const struct scope *scope)
{
    const struct config *config = flow->config;

    for (uint32_t i = 0; scope && scope_kind(scope) == SCOPE_OF_MODEL && i < config->model_count; i++)
        if (flow->scopes.models[i] == scope)
            return flow->shared->model_queues[i];
    for (uint32_t i = 0; scope && scope_kind(scope) == SCOPE_OF_BACKEND && i < config->backend_count; i++)
        if (flow->scopes.backends[i] == scope)
            return flow->shared->backend_queues[i];
    return NULL;
}

/* --- taking --- */

static void decided(void *data, int result, const struct refusal *refusal)
{
    struct admission *admission = data;

    admission->asking = false;
    admission->result = result;
    admission->taken = result == 0;
    if (result)
        admission->refusal = *refusal;
    if (admission->x)
        exchange_resume(admission->x);
}

bool admission_try(struct admission *admission)
{
    struct flow *flow = admission->flow;

    admission->refusal = (struct refusal){0};
    if (flow->limits_shared) {
        admission->asking = true;
        admission->shared = (struct shared_take){0};
        shared_take(flow->limits_shared, &admission->shared, admission->scopes, SCOPE_KINDS, &admission->want, now(),
                    decided, admission);
        return !admission->asking;
    }
    admission->result = reservation_take(&admission->local, admission->scopes, SCOPE_KINDS, &admission->want, now(),
                                         &admission->refusal);
    admission->taken = admission->result == 0;
    return true;
}

/* --- settling --- */

static void offer_places(struct admission *admission)
{
    struct queue *queue;

    for (unsigned i = 0; i < SCOPE_KINDS; i++)
        if ((queue = admission_queue(admission->flow, admission->scopes[i])))
            queue_offer(queue);
}

/* What the upstream told, else what was seen of it: an event of a stream is a token. An answer of which nothing came
 * is not charged. */
static struct charge used(const struct admission *admission, const struct transcript_facts *facts)
{
    uint64_t prompt, output;

    if (!facts || !admission->whole_cost)
        return (struct charge){0};
    if (facts->prompt_tokens < 0 && facts->completion_tokens < 0 && !facts->chunks && !facts->whole)
        return (struct charge){0};
    prompt = facts->prompt_tokens >= 0 ? (uint64_t)facts->prompt_tokens : admission->estimate.prompt;
    output = facts->completion_tokens >= 0 ? (uint64_t)facts->completion_tokens
             : facts->whole && !facts->chunks ? admission->estimate.output
                                              : facts->chunks;
    return (struct charge){
        .tokens = prompt + output,
        .money = estimate_money(prompt, output, admission->price.input, admission->price.output),
    };
}

/* Nobody waits for a decision any more. */
static void stop_waiting(struct admission *admission)
{
    queue_leave(&admission->waiter);
    list_remove(&admission->waiting);
    if (admission->asking)
        shared_forget(&admission->shared);
}

static void settle_local(struct admission *admission, const struct charge *actual)
{
    reservation_settle(&admission->local, actual, now());
    reservation_settle(&admission->moved, actual, now());
}

void admission_settle(struct admission *admission, const struct transcript_facts *facts)
{
    struct charge actual;

    if (!admission)
        return;
    stop_waiting(admission);
    if (admission->taken) {
        actual = used(admission, facts);
        if (admission->flow->limits_shared)
            shared_settle(&admission->shared, &actual, now());
        else
            settle_local(admission, &actual);
        offer_places(admission);
    }
    alloc_free(admission);
}

/* The local share of the backend that was taken first is given back. */
static void leave_backend(struct admission *admission)
{
    struct scope *backend = admission->scopes[SCOPE_OF_BACKEND];
    struct queue *queue = admission_queue(admission->flow, backend);

    if (!backend || admission->flow->limits_shared)
        return;
    if (admission->moved.count)
        reservation_undo(&admission->moved, now());
    else
        reservation_leave(&admission->local, backend, now());
    admission->moved = (struct reservation){0};
    admission->scopes[SCOPE_OF_BACKEND] = NULL;
    if (queue)
        queue_offer(queue);
}

bool admission_move(struct admission *admission, const struct config_backend *backend)
{
    struct scope *scope = admission->flow->scopes.backends[backend->index];
    struct refusal refusal;

    if (admission->flow->limits_shared)
        return true;
    leave_backend(admission);
    if (scope && reservation_take(&admission->moved, &scope, 1, &admission->want, now(), &refusal))
        return false;
    admission->scopes[SCOPE_OF_BACKEND] = scope;
    return true;
}

void admission_lighten(struct admission *admission, bool whole_cost)
{
    if (!admission)
        return;
    admission->whole_cost = whole_cost;
    if (admission->taken)
        leave_backend(admission);
}

void admission_undo(struct admission *admission)
{
    if (!admission)
        return;
    stop_waiting(admission);
    if (admission->taken) {
        if (admission->flow->limits_shared)
            shared_undo(&admission->shared, now());
        else
            reservation_undo(&admission->local, now());
        offer_places(admission);
    }
    alloc_free(admission);
}

/* --- headers --- */

static bool tightest(const struct admission *admission, enum quota_limit limit, struct scope_line *ret)
{
    const struct shared_take *shared = &admission->shared;

    if (!admission->flow->limits_shared)
        return reservation_tightest(admission->scopes, SCOPE_KINDS, limit, now(), ret);
    *ret = limit == QUOTA_REQUESTS ? shared->requests : shared->tokens;
    return limit == QUOTA_REQUESTS ? shared->has_requests : shared->has_tokens;
}

void admission_note(struct exchange *x, const struct admission *admission)
{
    struct limits_told *told = &x->told;

    told->has_requests = tightest(admission, QUOTA_REQUESTS, &told->requests);
    told->has_tokens = tightest(admission, QUOTA_TOKENS, &told->tokens);
    told->degraded = admission->flow->limits_shared && admission->shared.degraded;
    told->waited_ms = admission->waited_ms;
    told->position = admission->position;
}
