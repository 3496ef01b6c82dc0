/*
 * The way to a connection: nobody there, nobody answering, names, certificates.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "transfer_world.h"

/* --- no connection --------------------------------------------------------------------------------------------- */

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
    assert_int_equal(world.server.accepted, 0);
    owner.transfer = transfer_start(world.target, &ask, &events, &owner);
    owner.transfer = transfer_cancel(owner.transfer); /* this one told nobody */
    for (int round = 0; round < 3; round++) {
        ask_once(&world, &owner, round == 1 ? &fresh : &ask);
        assert_int_equal(owner.result, 0);
    }
    assert_int_equal(world.server.accepted, 2 + opened_at_once());
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
        assert_null(transfer_target_new_by(carrier, world.transfers, &bad[i]));
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

        use_target(&world, &spec);
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
    struct transfer_target_spec spec = {.tls = true, .host = BYTES("127.0.0.1"), .connect_ms = 5000};
    struct world world;
    struct owner owner = {0};

    world_init(&world, replies, 1);
    spec.port = world.server.port;
    use_target(&world, &spec);
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

/* --- the loop -------------------------------------------------------------------------------------------------- */

/* Whichever of its halves were made: none, one, both. */
static void a_loop_closes_what_it_has(void **state)
{
    for (int kinds = 0; kinds < 4; kinds++) {
        struct transfer_target_spec spec = {.host = BYTES("127.0.0.1"), .connect_ms = 100};
        struct transfer_target *plain = NULL, *secured = NULL;
        struct transfer_loop *transfers;
        bool closed = false;
        uv_loop_t loop;

        uv_loop_init(&loop);
        transfers = transfer_loop_new(&loop, 1);
        if (kinds & 1)
            plain = transfer_target_new(transfers, &spec);
        spec.tls = true;
        if (kinds & 2)
            secured = transfer_target_new(transfers, &spec);
        assert_true(!plain || plain->carrier == &transfer_by_http1);
        assert_true(!secured || secured->carrier == &transfer_by_curl);
        assert_int_equal(transfers->http1 != NULL, kinds & 1 ? 1 : 0);
        assert_int_equal(transfers->curl != NULL, kinds & 2 ? 1 : 0);
        assert_int_equal(transfer_loop_idle(transfers), 0);
        assert_null(transfer_target_free(plain));
        assert_null(transfer_target_free(secured));
        transfer_loop_close(transfers, on_closed, &closed);
        assert_false(closed);
        assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
        assert_true(closed);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

int main(int count, char **words)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(a_full_backlog_is_a_connect_timeout),
        cmocka_unit_test(names_are_given_not_looked_up),
        cmocka_unit_test(nothing_is_smuggled),
    };
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(certificates_are_checked),
        cmocka_unit_test(plain_text_is_no_tls),
        cmocka_unit_test(a_loop_closes_what_it_has),
    };
    int failed;

    prepare_transfer_tests(count > 1 ? words[1] : NULL);
    failed = run_transfer_tests(tests, ARRAY_SIZE(tests));
    carrier = &transfer_by_curl;
    return failed + cmocka_run_group_tests_name("transfer, TLS and the loop", others, NULL, NULL);
}
