/*
 * Whether a question asked again would be answered the same; see also backend_key.h.
 */
#pragma once

#include "dialect/backend_draft.h"
#include "dialect/backend_key.h"

/* The most likely token is taken each time, whatever the seed: no member that we do not know could undo it. */
bool repeat_greedy(const struct backend_draft *draft);
/* Temperature 0, and nothing known to undo it. What we do not know might, so the seed is part of the question. */
bool repeat_cold(const struct backend_draft *draft);

/* A seed that stands for "any": -1, or what the kind takes for it. */
bool repeat_seed_random(const struct backend_draft *draft);

/* For a backend that honours seeds: REPEAT_YES, REPEAT_NOT_ASKED or REPEAT_SEED_UNUSABLE. */
enum repeat_reason repeat_seeded(const struct backend_draft *draft);

/* What else than the question could shape the answer, or be done by it: REPEAT_YES when there is nothing. */
enum repeat_reason repeat_influence(const struct chat_request *request);

/* Some scope of CONTROLLER, at any depth, has an event_name. */
bool repeat_event_named(const struct json_doc *doc, const struct json_node *controller);
