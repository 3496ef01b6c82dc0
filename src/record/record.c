/*
 * One walk over the table. A field that has something to say is its lead, its value and a comma; the last comma becomes
 * the brace that ends the line. Each field asks for room once and is then written through a pointer; text from outside
 * is looked at eight bytes at a time, and only what is not plain ASCII is written with care.
 */
#include "record/record.h"

#include "json/json_write.h"
#include "record/record_private.h"

#include <stdio.h>
#include <time.h>

/* Besides its lead and a text: a number or a time, quotes, a comma. */
#define FIELD_ROOM 48
#define TRY_ROOM 128

#define SECOND_SIZE 19 /* "1994-11-06T08:49:37" */
#define LAST_SECOND 253402300799 /* of the year 9999 */

#define NOT_UTF8 ((char)0xff)
#define EACH_BYTE(value) (0x0101010101010101u * (value))

/* --- values --- */

/* A byte that does not stand for itself in a JSON string, or is not ASCII. A byte that borrows in a subtraction is one
 * itself, so what it does to its neighbour does not matter. */
static inline bool has_special(uint64_t word)
{
    uint64_t found = word | (word - EACH_BYTE(' ')) | ((word ^ EACH_BYTE('"')) - EACH_BYTE(1)) |
                     ((word ^ EACH_BYTE('\\')) - EACH_BYTE(1));

    return found & EACH_BYTE(0x80);
}

static bool is_plain(struct bytes text)
{
    uint64_t word;
    size_t at = 0;

    for (; text.size - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text.data + at, sizeof(word));
        if (has_special(word))
            return false;
    }
    word = EACH_BYTE(' ');
    memcpy(&word, text.data + at, text.size - at);
    return !has_special(word);
}

void record_write_text(struct buffer *out, struct bytes text)
{
    struct buffer copy;

    if (text.size == 0 || !memchr(text.data, '\0', text.size)) {
        json_write_string(out, text);
        return;
    }
    buffer_init(&copy);
    buffer_append(&copy, text);
    for (size_t i = 0; i < copy.size; i++)
        if (copy.data[i] == '\0')
            copy.data[i] = NOT_UTF8;
    json_write_string(out, buffer_bytes(&copy));
    buffer_deinit(&copy);
}

static char *put_bytes(char *at, struct bytes text)
{
    memcpy(at, text.data, text.size);
    return at + text.size;
}

static char *put_quoted(char *at, struct bytes text)
{
    *at++ = '"';
    at = put_bytes(at, text);
    *at++ = '"';
    return at;
}

