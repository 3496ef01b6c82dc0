/*
 * The head and tail of an event are the frame; its text may change.
 */
#include "dialect/backend_frame.h"

#include "base/utf8.h"

/* Longer ones are not remembered: a frame is worth its memory for tokens. */
#define FRAME_LIMIT 4096

void backend_frame_init(struct backend_frame *frame)
{
    *frame = (struct backend_frame){0};
}

void backend_frame_deinit(struct backend_frame *frame)
{
    buffer_deinit(&frame->in);
    buffer_deinit(&frame->out);
    backend_frame_init(frame);
}

void backend_frame_forget(struct backend_frame *frame)
{
    frame->text_start = 0;
}

/* By how much the changes in front of AT moved it. */
static int64_t moved(const struct json_splice *splice, uint32_t at)
{
    int64_t by = 0;

    for (const struct json_cut *cut = splice->cuts; cut && cut->start < at; cut = cut->next)
        by += (int64_t)cut->put.size - (int64_t)(cut->end - cut->start);
    return by;
}

void backend_frame_keep(struct backend_frame *frame, struct bytes event, const struct json_node *text,
                        const struct json_splice *splice, struct bytes out)
{
    int64_t by = moved(splice, text->start);

    backend_frame_forget(frame);
    if (event.size > FRAME_LIMIT)
        return;
    frame->in.size = frame->out.size = 0;
    buffer_append(&frame->in, event);
    if (!json_splice_clean(splice))
        buffer_append(&frame->out, out);
    frame->text_start = text->start + 1;
    frame->text_end = text->end - 1;
    frame->out_text_start = (uint32_t)(frame->text_start + by);
    frame->out_text_end = (uint32_t)(frame->text_end + by);
}

/* TEXT can stand between quotes: no quote, no control byte, good UTF-8, and of the escapes only the short
 * ones. */
static bool inside_of_string(struct bytes text)
{
    bool ascii = true;

    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte < 0x20 || byte == '"')
            return false;
        if (byte == '\\') {
            if (++i == text.size || !memchr("\"\\/bfnrt", text.data[i], 8))
                return false;
        } else if (byte >= 0x80) {
            ascii = false;
        }
    }
    return ascii || utf8_valid(text);
}

bool backend_frame_read(const struct backend_frame *frame, struct bytes event, struct buffer *scratch,
                        struct bytes *ret)
{
    size_t tail = frame->in.size - frame->text_end;
    struct bytes text;

    if (!frame->text_start || event.size < frame->text_start + tail ||
        memcmp(event.data, frame->in.data, frame->text_start) != 0 ||
        memcmp(event.data + event.size - tail, frame->in.data + frame->text_end, tail) != 0)
        return false;
    text = (struct bytes){event.data + frame->text_start, event.size - tail - frame->text_start};
    if (!inside_of_string(text))
        return false;
    *ret = event;
    if (frame->out.size) {
        scratch->size = 0;
        buffer_append(scratch, (struct bytes){frame->out.data, frame->out_text_start});
        buffer_append(scratch, text);
        buffer_append(scratch, bytes_skip(buffer_bytes(&frame->out), frame->out_text_end));
        *ret = buffer_bytes(scratch);
    }
    return true;
}
