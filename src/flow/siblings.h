/*
 * Backends that stand beside each other: some model may be asked of either. Whoever may be served by several of them
 * waits in one queue, in front of one; a place that comes free at another one is offered there too.
 */
#pragma once

#include "admit/queue.h"
#include "config/config.h"

struct siblings;

/* QUEUES by backend, NULLs among them: both outlive it. Without configured models all backends are siblings. */
struct siblings *siblings_new(const struct config *config, struct queue *const *queues);
struct siblings *siblings_free(struct siblings *siblings);
/* A place of BACKEND is wanted by nobody in its own queue: offered to the queues of its siblings. */
void siblings_offer(const struct siblings *siblings, uint32_t backend);
