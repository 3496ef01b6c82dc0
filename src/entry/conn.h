/*
 * One client socket: bytes in through http_in, bytes out, timers, and an orderly end. Requests are served one
 * after the other; what a client sends ahead waits in a bounded buffer.
 *
 * A conn tells its owner what the client did and does what the owner says; it knows nothing of what is being
 * asked. After `gone` no event comes any more, and the conn frees itself once its handles are closed. No
 * event comes from inside conn_write(), conn_finish() or conn_cut(); all of them may be called inside any
 * event.
 */
#pragma once

#include "base/list.h"
#include "entry/http_in.h"

#include <uv.h>

struct conn;

struct conn_events {
    /* A head was read. The owner answers, now or later, with or without reading the body. REQUEST lives until
     * the owner is back in the loop after conn_finish(), or until `gone` returns. */
    void (*request)(struct conn *conn, const struct http_request *request);
    /* After conn_read_body(): pieces, then the end. The piece is a view. */
    void (*body)(struct conn *conn, struct bytes piece);
    void (*body_end)(struct conn *conn);
    /* The input breaks a rule, or a timer ran out while a head or body was awaited. The owner writes one
     * refusal and calls conn_finish(), after which the connection closes. Not called when nothing can be
     * answered any more. A request may or may not be open. */
    void (*refuse)(struct conn *conn, enum failure_kind kind, const char *message);
    /* The queue of unsent bytes went below low water after conn_write() said it was above high water. */
    void (*drained)(struct conn *conn);
    /* The client left ("left", "reset"; a half-closed connection counts as left) or took nothing for too long
     * ("stalled"); the conn is closing. Comes only between `request` or `refuse` and conn_finish(). */
    void (*gone)(struct conn *conn, const char *why);
};

struct conn_limits {
    struct http_in_limits http;
    uint32_t header_ms, body_ms, idle_ms, stall_ms;
    uint32_t high_water, low_water;     /* of unsent bytes */
    uint32_t ahead_bytes;               /* pipelined input held at most, give or take one read */
};

/* What the conns of one listener share. Lives longer than any of them. */
struct conn_context {
    uv_loop_t *loop;
    struct conn_events events;
    struct conn_limits limits;          /* idle_ms may be lowered under load; the next conn_accept() applies
                                           it to those that are idle already */
    struct list conns;                  /* all open ones */
    unsigned count;                     /* all whose memory is there */
    bool draining;                      /* no keep-alive any more; idle ones close */
    void (*closed)(struct conn_context *context); /* one conn's memory is about to go, or NULL; once for each
                                                     conn_accept() */
    uint32_t idle_armed_ms;             /* conn's own: idle_ms as the timers know it */
    char read_buffer[65536];
};

void conn_context_init(struct conn_context *context, uv_loop_t *loop, const struct conn_events *events,
                       const struct conn_limits *limits);

/* Serve the client on DESCRIPTOR, just accepted from PEER (AF_INET, AF_INET6 or AF_UNIX), non-blocking. The
 * descriptor is ours from now on, whatever comes back: 0, or libuv's code. */
int conn_accept(struct conn_context *context, int descriptor, const struct sockaddr *peer);

void conn_set_owner(struct conn *conn, void *owner);
void *conn_owner(const struct conn *conn);
struct conn_context *conn_context_of(const struct conn *conn);
/* "127.0.0.1:4711" or "unix"; stays until the conn is freed. */
const char *conn_peer(struct conn *conn);

/* Read the body of the open request: `body` and `body_end` will come (from the loop or from inside this
 * call). Sends 100 Continue when the client waits for it. */
void conn_read_body(struct conn *conn);

/* Send. The parts are written at once as far as the socket takes them, the rest is copied. False: more than
 * high water is unsent, wait for `drained`. Writing to a conn that is gone does nothing. */
bool conn_write(struct conn *conn, const struct bytes *parts, unsigned count);

/* Until conn_finish(): what one conn_write() sends is a TCP segment of its own, if it is at most 1,400 bytes.
 * conn_write() says false as soon as one did not leave, and `drained` comes when it has. */
void conn_set_piecewise(struct conn *conn);

/* Nothing may be written after this, the answer is complete. KEEP: the next request on this connection is
 * read, after the rest of this one's body was read and thrown away (up to a bound); else, or when
 * conn_may_keep() says no, the connection is closed in an orderly way: send all, half-close, linger up to
 * 2 s so that the client can read. */
void conn_finish(struct conn *conn, bool keep);

/* The answer is broken: what is queued is sent as far as the socket takes it now, then the connection is
 * cut, so that the client sees no orderly end. `gone` does not come. */
void conn_cut(struct conn *conn);

/* No keep-alive any more: close every conn that serves no request, and each other one after its answer. A
 * client that has connected and not yet asked has a second to do so. */
void conn_drain_all(struct conn_context *context);

/* Close every conn without an open request, whatever it waits for. Those with one are their owners' to end. */
void conn_end_all(struct conn_context *context);

/* Bytes not yet taken by the socket. */
size_t conn_unsent(const struct conn *conn);
/* These, and what the socket took but the client's machine has not acknowledged. Asks the kernel. */
size_t conn_unacknowledged(const struct conn *conn);
/* After this answer the connection can be kept: the client wants it, we are not draining, and what is
 * unread of the body is short. Ask before writing the head. */
bool conn_may_keep(const struct conn *conn);
