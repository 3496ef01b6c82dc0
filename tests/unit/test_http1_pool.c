/*
 * Plain connections beyond one request: which ones are kept, which are not, and what a request that could not be sent
 * to its end is worth. What both carriers promise is in test_transfer*.c.
 */
#include "transfer_world.h"

static const struct server_reply kind_replies[] = {SAY(OK, THEN_KEEP)};

static void ask_and_wait(struct world *world, struct transfer_target *target)
{
    struct owner owner = {0};

    begin(&owner, target, &ask);
    assert_true(run_until(&world->loop, &owner.done, 2000));
    assert_int_equal(owner.result, 0);
    owner_deinit(&owner);
    run_for(&world->loop, 2);
}

/* The pool of one target is full; the other one finds room all the same. */
static void no_target_fills_the_pool_for_good(void **state)
{
    enum { POOL = 64 };
    struct owner crowd[POOL] = {0};
    struct transfer_target_spec spec;
    struct transfer_target *other;
    struct server server;
    struct world world;

    world_init(&world, kind_replies, 1);
    server_init(&server, &world.loop, kind_replies, 1);
    spec = spec_of(&world);
    spec.port = server.port;
    other = transfer_target_new_by(carrier, world.transfers, &spec);
    for (int i = 0; i < POOL; i++)
        begin(&crowd[i], world.target, &ask);
    for (int i = 0; i < POOL; i++) {
        assert_true(run_until(&world.loop, &crowd[i].done, 2000));
        owner_deinit(&crowd[i]);
    }
    for (int i = 0; i < 5; i++)
        ask_and_wait(&world, other);
    assert_int_equal(server.accepted, 1);
    assert_int_equal(transfer_loop_idle(world.transfers), POOL);
    transfer_target_free(other);
    server_deinit(&server);
    world_deinit(&world);
}

/* --- a name that moves ----------------------------------------------------------------------------------------- */

static void use_name(struct world *world)
{
    struct transfer_target_spec spec = spec_of(world);

    spec.host = BYTES("backend.test");
    use_target(world, &spec);
    transfer_target_resolved(world->target, "127.0.0.1");
}

static void a_waiting_connection_to_an_old_address_ends(void **state)
{
    struct world world;

    world_init(&world, kind_replies, 1);
    use_name(&world);
    ask_and_wait(&world, world.target);
    transfer_target_resolved(world.target, "127.0.0.1"); /* no news */
    assert_int_equal(transfer_loop_idle(world.transfers), 1);
    transfer_target_resolved(world.target, "127.0.0.2");
    assert_int_equal(transfer_loop_idle(world.transfers), 0);
    wait_for(&world, &world.server.gone, 1);
    world_deinit(&world);
}

static void a_busy_connection_to_an_old_address_is_not_kept(void **state)
{
    static const struct server_reply silence[] = {SAY("", THEN_KEEP)};
    struct owner owner = {0};
    struct world world;

    world_init(&world, silence, 1);
    use_name(&world);
    begin(&owner, world.target, &ask);
    wait_for(&world, &world.server.requests, 1);
    transfer_target_resolved(world.target, "127.0.0.2");
    server_say(LIST_ENTRY(list_first(&world.server.conns), struct server_conn, node), BYTES(OK), THEN_KEEP);
    assert_true(run_until(&world.loop, &owner.done, 2000));
    assert_int_equal(owner.result, 0);
    wait_for(&world, &world.server.gone, 1);
    owner_deinit(&owner);
    world_deinit(&world);
}

/* --- what went wrong while nobody looked ----------------------------------------------------------------------- */

/* The kernel has made the connection while nobody looked: that is no time-out. */
static void a_suspended_process_blames_nobody(void **state)
{
    struct owner owner = {0};
    struct world world;

    world_init(&world, kind_replies, 1);
    use_port(&world, world.server.port, "127.0.0.1"); /* within 300 ms */
    run_for(&world.loop, 2);
    begin(&owner, world.target, &ask);
    usleep(400000);
    assert_true(run_until(&world.loop, &owner.done, 2000));
    assert_int_equal(owner.result, 0);
    owner_deinit(&owner);
    world_deinit(&world);
}

/* An answer that lasts until the connection ends, and a reset that only the sending side was told of. */
static void an_answer_to_half_a_request_is_not_whole(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\n\r\npart";
    struct buffer body = {0};
    struct transfer_request large = ask;
    struct linger reset = {1, 0};
    struct owner owner = {.habits = PAUSE_IN_BODY};
    struct world world;
    uint16_t port;
    int listener, peer;

    large.body.size = 20 << 20;
    large.body.data = memset(buffer_reserve(&body, large.body.size), 'x', large.body.size);
    world_init(&world, kind_replies, 1);
    listener = listen_without_accepting(&port, 4);
    use_port(&world, port, "127.0.0.1");
    begin(&owner, world.target, &large);
    run_for(&world.loop, 20);
    peer = accept(listener, NULL, NULL);
    assert_return_code(peer, 0);
    assert_int_equal(write(peer, text, sizeof(text) - 1), sizeof(text) - 1);
    wait_for(&world, &owner.pieces, 1);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(peer);
    run_for(&world.loop, 20);
    transfer_resume(owner.transfer);
    assert_true(run_until(&world.loop, &owner.done, 2000));
    assert_int_equal(owner.result, TRANSFER_E_RESET);
    close(listener);
    buffer_deinit(&body);
    owner_deinit(&owner);
    world_deinit(&world);
}

int main(int count, char **words)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_target_fills_the_pool_for_good),
        cmocka_unit_test(a_waiting_connection_to_an_old_address_ends),
        cmocka_unit_test(a_busy_connection_to_an_old_address_is_not_kept),
        cmocka_unit_test(a_suspended_process_blames_nobody),
        cmocka_unit_test(an_answer_to_half_a_request_is_not_whole),
    };

    prepare_transfer_tests(count > 1 ? words[1] : NULL);
    carrier = &transfer_by_http1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
