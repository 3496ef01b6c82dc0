/*
 * Workers count while others scrape: nothing is torn, nothing goes backwards, and in the end nothing is missing.
 *
 * Build with -fsanitize=thread to see the most of it.
 */
#include "record/series.h"

#include <uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define WRITERS 4
#define SCRAPERS 2
#define ROUNDS 100000

static const struct bytes backends[] = {{"one", 3}};

struct square {
    struct series *sets[WRITERS];
    _Atomic unsigned writing;
};

struct writer {
    struct square *square;
    unsigned number;
};

/* No cmocka on other threads. */
static void must(bool good, const char *text)
{
    if (good)
        return;
    fprintf(stderr, "scrape: %s\n", text);
    abort();
}

static void write_all(void *data)
{
    static const char *const outcomes[] = {"ok", "refused", "client_left"};
    struct writer *writer = data;
    struct series *set = writer->square->sets[writer->number];
    char name[32];

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct series_request request = {.dialect = "openai", .operation = "chat", .cache = i % 2 ? "hit" : "miss",
                                         .outcome = outcomes[i % 3], .status = 200 + i / 100 % 20};

        /* Names appear all the time, in another order for each. */
        snprintf(name, sizeof(name), "m%u", (i / 100 * (writer->number + 1)) % 300);
        request.model = bytes_of(name);
        series_count(set, &request);
        series_add(series_model(set, request.model), SERIES_DURATION, i);
        series_add(series_model(set, request.model), SERIES_INPUT_TOKENS, 1);
        series_add_cost(series_model(set, request.model), 1);
        series_call(set, 0, SERIES_CALL_OK);
        series_backend_state(set, 0, i % 3);
    }
    atomic_fetch_sub(&writer->square->writing, 1);
}

static void scrape(void *data)
{
    struct series_totals before = {0}, now;
    struct square *square = data;
    struct series_view view;
    struct series_model_total models[16];
    struct series_backend_total backend;
    struct buffer out;
    unsigned count;

    buffer_init(&out);
    while (atomic_load(&square->writing)) {
        buffer_clear(&out, 1 << 24);
        series_write(square->sets, WRITERS, &out);
        series_totals(square->sets, WRITERS, &now);
        must(now.requests >= before.requests && now.errors >= before.errors && now.hits >= before.hits &&
                 now.input_tokens >= before.input_tokens, "a total went backwards");
        before = now;
        series_view(square->sets, WRITERS, SERIES_DURATION, BYTES_NONE, &view);
        for (unsigned i = 1; i < view.buckets; i++)
            must(view.cumulative[i] >= view.cumulative[i - 1], "buckets fall");
        count = series_models(square->sets, WRITERS, models, 16);
        for (unsigned i = 1; i < count; i++)
            must(models[i].requests <= models[i - 1].requests && models[i].model.size, "models out of order");
        series_backends(square->sets, WRITERS, 0, &backend);
        must(backend.worst_state <= 2, "no such state");
    }
    buffer_deinit(&out);
}

static void writers_and_scrapers(void **state)
{
    struct square square = {.writing = WRITERS};
    struct writer writers[WRITERS];
    uv_thread_t threads[WRITERS + SCRAPERS];
    struct series_totals totals;
    struct series_view view;

    for (unsigned i = 0; i < WRITERS; i++) {
        square.sets[i] = series_new(backends, 1);
        writers[i] = (struct writer){&square, i};
    }
    for (unsigned i = 0; i < WRITERS + SCRAPERS; i++)
        assert_int_equal(i < WRITERS ? uv_thread_create(&threads[i], write_all, &writers[i])
                                     : uv_thread_create(&threads[i], scrape, &square), 0);
    for (unsigned i = 0; i < WRITERS + SCRAPERS; i++)
        uv_thread_join(&threads[i]);
    series_totals(square.sets, WRITERS, &totals);
    assert_int_equal(totals.requests, WRITERS * ROUNDS);
    assert_int_equal(totals.hits, WRITERS * ROUNDS / 2);
    assert_int_equal(totals.input_tokens, WRITERS * ROUNDS);
    series_view(square.sets, WRITERS, SERIES_DURATION, BYTES_NONE, &view);
    assert_int_equal(view.cumulative[view.buckets - 1], WRITERS * ROUNDS);
    assert_int_equal(view.sum, (uint64_t)WRITERS * ROUNDS * (ROUNDS - 1) / 2);
    for (unsigned i = 0; i < WRITERS; i++)
        series_free(square.sets[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writers_and_scrapers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
