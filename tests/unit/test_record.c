/*
 * Lines: what is told and what is left out, every kind of value, texts from outside; and the page that documents them
 * is the one that the table makes.
 */
#include "json/json_doc.h"
#include "record/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define EMPTY_HEAD "\"time\":\"1970-01-01T00:00:00.000Z\",\"attempts\":0,"
#define EMPTY_TAIL "\"bytes_in\":0,\"bytes_out\":0,\"events\":0,\"total_ms\":0.000}"
#define TEXT(literal) {literal, sizeof(literal) - 1}

static const struct record empty = {.outcome = "ok", .prompt_tokens = -1, .completion_tokens = -1};

/* RECORD as a line is EXPECTED, and is JSON behind its number. */
static void assert_line(const struct record *record, const char *expected)
{
    struct json_doc doc;
    struct buffer out;

    buffer_init(&out);
    buffer_append_text(&out, "{\"seq\":1,");
    record_write(record, &out);
    if (!bytes_equal(bytes_skip(buffer_bytes(&out), 9), bytes_of(expected)))
        fail_msg("%.*s\nnot       %s", BYTES_ARG(buffer_bytes(&out)), expected);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, buffer_bytes(&out)), 0);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
}

static void what_has_nothing_to_say_is_left_out(void **state)
{
    assert_line(&empty, EMPTY_HEAD "\"status\":0,\"outcome\":\"ok\"," EMPTY_TAIL);
}

static void every_kind_is_told(void **state)
{
    struct record record = empty;

    record.wall_us = 1764000000123999;
    record.id = BYTES("0123456789abcdef0123456789abcdef");
    record.client = BYTES("[::1]:5");
    record.metadata = BYTES("{\"a\":[1]}");
    record.dialect = "openai";
    record.stream = true;
    record.attempts = 1;
    record.status = 504;
    record.reason = "UPSTREAM_TIMEOUT";
    record.prompt_tokens = 0;
    record.completion_tokens = INT64_MAX;
    record.cost = 12000345;
    record.has_cost = true;
    record.bytes_in = UINT64_MAX;
    record.bytes_out = 9;
    record.events = 10;
    record.total_us = 1234;
    record.auth_us = 1;
    record.queue_us = UINT64_MAX;
    record.answer_body = BYTES("\"cut\"");
    assert_line(&record,
                "\"time\":\"2025-11-24T16:00:00.123Z\",\"id\":\"0123456789abcdef0123456789abcdef\","
                "\"client\":\"[::1]:5\",\"metadata\":{\"a\":[1]},\"dialect\":\"openai\",\"stream\":true,\"attempts\":1,"
                "\"status\":504,\"outcome\":\"ok\",\"reason\":\"upstream_timeout\",\"prompt_tokens\":0,"
                "\"completion_tokens\":9223372036854775807,\"cost\":12.000345,\"bytes_in\":18446744073709551615,"
                "\"bytes_out\":9,\"events\":10,\"total_ms\":1.234,\"auth_ms\":0.001,\"queue_ms\":18446744073709551.615,"
                "\"answer\":\"cut\"}");
}

static void numbers_of_every_length(void **state)
{
    struct record record = empty;
    uint64_t value = 1;
    char expected[512];

    for (unsigned digits = 1; digits <= 20; digits++, value = value * 10 + digits % 10) {
        record.events = value;
        record.total_us = value;
        record.cost = value;
        record.has_cost = true;
        snprintf(expected, sizeof(expected),
                 EMPTY_HEAD "\"status\":0,\"outcome\":\"ok\",\"cost\":%llu.%06llu,\"bytes_in\":0,\"bytes_out\":0,"
                            "\"events\":%llu,\"total_ms\":%llu.%03llu}",
                 (unsigned long long)value / 1000000, (unsigned long long)value % 1000000, (unsigned long long)value,
                 (unsigned long long)value / 1000, (unsigned long long)value % 1000);
        assert_line(&record, expected);
    }
}

static void texts_of_clients_are_escaped(void **state)
{
    static const struct {
        struct bytes text, expected;
    } cases[] = {
        {TEXT("plain"), TEXT("plain")},
        {TEXT("eight by"), TEXT("eight by")},
        {TEXT("a\"b"), TEXT("a\\\"b")},
        {TEXT("12345678\\"), TEXT("12345678\\\\")},
        {TEXT("1234567\n"), TEXT("1234567\\n")},
        {TEXT("\x1f"), TEXT("\\u001f")},
        {TEXT("\x7f !#[]"), TEXT("\x7f !#[]")},
        {TEXT("gr\xc3\xbc\xc3\x9f"), TEXT("gr\xc3\xbc\xc3\x9f")},
        {TEXT("\xff\"}\n{"), TEXT("\xef\xbf\xbd\\\"}\\n{")},
        {TEXT("a\0b"), TEXT("a\xef\xbf\xbd" "b")},
    };
    struct record record = empty;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char expected[256];

        record.path = cases[i].text;
        snprintf(expected, sizeof(expected),
                 "\"time\":\"1970-01-01T00:00:00.000Z\",\"path\":\"%.*s\",\"attempts\":0,"
                 "\"status\":0,\"outcome\":\"ok\"," EMPTY_TAIL,
                 BYTES_ARG(cases[i].expected));
        assert_line(&record, expected);
    }
}

