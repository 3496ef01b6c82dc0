/*
 * A line is put together on the stack and leaves in one write, so that lines of several threads do not mix.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

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
    if (write(STDERR_FILENO, line, (size_t)size + 1) < 0)
        return; /* nobody is left to be told */
}
