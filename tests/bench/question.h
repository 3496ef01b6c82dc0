/*
 * What the load generator asks, and whether an answer belongs to its question.
 *
 * Questions differ by a nonce in their text, which the upstream gives back as the answer's id. An answer with another
 * id is somebody else's; one that differs from the others anywhere else was changed on its way; a stream that comes
 * again with other stamps was not remembered but made anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct question_plan {
    int port;                           /* for the Host line */
    const char *key;                    /* shown as a Bearer token */
    bool stream, seeded;
    uint32_t body_bytes;
    uint32_t event_rate, events;        /* of a stream */
    uint32_t different;                 /* so many questions, in turn; 0: one, without a nonce */
    bool always_new;                    /* instead: no question twice, in this run or another */
};

void question_init(const struct question_plan *plan);
/* The nonce of the next one. */
uint64_t question_next(void);
/* The whole HTTP request. Good until the next call. */
const char *question_text(uint64_t nonce, size_t *ret_length);

/* Is TEXT, the beginning of a whole body, the answer to NONCE? */
bool question_is_whole(uint64_t nonce, const char *text, size_t length);
bool question_is_event(uint64_t nonce, const char *event, size_t length);
/* STAMPS: the sum of a finished stream's. True when an earlier answer to NONCE had others; this one is remembered. */
bool question_is_changed(uint64_t nonce, uint64_t stamps);
