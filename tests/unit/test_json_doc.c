/*
 * JSON read in: the grammar, what is refused beyond it, and spans. Every text is read whole, and again one
 * byte at a time out of memory that moves; both must agree.
 */
#include "json/json_doc.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A text that may hold NUL. */
#define TEXT(literal) {literal, sizeof(literal) - 1}

static void feed_bytewise(struct json_doc *doc, struct bytes text)
{
    char *moved = NULL;

    for (size_t size = 1; size <= text.size; size++) {
        char *next = alloc_bytes(size);

        memcpy(next, text.data, size);
        json_doc_feed(doc, (struct bytes){next, size});
        alloc_free(moved);
        moved = next;
    }
    json_doc_finish(doc, text);
    alloc_free(moved);
}

/* Reads TEXT into DOC, and checks that reading it in pieces comes to the same. */
static int read_both_ways(struct json_doc *doc, struct bytes text, struct json_limits limits)
{
    struct json_doc piecewise;
    int r;

    json_doc_init(doc, limits);
    r = json_doc_parse(doc, text);
    assert_int_equal(r, doc->error);
    assert_true(r == 0 || !json_root(doc));
    assert_true(doc->error_at <= text.size);

    json_doc_init(&piecewise, limits);
    feed_bytewise(&piecewise, text);
    assert_int_equal(piecewise.error, r);
    if (piecewise.error_at != doc->error_at)
        fail_msg("%.*s: offence at %u, in pieces at %u", BYTES_ARG(text), doc->error_at, piecewise.error_at);
    if (r == 0) {
        assert_int_equal(piecewise.count, doc->count);
        assert_memory_equal(piecewise.nodes, doc->nodes, doc->count * sizeof(*doc->nodes));
    }
    json_doc_deinit(&piecewise);
    return r;
}

static int verdict(struct bytes text)
{
    struct json_doc doc;
    int r = read_both_ways(&doc, text, JSON_LIMITS_DEFAULT);

    json_doc_deinit(&doc);
    return r;
}

