/*
 * One request through libcurl, against a server that does what servers should not do.
 */
#include "link/transfer.h"

#include "base/alloc.h"
#include "link/resolve.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "script_server.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define OK OK_HEAD "Content-Length: 2\r\n\r\nhi"
#define SAY(text, then) {{(text), sizeof(text) - 1}, (then)}

/* What an owner does besides noting. */
enum habit {
    CANCEL_IN_HEAD = 1,
    CANCEL_IN_BODY = 2,
    PAUSE_IN_BODY = 4,
    START_IN_BODY = 8,
    CANCEL_OTHER = 16,
};

struct owner {
    struct transfer *transfer;
    struct transfer_target *target;
    struct owner *other;
    int habits;
    bool done;
    int result;
    char reason[300];
    unsigned heads, status, pieces;
    char content_type[128], content_encoding[64], retry_after[64];
    struct buffer body;
};

struct world {
    uv_loop_t loop;
    struct curl_loop *curl;
    struct server server;
    struct transfer_target *target;
    bool closed;
};

static const struct transfer_request ask = {.path = {"/v1/chat/completions", 20}, .body = {"{\"a\":1}", 7}};

static void begin(struct owner *owner, struct transfer_target *target, const struct transfer_request *request);

static void copy(char *place, struct bytes value)
{
    memcpy(place, value.data, value.size);
    place[value.size] = '\0';
}

static void on_head(void *data, const struct transfer_head *head)
{
    struct owner *owner = data;

    owner->heads++;
    owner->status = head->status;
    copy(owner->content_type, head->content_type);
    copy(owner->content_encoding, head->content_encoding);
    copy(owner->retry_after, head->retry_after);
    if (owner->habits & CANCEL_IN_HEAD)
        owner->transfer = transfer_cancel(owner->transfer);
}

static void on_body(void *data, struct bytes piece)
{
    struct owner *owner = data;

    owner->pieces++;
    buffer_append(&owner->body, piece);
    if (owner->habits & PAUSE_IN_BODY)
        transfer_pause(owner->transfer);
    if (owner->habits & START_IN_BODY && owner->pieces == 1)
        begin(owner->other, owner->target, &ask);
    if (owner->habits & CANCEL_OTHER)
        owner->other->transfer = transfer_cancel(owner->other->transfer);
    if (owner->habits & CANCEL_IN_BODY)
        owner->transfer = transfer_cancel(owner->transfer);
}

static void on_done(void *data, int result, const char *reason)
{
    struct owner *owner = data;

    assert_false(owner->done);
    owner->transfer = NULL;
    owner->done = true;
    owner->result = result;
    snprintf(owner->reason, sizeof(owner->reason), "%s", reason);
    if (owner->habits & CANCEL_OTHER && owner->other->transfer)
        owner->other->transfer = transfer_cancel(owner->other->transfer);
}

static const struct transfer_events events = {on_head, on_body, on_done};

static void begin(struct owner *owner, struct transfer_target *target, const struct transfer_request *request)
{
    owner->target = target;
    owner->transfer = transfer_start(target, request, &events, owner);
}

static void owner_deinit(struct owner *owner)
{
    transfer_cancel(owner->transfer);
    buffer_deinit(&owner->body);
}

/* One request from begin to end. */
static void ask_once(struct world *world, struct owner *owner, const struct transfer_request *request)
{
    owner_deinit(owner);
    *owner = (struct owner){.habits = owner->habits};
    begin(owner, world->target, request);
    assert_false(owner->done);
    assert_true(run_until(&world->loop, &owner->done, 5000));
}

/* --- the world ------------------------------------------------------------------------------------------------- */

static struct transfer_target_spec spec_of(const struct world *world)
{
    return (struct transfer_target_spec){
        .host = BYTES("127.0.0.1"), .port = world->server.port, .api_key = BYTES("key"), .connect_ms = 2000};
}

