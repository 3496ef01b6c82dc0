/*
 * What a file that a gateway writes was closed as: PATH.20261123-074500.123, compressed or not.
 */
#pragma once

#include "base/buffer.h"

struct log_rotated {
    char **names;               /* with their folder, without what compressing adds; each once */
    unsigned count, room;
};

void log_rotated_deinit(struct log_rotated *rotated);

/* NAME without what compressing adds; none when it has not the form of LIKE, which is such a name. */
struct bytes log_rotated_name(struct bytes name, struct bytes like);

/* What tells when NAME was closed; none when it has no such form. *RET_PATH is what it was called before, or NAME. */
struct bytes log_rotated_stamp(struct bytes name, struct bytes *ret_path);

/* NAME is one of them; or shall be. */
bool log_rotated_has(const struct log_rotated *rotated, const char *name);
void log_rotated_add(struct log_rotated *rotated, const char *name);

/* Add those of PATH that are later than NEWEST, the name of one, in order. */
void log_rotated_look(struct log_rotated *rotated, const char *path, struct bytes newest);
