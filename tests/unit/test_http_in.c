/*
 * Requests out of bytes: each vector is fed whole, byte by byte, and cut in two at every place, and must
 * always give the same account.
 */
#include "http_vectors.h"

#include "entry/http_in.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct http_in_limits limits = {
    .line_bytes = 256, .head_bytes = 1024, .headers = 12, .overhead_bytes = 128};

#define STATUS(kind, openai, goodfire, type, code, again) [FAIL_##kind] = openai,
static const unsigned statuses[] = {FAILURE_TABLE(STATUS)};

struct account {
    struct http_in *in;
    struct buffer text;
    bool body, failed;
};

static void tell_head(struct account *account)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "OPTIONS", "other"};
    const struct http_request *request = http_in_request(account->in);

    buffer_printf(&account->text, "%s%s %.*s", account->text.size ? "; " : "", names[request->method],
                  BYTES_ARG(request->path));
    if (request->query.data)
        buffer_printf(&account->text, "?%.*s", BYTES_ARG(request->query));
    buffer_printf(&account->text, " 1.%u%s%s", request->minor, request->keep_alive ? "" : " close",
                  request->expect_continue ? " expect" : "");
    if (request->authorization.size)
        buffer_printf(&account->text, " auth=%.*s", BYTES_ARG(request->authorization));
    if (request->api_key.size)
        buffer_printf(&account->text, " key=%.*s", BYTES_ARG(request->api_key));
    if (request->cache_control.size)
        buffer_printf(&account->text, " cache=%.*s", BYTES_ARG(request->cache_control));
    buffer_append_text(&account->text, " {");
    assert_int_equal(request->has_body, request->chunked || request->content_length > 0);
    account->body = true;
}

static void tell_error(struct account *account)
{
    const char *message = NULL;
    enum failure_kind kind = http_in_error(account->in, &message);

    assert_non_null(message);
    buffer_printf(&account->text, "%s!%u", account->text.size && !account->body ? "; " : "", statuses[kind]);
    account->failed = true;
}

static void feed(struct account *account, const char *data, size_t size)
{
    /* On the heap, at its exact size: a read too far is seen. */
    char *copy = malloc(size ? size : 1);
    struct bytes input = {memcpy(copy, data, size), size}, piece;
    bool more = !account->failed;

    while (more) {
        switch (http_in_next(account->in, &input, &piece)) {
        case HTTP_IN_MORE:
            assert_int_equal(input.size, 0);
            more = false;
            break;
        case HTTP_IN_HEAD:
            tell_head(account);
            break;
        case HTTP_IN_BODY:
            assert_true(piece.size > 0 && piece.data >= copy && piece.data + piece.size <= copy + size);
            buffer_append(&account->text, piece);
            break;
        case HTTP_IN_END:
            assert_int_equal(http_in_left(account->in), 0);
            buffer_append_text(&account->text, "}");
            account->body = false;
            http_in_reset(account->in);
            break;
        case HTTP_IN_ERROR:
            tell_error(account);
            assert_int_equal(http_in_next(account->in, &input, &piece), HTTP_IN_ERROR);
            more = false;
            break;
        }
    }
    free(copy);
}

static void begin(struct account *account)
{
    *account = (struct account){.in = http_in_new(&limits)};
}

static void end(struct account *account, const struct http_vector *vector, const char *how, size_t at)
{
    if (!account->failed && (account->body || http_in_head_begun(account->in)))
        buffer_append_text(&account->text, "...");
    if (!bytes_equal(buffer_bytes(&account->text), bytes_of(vector->outcome)))
        fail_msg("%s, %s %zu: \"%.*s\" instead of \"%s\"", vector->name, how, at,
                 BYTES_ARG(buffer_bytes(&account->text)), vector->outcome);
    assert_int_equal(http_in_lenient_flags(account->in), 0);
    http_in_free(account->in);
    buffer_deinit(&account->text);
}

static void vectors_come_out_the_same_however_cut(void **state)
{
    struct account account;

    for (size_t i = 0; i < ARRAY_SIZE(http_vectors); i++) {
        const struct http_vector *vector = &http_vectors[i];

        begin(&account);
        feed(&account, vector->input, vector->size);
        end(&account, vector, "whole", 0);
        begin(&account);
        for (size_t at = 0; at < vector->size; at++)
            feed(&account, vector->input + at, 1);
        end(&account, vector, "bytewise", 0);
        for (size_t at = 1; at < vector->size; at++) {
            begin(&account);
            feed(&account, vector->input, at);
            feed(&account, vector->input + at, vector->size - at);
            end(&account, vector, "cut at", at);
        }
    }
}

static void limits_hold_to_the_byte(void **state)
{
    static const struct {
        size_t path, pad;       /* bytes */
        bool good;
    } cases[] = {
        /* "GET " + path + " HTTP/1.1" may have 256 bytes; that and 2 + "Host: a\r\nA: " + pad + 4 may have
         * 1024 */
        {243, 1, true}, {244, 1, false}, {243, 750, true}, {243, 751, false}, {1, 992, true}, {1, 993, false},
    };
    static const struct http_vector shape[] = {V("long", "", ""), V("too long", "", "!431")};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buffer input = {0}, outcome = {0};
        struct http_vector vector = shape[!cases[i].good];
        struct account account;

        buffer_printf(&outcome, "GET /%.*s 1.1 {}%c", (int)cases[i].path - 1, X100 X100 X100, 0);
        buffer_printf(&input, "GET /%.*s HTTP/1.1\r\n" H "A: ", (int)cases[i].path - 1, X100 X100 X100);
        memset(buffer_reserve(&input, cases[i].pad), 'x', cases[i].pad);
        input.size += cases[i].pad;
        buffer_append_text(&input, "\r\n\r\n");
        if (cases[i].good)
            vector.outcome = outcome.data;
        for (size_t at = 0; at <= input.size; at++) {
            begin(&account);
            feed(&account, input.data, at);
            feed(&account, input.data + at, input.size - at);
            end(&account, &vector, "cut at", at);
        }
        buffer_deinit(&input);
        buffer_deinit(&outcome);
    }
}

static void long_bodies_of_honest_chunks_pass(void **state)
{
    static const char chunk[] = "80\r\n" X100 "0123456789012345678901234567\r\n";
    struct account account;

    begin(&account);
    feed(&account, POST(CHUNKED, ""), sizeof(POST(CHUNKED, "")) - 1);
    for (unsigned i = 0; i < 1000; i++)
        feed(&account, chunk, sizeof(chunk) - 1);
    feed(&account, "0\r\n\r\n", 5);
    assert_false(account.failed || account.body);
    assert_int_equal(account.text.size, sizeof("POST /p 1.1 {}") - 1 + 128000);
    http_in_free(account.in);
    buffer_deinit(&account.text);
}

static void a_large_head_is_not_kept(void **state)
{
    struct account account;

    begin(&account);
    assert_int_equal(http_in_held(account.in), 0);
    feed(&account, GET(""), sizeof(GET("")) - 1);
    assert_in_range(http_in_held(account.in), 1, 1024);
    feed(&account, GET("A: " X100 X100 X100 X100 X100 "\r\nB: " X100 X100 X100 X100 "\r\n"),
         sizeof(GET("A: " X100 X100 X100 X100 X100 "\r\nB: " X100 X100 X100 X100 "\r\n")) - 1);
    assert_in_range(http_in_held(account.in), 0, 1024);
    assert_false(account.failed);
    http_in_free(account.in);
    buffer_deinit(&account.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_out_the_same_however_cut),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(long_bodies_of_honest_chunks_pass),
        cmocka_unit_test(a_large_head_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
