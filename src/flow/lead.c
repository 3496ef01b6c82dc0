/*
 * Whoever leads has the answer made: first it is looked for on the second shelf, if there is one, then a flight sets
 * off. A lead belongs to itself, as a flight does: the exchange that began it may leave, and whoever reads its
 * transcript is served; when nobody reads it any more, it ends.
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "chat/answer_text.h"

struct lead {
    struct flow *flow;
    struct list link;
    struct question *question;
    struct transcript *transcript;
    struct flight_candidate *candidates;
    uint32_t count;
    struct flight_plan plan;
    struct memory memory;
    struct second_look look;
};

static struct lead *lead_free(struct lead *lead)
{
    admission_settle(lead->plan.bill, NULL);
    second_look_away(&lead->look);
    list_remove(&lead->link);
    transcript_unref(lead->transcript);
    question_unref(lead->question);
    alloc_free(lead->candidates);
    return alloc_free(lead);
}

/* --- setting off --- */

/* Nobody can be asked. */
static void fail_down(struct flow *flow, const struct flight_plan *plan)
{
    struct failure failure = failure_make(&plan->question->arena, FAIL_OVERLOADED,
                                          "No backend of '%.*s' can be reached right now.",
                                          BYTES_ARG(plan->question->request.model));

    failure.retry_after_ms = 1000;
    METRICS_COUNT(flow->metrics, requests_refused_total);
    admission_settle(plan->bill, NULL);
    transcript_fail(plan->transcript, &failure);
}

/* The place of PLAN's first candidate is taken already: if it is among the COUNT that are HEALTHY it goes first. */
static bool put_paid_first(const struct flight_plan *plan, struct flight_candidate *healthy, uint32_t count)
{
    struct flight_candidate first;

    for (uint32_t i = 0; i < count; i++) {
        if (healthy[i].backend != plan->candidates[0].backend)
            continue;
        first = healthy[i];
        memmove(healthy + 1, healthy, i * sizeof(*healthy));
        healthy[0] = first;
        return true;
    }
    return false;
}

/* PLAN's candidates are all there are: those worth asking now are asked. */
static void set_off(struct flow *flow, const struct flight_plan *plan)
{
    struct flight_candidate *healthy = alloc_bytes(plan->count * sizeof(*healthy));
    struct flight_plan ask = *plan;

    ask.candidates = healthy;
    ask.count = choose_healthy(flow, plan->candidates, plan->count, healthy);
    ask.paid = plan->bill && put_paid_first(plan, healthy, ask.count);
    if (ask.count) {
        health_earn(flow->health);
        flight_start(&flow->flights, &ask);
    } else {
        fail_down(flow, plan);
    }
    alloc_free(healthy);
}

/* --- looking first --- */

static void recall(struct lead *lead, const struct stored *found, uint32_t age_ms)
{
    struct transcript_facts facts = found->facts;
    struct stored rest = *found;
    struct chat_event event;

    facts.recalled = true;
    facts.made_ms = clock_ms() - age_ms;
    transcript_tell(lead->transcript, &facts);
    admission_lighten(lead->plan.bill, lead->flow->config->admission.charge_hits);
    admission_settle(lead->plan.bill, &facts);
    lead->plan.bill = NULL;
    memo_count(lead->memory.model, MEMO_COUNT_recalled);
    while (stored_next(&rest, &event))
        transcript_append(lead->transcript, &event);
    transcript_finish(lead->transcript);
}

/* Without a secret anybody who can write there may have made it: it must at least be an answer to this question. */
static bool can_be_told(struct lead *lead, const struct stored *found)
{
    const struct chat_request *request = &lead->question->request;
    struct stored rest = *found;
    struct answer_text text;
    struct chat_event event;
    bool good = true;

    if (lead->flow->config->cache.secret.size)
        return true;
    answer_text_init(&text);
    while (good && stored_next(&rest, &event)) {
        if (request->operation == CHAT_LOGITS)
            good = event.kind == EVENT_LOGITS;
        else
            good = request->stream ? event.kind <= EVENT_USAGE : event.kind == EVENT_BODY;
        answer_text_add(&text, &event, &lead->flow->doc);
    }
    good = good && answer_text_whole(&text);
    answer_text_deinit(&text);
    return good;
}

static bool is_good(struct lead *lead, const struct stored *found, uint32_t age_ms)
{
    return found && age_ms <= (uint64_t)lead->memory.control.max_age_s * 1000 &&
           !memo_is_outdated(lead->flow->memo, lead->memory.model, &found->facts) && can_be_told(lead, found);
}

static void set_off_for(struct lead *lead)
{
    struct flight_plan plan = lead->plan;

    lead->plan.bill = NULL;
    set_off(lead->flow, &plan);
}

