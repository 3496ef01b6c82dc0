/*
 * What comes back from a backend: a stream's events one by one, or a whole body, each read in the backend's dialect.
 */
#include "upstream/flight_private.h"

#include "base/clock.h"

/* Of an answer that is an error; more says nothing more. */
#define ERROR_BODY_BYTES 65536
/* Of what follows an answer's end: more is not worth a connection. */
#define TAIL_BYTES 65536

void flight_listen_reset(struct flight *flight)
{
    if (flight->reading) {
        backend_answer_deinit(&flight->answer);
        sse_deinit(&flight->sse);
    }
    flight->reading = flight->streaming = false;
    flight->status = 0;
    flight->retry_after = BYTES_NONE;
    flight->paused = false;
    buffer_clear(&flight->body, 65536);
}

static void fail(struct flight *flight, enum failure_kind kind, const char *message)
{
    struct failure failure = failure_make(&flight->arena, kind, "%s", message);

    flight_failed(flight, &failure);
}

static void listen_init(struct flight *flight)
{
    backend_answer_init(&flight->answer, flight_candidate(flight)->kind, &flight->question->request, &flight->arena,
                        &flight->context->doc);
    sse_init(&flight->sse, flight->context->event_bytes);
    flight->reading = true;
}

/* --- a stream --- */

/* False: the flight is gone. */
static bool take_event(struct flight *flight, const struct sse_event *event)
{
    int64_t tokens = flight->answer.completion_tokens;
    struct chat_event told;
    struct failure failure;
    bool stays;

    if (flight->stage == STAGE_TAIL)
        return true;
    switch (backend_read_event(&flight->answer, event->name, event->data, &told, &failure)) {
    case BACKEND_EVENT:
        flight->facts.chunks += told.kind == EVENT_CHUNK;
        if (flight->answer.completion_tokens != tokens)
            flight->told_chunks = flight->facts.chunks;
        if (!transcript_append(flight->transcript, &told) && flight->call && !flight->paused) {
            flight->paused = true;
            flight_note(flight, FLIGHT_PAUSED, NULL);
            call_pause(flight->call);
        }
        return true;
    case BACKEND_NOTHING:
        return true;
    case BACKEND_DONE:
        stays = flight->call != NULL;
        flight_finished(flight);
        return stays;
    case BACKEND_FAILED:
        flight_failed(flight, &failure);
        return false;
    }
    return true;
}

static void take_stream(struct flight *flight, struct bytes piece)
{
    struct sse_event event;

    for (;;) {
        switch (sse_next(&flight->sse, &piece, &event)) {
        case SSE_EVENT:
            /* After the end nothing counts any more. */
            if (!take_event(flight, &event) || flight->stage == STAGE_TAIL)
                return;
            break;
        case SSE_MORE:
            return;
        case SSE_E_TOO_LARGE:
            fail(flight, FAIL_UPSTREAM_BAD, "The model server sent an event larger than the gateway accepts.");
            return;
        default:
            fail(flight, FAIL_UPSTREAM_BAD, "The model server sent a stream that is not valid text.");
            return;
        }
    }
}

static void end_stream(struct flight *flight)
{
    struct sse_event event;
    struct failure failure;

    if (sse_end(&flight->sse, &event) == SSE_EVENT && !take_event(flight, &event))
        return;
    if (flight->stage == STAGE_TAIL)
        flight_free(flight);
    else if (backend_read_end(&flight->answer, &failure) == BACKEND_DONE)
        flight_finished(flight);
    else
        flight_failed(flight, &failure);
}

/* --- whole bodies, by stage --- */

static void end_answer(struct flight *flight)
{
    struct chat_event event;
    struct failure failure;

    if (flight->status != 200) {
        failure = backend_read_error(flight_candidate(flight)->kind, flight->status, flight->retry_after,
                                     buffer_bytes(&flight->body), &flight->arena);
        flight_failed(flight, &failure);
        return;
    }
    listen_init(flight);
    if (backend_read_body(&flight->answer, buffer_bytes(&flight->body), &event, &failure) != BACKEND_EVENT) {
        flight_failed(flight, &failure);
    } else if (flight->question->request.stream) {
        fail(flight, FAIL_UPSTREAM_BAD, "The model server did not stream, though it was asked to.");
    } else {
        transcript_append(flight->transcript, &event);
        flight_finished(flight);
    }
}

