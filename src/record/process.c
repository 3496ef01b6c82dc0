/*
 * Two small files and a directory of /proc/self. What cannot be read is left out.
 */
#include "record/process.h"

#include "record/prometheus.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fields of /proc/self/stat behind the name, which ends with the last bracket; the first of them is the third. */
enum { STAT_USER = 11, STAT_SYSTEM = 12, STAT_VIRTUAL = 20, STAT_RESIDENT = 21, STAT_FIELDS };

static bool read_stat(uint64_t fields[STAT_FIELDS])
{
    char text[2048], *at;
    int descriptor = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size;

    if (descriptor < 0)
        return false;
    size = read(descriptor, text, sizeof(text) - 1);
    close(descriptor);
    if (size <= 0)
        return false;
    text[size] = 0;
    at = strrchr(text, ')');
    for (int i = 0; i < STAT_FIELDS; i++) {
        at = at ? strchr(at, ' ') : NULL;
        if (!at)
            return false;
        fields[i] = strtoull(++at, NULL, 10);
    }
    return true;
}

static void write_stat(struct buffer *out)
{
    const struct prometheus_series cpu = {.name = "process_cpu_seconds_total"};
    uint64_t fields[STAT_FIELDS], ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    if (!read_stat(fields))
        return;
    prometheus_family(out, cpu.name, "counter", "Total user and system CPU time spent in seconds.");
    prometheus_sample_decimal(out, &cpu, (fields[STAT_USER] + fields[STAT_SYSTEM]) * 1000000 / ticks);
    prometheus_single(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
                      (int64_t)fields[STAT_VIRTUAL]);
    prometheus_single(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                      (int64_t)fields[STAT_RESIDENT] * sysconf(_SC_PAGESIZE));
}

/* Newer kernels (6.2) tell how many there are as the directory's size; older ones have to list them. */
static int64_t open_descriptors(void)
{
    struct stat folder;
    int64_t count = 0;
    DIR *list;

    if (stat("/proc/self/fd", &folder) == 0 && folder.st_size > 0)
        return folder.st_size;
    list = opendir("/proc/self/fd");
    if (!list)
        return -1;
    for (const struct dirent *entry; (entry = readdir(list));)
        count += entry->d_name[0] != '.';
    closedir(list);
    return count - 1;           /* the list's own */
}

void process_write(int64_t started, struct buffer *out)
{
    int64_t open_now = open_descriptors();
    struct rlimit limit;

    write_stat(out);
    if (open_now >= 0)
        prometheus_single(out, "process_open_fds", "gauge", "Number of open file descriptors.", open_now);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= INT64_MAX)
        prometheus_single(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                          (int64_t)limit.rlim_cur);
    prometheus_single(out, "process_start_time_seconds", "gauge",
                      "Start time of the process since unix epoch in seconds.", started);
}
