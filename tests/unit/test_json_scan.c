/*
 * Long strings are checked ahead of the parser, but only in texts that are not short. So each text here is
 * read twice: short, where the parser alone tells what it is, and behind enough white space to make it a
 * long one. Both must agree, in every node and every error, however the long one is cut.
 */
#include "json/json_doc.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define BLANKS 520
#define SHORT 512

/* A text that may hold NUL. */
#define TEXT(literal) {literal, sizeof(literal) - 1}

/* What stands around a string. */
static const struct {
    const char *before, *after;
} frames[] = {
    {"\"", "\""},         {"[\"", "\"]"},          {"{\"", "\":1}"},     {"{\"a\":\"", "\"}"},
    {"[ \"", "\" , 2 ]"}, {"[1,\n\"", "\"]"},      {"{\"", "\" : []}"},  {"[\"a\\\\\",\"", "\",\"\\\"\"]"},
    {"[\"", "\""},        {"[\"", ""},             {"{\"", "\",1}"},     {"[\"", "\" x]"},
    {"[\"", "\"\"\"]"},   {"[\"", "\"]]"},         {"[\"", "\":1]"},     {"[\"", "\",,1]"},
    {"1\"", "\""},        {"[1\"", "\"]"},         {"[-\"", "\"]"},      {"[1.\"", "\"]"},
    {"[1e\"", "\"]"},     {"tru\"", "\""},         {"[true\"", "\"]"},   {"[\"x\"\"", "\"]"},
    {"[]\"", "\""},       {"{} \"", "\""},         {"1 \"", "\""},       {"{\"a\" \"", "\"}"},
    {"{\"a\":1 \"", "\":2}"}, {"[1 \"", "\"]"},    {"[,\"", "\"]"},      {"[1,,\"", "\"]"},
    {"{1:\"", "\"}"},     {"{:\"", "\"}"},         {"\\\"", "\""},       {"[\\\"", "\"]"},
    {"[\f\"", "\"]"},     {"[1,\v\"", "\"]"},      {"// \"", "\"\n1"},   {"'\"", "\"'"},
    {"{\"", "\":\"another string that is long enough \\u00e4\"}"},
    {"[\"", "\",\"another string, bad: \\q, and long enough\"]"},
    {"[\"another string, bad: \\ud800, and long enough\",\"", "\"]"},
    {"[\"another string, bad: \n, and long enough\",\"", "\"]"},
};

/* What stands in a string, among other characters. */
static const struct bytes pieces[] = {
    TEXT(""),
    TEXT("\\\"\\\\\\/\\b\\f\\n\\r\\t"),
    TEXT("\\u0041"),
    TEXT("\\u00fC\\uFFFF"),
    TEXT("\\ud83d\\ude39"),
    TEXT("\\\\"),
    TEXT("\\\\\\\\"),
    TEXT("\\\""),
    TEXT("\\\\\\\""),
    TEXT("\\\\u12"),
    TEXT("\x7f"),
    TEXT("\xc3\xa9"),
    TEXT("\xf0\x9f\x98\xb9\xe2\x82\xac"),
    /* ended early, or not ended */
    TEXT("\""),
    TEXT("\\\\\""),
    TEXT("\\"),
    TEXT("\\\\\\"),
    /* bad escapes */
    TEXT("\\q"),
    TEXT("\\'"),
    TEXT("\\U0041"),
    TEXT("\\u"),
    TEXT("\\u1"),
    TEXT("\\u12\\n"),
    TEXT("\\u123"),
    TEXT("\\u123g"),
    TEXT("\\u\""),
    TEXT("\\u12\\\""),
    TEXT("\\\n"),
    TEXT("\\\0"),
    TEXT("\\\xc3\xa9"),
    TEXT("\\u00\xc3\xa9"),
    /* refused beyond the grammar */
    TEXT("\\u0000"),
    TEXT("\\ud83d"),
    TEXT("\\ude39"),
    TEXT("\\ud83d\\n"),
    TEXT("\\ud83d\\ud83d\\ude39"),
    TEXT("\\ud83d\\ude3"),
    TEXT("\\ud83d\\ug000"),
    TEXT("\\ud83d\\u0041"),
    TEXT("\\u0000\\q"),
    TEXT("\\ude39\n"),
    /* bytes that stand for nothing */
    TEXT("\t"),
    TEXT("\x1f"),
    TEXT("\0"),
    TEXT("\xc3"),
    TEXT("\xe2\x82"),
    TEXT("\xf0\x9f\x98"),
    TEXT("\xff"),
    TEXT("\xc0\xaf"),
    TEXT("\xed\xa0\x80"),
};

