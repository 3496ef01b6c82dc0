/*
 * What is taken out by path and by pattern, what is cut, what is no JSON; and that hostile texts and patterns cost a
 * bounded time.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "record/redact.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ROOM 100000

struct stage {
    struct bytes fields[8], patterns[8];
    struct config_log log;
    struct redact *redact;
    struct json_doc doc;
    struct buffer out;
};

static void add_words(struct bytes *list, uint32_t *count, const char *words)
{
    while (words && *words) {
        size_t size = strcspn(words, " ");

        list[(*count)++] = (struct bytes){words, size};
        words += size + (words[size] == ' ');
    }
}

/* FIELDS and PATTERNS are separated by blanks. */
static void stage_init(struct stage *stage, const char *fields, const char *patterns)
{
    memset(stage, 0, sizeof(*stage));
    stage->log.redact_fields = stage->fields;
    stage->log.redact_patterns = stage->patterns;
    add_words(stage->fields, &stage->log.redact_field_count, fields);
    add_words(stage->patterns, &stage->log.redact_pattern_count, patterns);
    stage->redact = redact_new(&stage->log);
    json_doc_init(&stage->doc, JSON_LIMITS_DEFAULT);
    buffer_init(&stage->out);
}

static void stage_deinit(struct stage *stage)
{
    stage->redact = redact_free(stage->redact);
    json_doc_deinit(&stage->doc);
    buffer_deinit(&stage->out);
}

/* Redacts; the view lives until the next one. */
static struct bytes stage_write(struct stage *stage, struct bytes json, size_t most, bool *ret_cut)
{
    stage->out.size = 0;
    redact_write(stage->redact, json, &stage->doc, most, &stage->out, ret_cut);
    return buffer_bytes(&stage->out);
}

struct redact_case {
    const char *name, *fields, *patterns, *json, *expected;
};

