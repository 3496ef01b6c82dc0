/*
 * libcurl's multi interface on a libuv loop: the curl half of a transfer_loop, for link/ alone.
 *
 * Sockets stay registered between transfers (no epoll change per request); easy handles come from a free list; a timer
 * of 0 runs after the current batch of socket events; finished transfers are reported once per loop turn, never from
 * inside another libcurl call.
 */
#pragma once

#include <uv.h>

struct curl_loop;

/* Once per process, before any thread starts. */
void curl_loop_global_init(void);

/* A multi on LOOP. IDLE_CONNECTIONS is how many unused connections it keeps at most. */
struct curl_loop *curl_loop_new(uv_loop_t *loop, unsigned idle_connections);

/* Every transfer must have ended and every target be free. Handles close during the next loop turns; CLOSED comes when
 * all are. */
void curl_loop_close(struct curl_loop *loop, void (*closed)(void *data), void *data);

/* Easy handles waiting on the free list: for the books. */
unsigned curl_loop_idle_handles(const struct curl_loop *loop);
