/*
 * A file of the log as it is written and rotated: however often that happens between two looks, what was closed in
 * between is read as well.
 */
#pragma once

#include "command/log_read.h"
#include "command/log_runs.h"

struct log_follow;

/* LIVE points to the reader of the file, which is replaced by that of its successor; what stands there is the caller's.
 * NULL: it is compressed, or no file. */
struct log_follow *log_follow_new(struct log_reader **live);
struct log_follow *log_follow_free(struct log_follow *follow);

/* Look again. Then log_follow_next() gives the readers that may have new lines, in order, each once; NULL: no more. */
void log_follow_look(struct log_follow *follow);
struct log_reader *log_follow_next(struct log_follow *follow);

/* LINE was read of it. */
void log_follow_note(struct log_follow *follow, struct log_line *line);
/* The lines up to here are not followed: what is missing of them is not our concern. */
void log_follow_begin(struct log_follow *follow);
/* So many lines are missing that should have come since the last call. A line may be late for a moment; but not when
 * this is the END. */
uint64_t log_follow_missed(struct log_follow *follow, bool end);
