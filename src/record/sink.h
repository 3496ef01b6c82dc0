/*
 * Where lines end: one row of functions per kind. All on the journal's thread.
 *
 * The journal gives a sink whole lines as they come; the sink takes what it can now, says how many, and is asked again
 * with the rest when it calls `ready`, or after a while (SINK_RETRY_MS). It never keeps views of what it was given
 * beyond its return, unless it copies them.
 */
#pragma once

#include "base/buffer.h"
#include "config/config.h"

#include <errno.h>
#include <uv.h>

#define SINK_RETRY_MS 100

/* Instead of a number of bytes: nothing can be taken ever again. */
#define SINK_E_GONE (-ESHUTDOWN)

struct sink;

/* What a sink tells its journal. */
struct sink_events {
    void (*ready)(void *data);                      /* it can take more */
    /* LINES that it had taken are on their way no more: KEPT of them were written, the others are lost. For sinks whose
     * `take` only begins (Redis, OTLP); the others settle at once. The sink may be closed from inside of either. */
    void (*settled)(void *data, uint64_t kept, uint64_t lost);
    void *data;
    const char *head;           /* what every line for the operator begins with: "embergate: log: file: PATH" */
};

struct sink_kind {
    const char *name;
    /* 0, or a negative errno with words in ERRORS. Nothing is begun on LOOP yet. */
    int (*open)(const void *config, struct buffer *errors, struct sink **ret);
    /* On the journal's thread, before the first take. */
    void (*start)(struct sink *sink, uv_loop_t *loop, const struct sink_events *events);
    /* As many of the whole LINES (each with its newline) as can be taken now. Returns the bytes taken, always up to the
     * end of a line; 0: it is busy; negative errno: none now; SINK_E_GONE. What was not taken is offered again first,
     * unchanged. *RET_LATER: they are settled by an event, in the order of taking, else they are written. A line
     * that can never be taken (too large) is passed by and reported by `settled` as lost: then *RET_LATER is true for
     * all lines of this take, and the event may come from inside of it. Only then: no other event comes from inside
     * `take`, and none before `start` or after `close`. */
    ssize_t (*take)(struct sink *sink, struct bytes lines, bool *ret_later);
    /* NULL: nothing to open again. */
    void (*reopen)(struct sink *sink);
    /* Once a second, for what depends on age. May be NULL. */
    void (*tick)(struct sink *sink);
    /* Where it writes, for the operator, next to its name. NULL: its name says enough. */
    const char *(*place)(const struct sink *sink);
    /* Why it refuses or loses lines, in words; NULL, also for the function: its last errno says it. */
    const char *(*trouble)(const struct sink *sink);
    /* Files closed and replaced by size or age. NULL: it has none. */
    uint64_t (*rotations)(const struct sink *sink);
    /* Nothing is settled any more after this; CLOSED comes when its handles are closed, maybe from inside. */
    void (*close)(struct sink *sink, void (*closed)(void *data), void *data);
    /* After `closed`, or when it was never started. */
    struct sink *(*free)(struct sink *sink);
};

/* CONFIG is a struct config_sink for the first four, struct config_tracing for the last. */
extern const struct sink_kind sink_file, sink_stdout, sink_syslog, sink_redis, sink_otlp;
