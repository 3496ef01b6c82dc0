/*
 * A call under its deadlines.
 */
#include "upstream/call.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#include "script_server.h"

#define SAY(text, then) {{(text), sizeof(text) - 1}, (then)}
#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define OK OK_HEAD "Content-Length: 2\r\n\r\nhi"
#define UNFINISHED OK_HEAD "Content-Length: 9\r\n\r\nhi"

/* Cannot be looked up; fails without asking a name server. */
#define BAD_NAME "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid"

enum { CANCEL_IN_HEAD = 1, CANCEL_IN_BODY, PAUSE_IN_BODY, ASK_AGAIN };

struct owner {
    struct call *call;
    struct upstream *upstream;
    int habit;
    bool done;
    int result;
    unsigned heads, status;
    size_t bytes;
    uint64_t started_at, done_at;
};

struct world {
    uv_loop_t loop;
    struct transfer_loop *transfers;
    struct server server;
    struct config_backend backend;
    struct upstream *upstream;
    bool closed;
};

static const struct call_request ask = {
    .path = {"/v1/chat/completions", 20},
    .body = {"{}", 2},
    .timeouts = {.connect = 2000, .first_byte = 2000, .between_bytes = 2000, .total = 5000},
};

static void begin(struct owner *owner, struct upstream *upstream, const struct call_request *request);

static void on_head(void *data, const struct transfer_head *head)
{
    struct owner *owner = data;

    owner->heads++;
    owner->status = head->status;
    if (owner->habit == CANCEL_IN_HEAD)
        owner->call = call_cancel(owner->call);
}

static void on_body(void *data, struct bytes piece)
{
    struct owner *owner = data;

    owner->bytes += piece.size;
    if (owner->habit == CANCEL_IN_BODY)
        owner->call = call_cancel(owner->call);
    if (owner->habit == PAUSE_IN_BODY)
        call_pause(owner->call);
}

static void on_done(void *data, int result, const char *reason)
{
    struct owner *owner = data;

    assert_false(owner->done);
    owner->call = NULL;
    owner->result = result;
    owner->done_at = uv_hrtime();
    assert_int_equal(result == 0, reason[0] == '\0');
    if (owner->habit == ASK_AGAIN) {
        owner->habit = 0;
        begin(owner, owner->upstream, &ask);
        return;
    }
    owner->done = true;
}

static const struct transfer_events events = {on_head, on_body, on_done};

static void begin(struct owner *owner, struct upstream *upstream, const struct call_request *request)
{
    owner->upstream = upstream;
    owner->started_at = uv_hrtime();
    owner->call = call_start(upstream, request, &events, owner);
    assert_false(owner->done);
}

static unsigned took_ms(const struct owner *owner)
{
    return (unsigned)((owner->done_at - owner->started_at) / 1000000);
}

static void world_init(struct world *world, const char *host, const struct server_reply *replies, size_t count)
{
    memset(world, 0, sizeof(*world));
    uv_loop_init(&world->loop);
    server_init(&world->server, &world->loop, replies, count);
    world->transfers = transfer_loop_new(&world->loop, 16);
    world->backend = (struct config_backend){.host = bytes_of(host), .port = world->server.port,
                                             .timeouts = {.connect = 2000}};
    world->upstream = upstream_new(&world->loop, world->transfers, &world->backend);
    assert_ptr_equal(upstream_backend(world->upstream), &world->backend);
}

static void on_closed(void *data)
{
    bool *closed = data;

    *closed = true;
}

static void world_deinit(struct world *world)
{
    upstream_free(world->upstream);
    transfer_loop_close(world->transfers, on_closed, &world->closed);
    server_deinit(&world->server);
    assert_int_equal(uv_run(&world->loop, UV_RUN_DEFAULT), 0);
    assert_true(world->closed);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

static void wait_for(struct world *world, const unsigned *counter, unsigned value)
{
    for (int ms = 0; *counter < value && ms < 2000; ms++)
        run_for(&world->loop, 1);
    assert_int_equal(*counter, value);
}

/* --- answers --------------------------------------------------------------------------------------------------- */

static void answers_come_from_names_and_addresses(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct world world;

        world_init(&world, hosts[i], replies, 1);
        for (int round = 0; round < 3; round++) {
            struct owner owner = {.habit = ASK_AGAIN};

            begin(&owner, world.upstream, &ask);
            assert_true(run_until(&world.loop, &owner.done, 3000));
            assert_int_equal(owner.result, 0);
            assert_int_equal(owner.heads, 2);
            assert_int_equal(owner.bytes, 4);
        }
        assert_int_equal(world.server.accepted, 1);
        assert_int_equal(world.server.requests, 6);
        world_deinit(&world);
    }
}

