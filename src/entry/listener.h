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

/* Open ADDRESS for CONTEXT. FIRST is -1 for the first worker, which is refused when anybody else listens there; the
 * others give the first one's listener_descriptor() and share the port, or the unix socket, with it. 0, or libuv's
 * code. GATE is copied and may be NULL. */
int listener_open(struct conn_context *context, const struct config_address *address, int first,
                  const struct listener_gate *gate, struct listener **ret);

/* The listening descriptor. It stays the listener's. */
int listener_descriptor(const struct listener *listener);

/* "127.0.0.1:8080" with the real port, or "unix:/path". Stays until closed. */
const char *listener_name(const struct listener *listener);
/* The port in use; 0 for a unix socket. */
uint16_t listener_port(const struct listener *listener);

/* Accept what already waits, then stop listening; the memory goes once the loop has closed the handles.
 * NULL is fine. Returns NULL: worker->listener = listener_close(worker->listener). */
struct listener *listener_close(struct listener *listener);
