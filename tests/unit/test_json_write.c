/*
 * JSON written out: escapes, names with their commas, numbers that read back; and a round trip through the
 * reader.
 */
#include "json/json_doc.h"
#include "json/json_write.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define TEXT(literal) {literal, sizeof(literal) - 1}

static void assert_buffer(struct buffer *out, struct bytes expected)
{
    if (!bytes_equal(buffer_bytes(out), expected))
        fail_msg("%.*s, not %.*s", BYTES_ARG(buffer_bytes(out)), BYTES_ARG(expected));
    buffer_clear(out, 4096);
}

static void strings_are_escaped(void **state)
{
    static const struct {
        struct bytes text, plain, ascii;
    } cases[] = {
        {TEXT(""), TEXT("\"\""), TEXT("\"\"")},
        {TEXT("a/b"), TEXT("\"a/b\""), TEXT("\"a/b\"")},
        {TEXT("\"\\\b\f\n\r\t"), TEXT("\"\\\"\\\\\\b\\f\\n\\r\\t\""), TEXT("\"\\\"\\\\\\b\\f\\n\\r\\t\"")},
        {TEXT("\0\x01\x1f x"), TEXT("\"\\u0000\\u0001\\u001f x\""), TEXT("\"\\u0000\\u0001\\u001f x\"")},
        {TEXT("\x7f"), TEXT("\"\x7f\""), TEXT("\"\\u007f\"")},
        {TEXT("gr\xc3\xbc\xc3\x9f"), TEXT("\"gr\xc3\xbc\xc3\x9f\""), TEXT("\"gr\\u00fc\\u00df\"")},
        {TEXT("\xe2\x82\xac!"), TEXT("\"\xe2\x82\xac!\""), TEXT("\"\\u20ac!\"")},
        {TEXT("\xef\xbf\xbf"), TEXT("\"\xef\xbf\xbf\""), TEXT("\"\\uffff\"")},
        {TEXT("\xf0\x9f\x94\xa5"), TEXT("\"\xf0\x9f\x94\xa5\""), TEXT("\"\\ud83d\\udd25\"")},
        {TEXT("\xf4\x8f\xbf\xbf"), TEXT("\"\xf4\x8f\xbf\xbf\""), TEXT("\"\\udbff\\udfff\"")},
        {TEXT("a\xff"), TEXT("\"a\xef\xbf\xbd\""), TEXT("\"a\\ufffd\"")},
        {TEXT("\xed\xa0\x80z"),
         TEXT("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\""), TEXT("\"\\ufffd\\ufffd\\ufffdz\"")},
        {TEXT("\xe2\x82"), TEXT("\"\xef\xbf\xbd\xef\xbf\xbd\""), TEXT("\"\\ufffd\\ufffd\"")},
        {TEXT("data: x"), TEXT("\"data: x\""), TEXT("\"data\\u003a x\"")},
        {TEXT("a: metadata:data:"), TEXT("\"a: metadata:data:\""), TEXT("\"a: metadata\\u003adata\\u003a\"")},
        {TEXT("at: :"), TEXT("\"at: :\""), TEXT("\"at: :\"")},
        {TEXT("\xc7\x9ata: x"), TEXT("\"\xc7\x9ata: x\""), TEXT("\"\\u01data\\u003a x\"")},
    };
    struct buffer out;

    buffer_init(&out);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_write_string(&out, cases[i].text);
        assert_buffer(&out, cases[i].plain);
        json_write_string_ascii(&out, cases[i].text);
        assert_buffer(&out, cases[i].ascii);
    }
    json_write_string(&out, BYTES_NONE);
    assert_buffer(&out, BYTES("\"\""));
    buffer_deinit(&out);
}

static void members_know_their_commas(void **state)
{
    struct buffer out;

    buffer_init(&out);
    json_write_name(&out, "bare");
    assert_buffer(&out, BYTES("\"bare\":"));
    buffer_append_text(&out, "{");
    json_write_member_string(&out, "a", BYTES("{"));
    json_write_member_i64(&out, "b", INT64_MIN);
    json_write_name(&out, "c");
    buffer_append_text(&out, "[{");
    json_write_member_raw(&out, "d", BYTES("[]"));
    json_write_member_raw(&out, "e", BYTES("1.50"));
    buffer_append_text(&out, "}]}");
    assert_buffer(&out, BYTES("{\"a\":\"{\",\"b\":-9223372036854775808,\"c\":[{\"d\":[],\"e\":1.50}]}"));
    buffer_deinit(&out);
}