static const struct redact_case cases[] = {
    {"nothing to take out", "", "", "{ \"a\" : [ 1.50 , \"\\u0041\\n\" , { } ] ,\n\"b\":null}",
     "{\"a\":[1.50,\"\\u0041\\n\",{}],\"b\":null}"},
    {"a member", "user", "", "{\"user\":\"x\",\"b\":{\"user\":1}}", "{\"user\":\"[redacted]\",\"b\":{\"user\":1}}"},
    {"a member that stands there twice", "user", "", "{\"user\":1,\"user\":2}",
     "{\"user\":\"[redacted]\",\"user\":\"[redacted]\"}"},
    {"a member with an escaped name", "user", "", "{\"\\u0075ser\":1}", "{\"\\u0075ser\":\"[redacted]\"}"},
    {"a whole tree", "a", "", "{\"a\":{\"b\":[1,2]},\"c\":[]}", "{\"a\":\"[redacted]\",\"c\":[]}"},
    {"a path", "a.b", "", "{\"a\":{\"b\":true,\"c\":1},\"b\":2}", "{\"a\":{\"b\":\"[redacted]\",\"c\":1},\"b\":2}"},
    {"a star in a list", "m.*.c", "", "{\"m\":[{\"c\":1},{\"d\":2}]}", "{\"m\":[{\"c\":\"[redacted]\"},{\"d\":2}]}"},
    {"a star in an object", "m.*.c", "", "{\"m\":{\"x\":{\"c\":1}}}", "{\"m\":{\"x\":{\"c\":\"[redacted]\"}}}"},
    {"a star at the end", "m.*", "", "{\"m\":[1,[2]]}", "{\"m\":[\"[redacted]\",\"[redacted]\"]}"},
    {"lists are passed through", "m.c.t", "", "{\"m\":[{\"c\":[[{\"t\":1}]]}]}",
     "{\"m\":[{\"c\":[[{\"t\":\"[redacted]\"}]]}]}"},
    {"a list as the root", "c", "", "[{\"c\":1},2]", "[{\"c\":\"[redacted]\"},2]"},
    {"a path that leads nowhere", "a.b.c", "", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
    {"two paths", "a b.c", "", "{\"a\":1,\"b\":{\"c\":2}}", "{\"a\":\"[redacted]\",\"b\":{\"c\":\"[redacted]\"}}"},
    {"a pattern", "", "sk-[a-z]+", "{\"a\":\"x sk-abc y sk-d\"}", "{\"a\":\"x [redacted] y [redacted]\"}"},
    {"a pattern in lists and at the root", "", "b", "[\"abc\",[\"b\"]]", "[\"a[redacted]c\",[\"[redacted]\"]]"},
    {"a string as the root", "", "b", "\"abc\"", "\"a[redacted]c\""},
    {"a pattern behind escapes", "", "sk-[a-z]+", "[\"\\u0073k-\\u0061\\n\\\"\"]", "[\"[redacted]\\n\\\"\"]"},
    {"a string without a match stays as it came", "", "b", "[\"\\u0061\\/\"]", "[\"\\u0061\\/\"]"},
    {"names of members stay", "", "sk-[a-z]+", "{\"sk-abc\":1}", "{\"sk-abc\":1}"},
    {"words stay", "", "1|true|null", "[true,null,\"1\"]", "[true,null,\"[redacted]\"]"},
    {"a number", "", "\\b[0-9]{16}\\b", "{\"user\":4111111111111111,\"b\":[4111111111111111 ],\"seed\":411111111111111}",
     "{\"user\":\"[redacted]\",\"b\":[\"[redacted]\"],\"seed\":411111111111111}"},
    {"a part of a number", "", "[0-9]{4}", "[-1.50e+1234,123,0.123,0.1234]", "[\"[redacted]\",123,0.123,\"[redacted]\"]"},
    {"a number as the root", "", "42", "42", "\"[redacted]\""},
    {"a number and a path", "a", "1", "{\"a\":1,\"c\":2,\"d\":1}", "{\"a\":\"[redacted]\",\"c\":2,\"d\":\"[redacted]\"}"},
    {"JSON in a string, with its own escapes", "a", "sk-[a-z]+", "{\"s\":\"{\\\"a\\\":\\\"sk-b \\\\u0073k-c\\\"}\"}",
     "{\"s\":\"{\\\"a\\\":\\\"[redacted] \\\\u0073k-c\\\"}\"}"},
    {"empty matches", "", "x*", "[\"axxb\",\"\",\"c\"]", "[\"a[redacted]b\",\"\",\"c\"]"},
    {"an empty look-ahead", "", "(?=a)", "[\"aaa\"]", "[\"aaa\"]"},
    {"two patterns that overlap", "", "abc bcd", "[\"xabcdx\"]", "[\"x[redacted]x\"]"},
    {"neighbours become one", "", "[0-9]", "[\"a123\"]", "[\"a[redacted]\"]"},
    {"characters, not bytes", "", "^.$", "[\"\xc3\xa4\",\"ab\",\"\xf0\x9f\x94\xa5\"]",
     "[\"[redacted]\",\"ab\",\"[redacted]\"]"},
    {"looking behind", "", "(?<=key=)[a-z]+", "[\"key=abc d\"]", "[\"key=[redacted] d\"]"},
    {"the match is what \\K leaves", "", "key=\\Kabc", "[\"key=abc d\"]", "[\"key=[redacted] d\"]"},
    {"both", "a", "b", "{\"a\":\"b\",\"c\":\"b\"}", "{\"a\":\"[redacted]\",\"c\":\"[redacted]\"}"},
    {"no JSON", "", "", "{\"a\":\"b", "\"{\\\"a\\\":\\\"b\""},
    {"no JSON at all", "", "", "", "\"\""},
    {"no JSON, and there are patterns", "", "sk-[a-z]+", "{\"a\":\"sk-\\u0061bc\"}], broken", "\"[redacted]\""},
    {"no JSON, and there are paths", "a", "", "{\"a\":1", "\"[redacted]\""},
    {"no JSON and no UTF-8", "", "", "a\xff" "b\xc3", "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\""},
};

static void values_are_taken_out(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stage stage;
        struct bytes got;
        bool cut = true;

        stage_init(&stage, cases[i].fields, cases[i].patterns);
        got = stage_write(&stage, bytes_of(cases[i].json), ROOM, &cut);
        if (!bytes_equal(got, bytes_of(cases[i].expected)) || cut)
            fail_msg("%s: %.*s", cases[i].name, BYTES_ARG(got));
        stage_deinit(&stage);
    }
}