/* Changes once a second: each thread keeps its text for that long. */
static const char *second_text(int64_t second)
{
    static _Thread_local struct {
        int64_t second;
        char text[64];
    } kept;

    if (kept.second != second || kept.text[0] == 0) {
        time_t seconds = (time_t)second;
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(kept.text, sizeof(kept.text), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        kept.second = second;
    }
    return kept.text;
}

static char *put_time(char *at, int64_t wall_us)
{
    uint64_t us = wall_us > 0 ? (uint64_t)wall_us : 0;
    uint64_t second = us / 1000000 < LAST_SECOND ? us / 1000000 : LAST_SECOND;

    *at++ = '"';
    memcpy(at, second_text((int64_t)second), SECOND_SIZE);
    us %= 1000000;
    at += SECOND_SIZE;
    *at++ = '.';
    memcpy(at, decimal_pairs + us / 10000 * 2, 2);
    at[2] = (char)('0' + us / 1000 % 10);
    at[3] = 'Z';
    at += 4;
    *at++ = '"';
    return at;
}

/* --- fields --- */

/* Room for the field and SIZE more; its lead is written. */
static inline char *begin(struct buffer *out, const struct record_lead *lead, size_t size)
{
    char *at = out->data + out->size;

    size += RECORD_LEAD + FIELD_ROOM;
    if (out->capacity - out->size < size)
        at = buffer_reserve(out, size);
    memcpy(at, lead->text, RECORD_LEAD);
    return at + lead->size;
}

static inline void end(struct buffer *out, char *at)
{
    *at++ = ',';
    out->size = (size_t)(at - out->data);
}

static void add_text(struct buffer *out, const struct record_lead *lead, struct bytes text)
{
    char *at;

    if (text.size == 0)
        return;
    at = begin(out, lead, text.size);
    if (is_plain(text)) {
        end(out, put_quoted(at, text));
        return;
    }
    out->size = (size_t)(at - out->data);
    record_write_text(out, text);
    buffer_append_char(out, ',');
}

static void add_plain(struct buffer *out, const struct record_lead *lead, struct bytes text)
{
    if (text.size)
        end(out, put_quoted(begin(out, lead, text.size), text));
}

static void add_json(struct buffer *out, const struct record_lead *lead, struct bytes json)
{
    if (json.size)
        end(out, put_bytes(begin(out, lead, json.size), json));
}

static void add_word(struct buffer *out, const struct record_lead *lead, const char *word)
{
    if (word)
        end(out, record_put_word(begin(out, lead, strlen(word)), word));
}

static bool try_failed(const struct record_try *try)
{
    return try->outcome && strcmp(try->outcome, "ok") != 0;
}

static void add_try(struct buffer *out, const struct record_try *try)
{
    const char *outcome = try->outcome ? try->outcome : "unknown";
    char *at;

    buffer_append(out, BYTES("{\"backend\":"));
    record_write_text(out, try->backend);
    at = put_bytes(buffer_reserve(out, TRY_ROOM + strlen(outcome)), BYTES(",\"outcome\":"));
    at = record_put_word(at, outcome);
    if (try->status)
        at = decimal_put(put_bytes(at, BYTES(",\"status\":")), try->status);
    at = record_put_ms(put_bytes(at, BYTES(",\"ms\":")), try->us);
    end(out, put_bytes(at, BYTES("}")));
}

static void add_tries(struct buffer *out, const struct record_lead *lead, const struct record *record)
{
    unsigned count = record->try_count < RECORD_TRIES ? record->try_count : RECORD_TRIES;
    char *at;

    if (count == 0 || (count == 1 && !try_failed(&record->tries[0])))
        return;
    at = begin(out, lead, 0);
    *at++ = '[';
    out->size = (size_t)(at - out->data);
    for (unsigned i = 0; i < count; i++)
        add_try(out, &record->tries[i]);
    out->data[out->size - 1] = ']';
    buffer_append_char(out, ',');
}

/* TOLD was decided by the kind. */
static void add_number(struct buffer *out, const struct record_lead *lead, uint64_t number, bool told)
{
    if (told)
        end(out, decimal_put(begin(out, lead, 0), number));
}

static void add_ms(struct buffer *out, const struct record_lead *lead, uint64_t us, bool told)
{
    if (told)
        end(out, record_put_ms(begin(out, lead, 0), us));
}

static void add_field(const struct record *record, const struct record_field *field, const struct record_lead *lead,
                      struct buffer *out)
{
    const void *value = (const char *)record + field->offset;
    const struct bytes *text = value;
    const uint64_t *number = value;
    const int64_t *whole = value;

    switch (field->kind) {
    case RECORD_TEXT:
        add_text(out, lead, *text);
        break;
    case RECORD_PLAIN:
        add_plain(out, lead, *text);
        break;
    case RECORD_WORD:
        add_word(out, lead, *(const char *const *)value);
        break;
    case RECORD_JSON:
        add_json(out, lead, *text);
        break;
    case RECORD_NUMBER:
        add_number(out, lead, *number, *number != 0);
        break;
    case RECORD_COUNT:
        add_number(out, lead, *number, true);
        break;
    case RECORD_STATUS:
        add_number(out, lead, *(const unsigned *)value, true);
        break;
    case RECORD_MAYBE:
        add_number(out, lead, (uint64_t)*whole, *whole >= 0);
        break;
    case RECORD_FLAG:
        if (*(const bool *)value)
            end(out, put_bytes(begin(out, lead, 0), BYTES("true")));
        break;
    case RECORD_MS:
        add_ms(out, lead, *number, *number != 0);
        break;
    case RECORD_WHOLE_MS:
        add_ms(out, lead, *number, true);
        break;
    case RECORD_TIME:
        end(out, put_time(begin(out, lead, 0), *whole));
        break;
    case RECORD_MONEY:
        if (record->has_cost)
            end(out, record_put_money(begin(out, lead, 0), *number));
        break;
    case RECORD_TRIES_LIST:
        add_tries(out, lead, record);
        break;
    }
}

void record_write(const struct record *record, struct buffer *out)
{
    for (unsigned i = 0; i < record_field_count; i++)
        add_field(record, &record_fields[i], &record_leads[i], out);
    out->data[out->size - 1] = '}';
}

void record_write_time(struct buffer *out, int64_t wall_us)
{
    char *at = put_bytes(buffer_reserve(out, RECORD_LEAD + FIELD_ROOM), BYTES("\"time\":"));

    at = put_time(at, wall_us);
    out->size = (size_t)(at - out->data);
}
