/*
 * The link against a server that says what the test tells it to: nothing, too much, half of it, or something else.
 */
#include "redis_world.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "link/redis_wire.h"

/* --- the server: commands are answered PONG or OK while greeting, then with the script -------------------------- */

struct fake {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uint16_t port;
    struct bytes greeting;      /* instead of PONG */
    const struct bytes *says;   /* the n-th command's answer; none: silence. The last one for all others */
    size_t count;
    bool hangs_up;              /* right after accepting */
    unsigned accepted, commands, reads;
    struct fake_conn *conns;
};

struct fake_conn {
    uv_tcp_t socket;
    struct fake *fake;
    struct fake_conn *next;
    struct redis_reader *reader; /* a command is a list of texts: a reply in the other direction */
    bool gone;
    char input[64 << 10];
};

static void fake_write(struct fake_conn *conn, struct bytes text)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text.data, (unsigned)text.size);

    if (text.size)
        uv_try_write((uv_stream_t *)&conn->socket, &buf, 1);
}

static void fake_command(struct fake_conn *conn, struct bytes name)
{
    struct fake *fake = conn->fake;
    size_t at = fake->commands;

    if (bytes_equal(name, BYTES("PING"))) {
        fake_write(conn, fake->greeting.size ? fake->greeting : BYTES("+PONG\r\n"));
        return;
    }
    fake->commands++;
    if (fake->count)
        fake_write(conn, fake->says[at < fake->count ? at : fake->count - 1]);
}

static void fake_gone(uv_handle_t *handle)
{
    ((struct fake_conn *)handle->data)->gone = true;
}

static void fake_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct fake_conn *conn = handle->data;

    *ret = uv_buf_init(conn->input, sizeof(conn->input));
}

static void fake_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct fake_conn *conn = stream->data;
    struct bytes input = {buf->base, count > 0 ? (size_t)count : 0};
    const struct redis_reply *command;

    if (count < 0) {
        uv_close((uv_handle_t *)stream, fake_gone);
        return;
    }
    conn->fake->reads++;
    while (redis_reader_next(conn->reader, &input, &command) == REDIS_READER_REPLY)
        fake_command(conn, command->items[0].text);
}

static void fake_accept(uv_stream_t *listener, int status)
{
    struct fake *fake = listener->data;
    struct fake_conn *conn = ALLOC_NEW(struct fake_conn);

    conn->fake = fake;
    conn->next = fake->conns;
    conn->reader = redis_reader_new(1 << 20);
    fake->conns = conn;
    fake->accepted++;
    uv_tcp_init(fake->loop, &conn->socket);
    conn->socket.data = conn;
    uv_accept(listener, (uv_stream_t *)&conn->socket);
    if (fake->hangs_up)
        uv_close((uv_handle_t *)&conn->socket, fake_gone);
    else
        uv_read_start((uv_stream_t *)&conn->socket, fake_alloc, fake_read);
}

/* PORT 0: a free one. */
static void fake_open(struct fake *fake, struct world *world, uint16_t port)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    fake->loop = &world->loop;
    uv_ip4_addr("127.0.0.1", port, &address);
    uv_tcp_init(fake->loop, &fake->listener);
    fake->listener.data = fake;
    assert_int_equal(uv_tcp_bind(&fake->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&fake->listener, 16, fake_accept), 0);
    uv_tcp_getsockname(&fake->listener, (struct sockaddr *)&address, &size);
    fake->port = ntohs(address.sin_port);
    world->config.host = BYTES("127.0.0.1");
    world->config.port = fake->port;
}

static void fake_shut(struct fake *fake)
{
    if (!uv_is_closing((uv_handle_t *)&fake->listener))
        uv_close((uv_handle_t *)&fake->listener, NULL);
    for (struct fake_conn *conn = fake->conns; conn; conn = conn->next)
        if (!uv_is_closing((uv_handle_t *)&conn->socket))
            uv_close((uv_handle_t *)&conn->socket, fake_gone);
}

