/*
 * What is said of dropped lines: in the log itself, and to the operator.
 */
#pragma once

#include "record/journal_outlet.h"

/* The line that stands for GAP, with its newline. RUN: of RUN_SIZE, as in every line. */
void note_write(const struct gap *gap, const char *run, struct buffer *out);

/* LINES of OUTLET were dropped: said when that begins, at most once a minute. */
void note_trouble(struct outlet *outlet, uint64_t lines);
/* The trouble is over. */
void note_relief(struct outlet *outlet);
/* The end has come, and LINES of OUTLET are dropped with it: said when there are any. */
void note_end(const struct outlet *outlet, uint64_t lines);
