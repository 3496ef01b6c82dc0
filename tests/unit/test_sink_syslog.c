/*
 * The syslog sink against a daemon of the test's own: whole lines in order, whatever the daemon does.
 */
#include "sink_world.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

static char folder[32], path[64];
static struct config_sink config;

static int begin(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/embergate_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
    config = (struct config_sink){
        .kind = CONFIG_SINK_SYSLOG, .path = bytes_of(path), .tag = BYTES("gate"), .facility = 16};
    return 0;
}

static int end(void **state)
{
    return rmdir(folder);
}

/* --- the daemon -------------------------------------------------------------------------------------------------- */

static int daemon_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_return_code(bind(fd, (const struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

static void daemon_close(int fd)
{
    close(fd);
    unlink(path);
}

/* The number of the next line, checked as a whole; -1: there is none. */
static long daemon_read(int fd)
{
    static char text[8192];
    ssize_t size = recv(fd, text, sizeof(text) - 1, 0);
    char month[4], head[64];
    int day, hour, minute, second, pid, used = 0;
    long number = -1;

    if (size < 0)
        return -1;
    text[size] = '\0';
    assert_int_equal(sscanf(text, "<134>%3s %2d %2d:%2d:%2d gate[%d]: %n", month, &day, &hour, &minute, &second, &pid,
                            &used), 6);
    assert_int_equal(pid, getpid());
    assert_true(day >= 1 && day <= 31 && hour <= 23 && minute <= 59 && second <= 60);
    snprintf(head, sizeof(head), "<134>%s %2d %02d:%02d:%02d gate[%d]: ", month, day, hour, minute, second, pid);
    assert_memory_equal(text, head, strlen(head));
    assert_int_equal(sscanf(text + used, "{\"n\":%ld,\"x\":\"", &number), 1);
    assert_string_equal(text + size - 2, "\"}");
    return number;
}

/* The next lines are FROM up to TO, which is not one of them. */
static void expect(struct sink_world *world, int fd, long from, long to)
{
    uint64_t give_up = clock_ms() + 5000;

    while (from < to && clock_ms() < give_up) {
        long number = daemon_read(fd);

        if (number < 0) {
            sink_world_run_for(world, 1);
            continue;
        }
        assert_int_equal(number, from);
        from++;
    }
    assert_int_equal(from, to);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void lines_come_whole_and_in_order(void **state)
{
    struct sink_world world;
    int fd = daemon_open();

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 5, 0);
    assert_int_equal(world.kept, 5);
    expect(&world, fd, 0, 5);
    sink_world_give(&world, 500, 700);
    expect(&world, fd, 5, 505);
    assert_int_equal(world.kept, 505);
    assert_int_equal(world.lost, 0);
    sink_world_end(&world);
    daemon_close(fd);
}

static void a_full_queue_is_waited_for(void **state)
{
    struct sink_world world;
    int fd = daemon_open();

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 10000, 50);
    sink_world_offer(&world);
    assert_true(world.kept < 10000);
    assert_int_equal(world.refusal, 0);
    for (int i = 0; i < 20; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.readies, 0);
    assert_int_equal(daemon_read(fd), 0);
    for (long number = 1; number < 10000; number++) {
        while (daemon_read(fd) != number) /* nobody offers but `ready` */
            uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert_int_equal(world.kept, 10000);
    assert_true(world.readies > 0);
    sink_world_end(&world);
    daemon_close(fd);
}

static void a_daemon_may_come_late_go_and_come_again(void **state)
{
    struct sink_world world;
    int fd;

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 3, 0);
    assert_int_equal(world.refusal, -ENOENT);
    fd = daemon_open();
    sink_world_offer(&world);
    assert_int_equal(world.refusal, -ENOTCONN); /* not at once */
    assert_true(sink_world_run_until(&world, &world.kept, 3, 2000));
    expect(&world, fd, 0, 3);
    daemon_close(fd);
    sink_world_give(&world, 3, 0);
    assert_true(world.refusal == -ECONNREFUSED);
    fd = daemon_open();
    assert_true(sink_world_run_until(&world, &world.kept, 6, 2000));
    expect(&world, fd, 3, 6);
    assert_int_equal(world.lost, 0);
    sink_world_end(&world);
    daemon_close(fd);
}

static void a_daemon_may_die_with_a_full_queue(void **state)
{
    struct sink_world world;
    int fd = daemon_open();
    long first;

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 2000, 2000);
    assert_true(world.kept < 2000);
    first = (long)world.kept;
    daemon_close(fd);
    sink_world_run_for(&world, 20);
    fd = daemon_open();
    expect(&world, fd, first, 2000);
    sink_world_end(&world);
    daemon_close(fd);
}

static void a_line_that_is_too_large_is_passed_by(void **state)
{
    struct sink_world world;
    int fd = daemon_open();

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 1, 16 << 20);
    assert_int_equal(world.lost, 1);
    assert_int_equal(world.kept, 0);
    sink_world_give(&world, 2, 0);
    assert_int_equal(world.kept, 2);
    world.kind->reopen(world.sink);
    sink_world_give(&world, 1, 16 << 20);
    sink_world_give(&world, 1, 0);
    assert_int_equal(world.lost, 2);
    assert_int_equal(world.kept, 3);
    expect(&world, fd, 1, 3);
    expect(&world, fd, 4, 5);
    sink_world_end(&world);
    daemon_close(fd);
}

