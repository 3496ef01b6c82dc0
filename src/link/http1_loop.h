/*
 * The plain connections of one loop: what transfer.c needs to know of them.
 */
#pragma once

#include <uv.h>

struct http1_loop;

/* IDLE_CONNECTIONS is how many unused connections are kept at most. */
struct http1_loop *http1_loop_new(uv_loop_t *loop, unsigned idle_connections);
/* Every target must be free. CLOSED comes once all handles are closed, in a later turn; LOOP is gone then. */
void http1_loop_close(struct http1_loop *loop, void (*closed)(void *data), void *data);
/* Connections that wait to be used again. */
unsigned http1_loop_idle(const struct http1_loop *loop);
