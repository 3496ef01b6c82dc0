/*
 * One small request, asked and waited for: for commands that talk to a running gateway, never for a loop's thread.
 */
#pragma once

#include "base/buffer.h"

#define FETCH_LIMIT_MS 5000
#define FETCH_BODY_MAX (1u << 20)

struct fetch {
    struct bytes host;          /* a name or an IP literal, without brackets */
    uint16_t port;
    struct bytes unix_path;     /* instead of host and port */
    bool post;                  /* an empty body; else GET */
    const char *path;           /* with its query, ready to be sent */
};

/* Ask, within FETCH_LIMIT_MS. 0 with *RET_STATUS and at most FETCH_BODY_MAX bytes appended to BODY; else -EFBIG, -EIO,
 * -ETIMEDOUT or -ECONNREFUSED (it cannot be reached), with a clause about it appended to WHY. transfer_global_init()
 * comes first. */
int fetch_ask(const struct fetch *fetch, unsigned *ret_status, struct buffer *body, struct buffer *why);
