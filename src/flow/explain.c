/*
 * The dry run: a question walks as any other until it would begin to take something. Here it is told what would become
 * of it, and the walk ends. No question is asked of anyone, nothing is taken, counted, remembered or touched in the
 * memory; only the shared limits, where Redis keeps them, are read there.
 */
#include "flow/explain.h"

#include "base/alloc.h"
#include "base/clock.h"

struct explanation *explanation_free(struct explanation *explanation)
{
    if (!explanation)
        return NULL;
    shared_peek_forget(&explanation->peek);
    buffer_deinit(&explanation->parts);
    return alloc_free(explanation);
}

/* --- the door --- */

static enum verdict refuse_door(struct exchange *x)
{
    struct failure failure = {
        .kind = FAIL_INVALID,
        .message = BYTES("'path' names no chat of this gateway: it is /v1/chat/completions, /v1/chat/logits, or one of "
                         "the two under /api/inference/v1."),
        .param = BYTES("path"),
    };

    return exchange_refuse(x, &failure);
}

enum verdict explain_door(struct exchange *x)
{
    const struct json_doc *doc = &x->question->doc;
    const struct endpoint *door;
    struct bytes path;

    x->explain = true;
    if (!query_value(x->query, BYTES("path"), &x->arena, &path))
        path = json_member(doc, json_root(doc), BYTES("filter_vocabulary")) ? BYTES("/v1/chat/logits")
                                                                            : BYTES("/v1/chat/completions");
    door = endpoint_find(path, false);
    if (!door || door->kind != ENDPOINT_CHAT)
        return refuse_door(x);
    x->endpoint = door;
    x->dialect = door->dialect;
    return STEP_NEXT;
}

/* --- what the memory would say --- */

static void look_into_memory(struct explanation *explanation)
{
    struct exchange *x = explanation->x;
    struct key_parts parts = {.out = &explanation->parts, .digest = x->flow->plain};

    explanation->found = MEMO_NONE;
    explanation->reason = memory_key(x, &parts);
    if (!explanation->reason)
        explanation->found = memory_look(x);
}

/* --- what would be charged --- */

static void reckon(struct explanation *explanation)
{
    const struct exchange *x = explanation->x;
    const struct config_admission *policy = &x->flow->config->admission;
    const struct config_model *model = x->route.model;
    static const struct config_price free_of_charge;
    const struct config_price *price = model ? &model->price : &free_of_charge;
    struct estimate *estimate = &explanation->estimate;

    explanation->whole_cost = explanation->found == MEMO_HIT    ? policy->charge_hits
                              : explanation->found == MEMO_JOIN ? policy->charge_joined
                                                                : true;
    explanation->charge = (struct charge){.requests = 1, .placeless = explanation->found != MEMO_NONE};
    if (!explanation->whole_cost)
        return;
    *estimate = estimate_of(&x->question->request, model);
    explanation->charge.tokens = estimate->prompt + estimate->output;
    explanation->charge.money = estimate_money(estimate->prompt, estimate->output, price->input, price->output);
}

bool explain_passes(const struct scope_line *line, const struct charge *charge)
{
    switch (line->limit) {
    case QUOTA_CONCURRENT:
        return charge->placeless || line->remaining > 0;
    case QUOTA_REQUESTS:
        return line->remaining >= charge->requests;
    case QUOTA_TOKENS:      /* more than the burst passes where all of it is there */
        return charge->tokens == 0 || line->used == 0 || line->remaining >= charge->tokens;
    case QUOTA_TOKENS_DAY:
    case QUOTA_TOKENS_MONTH:
        return charge->tokens == 0 || line->remaining >= charge->tokens;
    default:
        return charge->money == 0 || line->remaining >= charge->money;
    }
}

/* --- who would be asked --- */

static bool has_room(struct scope *scope, const struct charge *charge)
{
    struct scope_line lines[QUOTA_LIMITS];
    unsigned count = scope ? scope_lines(scope, (struct admit_time){clock_us(), clock_wall_s()}, lines) : 0;

    for (unsigned i = 0; i < count; i++)
        if (!explain_passes(&lines[i], charge))
            return false;
    return true;
}

