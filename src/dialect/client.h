/*
 * The languages of our clients: how a question is checked, and how answers, events and failures are written.
 *
 * A dialect writes text only: JSON bodies and SSE events. Status lines, headers and HTTP chunks are the entry's.
 */
#pragma once

#include "base/buffer.h"
#include "chat/request.h"
#include "chat/transcript.h"

struct client_dialect;

/* One answer being written to one client. Set up by client_stream_init(), read and moved on by the
 * dialect; it holds nothing. */
struct client_stream {
    const struct client_dialect *dialect;
    const struct chat_request *request;
    struct arena *arena;        /* scratch, freed with the exchange */
    struct json_doc *doc;       /* scratch for payloads that must be read, the caller's */
    struct bytes id;            /* the answer's own where it tells a plain one, else "chatcmpl-<32 hex>" */
    int64_t created;
    bool named;                 /* id and created are settled */
    uint32_t token_index;       /* Goodfire: the next one */
    bool silent;                /* Goodfire: the keepalive event has been sent */
    bool begun;                 /* OpenAI, from a Goodfire server: the role's chunk has been sent */
};

enum { CLIENT_E_UNTELLABLE = 1 }; /* the payload cannot be told in this dialect: treat it as a broken upstream */

struct client_dialect {
    const char *name;           /* "openai" */
    enum chat_shape shape;
    bool event_per_chunk;       /* each event is an HTTP chunk of its own */

    /* Check DOC (its root may be anything) as OPERATION and fill REQUEST. 0, or -EINVAL with *RET_FAILURE in this
     * dialect's words (views in ARENA). */
    int (*understand)(struct chat_request *request, const struct json_doc *doc, enum chat_operation operation,
                      struct arena *arena, struct failure *ret_failure);

    unsigned (*status)(const struct failure *failure);
    /* The JSON body of a refusal. */
    void (*write_failure)(const struct failure *failure, struct buffer *out);

    /* A whole answer (EVENT_BODY or EVENT_LOGITS). 0 or CLIENT_E_UNTELLABLE. */
    int (*write_body)(struct client_stream *stream, const struct chat_event *event, struct buffer *out);

    /* One event of a stream as SSE text: none, one or several events, each ended by the only blank line in it.
     * Nothing is written on failure. */
    int (*write_event)(struct client_stream *stream, const struct chat_event *event, struct buffer *out);
    void (*write_failure_event)(struct client_stream *stream, const struct failure *failure, struct buffer *out);
    void (*write_keepalive)(struct client_stream *stream, struct buffer *out);
    /* After the last event of a good stream. */
    void (*write_end)(struct client_stream *stream, struct buffer *out);
};

extern const struct client_dialect client_openai;
extern const struct client_dialect client_goodfire;

/* DOC has ANSWER_JSON_LIMITS; it may serve several streams by turns. */
void client_stream_init(struct client_stream *stream, const struct client_dialect *dialect,
                        const struct chat_request *request, struct arena *arena, struct json_doc *doc);
