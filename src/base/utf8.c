/*
 * Eight ASCII bytes at a step; anything else by the table of RFC 3629, section 4.
 */
#include "base/utf8.h"

#define HIGH_BITS 0x8080808080808080u

/* The length of the one sequence at AT, or 0. */
static size_t sequence(const unsigned char *at, size_t left)
{
    unsigned char lead = at[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;

    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] > 0x9f))
        return 0;
    if ((lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

size_t utf8_valid_prefix(struct bytes view)
{
    const unsigned char *data = (const unsigned char *)view.data;
    size_t at = 0, length;

    while (at < view.size) {
        uint64_t word;

        if (view.size - at >= sizeof(word)) {
            memcpy(&word, data + at, sizeof(word));
            if ((word & HIGH_BITS) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        length = sequence(data + at, view.size - at);
        if (length == 0)
            return at;
        at += length;
    }
    return at;
}

struct bytes utf8_cut(struct bytes view, size_t limit)
{
    if (view.size <= limit)
        return view;
    while (limit > 0 && ((unsigned char)view.data[limit] & 0xc0) == 0x80)
        limit--;
    return (struct bytes){view.data, limit};
}
