/*
 * One request on its walk, and what the files of the corridor share. Nothing outside flow/ sees this.
 */
#pragma once

#include "admit/keyring.h"
#include "admit/scope.h"
#include "base/list.h"
#include "chat/question.h"
#include "chat/transcript.h"
#include "dialect/client.h"
#include "dialect/backend_key.h"
#include "entry/cache_control.h"
#include "flow/endpoints.h"
#include "flow/flow.h"
#include "memo/memo.h"
#include "memo/second.h"
#include "record/trace.h"
#include "route/health.h"
#include "route/route.h"
#include "upstream/flight.h"

struct audits;
struct admission;
struct discovery;
struct explanation;
struct gaps;
struct heard;
struct identities;
struct journal_source;
struct log_room;
struct paces;
struct patience;
struct redact;
struct said;
struct series_model;
struct shared;
struct usage_look;
struct variants;

/* Those of the configuration, by index; NULL: without limits. */
struct scopes {
    struct scope *gateway;
    struct scope **teams, **models, **backends;
};

/* What an answer's head tells of the limits its request is under. */
struct limits_told {
    bool noted, has_requests, has_tokens, degraded;
    struct scope_line requests, tokens;
    uint64_t waited_ms;
    uint32_t position;
};

struct flow {
    uv_loop_t *loop;
    struct flow_shared *shared;
    const struct config *config;
    struct metrics *metrics;
    bool admin;

    struct conn_context conns;
    struct transfer_loop *transfers;
    struct upstream **upstreams;        /* by backend; NULL for an echo */
    struct catalog *catalog;
    struct health *health;
    struct discovery *discovery;
    struct identities *identities;      /* of the backends whose answers are remembered; NULL: none is asked */
    struct variants *variants;
    struct flight_context flights;

    struct keyring *keyring;            /* of keyring_number */
    unsigned keyring_number;
    struct digest *plain;               /* for keys */
    bool limited;                       /* some scope may have limits */
    struct scopes scopes;
    struct shared *limits_shared;       /* the books in Redis; or NULL */
    struct patience *patience;

    struct mailbox mailbox;             /* how other threads' transcripts reach this one */
    struct memo *memo;
    struct second *second;              /* the second shelf; or NULL */
    bool redis_refuses_looks, redis_refuses_stores;     /* said so already */
    struct digest *digest;              /* for the keys */
    uint8_t scope_shared[DIGEST_SIZE], scope_team[DIGEST_SIZE];
    struct heard *heard;                /* NULL: nothing is learned by its words */
    struct list leads;                  /* answers that are looked for on the second shelf */
    struct audits *audits;
    struct paces *paces;
    void (*memory_closed)(void *data);
    void *memory_closed_data;

    struct list exchanges;              /* all of them */
    struct list ready;                  /* those to be run in this turn */
    bool news;                          /* something is to be run: exchanges, or audits */
    uv_check_t before, after;           /* run them after the sockets were served, around the transfers' turn */
    uv_idle_t idle;                     /* keeps the loop from sleeping while some are ready */
    uv_timer_t ticker;                  /* looks after silent streams */

    struct buffer out, front;           /* scratch of deliver: text, and what goes before it */
    struct json_doc doc;                /* and its scratch for payloads */
    struct json_doc reader;             /* scratch of understand, for questions */
    struct journal_source *source;      /* of lines and spans; NULL: nobody takes any */
    bool is_last;                       /* the process may end at any moment: lines do not wait for others */
    bool takes_lines;                   /* not only spans */
    struct redact *redact;              /* for what a client wrote, in both; NULL: nobody takes any */
    uv_timer_t flusher;                 /* hands them over soon */
    struct log_room *log_room;
    struct series *series;              /* this worker's own */
    struct top *top;
    uint64_t turn_us;                   /* when the sockets of this turn had been looked at */
    uint64_t wall_ahead_us;             /* the wall clock's lead on the monotonic one */
    uint64_t compared_us;               /* when that was seen */
    unsigned closing;                   /* handles still to close */
    void (*closed)(void *data);
    void *closed_data;
};

