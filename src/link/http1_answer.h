/*
 * The answers of one upstream connection, read by llhttp (strict, RFC 9112 6.3), as bytes come. No copy: pieces of the
 * body are views of what was read.
 */
#pragma once

#include "link/transfer_private.h"

/* Both may free the answer's owner, but not the answer, and then return false: nothing more is read. */
struct http1_answer_events {
    bool (*head)(void *data, const struct transfer_head *head);
    bool (*body)(void *data, struct bytes piece);
};

enum http1_answer_state {
    HTTP1_ANSWER_MORE,      /* it goes on */
    HTTP1_ANSWER_WHOLE,     /* it ended as it should */
    HTTP1_ANSWER_CUT,       /* cut or malformed behind its head */
    HTTP1_ANSWER_BAD,       /* no HTTP, or nothing this gateway can relay */
    HTTP1_ANSWER_LEFT,      /* a callback returned false */
};

struct http1_answer;

struct http1_answer *http1_answer_new(const struct http1_answer_events *events);
struct http1_answer *http1_answer_free(struct http1_answer *answer);

/* Before each answer; DATA is for the callbacks. */
void http1_answer_begin(struct http1_answer *answer, void *data);

/* Read INPUT, of which at most TRANSFER_HEADER_LIMIT bytes may come before the head is whole, or between two bytes of
 * a body (chunk extensions, trailers). Any state but MORE stays until http1_answer_begin(); then *RET_REST is what of
 * INPUT did not belong to it any more (whole answers only, else nothing). */
enum http1_answer_state http1_answer_read(struct http1_answer *answer, struct bytes input, struct bytes *ret_rest);
/* The connection ended: WHOLE for an answer that lasts until then, else BAD (within a head) or CUT. */
enum http1_answer_state http1_answer_end(struct http1_answer *answer);

/* Of this answer: the first byte was read; its head was given. */
bool http1_answer_begun(const struct http1_answer *answer);
bool http1_answer_headed(const struct http1_answer *answer);
/* Of a whole one: the connection may be used again. */
bool http1_answer_keeps(const struct http1_answer *answer);
/* Of a bad or cut one: a few words of ours, static. */
const char *http1_answer_reason(const struct http1_answer *answer);
