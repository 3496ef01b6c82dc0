/*
 * The link against a real redis-server: answers in order, refusals, and every way a server can go away.
 */
#include "redis_world.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[64], socket_path[96], port_text[16];
static pid_t server;

/* --- the server -------------------------------------------------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    close(fd);
    return ntohs(address.sin_port);
}

static void server_start(void)
{
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execlp("redis-server", "redis-server", "--port", port_text, "--bind", "127.0.0.1", "--unixsocket", socket_path,
               "--dir", folder, "--save", "", "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    assert_true(server > 0);
}

static void server_end(int signal_number)
{
    int status;

    kill(server, signal_number);
    waitpid(server, &status, 0);
    server = 0;
}

static int group_setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/embergate-redis-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
    snprintf(port_text, sizeof(port_text), "%u", free_port());
    server_start();
    return 0;
}

static int group_teardown(void **state)
{
    if (server)
        server_end(SIGKILL);
    unlink(socket_path);
    return rmdir(folder);
}

static void open_unix(struct world *world)
{
    world->config.unix_path = bytes_of(socket_path);
    world_open(world);
    assert_true(run_until(world, &world->ready, 10000));
}

static void use_tcp(struct world *world)
{
    world->config.host = BYTES("127.0.0.1");
    world->config.port = (uint16_t)strtoul(port_text, NULL, 10);
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static void replies_come_in_order(void **state)
{
    static struct asker askers[2000];
    struct world world;
    char words[64];

    world_init(&world);
    open_unix(&world);
    memset(askers, 0, sizeof(askers));
    for (unsigned i = 0; i < ARRAY_SIZE(askers); i += 2) {
        snprintf(words, sizeof(words), "SET key%u value%u", i, i);
        assert_int_equal(ask(&world, &askers[i], words), 0);
        snprintf(words, sizeof(words), "GET key%u", i);
        assert_int_equal(ask(&world, &askers[i + 1], words), 0);
    }
    assert_true(run_until(&world, &askers[ARRAY_SIZE(askers) - 1].done, 2000));
    for (unsigned i = 0; i < ARRAY_SIZE(askers); i += 2) {
        snprintf(words, sizeof(words), "value%u", i);
        assert_string_equal(askers[i].text, "OK");
        assert_string_equal(askers[i + 1].text, words);
        assert_int_equal(askers[i + 1].times, 1);
    }
    assert_int_equal(redis_counts(world.redis).answered, ARRAY_SIZE(askers));
    world_end(&world);
}

static void all_kinds_are_told_apart(void **state)
{
    struct world world;
    struct asker asker;

    world_init(&world);
    open_unix(&world);
    learn(&world, &asker, "GET nothing");
    assert_int_equal(asker.kind, REDIS_NIL);
    learn(&world, &asker, "SET text abc");
    assert_int_equal(asker.kind, REDIS_STATUS);
    learn(&world, &asker, "GET text");
    assert_int_equal(asker.kind, REDIS_TEXT);
    learn(&world, &asker, "STRLEN text");
    assert_int_equal(asker.kind, REDIS_INTEGER);
    assert_int_equal(asker.integer, 3);
    learn(&world, &asker, "MGET text nothing text");
    assert_int_equal(asker.kind, REDIS_LIST);
    assert_int_equal(asker.count, 3);
    assert_int_equal(world.news[REDIS_ERRED], 0);
    learn(&world, &asker, "LPUSH text a");
    assert_int_equal(asker.kind, REDIS_ERROR);
    assert_int_equal(world.news[REDIS_ERRED], 1);
    assert_true(strncmp(world.text[REDIS_ERRED], "WRONGTYPE", 9) == 0);
    assert_int_equal(ask(&world, NULL, "LPUSH text a"), 0);
    learn(&world, &asker, "GET text");
    assert_int_equal(world.news[REDIS_ERRED], 2);
    assert_true(world.ready);
    assert_int_equal(redis_counts(world.redis).errors, 2);
    world_end(&world);
}

static void ask_large(struct world *world, struct asker *asker, const char *key, size_t size)
{
    char *value = alloc_bytes(size);
    struct bytes arguments[] = {BYTES("SET"), bytes_of(key), {value, size}};

    memset(value, 'v', size);
    *asker = (struct asker){.call = {.done = on_done}};
    assert_int_equal(redis_ask(world->redis, arguments, 3, &asker->call), 0);
    alloc_free(value);
}

static void on_large(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct asker *asker = LIST_ENTRY(call, struct asker, call);

    asker->done = true;
    asker->result = result;
    asker->integer = reply ? (int64_t)reply->text.size : -1;
    for (size_t i = 0; reply && i < reply->text.size; i++)
        assert_int_equal(reply->text.data[i], 'v');
}

static void large_values_pass_up_to_the_limit(void **state)
{
    const struct bytes get[] = {BYTES("GET"), BYTES("large")};
    struct asker asker;
    struct world world;

    world_init(&world);
    world.config.deadline_ms = 3000;
    open_unix(&world);
    ask_large(&world, &asker, "large", 4 << 20);
    assert_true(run_until(&world, &asker.done, 3000));
    assert_string_equal(asker.text, "OK");
    asker = (struct asker){.call = {.done = on_large}};
    assert_int_equal(redis_ask(world.redis, get, 2, &asker.call), 0);
    assert_true(run_until(&world, &asker.done, 3000));
    assert_int_equal(asker.integer, 4 << 20);
    ask_large(&world, &asker, "large", (4 << 20) + 1);
    assert_true(run_until(&world, &asker.done, 3000));
    learn(&world, &asker, "GET large");
    assert_int_equal(asker.result, REDIS_E_LOST);
    assert_string_equal(world.text[REDIS_LOST], "a reply that is too large");
    assert_true(run_until(&world, &world.ready, 3000));
    EXPECT_TEXT(&world, "DEL large", "");
    world_end(&world);
}

/* --- forgetting, asking and closing from within ------------------------------------------------------------------- */