static void end_pass(struct flight *flight)
{
    struct chat_event event = {.kind = EVENT_RAW, .shape = SHAPE_GOODFIRE, .payload = buffer_bytes(&flight->body)};
    struct failure failure;

    if (flight->status >= 500 || flight->status == 401 || flight->status == 403 || flight->status == 429 ||
        flight->status < 200) {
        failure = backend_read_error(flight_candidate(flight)->kind, flight->status, flight->retry_after,
                                     buffer_bytes(&flight->body), &flight->arena);
        flight_failed(flight, &failure);
        return;
    }
    flight->facts.raw_status = flight->status;
    transcript_tell(flight->transcript, &flight->facts);
    transcript_append(flight->transcript, &event);
    flight_finished(flight);
}

void flight_talk(struct flight *flight, unsigned status, struct bytes reply)
{
    struct chat_event event = {.kind = EVENT_LOGITS, .shape = SHAPE_OPENAI};
    struct failure failure;

    switch (logits_next(flight->talk, status, reply, &flight->asked, &event.payload, &failure)) {
    case LOGITS_ASK:
        flight_send(flight, false);
        break;
    case LOGITS_DONE:
        transcript_append(flight->transcript, &event);
        flight_finished(flight);
        break;
    case LOGITS_FAILED:
        flight_failed(flight, &failure);
        break;
    }
}

/* Every id that will be asked for must be loaded there. */
static bool adapters_loaded(struct flight *flight)
{
    struct json_doc wanted, loaded;
    bool all = false;

    json_doc_init(&wanted, JSON_LIMITS_DEFAULT);
    json_doc_init(&loaded, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&wanted, flight->lora) == 0 &&
        json_doc_parse(&loaded, buffer_bytes(&flight->body)) == 0 && json_is(json_root(&loaded), JSON_ARRAY)) {
        const struct json_node *list = json_root(&wanted);

        all = true;
        for (const struct json_node *want = json_first(&wanted, list); want; want = json_after(&wanted, list, want)) {
            const struct json_node *have = json_first(&loaded, json_root(&loaded));
            int64_t id = -1, there = -2;

            json_i64(&wanted, json_member(&wanted, want, BYTES("id")), &id);
            for (; have; have = json_after(&loaded, json_root(&loaded), have))
                if (json_i64(&loaded, json_member(&loaded, have, BYTES("id")), &there) == 0 && there == id)
                    break;
            all = all && have;
        }
    }
    json_doc_deinit(&wanted);
    json_doc_deinit(&loaded);
    return all;
}

static void end_adapters(struct flight *flight)
{
    struct failure failure;

    if (flight->status != 200) {
        failure = backend_read_error(flight_candidate(flight)->kind, flight->status, flight->retry_after,
                                     buffer_bytes(&flight->body), &flight->arena);
        flight_failed(flight, &failure);
    } else if (!adapters_loaded(flight)) {
        failure = failure_make(&flight->arena, FAIL_STEERING,
                               "The model server has not loaded a LoRA adapter that is asked for, so the answer would "
                               "be unsteered. Start it with --lora and check the id.");
        flight_failed(flight, &failure);
    } else {
        flight_ask(flight);
    }
}

static void end_body(struct flight *flight)
{
    switch (flight->stage) {
    case STAGE_ADAPTERS:
        end_adapters(flight);
        break;
    case STAGE_TALK:
        flight_talk(flight, flight->status, buffer_bytes(&flight->body));
        break;
    case STAGE_ANSWER:
        end_answer(flight);
        break;
    case STAGE_PASS:
        end_pass(flight);
        break;
    case STAGE_TAIL:
        flight_free(flight);
        break;
    case STAGE_MOVE: /* nobody is being asked */
        break;
    }
}

/* --- what the call says --- */

