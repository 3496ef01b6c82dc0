/*
 * Errors of backends: every shape they come in, and how long to wait.
 */
#include "base/clock.h"
#include "dialect/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

static void expect_text(struct bytes text, const char *expected, const char *what)
{
    if (bytes_equal(text, bytes_of(expected)))
        return;
    print_error("%s\n  got      %.*s\n  expected %s\n", what, BYTES_ARG(text), expected);
    fail();
}

static void errors_of_every_shape(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum failure_kind kind;
        const char *message, *param, *code; /* NULL: not looked at */
        uint32_t retry_after_ms;
    } cases[] = {
        {400, "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"n\",\"code\":\"c\"}}", FAIL_UPSTREAM_REFUSED,
         "m", "n", "c", 0},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"the request "
         "exceeds\",\"type\":\"exceed_context_size_error\"}}",
         FAIL_UPSTREAM_REFUSED, "the request exceeds", "messages", "context_length_exceeded", 0},
        {400,
         "{\"object\":\"error\",\"message\":\"longer than the model's Context Length "
         "(9)\",\"param\":null,\"code\":400}",
         FAIL_UPSTREAM_REFUSED, NULL, "messages", "context_length_exceeded", 0},
        {422, "{\"detail\":[{\"loc\":[\"body\",\"messages\",0],\"msg\":\"Field required\"}]}", FAIL_UPSTREAM_REFUSED,
         "body.messages.0: Field required", "", "", 0},
        {422, "{\"detail\":\"short\"}", FAIL_UPSTREAM_REFUSED, "short", NULL, NULL, 0},
        {422, "{\"error\":\"Input validation error\",\"error_type\":\"validation\"}", FAIL_UPSTREAM_REFUSED,
         "Input validation error", NULL, NULL, 0},
        {413, "too big", FAIL_UPSTREAM_REFUSED, "too big", NULL, NULL, 0},
        {401, "{\"error\":{\"message\":\"Incorrect API key provided: sk-secret\"}}", FAIL_UPSTREAM_AUTH,
         "The model server did not accept the gateway's key for it (status 401).", "", "", 0},
        {403, "sk-secret", FAIL_UPSTREAM_AUTH, NULL, "", "", 0},
        {404, "{\"error\":{\"message\":\"The model `x` does not exist.\",\"code\":404}}", FAIL_NO_MODEL,
         "The model `x` does not exist.", "", "", 0},
        {404, "{\"error\":{\"message\":\"File Not Found\",\"type\":\"not_found_error\"}}", FAIL_UPSTREAM_FAILED, NULL,
         NULL, NULL, 0},
        {408, "", FAIL_UPSTREAM_TIMEOUT, NULL, NULL, NULL, 0},
        {429, "{\"error\":{\"message\":\"slow down\",\"code\":\"tokens\"}}", FAIL_UPSTREAM_BUSY, "slow down", "",
         "tokens", 0},
        {429, "{\"error\":{\"message\":\"no credit\",\"code\":\"insufficient_quota\"}}", FAIL_UPSTREAM_QUOTA,
         "no credit", "", "", 0},
        {424, "{\"error\":\"generation\"}", FAIL_UPSTREAM_FAILED, "generation", NULL, NULL, 0},
        {500, "{\"message\":\"mistral\"}", FAIL_UPSTREAM_FAILED, "mistral", NULL, NULL, 0},
        {500, "<html><body>Bad</body>", FAIL_UPSTREAM_FAILED, "The model server answered with status 500.", NULL, NULL,
         0},
        {500, "Internal\nServer\x01 Error\xff", FAIL_UPSTREAM_FAILED, "Internal Server  Error?", NULL, NULL, 0},
        {501, "{\"error\":{\"message\":\"not built in\"}}", FAIL_UNSUPPORTED, "not built in", NULL, NULL, 0},
        {502, "", FAIL_UPSTREAM_FAILED, NULL, NULL, NULL, 0},
        {503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
         FAIL_UPSTREAM_LOADING, "Loading model", NULL, NULL, 2000},
        {503, "busy", FAIL_OVERLOADED, "busy", NULL, NULL, 0},
        {504, "{}", FAIL_UPSTREAM_TIMEOUT, "{}", NULL, NULL, 0},
        {529, "[1]", FAIL_OVERLOADED, NULL, NULL, NULL, 0},
        {418, "\"tea\"", FAIL_UPSTREAM_FAILED, "tea", NULL, NULL, 0},
        {301, "moved", FAIL_UPSTREAM_BAD, "The model server answered with status 301.", NULL, NULL, 0},
        {204, "", FAIL_UPSTREAM_BAD, NULL, NULL, NULL, 0},
        {101, "", FAIL_UPSTREAM_BAD, NULL, NULL, NULL, 0},
        {700, "", FAIL_UPSTREAM_BAD, NULL, NULL, NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena arena;
        struct failure failure;

        arena_init(&arena);
        failure = backend_read_error(KIND_OPENAI, cases[i].status, BYTES_NONE, bytes_of(cases[i].body), &arena);
        if (failure.kind != cases[i].kind)
            print_error("%u %s\n", cases[i].status, cases[i].body);
        assert_int_equal(failure.kind, cases[i].kind);
        if (cases[i].message)
            expect_text(failure.message, cases[i].message, cases[i].body);
        if (cases[i].param)
            expect_text(failure.param, cases[i].param, cases[i].body);
        if (cases[i].code)
            expect_text(failure.code, cases[i].code, cases[i].body);
        assert_int_equal(failure.retry_after_ms, cases[i].retry_after_ms);
        assert_true(failure.message.size > 0);
        assert_true(bytes_find(failure.message, BYTES("sk-secret")) == failure.message.size);
        arena_deinit(&arena);
    }
}

