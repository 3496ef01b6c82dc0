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
    const struct config_backend *moving;        /* the one that was to be asked last, instead of the first */
    struct flight *flight;      /* waits to hear whether it may be */
    enum flight_move move;      /* may it? */
    bool asking, taken, tried;
    int result;
    struct refusal refusal;

    /* As whom it waits: see admission_introduce(). */
    bool has_key;
    uint8_t key[DIGEST_SIZE];   /* its digest */
    struct bytes team;          /* in the question's arena */
    uint32_t weight;            /* 0: it was not introduced */
    struct waiter waiter;
    bool has_turn;
    uint64_t since_ms;          /* since when it waits, whichever queue it waits in */
    uint64_t left_ms;           /* of its patience, when it left a queue */
    uint64_t waited_ms;
    uint32_t position;          /* in the queue when it joined, from 1; 0: it did not wait */
};

/* The scopes that X's request is under, a backend's aside; false: there is none. */
bool admission_scopes(const struct exchange *x, struct scope *scopes[SCOPE_KINDS]);
/* The limits that X's request is under; NULL: none. */
struct admission *admission_new(struct exchange *x, const struct config_backend *backend);
/* Before it may wait, and while X is there: who it is. Twice is fine. */
void admission_introduce(struct admission *admission, struct exchange *x);
/* Try to take. True: decided, see `result`; else X is resumed when it is. */
bool admission_try(struct admission *admission);
/* The place among BACKEND's is wanted instead of the one before; nothing is taken at this time. */
void admission_set_backend(struct admission *admission, const struct config_backend *backend);
/* It is over: FACTS (NULL: nothing was done) tell what was used. Frees it. */
void admission_settle(struct admission *admission, const struct transcript_facts *facts);

/* The time that limits are asked with. */
struct admit_time admission_now(void);
/* It had to wait: is the key that it came with good still? */
bool admission_is_known(const struct admission *admission);
/* Some decision of Redis is waited for. */
bool admission_is_asking(const struct admission *admission);

/* It needs no backend after all; WHOLE_COST: what the answer cost is charged all the same. NULL is fine. */
void admission_lighten(struct admission *admission, bool whole_cost);
/* As if it had never been taken; frees it. */
void admission_undo(struct admission *admission);

/* The queue in front of its scope of KIND; NULL: none. */
struct queue *admission_queue(const struct admission *admission, enum scope_kind kind);

/* Keep in X what the answer's head is to tell of its limits. */
void admission_note(struct exchange *x, const struct admission *admission);
/* The same of a request that takes nothing: how they stand. */
void admission_look(struct exchange *x);

/* --- admission_move.c --- */

/* BACKEND is to be asked instead of the one whose place was taken, which is given back: do its own limits let this in?
 * FLIGHT waits for Redis, and in the queue in front of BACKEND. */
enum flight_move admission_move(struct admission *admission, const struct config_backend *backend,
                                struct flight *flight);
/* Its patience is over. ADMISSION may be gone afterwards. */
void admission_move_late(struct admission *admission);
/* What was taken of the backend is given back: of the first one a part of the whole, of another one by itself. */
void admission_leave_backend(struct admission *admission);
