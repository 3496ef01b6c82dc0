/*
 * The life of a flight:
 *
 *   start -> candidate -> may it? -> [adapters] -> ask -> listen (flight_listen.c) -> finished | failed
 *               ^                                                                        |
 *               +---------------- next candidate, while nothing was said ----------------+
 *
 * What comes after a failure is in flight_next.c.
 */
#include "upstream/flight_private.h"

#include "base/alloc.h"
#include "base/clock.h"

/* The Goodfire client waits 10 s for logits. */
#define TALK_MS 9500
/* For the end of a body whose answer is complete, so that the connection can be used again. */
#define TAIL_MS 2000
#define SPARE_BYTES 65536

void flight_context_init(struct flight_context *context, uv_loop_t *loop)
{
    *context = (struct flight_context){.loop = loop};
    list_init(&context->flights);
    json_doc_init(&context->doc, ANSWER_JSON_LIMITS);
}

void flight_context_deinit(struct flight_context *context)
{
    json_doc_deinit(&context->doc);
    buffer_deinit(&context->spare);
}

void flight_note(struct flight *flight, enum flight_note note, const struct failure *failure)
{
    flight->context->note(flight->context->data, note, flight_candidate(flight)->backend, failure);
}

/* Of a flight that is given up: the tokens that an answer told so far, and one for each event since. */
static void tell_so_far(struct flight *flight)
{
    struct transcript_facts *facts = &flight->facts;

    if (!flight->reading || !flight->transcript)
        return;
    facts->prompt_tokens = flight->answer.prompt_tokens;
    facts->completion_tokens = flight->answer.completion_tokens;
    if (facts->completion_tokens >= 0)
        facts->completion_tokens += (int64_t)(facts->chunks - flight->told_chunks);
}

/* Whatever is known by now. */
static void settle_bill(struct flight *flight)
{
    void *bill = flight->bill;

    flight->bill = NULL;
    if (bill)
        flight->context->settle(flight->context->data, bill, &flight->facts);
}

/* The next flight's body may have its memory. */
static void give_back_body(struct flight *flight)
{
    struct flight_context *context = flight->context;

    buffer_clear(&flight->body, SPARE_BYTES);
    if (context->spare.capacity == 0)
        context->spare = flight->body;
    else
        buffer_deinit(&flight->body);
}

struct flight *flight_free(struct flight *flight)
{
    list_remove(&flight->link);
    if (flight->call)
        flight_note(flight, FLIGHT_CALL_ENDED, NULL);
    flight->call = call_cancel(flight->call);
    flight->echo = echo_cancel(flight->echo);
    tell_so_far(flight);
    settle_bill(flight);
    flight_listen_reset(flight);
    logits_free(flight->talk);
    give_back_body(flight);
    transcript_unref(flight->transcript);
    question_unref(flight->question);
    arena_deinit(&flight->arena);
    return alloc_free(flight);
}

/* --- asking --- */

static struct config_timeouts timeouts_of(const struct flight *flight)
{
    struct config_timeouts timeouts = flight->candidates[flight->at].backend->timeouts;

    if (flight->stage == STAGE_TALK) {
        uint64_t now = clock_ms();
        uint32_t left = flight->talk_deadline > now ? (uint32_t)(flight->talk_deadline - now) : 1;

        timeouts.total = timeouts.total < left ? timeouts.total : left;
    }
    if (flight->stage == STAGE_ANSWER && !flight->question->request.stream)
        timeouts.first_byte = 0;
    return timeouts;
}

void flight_send(struct flight *flight, bool fresh)
{
    struct call_request request = {
        .get = flight->asked.get,
        .path = flight->asked.path,
        .body = flight->asked.body,
        .event_stream = flight->stage == STAGE_ANSWER && flight->question->request.stream,
        .fresh = fresh,
        .key = flight_candidate(flight)->backend->pass_through_key ? flight->key : BYTES_NONE,
        .traceparent = flight->traceparent,
        .tracestate = flight->tracestate,
        .timeouts = timeouts_of(flight),
    };

    flight_listen_reset(flight);
    flight->stale_retried = fresh;
    flight->facts.attempts++;
    flight->called = true;
    transcript_tell(flight->transcript, &flight->facts);
    flight_note(flight, FLIGHT_CALL, NULL);
    flight->call = call_start(flight_candidate(flight)->upstream, &request, &flight_events, flight);
}