static void forget_other(struct asker *asker)
{
    redis_forget(asker->world->redis, &asker->other->call);
    redis_forget(asker->world->redis, &asker->call);
}

static void ask_again(struct asker *asker)
{
    if (asker->times < 3)
        assert_int_equal(ask(asker->world, asker, "GET a"), 0);
}

static void close_all(struct asker *asker)
{
    world_close(asker->world);
}

static void the_forgotten_leave_their_place(void **state)
{
    struct asker askers[6] = {0};
    struct world world;

    world_init(&world);
    open_unix(&world);
    EXPECT_TEXT(&world, "MSET a 1 b 2 c 3", "OK");
    redis_forget(world.redis, &askers[0].call);
    askers[1].then = forget_other;
    askers[1].other = &askers[2];
    askers[3].then = ask_again;
    ask(&world, &askers[0], "GET a");
    ask(&world, &askers[1], "GET b");
    ask(&world, &askers[2], "GET a");
    ask(&world, &askers[3], "GET a");
    ask(&world, &askers[4], "GET c");
    redis_forget(world.redis, &askers[0].call);
    redis_forget(world.redis, &askers[0].call);
    assert_true(run_until(&world, &askers[4].done, 1000));
    assert_true(run_until_count(&world, &askers[3].times, 3, 1000));
    assert_int_equal(askers[0].times + askers[2].times, 0);
    assert_string_equal(askers[1].text, "2");
    assert_string_equal(askers[3].text, "1");
    assert_string_equal(askers[4].text, "3");
    askers[0].then = close_all;
    ask(&world, &askers[0], "GET a");
    ask(&world, &askers[1], "GET a");
    ask(&world, NULL, "GET a");
    assert_true(run_until(&world, &world.closed, 1000));
    assert_int_equal(askers[0].times, 1);
    assert_false(askers[1].done);
    world_end(&world);
}

/* --- greeting ---------------------------------------------------------------------------------------------------- */

static void greet_with(struct bytes username, struct bytes password, uint32_t database, const char *refusal)
{
    struct world world;

    world_init(&world);
    use_tcp(&world);
    world.config.username = username;
    world.config.password = password;
    world.config.database = database;
    world_open(&world);
    if (refusal) {
        assert_true(run_until_count(&world, &world.news[REDIS_REFUSED], 1, 2000));
        assert_true(strncmp(world.text[REDIS_REFUSED], refusal, strlen(refusal)) == 0);
        run_for(&world, 300);
        assert_int_equal(world.news[REDIS_REFUSED], 1);
        assert_int_equal(ask(&world, NULL, "GET a"), REDIS_E_AWAY);
        assert_int_equal(world.news[REDIS_READY], 0);
    } else {
        struct asker asker;

        assert_true(run_until(&world, &world.ready, 2000));
        learn(&world, &asker, "GET place");
        assert_int_equal(asker.kind, database == 3 ? REDIS_TEXT : REDIS_NIL);
        learn(&world, &asker, "CONFIG GET save");
        assert_int_equal(asker.kind, username.size ? REDIS_ERROR : REDIS_LIST);
        assert_true(world.ready);
        assert_int_equal(world.news[REDIS_LOST], 0);
    }
    world_end(&world);
}