/* A match may stand at any place relative to the windows that texts are looked at in. */
static void matches_at_every_place(void **state)
{
    static const char *const fillers[] = {"x", "\xc3\xa4", "\xf0\x9f\x94\xa5"};
    struct buffer json, expected;
    struct stage stage;
    bool cut;

    buffer_init(&json);
    buffer_init(&expected);
    stage_init(&stage, "", "sk-[0-9]+");
    for (unsigned round = 0; round < 3 * 150; round++) {
        json.size = expected.size = 0;
        buffer_append_text(&json, "[\"");
        for (unsigned i = 0; i < round / 3; i++)
            buffer_append_text(&json, fillers[round % 3]);
        buffer_append(&expected, buffer_bytes(&json));
        buffer_append_text(&json, "sk-123456789\xc3\xa4\"]");
        buffer_append_text(&expected, "[redacted]\xc3\xa4\"]");
        assert_true(bytes_equal(stage_write(&stage, buffer_bytes(&json), ROOM, &cut), buffer_bytes(&expected)));
    }
    stage_deinit(&stage);
    buffer_deinit(&json);
    buffer_deinit(&expected);
}

struct length_case {
    const char *json;
    size_t most;
    const char *expected;
    bool cut;
};

static void expect_lengths(const char *patterns, const struct length_case *lengths, size_t count)
{
    struct stage stage;

    stage_init(&stage, "", patterns);
    for (size_t i = 0; i < count; i++) {
        bool cut = !lengths[i].cut;
        struct bytes got = stage_write(&stage, bytes_of(lengths[i].json), lengths[i].most, &cut);

        if (!bytes_equal(got, bytes_of(lengths[i].expected)) || cut != lengths[i].cut)
            fail_msg("%s, %zu: %.*s", lengths[i].json, lengths[i].most, BYTES_ARG(got));
    }
    stage_deinit(&stage);
}

static void what_is_long_is_cut(void **state)
{
    static const struct length_case lengths[] = {
        {"{\"a\":1}", 7, "{\"a\":1}", false},
        {"{ \"a\" : 1 }", 7, "{\"a\":1}", false},
        {"{\"a\":1}", 6, "\"{\\\"a\"", true},
        {"[12345678]", 9, "\"[123456\"", true},
        {"[\"\xc3\xa4\xc3\xa4\xc3\xa4\"]", 9, "\"[\\\"\xc3\xa4\xc3\xa4\"", true},
        {"[\"\xc3\xa4\xc3\xa4\xc3\xa4\"]", 8, "\"[\\\"\xc3\xa4\"", true},
        /* the string was longer than what is kept, so it counts as cut however little is left of it */
        {"[\"sk-abcdefghijklmnop\"]", 14, "\"[\\\"[redacted\"", true},
        {"[\"x sk-abcdefghijklmnop\"]", 14, "\"[\\\"x [redact\"", true},
        {"[1,2]", 2, "\"\"", true},
        {"[1,2]", 0, "\"\"", true},
        {"no sk-abc", 8, "\"[redac\"", true},
    };
    static const struct length_case no_json[] = {
        {"no json", 9, "\"no json\"", false},
        {"no json", 8, "\"no jso\"", true},
        {"\x01\x01\x01", 14, "\"\\u0001\\u0001\"", true},
        {"\xff\xff", 7, "\"\xef\xbf\xbd\"", true},
    };

    expect_lengths("sk-[a-z]+", lengths, ARRAY_SIZE(lengths));
    expect_lengths("", no_json, ARRAY_SIZE(no_json));
}