static void good_texts_are_taken(void **state)
{
    static const struct bytes cases[] = {
        TEXT("[[]   ]"), TEXT("[]"), TEXT("[\"\"]"), TEXT("[\"a\"]"), TEXT("[false]"),
        TEXT("[null, 1, \"1\", {}]"), TEXT("[null]"), TEXT("[1\n]"), TEXT(" [1]"),
        TEXT("[1,null,null,null,2]"), TEXT("[2] "), TEXT("[123e65]"), TEXT("[0e+1]"), TEXT("[0e1]"),
        TEXT("[ 4]"), TEXT("[-0.000000000000000000000000000000000000000000000001]"), TEXT("[20e1]"),
        TEXT("[-0]"), TEXT("[-123]"), TEXT("[-1]"), TEXT("[1E22]"), TEXT("[1E-2]"), TEXT("[1E+2]"),
        TEXT("[123e45]"), TEXT("[123.456e78]"), TEXT("[1e-2]"), TEXT("[1e+2]"), TEXT("[123]"),
        TEXT("[123.456789]"), TEXT("{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"), TEXT("{\"asd\":\"sdf\"}"),
        TEXT("{\"a\":\"b\",\"a\":\"c\"}"), TEXT("{\"a\":\"b\",\"a\":\"b\"}"), TEXT("{}"), TEXT("{\"\":0}"),
        TEXT("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
        TEXT("{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxx\"}], \"id\": \"xxxxxxxxxxx\"}"),
        TEXT("{\"a\":[]}"), TEXT("{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430\" }"),
        TEXT("{\n\"a\": \"b\"\n}"), TEXT("[\"\\u0060\\u012a\\u12AB\"]"), TEXT("[\"\\uD801\\udc37\"]"),
        TEXT("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"), TEXT("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
        TEXT("[\"\\\\u0000\"]"), TEXT("[\"\\\"\"]"), TEXT("[\"a/*b*/c/*d//e\"]"), TEXT("[\"\\\\a\"]"),
        TEXT("[\"\\\\n\"]"), TEXT("[\"\\u0012\"]"), TEXT("[\"\\uFFFF\"]"), TEXT("[\"asd\"]"),
        TEXT("[ \"asd\"]"), TEXT("[\"\\uDBFF\\uDFFF\"]"), TEXT("[\"new\\u00A0line\"]"),
        TEXT("[\"\xf4\x8f\xbf\xbf\"]"), TEXT("[\"\xef\xbf\xbf\"]"), TEXT("[\"\\u002c\"]"),
        TEXT("[\"\xcf\x80\"]"), TEXT("[\"\xf0\x9b\xbf\xbf\"]"), TEXT("[\"asd \"]"), TEXT("\" \""),
        TEXT("[\"\\uD834\\uDd1e\"]"), TEXT("[\"\\u0821\"]"), TEXT("[\"\\u0123\"]"),
        TEXT("[\"\xe2\x80\xa8\"]"), TEXT("[\"\xe2\x80\xa9\"]"), TEXT("[\"\\u0061\\u30af\\u30EA\\u30b9\"]"),
        TEXT("[\"new\\u000Aline\"]"), TEXT("[\"\x7f\"]"), TEXT("[\"\\uA66D\"]"), TEXT("[\"\\u005C\"]"),
        TEXT("[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]"), TEXT("[\"\\u0022\"]"),
        TEXT("[\"\\uDBFF\\uDFFE\"]"), TEXT("[\"\\u200B\"]"), TEXT("[\"\\u2064\"]"), TEXT("[\"\\uFDD0\"]"),
        TEXT("[\"\\uFFFE\"]"), TEXT("[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"), TEXT("[\"a\x7f" "a\"]"),
        TEXT("false"), TEXT("42"), TEXT("-0.1"), TEXT("null"), TEXT("\"asd\""), TEXT("true"), TEXT("\"\""),
        TEXT("[\"a\"]\n"), TEXT("[true]"), TEXT(" [] "), TEXT("\t\r\n {} \n"),
        /* left open by the grammar's readers, taken here: the text is kept, not a number */
        TEXT("[123.456e-789]"), TEXT("[-1e+9999]"), TEXT("[1.5e+9999]"), TEXT("[-123123e100000]"),
        TEXT("[123123e100000]"), TEXT("[123e-10000000]"), TEXT("[-123123123123123123123123123123]"),
        TEXT("[100000000000000000000]"),
        TEXT("[0.4e00669999999999999999999999999999999999999999999999999999999999999999999999969999999006]"),
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (verdict(cases[i]))
            fail_msg("refused: %.*s", BYTES_ARG(cases[i]));
}

static void bad_grammar_is_refused(void **state)
{
    static const struct bytes cases[] = {
        TEXT(""), TEXT(" "), TEXT("[1 true]"), TEXT("[\"\": 1]"), TEXT("[\"\"],"), TEXT("[,1]"),
        TEXT("[1,,2]"), TEXT("[\"x\",,]"), TEXT("[\"x\"]]"), TEXT("[\"\",]"), TEXT("[\"x\""), TEXT("[x"),
        TEXT("[3[4]]"), TEXT("[1:2]"), TEXT("[,]"), TEXT("[-]"), TEXT("[   , \"\"]"), TEXT("[\"a\",\n4\n,1,"),
        TEXT("[1,]"), TEXT("[*]"), TEXT("[\"\""), TEXT("[1,\n1\n,1"), TEXT("[{}"), TEXT("[\"\va\"\\f]"),
        TEXT("[fals]"), TEXT("[nul]"), TEXT("[tru]"), TEXT("123\0"), TEXT("[++1234]"), TEXT("[+1]"),
        TEXT("[+Inf]"), TEXT("[-01]"), TEXT("[-1.0.]"), TEXT("[-2.]"), TEXT("[-NaN]"), TEXT("[.-1]"),
        TEXT("[.2e-3]"), TEXT("[0.1.2]"), TEXT("[0.3e+]"), TEXT("[0.3e]"), TEXT("[0.e1]"), TEXT("[0E+]"),
        TEXT("[0E]"), TEXT("[0e+]"), TEXT("[0e]"), TEXT("[1.0e+]"), TEXT("[1.0e-]"), TEXT("[1.0e]"),
        TEXT("[1 000.0]"), TEXT("[1eE2]"), TEXT("[2.e+3]"), TEXT("[2.e-3]"), TEXT("[2.e3]"), TEXT("[9.e+]"),
        TEXT("[Inf]"), TEXT("[NaN]"), TEXT("[1+2]"), TEXT("[0x1]"), TEXT("[0x42]"), TEXT("[Infinity]"),
        TEXT("[0e+-1]"), TEXT("[-123.123foo]"), TEXT("[-Infinity]"), TEXT("[-foo]"), TEXT("[- 1]"),
        TEXT("[-012]"), TEXT("[-.123]"), TEXT("[-1x]"), TEXT("[1ea]"), TEXT("[1.]"), TEXT("[.123]"),
        TEXT("[1.2a-3]"), TEXT("[1.8011670033376514H-308]"), TEXT("[012]"), TEXT("[00]"), TEXT("[1e1\0]"),
        TEXT("[\"x\", truth]"), TEXT("{[: \"x\"}\n"), TEXT("{\"x\", null}"), TEXT("{\"x\"::\"b\"}"),
        TEXT("{\"a\":\"a\" 123}"), TEXT("{key: 'value'}"), TEXT("{\"a\" b}"), TEXT("{:\"b\"}"),
        TEXT("{\"a\" \"b\"}"), TEXT("{\"a\":"), TEXT("{\"a\""), TEXT("{1:1}"), TEXT("{9999E9999:1}"),
        TEXT("{null:null,null:null}"), TEXT("{\"id\":0,,,,,}"), TEXT("{'a':0}"), TEXT("{\"id\":0,}"),
        TEXT("{\"a\":\"b\"}/**/"), TEXT("{\"a\":\"b\"}/**//"), TEXT("{\"a\":\"b\"}//"),
        TEXT("{\"a\":\"b\"}/"), TEXT("{\"a\":\"b\",,\"c\":\"d\"}"), TEXT("{a: \"b\"}"), TEXT("{\"a\":\"a"),
        TEXT("{ \"foo\" : \"bar\", \"a\" }"), TEXT("{\"a\":\"b\"}#"), TEXT("[\"\\uD800\\\"]"),
        TEXT("[\"\\uD800\\u\"]"), TEXT("[\"\\uD800\\u1\"]"), TEXT("[\"\\uD800\\u1x\"]"), TEXT("[\"\\x00\"]"),
        TEXT("[\"\\\\\\\"]"), TEXT("[\"\\\t\"]"), TEXT("[\"\\\0\"]"), TEXT("[\"\\\"]"), TEXT("[\"\\u00A\"]"),
        TEXT("[\"\\uD834\\uDd\"]"), TEXT("[\"\\uD800\\uD800\\x\"]"), TEXT("[\"\\a\"]"), TEXT("[\"\\uqqqq\"]"),
        TEXT("[\\u0020\"asd\"]"), TEXT("[\\n]"), TEXT("\""), TEXT("['single quote']"), TEXT("abc"),
        TEXT("[\"\\"), TEXT("[\"a\0a\"]"), TEXT("[\"new\nline\"]"), TEXT("[\"\t\"]"), TEXT("\"\\UA66D\""),
        TEXT("\"\"x"), TEXT("<.>"), TEXT("[<null>]"), TEXT("[1]x"), TEXT("[1]]"), TEXT("[\"asd]"),
        TEXT("aM-eM-%"), TEXT("[True]"), TEXT("1]"), TEXT("{\"x\": true,"), TEXT("[][]"), TEXT("]"),
        TEXT("[1]2"), TEXT("1 2"), TEXT("{}{}"), TEXT("{}\"abc"), TEXT("{}nu"), TEXT("{}1"), TEXT("[\0]"),
        TEXT("2@"), TEXT("{}}"), TEXT("{\"\":"), TEXT("{\"a\":/*comment*/\"b\"}"),
        TEXT("{\"a\": true} \"x\""), TEXT("['"), TEXT("[,"), TEXT("[{"), TEXT("[\"a"), TEXT("[\"a\""),
        TEXT("{"), TEXT("{]"), TEXT("{,"), TEXT("{["), TEXT("{\"a"), TEXT("{'a'"), TEXT("[\"\\{[\"\\{[\"\\{"),
        TEXT("*"), TEXT("{\"a\":\"b\"}#{}"), TEXT("[\\u000A\"\"]"), TEXT("[1"), TEXT("[ false, nul"),
        TEXT("[ true, fals"), TEXT("[ false, tru"), TEXT("{\"asd\":\"asd\""), TEXT("[\xe2\x81\xa0]"),
        TEXT("[\f]"), TEXT("[1\v,2]"), TEXT("\f1"), TEXT("1\f"), TEXT("{}\v"), TEXT("{\"a\"\f:1}"),
        TEXT("{\"a\":\v1}"), TEXT("[1\f]"), TEXT("[\xc2\xa0]"), TEXT("\xef\xbb\xbf"), TEXT("\xef\xbb\xbf{}"),
        TEXT("[\xef\xbc\x91]"), TEXT("[\xc3\xa9]"), TEXT("nul"), TEXT("-"), TEXT("1."), TEXT("1e"),
        TEXT("tru "), TEXT("--1"), TEXT("&\xc3\xa5"), TEXT("[\"\x1f\"]"), TEXT("// x\n1"), TEXT("/* x */1"),
        TEXT("["),
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (verdict(cases[i]) != JSON_E_SYNTAX)
            fail_msg("case %zu: %.*s", i, BYTES_ARG(cases[i]));
}

static void bad_characters_are_refused(void **state)
{
    static const struct {
        struct bytes text;
        int error;
        uint32_t at;
    } cases[] = {
        {TEXT("[\"\\uDADA\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\uD888\\u1234\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\uD800\\n\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\uDd1ea\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\uD800\\uD800\\n\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\ud800\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\ud800abc\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"ab\\uDd1e\\uD834\"]"), JSON_E_UTF8, 4},
        {TEXT("[\"\\uDFAA\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\\ud83d\\ude39\\ud83d\"]"), JSON_E_UTF8, 14},
        {TEXT("{\"\\ud800\":1}"), JSON_E_UTF8, 2},
        {TEXT("[\"\xff\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\x81\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xe9\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xe6\x97\xa5\xd1\x88\xfa\"]"), JSON_E_UTF8, 7},
        {TEXT("[\"\xf4\xbf\xbf\xbf\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xc0\xaf\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xe0\xff\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xed\xa0\x80\"]"), JSON_E_UTF8, 2},
        {TEXT("[\"\xe0\x80\xaf\"]"), JSON_E_UTF8, 2},
        {TEXT("[1\xe5]"), JSON_E_UTF8, 2},
        {TEXT("[1e1\xe5]"), JSON_E_UTF8, 4},
        {TEXT("{\"\xb9\":\"0\",}"), JSON_E_UTF8, 2},
        {TEXT("[a\xe5]"), JSON_E_SYNTAX, 1},
        {TEXT("[\"\\u\xe5\"]"), JSON_E_UTF8, 4},
        {TEXT("\xff\xfe[\0\"\0]\0"), JSON_E_UTF8, 0},
        {TEXT("\0[\0\"\0]"), JSON_E_SYNTAX, 0},
        {TEXT("\"abc\xe2\x82"), JSON_E_UTF8, 4},
        {TEXT("\xef\xbb"), JSON_E_UTF8, 0},
        {TEXT("[\"\\u0000\"]"), JSON_E_NUL, 2},
        {TEXT("[\"a\\n\\u0000\"]"), JSON_E_NUL, 5},
        {TEXT("{\"\\u0000\":1}"), JSON_E_NUL, 2},
        {TEXT("[\"\\u0000\",\"\xff\"]"), JSON_E_NUL, 2},
        {TEXT("[,\"\xff\"]"), JSON_E_SYNTAX, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;

        assert_int_equal(read_both_ways(&doc, cases[i].text, JSON_LIMITS_DEFAULT), cases[i].error);
        assert_int_equal(doc.error_at, cases[i].at);
        json_doc_deinit(&doc);
    }
}

static void the_place_of_an_error_is_told(void **state)
{
    static const struct {
        struct bytes text;
        uint32_t at;
    } cases[] = {
        {TEXT("{\"a\": nul}"), 6},       {TEXT("{\"a\": 1 \"b\": 2}"), 8}, {TEXT("[1, 2,, 3]"), 6},
        {TEXT("[1, 2, ]"), 7},           {TEXT("{\"a\" 1}"), 5},           {TEXT("[\"abc\ndef\"]"), 5},
        {TEXT("[\"abc\\qdef\"]"), 6},    {TEXT("[1] x"), 4},               {TEXT("[1\f]"), 2},
        {TEXT("{\"a\": \"unfinished"), 17}, {TEXT("[1"), 2},               {TEXT("{'a': 1}"), 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;

        assert_int_equal(read_both_ways(&doc, cases[i].text, JSON_LIMITS_DEFAULT), JSON_E_SYNTAX);
        assert_int_equal(doc.error_at, cases[i].at);
        json_doc_deinit(&doc);
    }
}

static void limits_hold(void **state)
{
    static const struct {
        struct bytes text;
        uint32_t depth, nodes;
        int error;
    } cases[] = {
        {TEXT("[[[1]]]"), 3, 100, 0},
        {TEXT("[[[[]]]]"), 3, 100, JSON_E_DEPTH},
        {TEXT("{\"a\":{\"b\":{}}}"), 2, 100, JSON_E_DEPTH},
        {TEXT("1"), 0, 1, 0},
        {TEXT("[]"), 0, 1, JSON_E_DEPTH},
        {TEXT("[1,2,3]"), 1, 4, 0},
        {TEXT("[1,2,3]"), 1, 3, JSON_E_SIZE},
        {TEXT("{\"a\":1}"), 1, 3, 0},
        {TEXT("{\"a\":1}"), 1, 2, JSON_E_SIZE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_limits limits = {.depth = cases[i].depth, .nodes = cases[i].nodes};
        struct json_doc doc;

        assert_int_equal(read_both_ways(&doc, cases[i].text, limits), cases[i].error);
        json_doc_deinit(&doc);
    }
    assert_string_equal(json_error_text(JSON_E_DEPTH), "nested too deeply");
}

static void endless_brackets_end_soon(void **state)
{
    size_t size = 10000000;
    char *text = alloc_bytes(size);
    struct json_doc doc;

    for (int i = 0; i < 2; i++) {
        for (size_t at = 0; at < size; at++)
            text[at] = i ? "{\"\":"[at % 4] : '[';
        json_doc_init(&doc, JSON_LIMITS_DEFAULT);
        assert_int_equal(json_doc_feed(&doc, (struct bytes){text, 1460}), JSON_E_DEPTH);
        assert_int_equal(json_doc_feed(&doc, (struct bytes){text, size}), JSON_E_DEPTH);
        assert_true(doc.count <= 2 * 64 + 1);
        assert_int_equal(json_doc_parse(&doc, (struct bytes){text, size}), JSON_E_DEPTH);
        json_doc_deinit(&doc);
    }
    alloc_free(text);
}

/* Would take hours if each piece made the parser begin the token anew. */
static void long_tokens_in_small_pieces_take_linear_time(void **state)
{
    static const char *const frames[][2] = {
        {"{\"a\":\"", "\"}"}, {"[", "]"}, {"{\"a\":", "}"}, {"[\"\\", "\"]"}};
    static const char fillers[] = {'}', '7', ' ', '\\'};
    size_t size = 1000000;
    char *text = alloc_bytes(size + 100);

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        size_t head = strlen(frames[i][0]), tail = strlen(frames[i][1]);
        struct json_doc doc;

        memcpy(text, frames[i][0], head);
        memset(text + head, fillers[i], size + 1);
        text[head + size - 1] = '1'; /* so that white space has a value behind it, and backslashes a letter */
        text[head + size - 2] = fillers[i] == '\\' ? 'n' : text[head + size - 2];
        memcpy(text + head + size, frames[i][1], tail);
        json_doc_init(&doc, JSON_LIMITS_DEFAULT);
        for (size_t at = 1; at < head + size + tail; at++)
            assert_int_equal(json_doc_feed(&doc, (struct bytes){text, at}), 0);
        assert_int_equal(json_doc_finish(&doc, (struct bytes){text, head + size + tail}), 0);
        json_doc_deinit(&doc);
    }
    alloc_free(text);
}

static void spans_and_nodes_are_exact(void **state)
{
    static const struct {
        const char *raw;
        uint32_t start, next;
        enum json_type type;
        uint8_t escaped;
        uint16_t depth;
    } expected[] = {
        {"{ \"a\" : -1e3, \"b\\nc\":[true,{},\"x\"],\n\"d\":null,\"e\":false}", 1, 12, JSON_OBJECT, 0, 0},
        {"\"a\"", 3, 2, JSON_KEY, 0, 1},
        {"-1e3", 9, 3, JSON_NUMBER, 0, 1},
        {"\"b\\nc\"", 15, 4, JSON_KEY, 1, 1},
        {"[true,{},\"x\"]", 22, 8, JSON_ARRAY, 0, 1},
        {"true", 23, 6, JSON_TRUE, 0, 2},
        {"{}", 28, 7, JSON_OBJECT, 0, 2},
        {"\"x\"", 31, 8, JSON_STRING, 0, 2},
        {"\"d\"", 37, 9, JSON_KEY, 0, 1},
        {"null", 41, 10, JSON_NULL, 0, 1},
        {"\"e\"", 46, 11, JSON_KEY, 0, 1},
        {"false", 50, 12, JSON_FALSE, 0, 1},
    };
    struct json_doc doc;

    assert_int_equal(
        read_both_ways(&doc, BYTES(" { \"a\" : -1e3, \"b\\nc\":[true,{},\"x\"],\n\"d\":null,\"e\":false} "),
                       JSON_LIMITS_DEFAULT),
        0);
    assert_int_equal(doc.count, ARRAY_SIZE(expected));
    for (uint32_t i = 0; i < doc.count; i++) {
        const struct json_node *node = &doc.nodes[i];

        assert_true(bytes_equal(json_raw(&doc, node), bytes_of(expected[i].raw)));
        assert_int_equal(node->start, expected[i].start);
        assert_int_equal(node->next, expected[i].next);
        assert_int_equal(node->type, expected[i].type);
        assert_int_equal(node->escaped, expected[i].escaped);
        assert_int_equal(node->depth, expected[i].depth);
    }
    json_doc_deinit(&doc);
}

/* Texts are read one after the other by the same document, whatever became of the one before. */
static void documents_are_reused(void **state)
{
    static const struct {
        const char *text;
        int error;
        uint32_t count;
    } cases[] = {
        {"[1,2]", 0, 3}, {"{\"a\":1}", 0, 3}, {"{\"a\":", JSON_E_SYNTAX, 0}, {"[]", 0, 1},
        {"", JSON_E_SYNTAX, 0}, {"7", 0, 1},  {"[8,\"cut", JSON_E_SYNTAX, 0}, {"\"s\"", 0, 1},
        {"{}", 0, 1}, {"{} 1", JSON_E_SYNTAX, 0}, {"null", 0, 1}, {" ", JSON_E_SYNTAX, 0}, {"12", 0, 1},
        {"34", 0, 1}, {"]", JSON_E_SYNTAX, 0}, {"[\"\\u0000\"]", JSON_E_NUL, 0}, {"true", 0, 1},
        {",1", JSON_E_SYNTAX, 0}, {"{\"x\":[\"\\n\"]}", 0, 4},
    };
    struct json_doc doc;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_feed(&doc, BYTES("[\"begun"));
    for (size_t i = 0; i < 3 * ARRAY_SIZE(cases); i++) {
        size_t at = i * 7 % ARRAY_SIZE(cases);

        assert_int_equal(json_doc_parse(&doc, bytes_of(cases[at].text)), cases[at].error);
        if (!cases[at].error)
            assert_int_equal(doc.count, cases[at].count);
        assert_true(!json_root(&doc) == (cases[at].error != 0));
    }
    json_doc_deinit(&doc);
    json_doc_deinit(&doc);
}

/* What is read in another document's memory is as if it had been read alone, and outlives what is read there next. */
static void scratch_is_lent(void **state)
{
    static const char *const texts[] = {
        "{\"a\":[1,2,{\"b\":\"c\\n\"}]}", "[", "\"s\"", "{\"a\":\"\\ud800\"}", "", "[1,2,3] x", "null",
        "[[],[[]],{},{\"key\":{}}]",
    };
    struct json_doc scratch, lent[ARRAY_SIZE(texts)];
    char many[20000];

    json_doc_init(&scratch, JSON_LIMITS_DEFAULT);
    for (size_t i = 0; i < sizeof(many); i += 2)
        memcpy(many + i, "1,", 2);
    many[0] = '[';
    memcpy(many + 1, "1", 1);
    many[sizeof(many) - 1] = ']';
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        json_doc_init(&lent[i], JSON_LIMITS_DEFAULT);
        json_doc_read(&lent[i], &scratch, bytes_of(texts[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct json_doc alone;

        json_doc_init(&alone, JSON_LIMITS_DEFAULT);
        assert_int_equal(json_doc_finish(&alone, bytes_of(texts[i])), lent[i].error);
        assert_int_equal(alone.complete, lent[i].complete);
        assert_int_equal(alone.error_at, lent[i].error_at);
        assert_int_equal(alone.error ? 0 : alone.count, lent[i].count);
        if (lent[i].count)
            assert_memory_equal(alone.nodes, lent[i].nodes, alone.count * sizeof(*alone.nodes));
        json_doc_deinit(&alone);
        json_doc_deinit(&lent[i]);
    }
    assert_int_equal(json_doc_read(&lent[0], &scratch, (struct bytes){many, sizeof(many)}), 0);
    assert_int_equal(lent[0].count, sizeof(many) / 2);
    assert_int_equal(scratch.capacity, 0);
    json_doc_deinit(&lent[0]);
    json_doc_deinit(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_are_taken),
        cmocka_unit_test(bad_grammar_is_refused),
        cmocka_unit_test(bad_characters_are_refused),
        cmocka_unit_test(the_place_of_an_error_is_told),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(endless_brackets_end_soon),
        cmocka_unit_test(long_tokens_in_small_pieces_take_linear_time),
        cmocka_unit_test(spans_and_nodes_are_exact),
        cmocka_unit_test(documents_are_reused),
        cmocka_unit_test(scratch_is_lent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
