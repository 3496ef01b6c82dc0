/*
 * Another candidate is asked when this one could not be reached, or (once, within a budget) when it answered that it
 * cannot. Never after it may have begun to work: an answer is paid for. Whoever pays is asked whether it may.
 */
#include "upstream/flight_private.h"

#include "base/clock.h"

#include <assert.h>

/* Nothing reached this backend, or it said itself that it did nothing. */
static bool may_ask_another(struct flight *flight, const struct failure *failure)
{
    if (flight->at + 1 >= flight->count || transcript_events(flight->transcript) > 0)
        return false;
    switch (failure->kind) {
    case FAIL_UPSTREAM_CONNECT:
    case FAIL_UPSTREAM_DNS:
    case FAIL_UPSTREAM_TLS:
    case FAIL_UNSUPPORTED:
    case FAIL_STEERING:
        return true;
    case FAIL_UPSTREAM_FAILED:
    case FAIL_UPSTREAM_LOADING:
    case FAIL_UPSTREAM_BUSY:
    case FAIL_OVERLOADED:
        if (flight->answered_retry || !flight->context->may_retry(flight->context->data))
            return false;
        flight->answered_retry = true;
        return true;
    default:
        return false;
    }
}

/* Nobody is asked any more. */
static void give_up(struct flight *flight, const struct failure *failure)
{
    transcript_tell(flight->transcript, &flight->facts);
    if (transcript_status(flight->transcript) == TRANSCRIPT_GROWING)
        transcript_fail(flight->transcript, failure);
    flight_free(flight);
}

/* Who could be reached has no room for whoever pays. */
static void give_up_full(struct flight *flight)
{
    struct failure full = failure_make(
        &flight->arena, FAIL_RATE_LIMITED,
        "The backends of '%.*s' that can be reached are at their limits. Please try again later.",
        BYTES_ARG(flight->question->request.model));

    full.retry_after_ms = 1000;
    flight->context->note(flight->context->data, FLIGHT_FULL, NULL, &full);
    give_up(flight, &full);
}

static void set_out(struct flight *flight)
{
    if (flight->failure)
        flight_note(flight, FLIGHT_FAILOVER, flight->failure);
    flight_ask_candidate(flight);
}

void flight_move_on(struct flight *flight)
{
    struct flight_context *context = flight->context;

    flight->stage = STAGE_MOVE;
    for (; flight->at < flight->count; flight->at++) {
        enum flight_move move = FLIGHT_MAY;

        if (flight->bill)
            move = context->may_move(context->data, flight->bill, flight_candidate(flight)->backend, flight);
        if (move == FLIGHT_WAIT) {
            flight->waits_us = clock_us();
            transcript_set_queued(flight->transcript, true);
            return;
        }
        if (move == FLIGHT_MAY) {
            set_out(flight);
            return;
        }
    }
    give_up_full(flight);
}

void flight_moved(struct flight *flight, bool may)
{
    flight->facts.queued_us += clock_us() - flight->waits_us;
    transcript_set_queued(flight->transcript, false);
    if (may) {
        set_out(flight);
        return;
    }
    flight->at++;
    flight_move_on(flight);
}

/* The failure outlives what it was read from. */
static void keep_failure(struct flight *flight, const struct failure *failure)
{
    struct failure *kept = arena_alloc(&flight->arena, sizeof(*kept));

    *kept = failure_copy(&flight->arena, failure);
    flight->failure = kept;
}

void flight_failed(struct flight *flight, const struct failure *failure)
{
    assert(flight->transcript);
    if (flight->called)
        flight_note(flight, FLIGHT_FAILED, failure);
    flight_note_try(flight, failure, clock_us());
    if (flight->call)
        flight_note(flight, FLIGHT_CALL_ENDED, NULL);
    flight->call = call_cancel(flight->call);
    if (!may_ask_another(flight, failure)) {
        give_up(flight, failure);
        return;
    }
    keep_failure(flight, failure);
    flight_listen_reset(flight);
    logits_free(flight->talk);
    flight->talk = NULL;
    flight->at++;
    flight_move_on(flight);
}
