/*
 * Listening sockets, one per worker and address by SO_REUSEPORT, and the cap on connections.
 */
#pragma once

#include "config/config.h"
#include "entry/conn.h"

struct listener;

struct listener_gate {
    /* A client has come. False: not now, too many (it is answered 503 and closed). True is followed by
     * conn_context.closed sooner or later. */
    bool (*admit)(void *data);
    void *data;
};

/* Open ADDRESS for CONTEXT. Several workers may open the same host and port. A unix socket has one
 * descriptor: the first opener binds it and the others get INHERITED, a duplicate of it (else -1), which
 * is the listener's from now on. GATE may be NULL: everybody is let in. 0, or libuv's code. */
int listener_open(struct conn_context *context, const struct config_address *address, int inherited,
                  const struct listener_gate *gate, struct listener **ret);

/* The listening descriptor, for the next worker to duplicate. */
int listener_descriptor(const struct listener *listener);

/* "127.0.0.1:8080" with the real port, or "unix:/path". Stays until closed. */
const char *listener_name(const struct listener *listener);
/* The port in use; 0 for a unix socket. */
uint16_t listener_port(const struct listener *listener);

/* Accept what already waits, then stop listening; the memory goes once the loop has closed the handles.
 * NULL is fine. Returns NULL: worker->listener = listener_close(worker->listener). */
struct listener *listener_close(struct listener *listener);
