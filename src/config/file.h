/*
 * Whole small files.
 */
#pragma once

#include "base/buffer.h"

#define FILE_SIZE_MAX (1u << 20)

/* Append the file PATH to OUT: at most FILE_SIZE_MAX bytes. REGULAR: nothing that could block, such as a
 * pipe. 0, or a negative errno: -EFBIG when it is larger, -EINVAL when it is not regular. */
int file_read(const char *path, bool regular, struct buffer *out);

/* What is wrong with the file, for what file_read() returned. */
const char *file_error_text(int error);
