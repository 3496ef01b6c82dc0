/*
 * To most clients: one chunk around all events that are there, one write. HTTP/1.0 clients get no chunks.
 *
 * The Goodfire SDK parses each block its HTTP library yields as whole events, and that library reads at most 64 KiB
 * at a time: an event cut by the end of a read is an error there. So each event is a chunk of its own, and each chunk
 * (and the head) is padded with white space to a multiple of 256 bytes, a divisor of the library's read: wherever a
 * read of a client that lags behind ends, it ends between two events.
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

/* One event, its blank line included, as a chunk. */
static void append_chunk(struct buffer *out, struct bytes event)
{
    size_t padding = chunk_padding(event.size);

    buffer_printf(out, "%zx\r\n", event.size + padding);
    buffer_append(out, (struct bytes){event.data, event.size - 2});
    buffer_append(out, (struct bytes){spaces, padding});
    buffer_append_text(out, "\n\n\r\n");
}

/* Each event in a write of its own, so that on a quiet connection each is a segment of its own. */
static void send_each(struct exchange *x, struct buffer *head, enum frame_end end)
{
    struct bytes rest = buffer_bytes(&x->flow->out);

    if (head->size)
        pad_head(head);
    while (rest.size && x->conn) {
        size_t size = bytes_find(rest, BYTES("\n\n")) + 2;

        append_chunk(head, (struct bytes){rest.data, size});
        rest = bytes_skip(rest, size);
        if (rest.size == 0 && end == FRAME_LAST)
            buffer_append(head, last_chunk);
        frame_send(x, (struct bytes[]){buffer_bytes(head)}, 1);
        head->size = 0;
    }
    if (x->flow->out.size == 0 && end == FRAME_LAST)
        buffer_append(head, last_chunk);
    if (head->size && x->conn)
        frame_send(x, (struct bytes[]){buffer_bytes(head)}, 1);
}

static void send_together(struct exchange *x, struct buffer *head, enum frame_end end)
{
    struct bytes parts[3];
    unsigned count = 0;
    bool chunked = x->minor > 0;

    if (chunked && x->flow->out.size)
        buffer_printf(head, "%zx\r\n", x->flow->out.size);
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

void frame_events(struct exchange *x, enum frame_end end)
{
    struct buffer head;

    if (x->conn && (x->flow->out.size || end != FRAME_MORE)) {
        buffer_init(&head);
        if (!x->head_sent)
            frame_send_head(x, &head);
        if (x->dialect->event_per_chunk && x->minor > 0)
            send_each(x, &head, end);
        else
            send_together(x, &head, end);
        buffer_deinit(&head);
    }
    x->flow->out.size = 0;
}
