/*
 * What is said of dropped lines: in the log itself, and to the operator.
 */
#pragma once

#include "record/journal_outlet.h"

/* The line that stands for GAP, with its newline. */
void note_write(const struct gap *gap, struct buffer *out);

/* LINES of OUTLET were dropped: said when that begins, at most once a minute. */
void note_trouble(struct outlet *outlet, uint64_t lines);
/* Everything that waited is written: said after trouble. */
void note_relief(struct outlet *outlet);
