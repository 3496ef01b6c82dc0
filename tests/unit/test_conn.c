/*
 * Connections: order, timers, and every way a client can leave or linger.
 */
#include "entry_stage.h"

#include <malloc.h>

static struct conn_limits limits_with(uint32_t header, uint32_t body, uint32_t idle, uint32_t stall)
{
    struct conn_limits limits = usual_limits;

    limits.header_ms = header;
    limits.body_ms = body;
    limits.idle_ms = idle;
    limits.stall_ms = stall;
    return limits;
}

/* --- one after the other ------------------------------------------------------------------------------------ */

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct buffer text;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/now") ASK("/1") "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" ASK("/3")
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

/* --- bodies --------------------------------------------------------------------------------------------------- */

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
    client_send(client, "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0;x\r\n\r\n" ASK("/3"));
    client_expect_end(client, "HTTP/1.1 400 ");
    assert_int_equal(stage.requests, 2);
    assert_int_equal(stage.refusals, 2);
    close_stage();
}

/* --- timers --------------------------------------------------------------------------------------------------- */

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
        client_send_bytes(client, "GET /slow" + i, 1);
        turn_for(10);
    }
    client_expect_end(client, "HTTP/1.1 408 ");
    assert_in_range(clock_ms() - start, 140, 1000);
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
    assert_in_range(clock_ms() - start, 140, 1000);
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

/* --- leaving -------------------------------------------------------------------------------------------------- */

static void a_client_that_leaves_is_noticed(void **state)
{
    static char ahead[100000];
    struct linger reset = {1, 0};
    uint64_t start;
    int client;

    open_stage(&usual_limits, NULL);
    for (unsigned i = 0; i < 4; i++) {
        client = client_connect();
        client_send(client, i == 3 ? "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" : ASK("/hold"));
        WAIT_FOR(stage.open);
        if (i == 1)
            setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        if (i == 3)     /* more than is held: reading has stopped */
            client_send_bytes(client, ahead, 60000);
        turn_for(20);
        start = clock_ms();
        if (i == 2)
            shutdown(client, SHUT_WR);
        else
            close(client);
        WAIT_FOR(stage.gone == i + 1);
        assert_in_range(clock_ms() - start, 0, 100);
        assert_string_equal(stage.why, i == 1 ? "reset" : "left");
        if (i == 2)
            close(client);
    }
    close_stage();
    assert_int_equal(stage.closed, 4);
}

static void a_half_closed_client_gets_the_answer_on_its_way(void **state)
{
    static char body[4000000];
    struct buffer text;
    struct conn *conn;
    int client;

    memset(body, 'x', sizeof(body));
    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/hold"));
    WAIT_FOR(stage.open);
    conn = stage.open;
    stage.open = NULL;
    answer(conn, 200, (struct bytes){body, sizeof(body)});
    shutdown(client, SHUT_WR);
    turn_for(20);
    assert_int_equal(client_end(client, &text), 0);
    assert_true(text.size > sizeof(body));
    assert_int_equal(stage.gone, 0);
    buffer_deinit(&text);
    close_stage();
}

static void a_cut_answer_has_no_good_end(void **state)
{
    struct buffer text;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/cut") ASK("/never"));
    assert_int_equal(client_end(client, &text), 0);
    assert_true(bytes_end_with(buffer_bytes(&text), BYTES("\r\n\r\n5\r\nha")));
    buffer_deinit(&text);
    /* Where the end of the connection could be taken for the end of the answer, there is none. */
    client = client_connect();
    client_send(client, "GET /cut HTTP/1.0\r\n\r\n");
    assert_int_equal(client_end(client, &text), ECONNRESET);
    assert_true(bytes_end_with(buffer_bytes(&text), BYTES("\r\n\r\n5\r\nha")));
    buffer_deinit(&text);
    assert_int_equal(stage.gone, 0);
    assert_int_equal(stage.requests, 2);
    close_stage();
}

/* --- slow readers --------------------------------------------------------------------------------------------- */

static size_t fill(struct conn *conn, struct bytes piece)
{
    size_t written = 0;

    while (conn_write(conn, &piece, 1) && stage.open)
        written += piece.size;
    return written + piece.size;
}

