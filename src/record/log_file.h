/*
 * One log file that is being written: opened, opened again, closed under another name.
 *
 * Its path may be a link, or lead over some: it is the file at their end that is renamed when it is closed, and the
 * link stays.
 *
 * Several processes may write one file, as in a restart that overlaps, and each of them may rotate it; another one
 * sees that a moment later and writes to the closed file until then. So whoever writes holds a shared lock (flock) on
 * what it has open, and a closed file is swept only by who gets an exclusive one. Whoever rotates holds another lock
 * (fcntl) from looking whether the path is its own file's to the new one, so that nobody closes a file of somebody
 * else's, and closed names are in the order of writing. Where the file system knows no such locks there are none.
 */
#pragma once

#include "base/bytes.h"

#include <sys/types.h>

struct log_file {
    const char *path;
    char *target;               /* where the path led when it was opened, without links */
    int descriptor;             /* -1: not open */
    bool regular;               /* else a pipe or a device: never rotated nor locked, its size means nothing */
    bool torn;                  /* it does not end with a newline: somebody was killed here */
    dev_t device;
    ino_t inode;
    uint64_t size;              /* others may write to it, too, or empty it: as it was when it was looked at */
    uint64_t began_ms;          /* monotonic: when it was new */
    uint64_t closed_ms;         /* wall: in the name it was closed under last */
};

/* 0, or a negative errno, and *FILE is as it was. One that was open is closed. */
int log_file_open(struct log_file *file, const char *path);
void log_file_close(struct log_file *file);
/* What is at its path is not what is written any more. */
bool log_file_moved(const struct log_file *file);
/* As it is now: its size is learned. False: it was removed, whatever is written would be seen by nobody. */
bool log_file_look(struct log_file *file);
/* Closed under a name of the moment that no other file has, and a new one begun. 0, or a negative errno, and the old
 * one is written on. */
int log_file_rotate(struct log_file *file);

/* As much of LINES as there is room for, up to the end of a line; the caller begins with the next one. *PARTIAL bytes
 * of the first line are in the file already, and it is left behind likewise: only where a half line could not be taken
 * back. 0, or why not all: a negative errno, -EAGAIN for a pipe that is full. */
int log_file_write(struct log_file *file, struct bytes lines, size_t *partial, size_t *ret_taken);
