/*
 * Standard error that nobody reads, or not yet. Each test has a standard error of its own for a while; a watchdog ends
 * the program where a line waits.
 */
#include "base/log.h"

#include "base/buffer.h"
#include "base/no_wait.h"
#include "base/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#define LAST "the last line"
#define TOO_LONG_S 60

static int saved = -1;

/* WRITER becomes standard error, and is closed. */
static void listen_on(int writer)
{
    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    dup2(writer, STDERR_FILENO);
    close(writer);
    log_never_wait();
}

static int listen_no_more(void **state)
{
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
    }
    saved = -1;
    log_never_wait();
    return 0;
}

/* What there is to be read now. */
static void read_now(int reader, struct buffer *text)
{
    struct pollfd look = {.fd = reader, .events = POLLIN};

    while (poll(&look, 1, 0) > 0) {
        ssize_t size = read(reader, buffer_reserve(text, 65536), 65536);

        if (size <= 0)
            break;
        text->size += (size_t)size;
    }
}

struct reading {
    unsigned whole, torn;
    uint64_t lost;
    bool last;
};

/* "line NUMBER xxx...;", what was lost, the last one, and what ends in its middle, of which nothing is more. */
static struct reading read_lines(struct bytes text)
{
    struct reading reading = {0};
    char *copy = strndup(text.data ? text.data : "", text.size), *rest = copy, *line;

    assert_true(text.size && text.data[text.size - 1] == '\n');
    while ((line = strsep(&rest, "\n")) && rest) {
        unsigned number;
        uint64_t lost;

        if (sscanf(line, "embergate: %" SCNu64 " lines for stderr were lost: nobody read them", &lost) == 1)
            reading.lost += lost;
        else if (strcmp(line, LAST) == 0)
            reading.last = true;
        else if (sscanf(line, "line %u x", &number) == 1 && line[strlen(line) - 1] == ';')
            reading.whole++;
        else
            reading.torn++;
    }
    free(copy);
    return reading;
}

static void say(unsigned first, unsigned count, int size)
{
    char filler[2000];

    memset(filler, 'x', sizeof(filler));
    for (unsigned i = first; i < first + count; i++)
        log_line("line %u %.*s;", i, size, filler);
}

/* All there is to be read, and one more line. Of COUNT lines before each was read, or is told as lost. */
static struct reading read_all(int reader, unsigned count)
{
    struct buffer text = {0};
    struct reading reading;

    read_now(reader, &text);
    log_line(LAST);
    read_now(reader, &text);
    reading = read_lines(buffer_bytes(&text));
    buffer_deinit(&text);
    assert_true(reading.last);
    assert_int_equal(reading.whole + reading.lost, count);
    return reading;
}

static void a_pipe_that_nobody_reads(void **state)
{
    struct reading reading;
    int ends[2], before;

    assert_int_equal(pipe(ends), 0);
    before = fcntl(ends[1], F_GETFL);
    listen_on(ends[1]);
    say(0, 2000, 100);
    reading = read_all(ends[0], 2000);
    assert_true(reading.lost > 0);
    assert_int_equal(reading.torn, 0);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), before);
    say(0, 3, 1900);
    reading = read_all(ends[0], 3); /* what was told is over */
    assert_int_equal(reading.lost, 0);
    close(ends[0]);
}

/* As it is for who has become another user: what is opened again by name is refused. */
static void a_pipe_that_belongs_to_another(void **state)
{
    struct reading reading;
    struct no_wait out;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fchmod(ends[1], 0), 0);
    if (getuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_int_equal(no_wait_init(&out, ends[1]), 0);
    assert_int_equal(out.way, NO_WAIT_LOOK);
    listen_on(ends[1]);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    say(0, 2000, 100);
    reading = read_all(ends[0], 2000);
    assert_true(reading.lost > 0);
    assert_int_equal(reading.torn, 0);
    close(ends[0]);
}

static void a_socket(void **state)
{
    struct reading reading;
    int ends[2], small = 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    listen_on(ends[1]);
    say(0, 2000, 100);
    reading = read_all(ends[0], 2000);
    assert_true(reading.lost > 0);
    assert_true(reading.torn <= 1);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
}

