/*
 * Connections: one request after the other, their bodies, and the timers.
 */
#include "entry_stage.h"

#include <malloc.h>

/* --- one after the other -------------------------------------------------------------------------------- */

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct buffer text;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/now") ASK("/1")
                        "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" ASK("/3")
                        "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" ASK("/never"));
    assert_int_equal(client_end(client, &text), 0);
    assert_true(strstr(text.data, "\r\n\r\nnow") < strstr(text.data, "\r\n\r\n/1"));
    assert_true(strstr(text.data, "\r\n\r\n/1") < strstr(text.data, "\r\n\r\n/2"));
    assert_true(strstr(text.data, "\r\n\r\n/2") < strstr(text.data, "\r\n\r\n/3"));
    assert_true(strstr(text.data, "\r\n\r\n/3") < strstr(text.data, "\r\n\r\n/4"));
    assert_int_equal(stage.requests, 5);
    buffer_deinit(&text);
    close_stage();
}

static void the_next_request_waits_for_the_open_one(void **state)
{
    struct conn *conn;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/hold") ASK("/hold") ASK("/now"));
    WAIT_FOR(stage.open);
    turn_for(20);
    assert_int_equal(stage.requests, 1);
    for (unsigned i = 0; i < 2; i++) {
        WAIT_FOR(stage.open);
        conn = stage.open;
        stage.open = NULL;
        answer(conn, 200, BYTES("held"));
        assert_int_equal(stage.requests, i + 1);    /* from the loop, not from inside the call */
    }
    client_expect(client, "\r\n\r\nnow", 1);
    close(client);
    close_stage();
}

