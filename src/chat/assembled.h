/*
 * An answer put together: whatever it came as, chunks or one body, told as one body of the API, with what it says and
 * nothing of how it came (ids, times, counts, log-probabilities).
 *
 *   {"choices":[{"index":0,"message":{"role":"assistant","content":"...","reasoning_content":"...","refusal":"...",
 *    "tool_calls":[...],"function_call":{...}},"finish_reason":"stop"}]}
 *
 * Members that never came are left out, but for content, which is null then. Memory grows with what is added; the
 * caller bounds that.
 */
#pragma once

#include "base/buffer.h"
#include "json/json_doc.h"

#define ASSEMBLED_MOST 128      /* choices, and calls in each */

struct assembled_call {
    struct buffer id, name, arguments;
};

struct assembled_choice {
    struct buffer content, reasoning, refusal, finish;
    bool has_content, has_reasoning, has_refusal;
    struct assembled_call *calls;
    uint32_t call_count;
    struct assembled_call *function;        /* the older form of a call; or NULL */
};

struct assembled {
    struct assembled_choice *choices;
    uint32_t count;
};

void assembled_init(struct assembled *assembled);
void assembled_deinit(struct assembled *assembled);

/* PAYLOAD is a chunk or a body, JSON; DOC is scratch. What cannot be read is passed by. */
void assembled_add(struct assembled *assembled, struct bytes payload, struct json_doc *doc);
void assembled_write(const struct assembled *assembled, struct buffer *out);
