/*
 * Line by line, each byte looked at once. A line whole in the piece is a view of it; a cut one is put together in
 * `held`. The data of an event stays a view while it is one line and its blank line comes in the same piece; else it
 * moves to `joined`. What comes out depends on the bytes alone, never on where they were cut.
 *
 * The search for a line's end goes eight bytes at a step and stops at any control byte below 16, for lines end in CR
 * as well as in LF; on the way it notes whether there was a NUL or a byte above 127, without which nothing in the line
 * can be wrong.
 */
#include "upstream/sse.h"

#include "base/utf8.h"

#include <endian.h>

enum { KEPT_MEMORY = 16 << 10 };

#define EACH_BYTE(value) (0x0101010101010101u * (value))

void sse_init(struct sse *sse, size_t event_limit)
{
    *sse = (struct sse){.limit = event_limit};
    buffer_init(&sse->held);
    buffer_init(&sse->joined);
}

void sse_deinit(struct sse *sse)
{
    buffer_deinit(&sse->held);
    buffer_deinit(&sse->joined);
}

/* --- lines ------------------------------------------------------------------------------------------------------ */

/* The offset of the first CR or LF in VIEW, or VIEW.size. */
static size_t find_line_end(struct sse *sse, struct bytes view)
{
    uint64_t seen = 0;
    size_t at = 0;

    while (at < view.size) {
        unsigned char byte;

        if (view.size - at >= sizeof(uint64_t)) {
            uint64_t word, low;

            memcpy(&word, view.data + at, sizeof(word));
            word = le64toh(word);
            /* The high bit of each byte below 16. A borrow may mark one right above such a byte as well, so only the
             * lowest mark is used. */
            low = (word - EACH_BYTE(0x10)) & ~word & EACH_BYTE(0x80);
            if (low == 0) {
                seen |= word;
                at += sizeof(word);
                continue;
            }
            seen |= word & ((low & -low) - 1);
            at += (size_t)__builtin_ctzll(low) / 8;
        }
        byte = (unsigned char)view.data[at];
        if (byte == '\n' || byte == '\r')
            break;
        seen |= byte == '\0' ? 0x80 : byte;
        at++;
    }
    if (seen & EACH_BYTE(0x80))
        sse->suspect = true;
    return at;
}

/* The data so far points into memory that is about to change: take a copy. */
static void settle(struct sse *sse)
{
    if (sse->has_data && !sse->is_joined) {
        buffer_append(&sse->joined, sse->data);
        sse->is_joined = true;
    }
    if (sse->held_given) {
        sse->held.size = 0;
        sse->held_given = false;
    }
}

static bool fits(const struct sse *sse, size_t more)
{
    size_t data = sse->is_joined ? sse->joined.size : sse->data.size;

    return data <= sse->limit && more <= sse->limit - data;
}

enum { LINE_WHOLE, LINE_CUT, LINE_TOO_LARGE };

/* A LF right after a CR belongs to it, even if it comes with the next piece. */
static struct bytes skip_second_half(struct sse *sse, struct bytes rest)
{
    if (!sse->after_cr || rest.size == 0)
        return rest;
    sse->after_cr = false;
    return rest.data[0] == '\n' ? bytes_skip(rest, 1) : rest;
}

/* Take the next line, without its end, off INPUT. */
static int next_line(struct sse *sse, struct bytes *input, struct bytes *ret)
{
    struct bytes rest = skip_second_half(sse, *input);
    struct bytes line = {rest.data, find_line_end(sse, rest)};
    size_t held = sse->held_given ? 0 : sse->held.size;

    if (!fits(sse, held + line.size))
        return LINE_TOO_LARGE;
    if (line.size == rest.size) {
        settle(sse);
        buffer_append(&sse->held, line);
        *input = (struct bytes){rest.data + rest.size, 0};
        return LINE_CUT;
    }
    sse->after_cr = rest.data[line.size] == '\r';
    *input = skip_second_half(sse, bytes_skip(rest, line.size + 1));
    if (held) {
        buffer_append(&sse->held, line);
        line = buffer_bytes(&sse->held);
        sse->held_given = true;
    }
    if (!sse->begun && bytes_start_with(line, BYTES("\xef\xbb\xbf")))
        line = bytes_skip(line, 3);
    sse->begun = true;
    *ret = line;
    return LINE_WHOLE;
}