/* Whatever the length, what is kept is bounded, is JSON, and shows nothing of a secret that crosses its end. */
static void a_secret_across_the_cut(void **state)
{
    struct json_doc again;
    struct stage stage;

    json_doc_init(&again, JSON_LIMITS_DEFAULT);
    stage_init(&stage, "", "SECRET-[0-9]{64}");
    for (size_t most = 2; most < 200; most++) {
        static const char json[] = "{\"a\\u0062\":[\"some text, \\\"\xc3\xa4\\\" SECRET-0123456701234567012345670123456701234"
                                   "56701234567012345670123456701234567012345670123456701234567\",1]}";
        bool cut;
        struct bytes got = stage_write(&stage, BYTES(json), most, &cut);

        assert_true(got.size <= most);
        assert_int_equal(json_doc_parse(&again, got), 0);
        assert_int_equal(bytes_find(got, BYTES("SEC")), got.size);
    }
    json_doc_deinit(&again);
    stage_deinit(&stage);
}

static void fill(struct buffer *out, const char *before, const char *piece, size_t count, const char *behind)
{
    out->size = 0;
    buffer_append_text(out, before);
    for (size_t i = 0; i < count; i++)
        buffer_append_text(out, piece);
    buffer_append_text(out, behind);
}

/* A second is far beyond what is meant, and near nothing that these patterns cost when nobody holds them. */
static void hostile_texts_cost_a_bounded_time(void **state)
{
    static const struct {
        const char *pattern, *piece;
        bool found;     /* nothing of the text may be told */
    } hostile[] = {
        {"(a+)+$", "a", true},
        {"[a-z0-9]+@", "a", true},
        {"(?:a|b)*c", "ab", true},
        {"(.*?,){11}P", "1,", true},
        {"(x+x+)+y", "x", true},
        {"^(([a-z])+.)+[A-Z]([a-z])+$", "a", true},
        {"(?:\\w+\\s?)*:", "word ", true},
        {"a", "b", false},
    };
    struct buffer json;

    buffer_init(&json);
    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        struct stage stage;
        struct bytes got;
        uint64_t began;
        bool cut;

        stage_init(&stage, "", "");
        stage.redact = redact_free(stage.redact);
        stage.patterns[0] = bytes_of(hostile[i].pattern);
        stage.log.redact_pattern_count = 1;
        stage.redact = redact_new(&stage.log);
        fill(&json, "{\"a\":\"", hostile[i].piece, 30000, "!\"}");
        began = clock_us();
        got = stage_write(&stage, buffer_bytes(&json), 65536, &cut);
        if (clock_us() - began > 1000000)
            fail_msg("%s: %llu us", hostile[i].pattern, (unsigned long long)(clock_us() - began));
        assert_true(got.size <= 65536);
        if (!hostile[i].found)
            assert_true(bytes_equal(got, buffer_bytes(&json)));
        stage_deinit(&stage);
    }
    buffer_deinit(&json);
}

static void giving_up_takes_the_whole_string(void **state)
{
    struct buffer json;
    struct stage stage;
    struct bytes got;
    bool cut;

    buffer_init(&json);
    stage_init(&stage, "", "(x+x+)+y");
    fill(&json, "[\"", "x", 5000, "!y\",1]");
    got = stage_write(&stage, buffer_bytes(&json), ROOM, &cut);
    assert_true(bytes_equal(got, BYTES("[\"[redacted]\",1]")));
    /* the next document begins anew */
    got = stage_write(&stage, BYTES("[\"axxyb\"]"), ROOM, &cut);
    assert_true(bytes_equal(got, BYTES("[\"a[redacted]b\"]")));
    stage_deinit(&stage);
    buffer_deinit(&json);
}

