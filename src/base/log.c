/*
 * A line is put together on the stack and leaves in one write, so that it does not mix with what others write there: a
 * pipe takes so little whole or not at all. A socket, a terminal or a full disk may take half of it: then it is ended
 * before the next.
 */
#include "base/log.h"

#include "base/no_wait.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    struct no_wait out;
    uint64_t lost;
    bool torn;      /* the last of the lost ones ended in its middle */
} desk = {.lock = PTHREAD_MUTEX_INITIALIZER, .out = {STDERR_FILENO, NO_WAIT_WRITE}};

/* Did it all go out? */
static bool put(const char *line, size_t size)
{
    ssize_t gone = no_wait_write(&desk.out, (struct bytes){line, size});

    if (gone > 0)
        desk.torn = (size_t)gone < size;
    return gone == (ssize_t)size;
}

static bool tell_lost(void)
{
    char line[128];
    int size = snprintf(line, sizeof(line), "%sembergate: %" PRIu64 " lines for stderr were lost: nobody read them\n",
                        desk.torn ? "\n" : "", desk.lost);

    if (!put(line, (size_t)size))
        return false;
    desk.lost = 0;
    return true;
}

void log_line(const char *format, ...)
{
    char line[2048];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (size < 0)
        return;
    if ((size_t)size > sizeof(line) - 2)
        size = sizeof(line) - 2;
    line[size] = '\n';

    pthread_mutex_lock(&desk.lock);
    if ((desk.lost && !tell_lost()) || !put(line, (size_t)size + 1))
        desk.lost++; /* the next one that goes out tells it */
    pthread_mutex_unlock(&desk.lock);
}

void log_never_wait(void)
{
    pthread_mutex_lock(&desk.lock);
    no_wait_deinit(&desk.out);
    if (no_wait_init(&desk.out, STDERR_FILENO) < 0)
        desk.out = (struct no_wait){STDERR_FILENO, NO_WAIT_WRITE}; /* which fails */
    pthread_mutex_unlock(&desk.lock);
}
