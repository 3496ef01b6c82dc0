/*
 * One HTTP/1.1 request to an upstream (RFC 9112): the mechanics only. Timers, beyond that for connecting, and retries
 * are the caller's.
 *
 * A plain connection is a socket of our own whose answers llhttp reads (http1_*.c): it costs two system calls per
 * request. One with TLS is libcurl's (curl_*.c), which knows certificates and sessions.
 *
 * A request body is never sent twice behind our back: when a pooled connection turns out to be dead before a byte of
 * answer, the transfer ends with TRANSFER_E_STALE.
 */
#pragma once

#include "base/bytes.h"

#include <uv.h>

/* Once per process, before any thread starts. */
void transfer_global_init(void);

/* The connections of one loop. IDLE_CONNECTIONS is how many unused ones are kept at most, of either kind. */
struct transfer_loop;

struct transfer_loop *transfer_loop_new(uv_loop_t *loop, unsigned idle_connections);
/* Every transfer must have ended and every target be free. Handles close during the next loop turns; CLOSED comes when
 * all are, once, and LOOP is gone then. */
void transfer_loop_close(struct transfer_loop *loop, void (*closed)(void *data), void *data);
/* What waits to be used again, connections and handles of libcurl: for the books. */
unsigned transfer_loop_idle(const struct transfer_loop *loop);

/* Where requests go; built once per backend and loop, outlives its transfers. Views are the caller's. */
struct transfer_target;

struct transfer_target_spec {
    bool tls;
    struct bytes host;
    uint16_t port;
    struct bytes unix_path;     /* instead */
    struct bytes api_key;       /* none: no Authorization */
    struct bytes ca_file;       /* none: the system's */
    uint32_t connect_ms;
};

/* NULL when a value holds a control byte. */
struct transfer_target *transfer_target_new(struct transfer_loop *loop, const struct transfer_target_spec *spec);
struct transfer_target *transfer_target_free(struct transfer_target *target);
/* The address to use for the host's name: an IP literal. Not needed for literals and unix sockets. */
void transfer_target_resolved(struct transfer_target *target, const char *address);

enum {
    TRANSFER_E_STALE = 1,   /* a reused connection was dead: it closed soon after, and nothing was answered */
    TRANSFER_E_DNS,
    TRANSFER_E_CONNECT,
    TRANSFER_E_CONNECT_TIMEOUT,
    TRANSFER_E_TLS,
    TRANSFER_E_RESET,       /* cut, short or malformed after bytes were answered or on a fresh connection */
    TRANSFER_E_BAD,         /* not HTTP, headers too large, an upgrade, a redirect ... */
};

struct transfer_request {
    bool get;
    struct bytes path;      /* from the first slash; no control bytes, no space */
    struct bytes body;      /* must stay until the transfer ended */
    bool fresh;             /* do not use a pooled connection */
    bool event_stream;      /* Accept: text/event-stream */
    struct bytes key;       /* sent as this request's own Authorization: Bearer; none: the target's */
    struct bytes traceparent, tracestate;   /* sent as they are (no control bytes in them); none: not */
};

struct transfer_head {
    unsigned status;
    struct bytes content_type;      /* valid during the callback */
    struct bytes content_encoding;
    struct bytes retry_after;
};

/* BODY pieces come in order, valid during the callback. DONE comes exactly once, unless transfer_cancel() came first;
 * all three come from the loop, never from inside transfer_start(). HEAD may cancel; so may BODY. */
struct transfer_events {
    void (*head)(void *data, const struct transfer_head *head);
    void (*body)(void *data, struct bytes piece);
    void (*done)(void *data, int result, const char *reason); /* 0 or TRANSFER_E_; REASON: one printable line */
};

struct transfer;

struct transfer *transfer_start(struct transfer_target *target, const struct transfer_request *request,
                                const struct transfer_events *events, void *data);
/* From anywhere. The connection is closed, no event comes any more. NULL is fine. Returns NULL. */
struct transfer *transfer_cancel(struct transfer *transfer);
/* What was read already still comes, at most 16 KB, and with it perhaps the end. */
void transfer_pause(struct transfer *transfer);
void transfer_resume(struct transfer *transfer);
/* The request has been handed to a connection (name resolved, connected, TLS done). */
bool transfer_connected(const struct transfer *transfer);
/* When that was, as uv_now(); 0: not yet. */
uint64_t transfer_connected_at(const struct transfer *transfer);
/* The same on the monotonic clock, in microseconds. */
uint64_t transfer_connected_us(const struct transfer *transfer);
