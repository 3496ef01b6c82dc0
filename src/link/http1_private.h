/*
 * What the files of plain connections know of each other: http1_loop.c (clock, who waits how long), http1_target.c
 * (where requests go, their heads, the pool), http1_connection.c (one socket), http1_transfer.c (one request).
 */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "link/http1_answer.h"
#include "link/http1_loop.h"
#include "link/stream_socket.h"
#include "link/transfer_private.h"

#include <netinet/in.h>

enum { HTTP1_READ_BYTES = 16 << 10 };

struct http1_loop {
    uv_loop_t *uv;
    struct list targets;
    struct list aging;              /* idle connections of all targets, the oldest first */
    unsigned idle, idle_limit;      /* how many */
    unsigned handles;               /* of libuv, that are not closed yet */

    uv_timer_t timer;               /* sleeps until something connects for too long, or was unused for too long */
    uint64_t wakes_at;              /* uv_now(); UINT64_MAX: not at all */
    bool warned;                    /* it rang far too late: the sockets are looked at first */

    struct buffer head;             /* of the request that is being sent */
    char read[HTTP1_READ_BYTES];    /* what was just read, by whichever connection */

    void (*closed)(void *data);
    void *closed_data;
};

struct http1_target {
    struct transfer_target base;
    struct list node;               /* in loop->targets */
    struct http1_loop *loop;
    uint32_t connect_ms;

    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;                      /* family 0: not known yet, or a path */
    char address_text[64];          /* as it was resolved */
    unsigned version;               /* of the address: a connection to an old one is not used again */
    uint16_t port;
    char *unix_path;

    struct buffer fields;           /* of every request */
    struct buffer authorization;    /* of those without a key of their own; or empty */

    struct list connecting, idle;   /* connections, the oldest first; an idle one is taken from the end */
};

enum http1_connection_state {
    HTTP1_CONNECTING,
    HTTP1_BUSY,     /* it has a transfer */
    HTTP1_IDLE,     /* it has none; whatever happens on it now ends it */
    HTTP1_CLOSING,  /* its transfer, if any, has failed and is told when it is closed */
};

struct http1_connection {
    union stream_socket socket;
    struct list node;               /* in the target's list of its state */
    struct list age;                /* in loop->aging */
    struct http1_loop *loop;
    struct http1_target *target;
    struct http1_transfer *transfer;
    struct http1_answer *answer;
    enum http1_connection_state state;
    bool reading, writing;
    bool broken;                    /* the request could not be sent to its end */
    bool spent;                     /* it was refused, perhaps unread: no other one follows it */
    unsigned version;               /* of the address it was made to */
    uint64_t since;                 /* uv_now(): connecting or idle */
    struct buffer unsent;           /* of the request's head */
    union {
        uv_connect_t connect;
        uv_write_t write;
    } request;                      /* never both at a time */
};

struct http1_transfer {
    struct transfer base;
    struct http1_connection *connection;
    struct bytes body;
    bool reused;                    /* on a pooled connection */
    bool paused;
    int result;                     /* of one that has failed, with its reason, static */
    const char *reason;
};

/* http1_loop.c: have the timer look at the lists at AT (uv_now()), or before. */
void http1_loop_wake_at(struct http1_loop *loop, uint64_t at);
void http1_loop_handle_closed(struct http1_loop *loop);

/* http1_target.c: for the carrier (transfer_private.h). */
struct transfer_target *http1_target_new(struct transfer_loop *loop, const struct transfer_target_spec *spec);
void http1_target_free(struct transfer_target *target);
void http1_target_resolved(struct transfer_target *target, const char *address);
/* The head of REQUEST, appended to HEAD; false: its path cannot be sent. */
bool http1_target_write_head(const struct http1_target *target, const struct transfer_request *request,
                             struct buffer *head);
/* Of those that wait, and there are some: the one used last. */
struct http1_connection *http1_target_take(struct http1_target *target);

/* http1_loop.c: one whose answer is whole waits for the next request, and the oldest goes when there are too many; it
 * waits no more: it was taken, or ended. */
void http1_loop_keep(struct http1_loop *loop, struct http1_connection *connection);
void http1_loop_forget(struct http1_loop *loop, struct http1_connection *connection);

/* http1_connection.c: a new one, for TRANSFER, whose head is in `unsent`; connecting begins with .._connect(). */
struct http1_connection *http1_connection_new(struct http1_target *target, struct http1_transfer *transfer);
void http1_connection_connect(struct http1_connection *connection);
/* An idle one: send HEAD and the body of TRANSFER, which it has from now on. */
void http1_connection_use(struct http1_connection *connection, struct http1_transfer *transfer, struct bytes head);
/* Its transfer, if it has one, ends with RESULT for REASON (static) once it is closed. */
void http1_connection_fail(struct http1_connection *connection, int result, const char *reason);
/* It has no transfer any more. */
void http1_connection_close(struct http1_connection *connection);
/* Read on, or not, as its transfer wishes. */
void http1_connection_heed_pause(struct http1_connection *connection);

/* http1_transfer.c: it is over, and freed before its owner is told. */
void http1_transfer_end(struct http1_transfer *transfer, int result, const char *reason);
