/*
 * A pipe that polls writable takes PIPE_BUF bytes at once, so that much is written at a time, up to the end of a line
 * where one is near: lines of several threads then do not mix.
 */
#include "record/lines.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

/* What waits for a reader at most. */
#define WAITING_BYTES (256 << 10)

void lines_init(struct lines *lines)
{
    *lines = (struct lines){0};
}

void lines_deinit(struct lines *lines)
{
    buffer_deinit(&lines->text);
}

/* As many whole lines as fit into a piece; a longer line in pieces. */
static size_t piece_size(struct bytes text)
{
    size_t size = text.size < PIPE_BUF ? text.size : PIPE_BUF;
    const char *end = memrchr(text.data, '\n', size);

    return end ? (size_t)(end - text.data) + 1 : size;
}

static bool takes_more(int descriptor)
{
    struct pollfd look = {.fd = descriptor, .events = POLLOUT};

    return poll(&look, 1, 0) == 1 && (look.revents & POLLOUT);
}

/* The newest lines go, from the first that begins past the bound. */
static unsigned drop(struct lines *lines)
{
    struct bytes text = buffer_bytes(&lines->text);
    const char *at = memchr(text.data + WAITING_BYTES, '\n', text.size - WAITING_BYTES);
    unsigned count = 0;

    lines->text.size = (size_t)(at - text.data) + 1;
    for (size_t i = lines->text.size; i < text.size; i++)
        count += text.data[i] == '\n';
    return count;
}

unsigned lines_flush(struct lines *lines, int descriptor)
{
    struct bytes rest = buffer_bytes(&lines->text);
    size_t all = rest.size;

    while (rest.size && takes_more(descriptor)) {
        ssize_t written = write(descriptor, rest.data, piece_size(rest));

        if (written < 0 && errno != EINTR && errno != EAGAIN)
            written = (ssize_t)rest.size; /* nobody will ever read them */
        if (written < 0)
            break;
        rest = bytes_skip(rest, (size_t)written);
    }
    buffer_consume(&lines->text, all - rest.size);
    if (lines->text.size == 0)
        buffer_clear(&lines->text, 65536);
    return lines->text.size > WAITING_BYTES ? drop(lines) : 0;
}