enum verdict {
    STEP_NEXT,
    STEP_WAIT,  /* somebody will resume this exchange */
    STEP_REPLY, /* the answer is decided: deliver it */
    STEP_ADMIT, /* from `limit` on */
    STEP_AGAIN, /* from `understand` on */
    STEP_DONE,  /* a page was written: nothing was taken, go and record */
};

/* The parts of the time until an answer's head, in their order. */
enum phase {
    PHASE_AUTH,
    PHASE_BODY,         /* for the client */
    PHASE_PARSE,        /* and choosing backends */
    PHASE_CLAIM,        /* the memory, the second shelf looked at included */
    PHASE_LIMIT,
    PHASE_QUEUE,
    PHASE_CONNECT,
    PHASE_FIRST_BYTE,
    PHASE_ANSWER,       /* from the answer's first event to its head; of a hit, all that is left */
    PHASE_COUNT,
};

/* What the memory had to say. */
enum memory_outcome { MEMORY_NONE, MEMORY_HIT, MEMORY_JOIN, MEMORY_MISS, MEMORY_BYPASS };

/* What the memory knows of a question. */
struct memory {
    enum memory_outcome outcome;
    const char *reason;                 /* of a bypass */
    const struct config_cache_policy *policy;
    struct memo_model *model;
    bool worded;                        /* the digest of its words is known */
    uint8_t words[DIGEST_SIZE];
    bool keyed;                         /* key and scope are known */
    uint8_t key[DIGEST_SIZE], scope[DIGEST_SIZE];
    struct cache_control control;       /* what the client said */
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
    struct bytes credential;            /* what the client showed: a key, or none */
    struct keyring *keyring;            /* that `key` is of */
    unsigned keyring_number;
    const struct config_key *key;       /* who asks; NULL when no keys are asked for */
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
    struct flight_candidate *candidates;        /* those of the route that can do the steering, in its order */
    uint32_t candidate_count;
    bool steered;                       /* it asks for that, and they do it */
    struct memory memory;

    /* its limits */
    struct admission *admission;        /* NULL: none, or handed to the flight */
    struct limits_told told;
    bool limits_begun, limits_asked, patience_over;
    uint32_t backend_tried;             /* candidates whose places were all taken */
    struct usage_look *looking;         /* a page of usage that is being made */
    bool explain;                       /* nothing is to be done: what would be is told */
    struct explanation *explanation;    /* that is being made */

    /* the answer */
    struct transcript *transcript;
    struct reader reader;
    struct client_stream stream;
    bool streamed;                      /* in events, not as one body */
    bool stream_counted;                /* among the open streams */
    bool head_sent, choked, written;    /* choked: wait for `drained`; written: the answer is complete */
    struct buffer held;                 /* events that wait to be sent one by one */
    unsigned ending;                    /* enum frame_end, once the last event is with the framing */
    struct list rooming;                /* among those who wait for room in the log */
    bool let_in;                        /* its line is not to be dropped for want of room there */
    struct list pacing;                 /* among those whose next event is not due yet */
    uint64_t pace_from_ms, pace_due_ms; /* when its replay began; when the next event is due */
    uint64_t last_write_ms;

