/*
 * `embergate log summary`: what the requests of a log have in common, model by model, or by who asked.
 */
#pragma once

#include "command/log_files.h"
#include "command/log_query.h"

enum log_by {
    LOG_BY_MODEL,
    LOG_BY_KEY,
    LOG_BY_TEAM,
    LOG_BY_BACKEND,
    LOG_BY_STATUS,
    LOG_BY_CACHE,
    LOG_BY_NONE,
    LOG_BY_COUNT
};

/* "model", "key" ... */
extern const char *const log_by_names[LOG_BY_COUNT];

/* More than so many names are counted together as "(others)". */
#define LOG_SUMMARY_GROUPS 10000

/* The lines of FILES that QUERY takes, as a table, or as one JSON object. */
void log_summary(struct log_files *files, const struct log_query *query, enum log_by by, bool json,
                 struct buffer *out);
