/*
 * Lines out of one file, whole ones, whatever their length and however the file is kept: as it is, or compressed by
 * gzip (seen by its content), finished or still written to.
 */
#pragma once

#include "base/buffer.h"

struct log_reader;

enum {
    LOG_READ_END = 1,       /* no more lines, for now */
    LOG_READ_LONG,          /* one was longer than is read, and passed over */
    LOG_READ_DAMAGED,       /* the compressed text breaks off or is wrong here: what came before is all there is */
};

/* PATH "-" is standard input. NULL with a line in ERRORS. */
struct log_reader *log_reader_open(const char *path, struct buffer *errors);
struct log_reader *log_reader_free(struct log_reader *reader);
const char *log_reader_path(const struct log_reader *reader);

/* The next line, without its line end; valid until the next call. LOG_READ_: none this time, DAMAGED once. Or a
 * negative errno, once. What stands behind the last newline is a line too, unless the file is followed. */
int log_reader_next(struct log_reader *reader, struct bytes *ret);

/* The line that begins with byte FROM of the text, without taking it, as far as it stands in the first LOG_PEEK_MOST
 * bytes. Only before log_reader_next(). False: there is none. */
#define LOG_PEEK_MOST (256u << 10)
bool log_reader_peek(struct log_reader *reader, size_t from, struct bytes *ret);

/* Go on at the first line that begins in the last BYTES of a plain file. False, and nothing is changed: it is
 * compressed, no file, or not larger than that. */
bool log_reader_skip(struct log_reader *reader, uint64_t bytes);
/* Back to the first line, after log_reader_skip(). */
void log_reader_rewind(struct log_reader *reader);

/* From its beginning, whatever was read of it. False: it is no file, so that cannot be. */
bool log_reader_restart(struct log_reader *reader);

/* What is at its path is what is read. */
bool log_reader_is_at_path(const struct log_reader *reader);

/* What it holds now is all that is read of it, a line that is being written now to its end: or reading what is written
 * meanwhile might never end. A compressed file does not grow, and of a pipe nothing is known. */
void log_reader_bound(struct log_reader *reader);

/* From now on more may come at the end of the file. False: it is compressed, or no file. */
bool log_reader_follow(struct log_reader *reader);
/* After LOG_READ_END of a followed file: look again. When it was cut short, it is read from its beginning. True: there
 * may be lines. */
bool log_reader_again(struct log_reader *reader);

/* Both are one file, or OTHER, of which nothing was read yet, begins with what READER's file does: as a compressed copy
 * of it. Nothing tells of an empty OTHER whose copy it is. */
bool log_reader_is_same(const struct log_reader *reader, struct log_reader *other);