struct backend_ask flight_ask_of(const struct flight_candidate *candidate, const struct chat_request *request,
                                 enum chat_shape client, struct arena *arena)
{
    return (struct backend_ask){
        .request = request,
        .client = client,
        .backend = candidate->backend,
        .kind = candidate->kind,
        .upstream_model = candidate->upstream_model,
        .steering = &candidate->steering,
        .defaults = candidate->defaults,
        .fixed = candidate->fixed,
        .arena = arena,
    };
}

static void echo_ended(void *data)
{
    struct flight *flight = data;

    echo_facts(flight->echo, &flight->facts);
    flight->echo = NULL;
    flight_finished(flight);
}

static void start_echo(struct flight *flight, const struct backend_ask *ask)
{
    struct backend_request request;
    struct echo_question question = {
        .operation = ask->request->operation,
        .pace_ms = ask->backend->echo_pace_ms,
        .model = ask->upstream_model,
        .steering = ask->steering,
        .answer_bytes = flight->context->answer_bytes,
    };
    struct failure failure;

    if (backend_write_request(ask, &request, &failure) < 0) {
        flight_failed(flight, &failure);
        return;
    }
    question.body = request.body;
    flight->facts.attempts++;
    transcript_tell(flight->transcript, &flight->facts);
    flight->echo = echo_start(flight->context->loop, &question, flight->transcript, echo_ended, flight, &failure);
    if (!flight->echo)
        flight_failed(flight, &failure);
}

void flight_ask(struct flight *flight)
{
    struct backend_ask ask =
        flight_ask_of(flight_candidate(flight), &flight->question->request, flight->client, &flight->arena);
    struct failure failure;

    if (flight_candidate(flight)->kind == KIND_ECHO) {
        start_echo(flight, &ask);
        return;
    }
    if (ask.request->operation == CHAT_LOGITS) {
        flight->stage = STAGE_TALK;
        flight->talk = logits_start(&ask, &failure);
        if (flight->talk)
            flight_talk(flight, 0, BYTES_NONE);
        else
            flight_failed(flight, &failure);
        return;
    }
    flight->stage = STAGE_ANSWER;
    if (backend_write_request(&ask, &flight->asked, &failure) < 0)
        flight_failed(flight, &failure);
    else
        flight_send(flight, false);
}

/* The variant's, or a client's own: an id that is not loaded would switch all others off, without a word. */
static bool wants_adapters(struct flight *flight)
{
    const struct json_doc *doc = flight->question->request.doc;
    const struct json_node *own = json_member(doc, json_root(doc), BYTES("lora"));

    flight->lora = flight_candidate(flight)->steering.lora;
    if (flight->lora.size == 0 && json_is(own, JSON_ARRAY) && json_length(doc, own) > 0)
        flight->lora = json_raw(doc, own);
    return flight->lora.size > 0;
}

void flight_ask_candidate(struct flight *flight)
{
    struct flight_candidate *candidate = flight_candidate(flight);

    flight->facts.backend = candidate->backend->name;
    flight->facts.model = candidate->steering.adapter.size ? candidate->steering.adapter : candidate->upstream_model;
    flight->facts.connected_us = 0;
    flight->status = 0;         /* one that cannot be asked has none */
    flight->called = false;
    flight->asked_us = flight->facts.asked_us = clock_us();
    flight->talk_deadline = flight->asked_us / 1000 + TALK_MS;
    if (flight->pass_path.size) {
        flight->stage = STAGE_PASS;
        flight->asked = (struct backend_request){
            .get = flight->pass_get,
            .path = arena_printf(&flight->arena, "%.*s%.*s", BYTES_ARG(candidate->backend->root),
                                 BYTES_ARG(flight->pass_path)),
            .body = buffer_bytes(&flight->question->body),
        };
        flight_send(flight, false);
    } else if (candidate->kind == KIND_LLAMA_SERVER && wants_adapters(flight)) {
        flight->stage = STAGE_ADAPTERS;
        flight->asked = (struct backend_request){
            .get = true, .path = backend_path(candidate->backend, &flight->arena, "/lora-adapters")};
        flight_send(flight, false);
    } else {
        flight_ask(flight);
    }
}