static void world_init(struct world *world, const struct server_reply *replies, size_t count)
{
    struct transfer_target_spec spec;

    memset(world, 0, sizeof(*world));
    uv_loop_init(&world->loop);
    server_init(&world->server, &world->loop, replies, count);
    world->curl = curl_loop_new(&world->loop, 64);
    spec = spec_of(world);
    world->target = transfer_target_new(world->curl, &spec);
    assert_non_null(world->target);
}

static void on_closed(void *data)
{
    bool *closed = data;

    *closed = true;
}

static void world_deinit(struct world *world)
{
    transfer_target_free(world->target);
    curl_loop_close(world->curl, on_closed, &world->closed);
    server_deinit(&world->server);
    assert_int_equal(uv_run(&world->loop, UV_RUN_DEFAULT), 0);
    assert_true(world->closed);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

/* --- good answers ---------------------------------------------------------------------------------------------- */

static void a_request_is_sent_and_answered(void **state)
{
    static const struct server_reply replies[] = {
        SAY("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\ncontent-TYPE:  text/plain; charset=utf-8 \r\n"
            "Content-Encoding: br\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nhello",
            THEN_KEEP),
    };
    static const char wanted[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                                 "User-Agent: embergate\r\nAuthorization: Bearer key\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 7\r\n\r\n{\"a\":1}";
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
    assert_int_equal(curl_loop_idle_handles(world.curl), 1);
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
    transfer_target_free(world.target);
    server_init_unix(&server, &world.loop, path, replies, 1);
    spec.unix_path = bytes_of(path);
    world.target = transfer_target_new(world.curl, &spec);
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
    /* 64 unused connections are kept, and 64 handles. */
    assert_in_range(world.server.accepted, COUNT, COUNT + 4 * (COUNT - 64));
    assert_in_range(curl_loop_idle_handles(world.curl), 1, 64);
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

/* --- no replay ------------------------------------------------------------------------------------------------- */

/* The server reads the second POST whole and hangs up. That POST must not come again, not on a new connection and not
 * on another kept one. */
static void a_stale_connection_is_told_not_replayed(void **state)
{
    static const struct server_reply scripts[][4] = {
        {SAY(OK, THEN_KEEP), SAY(OK, THEN_KEEP), SAY("", THEN_CLOSE), SAY(OK, THEN_KEEP)},
        {SAY(OK, THEN_KEEP), SAY(OK, THEN_KEEP), SAY("", THEN_RESET), SAY(OK, THEN_KEEP)},
    };
    char large_body[100000];
    struct transfer_request requests[] = {ask, ask};

    memset(large_body, 'x', sizeof(large_body));
    requests[1].body = (struct bytes){large_body, sizeof(large_body)};
    for (int variant = 0; variant < 8; variant++) {
        const struct transfer_request *request = &requests[variant / 2 % 2];
        bool spare = variant & 4; /* another kept connection, which libcurl could take */
        struct world world;
        struct owner owner = {0}, other = {0};

        world_init(&world, scripts[variant % 2], 4);
        begin(&owner, world.target, request);
        if (spare)
            begin(&other, world.target, request);
        assert_true(run_until(&world.loop, &owner.done, 2000));
        if (spare)
            assert_true(run_until(&world.loop, &other.done, 2000));
        else
            ask_once(&world, &owner, request);
        assert_int_equal(world.server.accepted, spare ? 2 : 1);
        ask_once(&world, &owner, request);
        assert_int_equal(owner.result, TRANSFER_E_STALE);
        assert_int_equal(owner.heads, 0);
        run_for(&world.loop, 30);
        assert_int_equal(world.server.requests, 3);
        assert_int_equal(world.server.accepted, spare ? 2 : 1);
        ask_once(&world, &owner, request);
        assert_int_equal(owner.result, 0);
        assert_int_equal(world.server.requests, 4);
        owner_deinit(&owner);
        owner_deinit(&other);
        world_deinit(&world);
    }
}

static void a_closed_connection_is_not_used_again(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_CLOSE), SAY(OK, THEN_RESET)};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 2);
    for (unsigned i = 0; i < 6; i++) {
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
        run_for(&world.loop, 5);
        assert_int_equal(world.server.accepted, i + 1);
    }
    owner_deinit(&owner);
    world_deinit(&world);
}