static void finish(struct world *world, struct fake *fake)
{
    struct fake_conn *next;

    if (fake->loop)
        fake_shut(fake);
    world_end(world);
    for (struct fake_conn *conn = fake->conns; conn; conn = next) {
        next = conn->next;
        redis_reader_free(conn->reader);
        alloc_free(conn);
    }
}

static void begin(struct world *world, struct fake *fake, const struct bytes *says, size_t count)
{
    world_init(world);
    *fake = (struct fake){.says = says, .count = count};
    fake_open(fake, world, 0);
    world_open(world);
    assert_true(run_until(world, &world->ready, 2000));
}

/* --- what is not a reply ------------------------------------------------------------------------------------------ */

#define TEN(text) text text text text text text text text text text
#define FORTY(text) TEN(text) TEN(text) TEN(text) TEN(text)

static const struct {
    struct bytes says;
    const char *why;
} hostile[] = {
    {BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), "Protocol error, got \"H\" as reply type byte"},
    {BYTES("\0\0\0\0"), "Protocol error, got \"\\x00\" as reply type byte"},
    {BYTES("$2147483647\r\n"), "a reply that is too large"},
    {BYTES("$99999999999999999999"), "a reply that is too large"},
    {BYTES("$4097\r\nabc"), "a reply that is too large"},
    {BYTES("*1\r\n$4097\r\nabc"), "a reply that is too large"},
    {BYTES("*1000000\r\n"), "a list that is too long"},
    {BYTES("*2147483647\r\n"), "a list that is too long"},
    {BYTES("*100\r\n*100\r\n*100\r\n"), "a list that is too long"},
    {BYTES("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), NULL},
    {BYTES(FORTY("*1\r\n")), NULL},
    {BYTES("$3\r\nabcde"), "a text without its end"},
    {BYTES("$-7\r\n"), NULL},
    {BYTES("*-7\r\n"), NULL},
    {BYTES("$+3\r\nabc\r\n"), NULL},
    {BYTES("$" FORTY("0")), NULL},
    {BYTES("$" FORTY("0") "\rx"), NULL},
    {BYTES("$" FORTY("x")), "a reply that is too large"},
    {BYTES("*" FORTY("1")), "a reply that is too large"},
    {BYTES(":" FORTY("1")), "a reply that is too large"},
    {BYTES(":12x\r\n"), NULL},
    {BYTES("+" FORTY(FORTY("lines that do not end"))), "a reply that is too large"},
    {BYTES("-" FORTY(FORTY("errors that do not end")) "\r\n"), "a reply that is too large"},
    {BYTES("%1\r\n+a\r\n+b\r\n"), NULL},
    {BYTES("_\r\n"), NULL},
    {BYTES(",1.5\r\n"), NULL},
    {BYTES("#t\r\n"), NULL},
    {BYTES(">1\r\n+a\r\n"), NULL},
    {BYTES("\r\n"), NULL},
};

static void what_is_no_reply_ends_the_connection(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        struct asker first = {0}, second = {0};
        struct world world;
        struct fake fake;

        world_init(&world);
        world.config.reply_bytes = 4096;
        fake = (struct fake){.says = &hostile[i].says, .count = 1};
        fake_open(&fake, &world, 0);
        world_open(&world);
        assert_true(run_until(&world, &world.ready, 2000));
        ask(&world, &first, "GET a");
        ask(&world, &second, "GET b");
        assert_true(run_until(&world, &second.done, 190));
        assert_int_equal(first.result, REDIS_E_LOST);
        assert_int_equal(second.result, REDIS_E_LOST);
        assert_int_equal(world.news[REDIS_LOST], 1);
        if (hostile[i].why)
            assert_string_equal(world.text[REDIS_LOST], hostile[i].why);
        assert_int_equal(ask(&world, &first, "GET a"), REDIS_E_AWAY);
        finish(&world, &fake);
    }
}

