/*
 * Wrong keys, counted per address: whoever tries many is answered 429 for a while, whatever key comes next. A table of
 * fixed size, shared by all workers; the longest quiet one of those that share a place goes.
 */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>

struct guard;

/* After MOST failures at once (one is forgiven every EVERY_MS) an address has to wait. */
struct guard *guard_new(uint32_t most, uint32_t every_ms);
struct guard *guard_free(struct guard *guard);

/* How long PEER ("127.0.0.1:4711", "[::1]:80"; the port does not count, and of IPv6 only the /64) has to wait before
 * its key is looked at; 0: not at all. */
uint32_t guard_wait_ms(struct guard *guard, struct bytes peer, uint64_t now_ms);
void guard_failed(struct guard *guard, struct bytes peer, uint64_t now_ms);
