/*
 * An HTTP/1.1 answer as the load generator reads it, from any cut: head, then a body of known length or of
 * chunks; of a stream's body, the events.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum answer_state {
    ANSWER_HEAD, ANSWER_LENGTH, ANSWER_CHUNK_SIZE, ANSWER_CHUNK, ANSWER_CHUNK_END, ANSWER_DONE,
};

enum { ANSWER_TEXT = 2048 };

struct answer {
    enum answer_state state;
    unsigned status;
    bool chunked, stream, last_chunk;
    uint64_t left;                      /* of the body or of this chunk */
    uint32_t text_length;               /* the head, an event, or a whole body's beginning, as far as it came */
    uint32_t event_read;                /* number of the read() of the open event's first byte */
    char text[ANSWER_TEXT];
};

/* Called for each complete event of a stream. FIRST_READ and the current read differ: the event came in
 * pieces. */
typedef void answer_event(void *data, const char *event, size_t length, uint32_t first_read);

void answer_reset(struct answer *answer);
/* Takes what read() number READ gave. False: not HTTP as expected. ANSWER_DONE is reached at the body's last
 * byte; anything after it is an error, since no request was sent yet. */
bool answer_take(struct answer *answer, const char *bytes, size_t length, uint32_t read, answer_event *event,
                 void *data);
