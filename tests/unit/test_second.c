/*
 * Two gateways and one Redis: what one stores the other finds, what one voids the other does not believe, and whatever
 * lies there instead of an answer, or keeps it from coming, is a miss.
 */
#include "memo/second.h"

#include "base/clock.h"
#include "redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define TTL_MS 60000u
#define VALUE_BYTES 4096u
#define PATIENCE_MS 10000

struct gateway {
    struct memo *memo;
    struct memo_model *model;
    struct second *second;
    unsigned news[SECOND_DOWN + 1];
    char last_text[256];        /* of a store that failed or a link that went down */
};

struct found {
    unsigned done;
    bool found;
    uint32_t age_ms, events;
    char first[64];
};

static struct redis_server server = {.socket = -1};
static uv_loop_t loop;
static struct mailbox home;
static struct gateway a, b;
static uint8_t key[DIGEST_SIZE] = {1}, other_key[DIGEST_SIZE] = {2}, tenant[DIGEST_SIZE] = {3};
static char answer_name[8 + 64 + 1], other_name[sizeof(answer_name)], stamp_name[sizeof(answer_name)];

/* --- the stage --- */

static struct bytes text(const char *word)
{
    return bytes_of(word);
}

static void on_news(void *data, enum second_news news, struct bytes words)
{
    struct gateway *gateway = data;

    gateway->news[news]++;
    if (news == SECOND_STORE_FAILED || news == SECOND_DOWN || news == SECOND_ERROR)
        snprintf(gateway->last_text, sizeof(gateway->last_text), "%.*s", BYTES_ARG(words));
}

static void tick(uv_timer_t *timer)
{
}

/* Turn the loop until *COUNT is at least WANTED. */
static void wait_for(const unsigned *count, unsigned wanted)
{
    uint64_t end_ms = clock_ms() + PATIENCE_MS;
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, tick, 5, 5);
    while (*count < wanted && clock_ms() < end_ms)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(*count >= wanted);
}

static void open_gateway(struct gateway *gateway, const char *secret)
{
    struct second_config config = {
        .redis = {.unix_path = text(server.path), .connect_ms = 1000, .deadline_ms = 2000},
        .prefix = BYTES("t:{x}"),
        .secret = text(secret),
        .value_bytes = VALUE_BYTES,
    };

    *gateway = (struct gateway){.memo = memo_new(&(struct memo_limits){.memory = 1 << 20, .entry = 1 << 16})};
    gateway->model = memo_model(gateway->memo, BYTES("m"));
    gateway->second = second_new(&loop, gateway->memo, &config, on_news, gateway);
}

static void on_closed(void *data)
{
    ((struct gateway *)data)->second = NULL;
}

static void close_gateway(struct gateway *gateway)
{
    second_close(gateway->second, on_closed, gateway);
    while (gateway->second)
        uv_run(&loop, UV_RUN_ONCE);
    gateway->memo = memo_free(gateway->memo);
}

static void name_answer(char *name, const uint8_t *digest, const char *kind)
{
    snprintf(name, sizeof(answer_name), "t:{x}:%s:", kind);
    digest_hex(digest, name + 8);
    name[8 + 64] = '\0';
}

static int begin(void **state)
{
    uint8_t sum[DIGEST_SIZE];
    struct digest *digest = digest_new(BYTES_NONE);

    digest_begin(digest);
    digest_add(digest, BYTES("m"));
    digest_end(digest, sum);
    digest_free(digest);
    name_answer(answer_name, key, "a");
    name_answer(other_name, other_key, "a");
    name_answer(stamp_name, sum, "m");
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    mailbox_init(&home, &loop);
    if (!redis_server_start(&server)) {
        print_error("redis-server is needed: sh deploy/install-dependencies.sh test\n");
        return -1;
    }
    return 0;
}

