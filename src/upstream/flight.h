/*
 * One answer being made: candidates are asked in turn until the first event came; what comes back goes into a
 * transcript.
 *
 * A flight belongs to itself: it ends with its transcript, or when the transcript's last reader leaves. It holds the
 * question and the transcript; whoever started it holds nothing of it.
 */
#pragma once

#include "base/list.h"
#include "chat/question.h"
#include "chat/transcript.h"
#include "dialect/backend.h"
#include "upstream/call.h"

enum flight_note {
    FLIGHT_CALL,        /* a call was started */
    FLIGHT_CALL_ENDED,  /* it is over, whichever way */
    FLIGHT_CANCELLED,   /* nobody waits any more */
    FLIGHT_RETRIED,     /* a stale pooled connection: the same call once more */
    FLIGHT_FAILED,      /* a call failed; FAILURE says how */
    FLIGHT_FINISHED,    /* the answer is complete */
    FLIGHT_FAILOVER,    /* the next candidate is asked */
    FLIGHT_FULL,        /* nobody was asked: no candidate has room for whoever pays; BACKEND is NULL */
    FLIGHT_PAUSED,      /* the upstream is held back for a slow reader */
    FLIGHT_REACHED,     /* the backend began to answer, whatever it says */
};

/* May a candidate be asked by whoever pays? WAIT: flight_moved() tells later. */
enum flight_move { FLIGHT_MAY, FLIGHT_MAY_NOT, FLIGHT_WAIT };

struct flight;

/* What the flights of one worker share. */
struct flight_context {
    uv_loop_t *loop;
    struct list flights;
    uint32_t answer_bytes, event_bytes;
    struct json_doc doc;        /* scratch: one answer is read at a time */
    struct buffer spare;        /* empty: for the next whole answer */
    /* For the books; BACKEND is the one being asked. May not call back into the flight. */
    void (*note)(void *data, enum flight_note note, const struct config_backend *backend,
                 const struct failure *failure);
    /* May one more backend be asked after one answered that it cannot? */
    bool (*may_retry)(void *data);
    /* BACKEND is to be asked, instead of the one before if there was one. Of FLIGHT_WAIT the answer comes once, unless
     * BILL is settled before. */
    enum flight_move (*may_move)(void *data, void *bill, const struct config_backend *backend, struct flight *flight);
    /* A flight is over, whichever way: its BILL, once. May not call back into the flight. */
    void (*settle)(void *data, void *bill, const struct transcript_facts *facts);
    void *data;
};

struct flight_candidate {
    struct upstream *upstream;      /* NULL for an echo */
    const struct config_backend *backend;
    enum config_kind kind;
    struct bytes upstream_model;
    const struct config_params *defaults, *fixed;
    struct chat_steering steering;
};

/* What CANDIDATE would be asked: REQUEST, by a client of shape CLIENT. A view of the candidate. */
struct backend_ask flight_ask_of(const struct flight_candidate *candidate, const struct chat_request *request,
                                 enum chat_shape client, struct arena *arena);

struct flight_plan {
    struct question *question;
    struct transcript *transcript;
    enum chat_shape client;
    const struct flight_candidate *candidates;  /* copied; their views must outlive the flight or lie in the question */
    unsigned count;
    /* Pass the question on as it is to this path of the first candidate, and the answer back. */
    struct bytes pass_path;
    bool pass_get;
    struct bytes key;               /* what the client showed, in the question's arena, for a backend
                                       that gets it passed through; else none */
    struct bytes traceparent, tracestate;       /* for the backends, in the question's arena; or none */
    void *bill;                     /* for the context's `settle` when the flight is over; or NULL */
    bool paid;                      /* the first candidate may be asked: BILL says so already */
};

/* The context stays where it is until deinit. */
void flight_context_init(struct flight_context *context, uv_loop_t *loop);
void flight_context_deinit(struct flight_context *context);

/* Set off. The transcript hears of everything, failure at the start included. */
void flight_start(struct flight_context *context, const struct flight_plan *plan);

/* The answer to a FLIGHT_WAIT; not from inside may_move(). FLIGHT, and its bill, may be gone afterwards. */
void flight_moved(struct flight *flight, bool may);

/* Some answer is being made still. */
bool flight_busy(const struct flight_context *context);

/* End all, failing their transcripts with FAILURE. */
void flight_cancel_all(struct flight_context *context, const struct failure *failure);