/* --- leaving --------------------------------------------------------------------------------------------------- */

static void wait_for(struct world *world, const unsigned *counter, unsigned value)
{
    for (int ms = 0; *counter < value && ms < 2000; ms++)
        run_for(&world->loop, 1);
    assert_int_equal(*counter, value);
}

static void cancelling_closes_the_connection(void **state)
{
    static const struct server_reply replies[] = {SAY("", THEN_KEEP)};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    begin(&owner, world.target, &ask); /* before libcurl heard of it */
    owner.transfer = transfer_cancel(owner.transfer);
    run_for(&world.loop, 5);
    assert_int_equal(world.server.accepted, 0);
    begin(&owner, world.target, &ask); /* while it waits for an answer */
    assert_false(transfer_connected(owner.transfer));
    wait_for(&world, &world.server.requests, 1);
    assert_true(transfer_connected(owner.transfer));
    owner.transfer = transfer_cancel(owner.transfer);
    wait_for(&world, &world.server.gone, 1);
    assert_false(owner.done);
    assert_null(transfer_cancel(NULL));
    owner_deinit(&owner);
    world_deinit(&world);
}

static void cancelling_inside_a_callback(void **state)
{
    static const struct server_reply replies[] = {SAY(OK_HEAD "Content-Length: 9\r\n\r\nhi", THEN_KEEP)};

    for (int habit = CANCEL_IN_HEAD; habit <= CANCEL_IN_BODY; habit++) {
        struct world world;
        struct owner owner = {.habits = habit};

        world_init(&world, replies, 1);
        begin(&owner, world.target, &ask);
        wait_for(&world, &world.server.gone, 1);
        assert_null(owner.transfer);
        assert_false(owner.done);
        assert_int_equal(owner.heads, 1);
        assert_int_equal(owner.pieces, habit == CANCEL_IN_BODY ? 1 : 0);
        assert_int_equal(curl_loop_idle_handles(world.curl), 1);
        owner_deinit(&owner);
        world_deinit(&world);
    }
}

/* Both are asked at once; whoever gets a body first cancels the other, from inside libcurl or while the other waits to
 * be told its end. */
static void cancelling_one_another(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};

    for (int round = 0; round < 20; round++) {
        struct world world;
        struct owner first = {.habits = CANCEL_OTHER}, second = {.habits = CANCEL_OTHER, .other = &first};

        first.other = &second;
        world_init(&world, replies, 1);
        begin(&first, world.target, &ask);
        begin(&second, world.target, &ask);
        run_for(&world.loop, 10);
        assert_true(first.done != second.done);
        assert_null(first.transfer);
        assert_null(second.transfer);
        assert_int_equal(curl_loop_idle_handles(world.curl), 2);
        owner_deinit(&first);
        owner_deinit(&second);
        world_deinit(&world);
    }
}

static void starting_inside_a_callback(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct world world;
    struct owner other = {0}, owner = {.habits = START_IN_BODY, .other = &other};

    world_init(&world, replies, 1);
    begin(&owner, world.target, &ask);
    assert_true(run_until(&world.loop, &owner.done, 1000));
    assert_true(run_until(&world.loop, &other.done, 1000));
    assert_int_equal(other.result, 0);
    owner_deinit(&owner);
    owner_deinit(&other);
    world_deinit(&world);
}

/* --- pausing --------------------------------------------------------------------------------------------------- */

/* STEP bytes a chunk; 0: with a length. */
static void say_megabyte(struct buffer *text, size_t step)
{
    enum { SIZE = 1 << 20 };

    buffer_init(text);
    buffer_append_text(text, OK_HEAD);
    if (step)
        buffer_append_text(text, "Transfer-Encoding: chunked\r\n\r\n");
    else
        buffer_printf(text, "Content-Length: %d\r\n\r\n", SIZE);
    for (size_t at = 0; at < SIZE; at += step ? step : SIZE) {
        size_t size = step ? step : SIZE;

        if (step)
            buffer_printf(text, "%zx\r\n", size);
        memset(buffer_reserve(text, size), 'b', size);
        text->size += size;
        if (step)
            buffer_append_text(text, "\r\n");
    }
    if (step)
        buffer_append_text(text, "0\r\n\r\n");
}