static void ten_thousand_requests_leave_no_trace(void **state)
{
    size_t before = 0;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    for (unsigned i = 0; i < 10000; i++) {
        char answer_text[512];
        ssize_t size;

        client_send(client, "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        WAIT_FOR(stage.body_ends == i + 1);
        size = recv(client, answer_text, sizeof(answer_text), 0);
        assert_true(size > 20 && memcmp(answer_text, "HTTP/1.1 200 OK", 15) == 0);
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    assert_in_range(mallinfo2().uordblks, 0, before + 512);
    assert_int_equal(stage.context->count, 1);
    close(client);
    close_stage();
}

/* --- bodies --------------------------------------------------------------------------------------------- */

static void a_client_that_waits_is_told_to_go_on(void **state)
{
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, "POST /r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_expect(client, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    client_send(client, "hi");
    client_expect(client, "\r\n\r\n/r", 1);
    /* Who does not wait is not told. */
    client_send(client, "POST /r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
    client_expect(client, "HTTP/1.1", 1);
    /* A body that was not asked for may come or not: the connection cannot go on. */
    client_send(client, "POST /now HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_expect_end(client, "connection: close");
    close_stage();
}

static void a_short_unread_body_is_thrown_away(void **state)
{
    static char body[40000];
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n");
    client_expect(client, "\r\n\r\nnow", 1);
    memset(body, 'x', sizeof(body));
    client_send_bytes(client, body, sizeof(body));
    client_send(client, ASK("/next"));
    client_expect(client, "\r\n\r\n/next", 1);
    close(client);
    close_stage();
}

static void an_answer_survives_the_body_behind_it(void **state)
{
    static const char *const heads[] = {
        "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 250000\r\n\r\n",
        "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 250000\r\n\r\n",
        "POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3d090\r\n",
        "POST /nonsense HTTP/1.1\r\nHost: a\r\nContent-Length: 250000\r\nContent-Length: 1\r\n\r\n",
    };
    static char body[250000];

    memset(body, 'x', sizeof(body));
    open_stage(&usual_limits, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        int client = client_connect();

        client_send(client, heads[i]);
        client_send_bytes(client, body, sizeof(body));
        client_expect_end(client, "connection: close");
    }
    assert_int_equal(stage.refusals, 1);
    close_stage();
}

static void nothing_is_parsed_behind_an_error(void **state)
{
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/1") "GET / HTTP/1.1\nHost: a\n\n" ASK("/2"));
    client_expect_end(client, "HTTP/1.1 400 ");
    assert_int_equal(stage.requests, 1);
    assert_int_equal(stage.refusals, 1);
    assert_int_equal(stage.kind, FAIL_BAD_HTTP);
    /* In the middle of a body. */
    client = client_connect();
    client_send(client, "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\nx\r\n0;x\r\n\r\n" ASK("/3"));
    client_expect_end(client, "HTTP/1.1 400 ");
    assert_int_equal(stage.requests, 2);
    assert_int_equal(stage.refusals, 2);
    close_stage();
}

/* --- timers --------------------------------------------------------------------------------------------- */

static void a_slow_head_is_refused(void **state)
{
    struct conn_limits limits = limits_with(150, 5000, 5000, 5000);
    uint64_t start;
    int client, silent;

    open_stage(&limits, NULL);
    start = clock_ms();
    client = client_connect();
    silent = client_connect();
    for (unsigned i = 0; i < 8; i++) {      /* drops do not help */
        client_send_bytes(client, &"GET /slow"[i], 1);
        turn_for(10);
    }
    client_expect_end(client, "HTTP/1.1 408 ");
    assert_in_range(clock_ms() - start, 140, limits.idle_ms / 2);
    assert_int_equal(stage.kind, FAIL_HTTP_TIMEOUT);
    client_expect_end(silent, "");          /* nothing asked, nothing said */
    assert_int_equal(stage.refusals, 1);
    /* The second head of a connection is timed from its first byte. */
    client = client_connect();
    client_send(client, ASK("/now"));
    client_expect(client, "now", 1);
    turn_for(200);
    start = clock_ms();
    client_send(client, "G");
    client_expect_end(client, "HTTP/1.1 408 ");
    assert_in_range(clock_ms() - start, 140, limits.idle_ms / 2);
    close_stage();
}

static void a_slow_body_is_refused(void **state)
{
    struct conn_limits limits = limits_with(5000, 200, 5000, 5000);
    static char piece[100];
    int client;

    open_stage(&limits, NULL);
    client = client_connect();
    client_send(client, "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\nx");
    client_expect_end(client, "HTTP/1.1 408 ");
    assert_int_equal(stage.refusals, 1);
    /* As slow, but at more than 1 KB/s. */
    memset(piece, 'x', sizeof(piece));
    client = client_connect();
    client_send(client, "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n");
    for (unsigned i = 0; i < 40; i++) {
        client_send_bytes(client, piece, sizeof(piece));
        turn_for(15);
    }
    client_expect(client, "\r\n\r\n/r", 1);
    assert_int_equal(stage.refusals, 1);
    close(client);
    close_stage();
}

static void idle_connections_close(void **state)
{
    struct conn_limits limits = limits_with(5000, 5000, 100, 5000);
    int client, other;

    open_stage(&limits, NULL);
    client = client_connect();
    client_send(client, ASK("/now"));
    client_expect(client, "now", 1);
    client_expect_end(client, "");
    /* A lower limit counts for those that are idle already, once the next client comes. */
    stage.context->limits.idle_ms = 5000;
    client = client_connect();
    client_send(client, ASK("/now"));
    client_expect(client, "now", 1);
    stage.context->limits.idle_ms = 50;
    turn_for(100);
    assert_int_equal(stage.context->count, 1);
    other = client_connect();
    client_expect_end(client, "");
    close(other);
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(the_next_request_waits_for_the_open_one),
        cmocka_unit_test(ten_thousand_requests_leave_no_trace),
        cmocka_unit_test(a_client_that_waits_is_told_to_go_on),
        cmocka_unit_test(a_short_unread_body_is_thrown_away),
        cmocka_unit_test(an_answer_survives_the_body_behind_it),
        cmocka_unit_test(nothing_is_parsed_behind_an_error),
        cmocka_unit_test(a_slow_head_is_refused),
        cmocka_unit_test(a_slow_body_is_refused),
        cmocka_unit_test(idle_connections_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