static void between_others_too(void **state)
{
    struct sink_world world;
    int fd = daemon_open();

    sink_world_init(&world, &sink_syslog, &config);
    world.closing = true; /* gathers, offers nothing */
    sink_world_give(&world, 2, 0);
    sink_world_give(&world, 1, 16 << 20);
    sink_world_give(&world, 2, 0);
    world.closing = false;
    sink_world_start(&world);
    sink_world_offer(&world);
    assert_int_equal(world.later, 5);
    assert_int_equal(world.kept, 4);
    assert_int_equal(world.lost, 1);
    expect(&world, fd, 0, 2);
    expect(&world, fd, 3, 5);
    sink_world_end(&world);
    daemon_close(fd);
}

static void reopening_looks_at_the_path_again(void **state)
{
    struct sink_world world;
    int old = daemon_open(), fd;

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 1, 0);
    unlink(path);
    fd = daemon_open();
    sink_world_give(&world, 1, 0);
    world.kind->reopen(world.sink);
    sink_world_give(&world, 1, 0);
    expect(&world, old, 0, 2);
    expect(&world, fd, 2, 3);
    sink_world_end(&world);
    close(old);
    daemon_close(fd);
}

static void it_may_end_at_any_time(void **state)
{
    struct sink_world world;
    int fd = daemon_open();

    sink_world_init(&world, &sink_syslog, &config);
    sink_world_end(&world);
    sink_world_init(&world, &sink_syslog, &config);
    assert_null(world.kind->free(world.sink)); /* neither started nor closed */
    uv_loop_close(&world.loop);
    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_end(&world);
    sink_world_init(&world, &sink_syslog, &config);
    sink_world_start(&world);
    sink_world_give(&world, 100000, 100); /* it waits for room */
    assert_true(world.backlog.size > 0);
    sink_world_end(&world);
    assert_null(sink_syslog.free(NULL));
    daemon_close(fd);
}

static void a_path_that_cannot_be_one_is_said(void **state)
{
    struct config_sink wrong = config;
    struct sink *sink = NULL;
    struct buffer errors;
    char longest[200];

    memset(longest, 'a', sizeof(longest));
    wrong.path = (struct bytes){longest, sizeof(longest)};
    buffer_init(&errors);
    assert_int_equal(sink_syslog.open(&wrong, &errors, &sink), -ENAMETOOLONG);
    assert_null(sink);
    assert_true(errors.size > 0);
    buffer_deinit(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole_and_in_order),
        cmocka_unit_test(a_full_queue_is_waited_for),
        cmocka_unit_test(a_daemon_may_come_late_go_and_come_again),
        cmocka_unit_test(a_daemon_may_die_with_a_full_queue),
        cmocka_unit_test(a_line_that_is_too_large_is_passed_by),
        cmocka_unit_test(between_others_too),
        cmocka_unit_test(reopening_looks_at_the_path_again),
        cmocka_unit_test(it_may_end_at_any_time),
        cmocka_unit_test(a_path_that_cannot_be_one_is_said),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
