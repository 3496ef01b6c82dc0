/*
 * Read to the end or to the limit, whichever comes first; sizes told by stat() are not believed.
 */
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read_all(int fd, bool regular, size_t most, struct buffer *out)
{
    size_t before = out->size;
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (regular && !S_ISREG(status.st_mode))
        return -EINVAL;
    for (;;) {
        ssize_t size = read(fd, buffer_reserve(out, 1 << 16), 1 << 16);

        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return -errno;
        if (size == 0)
            return 0;
        out->size += (size_t)size;
        if (out->size - before > most)
            return -EFBIG;
    }
}

int file_read(const char *path, bool regular, size_t most, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_NONBLOCK : 0));
    int r;

    if (fd < 0)
        return -errno;
    r = file_read_all(fd, regular, most, out);
    close(fd);
    return r;
}

const char *file_error_text(int error, size_t most)
{
    switch (error) {
    case -EFBIG:
        return most > FILE_SIZE_MAX ? "is larger than 16 MB" : "is larger than 1 MB";
    case -EINVAL:
        return "is not a regular file";
    default:
        return strerror(-error);
    }
}
