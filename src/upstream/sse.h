/*
 * Server-sent events out of bytes cut anywhere (WHATWG HTML, 9.2.6): LF, CRLF and CR, a byte order mark, comments, any
 * field order, several data lines. An event that stands whole in one piece is handed on without a copy.
 */
#pragma once

#include "base/buffer.h"

struct sse {
    struct buffer held;     /* a line not yet whole */
    struct buffer joined;   /* data of several lines, or of a piece that is gone */
    struct bytes data;      /* the event's data while it is one line: a view of the piece or of `held` */
    size_t limit;
    char name[32];          /* the event field, cut when longer */
    unsigned char name_size;
    bool has_data, is_joined;
    bool held_given;        /* `held` is a whole line that has been taken */
    bool given;             /* an event is out: what it points to goes with the next call */
    bool suspect;           /* a NUL or a byte above 127 is in the line */
    bool begun;             /* past the byte order mark */
    bool after_cr;          /* a LF right now belongs to the CR before */
};

struct sse_event {
    struct bytes name;      /* the event field, or none; "error" for a bare `error: ...` line (old llama.cpp) */
    struct bytes data;      /* never empty; valid until the next call */
};

enum { SSE_EVENT, SSE_MORE, SSE_E_TOO_LARGE, SSE_E_BAD };

void sse_init(struct sse *sse, size_t event_limit);
void sse_deinit(struct sse *sse);

/* Take from the front of *INPUT up to the end of the next event that has data. SSE_EVENT: *RET is it, more may be in
 * *INPUT. SSE_MORE: all was taken. SSE_E_BAD: a NUL byte, or bytes that are not UTF-8. SSE_E_TOO_LARGE: the data and
 * the line after it are above the limit. After an error only sse_deinit() is left. */
int sse_next(struct sse *sse, struct bytes *input, struct sse_event *ret);

/* The body ended. SSE_EVENT: a last event stood there without its blank line. SSE_MORE: nothing left, or only half a
 * line. */
int sse_end(struct sse *sse, struct sse_event *ret);
