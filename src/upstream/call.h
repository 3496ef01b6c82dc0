/*
 * One request to one backend: resolve, connect, ask, read, under timers of our own; cancelled at once when nobody
 * waits.
 */
#pragma once

#include "config/config.h"
#include "link/resolve.h"
#include "link/transfer.h"

/* One backend as one worker reaches it: its target, its resolver. Outlives its calls. */
struct upstream;

/* NULL when a host, key or path of BACKEND holds a byte that may not be there. */
struct upstream *upstream_new(uv_loop_t *loop, struct transfer_loop *transfers, const struct config_backend *backend);
struct upstream *upstream_free(struct upstream *upstream);
const struct config_backend *upstream_backend(const struct upstream *upstream);

struct call_request {
    bool get;
    struct bytes path, body;    /* must stay until the call ended */
    bool event_stream;
    bool fresh;                 /* on a new connection */
    struct bytes key;           /* instead of the backend's own, must stay until the call ended; or none */
    struct bytes traceparent, tracestate;       /* likewise; or none */
    /* `connect` includes looking up the name; `first_byte` begins with the connection. first_byte 0: only `connect` and
     * `total` count. */
    struct config_timeouts timeouts;
};

/* Results of a call beyond TRANSFER_E_. */
enum { CALL_E_FIRST_BYTE = 100, CALL_E_BETWEEN_BYTES, CALL_E_TOTAL };

struct call;

/* As transfer_events: DONE comes exactly once unless call_cancel() came first, never from inside call_start(). */
struct call *call_start(struct upstream *upstream, const struct call_request *request,
                        const struct transfer_events *events, void *data);
struct call *call_cancel(struct call *call);
/* When it had its connection, on the monotonic clock, in microseconds; 0: not yet. */
uint64_t call_connected_us(const struct call *call);
/* What is left of the answer must come within MS. */
void call_hurry(struct call *call, uint32_t ms);
/* While paused the between-bytes timer rests. */
void call_pause(struct call *call);
void call_resume(struct call *call);
