/*
 * Have we heard this question before? The key is made of what would really be asked; the memo says who answers: memory
 * (hit), a flight that is under way (join), or this exchange's own (miss). A question that may not be remembered, or
 * whose client wants nothing of it, goes on alone (bypass), and a header says why.
 */
#include "flow/admission.h"

#include "base/clock.h"
#include "flow/heard.h"

const char *memory_outcome_name(const struct exchange *x)
{
    static const char *const names[] = {"-", "hit", "join", "miss", "bypass"};

    if ((x->memory.outcome == MEMORY_MISS || x->memory.outcome == MEMORY_JOIN) && x->transcript &&
        transcript_facts(x->transcript).recalled)
        return "hit";
    return names[x->memory.outcome];
}

bool memory_too_old(struct exchange *x)
{
    struct memory *memory = &x->memory;
    struct transcript_facts facts;

    if (memory->outcome != MEMORY_JOIN || memory->control.max_age_s == UINT32_MAX)
        return false;
    facts = transcript_facts(x->transcript);
    if (!facts.recalled || (clock_ms() - facts.made_ms) / 1000 <= memory->control.max_age_s)
        return false;
    reader_deinit(&x->reader);
    x->transcript = transcript_unref(x->transcript);
    memory->control.no_cache = true;
    memory->outcome = MEMORY_NONE;
    admission_undo(x->admission);
    x->admission = NULL;
    x->limits_begun = false;
    return true;
}

void memory_hear(struct exchange *x)
{
    struct transcript_facts facts;

    if (x->memory.outcome != MEMORY_BYPASS || !x->memory.model || !x->transcript ||
        transcript_status(x->transcript) != TRANSCRIPT_FINISHED)
        return;
    facts = transcript_facts(x->transcript);
    memo_fingerprint(x->flow->memo, x->memory.model, facts.backend, facts.model, facts.fingerprint);
}

static enum verdict refuse_uncached(struct exchange *x, const char *reason)
{
    struct failure failure = failure_make(
        &x->arena, FAIL_NOT_CACHED,
        "This answer is not remembered (%s), and the request said Cache-Control: only-if-cached. Leave that out to "
        "have it made.",
        reason);

    return exchange_refuse(x, &failure);
}

static enum verdict bypass(struct exchange *x, const char *reason)
{
    x->memory.outcome = MEMORY_BYPASS;
    x->memory.reason = reason;
    if (x->memory.model)
        memo_count(x->memory.model, MEMO_COUNT_bypasses);
    return x->memory.control.only_if_cached ? refuse_uncached(x, reason) : STEP_NEXT;
}

/* --- the key --- */

/* No candidate's parameters ask for repeatable answers either. */
static bool surely_not(const struct exchange *x)
{
    for (uint32_t i = 0; i < x->candidate_count; i++)
        if (!repeat_surely_not(&x->question->request, x->candidates[i].defaults, x->candidates[i].fixed))
            return false;
    return true;
}

static void digest_scope(struct exchange *x, struct bytes kind, struct bytes name)
{
    digest_begin(x->flow->digest);
    digest_add_text(x->flow->digest, kind);
    digest_add_text(x->flow->digest, name);
    digest_end(x->flow->digest, x->memory.scope);
}

/* Whose answers may be shared. Without keys all are one team; a key without a team shares with nobody. */
static void make_scope(struct exchange *x)
{
    struct memory *memory = &x->memory;

    if (memory->policy->scope == SCOPE_SHARED)
        memcpy(memory->scope, x->flow->scope_shared, DIGEST_SIZE);
    else if (memory->policy->scope == SCOPE_TEAM && !x->key)
        memcpy(memory->scope, x->flow->scope_team, DIGEST_SIZE);
    else if (memory->policy->scope == SCOPE_TEAM && x->key->team.size)
        digest_scope(x, BYTES("team"), x->key->team);
    else
        digest_scope(x, BYTES("tenant"), x->credential);
}

static enum repeat_reason make_key(struct exchange *x, struct key_parts *parts)
{
    struct backend_ask *asks = arena_alloc(&x->arena, x->candidate_count * sizeof(*asks));
    enum repeat_reason reason;

    for (uint32_t i = 0; i < x->candidate_count; i++)
        asks[i] = flight_ask_of(&x->candidates[i], &x->question->request, x->dialect->shape, &x->arena);
    make_scope(x);
    reason = backend_key_told(asks, x->candidate_count, x->memory.policy->when, x->memory.scope, x->flow->digest, parts,
                              x->memory.key);
    x->memory.keyed = reason == REPEAT_YES;
    return reason;
}

const char *memory_key(struct exchange *x, struct key_parts *parts)
{
    struct memory *memory = &x->memory;
    enum repeat_reason reason;

    memory->policy = x->route.model ? &x->route.model->cache : &x->flow->config->cache.policy;
    if (memory->control.no_store)
        return "no-store";
    if (memory->policy->when == CACHE_NEVER)
        return repeat_reason_name(REPEAT_POLICY);
    if (memory->policy->when == CACHE_REPEATABLE && surely_not(x))
        return repeat_reason_name(REPEAT_NOT_ASKED);
    reason = make_key(x, parts);
    return reason == REPEAT_YES ? NULL : repeat_reason_name(reason);
}

/* --- the memo --- */

/* An answer this worker led is complete and kept. */
static void kept(void *data, const struct memo_claim *claim, struct transcript *transcript, struct memo_ticket ticket)
{
    struct flow *flow = data;

    if (flow->second)
        second_store(flow->second, claim->key, claim->tenant, claim->model, transcript, claim->ttl_ms, ticket);
}