/* --- fields ----------------------------------------------------------------------------------------------------- */

/* LINE is the field NAME: what stands behind its colon and one space goes to *RET. */
static bool is_field(struct bytes line, struct bytes name, struct bytes *ret)
{
    if (!bytes_start_with(line, name) || (line.size > name.size && line.data[name.size] != ':'))
        return false;
    line = bytes_skip(line, line.size > name.size ? name.size + 1 : name.size);
    *ret = line.size && line.data[0] == ' ' ? bytes_skip(line, 1) : line;
    return true;
}

static void add_data(struct sse *sse, struct bytes value)
{
    if (!sse->has_data) {
        sse->has_data = true;
        sse->data = value;
        return;
    }
    if (!sse->is_joined) {
        buffer_append(&sse->joined, sse->data);
        sse->is_joined = true;
    }
    buffer_append_char(&sse->joined, '\n');
    buffer_append(&sse->joined, value);
}

static void set_name(struct sse *sse, struct bytes value)
{
    sse->name_size = (unsigned char)(value.size < sizeof(sse->name) ? value.size : sizeof(sse->name));
    if (sse->name_size)
        memcpy(sse->name, value.data, sse->name_size);
}

/* True: LINE is good. Comments, `id`, `retry` and unknown fields change nothing. */
static bool take_line(struct sse *sse, struct bytes line)
{
    bool suspect = sse->suspect;
    struct bytes value;

    sse->suspect = false;
    if (is_field(line, BYTES("data"), &value)) {
        add_data(sse, value);
    } else if (is_field(line, BYTES("event"), &value)) {
        set_name(sse, value);
    } else if (is_field(line, BYTES("error"), &value)) {
        set_name(sse, BYTES("error"));
        add_data(sse, value);
    } else {
        return true;
    }
    return !suspect || value.size == 0 || (!memchr(value.data, '\0', value.size) && utf8_valid(value));
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static struct bytes data_of(const struct sse *sse)
{
    return sse->is_joined ? buffer_bytes(&sse->joined) : sse->data;
}

static void give(struct sse *sse, struct sse_event *ret)
{
    *ret = (struct sse_event){.name = {sse->name, sse->name_size}, .data = data_of(sse)};
    sse->given = true;
}

/* Begin the next event; what the last one pointed to may go. */
static void forget(struct sse *sse)
{
    sse->data = BYTES_NONE;
    sse->has_data = sse->is_joined = sse->given = false;
    sse->name_size = 0;
    buffer_clear(&sse->joined, KEPT_MEMORY);
    if (sse->held_given) {
        buffer_clear(&sse->held, KEPT_MEMORY);
        sse->held_given = false;
    }
}

/* What stands at the end of a block: an event, if there is data in it. */
static bool finish_block(struct sse *sse, struct sse_event *ret)
{
    if (sse->has_data && data_of(sse).size) {
        give(sse, ret);
        return true;
    }
    forget(sse);
    return false;
}

int sse_next(struct sse *sse, struct bytes *input, struct sse_event *ret)
{
    struct bytes line;

    if (sse->given)
        forget(sse);
    for (;;) {
        int r = next_line(sse, input, &line);

        if (r == LINE_CUT)
            return SSE_MORE;
        if (r == LINE_TOO_LARGE)
            return SSE_E_TOO_LARGE;
        if (line.size == 0 && finish_block(sse, ret))
            return SSE_EVENT;
        if (line.size && !take_line(sse, line))
            return SSE_E_BAD;
    }
}

int sse_end(struct sse *sse, struct sse_event *ret)
{
    if (sse->given)
        forget(sse);
    if (sse->held.size && !sse->held_given)
        return SSE_MORE;
    return finish_block(sse, ret) ? SSE_EVENT : SSE_MORE;
}
