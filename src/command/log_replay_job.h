/*
 * Private to log_replay.c: one recorded request that can be sent again, and those that wait, the earliest first.
 *
 * Lines are written when requests end; sent again they are in the order in which they began. So a number of them is
 * read ahead.
 */
#pragma once

#include "base/list.h"
#include "link/transfer.h"
#include "command/log_answer.h"
#include "command/log_line.h"

enum log_skip {
    LOG_SKIP_NONE,
    LOG_SKIP_BODY,
    LOG_SKIP_CUT,
    LOG_SKIP_REDACTED,
    LOG_SKIP_REFUSED,
    LOG_SKIP_ANSWER,
    LOG_SKIP_PART,
    LOG_SKIP_FORM,
    LOG_SKIP_COUNT
};

extern const char *const log_skip_texts[LOG_SKIP_COUNT];    /* "without a body" */

struct log_job {
    void *replay;               /* its owner's */
    struct list link;           /* among those under way */
    int64_t time_us;            /* when it began, in the log */
    size_t size;                /* of memory, about */
    struct bytes id, model, path, body;
    bool stream, again;         /* sent a second time: the pooled connection was dead */
    struct answer_text recorded;
    struct arena arena;
    struct transfer *transfer;
    struct log_reply reply;
    uint64_t sent_ms;
};

/* LINE, a request's, as a job in *RET. Else why it cannot be sent again. SCRATCH has ANSWER_JSON_LIMITS. */
enum log_skip log_job_new(struct log_line *line, struct json_doc *scratch, struct log_job **ret);
struct log_job *log_job_free(struct log_job *job);

/* "failed    req_1 tiny: " */
void log_job_write_name(const struct log_job *job, const char *word, struct buffer *out);
/* Where the two answers differ: see answer_text_differ(). */
void log_job_write_difference(const struct log_job *job, uint32_t choice, size_t at, struct buffer *out);

struct log_jobs {
    struct log_job **heap;
    unsigned count, capacity;
    size_t size;
};

void log_jobs_put(struct log_jobs *jobs, struct log_job *job);
/* The earliest; NULL: there is none. */
const struct log_job *log_jobs_first(const struct log_jobs *jobs);
struct log_job *log_jobs_take(struct log_jobs *jobs);
