/*
 * Those of one worker who wait for a place, in whichever queue: each has so much patience as the queue it came to first
 * allows, and whoever asked for a stream is told meanwhile that it is alive.
 */
#pragma once

#include "flow/admission.h"

struct patience *patience_new(struct flow *flow);
/* Nobody may wait any more. */
void patience_close(struct patience *patience, uv_close_cb closed);
struct patience *patience_free(struct patience *patience);

/* ADMISSION waits in QUEUE: TURN comes, on this thread, for each try it has. When its patience is over first, it is its
 * exchange's or its flight's turn to say so. False: the queue is full. */
bool patience_wait(struct admission *admission, struct queue *queue, void (*turn)(void *data), void *data);
/* It got its place; it gave up. Fine when it does not wait. */
void patience_take(struct admission *admission);
void patience_leave(struct admission *admission);

/* A place at BACKEND came free: whoever waits for it tries, else whoever waits for one that stands beside it. */
void patience_offer(struct patience *patience, const struct config_backend *backend);
