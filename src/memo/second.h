/*
 * The second shelf: answers in Redis, shared by any number of gateways. One per worker, on its own connection.
 *
 *   PREFIX:a:KEY     an answer (stored.h), with its time to live
 *   PREFIX:m:MODEL   the model's stamp, MODEL the hex SHA-256 of its name; an answer written under another one is void
 *
 * Reading is two GETs in one write; writing is behind the answer, never waited for. Whatever goes wrong is a miss. A
 * stamp that is not there is made (SET NX): so losing it voids answers and never brings old ones back.
 *
 * Model epochs move here first (a purge, a fingerprint: memo_model_stamp_is_old) and are told to the others by a new
 * stamp. Until Redis has said that it took it nothing found there is believed, and every look and store says it again.
 */
#pragma once

#include "link/redis.h"
#include "memo/memo.h"
#include "memo/stored.h"

struct second;

struct second_config {
    struct redis_config redis;      /* reply_bytes 0: value_bytes and some; queue_bytes 0: a few values */
    struct bytes prefix;
    struct bytes secret;            /* or none */
    uint32_t value_bytes;           /* larger answers are not written; one that is there breaks the connection */
};

/* What became of a look: one of FOUND to AWAY for each. STORED for each answer that was written, STORE_FAILED for each
 * answer or stamp that was not, unless it was too large. UP and DOWN: a line for the log each; DOWN comes without an UP
 * before it when Redis is away from the start, and once more when a Redis that was away comes back and refuses us. TEXT
 * is what Redis or the link said, or none. */
enum second_news {
    SECOND_FOUND,
    SECOND_MISSED,          /* not there, too old, from the future, too large */
    SECOND_BAD,             /* what is there is none of ours, or of another key or tenant */
    SECOND_VOID,            /* written under another stamp, or there is none, or ours is not told yet */
    SECOND_ERROR,           /* Redis answered with an error */
    SECOND_TIMEOUT,
    SECOND_AWAY,            /* the link is away, went away, or has too much waiting */
    SECOND_STORED,
    SECOND_STORE_FAILED,
    SECOND_UP,
    SECOND_DOWN,
};

/* CONFIG's views must outlive it. NEWS counts and tells: it calls nothing here. It may come from inside any of these
 * functions. */
struct second *second_new(uv_loop_t *loop, struct memo *memo, const struct second_config *config,
                          void (*news)(void *data, enum second_news news, struct bytes text), void *data);
/* Looks in flight end without their callbacks. CLOSED comes once the memory is given back. */
void second_close(struct second *second, void (*closed)(void *data), void *data);

bool second_is_up(const struct second *second);

/* A look for one answer: part of whoever looks. All zeroes before the first one. */
struct second_look {
    struct list link;               /* among the shelf's looks */
    struct redis_call stamp, answer;
    struct second *second;          /* NULL: it is over */
    struct memo_model *model;
    const uint8_t *key, *tenant;    /* must outlive the look */
    uint32_t ttl_ms;
    uint64_t known;                 /* the model's stamp when the look began */
    uint64_t there;                 /* the stamp that was there, 0: nothing found can be believed */
    void (*done)(void *data, const struct stored *found, uint32_t age_ms);
    void *data;
};

/* DONE comes once, not from inside: FOUND (valid during the call) or NULL. An answer older than its time to live or
 * from the future is none. False, and no DONE: not begun, since the link is away or the model's own stamp is not told
 * yet. */
bool second_look(struct second *second, struct second_look *look, const uint8_t key[DIGEST_SIZE],
                 const uint8_t tenant[DIGEST_SIZE], struct memo_model *model, uint32_t ttl_ms,
                 void (*done)(void *data, const struct stored *found, uint32_t age_ms), void *data);
/* No DONE any more. Twice is fine, after second_close() too. */
void second_look_away(struct second_look *look);

/* Write TRANSCRIPT (finished, kept) behind, good for TTL_MS more. One that was recalled is there already. It is not
 * written, or taken away again, when TICKET does not hold any more. */
void second_store(struct second *second, const uint8_t key[DIGEST_SIZE], const uint8_t tenant[DIGEST_SIZE],
                  struct memo_model *model, struct transcript *transcript, uint32_t ttl_ms, struct memo_ticket ticket);
/* Tell the others that MODEL's entries are void (they are here): a new stamp. */
void second_void(struct second *second, struct memo_model *model);
void second_purge_key(struct second *second, const uint8_t key[DIGEST_SIZE]);