static void a_name_without_address_is_told(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct world world;

    world_init(&world, BAD_NAME, replies, 1);
    for (int round = 0; round < 3; round++) {
        struct owner owner = {.habit = round == 2 ? ASK_AGAIN : 0};

        begin(&owner, world.upstream, &ask);
        assert_true(run_until(&world.loop, &owner.done, 3000));
        assert_int_equal(owner.result, TRANSFER_E_DNS);
    }
    world_deinit(&world);
}

/* --- deadlines ------------------------------------------------------------------------------------------------- */

static void deadlines_are_kept(void **state)
{
    static const struct {
        const char *name;
        struct server_reply reply;
        struct config_timeouts timeouts;
        int habit, result;
        unsigned ms;
    } cases[] = {
        {"first byte", SAY("", THEN_KEEP), {2000, 100, 2000, 2000}, 0, CALL_E_FIRST_BYTE, 100},
        {"first byte above total", SAY("", THEN_KEEP), {2000, 500, 500, 100}, 0, CALL_E_TOTAL, 100},
        {"half a head", SAY(OK_HEAD, THEN_KEEP), {2000, 100, 2000, 2000}, 0, CALL_E_FIRST_BYTE, 100},
        {"between bytes", SAY(UNFINISHED, THEN_KEEP), {2000, 2000, 100, 2000}, 0, CALL_E_BETWEEN_BYTES, 100},
        {"total", SAY(UNFINISHED, THEN_KEEP), {2000, 2000, 2000, 150}, 0, CALL_E_TOTAL, 150},
        {"only total", SAY("", THEN_KEEP), {50, 0, 50, 200}, 0, CALL_E_TOTAL, 200},
        {"only total, after a head", SAY(UNFINISHED, THEN_KEEP), {50, 0, 50, 200}, 0, CALL_E_TOTAL, 200},
        {"paused", SAY(UNFINISHED, THEN_KEEP), {2000, 2000, 50, 200}, PAUSE_IN_BODY, CALL_E_TOTAL, 200},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct call_request request = ask;
        struct owner owner = {.habit = cases[i].habit};
        struct world world;

        request.timeouts = cases[i].timeouts;
        world_init(&world, "127.0.0.1", &cases[i].reply, 1);
        begin(&owner, world.upstream, &request);
        assert_true(run_until(&world.loop, &owner.done, 3000));
        if (owner.result != cases[i].result || took_ms(&owner) + 2 < cases[i].ms || took_ms(&owner) > cases[i].ms + 90)
            fail_msg("%s: %d after %u ms", cases[i].name, owner.result, took_ms(&owner));
        wait_for(&world, &world.server.gone, 1);
        world_deinit(&world);
    }
}

static void each_byte_moves_the_deadline(void **state)
{
    static const struct server_reply replies[] = {SAY(OK_HEAD "Content-Length: 100\r\n\r\n", THEN_KEEP)};
    struct call_request request = ask;
    struct owner owner = {0};
    struct world world;
    struct server_conn *conn;

    request.timeouts.between_bytes = 150;
    world_init(&world, "127.0.0.1", replies, 1);
    begin(&owner, world.upstream, &request);
    wait_for(&world, &owner.heads, 1);
    conn = LIST_ENTRY(list_first(&world.server.conns), struct server_conn, node);
    for (int i = 0; i < 10; i++) {
        run_for(&world.loop, 50);
        server_say(conn, BYTES("x"), THEN_KEEP);
    }
    assert_false(owner.done);
    assert_true(run_until(&world.loop, &owner.done, 1000));
    assert_int_equal(owner.result, CALL_E_BETWEEN_BYTES);
    assert_int_equal(owner.bytes, 10);
    assert_in_range(took_ms(&owner), 640, 800);
    world_deinit(&world);
}

static void the_pause_is_not_silence(void **state)
{
    static const struct server_reply replies[] = {SAY(UNFINISHED, THEN_KEEP)};
    struct call_request request = ask;
    struct owner owner = {.habit = PAUSE_IN_BODY};
    struct world world;
    uint64_t resumed_at;

    request.timeouts.between_bytes = 100;
    world_init(&world, "127.0.0.1", replies, 1);
    begin(&owner, world.upstream, &request);
    run_for(&world.loop, 300);
    assert_false(owner.done);
    resumed_at = uv_hrtime();
    call_resume(owner.call);
    call_resume(owner.call);
    assert_true(run_until(&world.loop, &owner.done, 1000));
    assert_int_equal(owner.result, CALL_E_BETWEEN_BYTES);
    assert_in_range((owner.done_at - resumed_at) / 1000000, 95, 200);
    world_deinit(&world);
}

