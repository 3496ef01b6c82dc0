/*
 * libcrypto is asked for a page of randomness at a time: one call serves 64 identifiers of a thread.
 */
#include "base/random.h"

#include <openssl/rand.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local unsigned char pool[1024];
static _Thread_local size_t left;

/* Sixteen bytes nobody else gets; the taker blanks them. */
static unsigned char *take(void)
{
    if (left == 0) {
        if (RAND_bytes(pool, sizeof(pool)) != 1) {
            fputs("the system gives no randomness\n", stderr);
            abort();
        }
        left = sizeof(pool);
    }
    left -= RANDOM_ID_SIZE / 2;
    return pool + left;
}

void random_id(char id[RANDOM_ID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char *bytes = take();

    for (int i = 0; i < RANDOM_ID_SIZE / 2; i++) {
        id[2 * i] = hex[bytes[i] >> 4];
        id[2 * i + 1] = hex[bytes[i] & 15];
    }
    memset(bytes, 0, RANDOM_ID_SIZE / 2);
}

uint64_t random_u64(void)
{
    unsigned char *bytes = take();
    uint64_t value;

    memcpy(&value, bytes, sizeof(value));
    memset(bytes, 0, RANDOM_ID_SIZE / 2);
    return value;
}
