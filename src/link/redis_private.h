/*
 * A link to Redis from the inside, for the files that make it: redis.c (commands and their replies), redis_connect.c
 * (getting a connection, greeting, losing it).
 */
#pragma once

#include "base/buffer.h"
#include "link/redis.h"
#include "link/redis_wire.h"
#include "link/resolve.h"
#include "link/stream_socket.h"

enum redis_state {
    REDIS_WAITING,      /* the timer says when to connect */
    REDIS_RESOLVING,
    REDIS_CONNECTING,
    REDIS_GREETING,
    REDIS_SERVING,
    REDIS_CLOSED,
};

/* One connection. It outlives its use by the turn its socket needs to close. */
struct redis_conn {
    struct redis *redis;
    union stream_socket socket;
    uv_connect_t connect;
    uv_write_t write;
    struct buffer out;          /* this turn's commands */
    struct buffer writing;      /* what the socket did not take at once */
    bool is_writing;
    unsigned greetings;         /* replies owed to the greeting */
    struct redis_reader *reader;
};

struct redis {
    uv_loop_t *loop;
    struct redis_config config;
    void (*news)(void *data, enum redis_news news, struct bytes text);
    void *data;

    enum redis_state state;
    struct redis_conn *conn;    /* from CONNECTING on */
    struct list calls;          /* that wait for their replies, the oldest first */
    struct redis_counts counts;

    uv_timer_t timer;           /* the end of whatever the state waits for */
    uv_idle_t cork;             /* runs when commands are to leave before the loop sleeps */
    struct resolver *resolver;
    struct resolve_wait resolved;
    bool looked_again;          /* a deadline passed; the sockets were served once more since */
    unsigned failures;          /* connections in a row that did not serve for a while */
    uint64_t serving_since;
    int told;                   /* the last news of being ready or not, -1 for none */

    unsigned handles;
    void (*closed)(void *data);
    void *closed_data;
    char input[64 << 10];
};

/* --- redis.c ---------------------------------------------------------------------------------------------------- */

void redis_flush(struct redis_conn *conn);
/* A reply that came for the oldest call. */
void redis_answer(struct redis *redis, const struct redis_reply *reply);
/* End all calls: those due until OVERDUE_MS timed out, the others are lost. */
void redis_end_calls(struct redis *redis, uint64_t overdue_ms);
/* May end the link: look at its state afterwards. */
void redis_tell(struct redis *redis, enum redis_news news, struct bytes text);
/* Whatever the state waits for then. One wish at a time. */
void redis_wake_in(struct redis *redis, uint64_t ms);
void redis_release(struct redis *redis);

/* --- redis_connect.c -------------------------------------------------------------------------------------------- */

/* What an error reply means for the connection. */
enum redis_verdict {
    REDIS_BEAR,         /* nothing */
    REDIS_RENEW,        /* another one, soon, may do better */
    REDIS_DECLINE,      /* we are not wanted */
};

enum redis_verdict redis_judge(struct bytes error, bool is_greeting);

void redis_connect(struct redis *redis);
/* A reply while GREETING. */
void redis_greeted(struct redis *redis, const struct redis_reply *reply);
/* Give up the connection, or the attempt, and try again later. Tells NEWS if it is any. Calls end, those due until
 * OVERDUE_MS as timed out. */
void redis_lose(struct redis *redis, enum redis_news news, struct bytes why, uint64_t overdue_ms);
/* Without a word. */
void redis_drop(struct redis *redis);
