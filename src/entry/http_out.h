/*
 * Response heads (RFC 9112). The one place that writes status lines and headers.
 */
#pragma once

#include "base/buffer.h"

/* A limit per minute, and how much of it is left. */
struct http_rate {
    bool told;
    uint64_t limit, remaining, reset_ms;
};

/* A part of the time until this head. */
struct http_timing {
    const char *name;           /* a token */
    uint64_t us;
};

struct http_head {
    unsigned status;
    unsigned minor;             /* the client's; a 1.0 client never gets chunks */
    const char *content_type;   /* or NULL */
    bool chunked;               /* else content_length */
    bool until_close;           /* neither: the body ends with the connection (HTTP/1.0 streams) */
    uint64_t content_length;
    bool close;                 /* Connection: close */
    bool is_page;               /* HTML of our own: Content-Security-Policy, which loads and frames nothing */
    bool event_stream;          /* Cache-Control: no-cache, no-transform and X-Accel-Buffering: no */
    struct bytes request_id;    /* x-request-id, or none */
    const char *allow;          /* Allow, or NULL */
    uint32_t retry_after_ms;    /* retry-after and retry-after-ms, or 0 */
    bool no_retry;              /* x-should-retry: false */
    const char *cache;          /* x-embergate-cache; NULL: none of the next four either */
    const char *cache_reason;   /* x-embergate-cache-reason, or NULL */
    struct bytes cache_key;     /* x-embergate-cache-key, or none */
    bool has_age;
    uint32_t age_s;             /* Age */
    struct http_rate requests, tokens;      /* x-ratelimit-... */
    bool degraded;              /* x-embergate-admission: degraded */
    uint32_t queue_position;    /* x-embergate-queue-position, and -wait-ms; 0: it did not wait */
    uint64_t waited_ms;
    const struct http_timing *timings;      /* Server-Timing (W3C); those of 0 are left out */
    unsigned timing_count;
};

/* The whole head with its blank line. Date is the wall clock's, formatted once a second per thread. */
void http_out_head(const struct http_head *head, struct buffer *out);

/* "Not Found" */
const char *http_status_text(unsigned status);

/* The one interim answer. */
#define HTTP_OUT_CONTINUE BYTES("HTTP/1.1 100 Continue\r\n\r\n")
