/*
 * The languages of the backends. Each kind is a row of quirks plus, where a row cannot say it, a function.
 * Nothing here does I/O: a question becomes a path and a body, what came back becomes events or a failure.
 */
#pragma once

#include "base/buffer.h"
#include "chat/request.h"
#include "chat/transcript.h"
#include "config/config.h"

/* A question for one backend. */
struct backend_ask {
    const struct chat_request *request;
    enum chat_shape client;                 /* who asks: decides what stays in the body */
    const struct config_backend *backend;
    enum config_kind kind;                  /* the backend's, found out when the file says auto */
    struct bytes upstream_model;
    const struct chat_steering *steering;
    const struct config_params *defaults, *fixed;   /* may be NULL */
    struct arena *arena;
};

/* What goes on the wire. Views live in the ask's arena or in the request's document. */
struct backend_request {
    bool get;                   /* else POST, application/json */
    struct bytes path;          /* from the first slash, the backend's root included */
    struct bytes body;
};

/* The whole path of REST ("/v1/models", "/tokenize") at BACKEND. */
struct bytes backend_path(const struct config_backend *backend, struct arena *arena, const char *rest);

/* Write ASK for its backend. 0, or -EINVAL with a failure (UNSUPPORTED or STEERING) that says what this
 * backend cannot do. The body is the client's own bytes when nothing had to change. */
int backend_write_request(const struct backend_ask *ask, struct backend_request *ret,
                          struct failure *ret_failure);

#define BACKEND_CHOICES 128 /* the most the API allows */

/* One event that was read in full, so that the next one need not be when it differs in its text only; see
 * backend_frame.c. Nothing is kept while text_start is 0. */
struct backend_frame {
    struct buffer in;           /* as it came */
    struct buffer out;          /* as it went on, when that differs; else empty */
    uint32_t text_start, text_end;          /* what stands between the quotes of delta.content, in `in` */
    uint32_t out_text_start, out_text_end;  /* the same in `out` */
};

/* An answer being read. */
struct backend_answer {
    enum config_kind kind;
    const struct chat_request *request;
    struct arena *arena;        /* for failures and the id; grows by a bounded amount per answer */
    struct json_doc *doc;       /* scratch, the caller's */
    struct buffer scratch;      /* a rewritten payload */
    struct buffer joined;       /* an event of several lines, in one */
    struct backend_frame frame;
    struct bytes id;            /* our own, for kinds whose ids are not unique */
    uint64_t choices_seen[BACKEND_CHOICES / 64];        /* bits by index */
    uint64_t choices_finished[BACKEND_CHOICES / 64];
    bool done;                  /* [DONE] was seen */
    int64_t prompt_tokens, completion_tokens;   /* -1 until the upstream told */
    struct bytes fingerprint;   /* what it tells of the system behind it: system_fingerprint and model; or none */
    enum chat_finish finish;
    bool unfit;                 /* a choice ended for a reason that says nothing of the question (content_filter) */
};

/* DOC has ANSWER_JSON_LIMITS; it may serve several answers by turns. */
void backend_answer_init(struct backend_answer *answer, enum config_kind kind, const struct chat_request *request,
                         struct arena *arena, struct json_doc *doc);
void backend_answer_deinit(struct backend_answer *answer);

enum backend_verdict {
    BACKEND_EVENT,      /* *RET_EVENT is to be appended; its payload is valid until the next call */
    BACKEND_NOTHING,    /* alive, nothing to show */
    BACKEND_DONE,       /* the answer is complete; what follows is ignored */
    BACKEND_FAILED,     /* *RET_FAILURE says why */
};

/* One SSE event: NAME is its `event:` field or none, DATA its data; an old llama.cpp's `error: {...}` line
 * comes with NAME "error". */
enum backend_verdict backend_read_event(struct backend_answer *answer, struct bytes name, struct bytes data,
                                        struct chat_event *ret_event, struct failure *ret_failure);

/* The stream's body ended in good order. BACKEND_DONE, or BACKEND_FAILED when the answer was not complete. */
enum backend_verdict backend_read_end(struct backend_answer *answer, struct failure *ret_failure);

/* A whole answer with status 200. BACKEND_EVENT or BACKEND_FAILED. */
enum backend_verdict backend_read_body(struct backend_answer *answer, struct bytes body,
                                       struct chat_event *ret_event, struct failure *ret_failure);

/* An answer with another status; RETRY_AFTER is that header's value or none (seconds or an HTTP date). */
struct failure backend_read_error(enum config_kind kind, unsigned status, struct bytes retry_after,
                                  struct bytes body, struct arena *arena);

/* KIND from a server's answer to GET /v1/models, for KIND_AUTO. KIND_OPENAI when nothing tells. */
enum config_kind backend_detect(const struct json_doc *models, struct arena *arena);
