/*
 * Strings go out in runs: bytes that need no escape are copied together, up to the next one that does.
 */
#include "json/json_write.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define EACH_BYTE(value) (0x0101010101010101u * (value))

#define REPLACEMENT "\xef\xbf\xbd"
#define REPLACEMENT_ASCII "\\ufffd"

static const char hex[] = "0123456789abcdef";

static void write_unit(struct buffer *out, unsigned unit)
{
    char text[6] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15],
                    hex[unit & 15]};

    buffer_append(out, (struct bytes){text, sizeof(text)});
}

/* The letter that stands for a byte behind a backslash; 'u' for those that need four digits, 0 for those that
 * stand for themselves. */
static const char letters[256] = {
    [0x00] = 'u', [0x01] = 'u', [0x02] = 'u', [0x03] = 'u', [0x04] = 'u', [0x05] = 'u', [0x06] = 'u',
    [0x07] = 'u', ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [0x0b] = 'u', ['\f'] = 'f', ['\r'] = 'r',
    [0x0e] = 'u', [0x0f] = 'u', [0x10] = 'u', [0x11] = 'u', [0x12] = 'u', [0x13] = 'u', [0x14] = 'u',
    [0x15] = 'u', [0x16] = 'u', [0x17] = 'u', [0x18] = 'u', [0x19] = 'u', [0x1a] = 'u', [0x1b] = 'u',
    [0x1c] = 'u', [0x1d] = 'u', [0x1e] = 'u', [0x1f] = 'u', ['"'] = '"',  ['\\'] = '\\',
};

static void write_escape(struct buffer *out, unsigned char byte)
{
    char pair[2] = {'\\', letters[byte]};

    if (pair[1] == 'u' || pair[1] == 0)
        write_unit(out, byte);
    else
        buffer_append(out, (struct bytes){pair, sizeof(pair)});
}

/* Not 0 when some byte of WORD does not stand for itself. A byte below another one sets its high bit when that is
 * subtracted; a borrow comes only from such a byte, so what it does to its neighbour does not matter. */
static uint64_t escapes_in(uint64_t word)
{
    uint64_t quote = word ^ EACH_BYTE('"'), backslash = word ^ EACH_BYTE('\\');

    return (((word - EACH_BYTE(' ')) & ~word) | ((quote - EACH_BYTE(1)) & ~quote) |
            ((backslash - EACH_BYTE(1)) & ~backslash)) & EACH_BYTE(0x80);
}

/* The first byte of TEXT from AT on that needs an escape, or TEXT.size. */
static size_t find_escape(struct bytes text, size_t at)
{
    uint64_t word;

    for (; text.size - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text.data + at, sizeof(word));
        if (escapes_in(word))
            break;
    }
    while (at < text.size && !letters[(unsigned char)text.data[at]])
        at++;
    return at;
}

/* TEXT is good UTF-8. */
static void write_valid(struct buffer *out, struct bytes text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t at = 0, done = 0;

    for (;;) {
        at = find_escape(text, at);
        buffer_append(out, (struct bytes){text.data + done, at - done});
        if (at == text.size)
            break;
        write_escape(out, data[at++]);
        done = at;
    }
}

/* The character at AT, of good UTF-8, as one unit or a pair. Returns its size there. */
static size_t write_character(struct buffer *out, const unsigned char *at)
{
    size_t size = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t code = at[0] & (0xffu >> (size + 1));

    for (size_t i = 1; i < size; i++)
        code = code << 6 | (at[i] & 0x3f);
    if (code < 0x10000) {
        write_unit(out, code);
        return size;
    }
    write_unit(out, 0xd800 + ((code - 0x10000) >> 10));
    write_unit(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
    return size;
}

/* The colon at AT may follow "data" in what is written: an escape can end in d or da, never in t. */
static bool is_data_colon(struct bytes text, size_t at)
{
    return at >= 2 && memcmp(text.data + at - 2, "ta", 2) == 0;
}

/* TEXT is good UTF-8. */
static void write_valid_ascii(struct buffer *out, struct bytes text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t at = 0, done = 0;

    for (;;) {
        while (at < text.size && !letters[data[at]] && data[at] < 0x7f &&
               (data[at] != ':' || !is_data_colon(text, at)))
            at++;
        buffer_append(out, (struct bytes){text.data + done, at - done});
        if (at == text.size)
            break;
        if (data[at] >= 0x80)
            at += write_character(out, data + at);
        else
            write_escape(out, data[at++]);
        done = at;
    }
}

/* TEXT between quotes: its valid stretches by WRITE, each byte that belongs to none as REPLACEMENT. */
static void write_quoted(struct buffer *out, struct bytes text, void (*write)(struct buffer *, struct bytes),
                         struct bytes replacement)
{
    buffer_reserve(out, text.size + 2);
    buffer_append_char(out, '"');
    while (text.size) {
        size_t valid = utf8_valid_prefix(text);

        if (valid)
            write(out, (struct bytes){text.data, valid});
        text = bytes_skip(text, valid);
        if (text.size) {
            buffer_append(out, replacement);
            text = bytes_skip(text, 1);
        }
    }
    buffer_append_char(out, '"');
}

void json_write_string(struct buffer *out, struct bytes text)
{
    write_quoted(out, text, write_valid, BYTES(REPLACEMENT));
}

void json_write_string_ascii(struct buffer *out, struct bytes text)
{
    write_quoted(out, text, write_valid_ascii, BYTES(REPLACEMENT_ASCII));
}

void json_write_name(struct buffer *out, const char *name)
{
    char last = out->size ? out->data[out->size - 1] : '{';

    if (last != '{' && last != '[')
        buffer_append_char(out, ',');
    buffer_append_char(out, '"');
    buffer_append_text(out, name);
    buffer_append(out, BYTES("\":"));
}

void json_write_member_string(struct buffer *out, const char *name, struct bytes text)
{
    json_write_name(out, name);
    json_write_string(out, text);
}

void json_write_member_i64(struct buffer *out, const char *name, int64_t value)
{
    json_write_name(out, name);
    buffer_append_i64(out, value);
}

void json_write_member_millionths(struct buffer *out, const char *name, uint64_t value)
{
    json_write_name(out, name);
    buffer_printf(out, "%llu.%06llu", (unsigned long long)(value / 1000000), (unsigned long long)(value % 1000000));
}

void json_write_member_raw(struct buffer *out, const char *name, struct bytes value)
{
    json_write_name(out, name);
    buffer_append(out, value);
}

void json_write_double(struct buffer *out, double value)
{
    char text[32];
    int size = 0;

    if (!isfinite(value)) {
        buffer_append(out, BYTES("null"));
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_append(out, (struct bytes){text, (size_t)size});
}
