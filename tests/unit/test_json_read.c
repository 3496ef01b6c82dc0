/*
 * Values taken out of a parsed text: members and paths, decoded strings, numbers.
 */
#include "json/json_doc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define TEXT(literal) {literal, sizeof(literal) - 1}

static int parse(struct json_doc *doc, struct bytes text)
{
    json_doc_init(doc, JSON_LIMITS_DEFAULT);
    return json_doc_parse(doc, text);
}

static void values_are_found(void **state)
{
    struct json_doc doc;
    const struct json_node *root, *choice, *key;

    assert_int_equal(parse(&doc, BYTES("{\"choices\":[{\"delta\":{\"content\":\"hi\"}},[[],[7]]],"
                                       "\"m\":1,\"m\":2,\"\\u006d\":3,\"e\":{},\"\":4}")),
                     0);
    root = json_root(&doc);
    assert_true(json_text_is(&doc, json_at(&doc, root, "choices.0.delta.content"), BYTES("hi")));
    assert_true(bytes_equal(json_raw(&doc, json_at(&doc, root, "choices.1.1.0")), BYTES("7")));
    assert_null(json_at(&doc, root, "choices.2"));
    assert_null(json_at(&doc, root, "choices.-1"));
    assert_null(json_at(&doc, root, "choices.x"));
    assert_null(json_at(&doc, root, "choices.0.delta.content.x"));
    assert_null(json_at(&doc, root, "choices.1.0.0"));
    assert_null(json_at(&doc, NULL, "choices"));
    assert_true(bytes_equal(json_raw(&doc, json_member(&doc, root, BYTES("m"))), BYTES("3")));
    assert_true(bytes_equal(json_raw(&doc, json_member(&doc, root, BYTES(""))), BYTES("4")));
    assert_null(json_member(&doc, root, BYTES("mm")));
    assert_null(json_member(&doc, json_member(&doc, root, BYTES("m")), BYTES("m")));

    assert_int_equal(json_length(&doc, root), 6);
    assert_int_equal(json_length(&doc, json_at(&doc, root, "e")), 0);
    assert_int_equal(json_length(&doc, json_at(&doc, root, "choices")), 2);
    choice = json_first(&doc, json_at(&doc, root, "choices"));
    assert_true(json_is(choice, JSON_OBJECT));
    assert_true(json_is(json_after(&doc, json_at(&doc, root, "choices"), choice), JSON_ARRAY));
    key = json_first(&doc, root);
    assert_true(json_text_is(&doc, key, BYTES("choices")));
    assert_true(json_is(json_value(&doc, key), JSON_ARRAY));
    assert_null(json_value(&doc, root));
    assert_null(json_first(&doc, NULL));
    assert_null(json_after(&doc, NULL, key));
    assert_null(json_after(&doc, root, NULL));
    assert_int_equal(json_raw(&doc, NULL).size, 0);
    json_doc_deinit(&doc);
}

static void strings_are_decoded(void **state)
{
    static const struct {
        struct bytes text, decoded;
    } cases[] = {
        {TEXT("\"\""), TEXT("")},
        {TEXT("\"plain gr\xc3\xbc\xc3\x9f\""), TEXT("plain gr\xc3\xbc\xc3\x9f")},
        {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TEXT("\"\\/\b\f\n\r\t")},
        {TEXT("\"a\\u0041b\\u00e9\\u20AC\\uD83D\\uDD25!\""),
         TEXT("aAb\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa5!")},
        {TEXT("\"\\u0001\\u007f\\u0080\\u07ff\\u0800\\uffff\\ud800\\udc00\\udbff\\udfff\""),
         TEXT("\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {TEXT("\"\\\\u0000 \\\\\\\\\""), TEXT("\\u0000 \\\\")},
    };
    struct arena arena;

    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;
        const struct json_node *root;
        struct bytes longer = arena_printf(&arena, "%.*sx", BYTES_ARG(cases[i].decoded));

        assert_int_equal(parse(&doc, cases[i].text), 0);
        root = json_root(&doc);
        assert_true(bytes_equal(json_text(&doc, root, &arena), cases[i].decoded));
        assert_true(json_text_is(&doc, root, cases[i].decoded));
        assert_false(json_text_is(&doc, root, longer));
        if (cases[i].decoded.size)
            assert_false(json_text_is(&doc, root, (struct bytes){longer.data, cases[i].decoded.size - 1}));
        json_doc_deinit(&doc);
    }
    arena_deinit(&arena);
}

static void whole_numbers_are_read(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"-0.000e99999999999999999999", 0, 0},
        {"0e-5", 0, 0},
        {"1", 0, 1},
        {"-17", 0, -17},
        {"1.0", 0, 1},
        {"1e2", 0, 100},
        {"1E+2", 0, 100},
        {"1.5e1", 0, 15},
        {"1.5e3", 0, 1500},
        {"100e-2", 0, 1},
        {"120.00e-1", 0, 12},
        {"0.001e3", 0, 1},
        {"0.0000000000000000000000001e25", 0, 1},
        {"10000000000000000000000000e-25", 0, 1},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775.807e3", 0, INT64_MAX},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"1e19", -ERANGE, 0},
        {"1e20", -ERANGE, 0},
        {"1e400", -ERANGE, 0},
        {"1e99999999999999999999", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0},
        {"1.5", -EINVAL, 0},
        {"1e-1", -EINVAL, 0},
        {"1e-99999999999999999999", -EINVAL, 0},
        {"12.5e0", -EINVAL, 0},
        {"\"1\"", -EINVAL, 0},
        {"true", -EINVAL, 0},
        {"[1]", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;
        int64_t value = 0;

        assert_int_equal(parse(&doc, bytes_of(cases[i].text)), 0);
        assert_int_equal(json_i64(&doc, json_root(&doc), &value), cases[i].result);
        assert_true(value == cases[i].value);
        json_doc_deinit(&doc);
    }
    assert_int_equal(json_i64(NULL, NULL, NULL), -EINVAL);
}

static void doubles_are_read(void **state)
{
    static const struct {
        const char *text;
        int result;
        double value;
    } cases[] = {
        {"0", 0, 0},
        {"0.1", 0, 0.1},
        {"-1.5e-3", 0, -1.5e-3},
        {"1e308", 0, 1e308},
        {"1e-400", 0, 0},
        {"1e400", -ERANGE, 7},
        {"-1e400", -ERANGE, 7},
        {"\"1\"", -EINVAL, 7},
        {"0.33333333333333333333333333333333333333333333333333333333333333333333333333333", 0, 1.0 / 3},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_doc doc;
        double value = 7;

        assert_int_equal(parse(&doc, bytes_of(cases[i].text)), 0);
        assert_int_equal(json_double(&doc, json_root(&doc), &value), cases[i].result);
        assert_true(value == cases[i].value);
        json_doc_deinit(&doc);
    }
    assert_int_equal(json_double(NULL, NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(whole_numbers_are_read),
        cmocka_unit_test(doubles_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
