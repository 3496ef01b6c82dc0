/*
 * The files of one log, in the order in which they were written, whatever the order in which they are named: rotated
 * ones are called anyhow. Those of which nothing tells when are the last, by name.
 */
#pragma once

#include "command/log_line.h"
#include "command/log_read.h"

struct log_files {
    struct log_reader **readers;
    unsigned count, at;
    uint64_t broken;            /* lines that could not be read, and those that were too long */
    unsigned damaged;           /* files that could not be read to their end */
    struct buffer *errors;      /* lines of these */
};

/* What a gateway that compresses meanwhile makes of PATHS is found, and nothing read twice for it (see log_paths.h).
 * What is written from now on is not read, unless a file is followed. 0, or -EIO with lines in ERRORS: one cannot be
 * opened. ERRORS lives as long as FILES. */
int log_files_open(struct log_files *files, char *const *paths, unsigned count, struct buffer *errors);
void log_files_close(struct log_files *files);

/* The next line of all, read into LINE; a line that is too long is a broken one. False: there are no more. Broken ones
 * are counted; empty ones are passed by. */
bool log_files_next(struct log_files *files, struct log_line *line);
/* The next one of READER alone. */
bool log_files_next_of(struct log_files *files, struct log_reader *reader, struct log_line *line);
