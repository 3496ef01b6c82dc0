/*
 * How much may this one ask? All scopes of the request decide together. A place among the concurrent ones may be
 * waited for, in the order of the queue in front of its scope; whoever streams is told meanwhile that it is alive.
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "flow/deliver_frame.h"
#include "flow/siblings.h"

/* How often those who wait are looked at: for the end of their patience, and their clients'. */
#define LOOK_MS 100

struct patience {
    struct flow *flow;
    struct list waiting;
    uv_timer_t timer;
    struct siblings *siblings;
};

/* --- refusals --- */

static struct failure refusal_words(struct exchange *x, const struct refusal *refusal)
{
    static const char *const what[QUOTA_LIMITS] = {
        [QUOTA_REQUESTS] = "requests per minute", [QUOTA_TOKENS] = "tokens per minute",
        [QUOTA_CONCURRENT] = "requests at one time", [QUOTA_TOKENS_DAY] = "tokens per day",
        [QUOTA_TOKENS_MONTH] = "tokens per month", [QUOTA_MONEY_DAY] = "money per day",
        [QUOTA_MONEY_MONTH] = "money per month",
    };
    bool budget = refusal->limit >= QUOTA_TOKENS_DAY || refusal->never;
    struct bytes name = scope_name(refusal->scope);
    struct failure failure = failure_make(
        &x->arena, budget ? FAIL_NO_BUDGET : FAIL_RATE_LIMITED, "%s for the %s%s%.*s%s on %s.%s",
        budget ? "The budget is used up" : "Rate limit reached", scope_kind_name(scope_kind(refusal->scope)),
        name.size ? " '" : "", BYTES_ARG(name), name.size ? "'" : "", what[refusal->limit],
        budget ? " Ask whoever runs this gateway for more, or wait until it begins anew." : " Please try again later.");

    failure.type = budget ? BYTES_NONE : refusal->limit == QUOTA_TOKENS ? BYTES("tokens") : BYTES("requests");
    if (refusal->never)
        return failure;
    failure.retry_after_ms = refusal->retry_after_ms ? (uint32_t)(refusal->retry_after_ms < 86400000
                                                                      ? refusal->retry_after_ms
                                                                      : 86400000)
                                                     : 1000;
    return failure;
}

static enum verdict refuse(struct exchange *x)
{
    struct admission *admission = x->admission;
    struct failure failure = refusal_words(x, &admission->refusal);

    x->memory.outcome = MEMORY_NONE;
    METRICS_COUNT(x->flow->metrics, limits_refused_total);
    limit_note_wait(x);
    admission_settle(admission, NULL);
    x->admission = NULL;
    return exchange_refuse(x, &failure);
}

void limit_note_wait(struct exchange *x)
{
    if (!x->admission)
        return;
    if (x->admission->waiter.queue)
        x->admission->waited_ms = clock_ms() - x->admission->since_ms;
    admission_note(x, x->admission);
}

static enum verdict refuse_waiting(struct exchange *x, const char *message)
{
    struct failure failure = {
        .kind = FAIL_RATE_LIMITED, .message = bytes_of(message), .retry_after_ms = 1000, .type = BYTES("requests")};

    METRICS_COUNT(x->flow->metrics, limits_refused_total);
    limit_note_wait(x);
    admission_undo(x->admission);
    x->admission = NULL;
    return exchange_refuse(x, &failure);
}

/* --- waiting --- */

static void on_turn(void *data)
{
    struct exchange *x = data;

    x->admission->has_turn = true;
    exchange_resume(x);
}

static uint32_t weight_of(const struct exchange *x)
{
    uint32_t team = x->key ? keyring_place(x->keyring, x->key).team : KEYRING_NO_TEAM;

    return team == KEYRING_NO_TEAM ? 1 : x->flow->config->teams[team].weight;
}

static void look(uv_timer_t *timer);

static enum verdict wait_in(struct exchange *x, struct queue *queue)
{
    struct admission *admission = x->admission;

    x->backend_tried = 0;
    waiter_init(&admission->waiter, &x->flow->mailbox, on_turn, x);
    if (queue_join(queue, &admission->waiter, x->key ? x->key->team : BYTES_NONE, weight_of(x), 1, clock_ms()))
        return refuse_waiting(x, "So many requests are waiting already that no more can. Please try again later.");
    if (admission->position) {
        /* It moved from one queue to another: its patience is the same. */
        admission->waiter.since_ms = admission->since_ms;
        if (admission->until_ms < admission->waiter.until_ms)
            admission->waiter.until_ms = admission->until_ms;
    } else {
        METRICS_COUNT(x->flow->metrics, queued_total);
        admission->since_ms = admission->waiter.since_ms;
        admission->until_ms = admission->waiter.until_ms;
    }
    if (!admission->position)
        admission->position = queue_position(&admission->waiter) + 1;
    list_append(&x->flow->patience->waiting, &admission->waiting);
    if (!uv_is_active((uv_handle_t *)&x->flow->patience->timer))
        uv_timer_start(&x->flow->patience->timer, look, LOOK_MS, LOOK_MS);
    return STEP_WAIT;
}

