/*
 * What became of one request: one struct, one table of its fields, one line of JSON.
 *
 * The table (record_fields) is the only list of fields there is: the line, the command that reads it and the
 * documentation (conf/request-log.md) are made of it. A field that has nothing to say is left out of the line.
 */
#pragma once

#include "base/buffer.h"
#include "chat/transcript.h"

#include <stdint.h>

/* One backend that was asked: only the first few are told apart, all are counted. */
#define RECORD_TRIES TRANSCRIPT_TRIES

struct record_try {
    struct bytes backend;
    const char *outcome;        /* "ok", or a failure's name */
    unsigned status;            /* 0: it did not answer */
    uint64_t us;
};

/* Views are valid during record_write(). Times in microseconds; 0 where nothing was measured. */
struct record {
    int64_t wall_us;            /* when its head was read, since 1970 */
    struct bytes id;            /* ours, 128 random bits */
    struct bytes client_id;     /* the client's own x-request-id */
    struct bytes trace_id, span_id, parent_id;
    struct bytes client;        /* its address */
    struct bytes key, team;     /* names, never the key */
    struct bytes metadata;      /* of the key: a JSON object */
    const char *dialect, *operation;
    struct bytes method, path;
    struct bytes model;         /* as asked for */
    struct bytes variant;
    struct bytes upstream_model;
    bool stream, steered;
    struct bytes backend;       /* that answered, or was asked last; of a remembered answer: that made it */
    uint64_t attempts;
    struct record_try tries[RECORD_TRIES];
    unsigned try_count;
    const char *cache, *cache_reason;
    struct bytes cache_key;
    unsigned status;
    const char *outcome;        /* "ok", "refused", "client_left" ... */
    const char *reason;         /* a failure's name, or NULL */
    const char *phase;          /* of the walk, in which the request was cut short; or NULL */
    struct bytes finish_reason;
    int64_t prompt_tokens, completion_tokens;   /* -1: there are none to tell */
    bool tokens_estimated;
    uint64_t cost;              /* millionths of the currency; what making this answer cost */
    bool has_cost;
    uint64_t bytes_in, bytes_out, events;
    uint64_t total_us;
    /* The parts of the time until the answer's head left, in their order. */
    uint64_t auth_us, body_us, parse_us, limit_us, claim_us, queue_us, connect_us, first_byte_us, answer_us;
    uint64_t first_token_us;    /* from the request's head to the answer's first byte */
    uint64_t gap_p50_us, gap_p99_us, gap_max_us;        /* between events, as the client got them */
    uint64_t lag_us;            /* the longest that bytes were in here, from the upstream's socket to the client's */
    uint64_t queue_position;
    bool degraded;              /* shared limits were decided without Redis */
    struct bytes request_hash, answer_hash;     /* SHA-256, hex */
    struct bytes request_body;  /* JSON, redacted; or none */
    struct bytes answer_body;   /* JSON, redacted; or none */
    bool request_cut, answer_cut;               /* bodies longer than what is kept: told as a JSON string */
};

enum record_kind {
    RECORD_TEXT,        /* struct bytes: escaped; none is left out */
    RECORD_PLAIN,       /* struct bytes of our own making: nothing to escape */
    RECORD_WORD,        /* const char *, our own, told in lower case; NULL is left out */
    RECORD_JSON,        /* struct bytes, goes in as it is */
    RECORD_NUMBER,      /* uint64_t; 0 is left out */
    RECORD_COUNT,       /* uint64_t; 0 is told */
    RECORD_STATUS,      /* unsigned; 0 is told */
    RECORD_MAYBE,       /* int64_t; negative is left out */
    RECORD_FLAG,        /* bool; false is left out */
    RECORD_MS,          /* uint64_t microseconds as milliseconds with three digits; 0 is left out */
    RECORD_WHOLE_MS,    /* the same; 0 is told */
    RECORD_TIME,        /* int64_t wall microseconds as RFC 3339, UTC, with milliseconds */
    RECORD_MONEY,       /* uint64_t millionths as a number with six digits, told when has_cost */
    RECORD_TRIES_LIST,  /* tries[try_count], told when there was more than one, or one that failed */
};

struct record_field {
    const char *name;
    enum record_kind kind;
    size_t offset;
    const char *help;           /* one line for the documentation */
};

extern const struct record_field record_fields[];
extern const unsigned record_field_count;

/* The line without its newline, its number and its run, which come first and are the journal's: so it begins behind
 * them, `"time":"...",...}`. Everything a client may have sized is bounded by whoever filled RECORD. */
void record_write(const struct record *record, struct buffer *out);

/* `"time":"..."`, for lines of another kind: WALL_US since 1970. */
void record_write_time(struct buffer *out, int64_t wall_us);

/* The table as Markdown: what conf/request-log.md holds. */
void record_describe(struct buffer *out);