static void deep_documents(void **state)
{
    struct buffer json;
    struct stage stage;
    struct bytes got;
    bool cut;

    buffer_init(&json);
    fill(&json, "", "[", 64, "1");
    for (unsigned i = 0; i < 64; i++)
        buffer_append_char(&json, ']');
    stage_init(&stage, "a.b", "");
    assert_true(bytes_equal(stage_write(&stage, buffer_bytes(&json), ROOM, &cut), buffer_bytes(&json)));
    fill(&json, "", "[", 100000, "");
    got = stage_write(&stage, buffer_bytes(&json), ROOM, &cut);
    assert_true(bytes_equal(got, BYTES("\"[redacted]\"")));
    stage_deinit(&stage);
    buffer_deinit(&json);
}

static void patterns_are_checked(void **state)
{
    static const char *const bad[] = {"", "(", "*a", "[z-a]", "a{2,1}", "\xff", "(?<n>a)(?<n>b)", "\\C"};
    struct buffer error;

    buffer_init(&error);
    assert_int_equal(redact_check(BYTES("sk-[A-Za-z0-9]+"), &error), 0);
    assert_int_equal(error.size, 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        error.size = 0;
        assert_int_equal(redact_check(bytes_of(bad[i]), &error), -EINVAL);
        assert_true(error.size > 0 && utf8_valid(buffer_bytes(&error)));
    }
    error.size = 0;
    redact_check(BYTES("ab(c"), &error);
    assert_true(bytes_equal(buffer_bytes(&error), BYTES("missing closing parenthesis, at its byte 4")));
    buffer_deinit(&error);
    assert_null(redact_free(NULL));
}

static const struct {
    const char *name, *fields, *patterns;
    struct bytes text;
    const char *expected;       /* NULL: the text itself */
} texts[] = {
    {"no patterns", "", "", BYTES("sk-abc\xff"), NULL},
    {"paths only", "model", "", BYTES("model"), NULL},
    {"no match", "", "sk-[a-z]+", BYTES("/v1/models"), NULL},
    {"nothing", "", "a*", BYTES(""), NULL},
    {"a match", "", "sk-[a-z]+", BYTES("/v1/sk-abc/x"), "/v1/[redacted]/x"},
    {"two", "", "[0-9]+ key", BYTES("key 1 and 2"), "[redacted] [redacted] and [redacted]"},
    {"all of it", "", ".+", BYTES("m\xc3\xa4"), "[redacted]"},
    {"no UTF-8", "", "b", BYTES("a\xff"), "[redacted]"},
    {"NUL", "", "b", BYTES("a\0b"), NULL},
};

static void short_texts(void **state)
{
    static const char zero[] = "a\0[redacted]";
    struct arena arena = {0};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct stage stage;
        struct bytes got, wanted = texts[i].text;

        if (strcmp(texts[i].name, "NUL") == 0)
            wanted = (struct bytes){zero, sizeof(zero) - 1};
        else if (texts[i].expected)
            wanted = bytes_of(texts[i].expected);
        stage_init(&stage, texts[i].fields, texts[i].patterns);
        got = redact_text(stage.redact, texts[i].text, 256, &arena);
        if (!bytes_equal(got, wanted) || (wanted.data == texts[i].text.data && got.data != wanted.data))
            fail_msg("%s: %.*s", texts[i].name, BYTES_ARG(got));
        stage_deinit(&stage);
    }
    assert_int_equal(redact_text(NULL, BYTES("abc"), 256, &arena).size, 3);
    assert_int_equal(redact_text(NULL, BYTES("ab\xc3\xa4"), 3, &arena).size, 2);
    arena_deinit(&arena);
}