/* A queue that somebody waits in already: nobody overtakes. */
static struct queue *queue_ahead(struct exchange *x)
{
    for (int kind = 0; kind < SCOPE_KINDS; kind++) {
        struct queue *queue = admission_queue(x->admission, (enum scope_kind)kind);

        if (queue && queue_length(queue))
            return queue;
    }
    return NULL;
}

static enum verdict let_in(struct exchange *x)
{
    struct admission *admission = x->admission;

    limit_note_wait(x);
    if (admission->waiter.queue) {
        queue_take(&admission->waiter);
        list_remove(&admission->waiting);
    }
    admission->has_turn = false;
    return STEP_NEXT;
}

/* The backend's places are taken: is there another one that can? Those before it have been tried. */
static bool next_backend(struct exchange *x)
{
    struct flight_candidate first;

    if (scope_kind(x->admission->refusal.scope) != SCOPE_OF_BACKEND || x->backend_tried + 1 >= x->candidate_count)
        return false;
    x->backend_tried++;
    first = x->candidates[0];
    x->candidates[0] = x->candidates[x->backend_tried];
    x->candidates[x->backend_tried] = first;
    admission_set_backend(x->admission, x->candidates[0].backend);
    return true;
}

static struct queue *candidate_queue(const struct exchange *x, uint32_t candidate)
{
    return x->flow->shared->backend_queues[x->candidates[candidate].backend->index];
}

/* The first one that may be waited in. */
static struct queue *some_backend_queue(const struct exchange *x)
{
    for (uint32_t i = 0; i < x->candidate_count; i++)
        if (candidate_queue(x, i))
            return candidate_queue(x, i);
    return NULL;
}

static enum verdict settle_decision(struct exchange *x)
{
    struct admission *admission = x->admission;
    struct queue *queue;

    if (admission->result == 0)
        return let_in(x);
    queue = admission_queue(admission, scope_kind(admission->refusal.scope));
    if (next_backend(x))
        return limit_step(x);
    if (admission->refusal.limit != QUOTA_CONCURRENT)
        return refuse(x);
    if (!queue && scope_kind(admission->refusal.scope) == SCOPE_OF_BACKEND)
        queue = some_backend_queue(x);
    if (!admission->waiter.queue)
        return queue ? wait_in(x, queue) : refuse(x);
    admission->has_turn = false;
    x->backend_tried = 0;
    /* Whoever waits for one of several backends keeps its place in front of the one it began at. */
    if (!queue || admission->waiter.queue == queue || scope_kind(admission->refusal.scope) == SCOPE_OF_BACKEND) {
        queue_stay(&admission->waiter);
        return STEP_WAIT;
    }
    queue_leave(&admission->waiter);
    list_remove(&admission->waiting);
    return wait_in(x, queue);
}

/* --- the step --- */

/* The healthy ones first, so that the one whose place is taken is the one that will be asked. */
static void order_candidates(struct exchange *x)
{
    static const enum health_state order[] = {HEALTH_GOOD, HEALTH_RESTING, HEALTH_DOWN};
    struct flight_candidate *sorted = arena_alloc(&x->arena, (x->candidate_count + 1) * sizeof(*sorted));
    uint64_t now = clock_ms();
    uint32_t count = 0;

    for (size_t state = 0; state < ARRAY_SIZE(order); state++)
        for (uint32_t i = 0; i < x->candidate_count; i++)
            if (health_look(x->flow->health, x->candidates[i].backend->index, now) == order[state])
                sorted[count++] = x->candidates[i];
    x->candidates = sorted;
    for (uint32_t i = 0; i < count; i++) {
        struct queue *queue = candidate_queue(x, i);

        if (queue && queue_length(queue))
            continue;
        sorted[count] = sorted[0];      /* nobody waits for this one: it is tried first */
        sorted[0] = sorted[i];
        sorted[i] = sorted[count];
        break;
    }
}