static void a_slow_reader_gets_everything(void **state)
{
    static char piece[10000], text[65536];
    size_t written = 0, received = 0;
    struct conn *conn;
    int client;

    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (char)('a' + i % 25);
    open_stage(&usual_limits, NULL);
    client = client_connect();
    client_send(client, ASK("/hold"));
    WAIT_FOR(stage.open);
    conn = stage.open;
    for (unsigned round = 0; round < 20; round++) {
        unsigned drained = stage.drained;

        written += fill(conn, (struct bytes){piece, sizeof(piece)});
        assert_in_range(conn_unsent(conn), 65537, 65536 + sizeof(piece));
        while (stage.drained == drained) {
            ssize_t size = recv(client, text, sizeof(text), MSG_DONTWAIT);

            for (ssize_t i = 0; i < size; i++, received++)
                assert_int_equal(text[i], 'a' + received % sizeof(piece) % 25);
            turn();
        }
        assert_in_range(conn_unsent(conn), 0, 16384);
    }
    conn_cut(conn);
    stage.open = NULL;
    while (received < written) {
        ssize_t size = recv(client, text, sizeof(text), MSG_DONTWAIT);

        if (size == 0)
            break;
        received += size > 0 ? (size_t)size : 0;
        turn();
    }
    assert_in_range(received, written - 16384, written);
    close(client);
    close_stage();
}

static void a_stalled_reader_is_cut(void **state)
{
    struct conn_limits limits = limits_with(5000, 5000, 5000, 200);
    static char piece[10000];
    uint64_t start;
    size_t taken;
    int client, small = 4096;

    open_stage(&limits, NULL);
    client = client_connect();
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_send(client, ASK("/hold"));
    WAIT_FOR(stage.open);
    start = clock_ms();
    taken = fill(stage.open, (struct bytes){piece, sizeof(piece)});
    assert_in_range(taken, 65536, 524288);
    WAIT_FOR(stage.gone);
    assert_string_equal(stage.why, "stalled");
    assert_in_range(clock_ms() - start, 190, 1000);
    close(client);
    close_stage();
}

static void who_asks_and_does_not_read_is_held_back(void **state)
{
    static char body[60000];
    struct bytes ask = BYTES(ASK("/hold"));
    unsigned asked = 0;
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    for (unsigned quiet = 0; quiet < 50; quiet++) {
        ssize_t sent = send(client, ask.data, ask.size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0 && asked++ < 20000)
            quiet = 0;
        turn();
        if (stage.open) {
            struct conn *conn = stage.open;

            stage.open = NULL;
            assert_in_range(conn_unsent(conn), 0, 16384);
            answer(conn, 200, (struct bytes){body, sizeof(body)});
        }
        if (asked > 3000)
            break;
    }
    assert_in_range(stage.requests, 1, 200);    /* of 3000 */
    close(client);
    close_stage();
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void draining_lets_the_open_ones_finish(void **state)
{
    int idle, busy, fresh;
    struct conn *conn;

    open_stage(&usual_limits, NULL);
    idle = client_connect();
    client_send(idle, ASK("/now"));
    client_expect(idle, "now", 1);
    fresh = client_connect();
    busy = client_connect();
    client_send(busy, ASK("/hold"));
    WAIT_FOR(stage.open);
    conn = stage.open;
    stage.open = NULL;
    conn_drain_all(stage.context);
    client_expect_end(idle, "");
    client_send(fresh, ASK("/late"));       /* has connected, and may ask once */
    client_expect_end(fresh, "connection: close\r\n\r\n/late");
    assert_false(conn_may_keep(conn));
    answer(conn, 200, BYTES("held"));
    client_expect_end(busy, "connection: close\r\n\r\nheld");
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
        cmocka_unit_test(a_client_that_leaves_is_noticed),
        cmocka_unit_test(a_half_closed_client_gets_the_answer_on_its_way),
        cmocka_unit_test(a_cut_answer_has_no_good_end),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(a_stalled_reader_is_cut),
        cmocka_unit_test(who_asks_and_does_not_read_is_held_back),
        cmocka_unit_test(draining_lets_the_open_ones_finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
