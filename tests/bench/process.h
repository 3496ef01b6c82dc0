/*
 * What the kernel says about another process: CPU time of all its threads and memory that is its own.
 */
#pragma once

#include <stdint.h>

struct process_cpu {
    uint64_t ns;                /* user and system together, to the nanosecond */
    uint64_t busiest_ns;        /* of the one thread that used most: of a gateway with one worker, the worker */
    uint64_t user, system;      /* in clock ticks: only for their ratio */
};

/* PID 0: all zero. */
struct process_cpu process_cpu(int pid);
/* A line of /proc/PID/status given in kB, such as "RssAnon:". */
uint64_t process_memory(int pid, const char *line);
