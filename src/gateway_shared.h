/*
 * What all workers of the process share: made before the first of them, taken down after the last.
 */
#pragma once

#include "flow/flow.h"

/* MOST_CONNECTIONS of clients. */
void gateway_shared_init(struct flow_shared *shared, const struct config *config, uint32_t most_connections);
void gateway_shared_deinit(struct flow_shared *shared);
