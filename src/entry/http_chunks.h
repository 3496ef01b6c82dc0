/*
 * The chunked coding (RFC 9112 7.1), strictly. Private to entry/.
 */
#pragma once

#include "entry/http_rules.h"

/* Zeroed at the start of a body. */
struct http_chunks {
    uint64_t left;      /* of the chunk that is read; its size, while that is read */
    uint64_t data;      /* body bytes so far */
    uint64_t overhead;  /* all other bytes so far */
    uint8_t state;
    uint8_t digits;
    uint8_t name_size;  /* of the trailer that is read, at most sizeof(name) */
    char name[HTTP_TRAILER_NAME + 1];
};

/* Takes from the front of *INPUT: HTTP_IN_MORE, HTTP_IN_BODY with *RET_PIECE, HTTP_IN_END, or
 * HTTP_IN_ERROR with *FAULT. */
enum http_in_step http_chunks_next(struct http_chunks *chunks, const struct http_in_limits *limits, struct bytes *input,
                                   struct bytes *ret_piece, struct http_fault *fault);
