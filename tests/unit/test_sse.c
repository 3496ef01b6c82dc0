/*
 * Events out of a stream: the same however it is cut.
 */
#include "upstream/sse.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LIMIT 64
#define TEXT(literal) {(literal), sizeof(literal) - 1}

/* What comes out is written as "name=data;" for each event, then how it ended. */
static const struct {
    const char *name;
    struct bytes in;
    const char *out;
} vectors[] = {
    {"nothing", TEXT(""), "end"},
    {"one", TEXT("data: a\n\n"), "=a;end"},
    {"two", TEXT("data: a\n\ndata: b\n\n"), "=a;=b;end"},
    {"no space", TEXT("data:a\n\n"), "=a;end"},
    {"two spaces", TEXT("data:  a\n\n"), "= a;end"},
    {"crlf", TEXT("data: a\r\n\r\ndata: b\r\n\r\n"), "=a;=b;end"},
    {"cr", TEXT("data: a\r\rdata: b\r\r"), "=a;=b;end"},
    {"mixed ends", TEXT("data: a\r\n\ndata: b\n\r\ndata: c\r\n\rdata: d\n\r"), "=a;=b;=c;=d;end"},
    {"cr before lf is one end", TEXT("data: a\r\ndata: b\r\n\r\n"), "=a\nb;end"},
    {"several lines", TEXT("data: {\ndata: \"a\": 1\ndata: }\n\n"), "={\n\"a\": 1\n};end"},
    {"lines with other fields between", TEXT("data: a\nid: 3\n: c\ndata: b\nretry: 5\n\n"), "=a\nb;end"},
    {"empty data", TEXT("data:\n\ndata: a\n\n"), "=a;end"},
    {"two empty data lines", TEXT("data:\ndata:\n\n"), "=\n;end"},
    {"data without colon", TEXT("data\n\n"), "end"},
    {"data, then one without colon", TEXT("data: a\ndata\n\n"), "=a\n;end"},
    {"comment", TEXT(": ping\n\ndata: a\n\n:\n\n: x\ndata: b\n: y\n\n"), "=a;=b;end"},
    {"only id, retry, event", TEXT("id: 1\n\nretry: 10\n\nevent: x\n\ndata: a\n\n"), "=a;end"},
    {"name", TEXT("event: error\ndata: a\n\ndata: b\n\n"), "error=a;=b;end"},
    {"name after data", TEXT("data: a\nevent: message\n\n"), "message=a;end"},
    {"last name counts", TEXT("event: a\nevent: b\ndata: a\n\n"), "b=a;end"},
    {"name without value", TEXT("event: a\nevent\ndata: a\n\n"), "=a;end"},
    {"long name", TEXT("event: 1234567890123456789012345678901234567890\ndata: a\n\n"),
     "12345678901234567890123456789012=a;end"},
    {"old llama.cpp", TEXT("data: a\n\nerror: {\"code\":500}\n\n"), "=a;error={\"code\":500};end"},
    {"empty error", TEXT("error:\n\n"), "end"},
    {"unknown fields", TEXT("dat: x\ndatas: y\n data: z\nfoo\nData: q\n\ndata: a\n\n"), "=a;end"},
    {"blank lines", TEXT("\n\n\r\n\r\ndata: a\n\n\n\n"), "=a;end"},
    {"mark", TEXT("\xef\xbb\xbf" "data: a\n\n"), "=a;end"},
    {"two marks", TEXT("\xef\xbb\xbf\xef\xbb\xbf" "data: a\n\ndata: b\n\n"), "=b;end"},
    {"late mark", TEXT("\n\xef\xbb\xbf" "data: a\n\ndata: b\n\n"), "=b;end"},
    {"only a mark", TEXT("\xef\xbb\xbf"), "end"},
    {"part of a mark", TEXT("\xef\xbb" "data: a\n\n"), "end"},
    {"utf-8", TEXT("data: \xe2\x82\xac\xf0\x9f\x94\xa5 gr\xc3\xbc\xc3\x9f\n\n"),
     "=\xe2\x82\xac\xf0\x9f\x94\xa5 gr\xc3\xbc\xc3\x9f;end"},
    {"tabs and controls", TEXT("data: a\tb\x01\x0f\x10\x1f\t\t\n\n"), "=a\tb\x01\x0f\x10\x1f\t\t;end"},
    {"bad utf-8", TEXT("data: a\n\ndata: \xff\n\ndata: b\n\n"), "=a;bad"},
    {"cut utf-8", TEXT("data: \xe2\x82\n\n"), "bad"},
    {"surrogate", TEXT("data: 12345678\xed\xa0\x80\n\n"), "bad"},
    {"nul", TEXT("data: a\0b\n\n"), "bad"},
    {"nul in the second line", TEXT("data: aaaaaaaaa\ndata: 12345678\0\n\n"), "bad"},
    {"bad name", TEXT("event: \xff\ndata: a\n\n"), "bad"},
    {"bad bytes where nobody looks", TEXT(": \xff\0\nid: \xff\n\xff\ndata: a\n\n"), "=a;end"},
    {"no blank line at the end", TEXT("data: a\n\ndata: b\n"), "=a;=b;end"},
    {"no blank line after cr", TEXT("data: b\r"), "=b;end"},
    {"half a line at the end", TEXT("data: a\n\ndata: b"), "=a;end"},
    {"half a line after a whole one", TEXT("data: a\ndata: b"), "end"},
    {"half a blank line", TEXT("data: a\n\r"), "=a;end"},
    {"as large as can be", TEXT("data: 1234567890123456789012345678901234567890123456789012345678\n\n"),
     "=1234567890123456789012345678901234567890123456789012345678;end"},
    {"one byte more", TEXT("data: a\n\ndata: 12345678901234567890123456789012345678901234567890123456789\n\n"),
     "=a;large"},
    {"large without end", TEXT("data: 12345678901234567890123456789012345678901234567890123456789"), "large"},
    {"large together", TEXT("data: 1234567890123456789012345678901234\ndata: 1234567890123456789012345678901\n\n"),
     "large"},
    {"large comment", TEXT(": 123456789012345678901234567890123456789012345678901234567890123\n\n"), "large"},
    {"many small events", TEXT("data: 12345678901234567890\n\ndata: 12345678901234567890\n\n"
                                "data: 12345678901234567890\n\ndata: 12345678901234567890\n\n"),
     "=12345678901234567890;=12345678901234567890;=12345678901234567890;=12345678901234567890;end"},
};

