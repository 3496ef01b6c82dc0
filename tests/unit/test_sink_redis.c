/*
 * The Redis sink against a real redis-server: every line is in the stream once Redis said so, in order, whatever
 * happens to the server meanwhile.
 */
#include "sink_world.h"

#include "redis_server.h"

#include <errno.h>

#define KEY BYTES("requests")

static struct redis_server server;
static struct config_sink config;

static int begin(void **state)
{
    assert_true(redis_server_start(&server));
    return 0;
}

static int end(void **state)
{
    redis_server_deinit(&server);
    return 0;
}

static int open_empty(void **state)
{
    if (!server.pid)
        assert_true(redis_server_start(&server));
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    config = (struct config_sink){
        .kind = CONFIG_SINK_REDIS, .stream = KEY, .redis = {.used = true, .unix_path = bytes_of(server.path)}};
    return 0;
}

static void open_world(struct sink_world *world)
{
    sink_world_init(world, &sink_redis, &config);
    sink_world_start(world);
}

/* --- the stream, as a reader finds it ---------------------------------------------------------------------------- */

static long read_number(FILE *in, char type)
{
    char line[64];

    assert_non_null(fgets(line, sizeof(line), in));
    assert_int_equal(line[0], type);
    return strtol(line + 1, NULL, 10);
}

static void read_text(FILE *in, struct buffer *text)
{
    size_t size = (size_t)read_number(in, '$');

    buffer_clear(text, SIZE_MAX);
    assert_int_equal(fread(buffer_reserve(text, size + 2), 1, size + 2, in), size + 2);
    text->size = size;
}

/* The n of the next entry: {"line": {"n":..., ...}}. */
static long read_entry(FILE *in, struct buffer *text)
{
    char number[32] = "";

    assert_int_equal(read_number(in, '*'), 2);
    read_text(in, text);
    assert_int_equal(read_number(in, '*'), 2);
    read_text(in, text);
    assert_true(bytes_equal(buffer_bytes(text), BYTES("line")));
    read_text(in, text);
    assert_true(bytes_start_with(buffer_bytes(text), BYTES("{\"n\":")));
    assert_true(bytes_end_with(buffer_bytes(text), BYTES("\"}")));
    memcpy(number, text->data + 5, text->size - 5 < 31 ? text->size - 5 : 31);
    return strtol(number, NULL, 10);
}

/* How often each of the first COUNT lines is there; returns how many entries there are, and whether they are in order. */
static long read_stream(unsigned char *times, long count, bool *ret_in_order)
{
    static const char ask[] = "*4\r\n$6\r\nXRANGE\r\n$8\r\nrequests\r\n$1\r\n-\r\n$1\r\n+\r\n";
    FILE *in = fdopen(redis_server_connect(&server), "r+");
    struct buffer text;
    long entries, last = -1;

    assert_non_null(in);
    buffer_init(&text);
    memset(times, 0, (size_t)count);
    fwrite(ask, 1, sizeof(ask) - 1, in);
    fflush(in);
    entries = read_number(in, '*');
    *ret_in_order = true;
    for (long i = 0; i < entries; i++) {
        long number = read_entry(in, &text);

        assert_true(number >= 0 && number < count);
        *ret_in_order = *ret_in_order && number > last;
        last = number;
        times[number]++;
    }
    fclose(in);
    buffer_deinit(&text);
    return entries;
}

/* The lines from FIRST on are there, each once and in order, and no others. */
static void expect_once(struct sink_world *world, long first)
{
    unsigned char *times = malloc(world->given);
    bool in_order;

    assert_int_equal(read_stream(times, (long)world->given, &in_order), (long)world->given - first);
    assert_true(in_order);
    for (long i = first; i < (long)world->given; i++)
        assert_int_equal(times[i], 1);
    free(times);
}