/* A backend whose own limits are used up is left for the next one, as limit.c does it. */
static void pass_by_full_ones(struct explanation *explanation)
{
    struct exchange *x = explanation->x;

    for (uint32_t tried = 1; tried < x->candidate_count; tried++) {
        struct flight_candidate first = x->candidates[0];

        if (has_room(x->admission->scopes[SCOPE_OF_BACKEND], &explanation->charge))
            return;
        if (!limit_may_pass_to(x, tried))
            continue;
        x->candidates[0] = x->candidates[tried];
        x->candidates[tried] = first;
        admission_set_backend(x->admission, x->candidates[0].backend);
    }
}

/* X's scopes, and its candidates in the order of asking. */
static void choose_order(struct explanation *explanation)
{
    struct exchange *x = explanation->x;
    bool limited = x->flow->limited;
    uint32_t at = 0;

    /* As if it had been looked for. */
    x->memory.outcome = explanation->found == MEMO_HIT    ? MEMORY_HIT
                        : explanation->found == MEMO_JOIN ? MEMORY_JOIN
                                                          : MEMORY_NONE;
    if (limited)
        limit_begin(x);
    x->memory.outcome = MEMORY_NONE;
    if (x->admission && !explanation->charge.placeless && !x->flow->limits_shared)
        pass_by_full_ones(explanation);
    explanation->count = x->candidate_count;
    explanation->order = arena_alloc(&x->arena, x->candidate_count * sizeof(*explanation->order));
    explanation->asked = choose_look(x->flow, x->candidates, x->candidate_count, explanation->order);
    /* The one whose place would be taken goes first, if it is up. */
    while (x->admission && at < explanation->asked && explanation->order[at].backend != x->candidates[0].backend)
        at++;
    if (x->admission && at > 0 && at < explanation->asked) {
        memmove(explanation->order + 1, explanation->order, at * sizeof(*explanation->order));
        explanation->order[0] = x->candidates[0];
    }
    at = explanation->asked;
    for (uint32_t i = 0; i < x->candidate_count; i++)
        if (health_look(x->flow->health, x->candidates[i].backend->index, clock_ms()) == HEALTH_DOWN &&
            at < explanation->count)
            explanation->order[at++] = x->candidates[i];
    explanation->count = at;
}

/* --- how the limits stand --- */

static void on_looked(void *data)
{
    struct explanation *explanation = data;

    explanation->asking = false;
    exchange_resume(explanation->x);
}

static void look_at_limits(struct explanation *explanation)
{
    struct exchange *x = explanation->x;
    struct shared *shared = x->flow->limits_shared;
    struct shared_peek *peek = &explanation->peek;
    struct admit_time now = {clock_us(), clock_wall_s()};

    if (!x->admission)
        return;
    if (shared) {
        explanation->asking = true;
        shared_peek(shared, peek, x->admission->scopes, SCOPE_KINDS, on_looked, explanation);
        return;
    }
    peek->count = SCOPE_KINDS;
    for (unsigned i = 0; i < SCOPE_KINDS; i++) {
        peek->scopes[i] = x->admission->scopes[i];
        if (peek->scopes[i])
            peek->line_counts[i] = scope_lines(peek->scopes[i], now, peek->lines[i]);
    }
}

/* --- the step --- */

static void begin(struct exchange *x)
{
    struct explanation *explanation = ALLOC_NEW(struct explanation);

    x->explanation = explanation;
    explanation->x = x;
    buffer_init(&explanation->parts);
    look_into_memory(explanation);
    reckon(explanation);
    choose_order(explanation);
    look_at_limits(explanation);
}

static enum verdict tell(struct exchange *x)
{
    struct buffer body;

    admission_settle(x->admission, NULL);
    x->admission = NULL;
    buffer_init(&body);
    explain_write(x->explanation, &body);
    deliver_page(x, 200, "application/json", buffer_bytes(&body));
    buffer_deinit(&body);
    return STEP_DONE;
}

enum verdict explain_step(struct exchange *x)
{
    if (!x->explain)
        return STEP_NEXT;
    if (x->endpoint->kind != ENDPOINT_CHAT)
        return exchange_refuse_text(x, FAIL_INVALID,
                                    "This call is passed on as it is: there is nothing to explain. Leave out "
                                    "x-embergate-explain.");
    if (!x->explanation)
        begin(x);
    return x->explanation->asking ? STEP_WAIT : tell(x);
}
