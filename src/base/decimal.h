/*
 * Whole numbers as digits, two at a step. The put function writes where there is room, and returns where the next byte
 * goes.
 */
#pragma once

#include <stdint.h>
#include <string.h>

/* Of 64 bits. */
#define DECIMAL_MOST 20

/* "000102...99" */
extern const char decimal_pairs[200];

static inline unsigned decimal_digits(uint64_t value)
{
    unsigned size = 1;

    for (; value >= 10000; value /= 10000)
        size += 4;
    return size + (value >= 10) + (value >= 100) + (value >= 1000);
}

static inline char *decimal_put(char *at, uint64_t value)
{
    char *end = at + decimal_digits(value), *to = end;

    for (; value >= 100; value /= 100)
        memcpy(to -= 2, decimal_pairs + value % 100 * 2, 2);
    if (value >= 10)
        memcpy(at, decimal_pairs + value * 2, 2);
    else
        *at = (char)('0' + value);
    return end;
}