static void times_stay_in_four_digits(void **state)
{
    static const struct {
        int64_t us;
        const char *expected;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-5, "1970-01-01T00:00:00.000Z"},
        {951782399999999, "2000-02-28T23:59:59.999Z"},
        {951782400000000, "2000-02-29T00:00:00.000Z"},
        {951782400009999, "2000-02-29T00:00:00.009Z"},
        {253402300799000000, "9999-12-31T23:59:59.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.775Z"},
    };
    struct record record = empty;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char expected[256];

        record.wall_us = cases[i].us;
        snprintf(expected, sizeof(expected), "\"time\":\"%s\",\"attempts\":0,\"status\":0,\"outcome\":\"ok\"," EMPTY_TAIL,
                 cases[i].expected);
        assert_line(&record, expected);
    }
}

static void tries_are_told_when_they_say_something(void **state)
{
    struct record record = empty;
    static const char middle[] = "\"status\":0,\"outcome\":\"ok\"," EMPTY_TAIL;
    char expected[1024];

    record.attempts = record.try_count = 1;
    record.tries[0] = (struct record_try){BYTES("one"), "ok", 200, 5};
    snprintf(expected, sizeof(expected), "\"time\":\"1970-01-01T00:00:00.000Z\",\"attempts\":1,%s", middle);
    assert_line(&record, expected);

    record.tries[0] = (struct record_try){BYTES("o\"ne"), "UPSTREAM_CONNECT", 0, 1500};
    snprintf(expected, sizeof(expected),
             "\"time\":\"1970-01-01T00:00:00.000Z\",\"attempts\":1,"
             "\"tries\":[{\"backend\":\"o\\\"ne\",\"outcome\":\"upstream_connect\",\"ms\":1.500}],%s",
             middle);
    assert_line(&record, expected);

    record.attempts = 9;
    record.try_count = 9;
    for (unsigned i = 0; i < RECORD_TRIES; i++)
        record.tries[i] = (struct record_try){BYTES("b"), "ok", 200, i};
    snprintf(expected, sizeof(expected),
             "\"time\":\"1970-01-01T00:00:00.000Z\",\"attempts\":9,\"tries\":["
             "{\"backend\":\"b\",\"outcome\":\"ok\",\"status\":200,\"ms\":0.000},"
             "{\"backend\":\"b\",\"outcome\":\"ok\",\"status\":200,\"ms\":0.001},"
             "{\"backend\":\"b\",\"outcome\":\"ok\",\"status\":200,\"ms\":0.002},"
             "{\"backend\":\"b\",\"outcome\":\"ok\",\"status\":200,\"ms\":0.003}],%s",
             middle);
    assert_line(&record, expected);
}

static void lines_follow_each_other(void **state)
{
    struct record record = empty;
    struct buffer out;
    size_t first;

    buffer_init(&out);
    record.model = BYTES("m\xc3\xa4");
    record_write(&record, &out);
    first = out.size;
    for (unsigned i = 1; i < 100; i++)
        record_write(&record, &out);
    assert_int_equal(out.size, first * 100);
    for (unsigned i = 1; i < 100; i++)
        assert_memory_equal(out.data, out.data + i * first, first);
    buffer_deinit(&out);
}

static void the_page_is_made_of_the_table(void **state)
{
    FILE *file = fopen(SOURCE_ROOT "/conf/request-log.md", "r");
    struct buffer page, expected;

    assert_non_null(file);
    buffer_init(&page);
    buffer_init(&expected);
    page.size = fread(buffer_reserve(&page, 65536), 1, 65536, file);
    fclose(file);
    record_describe(&expected);
    assert_true(bytes_equal(buffer_bytes(&page), buffer_bytes(&expected)));
    buffer_deinit(&page);
    buffer_deinit(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_nothing_to_say_is_left_out),
        cmocka_unit_test(every_kind_is_told),
        cmocka_unit_test(numbers_of_every_length),
        cmocka_unit_test(texts_of_clients_are_escaped),
        cmocka_unit_test(times_stay_in_four_digits),
        cmocka_unit_test(tries_are_told_when_they_say_something),
        cmocka_unit_test(lines_follow_each_other),
        cmocka_unit_test(the_page_is_made_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