static void the_greeting_decides(void **state)
{
    const struct bytes none = BYTES_NONE;
    struct world world;

    world_init(&world);
    open_unix(&world);
    EXPECT_TEXT(&world, "SELECT 3", "OK");
    EXPECT_TEXT(&world, "SET place three", "OK");
    EXPECT_TEXT(&world, "ACL SETUSER some on >word ~* -@all +ping +select +get", "OK");
    EXPECT_TEXT(&world, "ACL SETUSER dumb on >word ~* -@all +get", "OK");
    greet_with(none, none, 0, NULL);
    greet_with(none, none, 3, NULL);
    greet_with(none, none, 99, "ERR");
    greet_with(none, BYTES("word"), 0, "ERR");
    greet_with(BYTES("some"), BYTES("word"), 3, NULL);
    greet_with(BYTES("some"), BYTES("wrong"), 3, "WRONGPASS");
    greet_with(BYTES("dumb"), BYTES("word"), 0, "NOPERM");
    EXPECT_TEXT(&world, "CONFIG SET requirepass secret", "OK");
    greet_with(none, none, 0, "NOAUTH");
    greet_with(none, BYTES("wrong"), 0, "WRONGPASS");
    greet_with(none, BYTES("secret"), 0, NULL);
    greet_with(BYTES("default"), BYTES("wrong"), 0, "WRONGPASS");
    world_end(&world);
}

/* The password of the test above ends with its server. */
static void anew(void)
{
    struct world world;

    server_end(SIGKILL);
    server_start();
    world_init(&world);
    open_unix(&world);
    world_end(&world);
}

/* --- errors that mean something ----------------------------------------------------------------------------------- */

static void a_replica_is_left_and_a_full_server_kept(void **state)
{
    struct world world;
    struct asker asker;

    anew();
    world_init(&world);
    open_unix(&world);
    EXPECT_TEXT(&world, "CONFIG SET maxmemory 1", "OK");
    learn(&world, &asker, "SET a 1");
    assert_int_equal(asker.kind, REDIS_ERROR);
    assert_true(strncmp(asker.text, "OOM", 3) == 0);
    EXPECT_TEXT(&world, "CONFIG SET maxmemory 0", "OK");
    assert_int_equal(world.news[REDIS_LOST], 0);

    EXPECT_TEXT(&world, "REPLICAOF 127.0.0.1 1", "OK");
    learn(&world, &asker, "SET a 1");
    assert_int_equal(asker.kind, REDIS_ERROR);
    assert_true(strncmp(asker.text, "READONLY", 8) == 0);
    assert_int_equal(world.news[REDIS_LOST], 1);
    assert_true(strncmp(world.text[REDIS_LOST], "READONLY", 8) == 0);
    assert_int_equal(ask(&world, &asker, "GET a"), REDIS_E_AWAY);
    assert_true(run_until(&world, &world.ready, 2000));
    EXPECT_TEXT(&world, "REPLICAOF NO ONE", "OK");
    EXPECT_TEXT(&world, "SET a 1", "OK");
    world_end(&world);
}

/* --- going away -------------------------------------------------------------------------------------------------- */

static void a_stopped_server_times_out(void **state)
{
    struct asker asker, others[3] = {0};
    struct world world;
    uint64_t ended_ms;

    world_init(&world);
    world.config.deadline_ms = 50;
    open_unix(&world);
    EXPECT_TEXT(&world, "MSET a old b new", "OK");
    kill(server, SIGSTOP);
    asker = (struct asker){0};
    ask(&world, &asker, "GET a");
    run_for(&world, 20);
    for (int i = 0; i < 3; i++)
        ask(&world, &others[i], "GET a");
    redis_forget(world.redis, &others[1].call);
    assert_true(run_until(&world, &asker.done, 1000));
    ended_ms = clock_ms();
    assert_int_equal(asker.result, REDIS_E_TIMEOUT);
    assert_in_range(asker.done_ms - asker.asked_ms, 49, 1000);
    assert_int_equal(others[0].result, REDIS_E_LOST);
    assert_int_equal(others[1].times, 0);
    assert_int_equal(others[2].result, REDIS_E_LOST);
    assert_int_equal(world.news[REDIS_TIMED_OUT], 1);
    assert_string_equal(world.text[REDIS_TIMED_OUT], "no reply within 50 ms");
    assert_false(redis_is_ready(world.redis));
    assert_int_equal(ask(&world, &asker, "GET a"), REDIS_E_AWAY);
    kill(server, SIGCONT); /* its answers to the old questions are on their way now */
    assert_true(run_until(&world, &world.ready, 5000));
    assert_in_range(clock_ms() - ended_ms, 990, 2500);
    EXPECT_TEXT(&world, "GET b", "new");
    assert_int_equal(world.news[REDIS_LOST], 0);
    assert_int_equal(redis_counts(world.redis).timeouts, 1);
    assert_int_equal(redis_counts(world.redis).lost, 3);
    world_end(&world);
}

