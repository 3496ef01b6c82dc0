/*
 * HTTP/1.0 and 1.1 requests out of bytes (RFC 9112), strictly. The only door to llhttp.
 *
 * Before llhttp sees a byte of a head, a chunk-size line or a trailer, a filter of our own has checked the line ends;
 * after it, the head is checked against the rules that llhttp lacks (tests/README.md lists them). After any error the
 * connection must not be parsed on.
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
};

struct http_in_limits {
    uint32_t line_bytes;    /* the request line: 8 KB */
    uint32_t head_bytes;
    uint32_t headers;
    uint32_t overhead_bytes; /* chunk sizes and trailers of one request: 16 KB */
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

/* Takes from the front of *INPUT, one step at a time. */
enum http_in_step http_in_next(struct http_in *in, struct bytes *input, struct bytes *ret_piece);

const struct http_request *http_in_request(const struct http_in *in);
/* A byte of a head has been read and its end has not: for the header timer. */
bool http_in_head_begun(const struct http_in *in);
/* KIND and a static sentence. */
enum failure_kind http_in_error(const struct http_in *in, const char **ret_message);

/* Ready for the next message on the connection; the old request's views are gone. */
void http_in_reset(struct http_in *in);
