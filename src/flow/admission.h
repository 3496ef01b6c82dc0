/*
 * One request's admission: what it takes from its scopes, until it is settled. Begun by the limit step; handed to the
 * flight when this request has an answer made, since that is what costs, whoever reads it; else settled with the
 * exchange.
 */
#pragma once

#include "admit/estimate.h"
#include "admit/queue.h"
#include "admit/shared.h"
#include "flow/exchange.h"

struct admission {
    struct flow *flow;
    struct exchange *x;         /* who waits for the decision; NULL once it does not any more */
    struct list waiting;        /* among those in a queue */

    struct scope *scopes[SCOPE_KINDS];
    struct queue *model_queue;  /* in front of the model's scope; NULL: none */
    const struct config_backend *backend;       /* whose scope it is; NULL: none has a part in it */
    struct estimate estimate;
    struct config_price price;
    struct charge want;
    bool whole_cost;            /* what is used is charged; else the request alone (a hit) */

    /* What it took, here or in Redis; MOVED: of the backend that was asked instead, or NULL. */
    struct reservation local, *moved;
    struct shared_take *shared, *shared_moved;
    bool asking, taken, tried;
    int result;
    struct refusal refusal;

    struct waiter waiter;
    bool has_turn;
    uint64_t since_ms, until_ms;    /* of its patience, whichever queue it waits in */
    uint64_t waited_ms;
    uint32_t position;          /* in the queue when it joined, from 1; 0: it did not wait */
};

/* The limits that X's request is under; NULL: none. */
struct admission *admission_new(struct exchange *x, const struct config_backend *backend);
/* Try to take. True: decided, see `result`; else X is resumed when it is. */
bool admission_try(struct admission *admission);
/* The place among BACKEND's is wanted instead of the one before; nothing is taken at this time. */
void admission_set_backend(struct admission *admission, const struct config_backend *backend);
/* It is over: FACTS (NULL: nothing was done) tell what was used. Frees it. */
void admission_settle(struct admission *admission, const struct transcript_facts *facts);

/* BACKEND is asked instead of the one whose place was taken, which is given back: false when its own limits do not let
 * this in. Where Redis counts there is no time to wait for it: charged without asking, and true. */
bool admission_move(struct admission *admission, const struct config_backend *backend);
/* It needs no backend after all; WHOLE_COST: what the answer cost is charged all the same. NULL is fine. */
void admission_lighten(struct admission *admission, bool whole_cost);
/* As if it had never been taken; frees it. */
void admission_undo(struct admission *admission);

/* The queue in front of its scope of KIND; NULL: none. */
struct queue *admission_queue(const struct admission *admission, enum scope_kind kind);

/* A place at BACKEND came free: whoever waits for it tries, else whoever waits for one that stands beside it. */
void patience_offer(struct patience *patience, const struct config_backend *backend);

/* Keep in X what the answer's head is to tell of its limits. */
void admission_note(struct exchange *x, const struct admission *admission);
