/*
 * Who asks most: the heaviest keys of one worker, in a table of fixed size (space-saving, Metwally et al., ICDT 2005):
 * a newcomer takes the place of the lightest and inherits its count, so a heavy one is never missed.
 *
 * Added to by its worker, read from any thread: a short mutex.
 */
#pragma once

#include "base/buffer.h"

#define TOP_PLACES 64

struct top;

struct top_line {
    struct bytes name;          /* views live until top_lines_free() */
    uint64_t requests, tokens, cost;
};

struct top *top_new(void);
struct top *top_free(struct top *top);

/* NAME is copied, cut at 128 bytes. */
void top_add(struct top *top, struct bytes name, uint64_t tokens, uint64_t cost);

/* The heaviest of all sets by requests, equal names summed: at most MOST. LINES is alloc'ed; free with
 * top_lines_free(). */
unsigned top_lines(struct top *const *sets, unsigned count, unsigned most, struct top_line **ret);
void top_lines_free(struct top_line *lines);