static void a_paused_transfer_stays_small(void **state)
{
    static const size_t steps[] = {0, 16, 4096, 65536};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct server_reply reply = {.then = THEN_KEEP};
        struct buffer text;
        struct world world;
        struct owner owner = {.habits = PAUSE_IN_BODY};
        size_t before;

        say_megabyte(&text, steps[i]);
        reply.bytes = buffer_bytes(&text);
        world_init(&world, &reply, 1);
        begin(&owner, world.target, &ask);
        wait_for(&world, &owner.pieces, 1);
        run_for(&world.loop, 50);
        assert_int_equal(owner.pieces, 1);
        assert_in_range(owner.body.size, 1, 8192);
        before = owner.body.size;
        transfer_resume(owner.transfer); /* and again at the next piece */
        assert_int_equal(owner.body.size, before);
        run_for(&world.loop, 20);
        assert_in_range(owner.body.size, before + 1, before + 3 * 8192);
        owner.habits = 0;
        transfer_resume(owner.transfer);
        transfer_pause(owner.transfer); /* changed our mind twice before anything happened */
        before = owner.body.size;
        run_for(&world.loop, 20);
        assert_int_equal(owner.body.size, before);
        transfer_resume(owner.transfer);
        assert_true(run_until(&world.loop, &owner.done, 5000));
        assert_int_equal(owner.result, 0);
        assert_int_equal(owner.body.size, 1 << 20);
        ask_once(&world, &owner, &ask);
        assert_int_equal(world.server.accepted, 1);
        owner_deinit(&owner);
        world_deinit(&world);
        buffer_deinit(&text);
    }
}

static void a_paused_transfer_can_be_cancelled(void **state)
{
    struct server_reply reply = {.then = THEN_KEEP};
    struct buffer text;
    struct world world;

    say_megabyte(&text, 4096);
    reply.bytes = buffer_bytes(&text);
    for (int variant = 0; variant < 3; variant++) {
        struct owner owner = {.habits = PAUSE_IN_BODY};

        world_init(&world, &reply, 1);
        begin(&owner, world.target, &ask);
        if (variant == 0)
            transfer_pause(owner.transfer); /* before there is anything */
        wait_for(&world, &owner.pieces, 1);
        if (variant == 1)
            transfer_resume(owner.transfer);
        if (variant == 2) {
            owner.habits = CANCEL_IN_BODY;
            transfer_resume(owner.transfer);
            run_for(&world.loop, 10);
            assert_null(owner.transfer);
        }
        owner.transfer = transfer_cancel(owner.transfer);
        wait_for(&world, &world.server.gone, 1);
        owner_deinit(&owner);
        world_deinit(&world);
    }
    buffer_deinit(&text);
}

/* --- no connection --------------------------------------------------------------------------------------------- */

static int listen_without_accepting(uint16_t *ret_port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&address, size), 0);
    if (backlog >= 0)
        assert_return_code(listen(fd, backlog), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void use_port(struct world *world, uint16_t port, const char *host)
{
    struct transfer_target_spec spec = {.host = bytes_of(host), .port = port, .connect_ms = 300};

    transfer_target_free(world->target);
    world->target = transfer_target_new(world->curl, &spec);
}

static void nobody_there(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct world world;
    struct owner owner = {0};
    uint16_t port;
    int fd = listen_without_accepting(&port, -1);

    world_init(&world, replies, 1);
    use_port(&world, port, "127.0.0.1");
    for (int round = 0; round < 3; round++) {
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, TRANSFER_E_CONNECT);
        assert_true(strlen(owner.reason) > 0);
    }
    close(fd);
    owner_deinit(&owner);
    world_deinit(&world);
}