static void a_terminal(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), terminal;
    struct reading reading;
    struct termios how;

    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(terminal, &how), 0);
    cfmakeraw(&how);
    assert_int_equal(tcsetattr(terminal, TCSANOW, &how), 0);
    listen_on(terminal);
    tcflow(STDERR_FILENO, TCOOFF); /* ^S */
    say(0, 1, 100);
    tcflow(STDERR_FILENO, TCOON);
    say(1, 2000, 1000);
    reading = read_all(master, 2001);
    assert_true(reading.lost > 0);
    assert_true(reading.torn <= 2);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(master);
}

/* A limit on the size of files stands for the disk. */
static void a_disk_that_fills_up(void **state)
{
    char path[] = "/tmp/test_log.XXXXXX";
    int writer = mkstemp(path), reader = open(path, O_RDONLY | O_CLOEXEC);
    struct rlimit limit, small;
    struct buffer text = {0};
    struct reading reading;

    unlink(path);
    signal(SIGXFSZ, SIG_IGN);
    listen_on(writer);
    getrlimit(RLIMIT_FSIZE, &limit);
    small = (struct rlimit){1000, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    say(0, 20, 100);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_line(LAST);
    text.size = (size_t)read(reader, buffer_reserve(&text, 65536), 65536);
    reading = read_lines(buffer_bytes(&text));
    assert_int_equal(reading.torn, 1);
    assert_true(reading.last);
    assert_int_equal(reading.whole + reading.lost, 20);
    buffer_deinit(&text);
    close(reader);
}

/* By what is told elsewhere. */
static void lost_so_far_is(unsigned count)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    listen_on(ends[1]);
    assert_int_equal(read_all(ends[0], count).lost, count);
    close(ends[0]);
}

static void nothing_comes_of_it(void **state)
{
    static const char *const places[] = {"/dev/null", "/dev/full"};
    int ends[2];

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        listen_on(open(places[i], O_WRONLY | O_CLOEXEC));
        say(0, 10, 100);
        listen_no_more(state);
    }
    assert_int_equal(pipe(ends), 0);
    listen_on(ends[1]);
    close(ends[0]); /* the reader leaves */
    say(0, 10, 100);
    listen_no_more(state);
    lost_so_far_is(20); /* those of /dev/full, too */
}

static void closed(void **state)
{
    int next;

    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(STDERR_FILENO);
    standard_occupy();
    log_never_wait();
    next = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(next > STDERR_FILENO);
    say(0, 10, 100);
    close(next);
    listen_no_more(state);
    lost_so_far_is(10);
}

static void *say_many(void *data)
{
    say(*(unsigned *)data, 1000, 500);
    return NULL;
}

static void many_threads(void **state)
{
    unsigned firsts[4] = {0, 1000, 2000, 3000};
    struct buffer text = {0};
    struct reading reading;
    pthread_t threads[4];
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    listen_on(ends[1]);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_many, &firsts[i]), 0);
    for (unsigned i = 0; i < 1000; i++) {
        read_now(ends[0], &text);
        usleep(10);
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    read_now(ends[0], &text);
    log_line(LAST);
    read_now(ends[0], &text);
    reading = read_lines(buffer_bytes(&text));
    assert_int_equal(reading.whole + reading.lost, 4000);
    assert_int_equal(reading.torn, 0);
    assert_true(reading.last);
    buffer_deinit(&text);
    close(ends[0]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_pipe_that_nobody_reads, listen_no_more),
        cmocka_unit_test_teardown(a_pipe_that_belongs_to_another, listen_no_more),
        cmocka_unit_test_teardown(a_socket, listen_no_more),
        cmocka_unit_test_teardown(a_terminal, listen_no_more),
        cmocka_unit_test_teardown(a_disk_that_fills_up, listen_no_more),
        cmocka_unit_test_teardown(nothing_comes_of_it, listen_no_more),
        cmocka_unit_test_teardown(closed, listen_no_more),
        cmocka_unit_test_teardown(many_threads, listen_no_more),
    };

    signal(SIGPIPE, SIG_IGN);
    alarm(TOO_LONG_S); /* where a line waits */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