/* Many with one timer: each at its own time. */
static void deadlines_of_many_calls(void **state)
{
    enum { COUNT = 100 };
    static const struct server_reply replies[] = {SAY("", THEN_KEEP)};
    static struct owner owners[COUNT];
    struct world world;

    memset(owners, 0, sizeof(owners));
    world_init(&world, "127.0.0.1", replies, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        struct call_request request = ask;

        request.timeouts.total = 500 - 4 * i;
        begin(&owners[i], world.upstream, &request);
        if (i % 10 == 9)
            owners[i].call = call_cancel(owners[i].call);
    }
    run_for(&world.loop, 650);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(owners[i].done, i % 10 != 9);
        if (owners[i].done)
            assert_in_range(took_ms(&owners[i]), 500 - 4 * i - 40, 500 - 4 * i + 90);
    }
    world_deinit(&world);
}

/* After a stop of the whole process, what waited in the sockets counts, not the clock. */
static void a_stopped_process_makes_no_storm(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct call_request request = ask;
    struct owner owner = {0};
    struct world world;

    request.timeouts.first_byte = 100;
    world_init(&world, "127.0.0.1", replies, 1);
    begin(&owner, world.upstream, &ask);
    assert_true(run_until(&world.loop, &owner.done, 1000)); /* there is a connection now */
    owner = (struct owner){0};
    begin(&owner, world.upstream, &request);
    for (unsigned before = world.server.requests; world.server.requests == before;)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    if (owner.heads == 0)
        usleep(200000);
    assert_true(run_until(&world.loop, &owner.done, 1000));
    assert_int_equal(owner.result, 0);
    world_deinit(&world);
}

static void connecting_has_its_time(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    struct call_request request = ask;
    struct world world;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fill[8];

    /* A listener whose queue is full answers no connection attempt. */
    assert_return_code(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_return_code(listen(fd, 0), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    for (size_t i = 0; i < ARRAY_SIZE(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&address, size);
    }
    world_init(&world, "127.0.0.1", replies, 1);
    upstream_free(world.upstream);
    world.backend.port = ntohs(address.sin_port);
    world.upstream = upstream_new(&world.loop, world.transfers, &world.backend);
    request.timeouts.connect = 150;
    request.timeouts.first_byte = 50; /* begins only when connected */
    for (int round = 0; round < 2; round++) {
        struct owner owner = {0};

        begin(&owner, world.upstream, &request);
        assert_true(run_until(&world.loop, &owner.done, 2000));
        assert_int_equal(owner.result, TRANSFER_E_CONNECT_TIMEOUT);
        assert_in_range(took_ms(&owner), 148, 250);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fill); i++)
        close(fill[i]);
    close(fd);
    world_deinit(&world);
}

/* --- leaving --------------------------------------------------------------------------------------------------- */

static void cancelling_in_each_phase(void **state)
{
    static const struct server_reply silent[] = {SAY("", THEN_KEEP)};
    static const struct server_reply talking[] = {SAY(UNFINISHED, THEN_KEEP)};

    for (int phase = 0; phase < 5; phase++) {
        struct owner owner = {.habit = phase == 3 ? CANCEL_IN_HEAD : phase == 4 ? CANCEL_IN_BODY : 0};
        struct world world;

        world_init(&world, phase == 0 ? "localhost" : "127.0.0.1", phase < 3 ? silent : talking, 1);
        begin(&owner, world.upstream, &ask);
        if (phase == 2)
            wait_for(&world, &world.server.requests, 1);
        if (phase < 3) /* while it resolves, before it connects, while it waits */
            owner.call = call_cancel(owner.call);
        if (phase >= 2)
            wait_for(&world, &world.server.gone, 1);
        run_for(&world.loop, 10);
        assert_null(owner.call);
        assert_false(owner.done);
        assert_int_equal(world.server.requests, phase < 2 ? 0 : 1);
        assert_null(call_cancel(NULL));
        world_deinit(&world);
    }
}

static void a_pause_before_the_answer(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP)};
    static const char *const hosts[] = {"127.0.0.1", "localhost"};

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct owner owner = {0};
        struct world world;

        world_init(&world, hosts[i], replies, 1);
        begin(&owner, world.upstream, &ask);
        call_pause(owner.call);
        run_for(&world.loop, 50);
        assert_false(owner.done);
        call_resume(owner.call);
        assert_true(run_until(&world.loop, &owner.done, 1000));
        assert_int_equal(owner.result, 0);
        assert_int_equal(owner.bytes, 2);
        world_deinit(&world);
    }
}

int main(int count, char **words)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_from_names_and_addresses),
        cmocka_unit_test(a_name_without_address_is_told),
        cmocka_unit_test(deadlines_are_kept),
        cmocka_unit_test(each_byte_moves_the_deadline),
        cmocka_unit_test(the_pause_is_not_silence),
        cmocka_unit_test(deadlines_of_many_calls),
        cmocka_unit_test(a_stopped_process_makes_no_storm),
        cmocka_unit_test(connecting_has_its_time),
        cmocka_unit_test(cancelling_in_each_phase),
        cmocka_unit_test(a_pause_before_the_answer),
    };

    if (count > 1)
        cmocka_set_test_filter(words[1]);
    signal(SIGPIPE, SIG_IGN);
    transfer_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
