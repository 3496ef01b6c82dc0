/*
 * One thread of the gateway: a loop, its listeners, its corridor.
 */
#pragma once

#include "flow/flow.h"

struct worker;

/* A worker for SHARED, with the INDEXth of its sets, listening on ADDRESSES. FIRST is the worker that opened them
 * before and shares them, or NULL. ENDED comes, from the worker's thread, when it is over. 0, or libuv's code with
 * the index of the address in *RET_BAD. */
int worker_new(struct flow_shared *shared, unsigned index, bool admin, const struct config_address *addresses,
               unsigned count, const struct worker *first, void (*ended)(void *data), void *data, struct worker **ret,
               unsigned *ret_bad);

uv_loop_t *worker_loop(struct worker *worker);
/* Its listener's name: "127.0.0.1:8080". */
const char *worker_listens(const struct worker *worker, unsigned at);
/* The port its first listener got: for the next worker when 0 was asked for. */
uint16_t worker_port(const struct worker *worker, unsigned at);

/* Run in a thread of its own; or here, until it is over. */
int worker_start(struct worker *worker);
void worker_run(struct worker *worker);
/* Wait for the thread, take everything down. */
struct worker *worker_free(struct worker *worker);

/* From any thread. Drain: accept no more, end when the last answer is out. Abort: end the answers too. */
void worker_drain(struct worker *worker);
void worker_abort(struct worker *worker);
/* Whatever is still open is cut off. */
void worker_cut(struct worker *worker);
