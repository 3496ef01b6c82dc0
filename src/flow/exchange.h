/*
 * One request on its walk, and what the files of the corridor share. Nothing outside flow/ sees this.
 */
#pragma once

#include "base/list.h"
#include "chat/question.h"
#include "chat/transcript.h"
#include "dialect/client.h"
#include "flow/endpoints.h"
#include "flow/flow.h"
#include "record/lines.h"
#include "route/health.h"
#include "route/route.h"
#include "upstream/flight.h"

struct discovery;
struct variants;

struct flow {
    uv_loop_t *loop;
    struct flow_shared *shared;
    const struct config *config;
    struct metrics *metrics;
    bool admin;

    struct conn_context conns;
    struct curl_loop *curl;
    struct upstream **upstreams;        /* by backend; NULL for an echo */
    struct catalog *catalog;
    struct health *health;
    struct discovery *discovery;
    struct variants *variants;
    struct flight_context flights;

    struct list exchanges;              /* all of them */
    struct list ready;                  /* those to be run in this turn */
    uv_check_t before, after;           /* run them after the sockets were served, around libcurl's turn */
    uv_idle_t idle;                     /* keeps the loop from sleeping while some are ready */
    uv_timer_t ticker;                  /* looks after silent streams */

    struct buffer out, front;           /* scratch of deliver: text, and what goes before it */
    struct json_doc doc;                /* and its scratch for payloads */
    struct lines lines;                 /* for the log */
    unsigned closing;                   /* handles still to close */
    void (*closed)(void *data);
    void *closed_data;
};

enum verdict {
    STEP_NEXT,
    STEP_WAIT,  /* somebody will resume this exchange */
    STEP_REPLY, /* the answer is decided: deliver it */
    STEP_DONE,  /* a page was written: nothing was taken, go and record */
};

struct exchange {
    struct flow *flow;
    struct list link;                   /* flow->exchanges */
    struct list ready;                  /* flow->ready */
    struct list discovering;            /* those who wait for lists of models */
    struct arena arena;
    unsigned at;                        /* place in the walk */

    /* who and what */
    struct conn *conn;                  /* NULL once the client is gone */
    char id[36];                        /* "req_" and 32 hex digits */
    struct bytes peer, path, query, method, client_id;
    enum http_method verb;
    unsigned minor;
    bool may_keep;
    uint64_t content_length;
    const struct endpoint *endpoint;
    const struct client_dialect *dialect;

    /* the question */
    struct question *question;
    bool body_wanted, body_complete;
    bool discovered;                    /* asked the backends for their lists */
    enum failure_kind body_failure;     /* why reading it was given up, when body_failed */
    bool body_failed;
    const char *body_message;
    uint64_t body_counted;              /* bytes this exchange holds of the budget */
    struct route route;

    /* the answer */
    struct transcript *transcript;
    struct reader reader;
    struct client_stream stream;
    bool streamed;                      /* in events, not as one body */
    bool stream_counted;                /* among the open streams */
    bool head_sent, choked, written;    /* choked: wait for `drained`; written: the answer is complete */
    struct buffer held;                 /* events that wait to be sent one by one */
    unsigned ending;                    /* enum frame_end, once the last event is with the framing */
    uint64_t last_write_ms;

    /* for the record */
    uint64_t began_us, first_us;
    uint64_t bytes_out;
    unsigned status;
    const char *outcome, *reason;       /* reason: a failure's name, or NULL */
    bool quiet;
};

/* --- exchange.c --- */

/* Run again in this turn of the loop. Twice is fine. */
void exchange_resume(struct exchange *x);
/* The answer is a refusal. */
enum verdict exchange_refuse(struct exchange *x, const struct failure *failure);
enum verdict exchange_refuse_text(struct exchange *x, enum failure_kind kind, const char *message);
/* Jump to the end of the walk: the books are closed there. */
void exchange_leave(struct exchange *x, const char *outcome);
/* The conn's events; flow_new() hands them to the conns. */
extern const struct conn_events exchange_conn_events;
/* Run whoever is ready. */
void exchange_run_ready(struct flow *flow);

/* --- steps.c --- */

extern const unsigned steps_count, steps_deliver, steps_settle;
enum verdict steps_run(struct exchange *x);

/* --- the steps with a file of their own --- */

enum verdict page_step(struct exchange *x);     /* pages.c */
enum verdict choose_step(struct exchange *x);   /* choose.c */
enum verdict ask_step(struct exchange *x);      /* choose.c */
enum verdict deliver_step(struct exchange *x);  /* deliver.c */

/* --- deliver.c --- */

/* A page: one body with a status. */
void deliver_page(struct exchange *x, unsigned status, const char *content_type, struct bytes body);
/* Keepalives into streams that have been silent; flow's ticker. */
void deliver_tick(uv_timer_t *timer);

/* --- discover.c --- */

struct discovery *discovery_new(struct flow *flow);
/* Ask the backends whose lists are older than MAX_AGE_MS. */
void discovery_refresh(struct flow *flow, uint32_t max_age_ms);
/* The same, once for X. True: answers are awaited, and X is resumed after each. */
bool discovery_wait(struct flow *flow, struct exchange *x, uint32_t max_age_ms);
struct discovery *discovery_free(struct discovery *discovery);
