/*
 * How much may this one ask? All scopes of the request decide together. A place among the concurrent ones may be
 * waited for, in the order of the queue in front of its scope (patience.c).
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "flow/patience.h"

/* --- refusals --- */

static struct failure refusal_words(struct exchange *x, const struct refusal *refusal)
{
    static const char *const what[QUOTA_LIMITS] = {
        [QUOTA_REQUESTS] = "requests per minute", [QUOTA_TOKENS] = "tokens per minute",
        [QUOTA_CONCURRENT] = "requests at one time", [QUOTA_TOKENS_DAY] = "tokens per day",
        [QUOTA_TOKENS_MONTH] = "tokens per month", [QUOTA_MONEY_DAY] = "money per day",
        [QUOTA_MONEY_MONTH] = "money per month",
    };
    static const char *const words[][2] = {
        {"Rate limit reached", " Please try again later."},
        {"What is left of the budget does not cover this request",
         " Ask for a shorter answer (max_tokens), ask whoever runs this gateway, or wait until it begins anew."},
        {"This request is larger than the limit ever allows",
         " Ask for a shorter answer (max_tokens), send less, or ask whoever runs this gateway for more."},
    };
    bool budget = refusal->limit >= QUOTA_TOKENS_DAY || refusal->never;
    const char *const *said = words[refusal->never ? 2 : budget ? 1 : 0];
    struct bytes name = scope_name(refusal->scope);
    struct failure failure = failure_make(
        &x->arena, budget ? FAIL_NO_BUDGET : FAIL_RATE_LIMITED, "%s for the %s%s%.*s%s on %s.%s", said[0],
        scope_kind_name(scope_kind(refusal->scope)), name.size ? " '" : "", BYTES_ARG(name), name.size ? "'" : "",
        what[refusal->limit], said[1]);

    failure.type = budget ? BYTES_NONE : refusal->limit == QUOTA_TOKENS ? BYTES("tokens") : BYTES("requests");
    if (refusal->never)
        return failure;
    failure.retry_after_ms = (uint32_t)(refusal->retry_after_ms < UINT32_MAX ? refusal->retry_after_ms : UINT32_MAX);
    if (failure.retry_after_ms == 0)
        failure.retry_after_ms = 1000;
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

static enum verdict wait_in(struct exchange *x, struct queue *queue)
{
    x->backend_tried = 0;
    admission_introduce(x->admission, x);
    if (!patience_wait(x->admission, queue, on_turn, x))
        return refuse_waiting(x, "So many requests are waiting already that no more can. Please try again later.");
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

/* Its key was taken away while it waited. */
static enum verdict turn_away(struct exchange *x)
{
    admission_undo(x->admission);
    x->admission = NULL;
    return exchange_refuse_text(x, FAIL_NO_KEY,
                                "Your API key became invalid while the request waited. Ask whoever runs this gateway.");
}

static enum verdict let_in(struct exchange *x)
{
    struct admission *admission = x->admission;

    limit_note_wait(x);
    patience_take(admission);
    admission->has_turn = false;
    return admission->position && !admission_is_known(admission) ? turn_away(x) : STEP_NEXT;
}

static struct queue *candidate_queue(const struct exchange *x, uint32_t candidate)
{
    return x->flow->shared->backend_queues[x->candidates[candidate].backend->index];
}

/* The first of COUNT candidates that may be waited for. */
static struct queue *some_queue(const struct exchange *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (candidate_queue(x, i))
            return candidate_queue(x, i);
    return NULL;
}

bool limit_may_pass_to(const struct exchange *x, uint32_t candidate)
{
    switch (health_look(x->flow->health, x->candidates[candidate].backend->index, clock_ms())) {
    case HEALTH_GOOD:
        return true;
    case HEALTH_RESTING:
        return !some_queue(x, candidate);
    case HEALTH_DOWN:
        break;
    }
    return false;
}

/* The backend's places are taken: is there another one that can? Those before it have been tried. */
static bool next_backend(struct exchange *x)
{
    struct flight_candidate first = x->candidates[0];

    if (scope_kind(x->admission->refusal.scope) != SCOPE_OF_BACKEND)
        return false;
    while (x->backend_tried + 1 < x->candidate_count) {
        x->backend_tried++;
        if (!limit_may_pass_to(x, x->backend_tried))
            continue;
        x->candidates[0] = x->candidates[x->backend_tried];
        x->candidates[x->backend_tried] = first;
        admission_set_backend(x->admission, x->candidates[0].backend);
        return true;
    }
    return false;
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
        queue = some_queue(x, x->candidate_count);
    if (!admission->waiter.queue)
        return queue ? wait_in(x, queue) : refuse(x);
    admission->has_turn = false;
    x->backend_tried = 0;
    /* Whoever waits for one of several backends keeps its place in front of the one it began at. */
    if (!queue || admission->waiter.queue == queue || scope_kind(admission->refusal.scope) == SCOPE_OF_BACKEND) {
        queue_stay(&admission->waiter);
        return STEP_WAIT;
    }
    patience_leave(admission);
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

        if ((queue && queue_length(queue)) || (i > 0 && !limit_may_pass_to(x, i)))
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
    if (x->candidate_count > 1 && !remembered)
        admission_introduce(admission, x); /* it may wait when X has gone */
    admission->want.requests = 1;
    admission->want.placeless = remembered;
    if (admission->whole_cost && x->endpoint->kind == ENDPOINT_CHAT && x->question->request.doc) {
        admission->estimate = estimate_of(&x->question->request, x->route.model);
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
