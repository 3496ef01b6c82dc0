/*
 * The corridor of one worker: it knows every room and hands a request from one to the next.
 */
#pragma once

#include "config/config.h"
#include "entry/conn.h"
#include "record/metrics.h"

#include <stdatomic.h>

struct admit;
struct guard;
struct journal;
struct keyring;
struct memo;
struct queue;
struct recent;
struct series;
struct top;

/* What all workers of the process share. */
struct flow_shared {
    const struct config *config;
    struct memo *memo;
    struct admit *admit;            /* the scopes and what was used of them */
    struct admit *shares;           /* the same, of the local share while a shared Redis is away */
    struct guard *guard;            /* against guessing keys */
    struct queue **model_queues, **backend_queues;  /* by index; NULL where nobody may wait */
    uv_mutex_t keyring_lock;
    struct keyring *keyring;        /* NULL: no keys are asked for */
    _Atomic unsigned keyring_number;        /* moves with every new keyring */
    struct metrics **sets;          /* one per worker, the administration's included */
    unsigned set_count;
    struct series **series;         /* one per worker too: by label */
    struct top **tops;              /* and by key */
    struct recent *recent;          /* the last failures */
    struct journal *journal;        /* the request log; NULL: none */
    int64_t started;                /* wall clock, seconds */
    _Atomic bool ready;             /* readiness, as /readyz tells it */
    _Atomic uint64_t body_bytes;    /* of request bodies held by all workers */
    _Atomic uint32_t connections;   /* open ones, all workers */
    uint32_t most_connections;
};

struct flow;

/* The INDEXth of SHARED's sets is its own. ADMIN: serves the administration's pages and nothing else. */
struct flow *flow_new(uv_loop_t *loop, struct flow_shared *shared, unsigned index, bool admin);

/* Where the listeners put their clients. */
struct conn_context *flow_conns(struct flow *flow);
/* For a listener's gate: there is room for one more connection. */
bool flow_admit(void *data);

/* No new work: idle connections close, the others after their answer. */
void flow_drain(struct flow *flow);
/* End what is still open, each with an error its client sees. */
void flow_abort(struct flow *flow);
/* What has not ended now never will: it is cut off, and recorded. */
void flow_cut(struct flow *flow);
/* Nothing is open any more, and nobody reads what is made here. */
bool flow_idle(const struct flow *flow);

/* After flow_idle(). CLOSED comes when its handles are closed; then flow_free() it. */
void flow_close(struct flow *flow, void (*closed)(void *data), void *data);
struct flow *flow_free(struct flow *flow);