static void half_a_reply_is_a_late_one(void **state)
{
    static const struct bytes halves[] = {BYTES("$5\r\nab"), BYTES("*2\r\n:1\r\n"), BYTES("+OK"), BYTES("$"),
                                          BYTES("")};

    for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
        struct asker asker;
        struct world world;
        struct fake fake;

        begin(&world, &fake, &halves[i], 1);
        learn(&world, &asker, "GET a");
        assert_int_equal(asker.result, REDIS_E_TIMEOUT);
        assert_in_range(asker.done_ms - asker.asked_ms, 199, 2000);
        assert_int_equal(world.news[REDIS_TIMED_OUT], 1);
        assert_int_equal(world.news[REDIS_LOST], 0);
        assert_int_equal(fake.accepted, 1);
        run_for(&world, 700); /* the breaker */
        assert_int_equal(fake.accepted, 1);
        finish(&world, &fake);
    }
}

static void a_reply_to_no_question_ends_the_connection(void **state)
{
    static const struct bytes says[] = {BYTES("$1\r\n1\r\n+more\r\n"), BYTES("$1\r\n2\r\n$"), BYTES("$1\r\n3\r\n")};
    struct asker asker;
    struct world world;
    struct fake fake;

    begin(&world, &fake, says, 3);
    EXPECT_TEXT(&world, "GET a", "1");
    assert_true(run_until_count(&world, &world.news[REDIS_LOST], 1, 100));
    assert_string_equal(world.text[REDIS_LOST], "a reply to no question");
    assert_true(run_until(&world, &world.ready, 1000));
    EXPECT_TEXT(&world, "GET a", "2");
    assert_true(run_until_count(&world, &world.news[REDIS_LOST], 2, 100));
    assert_true(run_until(&world, &world.ready, 1000));
    run_for(&world, 20);
    fake_write(fake.conns, BYTES("+")); /* while nothing is asked at all */
    assert_true(run_until_count(&world, &world.news[REDIS_LOST], 3, 100));
    assert_true(run_until(&world, &world.ready, 2000));
    learn(&world, &asker, "GET a");
    assert_string_equal(asker.text, "3");
    finish(&world, &fake);
}

static void a_late_reply_meets_nobody(void **state)
{
    static const struct bytes says[] = {BYTES(""), BYTES("$3\r\nnew\r\n")};
    struct fake_conn *old;
    struct asker asker;
    struct world world;
    struct fake fake;

    begin(&world, &fake, says, 2);
    old = fake.conns;
    learn(&world, &asker, "GET a");
    assert_int_equal(asker.result, REDIS_E_TIMEOUT);
    if (!old->gone && !uv_is_closing((uv_handle_t *)&old->socket))
        fake_write(old, BYTES("$3\r\nold\r\n"));
    assert_true(run_until(&world, &world.ready, 3000));
    EXPECT_TEXT(&world, "GET b", "new");
    finish(&world, &fake);
}

