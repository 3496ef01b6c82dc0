/*
 * A file of keys that grows by one.
 */
#pragma once

#include "base/buffer.h"

enum { KEY_FILE_E_BAD = 1 };

/* One more key for the file PATH, which is made (mode 0600) when it is not there. WRITE writes the key's lines, INDENT
 * columns in. All or nothing, also beside others that do the same: whoever reads the file sees it with the key or
 * without. KEY_FILE_E_BAD after lines in ERRORS. */
int key_file_add(const char *path, struct bytes name, void (*write)(void *data, unsigned indent, struct buffer *out),
                 void *data, struct buffer *errors);