static const size_t sizes[] = {31, 32, 33, 41};

/* --- reading, and comparing --- */

/* What DOC must be, when it is the short text behind white space. */
static void assert_same(const struct json_doc *doc, const struct json_doc *plain, struct bytes text)
{
    uint32_t error_at = plain->error_at + (plain->error ? BLANKS : 0);

    if (doc->error != plain->error || doc->error_at != error_at)
        fail_msg("%.*s: error %d at %u, not %d at %u", BYTES_ARG(text), doc->error, doc->error_at,
                 plain->error, error_at);
    if (doc->error)
        return;
    assert_int_equal(doc->count, plain->count);
    for (uint32_t i = 0; i < doc->count; i++) {
        struct json_node node = plain->nodes[i];

        node.start += BLANKS;
        node.end += BLANKS;
        assert_memory_equal(&doc->nodes[i], &node, sizeof(node));
    }
}

/* Feed the first SIZE bytes of TEXT from memory that ends there, and is gone afterwards. */
static void feed(struct json_doc *doc, struct bytes text, size_t size)
{
    char *copy = memcpy(alloc_bytes(size), text.data, size);

    json_doc_feed(doc, (struct bytes){copy, size});
    alloc_free(copy);
}

/* TEXT in pieces of STEP bytes, the first of them FIRST bytes long. */
static void read_cut(const struct json_doc *plain, struct bytes text, size_t first, size_t step)
{
    struct json_doc doc;

    json_doc_init(&doc, plain->limits);
    for (size_t size = first; size < text.size; size += step)
        feed(&doc, text, size);
    json_doc_finish(&doc, text);
    assert_same(&doc, plain, text);
    json_doc_deinit(&doc);
}

static void read_whole(const struct json_doc *plain, struct bytes text)
{
    struct json_doc doc;

    json_doc_init(&doc, plain->limits);
    for (int again = 0; again < 2; again++) {
        json_doc_parse(&doc, text);
        assert_same(&doc, plain, text);
    }
    json_doc_deinit(&doc);
}

/* TEXT stands behind the blanks. */
static void check(struct bytes text, struct json_limits limits, bool every_cut)
{
    struct bytes shorter = bytes_skip(text, BLANKS);
    struct json_doc plain;

    assert_true(shorter.size <= SHORT);
    json_doc_init(&plain, limits);
    json_doc_parse(&plain, shorter);
    read_whole(&plain, text);
    read_cut(&plain, text, BLANKS, 1);
    for (size_t cut = 1; every_cut && cut < shorter.size; cut++)
        read_cut(&plain, text, BLANKS + cut, text.size);
    json_doc_deinit(&plain);
}

/* --- making texts --- */

struct draft {
    char text[BLANKS + SHORT];
    size_t size;
};

static void put(struct draft *draft, struct bytes bytes)
{
    assert_true(bytes.size <= sizeof(draft->text) - draft->size);
    memcpy(draft->text + draft->size, bytes.data, bytes.size);
    draft->size += bytes.size;
}

static void put_letters(struct draft *draft, size_t count)
{
    while (count-- > 0)
        put(draft, (struct bytes){&"etaoin shrdlu"[count % 13], 1});
}

/* A string of SIZE bytes inside, with PIECE in its first half, at its beginning, or at its end. */
static struct bytes make(struct draft *draft, size_t frame, struct bytes piece, size_t size, int place)
{
    size_t letters = size - piece.size, before = place == 0 ? letters / 2 : place == 1 ? 0 : letters;

    memset(draft->text, ' ', BLANKS);
    draft->size = BLANKS;
    put(draft, bytes_of(frames[frame].before));
    put_letters(draft, before);
    put(draft, piece);
    put_letters(draft, letters - before);
    put(draft, bytes_of(frames[frame].after));
    return (struct bytes){draft->text, draft->size};
}

/* --- the tests --- */

