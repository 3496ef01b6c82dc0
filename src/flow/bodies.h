/*
 * What the log holds of a request and of its answer: nothing, their hashes, or all of them, redacted. Whatever the
 * client got is gathered as it is delivered; a stream is put together.
 *
 * Where there are patterns, "[redacted]" is all that is told of a body they cannot be looked for in: one that did not
 * come whole (a request cut short; an answer that broke off, that its reader left or lagged behind, or that was too
 * long to gather), as its end may be the beginning of a secret; and one that is no JSON (record/redact.h).
 */
#pragma once

#include "flow/exchange.h"
#include "record/record.h"

/* Nothing was gathered yet for X, whose key and model are known by now. */
bool bodies_wanted(const struct exchange *x);
/* EVENT is being delivered to X. */
void bodies_add(struct exchange *x, const struct chat_event *event);

/* Fill in RECORD's hashes and bodies; their views live in X's arena and in the flow's scratch until the next call. */
void bodies_tell(struct exchange *x, struct record *record);
void bodies_forget(struct exchange *x);
