/*
 * Writing that does not wait, to a standard descriptor that other processes may have as well: its flags are not ours to
 * change, and stay as they are.
 */
#pragma once

#include "base/bytes.h"

#include <sys/types.h>

enum no_wait_way {
    NO_WAIT_WRITE,  /* as it comes: a file, or what is to wait */
    NO_WAIT_OWN,    /* opened once more, with flags of its own */
    NO_WAIT_SEND,   /* a socket is told with each piece */
    NO_WAIT_LOOK,   /* cannot be opened once more: each write is preceded by a look */
};

struct no_wait {
    int descriptor; /* where to write: the given one, or with NO_WAIT_OWN another */
    enum no_wait_way way;
};

/* DESCRIPTOR must stay what it is until no_wait_deinit(). 0, or a negative errno: it is not open for writing. */
int no_wait_init(struct no_wait *out, int descriptor);
/* Closes what no_wait_init() has opened. */
void no_wait_deinit(struct no_wait *out);

/* How many bytes of TEXT went out, or a negative errno, -EAGAIN when there is no room. A pipe takes up to PIPE_BUF
 * bytes whole or not at all. With NO_WAIT_LOOK that much does not wait, unless somebody else fills it in the same
 * moment or it is a terminal that has only a little room left. */
ssize_t no_wait_write(const struct no_wait *out, struct bytes text);
