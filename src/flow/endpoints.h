/*
 * Every path we serve, in one table.
 */
#pragma once

#include "chat/request.h"
#include "dialect/client.h"
#include "entry/http_in.h"

enum endpoint_kind {
    ENDPOINT_CHAT,      /* completions and logits, in one of the dialects */
    ENDPOINT_PASS,      /* a Goodfire path passed on to a Goodfire server */
    ENDPOINT_EXPLAIN,   /* a chat, told instead of done */
    ENDPOINT_MODELS,
    ENDPOINT_MODEL,     /* /v1/models/{id} */
    ENDPOINT_HEALTH,
    ENDPOINT_READY,
    ENDPOINT_METRICS,
    ENDPOINT_CACHE,     /* what the memory holds */
    ENDPOINT_PURGE,
    ENDPOINT_OWN_USAGE,
    ENDPOINT_ALL_USAGE,
    ENDPOINT_STATUS,    /* the page; its numbers; the same once a second */
    ENDPOINT_STATUS_JSON,
    ENDPOINT_STATUS_EVENTS,
};

struct endpoint {
    const char *path;
    enum endpoint_kind kind;
    const char *allow;                      /* methods, as in an Allow header */
    const struct client_dialect *dialect;
    enum chat_operation operation;
    bool admin;                             /* only there */
    bool both;                              /* there as well */
};

/* The row for exactly PATH, or NULL. */
const struct endpoint *endpoint_find(struct bytes path, bool admin);
/* METHOD is one of the row's. */
bool endpoint_allows(const struct endpoint *endpoint, enum http_method method);
/* The language of errors for a path that is not in the table. */
const struct client_dialect *endpoint_dialect(struct bytes path);
