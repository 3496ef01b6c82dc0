/*
 * Lines for a descriptor that must never be waited for: what cannot be taken now waits, within a bound; what is beyond
 * it is dropped in whole lines and counted.
 */
#pragma once

#include "base/buffer.h"

struct lines {
    struct buffer text; /* whole lines, appended by the owner */
};

void lines_init(struct lines *lines);
void lines_deinit(struct lines *lines);

/* Write what DESCRIPTOR takes without waiting. Returns how many lines were dropped. */
unsigned lines_flush(struct lines *lines, int descriptor);
