/*
 * The corridor of one worker: it knows every room and hands a request from one to the next.
 */
#pragma once

#include "config/config.h"
#include "entry/conn.h"
#include "record/metrics.h"

#include <stdatomic.h>

struct memo;

/* What all workers of the process share. */
struct flow_shared {
    const struct config *config;
    struct memo *memo;
    struct metrics **sets;          /* one per worker, the administration's included */
    unsigned set_count;
    int64_t started;                /* wall clock, seconds */
    _Atomic bool ready;             /* readiness, as /readyz tells it */
    _Atomic uint64_t body_bytes;    /* of request bodies held by all workers */
    _Atomic uint32_t connections;   /* open ones, all workers */
    uint32_t most_connections;
};

struct flow;

/* ADMIN: serves the administration's pages and nothing else. */
struct flow *flow_new(uv_loop_t *loop, struct flow_shared *shared, struct metrics *metrics, bool admin);

/* Where the listeners put their clients. */
struct conn_context *flow_conns(struct flow *flow);
/* For a listener's gate: there is room for one more connection. */
bool flow_admit(void *data);

/* No new work: idle connections close, the others after their answer. */
void flow_drain(struct flow *flow);
/* End what is still open, each with an error its client sees. */
void flow_abort(struct flow *flow);
/* Nothing is open any more, and nobody reads what is made here. */
bool flow_idle(const struct flow *flow);

/* After flow_idle(). CLOSED comes when its handles are closed; then flow_free() it. */
void flow_close(struct flow *flow, void (*closed)(void *data), void *data);
struct flow *flow_free(struct flow *flow);
