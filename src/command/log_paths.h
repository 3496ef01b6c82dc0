/*
 * From the names that somebody gave to the files that they mean, while a gateway compresses: X becomes X.gz.part, that
 * is called X.gz when it is whole, and then X goes; and while it rotates: the file X itself is called X.STAMP.
 */
#pragma once

#include "command/log_read.h"

/* Open COUNT PATHS. X.gz.part is not read; X and X.gz that hold the same lines are read once; X.gz is read for an X
 * that is gone. Where X is given and some X.STAMP as well, those that came to be a moment ago are read too: no list
 * of names has them. *RET_COUNT readers in *RET, which the caller frees. 0, or -EIO with lines in ERRORS; also then
 * *RET is set. */
int log_paths_open(char *const *paths, unsigned count, struct log_reader ***ret, unsigned *ret_count,
                   struct buffer *errors);
