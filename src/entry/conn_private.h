/*
 * A conn from the inside, for the four files that make it: conn.c (life), conn_read.c, conn_write.c,
 * conn_timer.c.
 */
#pragma once

#include "entry/conn.h"
#include "link/stream_socket.h"

enum conn_phase {
    CONN_IDLE,      /* between requests, or a head is being read */
    CONN_OPEN,      /* a request or a refusal is with the owner */
    CONN_DRAIN,     /* answered; the rest of the body is thrown away */
    CONN_FLUSH,     /* answered for the last time; the answer is on its way */
    CONN_LINGER,    /* our side is closed; what comes is thrown away */
    CONN_CLOSING,   /* the handles are closing */
};

#define CONN_DRAIN_BYTES 65536u     /* of an unread body, for the sake of keeping the connection */
#define CONN_LINGER_BYTES 262144u
#define CONN_LINGER_MS 2000u
#define CONN_CUT_MS 100u            /* for the last bytes to leave before a reset */
#define CONN_GRACE_MS 1000u
#define CONN_WATCH_MS 50u           /* how often to look for a client that left, while reading is stopped */
#define CONN_NEVER UINT64_MAX

struct conn_writing;

struct conn {
    union stream_socket socket;
    uv_timer_t timer;
    struct conn_context *context;
    struct list link;               /* context->conns */
    void *owner;

    /* Who it is. The text is made when it is asked for. */
    uint8_t address[16];
    uint16_t family, port;
    char *peer;

    /* Input. */
    struct http_in *in;
    struct buffer ahead;            /* read, not yet wanted */
    struct bytes *input;            /* what is being pumped; NULL when nothing is */
    uint64_t body_bytes;            /* of the open request, so far */
    uint32_t discarded;             /* since the phase began */

    /* Output. */
    struct conn_writing *writing;   /* for libuv; NULL when nothing waits */
    bool write_open;                /* libuv has it, and its callback has not come */
    struct buffer waiting;          /* behind it */
    uint64_t queued;                /* bytes ever put into waiting */
    int error;                      /* a write failed */

    /* Time, as uv_now() tells it. */
    uint64_t since;                 /* start of what the phase's timer measures */
    uint64_t armed;                 /* when the timer fires; 0: it does not run */
    uint64_t window_bytes;          /* body_bytes at `since` */
    uint64_t checked, progress;     /* last look at the unsent bytes, last time they were seen to move */
    uint64_t progress_sent;         /* bytes sent at `progress` */

    uint8_t phase;
    uint8_t handles;                /* not yet closed */
    bool reading;                   /* uv_read_start() is on */
    bool eof;
    bool fresh;                     /* the next head needs http_in_reset() first */
    bool head_timed;                /* `since` is the start of the head */
    bool body_wanted, body_told;
    bool refused;                   /* no further byte is parsed */
    bool overrun;                   /* more was sent ahead than is held: what is ahead is thrown away */
    bool above;                     /* `drained` is owed */
    bool piecewise;                 /* each conn_write() is a record */
    bool woken;                     /* something is to be done from the loop */
    bool reset;                     /* close with a reset */
};

/* --- conn.c --- */

/* Bring reading and timers in line with the state. The last thing each entry point does. */
void conn_settle(struct conn *conn);
/* Answered for the last time: on to CONN_FLUSH. */
void conn_end(struct conn *conn);
/* All is sent: half-close. */
void conn_half_close(struct conn *conn);
void conn_close(struct conn *conn);
/* The client is not there any more; WHY is told to the owner of an open request. */
void conn_lost(struct conn *conn, const char *why);
/* The answer is out and the body read: wait for the next request. */
void conn_become_idle(struct conn *conn);
/* Do the rest from the loop. */
void conn_wake(struct conn *conn);

/* --- conn_read.c --- */

void conn_update_reading(struct conn *conn);
/* Parse what was read ahead, as far as it is wanted. */
void conn_pump(struct conn *conn);
void conn_refuse(struct conn *conn, enum failure_kind kind, const char *message);
/* The socket holds bytes that were not read. */
bool conn_readable(const struct conn *conn);

/* --- conn_write.c --- */

void conn_free_output(struct conn *conn);

/* --- conn_timer.c --- */

void conn_arm(struct conn *conn);
