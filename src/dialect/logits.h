/*
 * Next-token logits over backends that have no such call: a conversation of several requests, without I/O.
 *
 * The flight asks logits_next() what to send, sends it, and hands the reply back, until there is an answer.
 * The algorithms are one file per kind; what they do and how exact they are is told in docs/logits.md.
 */
#pragma once

#include "dialect/backend.h"

struct logits_talk; /* lives in the ask's arena, which grows with every request */

/* Begin. NULL with a failure when this kind cannot answer (STEERING, UNSUPPORTED, a scale it has not). The
 * ask is copied; what it points at must live as long as the talk. */
struct logits_talk *logits_start(const struct backend_ask *ask, struct failure *ret_failure);
void logits_free(struct logits_talk *talk);

enum logits_verdict { LOGITS_ASK, LOGITS_DONE, LOGITS_FAILED };

/* STATUS and REPLY are the answer to the last request (0 and none at the first call). LOGITS_ASK: send
 * *RET_REQUEST, which is valid until the next call. LOGITS_DONE: *RET_ANSWER is the whole answer as JSON,
 * valid until logits_free(). */
enum logits_verdict logits_next(struct logits_talk *talk, unsigned status, struct bytes reply,
                                struct backend_request *ret_request, struct bytes *ret_answer,
                                struct failure *ret_failure);
