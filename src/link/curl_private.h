/*
 * What the files around libcurl know of each other: curl_loop.c (sockets, timers, the turn), curl_target.c (where
 * requests go), curl_handle.c (easy handles), curl_transfer.c (one request), curl_outcome.c (how it ended).
 */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "link/curl_loop.h"
#include "link/transfer_private.h"

#include <assert.h>
#include <curl/curl.h>

struct curl_loop {
    uv_loop_t *uv;
    CURLM *multi;
    CURLSH *share; /* TLS sessions, so that any handle's new connection can resume */

    /* The sockets libcurl has open, by descriptor. */
    struct curl_socket **sockets;
    size_t socket_count;

    /* What the next turn() has to do. */
    struct list starting, waking, finished;
    bool due;           /* libcurl wants to be called: its timer of 0 */
    struct list doomed; /* cancelled from inside libcurl; taken out as soon as it returns */
    bool inside;        /* libcurl is on the stack and may not be called */

    unsigned running, idle_handles, idle_limit;

    uv_timer_t timer;
    uv_idle_t idle;
    uv_check_t check;
    unsigned open_handles;
    void (*closed)(void *data);
    void *closed_data;
};

#define SET(easy, option, value)                                                                             \
    do {                                                                                                     \
        CURLcode set_code = curl_easy_setopt(easy, option, value);                                           \
        assert(set_code == CURLE_OK);                                                                        \
        (void)set_code;                                                                                      \
    } while (0)

/* The header lists of a target. */
enum { HEADERS_GET, HEADERS_ASK, HEADERS_ASK_STREAM, HEADERS_COUNT };

struct curl_target {
    struct transfer_target base;
    struct curl_loop *loop;
    struct list idle; /* transfers with a handle set up for this target; the last one in is the first one out */
    unsigned live;    /* transfers that are not idle */
    struct curl_slist *headers[HEADERS_COUNT];
    CURLU *url; /* parsed once, without a path: that comes with each request */
    char *unix_path, *ca_file;
    uint32_t connect_ms;
    bool tls;

    /* The host's name as libcurl looks it up, "name:port", or NULL; and what the multi must be told about it. */
    char *lookup;
    char address[64];
    uint32_t address_version, told_version;
};

enum curl_transfer_state {
    CURL_TRANSFER_IDLE,     /* on its target's free list */
    CURL_TRANSFER_STARTING, /* libcurl does not know of it yet */
    CURL_TRANSFER_RUNNING,  /* in the multi */
    CURL_TRANSFER_FINISHED, /* out of the multi, the owner will be told */
    CURL_TRANSFER_DOOMED,   /* cancelled, still in the multi */
};

struct curl_transfer {
    struct transfer base;
    struct list node; /* in the list of its state; none while running */
    struct list wake; /* in loop->waking */
    enum curl_transfer_state state;

    /* The handle, and what it was last told: what stays the same is not set again. */
    CURL *easy;
    struct buffer path;
    const struct curl_slist *headers;
    struct curl_slist *own_headers; /* in front of the target's list, for one request; or NULL */
    struct curl_slist *own_end;     /* where the target's list begins behind them */
    bool is_get, is_fresh, is_spent;
    struct curl_slist *resolve; /* given for this request, or NULL */
    uint32_t address_version;   /* of the address in `resolve` */

    /* This request. */
    struct curl_socket *socket; /* the one it is connecting; NULL: none, or connected */
    bool opened;       /* it made a socket of its own */
    bool asked;        /* the request went out */
    bool reused;       /* on a pooled connection */
    bool paused, held; /* the owner's wish; what libcurl was told */
    bool in_block;     /* between a status line and its blank line */
    bool head_given;
    unsigned interim; /* 1xx answers so far */
    unsigned status;
    size_t header_bytes;
    int result;

    /* Header values worth keeping, cut when longer. */
    char content_type[128], content_encoding[32], retry_after[64];
    unsigned char kept[3];
    char reason[CURL_ERROR_SIZE];
};

static inline struct curl_target *target_of(const struct curl_transfer *transfer)
{
    return LIST_ENTRY(transfer->base.target, struct curl_target, base);
}

/* Have turn() run before the loop sleeps. */
void curl_loop_arm(struct curl_loop *loop);
/* Take TRANSFER out of the multi, and with it what it left of an unfinished connection. */
void curl_loop_remove(struct curl_loop *loop, struct curl_transfer *transfer);
/* CURLOPT_CLOSESOCKETFUNCTION; DATA is the curl_loop. */
int curl_loop_close_socket(void *data, curl_socket_t fd);
/* FD is a new socket: what is known under its number is gone. */
void curl_loop_forget_socket(struct curl_loop *loop, curl_socket_t fd);
/* OPENER's connection is made: from now on libcurl says when it closes it. */
void curl_loop_publish_socket(struct curl_transfer *opener);

/* curl_target.c: for the carrier (transfer_private.h). */
struct transfer_target *curl_target_new(struct transfer_loop *loop, const struct transfer_target_spec *spec);
void curl_target_free(struct transfer_target *target);
void curl_target_resolved(struct transfer_target *target, const char *address);

/* curl_handle.c: a transfer to fill, from the free list or new; and back, when it is in no list and no multi. */
struct curl_transfer *curl_transfer_take(struct curl_target *target);
void curl_transfer_give_back(struct curl_transfer *transfer);
/* An idle one that is in no list. */
void curl_transfer_free(struct curl_transfer *transfer);
/* The list for REQUEST: HEADERS, and in front of them what is this request's own. */
struct curl_slist *curl_transfer_own_headers(struct curl_transfer *transfer, const struct transfer_request *request,
                                             struct curl_slist *headers);
void curl_transfer_set_callbacks(struct curl_transfer *transfer);

/* curl_outcome.c: sets `result`, and `reason` unless it is 0. */
void curl_transfer_judge(struct curl_transfer *transfer, CURLcode code);

/* For turn() and whoever called libcurl. */
void curl_transfer_begin(struct curl_transfer *transfer);
void curl_transfer_wake(struct curl_transfer *transfer);
void curl_transfer_bury(struct curl_transfer *transfer);
void curl_transfer_finish(struct curl_transfer *transfer, CURLcode code);
void curl_transfer_report(struct curl_transfer *transfer);
