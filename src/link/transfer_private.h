/*
 * What the two carriers of transfers have in common: libcurl (curl_private.h) and sockets of our own (http1_private.h).
 * Each puts these in front of its own struct.
 */
#pragma once

#include "link/transfer.h"

enum {
    TRANSFER_HEADER_LIMIT = 64 << 10,   /* bytes of an answer's heads, interim ones and trailers with them */
    TRANSFER_INTERIM_LIMIT = 10,        /* 1xx answers before the real one */
    TRANSFER_RECEIVE_BUFFER = 64 << 10, /* what an upstream can push at a stalled reader, in the kernel */
    TRANSFER_IDLE_S = 50,               /* how long a connection waits to be used again: less than servers grant */
    TRANSFER_STALE_MS = 1000,           /* a close that was on its way when the request left comes within that */
};

struct curl_loop;
struct http1_loop;

/* Both halves; each is made when its first target is. */
struct transfer_loop {
    uv_loop_t *uv;
    unsigned idle_limit;
    struct curl_loop *curl;
    struct http1_loop *http1;
    uv_timer_t end; /* never started: its closing ends a loop that has neither */
    unsigned open;  /* halves, and `end`, that have not closed; only while closing */
    void (*closed)(void *data);
    void *closed_data;
};

struct transfer_target {
    const struct transfer_carrier *carrier; /* transfer.c sets it */
};

struct transfer {
    struct transfer_target *target;
    const struct transfer_events *events;
    void *data;
    uint64_t connected_at, connected_us; /* 0: not yet */
};

/* As the functions of transfer.h; SPEC has been checked, and no pointer is NULL. */
struct transfer_carrier {
    struct transfer_target *(*target_new)(struct transfer_loop *loop, const struct transfer_target_spec *spec);
    void (*target_free)(struct transfer_target *target);
    void (*target_resolved)(struct transfer_target *target, const char *address);
    struct transfer *(*start)(struct transfer_target *target, const struct transfer_request *request,
                              const struct transfer_events *events, void *data);
    void (*cancel)(struct transfer *transfer);
    void (*pause)(struct transfer *transfer);
    void (*resume)(struct transfer *transfer);
};

extern const struct transfer_carrier transfer_by_curl, transfer_by_http1;

/* TRANSFER has its connection from now on. */
void transfer_connects(struct transfer *transfer, uv_loop_t *loop);
/* So soon after that, a pooled connection that closes without a word has not seen the request. */
bool transfer_is_early(const struct transfer *transfer);
/* Some servers refuse a body without reading it, and then take it for the next request: such a connection is not used
 * again. */
bool transfer_spends(bool has_body, unsigned status);
/* It can be sent as it is: a line end in a path would begin a header. */
bool transfer_is_path(struct bytes path);
/* A copy with a NUL behind it, for alloc_free(). */
char *transfer_text(struct bytes view);

/* transfer_target_new() by this CARRIER: libcurl can speak without TLS as well. */
struct transfer_target *transfer_target_new_by(const struct transfer_carrier *carrier, struct transfer_loop *loop,
                                               const struct transfer_target_spec *spec);
