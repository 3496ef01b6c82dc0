/*
 * One request, against a server that does what servers should not do.
 */
#include "transfer_world.h"

/* --- good answers ---------------------------------------------------------------------------------------------- */

static void a_request_is_sent_and_answered(void **state)
{
    static const struct server_reply replies[] = {
        SAY("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\ncontent-TYPE:  text/plain; charset=utf-8 \r\n"
            "Content-Encoding: br\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nhello",
            THEN_KEEP),
    };
    static const char wanted[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                                 "User-Agent: embergate\r\nAuthorization: Bearer key\r\n"
                                 "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    struct world world;
    struct owner owner = {0};
    char text[512];

    world_init(&world, replies, 1);
    ask_once(&world, &owner, &ask);
    assert_int_equal(owner.result, 0);
    assert_string_equal(owner.reason, "");
    assert_int_equal(owner.heads, 1);
    assert_int_equal(owner.status, 429);
    assert_string_equal(owner.content_type, "text/plain; charset=utf-8");
    assert_string_equal(owner.content_encoding, "br");
    assert_string_equal(owner.retry_after, "7");
    assert_true(bytes_equal(buffer_bytes(&owner.body), BYTES("hello")));
    snprintf(text, sizeof(text), wanted, world.server.port);
    assert_true(bytes_equal(buffer_bytes(&world.server.last), bytes_of(text)));
    owner_deinit(&owner);
    world_deinit(&world);
}

static void requests_of_all_kinds_share_one_connection(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    static const struct transfer_request get = {.get = true, .path = {"/v1/models?x=1", 14}};
    struct transfer_request stream = ask;
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    stream.event_stream = true;
    for (int round = 0; round < 3; round++) {
        struct bytes last;

        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
        assert_true(bytes_find(buffer_bytes(&world.server.last), BYTES("Accept")) == world.server.last.size);
        ask_once(&world, &owner, &stream);
        last = buffer_bytes(&world.server.last);
        assert_true(bytes_find(last, BYTES("\r\nAccept: text/event-stream\r\n")) < last.size);
        ask_once(&world, &owner, &get);
        last = buffer_bytes(&world.server.last);
        assert_true(bytes_start_with(last, BYTES("GET /v1/models?x=1 HTTP/1.1\r\n")));
        assert_true(bytes_find(last, BYTES("Content-")) == last.size);
        assert_true(bytes_end_with(last, BYTES("\r\n\r\n")));
    }
    assert_int_equal(world.server.accepted, 1);
    assert_int_equal(world.server.requests, 9);
    assert_int_equal(transfer_loop_idle(world.transfers), 1);
    owner_deinit(&owner);
    world_deinit(&world);
}

static void fresh_means_a_new_connection(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct transfer_request fresh = ask;
    struct world world;
    struct owner owner = {0};

    fresh.fresh = true;
    world_init(&world, replies, 1);
    ask_once(&world, &owner, &ask);
    ask_once(&world, &owner, &fresh);
    assert_int_equal(world.server.accepted, 2);
    ask_once(&world, &owner, &ask);
    assert_int_equal(world.server.accepted, 2);
    owner_deinit(&owner);
    world_deinit(&world);
}

static void a_large_body_arrives_whole(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    enum { SIZE = 3 << 20 };
    struct transfer_request large = ask;
    struct world world;
    struct owner owner = {0};
    char *body = alloc_bytes(SIZE);

    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)('a' + i % 26);
    large.body = (struct bytes){body, SIZE};
    world_init(&world, replies, 1);
    for (int round = 0; round < 2; round++) {
        ask_once(&world, &owner, &large);
        assert_int_equal(owner.result, 0);
        assert_true(bytes_end_with(buffer_bytes(&world.server.last), large.body));
        assert_true(bytes_find(buffer_bytes(&world.server.last), BYTES("Expect")) == world.server.last.size);
    }
    assert_int_equal(world.server.accepted, 1);
    assert_int_equal(world.server.requests, 2);
    owner_deinit(&owner);
    world_deinit(&world);
    alloc_free(body);
}