static void looked(void *data, const struct stored *found, uint32_t age_ms)
{
    struct lead *lead = data;
    struct failure failure = {
        .kind = FAIL_NOT_CACHED,
        .message = BYTES("This answer is not remembered, and the request said Cache-Control: only-if-cached."),
    };

    transcript_set_writer(lead->transcript, &(struct transcript_writer){0});
    if (is_good(lead, found, age_ms))
        recall(lead, found, age_ms);
    else if (lead->memory.control.only_if_cached)
        transcript_fail(lead->transcript, &failure);
    else
        set_off_for(lead);
    lead_free(lead);
}

static void abandoned(void *data)
{
    lead_free(data);
}

/* False: there is nowhere to look. */
static bool look_first(struct exchange *x, const struct flight_plan *plan)
{
    struct flow *flow = x->flow;
    struct lead *lead;

    if (x->memory.outcome != MEMORY_MISS || !flow->second || x->memory.control.no_cache ||
        x->memory.control.max_age_s == 0)
        return false;
    lead = ALLOC_NEW(struct lead);
    lead->flow = flow;
    list_append(&flow->leads, &lead->link);
    lead->question = question_ref(plan->question);
    lead->transcript = transcript_ref(plan->transcript);
    lead->memory = x->memory;
    lead->candidates = memcpy(alloc_bytes(plan->count * sizeof(*lead->candidates)), plan->candidates,
                              plan->count * sizeof(*lead->candidates));
    lead->plan = *plan;
    lead->plan.candidates = lead->candidates;
    transcript_set_writer(lead->transcript, &(struct transcript_writer){.abandoned = abandoned, .data = lead});
    if (second_look(flow->second, &lead->look, lead->memory.key, lead->memory.scope, lead->memory.model,
                    lead->memory.policy->ttl_ms, looked, lead))
        return true;
    transcript_set_writer(lead->transcript, &(struct transcript_writer){0});
    lead->plan.bill = NULL;
    lead_free(lead);
    return false;
}

void leads_cancel_all(struct flow *flow, const struct failure *failure)
{
    LIST_EACH(&flow->leads, node) {
        struct lead *lead = LIST_ENTRY(node, struct lead, link);

        transcript_set_writer(lead->transcript, &(struct transcript_writer){0});
        transcript_fail(lead->transcript, failure);
        lead_free(lead);
    }
}

/* --- the step --- */

/* Nobody else will read this one. */
static void alone(struct exchange *x)
{
    const struct config_limits *limits = &x->flow->config->limits;

    x->transcript = transcript_new(limits->high_water, limits->low_water);
    reader_init(&x->reader, x->transcript, NULL, exchange_wake, x);
}

static void plan_pass(struct exchange *x, struct flight_plan *plan)
{
    struct arena *arena = &x->question->arena;

    plan->pass_get = x->verb == HTTP_GET_;
    plan->pass_path = x->query.size
                          ? arena_printf(arena, "%.*s?%.*s", BYTES_ARG(x->path), BYTES_ARG(x->query))
                          : arena_copy(arena, x->path);
}

struct bytes lead_key(struct exchange *x)
{
    for (uint32_t i = 0; i < x->candidate_count; i++)
        if (x->candidates[i].backend->pass_through_key)
            return arena_copy(&x->question->arena, x->credential);
    return BYTES_NONE;
}

/* Ours is the parent of what the backend does. */
static void pass_trace(struct exchange *x, struct flight_plan *plan)
{
    struct arena *arena = &x->question->arena;
    char text[TRACEPARENT_SIZE];

    if (!x->traced)
        return;
    trace_write(&x->trace, text);
    plan->traceparent = arena_copy(arena, (struct bytes){text, sizeof(text)});
    if (x->tracestate.size)
        plan->tracestate = arena_copy(arena, x->tracestate);
}

enum verdict ask_step(struct exchange *x)
{
    struct flight_plan plan = {
        .question = x->question,
        .client = x->dialect->shape,
        .candidates = x->candidates,
        .count = x->candidate_count,
        .key = lead_key(x),
    };

    if (!x->transcript)
        alone(x);
    plan.transcript = x->transcript;
    pass_trace(x, &plan);
    if (x->endpoint->kind == ENDPOINT_PASS)
        plan_pass(x, &plan);
    /* What is made is paid for, whoever reads it. */
    plan.bill = x->admission;
    if (x->admission)
        x->admission->x = NULL;
    x->admission = NULL;
    if (look_first(x, &plan))
        return STEP_NEXT;
    if (x->memory.control.only_if_cached) {
        admission_settle(plan.bill, NULL);
        return exchange_refuse_text(x, FAIL_NOT_CACHED,
                                    "This answer is not remembered, and the request said Cache-Control: "
                                    "only-if-cached.");
    }
    set_off(x->flow, &plan);
    return STEP_NEXT;
}
