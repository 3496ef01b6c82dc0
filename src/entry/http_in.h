/*
 * HTTP/1.0 and 1.1 requests out of bytes (RFC 9112), strictly. The only door to llhttp.
 *
 * Before llhttp sees a byte of a head, a filter of our own has checked its line ends and sizes; after it, the
 * head is checked against the rules that llhttp lacks. Bodies are framed here as strictly. After any error
 * the connection must not be parsed on.
 *
 * An offer to upgrade to h2c is passed over: the request is an ordinary one, its connection closes after the
 * answer.
 */
#pragma once

#include "base/buffer.h"
#include "chat/failure.h"

enum http_method { HTTP_GET_, HTTP_HEAD_, HTTP_POST_, HTTP_OPTIONS_, HTTP_OTHER_ /* known, not served */ };

/* Views into the head; valid until http_in_reset(). */
struct http_request {
    enum http_method method;
    struct bytes method_text;
    struct bytes path, query;       /* of the target; query without the question mark, or none */
    unsigned minor;                 /* HTTP/1.minor */
    bool keep_alive;
    bool expect_continue;
    bool chunked;
    bool has_body;                  /* chunked, or a Content-Length above 0 */
    uint64_t content_length;        /* 0 when chunked or absent */
    struct bytes authorization, api_key, content_type, accept, request_id, user_agent;
    struct bytes traceparent, tracestate, explain, host, origin;
    struct bytes cache_control;     /* of all its lines, joined by ", "; none when there is no such line */
};

struct http_in_limits {
    uint32_t line_bytes;    /* the request line: 8 KB */
    uint32_t head_bytes;
    uint32_t headers;
    uint32_t overhead_bytes; /* chunk sizes and trailers of one request: 16 KB */
    uint64_t body_bytes;     /* of chunks together; 0: the owner counts. A Content-Length is the owner's in any case */
};

struct http_in;

enum http_in_step {
    HTTP_IN_MORE,   /* all input was taken */
    HTTP_IN_HEAD,   /* the head is complete: http_in_request() */
    HTTP_IN_BODY,   /* *RET_PIECE is a piece of body (a view of the input) */
    HTTP_IN_END,    /* the message is complete; what is left in the input belongs to the next one */
    HTTP_IN_ERROR,  /* http_in_error() */
};

struct http_in *http_in_new(const struct http_in_limits *limits);
struct http_in *http_in_free(struct http_in *in);

/* Takes from the front of *INPUT, one step at a time. How the input is cut does not change what comes. */
enum http_in_step http_in_next(struct http_in *in, struct bytes *input, struct bytes *ret_piece);

const struct http_request *http_in_request(const struct http_in *in);
/* A byte of a head has been read and its end has not: for the header timer. */
bool http_in_head_begun(const struct http_in *in);
/* Bytes of body still to come; UINT64_MAX when it is chunked and has not ended. */
uint64_t http_in_left(const struct http_in *in);
/* The kind, and a static sentence. */
enum failure_kind http_in_error(const struct http_in *in, const char **ret_message);

/* Ready for the next message on the connection; the old request's views are gone. */
void http_in_reset(struct http_in *in);

/* Bytes of memory the head takes; small ones are kept by http_in_reset(). */
size_t http_in_held(const struct http_in *in);
/* llhttp's leniencies after the last head, for the test that wants them all off. */
unsigned http_in_lenient_flags(const struct http_in *in);