static void doubles_are_short_and_exact(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.1, "0.1"},
        {-2.5, "-2.5"},
        {1.0 / 3, "0.3333333333333333"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e20, "1e+20"},
        {1e-7, "1e-07"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {5e-324, "4.94065645841247e-324"},
        {-11.2345678, "-11.2345678"},
        {(double)INFINITY, "null"},
        {(double)-INFINITY, "null"},
        {(double)NAN, "null"},
    };
    struct buffer out;

    buffer_init(&out);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_write_double(&out, cases[i].value);
        assert_buffer(&out, bytes_of(cases[i].text));
    }
    buffer_deinit(&out);
}

static void doubles_read_back(void **state)
{
    uint64_t seed = 88172645463325252u;
    struct buffer out;
    struct json_doc doc;

    buffer_init(&out);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    for (int i = 0; i < 20000; i++) {
        double value, again;

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(&value, &seed, sizeof(value));
        if (!isfinite(value))
            continue;
        buffer_clear(&out, 4096);
        json_write_double(&out, value);
        assert_int_equal(json_doc_parse(&doc, buffer_bytes(&out)), 0);
        assert_int_equal(json_double(&doc, json_root(&doc), &again), 0);
        assert_memory_equal(&value, &again, sizeof(value));
    }
    json_doc_deinit(&doc);
    buffer_deinit(&out);
}

static void append_character(struct buffer *text, uint32_t code)
{
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    int size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    buffer_append_char(text, (char)(leads[size] | code >> 6 * (size - 1)));
    for (int i = size - 2; i >= 0; i--)
        buffer_append_char(text, (char)(0x80 | (code >> 6 * i & 63)));
}

/* Every character there is, but NUL, which the reader refuses. */
static void strings_read_back(void **state)
{
    struct buffer text, out;
    struct json_doc doc;
    struct arena arena;

    buffer_init(&text);
    buffer_init(&out);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    arena_init(&arena);
    for (uint32_t code = 1; code < 0x110000; code++)
        if (code < 0xd800 || code >= 0xe000)
            append_character(&text, code);
    for (int ascii = 0; ascii < 2; ascii++) {
        buffer_clear(&out, 0);
        (ascii ? json_write_string_ascii : json_write_string)(&out, buffer_bytes(&text));
        assert_int_equal(json_doc_parse(&doc, buffer_bytes(&out)), 0);
        assert_true(bytes_equal(json_text(&doc, json_root(&doc), &arena), buffer_bytes(&text)));
        assert_true(json_text_is(&doc, json_root(&doc), buffer_bytes(&text)));
    }
    arena_deinit(&arena);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
    buffer_deinit(&text);
}

/* A byte is written as it is alone, wherever in a string it stands. */
static void place_does_not_matter(void **state)
{
    struct buffer out, expected;

    buffer_init(&out);
    buffer_init(&expected);
    for (unsigned byte = 0; byte < 0x80; byte++) {
        char alone = (char)byte;

        for (size_t at = 0; at < 20; at++) {
            char text[20];
            struct bytes written;

            memset(text, '!', sizeof(text));
            text[at] = alone;
            buffer_append_char(&expected, '"');
            buffer_append(&expected, (struct bytes){text, at});
            json_write_string(&out, (struct bytes){&alone, 1});
            written = buffer_bytes(&out);
            buffer_append(&expected, (struct bytes){written.data + 1, written.size - 2});
            buffer_append(&expected, (struct bytes){text + at + 1, sizeof(text) - at - 1});
            buffer_append_char(&expected, '"');
            out.size = 0;
            json_write_string(&out, (struct bytes){text, sizeof(text)});
            assert_buffer(&out, buffer_bytes(&expected));
            expected.size = 0;
        }
    }
    buffer_deinit(&expected);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped), cmocka_unit_test(members_know_their_commas),
        cmocka_unit_test(doubles_are_short_and_exact), cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(strings_read_back), cmocka_unit_test(place_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
