/*
 * Scopes are found once: when the worker begins, and those of keys when their keyring is handed out. With a shared
 * Redis the decision is one command there, else one call here. Whoever gives a place back offers it to the queues in
 * front of its scopes.
 */
#include "flow/patience.h"

#include "base/alloc.h"
#include "base/clock.h"

struct admit_time admission_now(void)
{
    return (struct admit_time){clock_us(), clock_wall_s()};
}

/* --- which scopes --- */

/* The queue in front of X's model is as the model: by its number. */
static size_t model_number(const struct exchange *x)
{
    return x->route.model ? (size_t)(x->route.model - x->flow->config->models) : 0;
}

bool admission_scopes(const struct exchange *x, struct scope *scopes[SCOPE_KINDS])
{
    struct flow *flow = x->flow;
    struct keyring_place place = {NULL, KEYRING_NO_TEAM};
    bool any = false;

    if (x->key)
        place = keyring_place(x->keyring, x->key);
    scopes[SCOPE_OF_KEY] = place.scope;
    scopes[SCOPE_OF_TEAM] = place.team == KEYRING_NO_TEAM ? NULL : flow->scopes.teams[place.team];
    scopes[SCOPE_OF_MODEL] = x->route.model ? flow->scopes.models[model_number(x)] : NULL;
    scopes[SCOPE_OF_BACKEND] = NULL;
    scopes[SCOPE_OF_GATEWAY] = flow->scopes.gateway;
    for (unsigned i = 0; i < SCOPE_KINDS; i++)
        any = any || scopes[i];
    return any;
}

struct admission *admission_new(struct exchange *x, const struct config_backend *backend)
{
    struct flow *flow = x->flow;
    struct scope *scopes[SCOPE_KINDS];
    bool any = admission_scopes(x, scopes);
    struct admission *admission;

    /* One that is asked after a failure has limits as well. */
    for (uint32_t i = 0; backend && i < x->candidate_count; i++)
        any = any || flow->scopes.backends[x->candidates[i].backend->index];
    if (!any)
        return NULL;
    admission = alloc_bytes(sizeof(*admission));
    *admission = (struct admission){.flow = flow, .x = x};
    memcpy(admission->scopes, scopes, sizeof(scopes));
    admission_set_backend(admission, backend);
    list_init(&admission->waiting);
    if (scopes[SCOPE_OF_MODEL])
        admission->model_queue = flow->shared->model_queues[model_number(x)];
    if (x->route.model)
        admission->price = x->route.model->price;
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

/* Who takes turns with others: a key without a team is one of its own. */
void admission_introduce(struct admission *admission, struct exchange *x)
{
    const struct config_key *key = x->key;
    uint32_t team = key ? keyring_place(x->keyring, key).team : KEYRING_NO_TEAM;

    if (admission->weight)
        return;
    admission->weight = team == KEYRING_NO_TEAM ? 1 : x->flow->config->teams[team].weight;
    admission->has_key = key != NULL;
    if (!key)
        return;
    admission->team = arena_copy(&x->question->arena, key->team.size ? key->team : key->name);
    memcpy(admission->key, key->digest, sizeof(admission->key));
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
        shared_take(flow->limits_shared, admission->shared, admission->scopes, SCOPE_KINDS, &admission->want,
                    admission_now(), decided, admission);
        return !admission->asking;
    }
    admission->result = reservation_take(&admission->local, admission->scopes, SCOPE_KINDS, &admission->want,
                                         admission_now(), &admission->refusal);
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
    patience_leave(admission);
    if (admission->asking)
        shared_forget(admission->shared);
}

bool admission_is_known(const struct admission *admission)
{
    return !admission->has_key || authenticate_again(admission->flow, admission->key);
}

bool admission_is_asking(const struct admission *admission)
{
    return admission->asking || (admission->shared_moved && admission->shared_moved->asking);
}

/* ACTUAL NULL: it is undone. */
static void give_back(struct admission *admission, const struct charge *actual)
{
    struct shared_take *const shared[] = {admission->shared, admission->shared_moved};
    struct reservation *const local[] = {&admission->local, admission->moved};
    struct admit_time at = admission_now();

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

void admission_lighten(struct admission *admission, bool whole_cost)
{
    if (!admission)
        return;
    admission->whole_cost = whole_cost;
    if (admission->taken)
        admission_leave_backend(admission);
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

static void tell_shared(struct limits_told *told, const struct shared_take *take)
{
    told->has_requests = take->has_requests;
    told->requests = take->requests;
    told->has_tokens = take->has_tokens;
    told->tokens = take->tokens;
}

/* Nothing is taken of SCOPES. */
static void tell_standing(const struct flow *flow, struct limits_told *told, struct scope *const *scopes)
{
    struct admit_time now = admission_now();
    struct shared_take heard;

    if (flow->limits_shared) {
        shared_last_heard(flow->limits_shared, scopes, SCOPE_KINDS, now, &heard);
        tell_shared(told, &heard);
        return;
    }
    told->has_requests = reservation_tightest(scopes, SCOPE_KINDS, QUOTA_REQUESTS, now, &told->requests);
    told->has_tokens = reservation_tightest(scopes, SCOPE_KINDS, QUOTA_TOKENS, now, &told->tokens);
}

void admission_note(struct exchange *x, const struct admission *admission)
{
    struct limits_told *told = &x->told;

    if (admission->shared) {
        tell_shared(told, admission->shared);
        told->degraded = admission->shared->degraded;
    } else if (admission->tried) {
        told->has_requests = reservation_line(&admission->local, QUOTA_REQUESTS, &told->requests);
        told->has_tokens = reservation_line(&admission->local, QUOTA_TOKENS, &told->tokens);
    } else {
        tell_standing(x->flow, told, admission->scopes);
    }
    told->waited_ms = admission->waited_ms;
    told->position = admission->position;
    told->noted = true;
}

void admission_look(struct exchange *x)
{
    struct scope *scopes[SCOPE_KINDS];

    if (!x->told.noted && x->flow->limited && !x->flow->admin && (x->key || !x->flow->keyring) &&
        admission_scopes(x, scopes))
        tell_standing(x->flow, &x->told, scopes);
}
