/*
 * Runs without a backslash are copied whole; each escape is looked at by itself.
 */
#include "json/json_unescape.h"

#include "json/json_doc.h"

#include <ctype.h>

static bool is_high(unsigned unit)
{
    return (unit & 0xfc00) == 0xd800;
}

static bool is_low(unsigned unit)
{
    return (unit & 0xfc00) == 0xdc00;
}

/* The four hex digits at AT. */
static unsigned hex4(const char *at)
{
    unsigned unit = 0;

    for (int i = 0; i < 4; i++) {
        unsigned digit = (unsigned char)at[i];

        unit = unit << 4 | (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return unit;
}

/* Where the next backslash is, or the end. */
static size_t next_escape(struct bytes inside, size_t at)
{
    const char *found = at < inside.size ? memchr(inside.data + at, '\\', inside.size - at) : NULL;

    return found ? (size_t)(found - inside.data) : inside.size;
}

/* A \u and four hex digits stand at AT. */
static bool is_wide(struct bytes inside, size_t at)
{
    const char *text = inside.data + at;

    return inside.size - at >= 6 && text[0] == '\\' && text[1] == 'u' &&
           isxdigit((unsigned char)text[2]) && isxdigit((unsigned char)text[3]) &&
           isxdigit((unsigned char)text[4]) && isxdigit((unsigned char)text[5]);
}

/* The one escape at AT: 0 and its length to *RET_SIZE, or JSON_E_. */
static int check_one(struct bytes inside, size_t at, size_t *ret_size)
{
    static const bool letters[256] = {
        ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
        ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true,
    };
    unsigned unit;

    if (at + 1 < inside.size && letters[(unsigned char)inside.data[at + 1]]) {
        *ret_size = 2;
        return 0;
    }
    if (!is_wide(inside, at))
        return JSON_E_SYNTAX;
    unit = hex4(inside.data + at + 2);
    if (unit == 0)
        return JSON_E_NUL;
    if (is_low(unit) || (is_high(unit) && !(is_wide(inside, at + 6) && is_low(hex4(inside.data + at + 8)))))
        return JSON_E_UTF8;
    *ret_size = is_high(unit) ? 12 : 6;
    return 0;
}

int json_escapes_check(struct bytes inside, size_t *ret_at)
{
    size_t at = next_escape(inside, 0), size;

    while (at < inside.size) {
        int error = check_one(inside, at, &size);

        if (error) {
            *ret_at = at;
            return error;
        }
        at = next_escape(inside, at + size);
    }
    return 0;
}

static size_t encode(uint32_t code, char out[4])
{
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(leads[size] | code);
    return size;
}

size_t json_unescape_one(const char *at, char out[4], size_t *ret_size)
{
    static const char plain[256] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    char letter = at[1];
    unsigned unit;

    if (letter != 'u') {
        out[0] = plain[(unsigned char)letter] ? plain[(unsigned char)letter] : letter;
        *ret_size = 1;
        return 2;
    }
    unit = hex4(at + 2);
    if (is_high(unit)) {
        *ret_size = encode(0x10000 + ((unit & 0x3ff) << 10) + (hex4(at + 8) & 0x3ff), out);
        return 12;
    }
    *ret_size = encode(unit, out);
    return 6;
}

size_t json_unescape(struct bytes inside, char *out)
{
    size_t size = 0, at = 0;

    while (at < inside.size) {
        size_t escape = next_escape(inside, at);
        size_t wide;

        memcpy(out + size, inside.data + at, escape - at);
        size += escape - at;
        at = escape;
        if (at < inside.size) {
            char bytes[4];

            at += json_unescape_one(inside.data + at, bytes, &wide);
            memcpy(out + size, bytes, wide);
            size += wide;
        }
    }
    return size;
}
