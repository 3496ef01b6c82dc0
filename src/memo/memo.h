/*
 * Have we heard this question before? One table for all workers: a key to a transcript that is finished (HIT), growing
 * (JOIN), or not there, in which case whoever asked leads (LEAD) and everybody else joins.
 *
 * Sharded by key, each shard a short mutex, a table and a shelf (shelf.h). Bytes are bounded over all: what grows is
 * counted with what is kept, and a growing answer for which there is no room, or which passes the largest size, is let
 * go by its transcript (it goes on for its readers, and is not remembered).
 *
 * An answer is remembered when it ended whole (facts.whole) and was not purged, replaced or voided meanwhile. Models
 * are known by name; each has an epoch: an entry made in an older one is void. It moves when the model is purged,
 * when another gateway says so (memo_model_stamp), and when a backend's fingerprint changes: entries remember
 * the fingerprint of backend and model that answered.
 *
 * All functions may be called from any thread, unless they say otherwise.
 */
#pragma once

#include "base/buffer.h"
#include "base/digest.h"
#include "chat/transcript.h"

struct memo;
struct memo_model;

struct memo_limits {
    uint64_t memory;        /* bytes over all; 0: nothing is kept, growing answers can still be joined */
    uint32_t entry;         /* bytes of the largest answer kept */
};

struct memo *memo_new(const struct memo_limits *limits);
/* No transcript of it grows any more, and no loop that claimed runs. */
struct memo *memo_free(struct memo *memo);

/* The model called NAME, made known if it was not. Lives as long as the memo. There are at most 1024; those beyond
 * share one. */
struct memo_model *memo_model(struct memo *memo, struct bytes name);
struct bytes memo_model_name(const struct memo_model *model);

/* --- claims --- */

/* When an answer was found good to be kept: whatever else is done with it should be left if that does not hold any
 * more (its model was voided, or a key of its shard purged). */
struct memo_ticket {
    uint64_t epoch, purges;
};

/* As of now. */
struct memo_ticket memo_ticket(struct memo *memo, const struct memo_model *model, const uint8_t key[DIGEST_SIZE]);
bool memo_ticket_holds(struct memo *memo, const struct memo_model *model, const uint8_t key[DIGEST_SIZE],
                       struct memo_ticket ticket);

enum memo_verdict {
    MEMO_HIT,       /* finished */
    MEMO_JOIN,      /* growing */
    MEMO_LEAD,      /* empty and in the table: whoever claimed it fills it, on HOME's thread, or fails it */
    MEMO_NONE,      /* nothing there, and `only` was said */
};

struct memo_claim {
    const uint8_t *key;             /* DIGEST_SIZE; copied */
    const uint8_t *tenant;          /* DIGEST_SIZE: whose answers may be shared, for `kept`; copied */
    struct memo_model *model;
    uint32_t ttl_ms;                /* for how long an answer is good */
    bool fresh;                     /* what is there is not good enough: lead, and replace it */
    bool only;                      /* do not lead; MEMO_NONE is not counted as a miss */
    uint32_t max_age_ms;            /* of a hit; UINT32_MAX: any. An older one is as if not there */
    struct mailbox *home;           /* of the asking thread */
    size_t high_water, low_water;   /* of a new transcript */
    /* The answer led by this claim is good to be kept (also where no memory is given to keep it here): a chance to put
     * it on another shelf. On HOME's thread by letter, soon after the end. CLAIM is a copy with the key, tenant, model
     * and ttl_ms of this one, valid during the call. May be NULL. */
    void (*kept)(void *data, const struct memo_claim *claim, struct transcript *transcript, struct memo_ticket ticket);
    void *data;
};

/* READER is set up on the transcript found or made, and *RET holds a reference to it, unless MEMO_NONE. An entry
 * that is void, expired or abandoned is not there. */
enum memo_verdict memo_claim(struct memo *memo, const struct memo_claim *claim, struct reader *reader,
                             void (*wake)(void *data), void *wake_data, struct transcript **ret);

/* What CLAIM with `only` would find, MEMO_LEAD never: nothing is counted, dropped or touched. Its model is not looked
 * at. */
enum memo_verdict memo_look(struct memo *memo, const struct memo_claim *claim);

/* --- voiding --- */

/* BACKEND's MODEL (its name there) answers with FINGERPRINT. True: it said another one before, and MODEL's entries are
 * void now. What the memo keeps it hears by itself. */
bool memo_fingerprint(struct memo *memo, struct memo_model *model, struct bytes backend, struct bytes name,
                      struct bytes fingerprint);

/* FACTS are those of an answer whose source is known to say something else by now. */
bool memo_is_outdated(struct memo *memo, struct memo_model *model, const struct transcript_facts *facts);

/* A model's stamp: what all gateways that share a second shelf hold to be its epoch; 0 until one is known. Setting
 * another one than before voids its entries here, unless the one before is old: then it is the new epoch's. */
uint64_t memo_model_stamp(const struct memo_model *model);
void memo_model_set_stamp(struct memo *memo, struct memo_model *model, uint64_t stamp);
/* The stamp to be set for its present epoch: FRESH, unless somebody has begun to set another one for it. */
uint64_t memo_model_next_stamp(struct memo_model *model, uint64_t fresh);
/* Its epoch moved here (a purge, a fingerprint) and no stamp was set since. */
bool memo_model_stamp_is_old(const struct memo_model *model);

/* Void all entries of MODEL, or with NULL of all models. The number of entries dropped. */
uint64_t memo_purge_model(struct memo *memo, struct memo_model *model);
/* The entry was there. */
bool memo_purge_key(struct memo *memo, const uint8_t key[DIGEST_SIZE]);
/* The model called NAME, or NULL when nobody asked for it yet. */
struct memo_model *memo_find_model(struct memo *memo, struct bytes name);

/* --- counting --- */

/* Per model; the caller counts hits that came from the second shelf, bypasses and audits with memo_count(). */
#define MEMO_COUNTS(X)                                                                                       \
    X(hits) X(joins) X(misses) X(recalled) X(bypasses) X(stored) X(too_large) X(evicted) X(expired)          \
    X(voided) X(purged) X(fingerprints) X(audit_same) X(audit_different) X(audit_failed) X(audit_skipped)

struct memo_counts {
#define MEMO_COUNT_MEMBER(name) uint64_t name;
    MEMO_COUNTS(MEMO_COUNT_MEMBER)
#undef MEMO_COUNT_MEMBER
};

enum memo_count {
#define MEMO_COUNT_ENUM(name) MEMO_COUNT_##name,
    MEMO_COUNTS(MEMO_COUNT_ENUM)
#undef MEMO_COUNT_ENUM
    MEMO_COUNT_COUNT
};

void memo_count(struct memo_model *model, enum memo_count count);

struct memo_stats {
    uint64_t entries, bytes, growing, growing_bytes, memory, models;
    struct memo_counts counts;      /* over all models */
};

void memo_stats(struct memo *memo, struct memo_stats *ret);
/* The models in the order they became known, entries and bytes of each kept. */
struct memo_model *memo_model_at(struct memo *memo, uint32_t index);
struct memo_counts memo_model_counts(const struct memo_model *model, uint64_t *ret_entries, uint64_t *ret_bytes);
