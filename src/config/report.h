/*
 * Complaints about a configuration: collected as they are found, written in the order of their lines, so that
 * one run shows everything there is to mend.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"

struct tree_node;
struct report_line;

struct report {
    const char *name; /* the file's, for messages; NULL when there is none */
    struct arena arena;
    struct report_line *lines;
    uint32_t count, capacity;
    bool full; /* there were more than a hundred */
};

void report_init(struct report *report, const char *name);
void report_deinit(struct report *report);

static inline bool report_clean(const struct report *report)
{
    return report->count == 0;
}

/* "NAME:LINE: message". LINE 0: only "NAME: message". */
void report_line(struct report *report, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "NAME:LINE: path.of.node: message". */
void report_node(struct report *report, const struct tree_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for MEMBER of the map NODE: where it stands, or at NODE when it is not there. NODE may be NULL. */
void report_member(struct report *report, const struct tree_node *node, const char *member,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "command line: OPTION: message". */
void report_option(struct report *report, const char *option, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* TEXT in quotes, fit for a message: cut when long, control bytes as \xNN. Lives as long as REPORT. */
const char *report_quote(struct report *report, struct bytes text);

/* Append all lines to OUT. */
void report_write(struct report *report, struct buffer *out);