/* --- the ends --- */

/* With no more room the last one is replaced. */
void flight_note_try(struct flight *flight, const struct failure *failure, uint64_t now_us)
{
    struct transcript_facts *facts = &flight->facts;
    uint64_t us = now_us - flight->asked_us;

    if (facts->try_count < TRANSCRIPT_TRIES)
        facts->try_count++;
    facts->tries[facts->try_count - 1] = (struct transcript_try){
        .us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX,
        .backend = (uint16_t)flight_candidate(flight)->backend->index,
        .status = (uint16_t)flight->status,
        .failed = failure != NULL,
        .failure = failure ? (uint8_t)failure->kind : 0,
    };
}

static void tell_end(struct flight *flight)
{
    struct transcript_facts *facts = &flight->facts;
    uint64_t now_us = clock_us();

    flight_note_try(flight, NULL, now_us);
    facts->whole = flight->stage != STAGE_PASS && !(flight->reading && flight->answer.unfit);
    if (flight->reading) {
        facts->prompt_tokens = flight->answer.prompt_tokens;
        facts->completion_tokens = flight->answer.completion_tokens;
        facts->fingerprint = flight->answer.fingerprint;
        facts->finish = flight->answer.finish;
    }
    facts->made_ms = now_us / 1000;
    transcript_tell(flight->transcript, facts);
}

void flight_finished(struct flight *flight)
{
    struct transcript *transcript = flight->transcript;

    tell_end(flight);
    flight_note(flight, FLIGHT_FINISHED, NULL);
    settle_bill(flight);
    flight->transcript = NULL;
    if (transcript_status(transcript) == TRANSCRIPT_GROWING)
        transcript_finish(transcript);
    transcript_unref(transcript);
    if (!flight->call) {
        flight_free(flight);
        return;
    }
    flight->stage = STAGE_TAIL;
    call_hurry(flight->call, TAIL_MS);
    call_resume(flight->call);
}

/* --- the transcript's words to its writer --- */

static void abandoned(void *data)
{
    struct flight *flight = data;

    if (flight->call || flight->echo)
        flight_note(flight, FLIGHT_CANCELLED, NULL);
    flight_free(flight);
}

static void drained(void *data)
{
    struct flight *flight = data;

    flight->paused = false;
    if (flight->call)
        call_resume(flight->call);
    else if (flight->echo)
        echo_resume(flight->echo);
}

void flight_start(struct flight_context *context, const struct flight_plan *plan)
{
    struct flight *flight = ALLOC_NEW(struct flight);
    size_t size = plan->count * sizeof(*plan->candidates);

    flight->context = context;
    list_append(&context->flights, &flight->link);
    arena_init(&flight->arena);
    flight->question = question_ref(plan->question);
    flight->transcript = transcript_ref(plan->transcript);
    flight->client = plan->client;
    flight->facts.prompt_tokens = flight->facts.completion_tokens = -1;
    flight->candidates = memcpy(arena_alloc(&flight->arena, size), plan->candidates, size);
    flight->count = plan->count;
    flight->pass_path = plan->pass_path;
    flight->pass_get = plan->pass_get;
    flight->bill = plan->bill;
    flight->key = plan->key;
    flight->traceparent = plan->traceparent;
    flight->tracestate = plan->tracestate;
    transcript_set_writer(flight->transcript, &(struct transcript_writer){drained, abandoned, flight});
    if (plan->paid)
        flight_ask_candidate(flight);
    else
        flight_move_on(flight);
}

bool flight_busy(const struct flight_context *context)
{
    LIST_EACH(&context->flights, node)
        if (LIST_ENTRY(node, struct flight, link)->transcript)
            return true;
    return false;
}

void flight_cancel_all(struct flight_context *context, const struct failure *failure)
{
    LIST_EACH(&context->flights, node) {
        struct flight *flight = LIST_ENTRY(node, struct flight, link);

        if (flight->transcript && transcript_status(flight->transcript) == TRANSCRIPT_GROWING)
            transcript_fail(flight->transcript, failure);
        flight_free(flight);
    }
}
