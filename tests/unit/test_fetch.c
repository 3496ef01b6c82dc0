/*
 * One small request: over TCP and a unix socket, and every way it can fail.
 */
#include "link/fetch.h"
#include "link/transfer.h"
#include "one_answer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define TEXT(literal) {(literal), sizeof(literal) - 1}

static void answers_are_told(void **state)
{
    static const struct {
        struct bytes says;
        int result;
        unsigned status;
        const char *body, *why;
    } cases[] = {
        {TEXT("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), 0, 200, "hi", ""},
        {TEXT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), 0, 200, "hi", ""},
        {TEXT("HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx"), 0, 404, "x", ""},
        {TEXT("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"), 0, 302, "", ""},
        {TEXT("HTTP/1.0 200 OK\r\n\r\nto the end"), 0, 200, "to the end", ""},
        {TEXT("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi"), -EIO, 0, "", "transfer closed"},
        {TEXT("SSH-2.0-x\r\n"), -EIO, 0, "", "HTTP/0.9"},
        {TEXT(""), -EIO, 0, "", "mpty reply"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buffer body = {0}, why = {0};
        struct one_answer server;
        unsigned status = 0;

        one_answer_start(&server, cases[i].says, NULL);
        assert_int_equal(fetch_ask(&(struct fetch){.host = BYTES("127.0.0.1"), .port = server.port, .path = "/cache"},
                                   &status, &body, &why), cases[i].result);
        one_answer_end(&server);
        assert_non_null(strstr(server.asked, "GET /cache HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert_int_equal(status, cases[i].status);
        assert_true(bytes_equal(buffer_bytes(&body), bytes_of(cases[i].body)));
        buffer_append_char(&why, '\0');
        if (cases[i].why[0] ? !strstr(why.data, cases[i].why) : why.size > 1)
            fail_msg("%zu: %s", i, why.data);
        buffer_deinit(&body);
        buffer_deinit(&why);
    }
}

static void posts_go_through_a_unix_socket(void **state)
{
    char folder[] = "/tmp/embergate-fetch-XXXXXX", path[100];
    struct buffer body = {0}, why = {0};
    struct one_answer server;
    unsigned status = 0;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/admin.sock", folder);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    one_answer_start(&server, BYTES("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), path);
    assert_int_equal(fetch_ask(&(struct fetch){.unix_path = bytes_of(path), .post = true,
                                               .path = "/cache/purge?model=a%2Fb"}, &status, &body, &why), 0);
    one_answer_end(&server);
    unsetenv("http_proxy");
    assert_int_equal(status, 200);
    assert_non_null(strstr(server.asked, "POST /cache/purge?model=a%2Fb HTTP/1.1\r\nHost: localhost\r\n"));
    assert_non_null(strstr(server.asked, "Content-Length: 0\r\n"));
    unlink(path);
    rmdir(folder);
    buffer_deinit(&body);
    buffer_deinit(&why);
}

static void too_much_is_refused(void **state)
{
    struct buffer says = {0}, body = {0}, why = {0};
    struct one_answer server;
    unsigned status = 7;

    buffer_append_text(&says, "HTTP/1.0 200 OK\r\n\r\n");
    while (says.size < FETCH_BODY_MAX + 100)
        buffer_append_text(&says, "0123456789");
    buffer_append_text(&body, "before");
    one_answer_start(&server, buffer_bytes(&says), NULL);
    assert_int_equal(fetch_ask(&(struct fetch){.host = BYTES("localhost"), .port = server.port, .path = "/"}, &status,
                               &body, &why), -EFBIG);
    one_answer_end(&server);
    assert_int_equal(status, 7);
    assert_true(bytes_equal(buffer_bytes(&body), BYTES("before")));
    assert_true(bytes_equal(buffer_bytes(&why), BYTES("the answer is larger than 1048576 bytes")));
    buffer_deinit(&says);
    buffer_deinit(&body);
    buffer_deinit(&why);
}

static void nobody_there_is_told(void **state)
{
    struct one_answer server;
    struct buffer body = {0}, why = {0};
    unsigned status;

    /* A port that was free a moment ago. */
    one_answer_start(&server, BYTES("HTTP/1.0 200 OK\r\n\r\n"), NULL);
    assert_int_equal(fetch_ask(&(struct fetch){.host = BYTES("127.0.0.1"), .port = server.port, .path = "/"}, &status,
                               &body, &why), 0);
    one_answer_end(&server);
    assert_int_equal(fetch_ask(&(struct fetch){.host = BYTES("127.0.0.1"), .port = server.port, .path = "/"}, &status,
                               &body, &why), -ECONNREFUSED);
    assert_true(why.size > 0);
    assert_int_equal(fetch_ask(&(struct fetch){.unix_path = BYTES("/nonexistent/x"), .path = "/"}, &status, &body, &why),
                     -ECONNREFUSED);
    buffer_deinit(&body);
    buffer_deinit(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_told),
        cmocka_unit_test(posts_go_through_a_unix_socket),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(nobody_there_is_told),
    };

    transfer_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