void limit_begin(struct exchange *x)
{
    bool remembered = x->memory.outcome == MEMORY_HIT || x->memory.outcome == MEMORY_JOIN;
    const struct config_admission *policy = &x->flow->config->admission;
    const struct config_model *model = x->route.model;
    struct admission *admission;

    x->backend_tried = 0;
    if (!remembered && x->candidate_count > 1)
        order_candidates(x);
    admission = admission_new(x, remembered ? NULL : x->candidates[0].backend);
    x->admission = admission;
    if (!admission)
        return;
    admission->whole_cost = x->memory.outcome == MEMORY_HIT    ? policy->charge_hits
                            : x->memory.outcome == MEMORY_JOIN ? policy->charge_joined
                                                               : true;
    admission->want.requests = 1;
    admission->want.placeless = remembered;
    if (admission->whole_cost && x->endpoint->kind == ENDPOINT_CHAT && x->question->request.doc) {
        admission->estimate =
            estimate_of(&x->question->request, model ? model->default_output : CONFIG_DEFAULT_OUTPUT);
        admission->want.tokens = admission->estimate.prompt + admission->estimate.output;
        admission->want.money = estimate_money(admission->estimate.prompt, admission->estimate.output,
                                               admission->price.input, admission->price.output);
    }
}

enum verdict limit_step(struct exchange *x)
{
    struct queue *ahead;

    if (!x->flow->limited)
        return STEP_NEXT;
    if (!x->limits_begun) {
        x->limits_begun = true;
        limit_begin(x);
        if (!x->admission)
            return STEP_NEXT;
        ahead = x->admission->want.placeless ? NULL : queue_ahead(x);
        if (ahead)
            return wait_in(x, ahead);
    } else if (x->patience_over) {
        return refuse_waiting(x, "No place came free in time. Please try again later.");
    } else if (x->admission->asking || (x->admission->waiter.queue && !x->admission->has_turn)) {
        return STEP_WAIT;
    } else if (x->limits_asked) {
        x->limits_asked = false;
        return settle_decision(x);
    }
    if (admission_try(x->admission))
        return settle_decision(x);
    x->limits_asked = true;
    return STEP_WAIT;
}

/* --- patience --- */

static void keep_alive(struct exchange *x, uint64_t now)
{
    if (!x->question->request.stream || x->endpoint->operation != CHAT_COMPLETION || x->choked || !x->conn)
        return;
    if (!x->last_write_ms)
        x->last_write_ms = x->admission->waiter.since_ms;
    if (now - x->last_write_ms < x->flow->config->keepalive_ms)
        return;
    METRICS_COUNT(x->flow->metrics, keepalives_total);
    x->told.position = x->admission->position;
    x->told.waited_ms = now - x->admission->since_ms;
    deliver_keepalive(x);
}

/* The queues that have had an offer in this look. */
struct offered {
    struct queue *list[32];
    unsigned count;
};

/* Places come free that nobody here sees: other gateways', and those of another scope that whoever is in turn needs. */
static void offer_once(struct offered *offered, struct queue *queue)
{
    for (unsigned i = 0; i < offered->count; i++)
        if (offered->list[i] == queue)
            return;
    if (offered->count < ARRAY_SIZE(offered->list))
        offered->list[offered->count++] = queue;
    queue_offer(queue);
}

static void look(uv_timer_t *timer)
{
    struct patience *patience = timer->data;
    uint64_t now = clock_ms();
    struct offered offered = {0};

    if (list_empty(&patience->waiting))
        uv_timer_stop(timer);
    LIST_EACH(&patience->waiting, node) {
        struct admission *admission = LIST_ENTRY(node, struct admission, waiting);
        struct exchange *x = admission->x;

        if (now >= admission->waiter.until_ms && !admission->asking) {
            x->patience_over = true;
            exchange_resume(x);
            continue;
        }
        keep_alive(x, now);
        offer_once(&offered, admission->waiter.queue);
    }
}

void patience_offer(struct patience *patience, const struct config_backend *backend)
{
    struct queue *queue = patience->flow->shared->backend_queues[backend->index];

    if (queue && queue_length(queue))
        queue_offer(queue);
    else
        siblings_offer(patience->siblings, backend->index);
}

struct patience *patience_new(struct flow *flow)
{
    struct patience *patience = ALLOC_NEW(struct patience);

    patience->flow = flow;
    patience->siblings = siblings_new(flow->config, flow->shared->backend_queues);
    list_init(&patience->waiting);
    uv_timer_init(flow->loop, &patience->timer);
    patience->timer.data = patience;
    return patience;
}

void patience_close(struct patience *patience, uv_close_cb closed)
{
    patience->timer.data = patience->flow;
    uv_close((uv_handle_t *)&patience->timer, closed);
}

struct patience *patience_free(struct patience *patience)
{
    if (patience)
        siblings_free(patience->siblings);
    return alloc_free(patience);
}
