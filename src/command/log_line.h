/*
 * One line of a request log, read once: its members by number. Names are those of record/record.h.
 */
#pragma once

#include "json/json_doc.h"

/* A line longer than this is not read. */
#define LOG_LINE_MOST (64u << 20)

/* The members that the command itself looks at. */
#define LOG_FIELDS(X)                                                                                        \
    X(seq) X(run) X(event) X(dropped) X(first) X(last)                                                       \
    X(time) X(id) X(client_id) X(trace_id) X(key) X(team) X(path) X(method) X(model) X(stream) X(backend)    \
    X(cache) X(status) X(outcome) X(reason) X(prompt_tokens) X(completion_tokens) X(cost) X(total_ms)        \
    X(ttft_ms) X(request_cut) X(answer_cut) X(request) X(answer)

enum log_field {
#define LOG_FIELD_NUMBER(name) LOG_##name,
    LOG_FIELDS(LOG_FIELD_NUMBER)
#undef LOG_FIELD_NUMBER
    LOG_FIELD_COUNT
};

extern const char *const log_field_names[LOG_FIELD_COUNT];

enum log_kind {
    LOG_REQUEST,    /* what became of a request */
    LOG_LOSS,       /* lines were dropped: LOG_dropped of them, from LOG_first to LOG_last */
    LOG_EVENT,      /* something else that has a number, such as an audit */
    LOG_BROKEN,     /* it cannot be read, or is no line of ours */
};

struct log_line {
    struct json_doc doc;
    struct arena arena;         /* of decoded strings */
    enum log_kind kind;
    struct bytes text;
    int64_t seq;                /* unless broken; unique in its run of a gateway (see log_runs.h) */
    const struct json_node *values[LOG_FIELD_COUNT];    /* NULL: it is not there */
};

void log_line_init(struct log_line *line);
void log_line_deinit(struct log_line *line);

/* Read TEXT, which must stay. What was read before is gone. */
void log_line_read(struct log_line *line, struct bytes text);

/* A member's characters; none when it is no string. */
struct bytes log_line_text(struct log_line *line, enum log_field field);
/* A whole number that is not negative; else ELSE. */
int64_t log_line_number(const struct log_line *line, enum log_field field, int64_t otherwise);
bool log_line_flag(const struct log_line *line, enum log_field field);
/* Milliseconds in the log, as microseconds. False: it was not measured. */
bool log_line_us(const struct log_line *line, enum log_field field, uint64_t *ret_us);
/* When its head was read: microseconds since 1970. False: it does not say. */
bool log_line_time(struct log_line *line, int64_t *ret_us);

/* RFC 3339, with any fraction and offset, or a date alone (its 00:00 UTC), as microseconds since 1970. 0 or -EINVAL. */
int log_time_read(struct bytes text, int64_t *ret_us);
/* A decimal number that is not negative in thousandths (DIGITS 3) or millionths (6); what is below is cut off. 0 or
 * -EINVAL. */
int log_decimal_read(struct bytes text, unsigned digits, uint64_t *ret);
