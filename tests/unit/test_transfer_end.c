/*
 * How transfers end before their time, and how they are held up: dead connections, cancelling, pausing.
 */
#include "transfer_world.h"

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
        bool spare = variant & 4; /* another kept connection, which could be taken */
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

/* A server that closes after it had the request for a while has seen it: it is not for anybody to ask again unasked. */
static void a_late_close_is_no_stale_connection(void **state)
{
    static const struct server_reply replies[] = {SAY(OK, THEN_KEEP), SAY("", THEN_KEEP)};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 2);
    ask_once(&world, &owner, &ask);
    begin(&owner, world.target, &ask);
    owner.done = false;
    wait_for(&world, &world.server.requests, 2);
    assert_int_equal(world.server.accepted, 1);
    run_for(&world.loop, 1100);
    server_drop(&world.server);
    assert_true(run_until(&world.loop, &owner.done, 2000));
    assert_int_equal(owner.result, TRANSFER_E_RESET);
    owner_deinit(&owner);
    world_deinit(&world);
}

/* Some servers refuse a body without reading it, and take it for the next request. */
static void a_refused_body_is_the_last_of_its_connection(void **state)
{
    static const struct server_reply replies[] = {
        SAY("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", THEN_KEEP)};
    static const struct transfer_request get = {.path = {"/v1/models", 10}, .get = true};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    for (unsigned i = 0; i < 3; i++) {
        ask_once(&world, &owner, &ask);
        assert_int_equal(owner.result, 0);
        assert_int_equal(owner.status, 503);
        assert_int_equal(world.server.accepted, i + 1);
    }
    for (unsigned i = 0; i < 3; i++)
        ask_once(&world, &owner, &get);
    assert_int_equal(world.server.accepted, 4);
    wait_for(&world, &world.server.gone, 3);
    owner_deinit(&owner);
    world_deinit(&world);
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

static void cancelling_closes_the_connection(void **state)
{
    static const struct server_reply replies[] = {SAY("", THEN_KEEP)};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    begin(&owner, world.target, &ask); /* before it began */
    owner.transfer = transfer_cancel(owner.transfer);
    run_for(&world.loop, 5);
    assert_int_equal(world.server.accepted, opened_at_once());
    wait_for(&world, &world.server.gone, opened_at_once());
    begin(&owner, world.target, &ask); /* while it waits for an answer */
    assert_false(transfer_connected(owner.transfer));
    wait_for(&world, &world.server.requests, 1);
    assert_true(transfer_connected(owner.transfer));
    owner.transfer = transfer_cancel(owner.transfer);
    wait_for(&world, &world.server.gone, 1 + opened_at_once());
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
        assert_int_equal(transfer_loop_idle(world.transfers), carrier == &transfer_by_curl ? 1 : 0);
        owner_deinit(&owner);
        world_deinit(&world);
    }
}

/* Both are asked at once; whoever gets a body first cancels the other, from inside its callback or while the other waits
 * to be told its end. */
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
        for (int i = 0; i < 500 && !first.done && !second.done; i++)
            run_for(&world.loop, 10);
        run_for(&world.loop, 10);
        assert_true(first.done != second.done);
        assert_null(first.transfer);
        assert_null(second.transfer);
        assert_int_equal(transfer_loop_idle(world.transfers), carrier == &transfer_by_curl ? 2 : 1);
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

/* Or several: those of one read. */
static void wait_for_a_piece(struct world *world, struct owner *owner)
{
    for (int ms = 0; owner->pieces == 0 && ms < 2000; ms++)
        run_for(&world->loop, 1);
    assert_true(owner->pieces > 0);
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
        wait_for_a_piece(&world, &owner);
        run_for(&world.loop, 50);
        assert_in_range(owner.body.size, 1, 2 * 8192);
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

/* The last one too: the end comes only after it is resumed. */
static void pausing_at_each_piece(void **state)
{
    static const size_t steps[] = {0, 512, 65536};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct server_reply reply = {.then = THEN_KEEP};
        struct buffer text;
        struct world world;
        struct owner owner = {.habits = PAUSE_IN_BODY};
        uint64_t end = uv_hrtime() + 10000000000;

        say_megabyte(&text, steps[i]);
        reply.bytes = buffer_bytes(&text);
        world_init(&world, &reply, 1);
        begin(&owner, world.target, &ask);
        while (!owner.done && uv_hrtime() < end) {
            uv_run(&world.loop, UV_RUN_NOWAIT);
            if (owner.transfer)
                transfer_resume(owner.transfer);
        }
        assert_true(owner.done);
        assert_int_equal(owner.result, 0);
        assert_int_equal(owner.body.size, 1 << 20);
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
        if (variant == 0) {
            transfer_pause(owner.transfer); /* before there is anything */
            wait_for(&world, &world.server.requests, 1);
            run_for(&world.loop, 10);
            assert_in_range(owner.pieces, 0, 1);
        } else {
            wait_for_a_piece(&world, &owner);
        }
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

int main(int count, char **words)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_connection_is_told_not_replayed),
        cmocka_unit_test(a_late_close_is_no_stale_connection),
        cmocka_unit_test(a_refused_body_is_the_last_of_its_connection),
        cmocka_unit_test(a_closed_connection_is_not_used_again),
        cmocka_unit_test(cancelling_closes_the_connection),
        cmocka_unit_test(cancelling_inside_a_callback),
        cmocka_unit_test(cancelling_one_another),
        cmocka_unit_test(starting_inside_a_callback),
        cmocka_unit_test(a_paused_transfer_stays_small),
        cmocka_unit_test(pausing_at_each_piece),
        cmocka_unit_test(a_paused_transfer_can_be_cancelled),
    };

    prepare_transfer_tests(count > 1 ? words[1] : NULL);
    return run_transfer_tests(tests, ARRAY_SIZE(tests));
}
