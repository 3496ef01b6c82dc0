/*
 * What stands behind `embergate log`.
 */
#pragma once

#include "command/log_query.h"
#include "command/log_replay.h"
#include "command/log_row.h"
#include "command/log_summary.h"

enum log_verb {
    LOG_VERB_TAIL,
    LOG_VERB_SHOW,
    LOG_VERB_SUMMARY,
    LOG_VERB_CHECK,
    LOG_VERB_REPLAY,
    LOG_VERB_FIELDS,
    LOG_VERB_COUNT
};

#define LOG_ARGUMENTS_FIELDS 128
#define LOG_ARGUMENTS_LINES 1000000

struct log_arguments {
    enum log_verb verb;
    bool help, json, follow;
    unsigned lines;             /* the last so many */
    enum log_by by;
    struct bytes fields[LOG_ARGUMENTS_FIELDS];
    unsigned field_count;
    struct log_query query;
    struct log_replay_spec replay;
    char *const *files;
    unsigned file_count;
};

enum { LOG_COMMAND_E_BAD = 1 };

/* Read ARGV, which begins with the word "log"; texts in *RET point into it. NOW_US is the wall clock.
 * LOG_COMMAND_E_BAD: lines in ERRORS say what is wrong. */
int log_arguments_read(int argc, char **argv, int64_t now_us, struct log_arguments *ret, struct buffer *errors);
