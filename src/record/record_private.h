/*
 * Private to the room: what the line and the span of a record share.
 *
 * The put functions write at AT, where there is room, and return where the next byte goes.
 */
#pragma once

#include "base/decimal.h"
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

/* Microseconds as milliseconds. */
static inline char *record_put_ms(char *at, uint64_t us)
{
    unsigned rest = us % 1000;

    at = decimal_put(at, us / 1000);
    *at++ = '.';
    memcpy(at, decimal_pairs + rest / 10 * 2, 2);
    at[2] = (char)('0' + rest % 10);
    return at + 3;
}

/* Millionths. */
static inline char *record_put_money(char *at, uint64_t millionths)
{
    unsigned rest = millionths % 1000000;

    at = decimal_put(at, millionths / 1000000);
    *at++ = '.';
    memcpy(at, decimal_pairs + rest / 10000 * 2, 2);
    memcpy(at + 2, decimal_pairs + rest / 100 % 100 * 2, 2);
    memcpy(at + 4, decimal_pairs + rest % 100 * 2, 2);
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
