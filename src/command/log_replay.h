/*
 * `embergate log replay`: what was asked is asked again, and the answers are compared with those that the log kept.
 */
#pragma once

#include "command/log_files.h"
#include "command/log_out.h"
#include "command/log_query.h"

#define LOG_REPLAY_CONCURRENCY 16
#define LOG_REPLAY_CONCURRENCY_MOST 1000
#define LOG_REPLAY_SPEED_MOST 1000000
/* One request may take so long. */
#define LOG_REPLAY_LIMIT_MS 600000

struct log_replay_spec {
    const char *url;            /* of a gateway or a server; recorded paths follow its own */
    double speed;               /* times the recorded one; 0: as fast as CONCURRENCY allows */
    unsigned concurrency;
    const char *key;            /* NULL: none is sent */
    const char *ca_file;        /* NULL: the system's */
};

/* What FILES held when they were opened is sent: what a gateway adds to them meanwhile, perhaps because it is asked
 * again, is not. A line in OUT for each answer that differs and each request that failed, then a summary. True: at
 * least one was compared, and all say the same. False with lines in ERRORS: nothing could be sent there. */
bool log_replay(struct log_files *files, const struct log_query *query, const struct log_replay_spec *spec,
                struct log_out *out, struct buffer *errors);
