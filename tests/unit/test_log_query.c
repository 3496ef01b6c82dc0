/*
 * Lines of a request log: read, their times and numbers, which of them are meant, and the percentiles of many.
 */
#include "command/log_histogram.h"
#include "command/log_query.h"
#include "record/record.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define NOW_US 1800000000000000
#define SECOND 1000000

/* --- lines --- */

static enum log_kind kind_of(const char *text)
{
    struct log_line line;
    enum log_kind kind;

    log_line_init(&line);
    log_line_read(&line, bytes_of(text));
    kind = line.kind;
    log_line_deinit(&line);
    return kind;
}

static void lines_are_told_apart(void **state)
{
    static const struct {
        const char *text;
        enum log_kind kind;
    } cases[] = {
        {"{\"seq\":1}", LOG_REQUEST},
        {"{\"seq\":7,\"time\":\"x\",\"seq\":8,\"later\":[{}]}", LOG_REQUEST},
        {"{\"seq\":5,\"event\":\"dropped\",\"dropped\":2,\"first\":4,\"last\":5}", LOG_LOSS},
        {"{\"seq\":5,\"event\":\"dropped\",\"dropped\":3,\"first\":4,\"last\":5}", LOG_BROKEN},
        {"{\"seq\":5,\"event\":\"dropped\",\"dropped\":1,\"first\":5,\"last\":4}", LOG_BROKEN},
        {"{\"seq\":5,\"event\":\"dropped\",\"dropped\":0,\"first\":4,\"last\":5}", LOG_BROKEN},
        {"{\"seq\":5,\"event\":\"dropped\",\"dropped\":1,\"first\":4,\"last\":9223372036854775807}", LOG_BROKEN},
        {"{\"seq\":5,\"event\":\"other\"}", LOG_EVENT},
        {"{\"seq\":5,\"event\":7}", LOG_BROKEN},
        {"{\"seq\":0}", LOG_BROKEN},
        {"{\"seq\":-1}", LOG_BROKEN},
        {"{\"seq\":1.5}", LOG_BROKEN},
        {"{\"seq\":9223372036854775807}", LOG_BROKEN},
        {"{\"seq\":\"1\"}", LOG_BROKEN},
        {"{\"s\\u0065q\":1}", LOG_BROKEN},
        {"{\"time\":\"x\"}", LOG_BROKEN},
        {"{\"seq\":1", LOG_BROKEN},
        {"{\"seq\":1}{", LOG_BROKEN},
        {"[1]", LOG_BROKEN},
        {"7", LOG_BROKEN},
        {"", LOG_BROKEN},
        {"{\"seq\":1,\"id\":\"\xff\"}", LOG_BROKEN},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(kind_of(cases[i].text), cases[i].kind);
}

/* What the command reads is what the gateway writes. */
static void names_are_those_of_the_record(void **state)
{
    for (int i = LOG_time; i < LOG_FIELD_COUNT; i++) {
        bool found = false;

        for (unsigned j = 0; j < record_field_count; j++)
            found = found || strcmp(log_field_names[i], record_fields[j].name) == 0;
        if (!found)
            fail_msg("no field is called %s", log_field_names[i]);
    }
}

static void values_are_read(void **state)
{
    static const char text[] = "{\"seq\":3,\"time\":\"2026-11-23T07:45:00.123Z\",\"model\":\"a\\tb\",\"total_ms\":12.3456,"
                               "\"ttft_ms\":7,\"prompt_tokens\":-4,\"completion_tokens\":9,\"stream\":true}";
    struct log_line line;
    uint64_t us;
    int64_t when;

    log_line_init(&line);
    for (int round = 0; round < 2; round++) {
        log_line_read(&line, bytes_of(text));
        assert_int_equal(line.seq, 3);
        assert_true(bytes_equal(log_line_text(&line, LOG_model), BYTES("a\tb")));
        assert_int_equal(log_line_text(&line, LOG_completion_tokens).size, 0);
        assert_true(log_line_us(&line, LOG_total_ms, &us));
        assert_int_equal(us, 12345);
        assert_true(log_line_us(&line, LOG_ttft_ms, &us));
        assert_int_equal(us, 7000);
        assert_false(log_line_us(&line, LOG_cost, &us));
        assert_int_equal(log_line_number(&line, LOG_prompt_tokens, 5), 5);
        assert_int_equal(log_line_number(&line, LOG_completion_tokens, 5), 9);
        assert_true(log_line_flag(&line, LOG_stream));
        assert_true(log_line_time(&line, &when));
        assert_int_equal(when, 1795419900ll * SECOND + 123000);
        log_line_read(&line, BYTES("nothing"));
        assert_null(line.values[LOG_model]);
        assert_false(log_line_time(&line, &when));
    }
    log_line_deinit(&line);
}

static void times_are_read_or_refused(void **state)
{
    static const struct {
        const char *text;
        int64_t us;             /* -1: refused */
    } cases[] = {
        {"1970-01-01", 0},
        {"1970-01-02T00:00:00Z", 86400ll * SECOND},
        {"1970-01-01T00:00:01.5Z", 1500000},
        {"1970-01-01T00:00:01.123456789Z", 1123456},
        {"1970-01-01T02:30:00+02:30", 0},
        {"1970-01-01T00:00:00-01:00", 3600ll * SECOND},
        {"1970-01-01T02:30:00.25+02:30", 250000},
        {"1970-01-01T00:00:00", -1},
        {"1970-01-01T00:00:00.Z", -1},
        {"1970-01-01T00:00:00.1.2Z", -1},
        {"1970-01-01T00:00:00+2:300", -1},
        {"1970-01-01T00:00:00+24:00", -1},
        {"1970-01-01T00:00:00+-1:00", -1},
        {"1970-01-01T00:00:60Z", -1},
        {"1970-01-32", -1},
        {"1970-01-01T00:00:00.00000000000000000000000000000000000000000Z", -1},
        {"Z", -1},
        {"", -1},
        {"yesterday", -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t us = -1;

        assert_int_equal(log_time_read(bytes_of(cases[i].text), &us), cases[i].us < 0 ? -EINVAL : 0);
        assert_int_equal(us, cases[i].us);
    }
}

static void decimals_are_read_or_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned digits;
        int64_t value;
    } cases[] = {
        {"0", 3, 0}, {"12", 3, 12000}, {"12.3", 3, 12300}, {"12.3456", 3, 12345}, {"0.000182", 6, 182}, {"7.", 3, 7000},
        {".5", 3, -1}, {"1e3", 3, -1}, {"-1", 3, -1}, {"", 3, -1}, {"1.2.3", 3, -1}, {"nan", 3, -1},
        {"99999999999999999999999999", 3, -1}, {"9999999999999999", 6, -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t value = 0;

        assert_int_equal(log_decimal_read(bytes_of(cases[i].text), cases[i].digits, &value),
                         cases[i].value < 0 ? -EINVAL : 0);
        assert_int_equal(value, cases[i].value < 0 ? 0 : cases[i].value);
    }
}

/* --- filters --- */

static const char request[] =
    "{\"seq\":3,\"time\":\"2026-11-23T07:45:00.500Z\",\"id\":\"req_1\",\"client_id\":\"mine\",\"trace_id\":\"abc\","
    "\"key\":\"alice\",\"team\":\"research\",\"model\":\"org/\\u0061\",\"backend\":\"local\",\"cache\":\"miss\","
    "\"status\":429,\"outcome\":\"refused\",\"total_ms\":12.345}";
static const char loss[] =
    "{\"seq\":9,\"event\":\"dropped\",\"time\":\"2026-11-23T07:45:00.500Z\",\"dropped\":1,\"first\":9,\"last\":9}";

struct filter {
    const char *name, *value;
};

static bool takes(const struct filter *filters, size_t count, const char *text)
{
    struct log_query query;
    struct log_line line;
    struct buffer errors = {0};
    bool is_taken;

    log_query_init(&query);
    for (size_t i = 0; i < count && filters[i].name; i++)
        assert_int_equal(log_query_add(&query, filters[i].name, filters[i].value, NOW_US, &errors), 0);
    assert_int_equal(errors.size, 0);
    log_line_init(&line);
    log_line_read(&line, bytes_of(text));
    is_taken = log_query_takes(&query, &line);
    log_line_deinit(&line);
    return is_taken;
}

static void filters_take_what_they_name(void **state)
{
    static const struct {
        struct filter filters[3];
        bool request, loss;
    } cases[] = {
        {{{NULL, NULL}}, true, true},
        {{{"key", "alice"}}, true, false},
        {{{"key", "alic"}}, false, false},
        {{{"team", "research"}, {"model", "org/a"}}, true, false},
        {{{"team", "research"}, {"model", "org/b"}}, false, false},
        {{{"backend", "local"}}, true, false},
        {{{"outcome", "refused"}}, true, false},
        {{{"outcome", "ok"}}, false, false},
        {{{"outcome", "client_stalled"}}, false, false},
        {{{"outcome", "upstream_timeout"}}, false, false},
        {{{"cache", "miss"}}, true, false},
        {{{"cache", "hit"}}, false, false},
        {{{"id", "req_1"}}, true, false},
        {{{"id", "mine"}}, true, false},
        {{{"id", "abc"}}, true, false},
        {{{"id", "req"}}, false, false},
        {{{"status", "429"}}, true, false},
        {{{"status", "4xx"}}, true, false},
        {{{"status", "503,4XX"}}, true, false},
        {{{"status", "200,428,430,5xx"}}, false, false},
        {{{"status", "4xx"}, {"status", "5xx"}}, false, false},
        {{{"min-ms", "12.345"}}, true, false},
        {{{"min-ms", "12.346"}}, false, false},
        {{{"min-ms", "0"}}, true, true},
        {{{"since", "2026-11-23T07:45:00.500Z"}}, true, true},
        {{{"since", "2026-11-23T07:45:00.501Z"}}, false, false},
        {{{"until", "2026-11-23T07:45:00.500Z"}}, false, false},
        {{{"until", "2026-11-23T08:45:00.501+01:00"}}, true, true},
        {{{"since", "2026-11-23"}, {"until", "2026-11-24"}}, true, true},
        {{{"since", "60d"}}, true, true},
        {{{"since", "50d"}}, false, false},
        {{{"until", "15m"}}, true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(takes(cases[i].filters, 3, request), cases[i].request);
        assert_int_equal(takes(cases[i].filters, 3, loss), cases[i].loss);
        assert_false(takes(cases[i].filters, 3, "{\"seq\":1"));
    }
    assert_false(takes((struct filter[]){{"since", "1d"}}, 1, "{\"seq\":1}"));
    assert_false(takes((struct filter[]){{"min-ms", "1"}}, 1, "{\"seq\":1}"));
    assert_true(takes((struct filter[]){{"status", "000"}}, 1, "{\"seq\":1}"));
}

static void filters_refuse_what_they_cannot_read(void **state)
{
    static const struct filter cases[] = {
        {"status", ""},       {"status", "20"},      {"status", "200,"},       {"status", "2x0"},   {"status", "xxx"},
        {"status", "6xx"},    {"status", "0xx"},     {"status", "600"},        {"status", "099"},   {"outcome", "OK"},
        {"outcome", ""},      {"outcome", "good"},   {"outcome", "upstream"},  {"outcome", "o"},    {"outcome", "cut2"},
        {"cache", "hits"},    {"cache", ""},         {"since", "soon"},        {"until", "15"},     {"min-ms", "x"},
        {"min-ms", "-1"},     {"since", "99999999d"}, {"key", ""},             {"model", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct log_query query;
        struct buffer errors = {0};

        log_query_init(&query);
        assert_int_equal(log_query_add(&query, cases[i].name, cases[i].value, NOW_US, &errors), -EINVAL);
        assert_true(errors.size > 0);
        buffer_deinit(&errors);
    }
}

/* --- percentiles --- */

static int compare_values(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static void percentiles_are_right_to_one_per_cent(void **state)
{
    enum { COUNT = 20000 };
    static const unsigned permilles[] = {1, 10, 500, 900, 950, 990, 999, 1000};
    static uint64_t values[COUNT];
    struct log_histogram histogram = {.count = 0};

    srandom(4);
    for (int i = 0; i < COUNT; i++) {
        values[i] = (uint64_t)exp((double)(random() % 30000) / 1000);
        log_histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare_values);
    assert_int_equal(histogram.count, COUNT);
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        uint64_t exact = values[(COUNT * permilles[i] + 999) / 1000 - 1];
        uint64_t told = log_histogram_percentile(&histogram, permilles[i]);

        assert_true(fabs((double)told - (double)exact) <= 0.01 * (double)exact);
    }
    log_histogram_deinit(&histogram);
}

static void percentiles_of_few_and_of_extremes(void **state)
{
    struct log_histogram histogram = {.count = 0};

    assert_int_equal(log_histogram_percentile(&histogram, 500), 0);
    log_histogram_add(&histogram, 0);
    assert_int_equal(log_histogram_percentile(&histogram, 990), 0);
    log_histogram_add(&histogram, 63);
    log_histogram_add(&histogram, 65);
    assert_int_equal(log_histogram_percentile(&histogram, 0), 0);
    assert_int_equal(log_histogram_percentile(&histogram, 500), 63);
    assert_int_equal(log_histogram_percentile(&histogram, 1000), 65);
    log_histogram_add(&histogram, UINT64_MAX);
    assert_true(log_histogram_percentile(&histogram, 1000) > UINT64_MAX / 100 * 99);
    log_histogram_deinit(&histogram);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_told_apart),
        cmocka_unit_test(names_are_those_of_the_record),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(times_are_read_or_refused),
        cmocka_unit_test(decimals_are_read_or_refused),
        cmocka_unit_test(filters_take_what_they_name),
        cmocka_unit_test(filters_refuse_what_they_cannot_read),
        cmocka_unit_test(percentiles_are_right_to_one_per_cent),
        cmocka_unit_test(percentiles_of_few_and_of_extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
