/*
 * A part of the memo, with its own lock: a table of entries by key, and the shelf on which the finished ones lie.
 *
 * An entry grows, or lies on the shelf. It is in the table for as long as it may be found; out of it, a growing one
 * lives on until its transcript ended. Nothing is freed under the lock: what is dropped goes into a bin.
 *
 * All functions but the first two and the last are called with the lock held. The lock comes before a transcript's.
 */
#pragma once

#include "memo/kept.h"
#include "memo/models.h"
#include "memo/shelf.h"

#include <stdatomic.h>

struct shard;

struct entry {
    struct shelf_item item;     /* its link: on the shelf, or among the growing */
    struct entry *next;         /* in its bucket, or in a bin */
    struct memo *memo;
    struct shard *shard;
    struct memo_model *model;
    struct transcript *transcript;
    uint8_t key[DIGEST_SIZE];

    uint64_t epoch;             /* the model's when it was asked for */
    uint64_t made_ms, expires_ms;
    uint64_t held;              /* bytes, while it grows */
    bool linked, growing, refused;

    uint32_t ttl_ms;
    struct kept *kept;          /* word for whoever leads it, or NULL */
    struct entry *before;       /* the finished one it is to replace; back in its place if nothing comes of it */
};

struct shard {
    uv_mutex_t lock;
    struct entry **buckets;
    unsigned bits;              /* there are 2^bits */
    uint64_t count;

    struct shelf *shelf;
    uint64_t limit;             /* bytes on the shelf and growing; 0: nothing is kept */

    _Atomic uint64_t purges;    /* of single keys */

    struct list growing;
    uint64_t growing_count, growing_bytes, growing_limit;
    char apart[64];
};

void shard_init(struct shard *shard, uint64_t bytes);
/* What still grows is freed too. */
void shard_deinit(struct shard *shard);

struct entry *shard_find(struct shard *shard, const uint8_t key[DIGEST_SIZE], uint64_t name);
/* A growing ENTRY, no other of its key in the table. */
void shard_add(struct shard *shard, struct entry *entry);

/* Out of the table, and off the shelf into BIN, unless it grows. */
void shard_drop(struct entry *entry, struct entry **bin);
/* A finished ENTRY out of the table and off the shelf, to be put back or dropped into a bin. */
void shard_lay_aside(struct entry *entry);
/* On the shelf again, if there is room and no other of its key; else into BIN. */
void shard_put_back(struct entry *entry, struct entry **bin);
void shard_throw_away(struct entry *entry, struct entry **bin);
/* Make room for WANTED bytes beside what grows. False: there is none. */
bool shard_make_room(struct shard *shard, uint64_t wanted, struct entry **bin);
/* ENTRY holds BYTES more, or says no. */
bool shard_grow(struct entry *entry, size_t bytes, uint32_t most, struct entry **bin);
/* ENTRY has grown. On the shelf with it, if there is room for SIZE; else false, and it is in BIN. SIZE 0: not kept. */
bool shard_settle(struct entry *entry, uint64_t size, struct entry **bin);

/* Free what is in BIN; no lock held. */
void bin_empty(struct entry *bin);
