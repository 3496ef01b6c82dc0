/*
 * Lines for the operator, on stderr, each written by one call. Rooms do not log; the flow, the worker and main do.
 */
#pragma once

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
