/*
 * A pipe or a terminal is opened once more by way of /proc, which gives a descriptor whose flags are ours alone. That
 * is refused when it belongs to the user who this process was before. Then a pipe is told with each write not to wait,
 * which young kernels can do; else we look whether there is room, and write.
 */
#include "base/no_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int open_own(int descriptor)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int no_wait_init(struct no_wait *out, int descriptor)
{
    struct stat facts;
    int own = -1;

    if (fstat(descriptor, &facts) < 0)
        return -errno;
    if ((fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    *out = (struct no_wait){descriptor, NO_WAIT_LOOK};
    if (S_ISREG(facts.st_mode))
        out->way = NO_WAIT_WRITE;
    else if (S_ISSOCK(facts.st_mode))
        out->way = NO_WAIT_SEND;
    else if (S_ISFIFO(facts.st_mode) || isatty(descriptor))
        own = open_own(descriptor);
    if (own >= 0)
        *out = (struct no_wait){own, NO_WAIT_OWN};
    return 0;
}

void no_wait_deinit(struct no_wait *out)
{
    if (out->way == NO_WAIT_OWN)
        close(out->descriptor);
}

static ssize_t look_and_write(int descriptor, struct bytes text)
{
    struct iovec piece = {(void *)(uintptr_t)text.data, text.size};
    struct pollfd look = {.fd = descriptor, .events = POLLOUT};
    ssize_t size = pwritev2(descriptor, &piece, 1, -1, RWF_NOWAIT);

    if (size >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
        return size;
    if (poll(&look, 1, 0) > 0)
        return write(descriptor, text.data, text.size);
    errno = EAGAIN;
    return -1;
}

ssize_t no_wait_write(const struct no_wait *out, struct bytes text)
{
    ssize_t size;

    if (out->way == NO_WAIT_SEND)
        size = send(out->descriptor, text.data, text.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (out->way == NO_WAIT_LOOK)
        size = look_and_write(out->descriptor, text);
    else
        size = write(out->descriptor, text.data, text.size);
    return size < 0 ? -errno : size;
}
