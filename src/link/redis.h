/*
 * One connection to a Redis server (RESP2) on a uv loop: commands in, replies out, in order, each within a deadline.
 * The only door to hiredis, of which the reader and the formatter are used; the socket and the timers are ours.
 *
 * Redis is never worth waiting for. While there is no good connection redis_ask() answers at once with
 * REDIS_E_AWAY. A command without a reply at its deadline ends all commands in flight and drops the connection: a
 * connection that owes a reply of unknown order is never used again. So does anything that is not RESP, or is larger
 * than the limit. Then nothing is asked for a while (the breaker: 1 s after a deadline), and connecting is tried again
 * with waits from 100 ms to 5 s, jittered. Names are resolved anew each time.
 *
 * On connecting: AUTH, SELECT and PING go first; the link is ready once they were answered well. Commands of one turn
 * of the loop leave in one write.
 */
#pragma once

#include "base/bytes.h"
#include "base/list.h"

#include <uv.h>

struct redis;

struct redis_config {
    struct bytes host, unix_path;   /* one of the two */
    uint16_t port;
    struct bytes username, password;
    uint32_t database;
    uint32_t connect_ms;            /* address, connection and greeting together */
    uint32_t deadline_ms;           /* a command's, from redis_ask() to its reply */
    uint32_t reply_bytes;           /* the largest reply */
    uint32_t queue_bytes;           /* of commands not yet taken by the socket; beyond it commands are refused */
};

enum redis_kind { REDIS_NIL, REDIS_TEXT, REDIS_INTEGER, REDIS_STATUS, REDIS_LIST, REDIS_ERROR };

/* A reply. Views are valid during the callback. */
struct redis_reply {
    enum redis_kind kind;
    struct bytes text;              /* of a text, a status, an error */
    int64_t integer;
    const struct redis_reply *items;
    uint32_t count;                 /* of a list */
};

enum {
    REDIS_E_AWAY = 1,   /* no good connection; nothing was sent */
    REDIS_E_FULL,       /* too much is waiting already; nothing was sent */
    REDIS_E_LOST,       /* the connection broke before the reply */
    REDIS_E_TIMEOUT,    /* the deadline passed */
};

/* A command that waits for its reply: part of whoever asked. */
struct redis_call {
    struct list link;
    /* RESULT is 0 with a REPLY (which may be of kind REDIS_ERROR), or REDIS_E_LOST or REDIS_E_TIMEOUT. */
    void (*done)(struct redis_call *call, int result, const struct redis_reply *reply);
    uint64_t due_ms;
};

/* What the owner may want to count or tell; on the loop's thread, once per change (attempts that fail while it is known
 * to be away are none). TEXT is one short line of plain ASCII. */
enum redis_news {
    REDIS_READY,        /* it can be asked */
    REDIS_LOST,         /* the connection is gone, or cannot be had; TEXT says why */
    REDIS_REFUSED,      /* it answers, but will not serve us (NOAUTH, NOPERM, WRONGPASS ...); TEXT is its word */
    REDIS_TIMED_OUT,    /* told instead of LOST when a deadline passed; TEXT says of what */
    REDIS_ERRED,        /* an error reply came; TEXT is it. After each one, not once */
};

#define REDIS_WORDS_MOST 160

/* TEXT of a server as a log may have it: one line of plain ASCII, without the password, which Redis repeats when it
 * knows no AUTH. In ROOM. */
struct bytes redis_words(const struct redis_config *config, struct bytes text, char room[REDIS_WORDS_MOST]);

/* CONFIG's views must outlive it. NEWS may be NULL. Connecting begins at once and never blocks. */
struct redis *redis_new(uv_loop_t *loop, const struct redis_config *config,
                        void (*news)(void *data, enum redis_news news, struct bytes text), void *data);
/* Calls in flight end without their callbacks. CLOSED comes when all handles are. */
void redis_close(struct redis *redis, void (*closed)(void *data), void *data);

bool redis_is_ready(const struct redis *redis);

/* Send a command of COUNT arguments; copied. 0 (CALL->done will come, never from inside redis_ask), REDIS_E_AWAY or
 * REDIS_E_FULL. CALL may be NULL: nobody wants the reply, an error in it is still news. */
int redis_ask(struct redis *redis, const struct bytes *arguments, uint32_t count, struct redis_call *call);
/* CALL's callback will not come; its reply is passed by when it arrives. Fine when it is not in flight
 * (a zeroed one is not). */
void redis_forget(struct redis *redis, struct redis_call *call);

/* Counters since the start. */
struct redis_counts {
    uint64_t asked, answered, errors, timeouts, lost, connects, refused_full, away;
};
struct redis_counts redis_counts(const struct redis *redis);