static void expect_settled(struct sink_world *world, uint64_t kept, uint64_t lost)
{
    assert_int_equal(world->kept, kept);
    assert_int_equal(world->lost, lost);
    assert_int_equal(world->later, kept + lost);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void ten_thousand_lines_in_order(void **state)
{
    struct sink_world world;

    open_world(&world);
    sink_world_give(&world, 10000, 300);
    assert_int_equal(world.refusal, -ENOTCONN); /* not connected yet */
    while (world.kept < 10000) { /* nobody offers but `ready` */
        uv_run(&world.loop, UV_RUN_ONCE);
        assert_true(sink_world_under_way(&world) <= 512);
    }
    expect_settled(&world, 10000, 0);
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void a_killed_server_loses_nothing_it_did_not_confirm(void **state)
{
    struct sink_world world;
    uint64_t confirmed;

    open_world(&world);
    sink_world_give(&world, 10000, 300);
    assert_true(sink_world_run_until(&world, &world.kept, 3000, 5000));
    redis_server_kill(&server);
    sink_world_run_for(&world, 50); /* what it said before is read */
    confirmed = world.kept;
    assert_true(confirmed < 10000);
    assert_int_equal(world.refusal, -ENOTCONN);
    assert_true(redis_server_start(&server));
    assert_true(sink_world_run_until(&world, &world.kept, 10000, 10000));
    expect_settled(&world, 10000, 0);
    expect_once(&world, (long)confirmed);
    sink_world_end(&world);
}

static void cut_connections_lose_nothing(void **state)
{
    struct sink_world world;
    unsigned char *times = malloc(10000);
    bool in_order;

    open_world(&world);
    sink_world_give(&world, 10000, 300);
    for (uint64_t kept = 2000; kept < 10000; kept += 2000) {
        assert_true(sink_world_run_until(&world, &world.kept, kept, 5000));
        REDIS_SAY(&server, BYTES("CLIENT"), BYTES("KILL"), BYTES("SKIPME"), BYTES("yes"));
    }
    assert_true(sink_world_run_until(&world, &world.kept, 10000, 20000));
    expect_settled(&world, 10000, 0);
    assert_true(read_stream(times, 10000, &in_order) >= 10000);
    for (int i = 0; i < 10000; i++)
        assert_true(times[i] >= 1);
    free(times);
    sink_world_end(&world);
}

static void a_hanging_server_is_waited_for(void **state)
{
    struct sink_world world;

    open_world(&world);
    sink_world_give(&world, 5000, 300);
    assert_true(sink_world_run_until(&world, &world.kept, 1000, 5000));
    kill(server.pid, SIGSTOP);
    sink_world_run_for(&world, 300);
    assert_true(world.kept < 5000);
    assert_true(sink_world_under_way(&world) <= 512);
    kill(server.pid, SIGCONT);
    assert_true(sink_world_run_until(&world, &world.kept, 5000, 5000));
    expect_settled(&world, 5000, 0);
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void what_will_not_pass_is_lost(void **state)
{
    struct sink_world world;

    open_world(&world);
    REDIS_SAY(&server, BYTES("SET"), KEY, BYTES("a text"));
    sink_world_give(&world, 10, 0);
    assert_true(sink_world_run_until(&world, &world.lost, 10, 5000));
    REDIS_SAY(&server, BYTES("DEL"), KEY);
    REDIS_SAY(&server, BYTES("ACL"), BYTES("SETUSER"), BYTES("default"), BYTES("-xadd"));
    sink_world_give(&world, 10, 0);
    assert_true(sink_world_run_until(&world, &world.lost, 20, 5000));
    REDIS_SAY(&server, BYTES("ACL"), BYTES("SETUSER"), BYTES("default"), BYTES("+xadd"));
    sink_world_give(&world, 10, 0);
    assert_true(sink_world_run_until(&world, &world.kept, 10, 5000));
    expect_settled(&world, 10, 20);
    expect_once(&world, 20);
    sink_world_end(&world);
}

static void what_passes_is_waited_for(void **state)
{
    struct sink_world world;

    open_world(&world);
    REDIS_SAY(&server, BYTES("CONFIG"), BYTES("SET"), BYTES("maxmemory"), BYTES("1"));
    sink_world_give(&world, 2000, 100);
    sink_world_run_for(&world, 500);
    assert_int_equal(world.kept + world.lost, 0);
    assert_int_equal(sink_world_under_way(&world), 512);
    assert_true(world.refusal == -EBUSY || world.refusal == 0);
    REDIS_SAY(&server, BYTES("CONFIG"), BYTES("SET"), BYTES("maxmemory"), BYTES("0"));
    assert_true(sink_world_run_until(&world, &world.kept, 2000, 5000));
    expect_settled(&world, 2000, 0);
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void a_replica_takes_lines_once_it_is_none(void **state)
{
    struct sink_world world;

    open_world(&world);
    REDIS_SAY(&server, BYTES("REPLICAOF"), BYTES("127.0.0.1"), BYTES("1"));
    sink_world_give(&world, 1000, 100);
    sink_world_run_for(&world, 300);
    assert_int_equal(world.kept + world.lost, 0);
    REDIS_SAY(&server, BYTES("REPLICAOF"), BYTES("NO"), BYTES("ONE"));
    assert_true(sink_world_run_until(&world, &world.kept, 1000, 10000));
    expect_settled(&world, 1000, 0);
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void the_stream_is_trimmed(void **state)
{
    struct sink_world world;
    unsigned char *times = malloc(5000);
    long entries;
    bool in_order;

    config.length = 300;
    open_world(&world);
    sink_world_give(&world, 5000, 50);
    assert_true(sink_world_run_until(&world, &world.kept, 5000, 5000));
    entries = read_stream(times, 5000, &in_order);
    assert_true(entries >= 300 && entries < 1000 && in_order);
    assert_int_equal(times[4999], 1);
    free(times);
    sink_world_end(&world);
}

static void large_lines_keep_the_bound(void **state)
{
    struct sink_world world;

    open_world(&world);
    for (int i = 0; i < 20; i++)
        sink_world_give(&world, 1, 400 << 10);
    sink_world_give(&world, 1, 3 << 20); /* alone */
    sink_world_give(&world, 3, 0);
    while (world.kept < 24) {
        uv_run(&world.loop, UV_RUN_ONCE);
        assert_true(sink_world_under_way(&world) <= 4);
    }
    expect_settled(&world, 24, 0);
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void nothing_is_taken_while_it_is_away(void **state)
{
    struct sink_world world;

    redis_server_kill(&server);
    open_world(&world);
    sink_world_give(&world, 100, 0);
    sink_world_run_for(&world, 200);
    assert_int_equal(world.refusal, -ENOTCONN);
    assert_int_equal(sink_world_under_way(&world), 0);
    assert_int_equal(world.readies, 0);
    assert_true(redis_server_start(&server));
    while (world.readies == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_true(sink_world_run_until(&world, &world.kept, 100, 5000));
    expect_once(&world, 0);
    sink_world_end(&world);
}

static void it_may_end_at_any_time(void **state)
{
    struct sink_world world;

    sink_world_init(&world, &sink_redis, &config);
    sink_world_end(&world);
    sink_world_init(&world, &sink_redis, &config);
    assert_null(world.kind->free(world.sink)); /* neither started nor closed */
    uv_loop_close(&world.loop);
    for (int turns = 0; turns < 30; turns++) {
        open_world(&world);
        sink_world_give(&world, 3000, 200);
        for (int i = 0; i < turns; i++) {
            uv_run(&world.loop, UV_RUN_NOWAIT);
            usleep(i < 4 ? 100 : 0); /* first it connects */
        }
        sink_world_end(&world);
    }
    for (int refused = 0; refused < 2; refused++) {
        if (refused)
            REDIS_SAY(&server, BYTES("SET"), KEY, BYTES("a text"));
        open_world(&world);
        world.close_when_settled = true;
        sink_world_give(&world, 1000, 200);
        while (!world.closed)
            uv_run(&world.loop, UV_RUN_ONCE);
        sink_world_end(&world);
    }
    assert_null(sink_redis.free(NULL));
}

#define TEST(name) cmocka_unit_test_setup(name, open_empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ten_thousand_lines_in_order),
        TEST(a_killed_server_loses_nothing_it_did_not_confirm),
        TEST(cut_connections_lose_nothing),
        TEST(a_hanging_server_is_waited_for),
        TEST(what_will_not_pass_is_lost),
        TEST(what_passes_is_waited_for),
        TEST(a_replica_takes_lines_once_it_is_none),
        TEST(the_stream_is_trimmed),
        TEST(large_lines_keep_the_bound),
        TEST(nothing_is_taken_while_it_is_away),
        TEST(it_may_end_at_any_time),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