static void a_unix_socket_is_reached(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    char path[64];
    struct transfer_target_spec spec = {.connect_ms = 1000};
    struct world world;
    struct server server;
    struct owner owner = {0};

    snprintf(path, sizeof(path), "/tmp/embergate-test-%d.sock", (int)getpid());
    unlink(path);
    world_init(&world, replies, 1);
    server_init_unix(&server, &world.loop, path, replies, 1);
    spec.unix_path = bytes_of(path);
    use_target(&world, &spec);
    for (int round = 0; round < 3; round++) {
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
    }
    assert_int_equal(server.accepted, 1);
    assert_true(bytes_find(buffer_bytes(&server.last), BYTES("Authorization")) == server.last.size);
    owner_deinit(&owner);
    server_deinit(&server);
    world_deinit(&world);
}

static void many_at_once(void **state)
{
    enum { COUNT = 200 };
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    static struct owner owners[COUNT];
    struct world world;

    world_init(&world, replies, 1);
    for (int round = 0; round < 5; round++) {
        memset(owners, 0, sizeof(owners));
        for (int i = 0; i < COUNT; i++)
            begin(&owners[i], world.target, &ask);
        for (int i = 0; i < COUNT; i++) {
            assert_true(run_until(&world.loop, &owners[i].done, 5000));
            assert_int_equal(owners[i].result, 0);
            assert_true(bytes_equal(buffer_bytes(&owners[i].body), BYTES("hi")));
            owner_deinit(&owners[i]);
        }
        assert_int_equal(world.server.requests, COUNT * (unsigned)(round + 1));
    }
    /* 64 unused connections are kept, and 64 of libcurl's handles. */
    assert_in_range(world.server.accepted, COUNT, COUNT + 4 * (COUNT - 64));
    assert_in_range(transfer_loop_idle(world.transfers), 1, 64);
    world_deinit(&world);
}

/* --- bad answers ----------------------------------------------------------------------------------------------- */

#define I "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"

