/*
 * What a head must be beyond what llhttp checks: the request line, the fields that frame and steer a request,
 * and which names a trailer may carry. Knows nothing of llhttp. Private to entry/.
 */
#pragma once

#include "entry/http_filter.h"

/* The fields this gateway reads: name, and whether it may come once only. */
#define HTTP_FIELDS(X)                                                                                       \
    X(HOST, "host", true)                                                                                    \
    X(LENGTH, "content-length", true)                                                                        \
    X(CODING, "transfer-encoding", true)                                                                     \
    X(CONNECTION, "connection", false)                                                                       \
    X(UPGRADE, "upgrade", false)                                                                             \
    X(EXPECT, "expect", true)                                                                                \
    X(AUTHORIZATION, "authorization", true)                                                                  \
    X(API_KEY, "x-api-key", true)                                                                            \
    X(TYPE, "content-type", true)                                                                            \
    X(ACCEPT, "accept", false)                                                                               \
    X(REQUEST_ID, "x-request-id", false)                                                                     \
    X(AGENT, "user-agent", false)                                                                            \
    X(CACHE, "cache-control", false)                                                                         \
    X(TRACEPARENT, "traceparent", false)                                                                     \
    X(TRACESTATE, "tracestate", false)                                                                       \
    X(EXPLAIN, "x-embergate-explain", false)                                                                 \
    X(ORIGIN, "origin", false)

#define HTTP_FIELD_ENUM(field, name, once) HTTP_FIELD_##field,
enum http_field { HTTP_FIELDS(HTTP_FIELD_ENUM) HTTP_FIELD_COUNT };
#undef HTTP_FIELD_ENUM

/* What was seen of one head. Zeroed before the first field, but for `joined`. */
struct http_rules {
    struct buffer *joined;                  /* empty; Cache-Control when it came in more than one line */
    struct bytes values[HTTP_FIELD_COUNT];  /* the first of each name */
    uint8_t counts[HTTP_FIELD_COUNT];       /* 2: more than one */
    bool says_close, says_keep_alive;
};

/* LINE is the request line without its CR LF. Fills in REQUEST's method, target and version. */
bool http_rules_line(struct bytes line, struct http_request *request, struct http_fault *fault);

/* One field, in order; VALUE reaches up to its CR, spaces and all. */
bool http_rules_field(struct http_rules *rules, struct bytes name, struct bytes value,
                      struct http_fault *fault);

/* All fields were seen. Fills in the rest of REQUEST, which may have a view of `joined`. */
bool http_rules_head(const struct http_rules *rules, struct http_request *request, struct http_fault *fault);

/* The longest trailer name the rules tell apart; longer ones may be cut to this. */
#define HTTP_TRAILER_NAME 20

/* A trailer of this NAME (lower case) may be dropped in silence; else it must not come after a body. */
bool http_rules_trailer(struct bytes name);

/* NAME's bytes are those of an RFC 9110 token, and there is at least one. */
bool http_is_token(struct bytes name);
