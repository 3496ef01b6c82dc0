/*
 * Connections: clients that leave, that read slowly or not at all, and the end of the process.
 */
#include "entry_stage.h"

/* --- leaving -------------------------------------------------------------------------------------------- */

static void a_client_that_leaves_is_noticed(void **state)
{
    static char ahead[100000];
    struct linger reset = {1, 0};
    uint64_t start;
    int client;

    open_stage(&usual_limits, NULL);
    for (unsigned i = 0; i < 4; i++) {
        client = client_connect();
        client_send(client, i == 3 ? "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
                                   : ASK("/hold"));
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
        assert_in_range(clock_ms() - start, 0, usual_limits.idle_ms / 2);
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

/* --- slow readers --------------------------------------------------------------------------------------- */

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

/* --- the end -------------------------------------------------------------------------------------------- */

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