static void an_error_is_told_as_one_plain_line(void **state)
{
    static const struct bytes says[] = {BYTES("-ERR a\nforged \x1b[31mline\xff\r\n"), BYTES("-LOADING wait\r\n")};
    struct asker asker;
    struct world world;
    struct fake fake;

    begin(&world, &fake, says, 2);
    learn(&world, &asker, "GET a");
    assert_int_equal(asker.kind, REDIS_ERROR);
    assert_string_equal(world.text[REDIS_ERRED], "ERR a?forged ?[31mline?");
    assert_true(world.ready);
    learn(&world, &asker, "GET a");
    assert_int_equal(asker.kind, REDIS_ERROR);
    assert_false(world.ready);
    assert_string_equal(world.text[REDIS_LOST], "LOADING wait");
    assert_true(run_until(&world, &world.ready, 1000));
    finish(&world, &fake);
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

static void nobody_there_is_told_once_and_tried_again(void **state)
{
    struct world world;
    struct fake fake = {0};

    world_init(&world);
    fake_open(&fake, &world, 0);
    fake_shut(&fake);
    run_for(&world, 2);
    world_open(&world);
    assert_int_equal(world.news[REDIS_LOST], 0);
    run_for(&world, 500);
    assert_int_equal(world.news[REDIS_LOST], 1);
    assert_string_equal(world.text[REDIS_LOST], "cannot connect: connection refused");
    fake_open(&fake, &world, fake.port);
    assert_true(run_until(&world, &world.ready, 2000));
    assert_int_equal(world.news[REDIS_READY], 1);
    finish(&world, &fake);
}

static void hanging_up_at_once_is_not_hurried(void **state)
{
    struct world world;
    struct fake fake = {.hangs_up = true};

    world_init(&world);
    fake_open(&fake, &world, 0);
    world_open(&world);
    run_for(&world, 1600); /* 0, 0.1, 0.3, 0.7, 1.5, earlier by a quarter at most */
    assert_in_range(fake.accepted, 3, 5);
    assert_int_equal(world.news[REDIS_LOST], 1);
    finish(&world, &fake);
}

static const struct {
    struct bytes greeting;
    int news;
    unsigned least, most; /* attempts within a third of a second */
} greetings[] = {
    {BYTES("-MISCONF cannot save\r\n"), REDIS_READY, 1, 1},
    {BYTES("-LOADING still\r\n"), REDIS_LOST, 2, 4},
    {BYTES("-BUSY a script\r\n"), REDIS_LOST, 2, 4},
    {BYTES("-ERR max number of clients reached\r\n"), REDIS_LOST, 2, 4},
    {BYTES("-DENIED protected mode\r\n"), REDIS_REFUSED, 1, 1},
    {BYTES("-NOAUTH say who\r\n"), REDIS_REFUSED, 1, 1},
    {BYTES(":1\r\n"), REDIS_LOST, 2, 4},
    {BYTES("$4\r\nPONG\r\n"), REDIS_LOST, 2, 4},
    {BYTES("SSH-2.0-x\r\n"), REDIS_LOST, 2, 4},
    {BYTES("+PO"), REDIS_TIMED_OUT, 1, 1},
};

static void the_greeting_must_be_answered_well(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(greetings); i++) {
        struct world world;
        struct fake fake = {.greeting = greetings[i].greeting};
        uint64_t began_ms;

        world_init(&world);
        world.config.connect_ms = 300;
        fake_open(&fake, &world, 0);
        world_open(&world);
        began_ms = clock_ms();
        assert_true(run_until_count(&world, &world.news[greetings[i].news], 1, 2000));
        assert_true(run_until_count(&world, &fake.accepted, greetings[i].least, 2000));
        while (clock_ms() - began_ms < 330)
            run_for(&world, 1);
        assert_int_equal(world.news[greetings[i].news], 1);
        /* A busy machine took longer, and more was tried meanwhile. */
        if (clock_ms() - began_ms < 400)
            assert_in_range(fake.accepted, greetings[i].least, greetings[i].most);
        finish(&world, &fake);
    }
}

static void no_address_no_connection(void **state)
{
    char path[200] = "/tmp/";
    struct world world;

    world_init(&world);
    world.config.host = BYTES("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid");
    world_open(&world);
    assert_true(run_until_count(&world, &world.news[REDIS_LOST], 1, 2000));
    assert_true(strncmp(world.text[REDIS_LOST], "no address: ", 12) == 0);
    world_end(&world);
    world_init(&world);
    memset(path + 5, 'x', sizeof(path) - 5);
    world.config.unix_path = (struct bytes){path, sizeof(path)};
    world_open(&world);
    assert_true(run_until_count(&world, &world.news[REDIS_LOST], 1, 100));
    assert_string_equal(world.text[REDIS_LOST], "cannot connect: name too long");
    world_end(&world);
}

