/*
 * Names to addresses without blocking the loop (uv_getaddrinfo), remembered for a while.
 */
#pragma once

#include "base/bytes.h"

#include <uv.h>

struct resolver; /* one name, on one loop */

/* NAME is copied. TTL_MS: how long an answer is used before it is asked for again. */
struct resolver *resolver_new(uv_loop_t *loop, struct bytes name, uint32_t ttl_ms);
/* No callback comes any more. The memory goes when a lookup under way has ended. Returns NULL. */
struct resolver *resolver_free(struct resolver *resolver);

/* The address known now, as an IP literal, or NULL. Valid until the loop turns. A known but old answer is given while a
 * new one is fetched. */
const char *resolver_address(struct resolver *resolver);

struct resolve_wait {
    struct resolve_wait *next;
    void (*done)(void *data, int status); /* 0, or libuv's code. Exactly once unless cancelled */
    void *data;
};

/* Tell WAIT (the caller's memory) when the name is known. */
void resolver_wait(struct resolver *resolver, struct resolve_wait *wait);
void resolver_cancel(struct resolver *resolver, struct resolve_wait *wait);

/* HOST is an IP literal already. */
bool resolve_is_literal(struct bytes host);

/* Which of the addresses FOUND (a list as of getaddrinfo(), or NULL) is meant: the first of IPv4 if there is any, for
 * that is what local servers listen on; else the first of IPv6. NULL: there is neither. */
const struct addrinfo *resolve_choose(const struct addrinfo *found);
