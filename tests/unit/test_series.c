/*
 * Sets of series: what is one and what is two, what happens at the bounds, and the sums that pages show.
 *
 * SERIES_BENCH in the environment: what one call costs.
 */
#include "base/clock.h"
#include "record/series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct bytes backends[] = {{"one", 3}, {"two", 3}};

static struct series_request request(const char *model, unsigned status, const char *cache, const char *outcome)
{
    return (struct series_request){.model = bytes_of(model), .dialect = "openai", .operation = "chat",
                                   .cache = cache, .outcome = outcome, .status = status};
}

static void count(struct series *series, const char *model, unsigned status, const char *cache, const char *outcome)
{
    struct series_request one = request(model, status, cache, outcome);

    series_count(series, &one);
}

static char *text_of(struct series *const *sets, unsigned sets_count)
{
    static struct buffer out;

    buffer_clear(&out, 1 << 26);
    series_write(sets, sets_count, &out);
    buffer_append_char(&out, 0);
    return out.data;
}

static void expect_line(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no line %s in:\n%s", line, text);
}

static unsigned lines_with(const char *text, const char *start)
{
    unsigned found = 0;

    for (const char *at = text; (at = strstr(at, start)); at++)
        found += at == text || at[-1] == '\n';
    return found;
}

static void equal_words_are_one(void **state)
{
    struct series *set = series_new(backends, 2);
    char ok[] = "ok", hit[] = "hit", model[] = "tiny";

    count(set, "tiny", 200, "hit", "ok");
    count(set, model, 200, hit, ok);
    count(set, "tiny", 200, "miss", "ok");
    count(set, "tiny", 201, "miss", "ok");
    count(set, "", 404, NULL, "refused");
    count(set, "tiny", 4000000000u, "miss", "ok");
    expect_line(text_of(&set, 1),
                "embergate_requests_total{dialect=\"openai\",operation=\"chat\",model=\"tiny\",status=\"200\",cache=\"hit\","
                "outcome=\"ok\"} 2\n");
    expect_line(text_of(&set, 1), "model=\"\",status=\"404\",cache=\"\",outcome=\"refused\"} 1\n");
    expect_line(text_of(&set, 1), "model=\"tiny\",status=\"0\",cache=\"miss\",outcome=\"ok\"} 1\n");
    assert_int_equal(lines_with(text_of(&set, 1), "embergate_requests_total{"), 5);
    series_free(set);
}

static void words_at_many_addresses(void **state)
{
    static char words[3000][3];
    struct series *set = series_new(NULL, 0);

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        memcpy(words[i], i % 2 ? "ok" : "no", 3);
        count(set, "tiny", 200, "hit", words[i]);
    }
    expect_line(text_of(&set, 1), "outcome=\"ok\"} 1500\n");
    expect_line(text_of(&set, 1), "outcome=\"no\"} 1500\n");
    assert_int_equal(lines_with(text_of(&set, 1), "embergate_requests_total{"), 2);
    series_free(set);
}

static void too_many_words(void **state)
{
    static char words[400][8];
    struct series *set = series_new(NULL, 0);

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        snprintf(words[i], sizeof(words[i]), "w%u", i);
        count(set, "tiny", 200, "hit", words[i]);
    }
    expect_line(text_of(&set, 1), "outcome=\"w100\"} 1\n");
    assert_int_equal(lines_with(text_of(&set, 1), "embergate_requests_total{"), 256 - 5 + 1);
    series_free(set);
}

static void too_many_places(void **state)
{
    struct series *set = series_new(NULL, 0);
    struct series_totals totals;

    for (unsigned i = 0; i < 10; i++)
        for (unsigned status = 0; status < 1000; status++)
            count(set, "tiny", status, i % 2 ? "hit" : "miss", i % 3 ? "ok" : "refused");
    expect_line(text_of(&set, 1), "embergate_requests_total{dialect=\"other\",operation=\"other\",model=\"other\","
                                  "status=\"0\",cache=\"other\",outcome=\"other\"} ");
    assert_int_equal(lines_with(text_of(&set, 1), "embergate_requests_total{"), 2048);
    series_totals(&set, 1, &totals);
    assert_int_equal(totals.requests, 10000);
    series_free(set);
}

/* --- models --- */

