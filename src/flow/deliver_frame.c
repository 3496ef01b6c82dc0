/*
 * To most clients: one chunk around all events that are there, one write. HTTP/1.0 clients get no chunks.
 *
 * The Goodfire SDK takes each block its HTTP library yields for whole events, and that library yields what a read of
 * at most 64 KiB brought: an event cut by the end of a read is an error there. So to such clients each event is a
 * chunk and a segment of its own (conn_set_piecewise): what has arrived ends between two events. And each chunk, and
 * the head, is padded with white space to a multiple of 256 bytes, a divisor of the library's read: so does a read by
 * a client that lags behind.
 */
#include "flow/deliver_frame.h"

#define FRAME_UNIT 256
#define PAD_HEADER "x-pad: "

static const char spaces[FRAME_UNIT + 1] =
    "                                                                                                                "
    "                                                                                                                "
    "                                ";

static const struct bytes last_chunk = {"0\r\n\r\n", 5};

static size_t hex_digits(size_t value)
{
    size_t digits = 1;

    while (value >>= 4)
        digits++;
    return digits;
}

/* The padding that makes a chunk of SIZE bytes of data, framing included, a multiple of the unit. */
static size_t chunk_padding(size_t size)
{
    size_t total = size + hex_digits(size) + 4;
    size_t padding = (FRAME_UNIT - total % FRAME_UNIT) % FRAME_UNIT;

    /* Padding may have made the size line one digit longer. */
    while ((size + padding + hex_digits(size + padding) + 4) % FRAME_UNIT)
        padding = padding == 0 ? FRAME_UNIT - 1 : padding - 1;
    return padding;
}

static void pad_head(struct buffer *head)
{
    size_t fixed = sizeof(PAD_HEADER) - 1 + 2;
    size_t padding = (FRAME_UNIT - (head->size + fixed) % FRAME_UNIT) % FRAME_UNIT;

    head->size -= 2; /* the blank line */
    buffer_append_text(head, PAD_HEADER);
    for (size_t i = 0; i < padding; i++)
        buffer_append_char(head, '-');
    buffer_append_text(head, "\r\n\r\n");
}

static void append_size_line(struct buffer *out, size_t size)
{
    buffer_append_hex(out, size);
    buffer_append_text(out, "\r\n");
}

/* One event, its blank line included, as a chunk. */
static void append_chunk(struct buffer *out, struct bytes event)
{
    size_t padding = chunk_padding(event.size);

    append_size_line(out, event.size + padding);
    buffer_append(out, (struct bytes){event.data, event.size - 2});
    buffer_append(out, (struct bytes){spaces, padding});
    buffer_append_text(out, "\n\n\r\n");
}

/* The first of the held events, in one write; with the last one goes what ends the answer. */
static void send_one(struct exchange *x, struct buffer *out)
{
    struct bytes held = buffer_bytes(&x->held);
    size_t size = bytes_find(held, BYTES("\n\n")) + 2;

    append_chunk(out, (struct bytes){held.data, size});
    buffer_consume(&x->held, size);
    if (x->held.size == 0 && x->ending == FRAME_LAST)
        buffer_append(out, last_chunk);
    frame_send(x, (struct bytes[]){buffer_bytes(out)}, 1);
    out->size = 0;
}

bool frame_flush(struct exchange *x)
{
    struct buffer *out = &x->flow->front;

    if (x->held.size == 0)
        return true;
    out->size = 0;
    if (!x->head_sent) {
        conn_set_piecewise(x->conn);
        frame_send_head(x, out);
        pad_head(out);
    }
    while (x->held.size && x->conn && !x->choked)
        send_one(x, out);
    if (x->held.size == 0)
        buffer_clear(&x->held, 4096);
    return x->held.size == 0;
}

/* An end without a last event to go with. */
static void send_bare_end(struct exchange *x)
{
    struct buffer *out = &x->flow->front;

    out->size = 0;
    if (!x->head_sent) {
        frame_send_head(x, out);
        pad_head(out);
    }
    if (x->ending == FRAME_LAST)
        buffer_append(out, last_chunk);
    if (out->size)
        frame_send(x, (struct bytes[]){buffer_bytes(out)}, 1);
}

static bool send_each(struct exchange *x)
{
    buffer_append(&x->held, buffer_bytes(&x->flow->out));
    if (x->held.size == 0 && x->ending != FRAME_MORE)
        send_bare_end(x);
    return frame_flush(x);
}

static void send_together(struct exchange *x, enum frame_end end)
{
    struct buffer *head = &x->flow->front;
    struct bytes parts[3];
    unsigned count = 0;
    bool chunked = x->minor > 0;

    head->size = 0;
    if (!x->head_sent)
        frame_send_head(x, head);

    if (chunked && x->flow->out.size)
        append_size_line(head, x->flow->out.size);
    if (head->size)
        parts[count++] = buffer_bytes(head);
    if (x->flow->out.size)
        parts[count++] = buffer_bytes(&x->flow->out);
    if (chunked && x->flow->out.size)
        parts[count++] = end == FRAME_LAST ? BYTES("\r\n0\r\n\r\n") : BYTES("\r\n");
    else if (chunked && end == FRAME_LAST)
        parts[count++] = last_chunk;
    if (count)
        frame_send(x, parts, count);
}

bool frame_events(struct exchange *x, enum frame_end end)
{
    bool all = true;

    x->ending = end;
    if (x->conn && (x->flow->out.size || end != FRAME_MORE)) {
        if (x->dialect->event_per_chunk && x->minor > 0)
            all = send_each(x);
        else
            send_together(x, end);
    }
    x->flow->out.size = 0;
    return all;
}