/* Wherever a secret stands in a text that is cut: nothing is told that would not be told of all of it. */
static void a_short_text_cut_in_a_secret(void **state)
{
    static const char secret[] = "jo.smith@example.com";
    const size_t whole = strlen(secret), gone = strlen("[redacted]");
    struct arena arena = {0};
    struct stage stage;
    char text[400], expected[400];

    stage_init(&stage, "", "[a-z.]+@[a-z]+\\.com [\xc3\xa4]{200}");
    for (size_t at = 0; at + whole < 300; at++) {
        size_t size = at + whole <= 256 ? 256 - whole + gone : at + gone < 256 ? at + gone : 256;
        struct bytes got;

        memset(text, '/', sizeof(text));
        memcpy(text + at, secret, whole);
        memset(expected, '/', sizeof(expected));
        if (at < 256)
            memcpy(expected + at, "[redacted]", gone);
        got = redact_text(stage.redact, (struct bytes){text, sizeof(text)}, 256, &arena);
        if (!bytes_equal(got, (struct bytes){expected, size}))
            fail_msg("%zu: %.*s", at, BYTES_ARG(got));
    }
    stage_deinit(&stage);
    arena_deinit(&arena);
}

/* What became longer is cut as well, and no character is. */
static void a_short_text_that_grows(void **state)
{
    struct arena arena = {0};
    struct stage stage;
    struct bytes got;

    stage_init(&stage, "", "a");
    got = redact_text(stage.redact, BYTES("axaxax\xc3\xa4\xc3\xa4"), 9, &arena);
    assert_true(bytes_equal(got, BYTES("[redacted")));
    got = redact_text(stage.redact, BYTES("a\xc3\xa4\xc3\xa4"), 13, &arena);
    assert_true(bytes_equal(got, BYTES("[redacted]\xc3\xa4")));
    got = redact_text(stage.redact, BYTES("xx\xc3\xa4"), 3, &arena);
    assert_true(bytes_equal(got, BYTES("xx")));
    got = redact_text(stage.redact, BYTES("xxxxxx\xff"), 3, &arena);
    assert_true(bytes_equal(got, BYTES("[re")));
    stage_deinit(&stage);
    arena_deinit(&arena);
}

/* Among many numbers time is not used up by those that cannot match. */
static void many_numbers(void **state)
{
    struct buffer json;
    struct stage stage;
    bool cut;

    buffer_init(&json);
    stage_init(&stage, "", "[0-9]{16} sk-[A-Za-z0-9]{20,}");
    fill(&json, "[", "-0.0123,", 50000, "1]");
    assert_true(bytes_equal(stage_write(&stage, buffer_bytes(&json), 4 << 20, &cut), buffer_bytes(&json)));
    stage_deinit(&stage);
    buffer_deinit(&json);
}

/* A text on which a pattern gives up is no text to tell. */
static void a_short_text_that_costs_much(void **state)
{
    struct arena arena = {0};
    struct stage stage;
    uint64_t before;
    char text[5000];

    memset(text, 'x', sizeof(text));
    memcpy(text + sizeof(text) - 2, "!y", 2);
    stage_init(&stage, "", "(x+x+)+y");
    before = clock_ms();
    for (unsigned i = 0; i < 3; i++)
        assert_true(bytes_equal(redact_text(stage.redact, (struct bytes){text, sizeof(text)}, 256, &arena),
                                BYTES("[redacted]")));
    assert_true(clock_ms() - before < 2000);
    assert_int_equal(redact_text(stage.redact, BYTES("short"), 256, &arena).size, 5); /* time of its own */
    stage_deinit(&stage);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_taken_out),
        cmocka_unit_test(matches_at_every_place),
        cmocka_unit_test(what_is_long_is_cut),
        cmocka_unit_test(a_secret_across_the_cut),
        cmocka_unit_test(hostile_texts_cost_a_bounded_time),
        cmocka_unit_test(giving_up_takes_the_whole_string),
        cmocka_unit_test(deep_documents),
        cmocka_unit_test(patterns_are_checked),
        cmocka_unit_test(short_texts),
        cmocka_unit_test(a_short_text_cut_in_a_secret),
        cmocka_unit_test(a_short_text_that_grows),
        cmocka_unit_test(a_short_text_that_costs_much),
        cmocka_unit_test(many_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