static void checked_ahead_is_as_parsed(void **state)
{
    struct draft draft;

    for (size_t frame = 0; frame < ARRAY_SIZE(frames); frame++)
        for (size_t i = 0; i < ARRAY_SIZE(pieces) * ARRAY_SIZE(sizes) * 3; i++) {
            struct bytes piece = pieces[i / ARRAY_SIZE(sizes) / 3];
            size_t size = sizes[i / 3 % ARRAY_SIZE(sizes)];

            check(make(&draft, frame, piece, size, i % 3), JSON_LIMITS_DEFAULT, size == 33 && i % 3 == 0);
        }
}

static void limits_hold_at_long_strings(void **state)
{
    struct draft draft;

    for (size_t frame = 0; frame < ARRAY_SIZE(frames); frame++)
        for (uint32_t nodes = 0; nodes < 5; nodes++)
            for (uint32_t depth = 0; depth < 2; depth++)
                check(make(&draft, frame, pieces[1], 40, 0), (struct json_limits){depth, nodes}, true);
}

static void backslashes_are_counted_before_a_quote(void **state)
{
    struct draft draft;
    char run[40];

    memset(run, '\\', sizeof(run));
    for (size_t count = 1; count <= sizeof(run); count++)
        for (int place = 0; place < 3; place++)
            check(make(&draft, 1, (struct bytes){run, count}, 48, place), JSON_LIMITS_DEFAULT, true);
}

/* One byte of each value, at each place of the eight that are looked at together. */
static void every_byte_is_looked_at(void **state)
{
    struct draft draft;

    for (int value = 0; value < 256; value++)
        for (size_t place = 0; place < 9; place++) {
            struct bytes text = make(&draft, 1, BYTES(""), 41, 0);

            draft.text[BLANKS + 2 + (place < 8 ? 16 + place : 40)] = (char)value;
            check(text, JSON_LIMITS_DEFAULT, false);
        }
}

static void long_strings_are_read(void **state)
{
    static const char text[] =
        "{\"a key that is longer than a short string is\":\"and a value of the same kind, plain\",\n"
        "\"a key that has something \\\"escaped\\\" inside\":\"r\\u00f6te \\ud83d\\ude39 \\\\ and more\"}";
    static const char *const expected[] = {
        "a key that is longer than a short string is",
        "and a value of the same kind, plain",
        "a key that has something \"escaped\" inside",
        "r\xc3\xb6te \xf0\x9f\x98\xb9 \\ and more",
    };
    char whole[SHORT + sizeof(text)];
    struct json_doc doc;
    struct arena arena;

    memset(whole, '\n', SHORT);
    memcpy(whole + SHORT, text, sizeof(text));
    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_of(whole)), 0);
    assert_int_equal(doc.count, 1 + ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_int_equal(doc.nodes[i + 1].escaped, i >= 2);
        assert_true(bytes_equal(json_text(&doc, &doc.nodes[i + 1], &arena), bytes_of(expected[i])));
    }
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

/* A document that is finished may be kept for long, or be read into again. */
static void what_is_finished_takes_little(void **state)
{
    char text[1024] = "[0";
    struct json_doc doc;

    for (uint32_t count = 2; count < 400; count++) {
        size_t size = strlen(text);

        text[size] = ']';
        json_doc_init(&doc, JSON_LIMITS_DEFAULT);
        assert_int_equal(json_doc_finish(&doc, (struct bytes){text, size + 1}), 0);
        assert_null(doc.parser);
        assert_int_equal(doc.count, count);
        assert_true(doc.capacity <= (count <= 12 ? 16 : count * 4 / 3 + 1));
        assert_int_equal(json_length(&doc, json_root(&doc)), count - 1);
        assert_int_equal(json_doc_parse(&doc, BYTES("1")), 0);
        assert_int_equal(json_doc_finish(&doc, BYTES("1")), 0);
        assert_int_equal(doc.capacity, 1);
        assert_int_equal(json_doc_parse(&doc, (struct bytes){text, size + 1}), 0);
        assert_int_equal(doc.count, count);
        json_doc_deinit(&doc);
        memcpy(text + size, ",1", 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_ahead_is_as_parsed),
        cmocka_unit_test(limits_hold_at_long_strings),
        cmocka_unit_test(backslashes_are_counted_before_a_quote),
        cmocka_unit_test(every_byte_is_looked_at),
        cmocka_unit_test(long_strings_are_read),
        cmocka_unit_test(what_is_finished_takes_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
