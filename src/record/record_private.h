/*
 * Private to the room: what the line and the span of a record share.
 *
 * The put functions write at AT, where there is room, and return where the next byte goes.
 */
#pragma once

#include "record/record.h"

/* `"name":`, padded so that it is copied by a few moves of a known size. */
#define RECORD_LEAD 24

struct record_lead {
    char text[RECORD_LEAD];
    uint8_t size;
};

/* One for each of record_fields. */
extern const struct record_lead record_leads[];

/* Room that a number is given: twenty digits, a point and six more. */
#define RECORD_NUMBER_ROOM 32

/* "000102...99": digits go out in twos. */
extern const char record_pairs[200];

static inline unsigned record_digits(uint64_t value)
{
    unsigned size = 1;

    for (; value >= 10000; value /= 10000)
        size += 4;
    return size + (value >= 10) + (value >= 100) + (value >= 1000);
}

static inline char *record_put_number(char *at, uint64_t value)
{
    char *end = at + record_digits(value), *to = end;

    for (; value >= 100; value /= 100)
        memcpy(to -= 2, record_pairs + value % 100 * 2, 2);
    if (value >= 10)
        memcpy(at, record_pairs + value * 2, 2);
    else
        *at = (char)('0' + value);
    return end;
}

/* Microseconds as milliseconds. */
static inline char *record_put_ms(char *at, uint64_t us)
{
    unsigned rest = us % 1000;

    at = record_put_number(at, us / 1000);
    *at++ = '.';
    memcpy(at, record_pairs + rest / 10 * 2, 2);
    at[2] = (char)('0' + rest % 10);
    return at + 3;
}

/* Millionths. */
static inline char *record_put_money(char *at, uint64_t millionths)
{
    unsigned rest = millionths % 1000000;

    at = record_put_number(at, millionths / 1000000);
    *at++ = '.';
    memcpy(at, record_pairs + rest / 10000 * 2, 2);
    memcpy(at + 2, record_pairs + rest / 100 % 100 * 2, 2);
    memcpy(at + 4, record_pairs + rest % 100 * 2, 2);
    return at + 6;
}

/* A word of our own, quoted, in lower case: takes its length and two. */
static inline char *record_put_word(char *at, const char *word)
{
    *at++ = '"';
    for (; *word; word++) {
        bool capital = *word >= 'A' && *word <= 'Z';

        *at++ = (char)(*word | (capital ? 0x20 : 0));
    }
    *at++ = '"';
    return at;
}

/* TEXT as a JSON string, whatever it holds: what is not UTF-8, and NUL, which our own reader takes no more than others
 * do, become U+FFFD. */
void record_write_text(struct buffer *out, struct bytes text);