static void a_goodfire_list_reaches_goodfire_clients(void **state)
{
    struct arena arena;
    struct failure failure;

    arena_init(&arena);
    failure = backend_read_error(KIND_GOODFIRE, 422, BYTES_NONE, BYTES("{\"detail\":[{\"msg\":\"x\"}]}"), &arena);
    expect_text(failure.detail, "[{\"msg\":\"x\"}]", "detail");
    expect_text(failure.message, "x", "message");
    failure = backend_read_error(KIND_OPENAI, 422, BYTES_NONE, BYTES("{\"detail\":[{\"msg\":\"x\"}]}"), &arena);
    assert_int_equal(failure.detail.size, 0);
    arena_deinit(&arena);
}

static void long_messages_are_cut_between_characters(void **state)
{
    char body[2000];
    struct arena arena;
    struct failure failure;

    arena_init(&arena);
    for (size_t i = 0; i + 1 < sizeof(body); i += 2)
        memcpy(body + i, "\xc3\xa9", 2);
    body[0] = 'x';
    body[1] = 'y';
    body[2] = 'z';
    body[3] = 'x';
    body[4] = 'y';
    memmove(body + 5, body + 6, sizeof(body) - 6);
    failure = backend_read_error(KIND_OPENAI, 500, BYTES_NONE, (struct bytes){body, sizeof(body) - 1}, &arena);
    assert_int_equal(failure.message.size, 499);
    arena_deinit(&arena);
}

static void retry_after(void **state)
{
    static const struct {
        const char *value;
        uint32_t ms;
    } cases[] = {
        {"5", 5000},
        {" 20 ", 20000},
        {"0", 0},
        {"-5", 0},
        {"301", 300000},
        {"99999999999999999999", 300000},
        {"-99999999999999999999", 0},
        {"1.5", 0},
        {"soon", 0},
        {"", 0},
        {"Wed, 21 Oct 2015 07:28:00 GMT", 0},
        {"Fri, 31 Dec 2199 23:59:59 GMT", 300000},
        {"Friday, 31-Dec-49 23:59:59 GMT", 300000},
        {"Thu Jan  1 00:00:00 2015", 0},
        {"Wed, 21 Oct", 0},
        {"nan", 0},
        {"inf", 0},
        {"0x10", 0},
    };
    struct arena arena;

    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct failure failure = backend_read_error(KIND_OPENAI, 429, bytes_of(cases[i].value), BYTES("x"), &arena);

        if (failure.retry_after_ms != cases[i].ms)
            print_error("%s: %u\n", cases[i].value, failure.retry_after_ms);
        assert_int_equal(failure.retry_after_ms, cases[i].ms);
    }
    assert_int_equal(backend_read_error(KIND_OPENAI, 400, BYTES("5"), BYTES("x"), &arena).retry_after_ms, 0);
    assert_int_equal(backend_read_error(KIND_OPENAI, 503, BYTES("7"), BYTES("Loading model"), &arena).retry_after_ms,
                     7000);
    arena_deinit(&arena);
}

static void a_date_is_counted_from_now(void **state)
{
    time_t then = (time_t)clock_wall_s() + 60;
    struct arena arena;
    struct failure failure;
    struct tm parts;
    char text[64];

    arena_init(&arena);
    gmtime_r(&then, &parts);
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    failure = backend_read_error(KIND_OPENAI, 503, bytes_of(text), BYTES("busy"), &arena);
    assert_in_range(failure.retry_after_ms, 57000, 60000);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_every_shape),
        cmocka_unit_test(a_goodfire_list_reaches_goodfire_clients),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(retry_after),
        cmocka_unit_test(a_date_is_counted_from_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