static struct memo_claim claim_of(struct exchange *x, bool only)
{
    const struct config_limits *limits = &x->flow->config->limits;
    const struct memory *memory = &x->memory;
    uint32_t max_age_s = memory->control.max_age_s;

    return (struct memo_claim){
        .key = memory->key,
        .tenant = memory->scope,
        .model = memory->model,
        .ttl_ms = memory->policy->ttl_ms,
        .fresh = memory->control.no_cache || max_age_s == 0,
        .only = only,
        .max_age_ms = max_age_s < UINT32_MAX / 1000 ? max_age_s * 1000 : UINT32_MAX,
        .home = &x->flow->mailbox,
        .high_water = limits->high_water,
        .low_water = limits->low_water,
        .kept = x->flow->second ? kept : NULL,
        .data = x->flow,
    };
}

enum memo_verdict memory_look(struct exchange *x)
{
    struct memo_claim claim = claim_of(x, true);

    return memo_look(x->flow->memo, &claim);
}

static enum memo_verdict ask_memo(struct exchange *x, bool only)
{
    struct memory *memory = &x->memory;
    struct memo_claim claim = claim_of(x, only);
    enum memo_verdict verdict = memo_claim(x->flow->memo, &claim, &x->reader, exchange_wake, x, &x->transcript);

    if (verdict == MEMO_HIT)
        memory->outcome = MEMORY_HIT;
    else if (verdict == MEMO_JOIN)
        memory->outcome = MEMORY_JOIN;
    identities_refresh(x->flow->identities, x);
    return verdict;
}

/* --- by its words --- */

static enum verdict found(const struct exchange *x)
{
    return x->flow->limited ? STEP_ADMIT : STEP_REPLY;
}

/* A question whose body was heard before, word for word, from the same client, is the same question: if its answer is
 * there it need not be read. */
enum verdict recognise_step(struct exchange *x)
{
    struct flow *flow = x->flow;
    struct memory *memory = &x->memory;
    const struct heard_question *heard;
    struct chat_request *request = &x->question->request;

    if (!flow->heard || flow->config->admission.charge_hits || flow->config->admission.charge_joined ||
        x->endpoint->kind != ENDPOINT_CHAT || x->question->body.size > RECOGNISED_BYTES ||
        memory->control.no_store || x->explain)
        return STEP_NEXT;
    digest_begin(flow->digest);
    digest_add_text(flow->digest, bytes_of(x->endpoint->path));
    digest_add_text(flow->digest, x->credential);
    digest_add_u64(flow->digest, x->keyring_number);     /* what the key may ask for is decided anew */
    digest_add_text(flow->digest, buffer_bytes(&x->question->body));
    digest_end(flow->digest, memory->words);
    memory->worded = true;
    heard = heard_find(flow->heard, memory->words);
    if (!heard || heard->policy->audit_ppm)
        return STEP_NEXT;
    memory->policy = heard->policy;
    memory->model = heard->model;
    memory->keyed = true;
    memcpy(memory->key, heard->key, DIGEST_SIZE);
    memcpy(memory->scope, heard->scope, DIGEST_SIZE);
    if (ask_memo(x, true) == MEMO_NONE)
        return STEP_NEXT;
    request->operation = x->endpoint->operation;
    request->model = arena_copy(&x->question->arena, heard->asked);
    request->stream = heard->stream;
    request->include_usage = heard->include_usage;
    x->route.model = heard->named;
    x->route.variant = heard->variant;
    x->steered = heard->steered;
    return found(x);
}

static void learn_words(struct exchange *x)
{
    const struct chat_request *request = &x->question->request;
    struct heard_question question = {
        .model = x->memory.model,
        .policy = x->memory.policy,
        .named = x->route.model,
        .asked = request->model,
        .stream = request->stream,
        .include_usage = request->include_usage,
        .variant = x->route.variant,
        .steered = x->steered,
    };

    memcpy(question.key, x->memory.key, DIGEST_SIZE);
    memcpy(question.scope, x->memory.scope, DIGEST_SIZE);
    heard_learn(x->flow->heard, x->memory.words, &question);
}

/* --- the claim --- */

/* The key; and where limits depend on it, whether the answer is there already. */
enum verdict look_step(struct exchange *x)
{
    struct memory *memory = &x->memory;
    const struct config_model *model = x->route.model;
    const char *reason;

    if (x->endpoint->kind == ENDPOINT_PASS)
        return bypass(x, "pass");
    memory->model = memo_model(x->flow->memo, model ? model->name : x->question->request.model);
    reason = memory_key(x, NULL);
    if (reason)
        return bypass(x, reason);
    if (memory->worded)
        learn_words(x);
    if (x->flow->limited)
        ask_memo(x, true);
    return STEP_NEXT;
}

enum verdict claim_step(struct exchange *x)
{
    struct memory *memory = &x->memory;
    bool only = memory->control.only_if_cached;

    if (memory->outcome == MEMORY_BYPASS)
        return STEP_NEXT;
    if (memory->outcome == MEMORY_HIT || memory->outcome == MEMORY_JOIN)
        return STEP_REPLY;
    switch (ask_memo(x, only)) {
    case MEMO_HIT:
        admission_lighten(x->admission, x->flow->config->admission.charge_hits);
        return STEP_REPLY;
    case MEMO_JOIN:
        admission_lighten(x->admission, x->flow->config->admission.charge_joined);
        return STEP_REPLY;
    case MEMO_LEAD:
    case MEMO_NONE:
        break;
    }
    memory->outcome = MEMORY_MISS;
    if (!only)
        return STEP_NEXT;
    memo_count(memory->model, MEMO_COUNT_misses);
    return x->flow->second ? STEP_NEXT : refuse_uncached(x, "it is not there");
}