static void a_full_backlog_is_a_connect_timeout(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct world world;
    struct owner owner = {0};
    uint16_t port;
    int fd = listen_without_accepting(&port, 0);
    int fill[8];
    uint64_t start;

    address.sin_port = htons(port);
    for (size_t i = 0; i < ARRAY_SIZE(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&address, sizeof(address));
    }
    world_init(&world, replies, 1);
    use_port(&world, port, "127.0.0.1");
    start = uv_hrtime();
    ask_once(&world, &owner, &ask);
    assert_int_equal(owner.result, TRANSFER_E_CONNECT_TIMEOUT);
    assert_in_range((uv_hrtime() - start) / 1000000, 290, 1000);
    for (int round = 0; round < 3; round++) {
        owner.done = false;
        begin(&owner, world.target, &ask);
        run_for(&world.loop, 5);
        assert_false(transfer_connected(owner.transfer));
        owner.transfer = transfer_cancel(owner.transfer);
    }
    run_for(&world.loop, 5);
    assert_false(owner.done);
    for (size_t i = 0; i < ARRAY_SIZE(fill); i++)
        close(fill[i]);
    close(fd);
    owner_deinit(&owner);
    world_deinit(&world);
}

static void names_are_given_not_looked_up(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct transfer_request fresh = ask;
    struct world world;
    struct owner owner = {0};
    uint16_t dead_port;
    int fd = listen_without_accepting(&dead_port, -1);

    fresh.fresh = true;
    world_init(&world, replies, 1);
    use_port(&world, world.server.port, "Model.embergate.invalid");
    ask_once(&world, &owner, &ask);
    assert_int_equal(owner.result, TRANSFER_E_DNS);
    transfer_target_resolved(world.target, "127.0.0.1");
    owner.transfer = transfer_start(world.target, &ask, &events, &owner);
    owner.transfer = transfer_cancel(owner.transfer); /* this one never told libcurl */
    for (int round = 0; round < 3; round++) {
        ask_once(&world, &owner, round == 1 ? &fresh : &ask);
        assert_int_equal(owner.result, 0);
    }
    assert_int_equal(world.server.accepted, 2);
    transfer_target_resolved(world.target, "::1"); /* nobody listens there */
    ask_once(&world, &owner, &fresh);
    assert_int_equal(owner.result, TRANSFER_E_CONNECT);
    transfer_target_resolved(world.target, "127.0.0.1");
    ask_once(&world, &owner, &fresh);
    assert_int_equal(owner.result, 0);
    close(fd);
    owner_deinit(&owner);
    world_deinit(&world);
}

static void nothing_is_smuggled(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    static const struct transfer_target_spec bad[] = {
        {.host = {"a\r\nb", 4}},
        {.host = {"a/b", 3}},
        {.host = {"user@host", 9}},
        {.host = {"", 0}},
        {.host = {"host", 4}, .api_key = {"k\nX: y", 6}},
        {.host = {"host", 4}, .ca_file = {"a\0b", 3}},
        {.unix_path = {"/a\0b", 4}},
    };
    static const char *const paths[] = {"/a b", "/a\r\nX: y", "", "/\x7f"};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_null(transfer_target_new(world.curl, &bad[i]));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct transfer_request request = ask;

        request.path = bytes_of(paths[i]);
        ask_once(&world, &owner, &request);
        assert_int_equal(owner.result, TRANSFER_E_BAD);
    }
    assert_int_equal(world.server.accepted, 0);
    ask_once(&world, &owner, &ask);
    assert_int_equal(owner.result, 0);
    owner_deinit(&owner);
    world_deinit(&world);
}

/* --- TLS ------------------------------------------------------------------------------------------------------- */