static void a_stopped_server_does_not_greet(void **state)
{
    struct world world;
    uint64_t begun_ms = clock_ms();

    world_init(&world);
    world.config.connect_ms = 100;
    world.config.unix_path = bytes_of(socket_path);
    kill(server, SIGSTOP);
    world_open(&world);
    assert_true(run_until_count(&world, &world.news[REDIS_TIMED_OUT], 1, 2000));
    assert_in_range(clock_ms() - begun_ms, 99, 2000);
    run_for(&world, 500);
    assert_int_equal(world.news[REDIS_TIMED_OUT], 1);
    kill(server, SIGCONT);
    assert_true(run_until(&world, &world.ready, 3000));
    world_end(&world);
}

static void a_killed_server_is_lost_and_found(void **state)
{
    struct world world;
    struct asker asker;

    world_init(&world);
    world.config.deadline_ms = 5000;
    open_unix(&world);
    for (unsigned round = 1; round <= 2; round++) {
        kill(server, SIGSTOP);
        asker = (struct asker){0};
        ask(&world, &asker, "GET a");
        run_for(&world, 20);
        asker.asked_ms = clock_ms();
        server_end(SIGKILL);
        assert_true(run_until(&world, &asker.done, 1000));
        assert_int_equal(asker.result, REDIS_E_LOST);
        assert_in_range(asker.done_ms - asker.asked_ms, 0, 1000);
        run_for(&world, 400);
        assert_int_equal(world.news[REDIS_LOST], round);
        server_start();
        assert_true(run_until(&world, &world.ready, 8000));
        EXPECT_TEXT(&world, "SET a 1", "OK");
    }
    assert_int_equal(world.news[REDIS_READY], 3);
    assert_int_equal(redis_counts(world.redis).connects, 3);
    world_end(&world);
}

static void commands_that_cannot_leave_are_bounded(void **state)
{
    struct world world;
    struct asker asker = {0};
    struct bytes arguments[] = {BYTES("SET"), BYTES("large"), {alloc_zeroed(1 << 20), 1 << 20}};
    unsigned taken = 0;
    int r = 0;

    world_init(&world);
    world.config.deadline_ms = 1000;
    open_unix(&world);
    kill(server, SIGSTOP);
    while (taken < 100 && (r = redis_ask(world.redis, arguments, 3, NULL)) == 0) {
        taken++;
        run_for(&world, 1);
    }
    assert_int_equal(r, REDIS_E_FULL);
    assert_in_range(taken, 7, 12);
    assert_int_equal(redis_counts(world.redis).refused_full, 1);
    assert_int_equal(ask(&world, &asker, "GET a"), 0);
    kill(server, SIGCONT);
    assert_true(run_until(&world, &asker.done, 2000));
    assert_int_equal(asker.result, 0);
    assert_int_equal(redis_ask(world.redis, arguments, 3, NULL), 0);
    EXPECT_TEXT(&world, "DEL large", "");
    world_end(&world);
    alloc_free((void *)(uintptr_t)arguments[2].data);
}

static void it_may_be_closed_at_any_turn(void **state)
{
    for (unsigned turns = 0; turns < 40; turns++) {
        struct asker askers[20] = {0};
        struct world world;

        world_init(&world);
        world.config.unix_path = bytes_of(socket_path);
        if (turns % 2) {
            world.config.unix_path = BYTES_NONE;
            use_tcp(&world);
            world.config.host = BYTES("localhost");
        }
        world_open(&world);
        for (unsigned i = 0; i < turns / 2; i++) {
            uv_run(&world.loop, UV_RUN_NOWAIT);
            usleep(100);
            ask(&world, NULL, "GET a");
            ask(&world, &askers[i], "GET a");
            if (world.ready && i % 2 == 0)
                redis_forget(world.redis, &askers[i].call);
        }
        world_end(&world);
    }
}

static void a_link_of_a_name(void **state)
{
    struct world world;

    world_init(&world);
    use_tcp(&world);
    world.config.host = BYTES("localhost");
    world_open(&world);
    assert_true(run_until(&world, &world.ready, 3000));
    EXPECT_TEXT(&world, "ECHO here", "here");
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_in_order),
        cmocka_unit_test(all_kinds_are_told_apart),
        cmocka_unit_test(large_values_pass_up_to_the_limit),
        cmocka_unit_test(the_forgotten_leave_their_place),
        cmocka_unit_test(the_greeting_decides),
        cmocka_unit_test(a_replica_is_left_and_a_full_server_kept),
        cmocka_unit_test(a_stopped_server_times_out),
        cmocka_unit_test(a_stopped_server_does_not_greet),
        cmocka_unit_test(a_killed_server_is_lost_and_found),
        cmocka_unit_test(commands_that_cannot_leave_are_bounded),
        cmocka_unit_test(it_may_be_closed_at_any_turn),
        cmocka_unit_test(a_link_of_a_name),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
