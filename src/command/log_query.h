/*
 * Which lines of a request log are meant.
 */
#pragma once

#include "base/buffer.h"
#include "command/log_line.h"

#define LOG_STATUS_MOST 1000

struct log_query {
    struct bytes key, team, model, backend, outcome, cache;     /* none: any. cache is a word of the log's */
    struct bytes id;            /* the gateway's id, the client's own, or the trace's */
    bool by_status, statuses[LOG_STATUS_MOST];
    int64_t since_us, until_us; /* since 1970; INT64_MIN and INT64_MAX: any time. UNTIL is not in it */
    uint64_t min_us;            /* took at least so long */
};

void log_query_init(struct log_query *query);

/* Add what VALUE asks for under NAME, an option's without its dashes: key, team, model, backend, status, outcome,
 * cache, since, until, id, min-ms. VALUE lives as long as QUERY; NOW_US is the wall clock. 0, or -EINVAL with a line in
 * ERRORS; -ENOENT: there is no such filter. */
int log_query_add(struct log_query *query, const char *name, const char *value, int64_t now_us, struct buffer *errors);

/* A line of a request that is meant. Of losses only the time counts, and none is meant when something else is asked
 * for; broken lines never are. */
bool log_query_takes(const struct log_query *query, struct log_line *line);