static pid_t start_tls_server(const char *folder, uint16_t port)
{
    char command[1024];
    pid_t pid;

    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
             "-addext subjectAltName=DNS:model.test,IP:127.0.0.1 -keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
             folder, folder);
    if (system(command) != 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        snprintf(command, sizeof(command), "%s/key.pem", folder);
        char *key = alloc_text(command);
        snprintf(command, sizeof(command), "%s/cert.pem", folder);
        char *cert = alloc_text(command);
        snprintf(command, sizeof(command), "127.0.0.1:%u", port);
        execlp("openssl", "openssl", "s_server", "-accept", command, "-key", key, "-cert", cert, "-www", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void wait_for_port(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    bool there = false;

    address.sin_port = htons(port);
    for (int i = 0; i < 500 && !there; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        there = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        usleep(10000);
    }
    assert_true(there);
}

static void certificates_are_checked(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    static const struct transfer_request get = {.get = true, .path = {"/", 1}};
    struct {
        const char *host;
        bool trusted;
        int result;
    } cases[] = {
        {"127.0.0.1", true, 0},
        {"127.0.0.1", false, TRANSFER_E_TLS},
        {"model.test", true, 0},
        {"other.test", true, TRANSFER_E_TLS},
    };
    char folder[] = "/tmp/embergate-tls-XXXXXX", file[64];
    struct world world;
    uint16_t port;
    int fd = listen_without_accepting(&port, -1);
    pid_t server;

    close(fd);
    assert_non_null(mkdtemp(folder));
    server = start_tls_server(folder, port);
    assert_true(server > 0);
    wait_for_port(port);
    snprintf(file, sizeof(file), "%s/cert.pem", folder);
    world_init(&world, replies, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct transfer_target_spec spec = {.tls = true, .host = bytes_of(cases[i].host), .port = port,
                                            .connect_ms = 3000,
                                            .ca_file = cases[i].trusted ? bytes_of(file) : BYTES_NONE};

        transfer_target_free(world.target);
        world.target = transfer_target_new(world.curl, &spec);
        transfer_target_resolved(world.target, "127.0.0.1");
        for (int round = 0; round < 3; round++) {
            struct owner owner = {0};

            ask_once(&world, &owner, &get);
            if (owner.result != cases[i].result)
                fail_msg("%s %d: %d %s", cases[i].host, cases[i].trusted, owner.result, owner.reason);
            if (owner.result == 0)
                assert_int_equal(owner.status, 200);
            owner_deinit(&owner);
        }
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    snprintf(file, sizeof(file), "rm -r %s", folder);
    assert_int_equal(system(file), 0);
    use_port(&world, world.server.port, "127.0.0.1");
    world_deinit(&world);
}

/* A server without TLS behind an https target. */
static void plain_text_is_no_tls(void **state)
{
    static const struct server_reply replies[] = {SAY("HTTP/1.1 400 Bad\r\n\r\n", THEN_CLOSE)};
    struct transfer_target_spec spec = {.tls = true, .host = BYTES("127.0.0.1"), .connect_ms = 1000};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    spec.port = world.server.port;
    transfer_target_free(world.target);
    world.target = transfer_target_new(world.curl, &spec);
    begin(&owner, world.target, &ask);
    wait_for(&world, &world.server.accepted, 1);
    run_for(&world.loop, 10);
    server_say(LIST_ENTRY(list_first(&world.server.conns), struct server_conn, node), BYTES("not TLS at all\r\n"),
               THEN_CLOSE);
    assert_true(run_until(&world.loop, &owner.done, 2000));
    assert_int_equal(owner.result, TRANSFER_E_TLS);
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
        cmocka_unit_test(a_stale_connection_is_told_not_replayed),
        cmocka_unit_test(a_closed_connection_is_not_used_again),
        cmocka_unit_test(cancelling_closes_the_connection),
        cmocka_unit_test(cancelling_inside_a_callback),
        cmocka_unit_test(cancelling_one_another),
        cmocka_unit_test(starting_inside_a_callback),
        cmocka_unit_test(a_paused_transfer_stays_small),
        cmocka_unit_test(a_paused_transfer_can_be_cancelled),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(a_full_backlog_is_a_connect_timeout),
        cmocka_unit_test(names_are_given_not_looked_up),
        cmocka_unit_test(nothing_is_smuggled),
        cmocka_unit_test(certificates_are_checked),
        cmocka_unit_test(plain_text_is_no_tls),
    };

    if (count > 1)
        cmocka_set_test_filter(words[1]);
    signal(SIGPIPE, SIG_IGN);
    curl_loop_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
