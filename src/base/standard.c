/*
 * What is opened takes the lowest number that is free. A socket that became standard error would get the operator's
 * lines, and libuv ends the process when it is to close such a number.
 */
#include "base/standard.h"

#include <fcntl.h>
#include <unistd.h>

void standard_occupy(void)
{
    int nothing;

    do
        nothing = open("/dev/null", O_RDONLY);
    while (nothing >= 0 && nothing <= STDERR_FILENO);
    if (nothing >= 0)
        close(nothing);
}
