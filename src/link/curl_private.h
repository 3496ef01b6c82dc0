/*
 * What the files around libcurl know of each other: curl_loop.c (sockets, timers, the turn), target.c (where requests
 * go), handle.c (easy handles), transfer.c (one request), outcome.c (how it ended).
 */
#pragma once

#include "base/buffer.h"
#include "base/list.h"
#include "link/transfer.h"

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

struct transfer_target {
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

enum transfer_state {
    TRANSFER_IDLE,     /* on its target's free list */
    TRANSFER_STARTING, /* libcurl does not know of it yet */
    TRANSFER_RUNNING,  /* in the multi */
    TRANSFER_FINISHED, /* out of the multi, the owner will be told */
    TRANSFER_DOOMED,   /* cancelled, still in the multi */
};

struct transfer {
    struct list node; /* in the list of its state; none while running */
    struct list wake; /* in loop->waking */
    enum transfer_state state;
    struct transfer_target *target;
    const struct transfer_events *events;
    void *data;

    /* The handle, and what it was last told: what stays the same is not set again. */
    CURL *easy;
    struct buffer path;
    const struct curl_slist *headers;
    struct curl_slist *own_headers; /* in front of the target's list, for one request; or NULL */
    struct curl_slist *own_end;     /* where the target's list begins behind them */
    bool is_get, is_fresh;
    struct curl_slist *resolve; /* given for this request, or NULL */
    uint32_t address_version;   /* of the address in `resolve` */

    /* This request. */
    struct curl_socket *socket; /* the one it is connecting; NULL: none, or connected */
    bool opened;       /* it made a socket of its own */
    bool asked;        /* the request went out, at `connected_at` */
    bool reused;       /* on a pooled connection */
    bool paused, held; /* the owner's wish; what libcurl was told */
    bool in_block;     /* between a status line and its blank line */
    bool head_given;
    unsigned interim; /* 1xx answers so far */
    unsigned status;
    size_t header_bytes;
    uint64_t connected_at, connected_us;
    int result;

    /* Header values worth keeping, cut when longer. */
    char content_type[128], content_encoding[32], retry_after[64];
    unsigned char kept[3];
    char reason[CURL_ERROR_SIZE];
};

/* Have turn() run before the loop sleeps. */
void curl_loop_arm(struct curl_loop *loop);
/* Take TRANSFER out of the multi, and with it what it left of an unfinished connection. */
void curl_loop_remove(struct curl_loop *loop, struct transfer *transfer);
/* CURLOPT_CLOSESOCKETFUNCTION; DATA is the curl_loop. */
int curl_loop_close_socket(void *data, curl_socket_t fd);
/* FD is a new socket: what is known under its number is gone. */
void curl_loop_forget_socket(struct curl_loop *loop, curl_socket_t fd);
/* OPENER's connection is made: from now on libcurl says when it closes it. */
void curl_loop_publish_socket(struct transfer *opener);

/* handle.c: a transfer to fill, from the free list or new; and back, when it is in no list and not in the multi. */
struct transfer *transfer_take(struct transfer_target *target);
void transfer_give_back(struct transfer *transfer);
/* An idle one that is in no list. */
void transfer_free(struct transfer *transfer);
/* The list for REQUEST: HEADERS, and in front of them what is this request's own. */
struct curl_slist *transfer_own_headers(struct transfer *transfer, const struct transfer_request *request,
                                        struct curl_slist *headers);
void transfer_set_callbacks(struct transfer *transfer);

/* outcome.c: sets `result`, and `reason` unless it is 0. */
void transfer_judge(struct transfer *transfer, CURLcode code);

/* For turn() and whoever called libcurl. */
void transfer_begin(struct transfer *transfer);
void transfer_wake(struct transfer *transfer);
void transfer_bury(struct transfer *transfer);
void transfer_finish(struct transfer *transfer, CURLcode code);
void transfer_report(struct transfer *transfer);
