/*
 * CPU time comes from the scheduler's own sum for each thread (schedstat, nanoseconds): the ticks in stat are
 * too coarse for a second's run. Both count the same thing, user + system.
 */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t read_number(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned long long number = 0;

    if (file && fscanf(file, "%llu", &number) != 1)
        number = 0;
    if (file)
        fclose(file);
    return number;
}

static void read_ticks(int pid, struct process_cpu *cpu)
{
    char path[64], text[1024], *after;
    unsigned long long user = 0, system = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return;
    if (fgets(text, sizeof text, file) && (after = strrchr(text, ')')) != NULL) {
        if (sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) == 2) {
            cpu->user = user;
            cpu->system = system;
        }
    }
    fclose(file);
}

struct process_cpu process_cpu(int pid)
{
    struct process_cpu cpu = { 0 };
    char path[320];
    uint64_t one;
    struct dirent *entry;
    DIR *threads;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    threads = pid ? opendir(path) : NULL;
    if (!threads)
        return cpu;
    while ((entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        one = read_number(path);
        cpu.ns += one;
        cpu.busiest_ns = one > cpu.busiest_ns ? one : cpu.busiest_ns;
    }
    closedir(threads);
    read_ticks(pid, &cpu);
    return cpu;
}

uint64_t process_memory(int pid, const char *line)
{
    char path[64], text[256];
    uint64_t kilobytes = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    file = pid ? fopen(path, "r") : NULL;
    if (!file)
        return 0;
    while (fgets(text, sizeof text, file)) {
        if (strncmp(text, line, strlen(line)) == 0)
            kilobytes = strtoull(text + strlen(line), NULL, 10);
    }
    fclose(file);
    return kilobytes * 1024;
}
