/*
 * Whole small files.
 */
#pragma once

#include "base/buffer.h"

#define FILE_SIZE_MAX (1u << 20)
#define FILE_KEYS_SIZE_MAX (16u << 20)  /* a file of keys is written by programs */

/* Append the file PATH to OUT: at most MOST bytes. REGULAR: nothing that could block, such as a
 * pipe. 0, or a negative errno: -EFBIG when it is larger, -EINVAL when it is not regular. */
int file_read(const char *path, bool regular, size_t most, struct buffer *out);

/* The file open as FD. */
int file_read_all(int fd, bool regular, size_t most, struct buffer *out);

/* What is wrong with the file, for what file_read() returned with MOST. */
const char *file_error_text(int error, size_t most);
