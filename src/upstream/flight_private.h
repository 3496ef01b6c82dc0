/*
 * Inside a flight: shared by the file that asks and the file that listens.
 */
#pragma once

#include "dialect/backend.h"
#include "dialect/logits.h"
#include "upstream/echo.h"
#include "upstream/flight.h"
#include "upstream/sse.h"

enum flight_stage {
    STAGE_MOVE,     /* may this candidate be asked? */
    STAGE_ADAPTERS, /* is the LoRA id there? llama-server would ignore an unknown one and switch the others off */
    STAGE_TALK,     /* logits, in several requests */
    STAGE_ANSWER,   /* the one request whose answer is the answer */
    STAGE_PASS,     /* an answer passed on as it is */
    STAGE_TAIL,     /* all was said; the connection is read to its end so that it can be used again */
};

struct flight {
    struct flight_context *context;
    struct list link;
    struct arena arena;
    struct question *question;
    struct transcript *transcript;  /* NULL once it ended */
    enum chat_shape client;
    struct transcript_facts facts;
    void *bill;
    struct bytes key, traceparent, tracestate;
    uint64_t asked_us;              /* the present candidate */
    bool called;                    /* it was asked something */

    struct flight_candidate *candidates;
    unsigned count, at;
    const struct failure *failure;  /* of the one before, in the arena; NULL: there was none */
    uint64_t waits_us;              /* since when, for a place at this one */
    struct bytes lora;              /* the list of adapters asked for, of llama-server */
    struct bytes pass_path;
    bool pass_get;

    enum flight_stage stage;
    struct backend_request asked;
    struct logits_talk *talk;
    uint64_t talk_deadline;
    struct call *call;
    struct echo *echo;
    bool stale_retried;             /* of the present request */
    bool answered_retry;            /* one candidate had answered that it cannot, and another was asked */
    bool paused;

    bool streaming;
    bool reading;                   /* answer and sse are set up */
    struct backend_answer answer;
    struct sse sse;
    struct buffer body;
    uint64_t told_chunks;           /* events that had come when the answer last told its tokens */
    unsigned status;
    size_t tail_bytes;              /* read since the answer's end */
    struct bytes retry_after;
};

static inline struct flight_candidate *flight_candidate(struct flight *flight)
{
    return &flight->candidates[flight->at];
}

/* --- flight.c --- */

/* Begin with the candidate that is up. */
void flight_ask_candidate(struct flight *flight);
/* It was asked; FAILURE is what came of it, or NULL. */
void flight_note_try(struct flight *flight, const struct failure *failure, uint64_t now_us);
/* Send flight->asked. */
void flight_send(struct flight *flight, bool fresh);
/* The question itself, after whatever had to be asked before. */
void flight_ask(struct flight *flight);
/* The answer is complete. The flight may be gone afterwards. */
void flight_finished(struct flight *flight);
void flight_note(struct flight *flight, enum flight_note note, const struct failure *failure);
struct flight *flight_free(struct flight *flight);

/* --- flight_next.c --- */

/* To the candidate that is up, or the first one behind it that whoever pays may ask. The flight may be gone
 * afterwards; so it may behind the next one. */
void flight_move_on(struct flight *flight);
/* This candidate cannot: the next one, or the end. */
void flight_failed(struct flight *flight, const struct failure *failure);

/* --- flight_listen.c --- */

extern const struct transfer_events flight_events;
/* Forget the last answer, ready for another. */
void flight_listen_reset(struct flight *flight);
/* Go on with a logits conversation. */
void flight_talk(struct flight *flight, unsigned status, struct bytes reply);
