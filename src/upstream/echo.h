/*
 * The built-in backend: it answers with the user's last words, token by token, at a set pace, and with logits that
 * depend on nothing but the question. No model, no network; the same question gives the same answer.
 *
 * Steering shows: a steered question is answered with a mark that names the steering, so that a client developer sees
 * that it arrived.
 */
#pragma once

#include "chat/request.h"
#include "chat/transcript.h"

#include <uv.h>

struct echo_question {
    enum chat_operation operation;
    struct bytes body;              /* as for an OpenAI-shaped server; must outlive the echo */
    struct bytes model;
    const struct chat_steering *steering;
    uint32_t pace_ms;               /* between tokens; 0: at once */
    uint32_t answer_bytes;          /* a whole answer is at most about as large */
};

struct echo;

/* Answer into TRANSCRIPT. ENDED comes once from the loop when all has been said (the transcript is not finished by the
 * echo), unless echo_cancel() came first. NULL with a failure when the question cannot be answered. */
struct echo *echo_start(uv_loop_t *loop, const struct echo_question *question, struct transcript *transcript,
                        void (*ended)(void *data), void *data, struct failure *ret_failure);
/* What it says it used. */
void echo_facts(const struct echo *echo, struct transcript_facts *facts);
struct echo *echo_cancel(struct echo *echo);
/* The transcript has room again. */
void echo_resume(struct echo *echo);