static void news_may_close_the_link(void **state)
{
    static const struct bytes says[] = {BYTES("-ERR no\r\n-LOADING no\r\n"), BYTES("$-1\r\n")};
    struct world world;
    struct fake fake = {0};
    struct asker askers[3] = {0};

    world_init(&world);
    fake_open(&fake, &world, 0);
    world.close_on_news = true;
    world_open(&world); /* closed when it is ready */
    assert_true(run_until(&world, &world.closed, 1000));
    finish(&world, &fake);

    begin(&world, &fake, says, 2);
    world.close_on_news = true; /* by the error */
    for (int i = 0; i < 3; i++)
        ask(&world, &askers[i], "GET a");
    assert_true(run_until(&world, &world.closed, 1000));
    assert_true(askers[0].done);
    assert_false(askers[1].done);
    finish(&world, &fake);
}

/* --- leaving ----------------------------------------------------------------------------------------------------- */

struct late {
    uv_prepare_t prepare;
    struct world *world;
    struct asker asker;
};

static void on_prepare(uv_prepare_t *prepare)
{
    struct late *late = prepare->data;

    uv_prepare_stop(prepare);
    ask(late->world, &late->asker, "GET a");
}

static void commands_of_a_turn_leave_together_and_soon(void **state)
{
    static const struct bytes says[] = {BYTES("$1\r\nx\r\n")};
    struct asker askers[20] = {0};
    struct late late = {0};
    uv_timer_t stop;
    struct world world;
    struct fake fake;

    begin(&world, &fake, says, 1);
    fake.reads = 0;
    for (int i = 0; i < 20; i++)
        ask(&world, &askers[i], "GET a");
    assert_true(run_until(&world, &askers[19].done, 1000));
    assert_int_equal(fake.reads, 1);

    /* Asked as late in a turn as can be: the loop must not sleep before it left. */
    late.world = &world;
    late.prepare.data = &late;
    uv_prepare_init(&world.loop, &late.prepare);
    uv_prepare_start(&late.prepare, on_prepare);
    uv_timer_init(&world.loop, &stop);
    uv_update_time(&world.loop);
    uv_timer_start(&stop, (uv_timer_cb)(void (*)(void))uv_stop, 4000, 0);
    while (!late.asker.done)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(late.asker.result, 0);
    assert_in_range(late.asker.done_ms - late.asker.asked_ms, 0, 2000);
    uv_close((uv_handle_t *)&late.prepare, NULL);
    uv_close((uv_handle_t *)&stop, NULL);
    finish(&world, &fake);
}

/* The process was late, not the server: its reply lies in the socket. */
static void a_stall_of_our_own_is_no_deadline(void **state)
{
    static const struct bytes says[] = {BYTES("$1\r\nx\r\n")};
    struct asker asker = {0};
    struct world world;
    struct fake fake;

    begin(&world, &fake, says, 1);
    world.config.deadline_ms = 0;
    ask(&world, &asker, "GET a");
    for (int i = 0; i < 100 && fake.commands == 0; i++)
        uv_run(&world.loop, UV_RUN_NOWAIT);
    usleep(300000);
    assert_true(run_until(&world, &asker.done, 1000));
    assert_int_equal(asker.result, 0);
    finish(&world, &fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_reply_ends_the_connection),
        cmocka_unit_test(half_a_reply_is_a_late_one),
        cmocka_unit_test(a_reply_to_no_question_ends_the_connection),
        cmocka_unit_test(a_late_reply_meets_nobody),
        cmocka_unit_test(an_error_is_told_as_one_plain_line),
        cmocka_unit_test(nobody_there_is_told_once_and_tried_again),
        cmocka_unit_test(hanging_up_at_once_is_not_hurried),
        cmocka_unit_test(the_greeting_must_be_answered_well),
        cmocka_unit_test(no_address_no_connection),
        cmocka_unit_test(news_may_close_the_link),
        cmocka_unit_test(commands_of_a_turn_leave_together_and_soon),
        cmocka_unit_test(a_stall_of_our_own_is_no_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
