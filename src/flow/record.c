/*
 * What became of it: the walk's last step fills one record, and from it come the log's line, the span, and the numbers.
 */
#include "flow/admission.h"
#include "flow/bodies.h"
#include "flow/timing.h"

#include "base/clock.h"
#include "record/gaps.h"
#include "record/journal.h"
#include "record/recent.h"
#include "record/record.h"
#include "record/redact.h"
#include "record/series.h"
#include "record/top.h"
#include "record/trace.h"

/* What a client may have put into a name, a path or an id, as far as a line tells it. */
#define LONGEST_TEXT 256

static struct bytes told(struct exchange *x, struct bytes text)
{
    return redact_text(x->flow->redact, text, LONGEST_TEXT, &x->arena);
}

static const char *operation_of(const struct exchange *x)
{
    if (!x->endpoint)
        return "none";
    if (x->endpoint->kind == ENDPOINT_EXPLAIN || (x->explain && x->question))
        return "explain";
    if (x->endpoint->kind == ENDPOINT_PASS)
        return "pass";
    if (x->endpoint->kind != ENDPOINT_CHAT)
        return "page";
    return x->endpoint->operation == CHAT_LOGITS ? "logits" : "chat";
}

/* A model that this gateway knows: what any client may type is no label. */
static struct bytes label_of(const struct exchange *x)
{
    if (x->explain)
        return BYTES_NONE;
    if (x->route.model)
        return x->route.model->name;
    return x->route.count && x->question ? x->question->request.model : BYTES_NONE;
}

/* The answer was made for this request, not found or joined. */
static bool made_here(const struct exchange *x)
{
    return x->memory.outcome != MEMORY_HIT && x->memory.outcome != MEMORY_JOIN;
}

/* --- the fields --- */

static void tell_who(struct exchange *x, struct record *record)
{
    record->id = (struct bytes){x->id, sizeof(x->id)};
    record->client_id = told(x, x->client_id);
    record->client = x->peer;
    record->dialect = x->dialect->name;
    record->operation = operation_of(x);
    record->method = told(x, x->method);
    record->path = told(x, x->path);
    if (x->key) {
        record->key = x->key->name;
        record->team = x->key->team;
        record->metadata = x->key->metadata;
    }
    if (x->traced) {
        record->trace_id = (struct bytes){x->trace.trace_id, TRACE_ID_SIZE};
        record->span_id = (struct bytes){x->trace.span_id, SPAN_ID_SIZE};
        if (x->trace.joined)
            record->parent_id = (struct bytes){x->trace.parent_id, SPAN_ID_SIZE};
    }
}

static void tell_tries(const struct exchange *x, const struct transcript_facts *facts, struct record *record)
{
    const struct config *config = x->flow->config;

    record->attempts = facts->attempts;
    record->try_count = facts->try_count;
    for (unsigned i = 0; i < facts->try_count; i++) {
        const struct transcript_try *try = &facts->tries[i];

        record->tries[i] = (struct record_try){
            .backend = config->backends[try->backend].name,
            .outcome = try->failed ? failure_row((enum failure_kind)try->failure)->name : "ok",
            .status = try->status,
            .us = try->us,
        };
    }
}

/* What the upstream told, else what was seen of it, marked. */
static void tell_tokens(const struct exchange *x, const struct transcript_facts *facts, struct record *record)
{
    const struct config_model *model = x->route.model;

    record->prompt_tokens = facts->prompt_tokens;
    record->completion_tokens = facts->completion_tokens;
    if (x->endpoint->kind != ENDPOINT_CHAT || x->reader.taken == 0)
        return;
    if (x->question->request.doc && (facts->prompt_tokens < 0 || facts->completion_tokens < 0)) {
        struct estimate estimate = estimate_of(&x->question->request, model);

        record->tokens_estimated = true;
        if (facts->prompt_tokens < 0)
            record->prompt_tokens = (int64_t)estimate.prompt;
        if (facts->completion_tokens < 0)
            record->completion_tokens = (int64_t)(x->streamed ? x->reader.taken : estimate.output);
    }
    if (model && (model->price.input || model->price.output)) {
        record->has_cost = true;
        if (made_here(x) && !facts->recalled)
            record->cost = estimate_money((uint64_t)record->prompt_tokens, (uint64_t)record->completion_tokens,
                                          model->price.input, model->price.output);
    }
}

static void tell_answer(struct exchange *x, const struct transcript_facts *facts, struct record *record)
{
    record->backend = facts->backend;
    record->upstream_model = facts->model;
    record->finish_reason = finish_name(facts->finish);
    if (made_here(x) && !facts->recalled)
        tell_tries(x, facts, record);
    if (x->question)
        tell_tokens(x, facts, record);
}

static void tell_question(struct exchange *x, struct record *record)
{
    const struct chat_request *request = &x->question->request;

    record->model = told(x, request->model);
    record->stream = request->stream;
    if (x->route.variant)
        record->variant = x->route.variant->name;
    record->steered = x->steered;
}

