/*
 * Replies of Redis: whatever the bytes, the same replies come out of them whole, byte by byte and in pieces, and what
 * is refused is refused each time. The first byte chooses the size of the pieces, the second the limit.
 */
#include "link/redis_wire.h"

#include "base/alloc.h"

#include <stdlib.h>

enum { DEEPEST = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(struct buffer *out, const struct redis_reply *reply, size_t limit, int depth)
{
    if (depth > DEEPEST || reply->text.size > (reply->kind == REDIS_TEXT ? limit : 4096))
        abort();
    buffer_append_char(out, (char)('a' + reply->kind));
    buffer_append_u64(out, reply->text.size);
    buffer_append_char(out, ' ');
    buffer_append(out, reply->text);
    buffer_append_i64(out, reply->integer);
    buffer_append_char(out, '\n');
    for (uint32_t i = 0; i < reply->count; i++)
        note(out, &reply->items[i], limit, depth + 1);
}

static int feed(struct redis_reader *reader, struct bytes piece, size_t limit, struct buffer *out)
{
    char *copy = alloc_bytes(piece.size);
    struct bytes input = {copy, piece.size};
    const struct redis_reply *reply;
    int r;

    memcpy(copy, piece.data, piece.size);
    while ((r = redis_reader_next(reader, &input, &reply)) == REDIS_READER_REPLY)
        note(out, reply, limit, 0);
    if (r == REDIS_READER_MORE && input.size)
        abort();
    alloc_free(copy);
    return r;
}

static void run(struct bytes in, size_t step, size_t limit, struct buffer *out)
{
    struct redis_reader *reader = redis_reader_new((uint32_t)limit);
    int r = REDIS_READER_MORE;

    buffer_init(out);
    while (in.size && r == REDIS_READER_MORE) {
        size_t size = step < in.size ? step : in.size;

        r = feed(reader, (struct bytes){in.data, size}, limit, out);
        in = bytes_skip(in, size);
    }
    buffer_append_char(out, (char)('0' + r));
    if (r == REDIS_READER_MORE)
        buffer_append_char(out, redis_reader_is_midway(reader) ? 'm' : 'e');
    else if (*redis_reader_fault(reader) == '\0')
        abort();
    redis_reader_free(reader);
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
    limit = (size_t)data[1] * 64;
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