static void too_many_models(void **state)
{
    struct series *sets[2] = {series_new(NULL, 0), series_new(NULL, 0)};
    struct series_model *other = series_model(sets[0], BYTES("other"));
    char name[32];

    for (unsigned i = 0; i < SERIES_MODELS + 100; i++) {
        snprintf(name, sizeof(name), "model-%u", i);
        assert_int_equal(series_model(sets[0], bytes_of(name)) == other, i >= SERIES_MODELS);
        count(sets[0], name, 200, "hit", "ok");
    }
    assert_ptr_equal(series_model(sets[0], BYTES("model-7")), series_model(sets[0], BYTES("model-7")));
    expect_line(text_of(sets, 2), "model=\"other\",status=\"200\",cache=\"hit\",outcome=\"ok\"} 100\n");
    /* The other worker knows them in another order, and younger ones: what was told apart is told apart still. */
    for (unsigned i = 0; i < SERIES_MODELS; i++) {
        snprintf(name, sizeof(name), "model-%u", SERIES_MODELS + 50 - i);
        count(sets[1], name, 200, "hit", "ok");
    }
    expect_line(text_of(sets, 2), "model=\"model-0\",status=\"200\",cache=\"hit\",outcome=\"ok\"} 1\n");
    expect_line(text_of(sets, 2), "model=\"model-255\",status=\"200\",cache=\"hit\",outcome=\"ok\"} 2\n");
    expect_line(text_of(sets, 2), "model=\"other\",status=\"200\",cache=\"hit\",outcome=\"ok\"} 151\n");
    assert_int_equal(lines_with(text_of(sets, 2), "embergate_requests_total{"), SERIES_MODELS + 1);
    series_free(sets[0]);
    series_free(sets[1]);
}

static void names_of_models(void **state)
{
    static const struct {
        struct bytes name;
        bool told;
    } cases[] = {
        {{"tiny", 4}, true},        {{"tin", 3}, true},         {{"a/b:c+d=1", 9}, true}, {{"\"\\\n", 3}, true},
        {{"\xC3\xA9", 2}, true},    {{"\xC3", 1}, false},       {{"a\0b", 3}, false},     {{"other", 5}, false},
        {{"12345678", 8}, true},    {{"123456789", 9}, true},   {{"1234567", 7}, true},
    };
    struct series *set = series_new(NULL, 0);
    struct series_model *other = series_model(set, BYTES("other"));
    char longest[257];

    memset(longest, 'a', sizeof(longest));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct series_model *model = series_model(set, cases[i].name);

        assert_int_equal(model != other, cases[i].told);
        assert_ptr_equal(series_model(set, cases[i].name), model);
    }
    assert_ptr_not_equal(series_model(set, (struct bytes){longest, 256}), other);
    assert_ptr_equal(series_model(set, (struct bytes){longest, 257}), other);
    assert_ptr_equal(series_model(set, BYTES_NONE), series_model(set, BYTES("")));
    series_free(set);
}

/* --- histograms --- */

static void bounds_are_within(void **state)
{
    struct series *set = series_new(NULL, 0);
    struct series_model *tiny = series_model(set, BYTES("tiny"));
    struct series_view view;

    for (unsigned row = 0; row < SERIES_HISTOGRAMS; row++) {
        series_view(&set, 1, row, BYTES_NONE, &view);
        assert_in_range(view.buckets, 5, SERIES_BUCKETS_MOST);
        assert_true(view.bounds[view.buckets - 1] == UINT64_MAX && view.cumulative[view.buckets - 1] == 0);
        for (unsigned i = 0; i + 1 < view.buckets; i++) {
            assert_true(view.bounds[i] < view.bounds[i + 1]);
            series_add(tiny, row, view.bounds[i]);
            series_add(tiny, row, view.bounds[i] + 1);
        }
        series_view(&set, 1, row, BYTES("tiny"), &view);
        for (unsigned i = 0; i < view.buckets; i++)
            assert_int_equal(view.cumulative[i], i + 1 < view.buckets ? 2 * i + 1 : 2 * i);
        series_view(&set, 1, row, BYTES("nobody"), &view);
        assert_int_equal(view.cumulative[view.buckets - 1], 0);
    }
    series_free(set);
}

