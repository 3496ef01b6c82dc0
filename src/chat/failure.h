/*
 * What went wrong, in the house's own words. A dialect turns it into a client's status, headers and body.
 *
 * The table is written once: kind, status for an OpenAI client, status for a Goodfire client, error type, default
 * code, whether asking again can help.
 */
#pragma once

#include "base/arena.h"

#define FAILURE_TABLE(X)                                                                                     \
    /* kind             openai goodfire type                    code                    again */             \
    X(BAD_JSON,          400, 422, "invalid_request_error", NULL,                       false)               \
    X(INVALID,           400, 422, "invalid_request_error", NULL,                       false)               \
    X(UNSUPPORTED,       400, 422, "invalid_request_error", "unsupported_parameter",    false)               \
    X(STEERING,          400, 422, "invalid_request_error", "unsupported_steering",     false)               \
    X(NO_KEY,            401, 401, "invalid_request_error", "invalid_api_key",          false)               \
    X(NOT_ALLOWED,       403, 403, "invalid_request_error", "model_not_allowed",        false)               \
    X(NO_MODEL,          404, 422, "invalid_request_error", "model_not_found",          false)               \
    X(NO_PATH,           404, 404, "invalid_request_error", NULL,                       false)               \
    X(NO_METHOD,         405, 405, "invalid_request_error", "method_not_supported",     false)               \
    X(BAD_HTTP,          400, 400, "invalid_request_error", "bad_http",                 false)               \
    X(HTTP_TIMEOUT,      408, 408, "invalid_request_error", "request_timeout",          true)                \
    X(TOO_LARGE,         413, 413, "invalid_request_error", "request_too_large",        false)               \
    X(BAD_EXPECT,        417, 417, "invalid_request_error", "bad_http",                 false)               \
    X(HEAD_TOO_LARGE,    431, 431, "invalid_request_error", "bad_http",                 false)               \
    X(NOT_IMPLEMENTED,   501, 501, "invalid_request_error", "bad_http",                 false)               \
    X(HTTP_VERSION,      505, 505, "invalid_request_error", "bad_http",                 false)               \
    X(RATE_LIMITED,      429, 429, "requests",              "rate_limit_exceeded",      true)                \
    X(NO_BUDGET,         429, 402, "insufficient_quota",    "insufficient_quota",       false)               \
    X(NOT_CACHED,        504, 504, "invalid_request_error", "not_cached",               false)               \
    X(UPSTREAM_REFUSED,  400, 422, "invalid_request_error", NULL,                       false)               \
    X(UPSTREAM_AUTH,     502, 500, "server_error",          "upstream_auth",            false)               \
    X(UPSTREAM_CONNECT,  502, 500, "server_error",          "upstream_connect",         true)                \
    X(UPSTREAM_DNS,      502, 500, "server_error",          "upstream_dns",             true)                \
    X(UPSTREAM_TLS,      502, 500, "server_error",          "upstream_tls",             false)               \
    X(UPSTREAM_TIMEOUT,  504, 500, "server_error",          "upstream_timeout",         true)                \
    X(UPSTREAM_RESET,    502, 500, "server_error",          "upstream_reset",           true)                \
    X(UPSTREAM_BAD,      502, 500, "server_error",          "bad_upstream_body",        true)                \
    X(UPSTREAM_FAILED,   502, 500, "server_error",          "upstream_error",           true)                \
    X(UPSTREAM_LOADING,  503, 429, "server_error",          "upstream_loading",         true)                \
    X(UPSTREAM_BUSY,     429, 429, "requests",              "rate_limit_exceeded",      true)                \
    X(UPSTREAM_QUOTA,    429, 402, "insufficient_quota",    "insufficient_quota",       false)               \
    X(OVERLOADED,        503, 429, "server_error",          "overloaded",               true)                \
    X(DRAINING,          503, 429, "server_error",          "shutting_down",            true)                \
    X(INTERNAL,          500, 500, "server_error",          NULL,                       true)

#define FAILURE_ENUM(kind, openai, goodfire, type, code, again) FAIL_##kind,
enum failure_kind { FAILURE_TABLE(FAILURE_ENUM) FAIL_COUNT };
#undef FAILURE_ENUM

/* Views belong to the arena of whoever made the failure, or are static. */
struct failure {
    enum failure_kind kind;
    struct bytes message;       /* what to change, in a sentence */
    struct bytes param;         /* which field, or none */
    struct bytes code, type;    /* override the table's */
    struct bytes detail;        /* for Goodfire clients: the pydantic list, JSON; or none */
    uint32_t retry_after_ms;    /* 0: none known */
};

struct failure_row {
    const char *name;           /* "UPSTREAM_TIMEOUT": for logs */
    uint16_t openai_status;
    uint16_t goodfire_status;
    const char *type;
    const char *code;           /* or NULL */
    bool again;                 /* asking again can help */
};

const struct failure_row *failure_row(enum failure_kind kind);

/* A failure of KIND with a formatted MESSAGE in ARENA. */
struct failure failure_make(struct arena *arena, enum failure_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A copy whose views live in ARENA. */
struct failure failure_copy(struct arena *arena, const struct failure *failure);