static void on_head(void *data, const struct transfer_head *head)
{
    struct flight *flight = data;
    bool encoded = head->content_encoding.size &&
                   !bytes_equal_nocase(bytes_trim(head->content_encoding), BYTES("identity"));

    flight_note(flight, FLIGHT_REACHED, NULL);
    flight->status = head->status;
    flight->facts.connected_us = call_connected_us(flight->call);
    flight->retry_after = arena_copy(&flight->arena, head->retry_after);
    if (encoded) {
        fail(flight, FAIL_UPSTREAM_BAD, "The model server compressed its answer without being asked to.");
        return;
    }
    if (flight->stage == STAGE_ANSWER && head->status == 200 && flight->question->request.stream &&
        head->content_type.size >= 17 &&
        bytes_equal_nocase((struct bytes){head->content_type.data, 17}, BYTES("text/event-stream"))) {
        flight->streaming = true;
        listen_init(flight);
        transcript_tell(flight->transcript, &flight->facts);
        transcript_begin(flight->transcript);
    }
}

static void on_body(void *data, struct bytes piece)
{
    struct flight *flight = data;
    size_t limit = flight->status == 200 || flight->stage == STAGE_PASS ? flight->context->answer_bytes
                                                                        : ERROR_BODY_BYTES;

    if (flight->stage == STAGE_TAIL) {
        flight->tail_bytes += piece.size;
        if (flight->tail_bytes > TAIL_BYTES)
            flight_free(flight);
        return;
    }
    transcript_hear(flight->transcript, clock_us());
    if (flight->streaming) {
        take_stream(flight, piece);
    } else if (flight->body.size + piece.size <= limit) {
        if (flight->body.capacity == 0) {
            flight->body = flight->context->spare;
            buffer_init(&flight->context->spare);
        }
        buffer_append(&flight->body, piece);
    } else if (flight->status == 200 || flight->stage == STAGE_PASS) {
        fail(flight, FAIL_UPSTREAM_BAD, "The model server's answer is larger than the gateway accepts.");
    }
}

struct result_row {
    int result;
    enum failure_kind kind;
    const char *text;
};

static const struct result_row results[] = {
    {TRANSFER_E_STALE, FAIL_UPSTREAM_RESET, "The model server closed the connection without an answer."},
    {TRANSFER_E_DNS, FAIL_UPSTREAM_DNS, "The model server's name could not be resolved."},
    {TRANSFER_E_CONNECT, FAIL_UPSTREAM_CONNECT, "The model server could not be reached."},
    {TRANSFER_E_CONNECT_TIMEOUT, FAIL_UPSTREAM_CONNECT, "The model server did not accept a connection in time."},
    {TRANSFER_E_TLS, FAIL_UPSTREAM_TLS, "No trusted connection to the model server could be made."},
    {TRANSFER_E_RESET, FAIL_UPSTREAM_RESET, "The model server broke off its answer."},
    {TRANSFER_E_BAD, FAIL_UPSTREAM_BAD, "The model server's answer is not proper HTTP."},
    {CALL_E_FIRST_BYTE, FAIL_UPSTREAM_TIMEOUT, "The model server did not begin to answer in time."},
    {CALL_E_BETWEEN_BYTES, FAIL_UPSTREAM_TIMEOUT, "The model server fell silent in the middle of its answer."},
    {CALL_E_TOTAL, FAIL_UPSTREAM_TIMEOUT, "The model server did not complete its answer in time."},
};

static void on_done(void *data, int result, const char *reason)
{
    struct flight *flight = data;

    flight->call = NULL;
    flight_note(flight, FLIGHT_CALL_ENDED, NULL);
    if (flight->stage == STAGE_TAIL) {
        flight_free(flight);
    } else if (result == TRANSFER_E_STALE && !flight->stale_retried) {
        flight_note(flight, FLIGHT_RETRIED, NULL);
        flight_send(flight, true);
    } else if (result == 0 && flight->streaming) {
        end_stream(flight);
    } else if (result == 0) {
        end_body(flight);
    } else {
        const struct result_row *row = results;

        while (row->result != result && row < results + ARRAY_SIZE(results) - 1)
            row++;
        fail(flight, row->kind, row->text);
    }
}

const struct transfer_events flight_events = {on_head, on_body, on_done};