static void histograms_as_text(void **state)
{
    struct series *sets[2] = {series_new(NULL, 0), series_new(NULL, 0)};
    const char *text;

    series_add(series_model(sets[0], BYTES("tiny")), SERIES_DURATION, 10000);
    series_add(series_model(sets[1], BYTES("tiny")), SERIES_DURATION, 10001);
    series_add(series_model(sets[1], BYTES("tiny")), SERIES_INPUT_TOKENS, 5);
    series_add(series_model(sets[1], BYTES("tiny")), SERIES_OUTPUT_TOKENS, 100000000);
    series_add(series_model(sets[1], BYTES("large")), SERIES_LAG, 25);
    series_add_cost(series_model(sets[0], BYTES("large")), 1500000);
    text = text_of(sets, 2);
#define TINY "{gen_ai_request_model=\"tiny\",gen_ai_operation_name=\"chat\""
    expect_line(text, "\ngen_ai_server_request_duration_seconds_bucket" TINY ",le=\"0.01\"} 1\n");
    expect_line(text, "\ngen_ai_server_request_duration_seconds_bucket" TINY ",le=\"0.02\"} 2\n");
    expect_line(text, "\ngen_ai_server_request_duration_seconds_sum" TINY "} 0.020001\n");
    expect_line(text, "\ngen_ai_server_request_duration_seconds_count" TINY "} 2\n");
    expect_line(text, "\ngen_ai_client_token_usage_bucket{gen_ai_request_model=\"tiny\",gen_ai_token_type=\"input\","
                      "le=\"16\"} 1\n");
    expect_line(text, "\ngen_ai_client_token_usage_sum{gen_ai_request_model=\"tiny\",gen_ai_token_type=\"output\"} "
                      "100000000\n");
    expect_line(text, "\nembergate_relay_lag_seconds_bucket{model=\"large\",le=\"0.000025\"} 1\n");
    expect_line(text, "\nembergate_cost_total{model=\"large\"} 1.5\n");
    assert_null(strstr(text, "relay_lag_seconds_count{model=\"tiny\""));
    assert_int_equal(lines_with(text, "# TYPE gen_ai_client_token_usage "), 1);
    series_free(sets[0]);
    series_free(sets[1]);
}

/* --- sums --- */

static void totals(void **state)
{
    struct series *sets[2] = {series_new(backends, 2), series_new(backends, 2)};
    struct series_model_total models[4];
    struct series_totals all;

    count(sets[0], "tiny", 200, "hit", "ok");
    count(sets[0], "tiny", 200, "join", "ok");
    count(sets[1], "large", 200, "miss", "ok");
    count(sets[1], "tiny", 503, "miss", "unreachable");
    count(sets[1], "tiny", 200, "miss", "client_left");
    count(sets[1], "", 404, "-", "refused");
    series_model(sets[1], BYTES("unused"));
    series_add(series_model(sets[0], BYTES("tiny")), SERIES_INPUT_TOKENS, 7);
    series_add(series_model(sets[1], BYTES("tiny")), SERIES_OUTPUT_TOKENS, 9);
    series_add_cost(series_model(sets[1], BYTES("tiny")), 11);
    series_totals(sets, 2, &all);
    assert_true(all.requests == 6 && all.errors == 2 && all.hits == 1 && all.joins == 1);
    assert_true(all.input_tokens == 7 && all.output_tokens == 9);
    assert_int_equal(series_models(sets, 2, models, 4), 2);
    assert_true(bytes_equal(models[0].model, BYTES("tiny")) && bytes_equal(models[1].model, BYTES("large")));
    assert_true(models[0].requests == 4 && models[0].errors == 1 && models[0].hits == 1 && models[0].cost == 11);
    assert_true(models[0].input_tokens == 7 && models[0].output_tokens == 9 && models[1].requests == 1);
    assert_int_equal(series_models(sets, 2, models, 1), 1);
    assert_int_equal(series_models(sets, 0, models, 4), 0);
    series_free(sets[0]);
    series_free(sets[1]);
}

