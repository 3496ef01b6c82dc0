/*
 * glibc keeps seven pieces of each size up to 1 KB for a thread, and takes the slow path for all others; a worker with 64
 * requests under way has 64 of each. With up to 512 of each size up to 4 KB, as many as were open at one time, a request
 * costs seven per cent less CPU (tests/bench/README.md). The numbers are read before main() only, so the program has to
 * begin again with them in its environment.
 */
#include "base/heap.h"

#include <stdlib.h>
#include <unistd.h>

#define TUNABLES "glibc.malloc.tcache_count=512:glibc.malloc.tcache_max=4096"

void heap_tune(char **argv)
{
    char path[4096];
    ssize_t size;

    if (getenv("GLIBC_TUNABLES") || setenv("GLIBC_TUNABLES", TUNABLES, 1) != 0)
        return;
    size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (size <= 0)
        return;
    path[size] = '\0';
    execv(path, argv);
}
