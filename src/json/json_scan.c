/*
 * Between strings a quote opens one; inside, it ends it unless an odd number of backslashes stands before
 * it. So strings are found by looking at quotes alone, many times faster than a parser that looks at each
 * byte of them.
 */
#include "json/json_scan.h"

#include "json/json_unescape.h"

#define LONG_STRING 32 /* inside; with shorter ones the parser is as fast */
#define EACH_BYTE(value) (0x0101010101010101u * (value))

static bool quote_is_escaped(const char *quote)
{
    const char *at = quote;

    while (at[-1] == '\\')
        at--;
    return (quote - at) % 2;
}

bool json_scan_long_string(struct json_doc *doc, struct bytes *ret_inside)
{
    const char *text = doc->text.data;

    while (doc->scanned < doc->checked) {
        const char *quote = memchr(text + doc->scanned, '"', doc->checked - doc->scanned);
        uint32_t start = doc->string_start;

        doc->scanned = quote ? (uint32_t)(quote - text) + 1 : doc->checked;
        if (!quote || (start && quote_is_escaped(quote)))
            continue;
        doc->string_start = start ? 0 : doc->scanned;
        if (start && doc->scanned - 1 - start >= LONG_STRING) {
            *ret_inside = (struct bytes){text + start, doc->scanned - 1 - start};
            return true;
        }
    }
    return false;
}

/* A byte below the blank. Such a byte, taken less the blank, borrows into its own high bit. */
static bool has_control_byte(struct bytes inside)
{
    uint64_t found = 0, word;
    size_t at = 0;

    for (; at + sizeof(word) <= inside.size; at += sizeof(word)) {
        memcpy(&word, inside.data + at, sizeof(word));
        found |= (word - EACH_BYTE(' ')) & ~word & EACH_BYTE(0x80);
    }
    for (; at < inside.size; at++)
        found |= (unsigned char)inside.data[at] < ' ';
    return found != 0;
}

bool json_scan_is_good(struct bytes inside, bool *ret_escaped)
{
    size_t at;

    if (has_control_byte(inside))
        return false;
    *ret_escaped = memchr(inside.data, '\\', inside.size) != NULL;
    return !*ret_escaped || json_escapes_check(inside, &at) == 0;
}