static void note(struct buffer *out, const struct sse_event *event)
{
    assert_true(event->data.size > 0);
    buffer_append(out, event->name);
    buffer_append_char(out, '=');
    buffer_append(out, event->data);
    buffer_append_char(out, ';');
}

/* The piece lives only as long as it must. */
static int feed(struct sse *sse, struct bytes piece, struct buffer *out)
{
    char *copy = alloc_bytes(piece.size);
    struct bytes input = {copy, piece.size};
    struct sse_event event;
    int r;

    if (piece.size)
        memcpy(copy, piece.data, piece.size);
    while ((r = sse_next(sse, &input, &event)) == SSE_EVENT)
        note(out, &event);
    if (r == SSE_MORE)
        assert_int_equal(input.size, 0);
    alloc_free(copy);
    return r;
}

/* FIRST bytes, then pieces of STEP. */
static void run(struct bytes in, size_t first, size_t step, struct buffer *out)
{
    struct sse_event event;
    struct sse sse;
    int r = SSE_MORE;

    buffer_init(out);
    sse_init(&sse, LIMIT);
    while (in.size && r == SSE_MORE) {
        size_t size = first < in.size ? first : in.size;

        r = feed(&sse, (struct bytes){in.data, size}, out);
        in = bytes_skip(in, size);
        first = step;
    }
    if (r == SSE_MORE && sse_end(&sse, &event) == SSE_EVENT)
        note(out, &event);
    buffer_append_text(out, r == SSE_MORE ? "end" : r == SSE_E_BAD ? "bad" : "large");
    sse_deinit(&sse);
}

static void check(size_t i, size_t first, size_t step)
{
    struct buffer out;

    run(vectors[i].in, first, step, &out);
    if (!bytes_equal(buffer_bytes(&out), bytes_of(vectors[i].out)))
        fail_msg("%s, cut at %zu and each %zu: %.*s", vectors[i].name, first, step, BYTES_ARG(buffer_bytes(&out)));
    buffer_deinit(&out);
}

static void events_come_whole(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
        check(i, vectors[i].in.size + 1, 1);
}

static void events_come_byte_by_byte(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
        for (size_t step = 1; step < 9; step++)
            check(i, step, step);
}

static void events_come_cut_in_two(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
        for (size_t at = 1; at < vectors[i].in.size; at++)
            check(i, at, vectors[i].in.size);
}

static void a_whole_event_is_not_copied(void **state)
{
    struct bytes all = BYTES(": x\n\nevent: a\ndata: {\"b\":1}\n\n"), input = all;
    struct sse_event event;
    struct sse sse;

    sse_init(&sse, LIMIT);
    assert_int_equal(sse_next(&sse, &input, &event), SSE_EVENT);
    assert_true(event.data.data >= all.data && event.data.data < all.data + all.size);
    assert_int_equal(sse_next(&sse, &input, &event), SSE_MORE);
    assert_null(sse.held.data);
    assert_null(sse.joined.data);
    sse_deinit(&sse);
}

/* A megabyte a byte at a time must take a time that grows with its size, not with its square. */
static void long_lines_take_linear_time(void **state)
{
    enum { SIZE = 1 << 20 };
    struct sse_event event;
    struct sse sse;
    struct bytes input;

    sse_init(&sse, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        input = i < 6 ? (struct bytes){&"data: "[i], 1} : BYTES("x");
        assert_int_equal(sse_next(&sse, &input, &event), SSE_MORE);
    }
    input = BYTES("\n\n");
    assert_int_equal(sse_next(&sse, &input, &event), SSE_EVENT);
    assert_int_equal(event.data.size, SIZE - 6);
    assert_int_equal(sse_next(&sse, &input, &event), SSE_MORE);
    assert_in_range(sse.held.capacity, 0, 16384); /* and the memory went */
    sse_deinit(&sse);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_whole),
        cmocka_unit_test(events_come_byte_by_byte),
        cmocka_unit_test(events_come_cut_in_two),
        cmocka_unit_test(a_whole_event_is_not_copied),
        cmocka_unit_test(long_lines_take_linear_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
