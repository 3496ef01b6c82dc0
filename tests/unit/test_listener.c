/*
 * Listeners: ports and files, the gate, running out of descriptors, and closing without losing anybody.
 */
#include "entry_stage.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static bool admit(void *data)
{
    return *(bool *)data;
}

static void ports_are_shared_and_named(void **state)
{
    struct config_address address = {.host = BYTES("127.0.0.1")}, bad = {.host = BYTES("localhost")};
    struct listener *second, *six;
    char name[64];

    open_stage(&usual_limits, NULL);
    address.port = listener_port(stage.listener);
    assert_true(address.port > 0);
    snprintf(name, sizeof(name), "127.0.0.1:%u", address.port);
    assert_string_equal(listener_name(stage.listener), name);
    /* Another program would be told; our own next worker shares. */
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &second), -EADDRINUSE);
    assert_int_equal(
        listener_open(stage.context, &address, listener_descriptor(stage.listener), NULL, &second), 0);
    assert_string_equal(listener_name(second), name);
    address.host = BYTES("::1");
    if (listener_open(stage.context, &address, -1, NULL, &six) == 0) {
        snprintf(name, sizeof(name), "[::1]:%u", address.port);
        assert_string_equal(listener_name(six), name);
        assert_null(listener_close(six));
    }
    assert_int_equal(listener_open(stage.context, &bad, -1, NULL, &second), -EINVAL);
    address.host = BYTES("192.0.2.1");
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &six), -EADDRNOTAVAIL);
    assert_null(listener_close(second));
    assert_null(listener_close(NULL));
    close_stage();
}

static void peers_have_names(void **state)
{
    struct sockaddr_in self;
    socklen_t size = sizeof(self);
    char name[64];
    int client;

    open_stage(&usual_limits, NULL);
    client = client_connect();
    getsockname(client, (struct sockaddr *)&self, &size);
    client_send(client, ASK("/hold"));
    WAIT_FOR(stage.open);
    snprintf(name, sizeof(name), "127.0.0.1:%u", ntohs(self.sin_port));
    assert_string_equal(conn_peer(stage.open), name);
    close(client);
    WAIT_FOR(stage.gone);
    close_stage();
}

static int local_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    return client;
}

static void unix_sockets_work_and_leave_no_file(void **state)
{
    struct config_address address = {0}, long_one = {0};
    struct listener *first, *second, *third;
    char path[] = "/tmp/embergate_XXXXXX", name[64], long_path[200];
    struct stat status;
    int client;

    close(mkstemp(path));
    open_stage(&usual_limits, NULL);
    address.unix_path = bytes_of(path);
    /* Not a socket: not ours to take away. */
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &first), -EADDRINUSE);
    unlink(path);
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &first), 0);
    snprintf(name, sizeof(name), "unix:%s", path);
    assert_string_equal(listener_name(first), name);
    assert_int_equal(listener_port(first), 0);
    assert_int_equal(listener_open(stage.context, &address, listener_descriptor(first), NULL, &second), 0);
    /* Somebody answers there. */
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &third), -EADDRINUSE);
    client = local_connect(path);
    client_send(client, ASK("/hold"));
    WAIT_FOR(stage.open);
    assert_string_equal(conn_peer(stage.open), "unix");
    close(client);
    WAIT_FOR(stage.gone);
    client = local_connect(path);
    client_send(client, "GET /cut HTTP/1.0\r\n\r\n");
    client_expect_end(client, "\r\n\r\n5\r\nha");
    memset(long_path, 'x', sizeof(long_path));
    long_one.unix_path = (struct bytes){long_path, sizeof(long_path)};
    assert_int_equal(listener_open(stage.context, &long_one, -1, NULL, &third), -ENAMETOOLONG);
    listener_close(second);
    assert_int_equal(stat(path, &status), 0);
    listener_close(first);
    assert_int_not_equal(stat(path, &status), 0);
    close_stage();
}

static void the_file_of_a_dead_process_is_replaced(void **state)
{
    char path[] = "/tmp/embergate_XXXXXX";
    struct config_address address = {0};
    struct sockaddr_un dead = {.sun_family = AF_UNIX};
    struct listener *listener;
    int descriptor;

    close(mkstemp(path));
    unlink(path);
    snprintf(dead.sun_path, sizeof(dead.sun_path), "%s", path);
    descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&dead, sizeof(dead)), 0);
    close(descriptor);
    open_stage(&usual_limits, NULL);
    address.unix_path = bytes_of(path);
    assert_int_equal(listener_open(stage.context, &address, -1, NULL, &listener), 0);
    close(local_connect(path));
    listener_close(listener);
    close_stage();
}

static void the_gate_refuses_in_words(void **state)
{
    bool open = false;
    struct listener_gate gate = {.admit = admit, .data = &open};
    int clients[100];

    open_stage(&usual_limits, &gate);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = client_connect();
        client_send(clients[i], ASK("/now"));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
        struct buffer text;

        assert_int_equal(client_end(clients[i], &text), 0);
        assert_non_null(strstr(text.data, "HTTP/1.1 503 Service Unavailable\r\n"));
        assert_non_null(strstr(text.data, "retry-after: 1\r\n"));
        assert_non_null(strstr(text.data, "\"code\":\"overloaded\""));
        assert_null(strstr(text.data, "x-should-retry"));
        buffer_deinit(&text);
    }
    assert_int_equal(stage.requests, 0);
    assert_int_equal(stage.context->count, 0);
    open = true;
    clients[0] = client_connect();
    client_send(clients[0], ASK("/now"));
    client_expect(clients[0], "now", 1);
    close(clients[0]);
    close_stage();
}

static void without_descriptors_it_rests(void **state)
{
    struct rlimit before, none;
    int clients[20], highest;
    struct buffer text;
    uint64_t start, used;

    open_stage(&usual_limits, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        clients[i] = client_connect();
    highest = dup(0);
    close(highest);
    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){(rlim_t)highest, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    start = clock_ms();
    used = (uint64_t)clock();
    turn_for(80);
    assert_in_range((uint64_t)clock() - used, 0, CLOCKS_PER_SEC * 40 / 1000);
    assert_int_equal(stage.context->count, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    /* The first ones were told, the last ones are served. */
    client_send(clients[19], ASK("/now"));
    client_expect(clients[19], "now", 1);
    assert_in_range(clock_ms() - start, 0, 1000);
    client_end(clients[1], &text);
    assert_non_null(strstr(text.data, "HTTP/1.1 503 "));
    buffer_deinit(&text);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        if (i != 1)
            close(clients[i]);
    close_stage();
}

static void closing_lets_in_who_waits(void **state)
{
    int clients[200];

    open_stage(&usual_limits, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        clients[i] = client_connect();
    stage.listener = listener_close(stage.listener);
    assert_int_equal(stage.context->count, ARRAY_SIZE(clients));
    conn_drain_all(stage.context);
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        client_send(clients[i], ASK("/now"));
    for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
        client_expect_end(clients[i], "connection: close\r\n\r\nnow");
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_are_shared_and_named),
        cmocka_unit_test(peers_have_names),
        cmocka_unit_test(unix_sockets_work_and_leave_no_file),
        cmocka_unit_test(the_file_of_a_dead_process_is_replaced),
        cmocka_unit_test(the_gate_refuses_in_words),
        cmocka_unit_test(without_descriptors_it_rests),
        cmocka_unit_test(closing_lets_in_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