static void tell_times(struct exchange *x, struct record *record)
{
    uint64_t now = clock_us();

    timing_close(x, now);
    record->total_us = now - x->began_us;
    record->wall_us = (int64_t)(x->began_us + x->flow->wall_ahead_us);
    record->auth_us = x->parts[PHASE_AUTH];
    record->body_us = x->parts[PHASE_BODY];
    record->parse_us = x->parts[PHASE_PARSE];
    record->claim_us = x->parts[PHASE_CLAIM];
    record->limit_us = x->parts[PHASE_LIMIT];
    record->queue_us = x->parts[PHASE_QUEUE];
    record->connect_us = x->parts[PHASE_CONNECT];
    record->first_byte_us = x->parts[PHASE_FIRST_BYTE];
    record->answer_us = x->parts[PHASE_ANSWER];
    record->first_token_us = x->first_us ? x->first_us - x->began_us : 0;
    record->lag_us = x->lag_us;
    if (x->gaps) {
        record->gap_p50_us = gaps_percentile(x->gaps, 50);
        record->gap_p99_us = gaps_percentile(x->gaps, 99);
        record->gap_max_us = x->gaps->max_us;
    }
}

static void tell_memory(const struct exchange *x, struct record *record, char hex[2 * DIGEST_SIZE])
{
    if (x->memory.outcome == MEMORY_NONE)
        return;
    record->cache = memory_outcome_name(x);
    record->cache_reason = x->memory.reason;
    if (!x->memory.keyed)
        return;
    digest_hex(x->memory.key, hex);
    record->cache_key = (struct bytes){hex, 2 * DIGEST_SIZE};
}

static void fill(struct exchange *x, const struct transcript_facts *facts, struct record *record,
                 char hex[2 * DIGEST_SIZE])
{
    *record = (struct record){.prompt_tokens = -1, .completion_tokens = -1};
    tell_who(x, record);
    tell_times(x, record);
    tell_memory(x, record, hex);
    if (x->question)
        tell_question(x, record);
    if (x->transcript)
        tell_answer(x, facts, record);
    record->status = x->status;
    record->outcome = x->outcome;
    record->reason = x->reason;
    record->phase = x->cut_phase;
    record->bytes_in = x->body_counted;
    record->bytes_out = x->bytes_out;
    record->events = x->reader.taken;
    record->queue_position = x->told.position;
    record->degraded = x->told.degraded;
}

/* --- where it goes --- */

static void write_line(struct exchange *x, struct record *record)
{
    struct journal_source *source = x->flow->source;
    struct buffer *out;

    out = x->let_in ? source_line(source, JOURNAL_LINES) : source_line_if_room(source, JOURNAL_LINES);
    if (!out)
        return;
    if (bodies_wanted(x))
        bodies_tell(x, record);
    record_write(record, out);
    buffer_append_char(out, '\n');
    source_end_line(source, JOURNAL_LINES);
}

static void write_span(struct exchange *x, const struct record *record)
{
    struct buffer *out;

    if (!x->traced || !x->trace.sampled || !journal_takes(x->flow->shared->journal, JOURNAL_SPANS))
        return;
    out = source_line(x->flow->source, JOURNAL_SPANS);
    if (!out)
        return;
    trace_write_span(record, out);
    buffer_append_char(out, '\n');
    source_end_line(x->flow->source, JOURNAL_SPANS);
}

static void count_tokens(struct series_model *model, const struct record *record)
{
    if (record->prompt_tokens >= 0)
        series_add(model, SERIES_INPUT_TOKENS, (uint64_t)record->prompt_tokens);
    if (record->completion_tokens >= 0)
        series_add(model, SERIES_OUTPUT_TOKENS, (uint64_t)record->completion_tokens);
    if (record->cost)
        series_add_cost(model, record->cost);
}

static void count(struct exchange *x, const struct transcript_facts *facts, const struct record *record)
{
    struct series *series = x->flow->series;
    struct bytes label = label_of(x);
    struct series_request request = {
        .model = label,
        .dialect = record->dialect,
        .operation = record->operation,
        .cache = record->cache ? record->cache : "-",
        .outcome = x->reason == x->outcome ? "failed" : record->outcome,
        .status = record->status,
    };
    struct series_model *model;

    series_count(series, &request);
    if (!label.size)
        return;
    model = x->series ? x->series : series_model(series, label);
    if (record->status) {
        series_add(model, SERIES_DURATION, record->total_us);
        series_add(model, SERIES_OVERHEAD, timing_overhead_us(x));
    }
    if (x->streamed && record->first_token_us)
        series_add(model, SERIES_FIRST_TOKEN, record->first_token_us);
    if (x->streamed && record->lag_us)
        series_add(model, SERIES_LAG, record->lag_us);
    if (record->first_byte_us && record->try_count)
        series_backend_wait(series, facts->tries[record->try_count - 1].backend, record->first_byte_us);
    count_tokens(model, record);
}

static void remember(struct exchange *x, const struct record *record)
{
    uint64_t tokens = 0;

    if (record->prompt_tokens > 0)
        tokens += (uint64_t)record->prompt_tokens;
    if (record->completion_tokens > 0)
        tokens += (uint64_t)record->completion_tokens;
    if (x->key)
        top_add(x->flow->top, x->key->name, tokens, record->cost);
    if (x->reason || bytes_equal(bytes_of(x->outcome), BYTES("client_stalled")))
        recent_add(x->flow->shared->recent, (uint64_t)record->wall_us / 1000, record->id, record->key, label_of(x),
                   record->backend, x->reason ? x->reason : x->outcome, record->status);
}

enum verdict record_step(struct exchange *x)
{
    struct transcript_facts facts = {0};
    char hex[2 * DIGEST_SIZE];
    struct record record;

    if (x->quiet)
        return STEP_NEXT;
    if (x->transcript)
        facts = transcript_facts(x->transcript);
    fill(x, &facts, &record, hex);
    count(x, &facts, &record);
    remember(x, &record);
    write_span(x, &record);
    write_line(x, &record);
    return STEP_NEXT;
}
