/*
 * The text format: escapes, numbers, histograms; and the process's own page.
 */
#include "record/process.h"
#include "record/prometheus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static void expect(struct buffer *out, const char *wanted)
{
    buffer_append_char(out, 0);
    assert_string_equal(out->data, wanted);
    buffer_deinit(out);
}

static void values_of_labels(void **state)
{
    static const struct {
        struct bytes value;
        const char *wanted;
    } cases[] = {
        {{"", 0}, "x{a=\"\"} 1\n"},
        {{"plain", 5}, "x{a=\"plain\"} 1\n"},
        {{"a\"b", 3}, "x{a=\"a\\\"b\"} 1\n"},
        {{"a\\", 2}, "x{a=\"a\\\\\"} 1\n"},
        {{"\n\n", 2}, "x{a=\"\\n\\n\"} 1\n"},
        {{"a\0b", 3}, "x{a=\"a\xEF\xBF\xBD" "b\"} 1\n"},
        {{"\xff" "a", 2}, "x{a=\"\xEF\xBF\xBD" "a\"} 1\n"},
        {{"caf\xC3\xA9", 5}, "x{a=\"caf\xC3\xA9\"} 1\n"},
        {{"caf\xC3", 4}, "x{a=\"caf\xEF\xBF\xBD\"} 1\n"},
        {{"{},=", 4}, "x{a=\"{},=\"} 1\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct prometheus_label label = {"a", cases[i].value};
        struct buffer out = {0};

        prometheus_sample(&out, &(struct prometheus_series){"x", &label, 1}, 1);
        expect(&out, cases[i].wanted);
    }
}

static void heads_and_samples(void **state)
{
    struct prometheus_label labels[] = {{"a", BYTES("1")}, {"b", BYTES("2")}};
    struct buffer out = {0};

    prometheus_family(&out, "x_total", "counter", "What \"it\" is\\\nand more");
    prometheus_sample(&out, &(struct prometheus_series){"x_total", labels, 2}, INT64_MAX);
    prometheus_single(&out, "y", "gauge", "Why", -3);
    expect(&out, "# HELP x_total What \"it\" is\\\\\\nand more\n# TYPE x_total counter\n"
                 "x_total{a=\"1\",b=\"2\"} 9223372036854775807\n# HELP y Why\n# TYPE y gauge\ny -3\n");
}

static void millionths(void **state)
{
    static const struct {
        uint64_t value;
        const char *wanted;
    } cases[] = {
        {0, "x 0\n"},
        {1, "x 0.000001\n"},
        {25, "x 0.000025\n"},
        {10000, "x 0.01\n"},
        {999999, "x 0.999999\n"},
        {1000000, "x 1\n"},
        {2500000, "x 2.5\n"},
        {81920000, "x 81.92\n"},
        {1000001, "x 1.000001\n"},
        {UINT64_MAX, "x 18446744073709.551615\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buffer out = {0};

        prometheus_sample_decimal(&out, &(struct prometheus_series){.name = "x"}, cases[i].value);
        expect(&out, cases[i].wanted);
    }
}

static void histograms(void **state)
{
    const uint64_t bounds[] = {1000, 2500000}, cumulative[] = {1, 3, 7};
    struct prometheus_buckets buckets = {bounds, cumulative, 3, 12000001, true};
    struct prometheus_label label = {"m", BYTES("a\"b")};
    struct buffer out = {0};

    prometheus_histogram(&out, &(struct prometheus_series){"t", &label, 1}, &buckets);
    expect(&out, "t_bucket{m=\"a\\\"b\",le=\"0.001\"} 1\nt_bucket{m=\"a\\\"b\",le=\"2.5\"} 3\n"
                 "t_bucket{m=\"a\\\"b\",le=\"+Inf\"} 7\nt_sum{m=\"a\\\"b\"} 12.000001\nt_count{m=\"a\\\"b\"} 7\n");
    buckets.decimal = false;
    prometheus_histogram(&out, &(struct prometheus_series){.name = "t"}, &buckets);
    expect(&out, "t_bucket{le=\"1000\"} 1\nt_bucket{le=\"2500000\"} 3\nt_bucket{le=\"+Inf\"} 7\nt_sum 12000001\n"
                 "t_count 7\n");
}

static double value_of(const struct buffer *out, const char *name)
{
    const char *at = strstr(out->data, name);

    assert_non_null(at);
    return strtod(at + strlen(name), NULL);
}

static void the_process(void **state)
{
    struct buffer out = {0};
    double before;
    int descriptor;

    process_write(1700000000, &out);
    buffer_append_char(&out, 0);
    assert_true(value_of(&out, "\nprocess_cpu_seconds_total ") >= 0);
    assert_true(value_of(&out, "\nprocess_resident_memory_bytes ") > 100000);
    assert_true(value_of(&out, "\nprocess_virtual_memory_bytes ") >
                value_of(&out, "\nprocess_resident_memory_bytes "));
    assert_true(value_of(&out, "\nprocess_max_fds ") == (double)sysconf(_SC_OPEN_MAX));
    assert_true(value_of(&out, "\nprocess_start_time_seconds ") == 1700000000);
    before = value_of(&out, "\nprocess_open_fds ");
    assert_true(before >= 3);
    descriptor = dup(0);
    buffer_clear(&out, 1 << 20);
    process_write(1700000000, &out);
    buffer_append_char(&out, 0);
    assert_true(value_of(&out, "\nprocess_open_fds ") == before + 1);
    close(descriptor);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_labels), cmocka_unit_test(heads_and_samples), cmocka_unit_test(millionths),
        cmocka_unit_test(histograms),       cmocka_unit_test(the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
