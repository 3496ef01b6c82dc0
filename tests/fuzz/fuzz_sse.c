/*
 * Server-sent events: whatever the bytes, the same events come out of them whole, byte by byte and in pieces.
 * The first byte chooses the size of the pieces, the second the limit.
 */
#include "upstream/sse.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(struct buffer *out, const struct sse_event *event)
{
    if (event->data.size == 0 || !utf8_valid(event->data) || memchr(event->data.data, '\0', event->data.size))
        abort();
    buffer_append(out, event->name);
    buffer_append_char(out, '\0');
    buffer_append(out, event->data);
    buffer_append_char(out, '\0');
}

static int feed(struct sse *sse, struct bytes piece, struct buffer *out)
{
    char *copy = alloc_bytes(piece.size);
    struct bytes input = {copy, piece.size};
    struct sse_event event;
    int r;

    memcpy(copy, piece.data, piece.size);
    while ((r = sse_next(sse, &input, &event)) == SSE_EVENT)
        note(out, &event);
    if (r == SSE_MORE && input.size)
        abort();
    alloc_free(copy);
    return r;
}

static void run(struct bytes in, size_t step, size_t limit, struct buffer *out)
{
    struct sse_event event;
    struct sse sse;
    int r = SSE_MORE;

    buffer_init(out);
    sse_init(&sse, limit);
    while (in.size && r == SSE_MORE) {
        size_t size = step < in.size ? step : in.size;

        r = feed(&sse, (struct bytes){in.data, size}, out);
        in = bytes_skip(in, size);
        if (sse.held.size > limit || sse.joined.size > limit)
            abort();
    }
    if (r == SSE_MORE && sse_end(&sse, &event) == SSE_EVENT)
        note(out, &event);
    buffer_append_char(out, (char)('0' + r));
    sse_deinit(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = {(const char *)data + 2, size - 2};
    struct buffer whole, cut;
    size_t steps[2], limit;

    if (size < 3)
        return 0;
    steps[0] = 1;
    steps[1] = (size_t)data[0] + 1;
    limit = (size_t)data[1] * 8;
    run(in, in.size, limit, &whole);
    for (int i = 0; i < 2; i++) {
        run(in, steps[i], limit, &cut);
        if (!bytes_equal(buffer_bytes(&whole), buffer_bytes(&cut)))
            abort();
        buffer_deinit(&cut);
    }
    buffer_deinit(&whole);
    return 0;
}
