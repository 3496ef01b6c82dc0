/*
 * The process as its kernel sees it, under the names that Prometheus' own client libraries give it.
 */
#pragma once

#include "base/buffer.h"

/* Reads /proc/self: not for a thread that serves clients. STARTED: wall clock, seconds. */
void process_write(int64_t started, struct buffer *out);
