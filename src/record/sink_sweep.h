/*
 * What becomes of closed log files: named by the moment they were closed, compressed, and in the end removed. Works on
 * folders; which thread does it is its caller's affair.
 */
#pragma once

#include "base/buffer.h"

#include <stdatomic.h>

/* PATH's name once it is closed at WALL_MS: "PATH.20261123-074500.123". */
void sweep_name(const char *path, uint64_t wall_ms, struct buffer *out);

struct sweep {
    const char *path;           /* of the file being written */
    unsigned keep;              /* closed ones that stay, the newest; 0: all */
    bool gzip;
    _Atomic bool stop;          /* soon, leaving nothing half done */
};

/* Files that are not named by sweep_name() are never touched, and those that somebody writes to or sweeps are left. 0,
 * or the first negative errno; *RET_LEFT, which is always set: some were left, and should be looked at again soon. */
int sweep_run(struct sweep *sweep, bool *ret_left);