    /* for the record */
    uint64_t began_us, first_us;
    uint64_t mark_us, parts[PHASE_COUNT];       /* see timing.h */
    bool timed;
    uint64_t event_us, lag_us;          /* when it last had an event; the longest that one was in here */
    struct gaps *gaps;                  /* between its events, when it is a stream */
    struct series_model *series;
    uint64_t bytes_out;
    unsigned status;
    const char *outcome, *reason;       /* reason: a failure's name, or NULL */
    const char *cut_phase;              /* the step at which it was refused or left; or NULL */
    bool traced;                        /* `trace` is one */
    struct trace trace;
    struct bytes tracestate;
    bool gathers;                       /* the log wants the answer: */
    struct said *said;
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
/* The loop does not sleep before the ready list was run. */
void exchange_awake(struct flow *flow);
/* The same, for readers: DATA is the exchange. */
void exchange_wake(void *data);
/* For a reader that reads to the end at once. */
void exchange_wake_nobody(void *data);

/* --- steps.c --- */

extern const unsigned steps_count, steps_body, steps_understand, steps_limit, steps_deliver, steps_settle;
enum verdict steps_run(struct exchange *x);
/* Of the step AT. */
const char *steps_name(unsigned at);
enum phase steps_phase(unsigned at);

/* --- the steps with a file of their own --- */

enum verdict authenticate_step(struct exchange *x);     /* authenticate.c */
enum verdict page_step(struct exchange *x);     /* pages.c */
enum verdict choose_step(struct exchange *x);   /* choose.c */
enum verdict recognise_step(struct exchange *x);        /* claim.c */
enum verdict explain_step(struct exchange *x);  /* explain.c */
enum verdict look_step(struct exchange *x);     /* claim.c */
enum verdict limit_step(struct exchange *x);    /* limit.c */
enum verdict claim_step(struct exchange *x);    /* claim.c */
enum verdict ask_step(struct exchange *x);      /* lead.c */
enum verdict deliver_step(struct exchange *x);  /* deliver.c */
enum verdict log_room_step(struct exchange *x); /* log_room.c */
enum verdict record_step(struct exchange *x);   /* record.c */

/* --- log_room.c --- */

struct log_room *log_room_new(struct flow *flow);
void log_room_close(struct log_room *room, uv_close_cb closed);
struct log_room *log_room_free(struct log_room *room);

/* --- authenticate.c --- */

/* Somebody who had to wait is let in: is the key of DIGEST in the newest keyring still, and not expired? */
bool authenticate_again(struct flow *flow, const uint8_t digest[DIGEST_SIZE]);

/* X's key may ask for ASKED, which is VARIANT (or none) of MODEL. */
bool may_ask_model(const struct exchange *x, struct bytes asked, struct bytes model, struct bytes variant);

/* Those of NAMES that X's key may ask for: how many, in front. */
uint32_t keep_allowed(const struct exchange *x, struct route_name *names, uint32_t count);

/* --- explain.c --- */

/* Which door a body that came to /v1/explain is for: X's endpoint and dialect. STEP_NEXT, or it is refused. */
enum verdict explain_door(struct exchange *x);
/* Fine while it waits. */
struct explanation *explanation_free(struct explanation *explanation);

/* --- limit.c --- */

/* Make X's admission, if it is under limits: its scopes, and what it wants of them. Nothing is taken yet. */
void limit_begin(struct exchange *x);
/* May X, for whom those before CANDIDATE are full, be put to it? Not if it is down; nor if it rests, and one of those
 * can be waited for. */
bool limit_may_pass_to(const struct exchange *x, uint32_t candidate);
/* X leaves a queue without having had its turn, if it waits in one: what its record tells of that. */
void limit_note_wait(struct exchange *x);

/* --- limits.c --- */

void limits_init(struct flow *flow);
/* The members of one limit's object: its name, most, used, remaining (money in the currency) and reset_ms. */
void limits_write_line(struct buffer *out, const struct scope_line *line);
/* PATIENCE_CLOSED comes for a handle, CLOSED once for the rest, maybe from inside. */
void limits_close(struct flow *flow, uv_close_cb patience_closed, void (*closed)(void *data), void *data);
void limits_deinit(struct flow *flow);

/* --- usage_pages.c --- */

enum verdict own_usage_page(struct exchange *x);
enum verdict all_usage_page(struct exchange *x);
/* Fine while it waits. */
struct usage_look *usage_look_free(struct usage_look *look);

/* --- choose.c --- */

/* Of COUNT candidates those worth asking now, the ones in good health first. The number. */
uint32_t choose_healthy(struct flow *flow, const struct flight_candidate *candidates, uint32_t count,
                        struct flight_candidate *ret);
/* The same without letting anybody through to one that is down. */
uint32_t choose_look(struct flow *flow, const struct flight_candidate *candidates, uint32_t count,
                     struct flight_candidate *ret);

/* --- claim.c --- */

/* A body up to this size is looked at as a whole before it is parsed. */
#define RECOGNISED_BYTES 65536

/* X's policy, scope and key. NULL, or why its answer is not to be remembered; then there may be no key. PARTS (or
 * NULL): where the key is told. */
const char *memory_key(struct exchange *x, struct key_parts *parts);
/* What the memo has for X's key: nothing is counted. */
enum memo_verdict memory_look(struct exchange *x);
/* X joined, and what came is a remembered answer older than its client wants: it is let go, to ask anew. */
bool memory_too_old(struct exchange *x);
/* An answer that was not to be remembered tells of its backend's fingerprint too. */
void memory_hear(struct exchange *x);
/* "hit", "join", "miss", "bypass" or "-". An answer found on the second shelf is a hit for all who waited for it. */
const char *memory_outcome_name(const struct exchange *x);

/* --- lead.c --- */

/* What X's client showed, where one of its candidates gets it; lives with the question. */
struct bytes lead_key(struct exchange *x);
/* Answers that are looked for are given up, failing with FAILURE. */
void leads_cancel_all(struct flow *flow, const struct failure *failure);

/* --- audit.c --- */

struct audits *audits_new(struct flow *flow);
/* X was answered from memory: maybe ask again, behind its back, and compare. */
void audits_consider(struct audits *audits, struct exchange *x);
/* Those whose new answer has grown read on; once per turn. */
void audits_run(struct audits *audits);
/* End those that are under way, uncounted, and begin none. */
void audits_cancel_all(struct audits *audits);
struct audits *audits_free(struct audits *audits);

/* --- pace.c --- */

struct paces *paces_new(struct flow *flow);
/* X's next event is not due before the recorded pace says so: X is resumed then. False: it is due. */
bool paces_wait(struct paces *paces, struct exchange *x);
/* X is resumed at DUE_MS (clock_ms()), whoever else resumes it before. */
void paces_set(struct paces *paces, struct exchange *x, uint64_t due_ms);
/* CLOSED comes once its handle is closed. */
void paces_close(struct paces *paces, uv_close_cb closed);
struct paces *paces_free(struct paces *paces);

/* --- memory.c --- */

/* A server of the configuration, as the link wants it. */
struct redis_config redis_config_of(const struct config_redis *redis);

void memory_init(struct flow *flow);
/* The second shelf is let go; CLOSED comes once, maybe from inside. */
void memory_close(struct flow *flow, void (*closed)(void *data), void *data);
void memory_deinit(struct flow *flow);

/* --- cache_pages.c --- */

/* The value of NAME in a query, percent-decoded. False: it is not there. */
bool query_value(struct bytes query, struct bytes name, struct arena *arena, struct bytes *ret);
enum verdict cache_page(struct exchange *x);
enum verdict purge_page(struct exchange *x);
/* The memory's part of the metrics. */
void cache_metrics_write(struct flow *flow, struct buffer *out);

/* --- deliver.c --- */

/* A page: one body with a status. */
void deliver_page(struct exchange *x, unsigned status, const char *content_type, struct bytes body);
/* One for X, whose answer has not begun or is silent; the head goes before the first. */
void deliver_keepalive(struct exchange *x);
/* Keepalives into streams that have been silent. */
void deliver_tick(struct flow *flow);

/* --- discover.c --- */

struct discovery *discovery_new(struct flow *flow);
/* Ask the backends whose lists are older than MAX_AGE_MS. */
void discovery_refresh(struct flow *flow, uint32_t max_age_ms);
/* The same, once for X. True: answers are awaited, and X is resumed after each. */
bool discovery_wait(struct flow *flow, struct exchange *x, uint32_t max_age_ms);
struct discovery *discovery_free(struct discovery *discovery);

/* --- identity.c --- */

struct identities *identities_new(struct flow *flow);
/* X's question may be remembered: the backends that answer for its model are asked what they run, if that is due. */
void identities_refresh(struct identities *identities, const struct exchange *x);
/* BACKEND could not be reached, or broke off; it began to answer. */
void identities_lost(struct identities *identities, uint32_t backend);
void identities_reached(struct identities *identities, uint32_t backend);
/* End what is under way, and begin nothing. */
void identities_cancel_all(struct identities *identities);
struct identities *identities_free(struct identities *identities);
