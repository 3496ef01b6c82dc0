/*
 * One byte at a time around the data, so that no cut into reads can matter. A size is hex digits and CR LF,
 * nothing else: extensions have no use here and a long history of hiding things, and they are refused.
 *
 * Bytes that are not data may be at most `overhead_bytes`, and one for every sixteen of data: long bodies in
 * chunks of an honest size pass, a body of chunks of one byte does not.
 */
#include "entry/http_chunks.h"

enum state {
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,        /* at the start of a line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
};

static bool refuse(struct http_fault *fault, const char *message)
{
    return http_refuse(fault, FAIL_BAD_HTTP, message);
}

static bool take_size(struct http_chunks *chunks, char byte, struct http_fault *fault)
{
    int value = bytes_hex_digit(byte);

    if (value >= 0) {
        if (chunks->digits++ == 16)
            return refuse(fault, "A chunk's size is too long.");
        chunks->left = chunks->left << 4 | (unsigned)value;
        return true;
    }
    if (chunks->digits == 0)
        return refuse(fault, "A chunk's size is missing.");
    if (byte != '\r')
        return refuse(fault, "Nothing but CR LF may follow a chunk's size.");
    chunks->state = SIZE_LF;
    return true;
}

static bool take_name(struct http_chunks *chunks, char byte, struct http_fault *fault)
{
    if (byte == ':') {
        chunks->state = TRAILER_VALUE;
        if (!http_rules_trailer((struct bytes){chunks->name, chunks->name_size}))
            return refuse(fault, "A trailer must not carry this field.");
        return true;
    }
    if (!http_is_token((struct bytes){&byte, 1}))
        return refuse(fault, "A trailer's name is not a word.");
    if (chunks->name_size < sizeof(chunks->name))
        chunks->name[chunks->name_size++] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    return true;
}

static bool take_trailer(struct http_chunks *chunks, char byte, struct http_fault *fault)
{
    if (byte == '\r') {
        chunks->state = END_LF;
        return true;
    }
    if (byte == ':')
        return refuse(fault, "A trailer has no name.");
    chunks->state = TRAILER_NAME;
    chunks->name_size = 0;
    return take_name(chunks, byte, fault);
}

static bool take_value(struct http_chunks *chunks, char byte, struct http_fault *fault)
{
    if (byte == '\r')
        chunks->state = TRAILER_LF;
    else if (!http_plain_byte((unsigned char)byte))
        return refuse(fault, "There is a control byte in a trailer.");
    return true;
}

static bool take_line_end(struct http_chunks *chunks, char byte, char wanted, enum state next,
                          struct http_fault *fault)
{
    if (byte != wanted)
        return refuse(fault, "A line of the chunked coding does not end in CR LF.");
    chunks->state = (uint8_t)next;
    if (next == SIZE)
        chunks->digits = 0;
    return true;
}

static bool take_byte(struct http_chunks *chunks, char byte, struct http_fault *fault)
{
    switch (chunks->state) {
    case SIZE:
        return take_size(chunks, byte, fault);
    case SIZE_LF:
        return take_line_end(chunks, byte, '\n', chunks->left ? DATA : TRAILER, fault);
    case DATA_CR:
        return take_line_end(chunks, byte, '\r', DATA_LF, fault);
    case DATA_LF:
        return take_line_end(chunks, byte, '\n', SIZE, fault);
    case TRAILER:
        return take_trailer(chunks, byte, fault);
    case TRAILER_NAME:
        return take_name(chunks, byte, fault);
    case TRAILER_VALUE:
        return take_value(chunks, byte, fault);
    case TRAILER_LF:
        return take_line_end(chunks, byte, '\n', TRAILER, fault);
    default:
        return take_line_end(chunks, byte, '\n', END, fault);
    }
}

/* Told before the data come: a size may promise more than anybody would wait for. */
static bool fits(const struct http_chunks *chunks, uint64_t body_bytes, struct http_fault *fault)
{
    if (body_bytes == 0 || (chunks->left <= body_bytes && chunks->data <= body_bytes - chunks->left))
        return true;
    return http_refuse(fault, FAIL_TOO_LARGE, "The request body is larger than this gateway accepts.");
}

static void take_data(struct http_chunks *chunks, struct bytes *input, struct bytes *ret_piece)
{
    size_t size = input->size < chunks->left ? input->size : (size_t)chunks->left;

    *ret_piece = (struct bytes){input->data, size};
    *input = bytes_skip(*input, size);
    chunks->data += size;
    chunks->left -= size;
    if (chunks->left == 0)
        chunks->state = DATA_CR;
}

enum http_in_step http_chunks_next(struct http_chunks *chunks, const struct http_in_limits *limits, struct bytes *input,
                                   struct bytes *ret_piece, struct http_fault *fault)
{
    while (chunks->state != END && input->size) {
        if (chunks->state == DATA) {
            take_data(chunks, input, ret_piece);
            return HTTP_IN_BODY;
        }
        if (!take_byte(chunks, input->data[0], fault))
            return HTTP_IN_ERROR;
        *input = bytes_skip(*input, 1);
        if (chunks->state == DATA && !fits(chunks, limits->body_bytes, fault))
            return HTTP_IN_ERROR;
        if (++chunks->overhead > limits->overhead_bytes + chunks->data / 16) {
            refuse(fault, "The chunks' sizes and trailers are too long.");
            return HTTP_IN_ERROR;
        }
    }
    return chunks->state == END ? HTTP_IN_END : HTTP_IN_MORE;
}