static const struct {
    const char *name;
    struct server_reply reply;
    int result;
    unsigned status;
} answers[] = {
    {"closed before a byte", SAY("", THEN_CLOSE), TRANSFER_E_RESET, 0},
    {"reset before a byte", SAY("", THEN_RESET), TRANSFER_E_RESET, 0},
    {"closed in the status line", SAY("HTTP/1.1 2", THEN_CLOSE), TRANSFER_E_RESET, 0},
    {"closed in the head", SAY("HTTP/1.1 200 OK\r\nA: b\r\n", THEN_CLOSE), TRANSFER_E_RESET, 0},
    {"reset in the head", SAY("HTTP/1.1 200 OK\r\nA: b\r\n", THEN_RESET), TRANSFER_E_RESET, 0},
    {"short body", SAY(OK_HEAD "Content-Length: 5\r\n\r\nabc", THEN_CLOSE), TRANSFER_E_RESET, 200},
    {"cut chunk", SAY(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", THEN_CLOSE), TRANSFER_E_RESET, 200},
    {"no last chunk", SAY(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", THEN_CLOSE), TRANSFER_E_RESET,
     200},
    {"bad chunk", SAY(OK_HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", THEN_KEEP), TRANSFER_E_RESET, 200},
    {"garbage", SAY("\x16\x03\x01 not http at all\r\n\r\n", THEN_KEEP), TRANSFER_E_BAD, 0},
    {"garbage and close", SAY("hello", THEN_CLOSE), TRANSFER_E_BAD, 0},
    {"http 0.9", SAY("<html>hello</html>\n", THEN_CLOSE), TRANSFER_E_BAD, 0},
    {"upgrade", SAY("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", THEN_KEEP), TRANSFER_E_BAD,
     0},
    {"ten interim answers", SAY(I I I I I I I I I I OK, THEN_KEEP), 0, 200},
    {"eleven interim answers", SAY(I I I I I I I I I I I OK, THEN_KEEP), TRANSFER_E_BAD, 0},
    {"redirect", SAY("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", THEN_KEEP), 0, 302},
    {"no content", SAY("HTTP/1.1 204 None\r\nContent-Length: 7\r\n\r\n", THEN_KEEP), 0, 204},
    {"until close", SAY("HTTP/1.0 200 OK\r\n\r\nhi", THEN_CLOSE), 0, 200},
    {"two lengths", SAY(OK_HEAD "Content-Length: x\r\n\r\nhi", THEN_CLOSE), TRANSFER_E_BAD, 0},
    {"trailers", SAY(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", THEN_KEEP), 0, 200},
};

/* Each on a fresh connection, and on one that has served already (where silence or a reset is STALE). */
static void bad_answers_are_named(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct server_reply script[] = {answers[i].reply, SAY(OK, THEN_KEEP), answers[i].reply, SAY(OK, THEN_KEEP)};
        int wanted = i < 2 ? TRANSFER_E_STALE : answers[i].result;
        struct world world;
        struct owner owner = {0};

        world_init(&world, script, ARRAY_SIZE(script));
        ask_once(&world, &owner, &ask);
        if (owner.result != answers[i].result || owner.status != answers[i].status)
            fail_msg("%s: %d %s, status %u", answers[i].name, owner.result, owner.reason, owner.status);
        assert_int_equal(owner.result == 0, owner.reason[0] == '\0');
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
        ask_once(&world, &owner, &ask);
        if (owner.result != wanted && !(i == 2 && owner.result == TRANSFER_E_STALE))
            fail_msg("%s, on a kept connection: %d %s", answers[i].name, owner.result, owner.reason);
        assert_int_equal(world.server.requests, 3);
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
        assert_int_equal(world.server.requests, 4);
        owner_deinit(&owner);
        world_deinit(&world);
    }
}

static void headers_have_a_limit(void **state)
{
    static const struct {
        size_t lines, size;
        int result;
    } cases[] = {{50, 1000, 0}, {70, 1000, TRANSFER_E_BAD}, {1, 120000, TRANSFER_E_BAD}, {3, 90000, TRANSFER_E_BAD}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct server_reply reply = {.then = THEN_KEEP};
        struct buffer text;
        struct world world;
        struct owner owner = {0};

        buffer_init(&text);
        buffer_append_text(&text, "HTTP/1.1 200 OK\r\n");
        for (size_t line = 0; line < cases[i].lines; line++) {
            buffer_append_text(&text, "X: ");
            memset(buffer_reserve(&text, cases[i].size), 'x', cases[i].size);
            text.size += cases[i].size;
            buffer_append_text(&text, "\r\n");
        }
        buffer_append_text(&text, "Content-Length: 0\r\n\r\n");
        reply.bytes = buffer_bytes(&text);
        world_init(&world, &reply, 1);
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, cases[i].result);
        owner_deinit(&owner);
        world_deinit(&world);
        buffer_deinit(&text);
    }
}

/* Bytes nobody asked for, on a connection that waits in the pool, answer no later question. */
static void an_unasked_answer_is_nobodys(void **state)
{
    static const struct server_reply replies[] = {
        SAY(OK, THEN_KEEP), SAY(OK_HEAD "Content-Length: 3\r\n\r\nnew", THEN_KEEP)};
    static const struct server_reply at_once[] = {
        SAY(OK "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", THEN_KEEP),
        SAY(OK_HEAD "Content-Length: 3\r\n\r\nnew", THEN_KEEP)};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 2);
    ask_once(&world, &owner, &ask);
    server_say(LIST_ENTRY(list_first(&world.server.conns), struct server_conn, node),
               BYTES("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), THEN_KEEP);
    run_for(&world.loop, 30);
    ask_once(&world, &owner, &ask);
    assert_true(bytes_equal(buffer_bytes(&owner.body), BYTES("new")));
    world_deinit(&world);
    world_init(&world, at_once, 2);
    ask_once(&world, &owner, &ask);
    ask_once(&world, &owner, &ask);
    assert_true(bytes_equal(buffer_bytes(&owner.body), BYTES("new")));
    owner_deinit(&owner);
    world_deinit(&world);
}

int main(int count, char **words)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_sent_and_answered),
        cmocka_unit_test(requests_of_all_kinds_share_one_connection),
        cmocka_unit_test(fresh_means_a_new_connection),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(a_unix_socket_is_reached),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(bad_answers_are_named),
        cmocka_unit_test(headers_have_a_limit),
        cmocka_unit_test(an_unasked_answer_is_nobodys),
    };

    prepare_transfer_tests(count > 1 ? words[1] : NULL);
    return run_transfer_tests(tests, ARRAY_SIZE(tests));
}
