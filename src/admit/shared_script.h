/*
 * The scripts that run inside Redis, and the numbers they are given: doubles, packed, the lowest byte first, all of
 * them whole and below 2^53. Private to shared*.c.
 */
#pragma once

#include "base/buffer.h"

#include <stdint.h>

enum shared_script { SCRIPT_TAKE, SCRIPT_SETTLE, SCRIPT_RENEW, SCRIPT_PEEK, SCRIPTS };

struct bytes shared_script_text(enum shared_script script);

#define SHARED_MOST ((uint64_t)1 << 50)     /* larger amounts are as good as this one */

/* How long a rate takes for an amount: whole microseconds, and a rest in parts of RATE of one. Exact. */
struct span {
    uint64_t whole_us, rest;
};
struct span span_of(uint64_t amount, uint64_t rate);
/* What a rate gives in so long, rounded up. */
uint64_t span_amount(uint64_t us, uint64_t rate);

/* The rate that is reckoned with. */
uint64_t span_rate(uint64_t rate);

void pack_number(struct buffer *out, int64_t number);
/* The numbers of REPLY, at most MOST. How many; 0 when it is not made of numbers. */
unsigned unpack_numbers(struct bytes reply, int64_t *ret, unsigned most);
