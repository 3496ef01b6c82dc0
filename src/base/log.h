/*
 * Lines for the operator, on stderr, from any thread. Rooms do not log; the flow, the worker and main do.
 */
#pragma once

/* One line of at most 2 KB, written at once and whole, or dropped; the next one that goes out is preceded by another
 * that tells how many were dropped. Until log_never_wait() it waits where stderr makes it wait. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on log_line() does not wait for anybody who reads stderr. Called by who serves, before there are threads;
 * again when stderr has become something else. */
void log_never_wait(void);
