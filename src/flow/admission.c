/*
 * Scopes are found once: when the worker begins, and those of keys when their keyring is handed out. With a shared
 * Redis the decision is one command there, else one call here. Whoever gives a place back offers it to the queues in
 * front of its scopes.
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"

static struct admit_time now(void)
{
    return (struct admit_time){clock_us(), clock_wall_s()};
}

/* --- which scopes --- */

struct admission *admission_new(struct exchange *x, const struct config_backend *backend)
{
    struct flow *flow = x->flow;
    const struct config_model *model = x->route.model;
    size_t number = model ? (size_t)(model - flow->config->models) : 0;
    struct keyring_place place = {NULL, KEYRING_NO_TEAM};
    struct scope *scopes[SCOPE_KINDS] = {
        [SCOPE_OF_MODEL] = model ? flow->scopes.models[number] : NULL,
        [SCOPE_OF_BACKEND] = backend ? flow->scopes.backends[backend->index] : NULL,
        [SCOPE_OF_GATEWAY] = flow->scopes.gateway,
    };
    struct admission *admission;
    bool any = false;

    if (x->key)
        place = keyring_place(x->keyring, x->key);
    scopes[SCOPE_OF_KEY] = place.scope;
    scopes[SCOPE_OF_TEAM] = place.team == KEYRING_NO_TEAM ? NULL : flow->scopes.teams[place.team];
    for (unsigned i = 0; i < SCOPE_KINDS; i++)
        any = any || scopes[i];
    if (!any)
        return NULL;
    admission = alloc_bytes(sizeof(*admission));
    *admission = (struct admission){.flow = flow, .x = x};
    memcpy(admission->scopes, scopes, sizeof(scopes));
    list_init(&admission->waiting);
    if (scopes[SCOPE_OF_BACKEND])
        admission->backend = backend;
    if (scopes[SCOPE_OF_MODEL])
        admission->model_queue = flow->shared->model_queues[number];
    if (model)
        admission->price = model->price;
    return admission;
}

void admission_set_backend(struct admission *admission, const struct config_backend *backend)
{
    struct scope *scope = backend ? admission->flow->scopes.backends[backend->index] : NULL;

    admission->scopes[SCOPE_OF_BACKEND] = scope;
    admission->backend = scope ? backend : NULL;
}

struct queue *admission_queue(const struct admission *admission, enum scope_kind kind)
{
    if (kind == SCOPE_OF_MODEL)
        return admission->model_queue;
    if (kind == SCOPE_OF_BACKEND && admission->backend)
        return admission->flow->shared->backend_queues[admission->backend->index];
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
        if (!admission->shared)
            admission->shared = alloc_bytes(sizeof(*admission->shared));
        shared_take(flow->limits_shared, admission->shared, admission->scopes, SCOPE_KINDS, &admission->want, now(),
                    decided, admission);
        return !admission->asking;
    }
    admission->result = reservation_take(&admission->local, admission->scopes, SCOPE_KINDS, &admission->want, now(),
                                         &admission->refusal);
    admission->taken = admission->result == 0;
    admission->tried = true;
    return true;
}

/* --- settling --- */

static void offer_places(struct admission *admission)
{
    if (admission->model_queue)
        queue_offer(admission->model_queue);
    if (admission->backend)
        patience_offer(admission->flow->patience, admission->backend);
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
        shared_forget(admission->shared);
}

/* ACTUAL NULL: it is undone. */
static void give_back(struct admission *admission, const struct charge *actual)
{
    struct shared_take *const shared[] = {admission->shared, admission->shared_moved};
    struct reservation *const local[] = {&admission->local, admission->moved};
    struct admit_time at = now();

    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        if (shared[i] && actual)
            shared_settle(shared[i], actual, at);
        else if (shared[i])
            shared_undo(shared[i], at);
        else if (local[i] && actual)
            reservation_settle(local[i], actual, at);
        else if (local[i])
            reservation_undo(local[i], at);
    }
}

static void admission_free(struct admission *admission)
{
    alloc_free(admission->shared);
    alloc_free(admission->shared_moved);
    alloc_free(admission->moved);
    alloc_free(admission);
}

void admission_settle(struct admission *admission, const struct transcript_facts *facts)
{
    struct charge actual;

    if (!admission)
        return;
    stop_waiting(admission);
    if (admission->taken) {
        actual = used(admission, facts);
        give_back(admission, &actual);
        offer_places(admission);
    }
    admission_free(admission);
}

/* What was taken of the backend is given back: of the first one a part of the whole, of another one by itself. */
static void leave_backend(struct admission *admission)
{
    const struct config_backend *backend = admission->backend;
    struct scope *scope = admission->scopes[SCOPE_OF_BACKEND];

    if (!backend)
        return;
    if (admission->shared_moved)
        shared_undo(admission->shared_moved, now());
    else if (admission->shared)
        shared_leave(admission->shared, scope, now());
    else if (admission->moved)
        reservation_undo(admission->moved, now());
    else
        reservation_leave(&admission->local, scope, now());
    admission->shared_moved = alloc_free(admission->shared_moved);
    admission->moved = alloc_free(admission->moved);
    admission_set_backend(admission, NULL);
    patience_offer(admission->flow->patience, backend);
}

bool admission_move(struct admission *admission, const struct config_backend *backend)
{
    struct scope *scope = admission->flow->scopes.backends[backend->index];
    struct refusal refusal;

    leave_backend(admission);
    if (!scope)
        return true;
    if (admission->shared) {
        if (!admission->flow->limits_shared)
            return true;
        admission->shared_moved = alloc_bytes(sizeof(*admission->shared_moved));
        shared_charge(admission->flow->limits_shared, admission->shared_moved, scope, &admission->want, now());
    } else {
        if (!admission->moved)
            admission->moved = ALLOC_NEW(struct reservation);
        if (reservation_take(admission->moved, &scope, 1, &admission->want, now(), &refusal))
            return false;
    }
    admission_set_backend(admission, backend);
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
        give_back(admission, NULL);
        offer_places(admission);
    }
    admission_free(admission);
}

/* --- headers --- */

static bool tightest(const struct admission *admission, enum quota_limit limit, struct scope_line *ret)
{
    const struct shared_take *shared = admission->shared;

    if (shared) {
        *ret = limit == QUOTA_REQUESTS ? shared->requests : shared->tokens;
        return limit == QUOTA_REQUESTS ? shared->has_requests : shared->has_tokens;
    }
    if (admission->tried)
        return reservation_line(&admission->local, limit, ret);
    return !admission->flow->limits_shared &&
           reservation_tightest(admission->scopes, SCOPE_KINDS, limit, now(), ret);
}

void admission_note(struct exchange *x, const struct admission *admission)
{
    struct limits_told *told = &x->told;

    told->has_requests = tightest(admission, QUOTA_REQUESTS, &told->requests);
    told->has_tokens = tightest(admission, QUOTA_TOKENS, &told->tokens);
    told->degraded = admission->shared && admission->shared->degraded;
    told->waited_ms = admission->waited_ms;
    told->position = admission->position;
}