static void of_backends(void **state)
{
    struct series *sets[3] = {series_new(backends, 2), series_new(backends, 2), series_new(NULL, 0)};
    struct series_backend_total total;
    const char *text;

    series_call(sets[0], 1, SERIES_CALL_OK);
    series_call(sets[1], 1, SERIES_CALL_OK);
    series_call(sets[1], 1, SERIES_CALL_CANCELLED);
    series_call(sets[2], 1, SERIES_CALL_OK);            /* it has none: nothing happens */
    series_call(sets[0], 7, SERIES_CALL_OK);
    series_backend_wait(sets[0], 1, 1500);
    series_backend_state(sets[0], 1, 2);
    series_backend_state(sets[0], 0, 0);
    series_backend_state(sets[1], 1, 0);
    series_backends(sets, 3, 1, &total);
    assert_true(bytes_equal(total.name, BYTES("two")) && total.worst_state == 2);
    assert_true(total.calls[SERIES_CALL_OK] == 2 && total.calls[SERIES_CALL_CANCELLED] == 1);
    series_backends(sets, 3, 0, &total);
    assert_true(total.worst_state == 0 && total.calls[SERIES_CALL_OK] == 0);
    text = text_of(sets, 3);
    expect_line(text, "\nembergate_backend_calls_total{backend=\"two\",outcome=\"ok\"} 2\n");
    expect_line(text, "\nembergate_backend_calls_total{backend=\"one\",outcome=\"failed\"} 0\n");
    expect_line(text, "\nembergate_backend_state{backend=\"two\",state=\"down\"} 1\n");
    expect_line(text, "\nembergate_backend_state{backend=\"two\",state=\"good\"} 1\n");
    expect_line(text, "\nembergate_backend_state{backend=\"one\",state=\"good\"} 1\n");
    expect_line(text, "\nembergate_backend_first_byte_seconds_bucket{backend=\"two\",le=\"0.005\"} 1\n");
    for (unsigned i = 0; i < 3; i++)
        series_free(sets[i]);
}

/* --- a full page --- */

static void fill(struct series *set)
{
    char name[64];

    for (unsigned i = 0; i < SERIES_MODELS; i++) {
        struct series_model *model;

        snprintf(name, sizeof(name), "provider/some-model-%u", i);
        model = series_model(set, bytes_of(name));
        for (unsigned status = 200; status < 206; status++)
            count(set, name, status, "miss", "ok");
        for (unsigned row = 0; row < SERIES_HISTOGRAMS; row++)
            series_add(model, row, 12345);
    }
}

static double nanoseconds_of(struct series *set, bool counting)
{
    static const char *const outcomes[] = {"ok", "refused", "client_left", "unreachable"};
    static const char *const caches[] = {"hit", "join", "miss"};
    struct series_model *model = series_model(set, BYTES("provider/some-model-77"));
    const unsigned rounds = 10000000;
    uint64_t from = clock_us();

    for (unsigned i = 0; i < rounds; i++) {
        struct series_request one = request("provider/some-model-77", 200, caches[i % 3], outcomes[i % 4]);

        if (counting)
            series_count(set, &one);
        else
            series_add(model, i % SERIES_HISTOGRAMS, i);
    }
    return (double)(clock_us() - from) * 1000 / rounds;
}

static void a_full_page(void **state)
{
    struct series *sets[4];
    uint64_t from;
    const char *text;

    for (unsigned i = 0; i < 4; i++)
        fill(sets[i] = series_new(backends, 2));
    from = clock_us();
    text = text_of(sets, 4);
    from = clock_us() - from;
    assert_int_equal(lines_with(text, "gen_ai_server_request_duration_seconds_count{"), SERIES_MODELS);
    assert_int_equal(lines_with(text, "embergate_requests_total{"), 6 * SERIES_MODELS);
    if (getenv("SERIES_BENCH")) {
        printf("a full page: %zu bytes in %lu us\n", strlen(text), (unsigned long)from);
        printf("series_count %.1f ns, series_add %.1f ns\n", nanoseconds_of(sets[0], true),
               nanoseconds_of(sets[0], false));
    }
    if (getenv("SERIES_PAGE")) {
        FILE *file = fopen(getenv("SERIES_PAGE"), "w");

        assert_non_null(file);
        fputs(text, file);
        fclose(file);
    }
    for (unsigned i = 0; i < 4; i++)
        series_free(sets[i]);
}


int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_words_are_one), cmocka_unit_test(words_at_many_addresses),
        cmocka_unit_test(too_many_words),      cmocka_unit_test(too_many_places),
        cmocka_unit_test(too_many_models),     cmocka_unit_test(names_of_models),
        cmocka_unit_test(bounds_are_within),   cmocka_unit_test(histograms_as_text),
        cmocka_unit_test(totals),              cmocka_unit_test(of_backends),
        cmocka_unit_test(a_full_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