static int end(void **state)
{
    mailbox_close(&home, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_deinit(&home);
    redis_server_deinit(&server);
    return uv_loop_close(&loop);
}

static int open_both(void **state)
{
    if (!server.pid)
        redis_server_start(&server);
    REDIS_SAY(&server, BYTES("FLUSHALL"));
    open_gateway(&a, "");
    open_gateway(&b, "");
    wait_for(&a.news[SECOND_UP], 1);
    wait_for(&b.news[SECOND_UP], 1);
    return 0;
}

static int close_both(void **state)
{
    close_gateway(&a);
    close_gateway(&b);
    return 0;
}

/* --- verbs --- */

static bool keep(void *data, size_t bytes)
{
    return true;
}

static struct transcript *answer_known(const char *payload, size_t size, bool recalled)
{
    struct transcript *transcript = transcript_new_shared(&home, &(struct transcript_keeper){.grow = keep}, 1 << 20, 0);
    struct transcript_facts facts = {.backend = BYTES("north"), .model = BYTES("m"), .fingerprint = BYTES("fp"),
                                     .prompt_tokens = 3, .completion_tokens = 4, .whole = true,
                                     .recalled = recalled, .made_ms = clock_ms()};
    struct chat_event event = {.kind = EVENT_CHUNK, .at_ms = 5, .payload = {payload, size}};

    transcript_append(transcript, &event);
    event = (struct chat_event){.kind = EVENT_USAGE, .usage = true, .at_ms = 6, .payload = BYTES("{\"u\":1}")};
    transcript_append(transcript, &event);
    transcript_tell(transcript, &facts);
    transcript_finish(transcript);
    return transcript;
}

static struct transcript *answer_of(const char *payload, size_t size)
{
    return answer_known(payload, size, false);
}

static void store_text(struct gateway *gateway, const char *payload)
{
    struct transcript *transcript = answer_of(payload, strlen(payload));

    second_store(gateway->second, key, tenant, gateway->model, transcript, TTL_MS, memo_ticket(gateway->memo, gateway->model, key));
    transcript_unref(transcript);
}

static void store(struct gateway *gateway, const char *payload)
{
    unsigned before = gateway->news[SECOND_STORED];

    store_text(gateway, payload);
    wait_for(&gateway->news[SECOND_STORED], before + 1);
}

static void on_found(void *data, const struct stored *stored, uint32_t age_ms)
{
    struct found *found = data;
    struct stored copy;
    struct chat_event event;

    found->done++;
    found->found = stored != NULL;
    found->age_ms = age_ms;
    if (!stored)
        return;
    copy = *stored;
    while (stored_next(&copy, &event))
        if (found->events++ == 0)
            snprintf(found->first, sizeof(found->first), "%.*s", BYTES_ARG(event.payload));
}

/* One more look by GATEWAY, which is to end as NEWS. */
static struct found look_key(struct gateway *gateway, const uint8_t *which, enum second_news news)
{
    unsigned before = gateway->news[news];
    struct second_look look;
    struct found found = {0};

    if (second_look(gateway->second, &look, which, tenant, gateway->model, TTL_MS, on_found, &found)) {
        assert_int_equal(found.done, 0);
        wait_for(&found.done, 1);
        assert_int_equal(found.found, news == SECOND_FOUND);
    }
    assert_int_equal(gateway->news[news], before + 1);
    second_look_away(&look);
    return found;
}

static struct found look(struct gateway *gateway, enum second_news news)
{
    return look_key(gateway, key, news);
}

/* Until everything asked so far was answered. */
static void settle(void)
{
    look_key(&a, other_key, SECOND_MISSED);
    look_key(&b, other_key, SECOND_MISSED);
}

static void expect_reply(struct bytes reply, const char *wanted)
{
    assert_true(bytes_equal(reply, text(wanted)));
}

/* Put an answer there by hand. */
static void put(uint64_t stamp, uint64_t made_wall_ms)
{
    struct stored_label label = {key, tenant, stamp, made_wall_ms};
    struct digest *digest = digest_new(BYTES_NONE);
    struct transcript *transcript = answer_of("{}", 2);
    struct buffer value;

    buffer_init(&value);
    assert_int_equal(stored_write(digest, &label, transcript, SIZE_MAX, &value), 0);
    expect_reply(REDIS_SAY(&server, BYTES("SET"), text(answer_name), buffer_bytes(&value)), "+OK\r\n");
    buffer_deinit(&value);
    transcript_unref(transcript);
    digest_free(digest);
}

/* --- sharing --- */

static void one_stores_the_other_finds(void **state)
{
    struct found found;

    look(&a, SECOND_MISSED);
    store(&a, "{\"hello\":1}");
    found = look(&b, SECOND_FOUND);
    assert_string_equal(found.first, "{\"hello\":1}");
    assert_int_equal(found.events, 2);
    assert_true(found.age_ms < PATIENCE_MS);
    assert_true(memo_model_stamp(a.model) == memo_model_stamp(b.model));
    look(&a, SECOND_FOUND);
    assert_non_null(strchr("123456", REDIS_SAY(&server, BYTES("PTTL"), text(answer_name)).data[1]));
}

static void a_store_may_come_before_any_look(void **state)
{
    store(&a, "{}");
    assert_true(memo_model_stamp(a.model) != 0);
    store(&b, "{\"second\":2}");
    assert_true(memo_model_stamp(a.model) == memo_model_stamp(b.model));
    assert_string_equal(look(&a, SECOND_FOUND).first, "{\"second\":2}");
}

static void what_was_recalled_is_not_stored_again(void **state)
{
    struct transcript *transcript;

    transcript = answer_known("{}", 2, true);
    second_store(a.second, key, tenant, a.model, transcript, TTL_MS, memo_ticket(a.memo, a.model, key));
    transcript_unref(transcript);
    settle();
    look(&a, SECOND_MISSED);
    assert_int_equal(a.news[SECOND_STORED] + a.news[SECOND_STORE_FAILED], 0);
}

static void a_purged_key_is_gone(void **state)
{
    store(&a, "{}");
    second_purge_key(a.second, key);
    settle();
    look(&b, SECOND_MISSED);
}

static void a_large_answer_is_neither_written_nor_read(void **state)
{
    static char large[VALUE_BYTES + 1];
    struct transcript *transcript;

    settle();
    transcript = answer_of(large, VALUE_BYTES);
    second_store(a.second, key, tenant, a.model, transcript, TTL_MS, memo_ticket(a.memo, a.model, key));
    transcript_unref(transcript);
    settle();
    assert_int_equal(a.news[SECOND_STORED] + a.news[SECOND_STORE_FAILED], 0);
    expect_reply(REDIS_SAY(&server, BYTES("EXISTS"), text(answer_name)), ":0\r\n");
    REDIS_SAY(&server, BYTES("SET"), text(answer_name), (struct bytes){large, sizeof(large)});
    look(&b, SECOND_MISSED);
    assert_int_equal(b.news[SECOND_DOWN], 0);
}

/* --- voiding --- */

static void a_purge_here_is_one_there(void **state)
{
    settle();
    store(&a, "{}");
    look(&b, SECOND_FOUND);
    memo_purge_model(b.memo, b.model);
    second_void(b.second, b.model);
    look(&b, SECOND_VOID);          /* until Redis has said that it knows nothing is believed */
    while (memo_model_stamp_is_old(b.model))
        uv_run(&loop, UV_RUN_ONCE);
    settle();
    assert_false(memo_model_stamp_is_old(b.model));
    look(&a, SECOND_VOID);
    assert_true(memo_model_stamp(a.model) == memo_model_stamp(b.model));
    look(&b, SECOND_VOID);
    store(&a, "{\"new\":1}");
    assert_string_equal(look(&b, SECOND_FOUND).first, "{\"new\":1}");
}

static void a_store_tells_of_a_purge_too(void **state)
{
    settle();
    store(&a, "{}");
    memo_purge_model(b.memo, b.model);
    store(&b, "{\"new\":1}");
    assert_string_equal(look(&a, SECOND_FOUND).first, "{\"new\":1}");
    assert_true(memo_model_stamp(a.model) == memo_model_stamp(b.model));
}

static void a_purge_while_redis_hangs_is_told_later(void **state)
{
    settle();
    store(&a, "{}");
    kill(server.pid, SIGSTOP);
    memo_purge_model(b.memo, b.model);
    second_void(b.second, b.model);
    wait_for(&b.news[SECOND_STORE_FAILED], 1);
    assert_true(memo_model_stamp_is_old(b.model));
    look(&b, SECOND_AWAY);
    kill(server.pid, SIGCONT);
    wait_for(&b.news[SECOND_UP], 2);
    look(&b, SECOND_VOID);
    for (int i = 0; i < 100 && memo_model_stamp_is_old(b.model); i++)
        uv_run(&loop, UV_RUN_ONCE);
    look(&a, SECOND_VOID);
}

static void a_lost_stamp_voids(void **state)
{
    uint64_t before;

    settle();
    store(&a, "{}");
    before = memo_model_stamp(a.model);
    REDIS_SAY(&server, BYTES("DEL"), text(stamp_name));
    look(&b, SECOND_VOID);
    look(&a, SECOND_VOID);
    settle();
    look(&a, SECOND_VOID);
    assert_true(memo_model_stamp(a.model) != before);
    store(&a, "{\"new\":1}");
    look(&b, SECOND_FOUND);
    REDIS_SAY(&server, BYTES("DEL"), text(stamp_name));
    look_key(&a, other_key, SECOND_MISSED);
    settle();                       /* the look has begun to make a stamp: what was kept before it is there is void */
    store(&a, "{\"newer\":1}");
    assert_string_equal(look(&b, SECOND_FOUND).first, "{\"newer\":1}");
}

static void a_stamp_that_is_none_is_made_anew(void **state)
{
    static const char *const stamps[] = {"", "x", "0000000000000000", "00112233445566778", "0011223344556g77"};

    for (size_t i = 0; i < ARRAY_SIZE(stamps); i++) {
        store(&a, "{}");
        REDIS_SAY(&server, BYTES("SET"), text(stamp_name), text(stamps[i]));
        look(&b, SECOND_VOID);
        settle();
        look(&a, SECOND_VOID);
    }
    store(&a, "{}");
    REDIS_SAY(&server, BYTES("DEL"), text(stamp_name));
    REDIS_SAY(&server, BYTES("LPUSH"), text(stamp_name), BYTES("x"));
    look(&b, SECOND_ERROR);
    settle();
    look(&a, SECOND_VOID);
    store(&a, "{}");
    look(&b, SECOND_FOUND);
}

/* --- what lies there --- */

static void what_is_no_answer_is_a_miss(void **state)
{
    store(&a, "{}");
    look(&b, SECOND_FOUND);
    REDIS_SAY(&server, BYTES("COPY"), text(answer_name), text(other_name));
    look_key(&b, other_key, SECOND_BAD);
    tenant[0]++;
    look(&b, SECOND_BAD);
    tenant[0]--;
    look(&b, SECOND_FOUND);
    REDIS_SAY(&server, BYTES("SETRANGE"), text(answer_name), BYTES("150"), BYTES("?"));
    look(&b, SECOND_BAD);
    REDIS_SAY(&server, BYTES("SET"), text(answer_name), BYTES(""));
    look(&b, SECOND_BAD);
    REDIS_SAY(&server, BYTES("DEL"), text(answer_name));
    REDIS_SAY(&server, BYTES("LPUSH"), text(answer_name), BYTES("x"));
    look(&b, SECOND_ERROR);
    assert_true(bytes_start_with(text(b.last_text), BYTES("WRONGTYPE")));
    store(&a, "{}");
    look(&b, SECOND_FOUND);
    assert_int_equal(b.news[SECOND_DOWN], 0);
}

static void its_age_counts(void **state)
{
    uint64_t now = clock_wall_ms(), stamp;
    struct found found;

    settle();
    settle();
    stamp = memo_model_stamp(a.model);
    put(stamp, now - TTL_MS / 2);
    found = look(&a, SECOND_FOUND);
    assert_in_range(found.age_ms, TTL_MS / 2, TTL_MS / 2 + PATIENCE_MS);
    put(stamp, now - TTL_MS);
    look(&a, SECOND_MISSED);
    put(stamp, 0);
    look(&a, SECOND_MISSED);
    put(stamp, now + 30000);
    assert_int_equal(look(&a, SECOND_FOUND).age_ms, 0);
    put(stamp, now + 120000);
    look(&a, SECOND_MISSED);
    put(stamp, UINT64_MAX);
    look(&a, SECOND_MISSED);
    put(stamp + 1, now);
    look(&a, SECOND_VOID);
}

static void another_secret_is_another_world(void **state)
{
    struct gateway c;

    store(&a, "{}");
    open_gateway(&c, "a secret of 16 bytes");
    wait_for(&c.news[SECOND_UP], 1);
    look(&c, SECOND_BAD);
    store(&c, "{}");
    look(&c, SECOND_FOUND);
    look(&a, SECOND_BAD);
    close_gateway(&c);
}

/* --- what keeps it from coming --- */

static void a_full_redis_takes_nothing(void **state)
{
    store(&a, "{\"before\":1}");
    REDIS_SAY(&server, BYTES("CONFIG"), BYTES("SET"), BYTES("maxmemory"), BYTES("1"));
    store_text(&a, "{}");
    wait_for(&a.news[SECOND_STORE_FAILED], 1);
    assert_true(bytes_start_with(text(a.last_text), BYTES("OOM")));
    assert_string_equal(look(&b, SECOND_FOUND).first, "{\"before\":1}");
    REDIS_SAY(&server, BYTES("CONFIG"), BYTES("SET"), BYTES("maxmemory"), BYTES("0"));
    store(&a, "{}");
}

static void a_hanging_redis_is_waited_for_once(void **state)
{
    struct second_look waits;
    struct found found = {0};
    uint64_t began_ms;

    settle();
    kill(server.pid, SIGSTOP);
    began_ms = clock_ms();
    assert_true(second_look(a.second, &waits, key, tenant, a.model, TTL_MS, on_found, &found));
    store_text(&a, "{}");
    wait_for(&found.done, 1);
    assert_false(found.found);
    assert_in_range(clock_ms() - began_ms, 1900, 4000);
    assert_int_equal(a.news[SECOND_TIMEOUT], 1);
    assert_int_equal(a.news[SECOND_DOWN], 1);
    assert_int_equal(a.news[SECOND_STORE_FAILED], 1);
    look(&a, SECOND_AWAY);
    store_text(&a, "{}");
    assert_int_equal(a.news[SECOND_STORE_FAILED], 2);
    kill(server.pid, SIGCONT);
    wait_for(&a.news[SECOND_UP], 2);
    store(&a, "{}");
    look(&a, SECOND_FOUND);
}

static void a_redis_that_dies_comes_back_empty(void **state)
{
    struct second_look waits;
    struct found found = {0};

    settle();
    store(&a, "{}");
    assert_true(second_look(a.second, &waits, key, tenant, a.model, TTL_MS, on_found, &found));
    redis_server_kill(&server);
    wait_for(&found.done, 1);
    wait_for(&b.news[SECOND_DOWN], 1);
    assert_false(second_is_up(b.second));
    look(&b, SECOND_AWAY);
    assert_true(redis_server_start(&server));
    wait_for(&a.news[SECOND_UP], 2);
    wait_for(&b.news[SECOND_UP], 2);
    assert_int_equal(b.news[SECOND_DOWN], 1);
    look(&a, SECOND_MISSED);
    settle();
    store(&a, "{}");
    look(&b, SECOND_FOUND);
}

static void never(void *data, const struct stored *found, uint32_t age_ms)
{
    fail();
}

/* A look, a void and stores, given up after ROUNDS turns of the loop. */
static void leave_after(int rounds, bool close)
{
    struct second_look looks[2] = {0};
    struct gateway c;

    open_gateway(&c, "");
    wait_for(&c.news[SECOND_UP], 1);
    kill(server.pid, SIGSTOP);      /* so that no reply comes, however the machine is loaded */
    store_text(&c, "{}");
    assert_true(second_look(c.second, &looks[0], key, tenant, c.model, TTL_MS, never, NULL));
    assert_true(second_look(c.second, &looks[1], other_key, tenant, c.model, TTL_MS, never, NULL));
    second_void(c.second, c.model);
    store_text(&c, "{}");
    for (int i = 0; i < rounds; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    second_look_away(&looks[0]);
    second_look_away(&looks[0]);
    if (!close)
        second_look_away(&looks[1]);
    kill(server.pid, SIGCONT);
    if (!close)
        wait_for(&c.news[SECOND_STORED], 2);
    close_gateway(&c);
    second_look_away(&looks[1]);
}

static void it_may_end_at_any_moment(void **state)
{
    for (int i = 0; i < 8; i++)
        leave_after(i / 2, i % 2);
}

static void no_redis_is_told_once(void **state)
{
    struct gateway c;
    char path[sizeof(server.path)];

    memcpy(path, server.path, sizeof(path));
    server.path[strlen(path) - 1] = 'x';
    open_gateway(&c, "");
    wait_for(&c.news[SECOND_DOWN], 1);
    look(&c, SECOND_AWAY);
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(c.news[SECOND_DOWN], 1);
    close_gateway(&c);
    memcpy(server.path, path, sizeof(path));
}

#define WITH_BOTH(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(one_stores_the_other_finds),
        WITH_BOTH(a_store_may_come_before_any_look),
        WITH_BOTH(what_was_recalled_is_not_stored_again),
        WITH_BOTH(a_purged_key_is_gone),
        WITH_BOTH(a_large_answer_is_neither_written_nor_read),
        WITH_BOTH(a_purge_here_is_one_there),
        WITH_BOTH(a_store_tells_of_a_purge_too),
        WITH_BOTH(a_purge_while_redis_hangs_is_told_later),
        WITH_BOTH(a_lost_stamp_voids),
        WITH_BOTH(a_stamp_that_is_none_is_made_anew),
        WITH_BOTH(what_is_no_answer_is_a_miss),
        WITH_BOTH(its_age_counts),
        WITH_BOTH(another_secret_is_another_world),
        WITH_BOTH(a_full_redis_takes_nothing),
        WITH_BOTH(a_hanging_redis_is_waited_for_once),
        WITH_BOTH(a_redis_that_dies_comes_back_empty),
        WITH_BOTH(it_may_end_at_any_moment),
        WITH_BOTH(no_redis_is_told_once),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
