/*
 * A model nobody here knows. The dialects find out what the question says; whether the model exists is the
 * route's knowledge, so the flow asks for these words.
 */
#pragma once

#include "dialect/client.h"

/* FAIL_NO_MODEL in the words of DIALECT. NAMES are the models there are; a Goodfire client is told the
 * first 20. */
struct failure failure_no_model(const struct client_dialect *dialect, struct arena *arena, struct bytes model,
                                const struct bytes *names, unsigned count);
