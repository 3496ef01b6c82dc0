/*
 * The OTLP sink against a collector of the test's own: what it is sent, and what becomes of spans when it is slow, full
 * or gone.
 */
#include "sink_world.h"

#include "json/json_doc.h"
#include "link/transfer.h"
#include "script_server.h"

#include <errno.h>

#define ANSWER(status, headers, body_size, body)                                                             \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n" headers "Content-Length: " body_size "\r\n\r\n" body
#define OK ANSWER("200 OK", "", "2", "{}")
#define SAY(text) {{(text), sizeof(text) - 1}, THEN_KEEP}

struct collector {
    struct sink_world world;
    struct server server;
    struct config_tracing config;
};

static void collector_init(struct collector *c, const struct server_reply *replies, size_t count)
{
    c->config = (struct config_tracing){.used = true,
                                        .host = BYTES("127.0.0.1"),
                                        .path = BYTES("/v1/traces"),
                                        .api_key = BYTES("key"),
                                        .service = BYTES("our \"gate\"")};
    sink_world_init(&c->world, &sink_otlp, &c->config);
    server_init(&c->server, &c->world.loop, replies, count);
    c->config.port = c->server.port;
}

static void collector_open(struct collector *c, const struct server_reply *replies, size_t count)
{
    collector_init(c, replies, count);
    sink_world_start(&c->world);
}

static void collector_end(struct collector *c)
{
    server_deinit(&c->server);
    sink_world_end(&c->world);
}

static void expect_settled(struct sink_world *world, uint64_t kept, uint64_t lost)
{
    assert_int_equal(world->kept, kept);
    assert_int_equal(world->lost, lost);
    assert_int_equal(world->later, kept + lost);
}

static bool run_until_requests(struct collector *c, unsigned count, unsigned limit_ms)
{
    uint64_t end = clock_ms() + limit_ms;

    while (c->server.requests < count && clock_ms() < end)
        sink_world_run_for(&c->world, 1);
    return c->server.requests >= count;
}

/* --- what was sent ----------------------------------------------------------------------------------------------- */

static bool text_at(const struct json_doc *doc, const char *path, const char *wanted)
{
    return json_text_is(doc, json_at(doc, json_root(doc), path), bytes_of(wanted));
}

/* The spans of the last request are FIRST and so many after it. */
static void expect_spans(struct collector *c, int64_t first, uint32_t count)
{
    struct bytes request = buffer_bytes(&c->server.last);
    size_t head = bytes_find(request, BYTES("\r\n\r\n")) + 4;
    const struct json_node *spans;
    struct json_doc doc;
    int64_t number = -1;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_skip(request, head)), 0);
    spans = json_at(&doc, json_root(&doc), "resourceSpans.0.scopeSpans.0.spans");
    assert_int_equal(json_length(&doc, spans), count);
    json_i64(&doc, json_at(&doc, spans, "0.n"), &number);
    assert_int_equal(number, first);
    assert_true(text_at(&doc, "resourceSpans.0.resource.attributes.0.key", "service.name"));
    assert_true(text_at(&doc, "resourceSpans.0.resource.attributes.0.value.stringValue", "our \"gate\""));
    assert_true(text_at(&doc, "resourceSpans.0.resource.attributes.1.key", "service.version"));
    assert_true(text_at(&doc, "resourceSpans.0.resource.attributes.1.value.stringValue", EMBERGATE_VERSION));
    assert_true(text_at(&doc, "resourceSpans.0.scopeSpans.0.scope.name", "embergate"));
    assert_true(text_at(&doc, "resourceSpans.0.scopeSpans.0.scope.version", EMBERGATE_VERSION));
    json_doc_deinit(&doc);
}

static bool was_said(struct collector *c, const char *words)
{
    struct bytes request = buffer_bytes(&c->server.last);

    return bytes_find(request, bytes_of(words)) < request.size;
}

/* Why spans are lost, in words; NULL: they are not. */
static void expect_trouble(struct collector *c, const char *words)
{
    const char *trouble = sink_otlp.trouble(c->world.sink);

    assert_int_equal(trouble != NULL, words != NULL);
    if (words)
        assert_string_equal(trouble, words);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void a_few_spans_leave_together_after_a_second(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    struct collector c;
    uint64_t began;

    collector_open(&c, replies, 1);
    sink_world_give(&c.world, 1, 0);
    began = clock_ms();
    sink_world_run_for(&c.world, 300);
    sink_world_give(&c.world, 2, 0);
    assert_int_equal(sink_world_under_way(&c.world), 3);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 3, 3000));
    assert_true(clock_ms() - began >= 900 && clock_ms() - began < 2000);
    assert_int_equal(c.server.requests, 1);
    expect_spans(&c, 0, 3);
    assert_true(was_said(&c, "POST /v1/traces HTTP/1.1\r\n"));
    assert_true(was_said(&c, "\r\nContent-Type: application/json\r\n"));
    assert_true(was_said(&c, "\r\nAuthorization: Bearer key\r\n"));
    expect_settled(&c.world, 3, 0);
    collector_end(&c);
}

static void a_full_batch_leaves_at_once(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    struct collector c;
    uint64_t began;

    collector_open(&c, replies, 1);
    began = clock_ms();
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 512, 3000));
    assert_true(clock_ms() - began < 800);
    expect_spans(&c, 0, 512);
    sink_world_give(&c.world, 10, 300 << 10); /* three of these are a batch */
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 521, 3000));
    assert_int_equal(c.server.requests, 4);
    expect_spans(&c, 518, 3);
    sink_world_give(&c.world, 1, 3 << 20); /* alone */
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 523, 3000));
    expect_spans(&c, 522, 1);
    expect_settled(&c.world, 523, 0);
    collector_end(&c);
}

static void two_batches_are_all_that_is_held(void **state)
{
    static const struct server_reply replies[] = {{{NULL, 0}, THEN_KEEP}, SAY(OK)};
    struct collector c;

    collector_open(&c, replies, 2);
    sink_world_give(&c.world, 2000, 0);
    assert_int_equal(c.world.later, 1024);
    sink_world_offer(&c.world);
    assert_int_equal(c.world.refusal, 0);
    assert_true(run_until_requests(&c, 1, 3000));
    sink_world_run_for(&c.world, 1200);
    assert_int_equal(c.server.requests, 1);
    assert_int_equal(sink_world_under_way(&c.world), 1024);
    server_drop(&c.server); /* it is asked again, and the rest follows */
    while (c.world.kept < 1024 && c.server.requests < 4)
        uv_run(&c.world.loop, UV_RUN_ONCE); /* nobody offers but `ready` */
    assert_true(c.world.readies > 0);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 2000, 3000));
    expect_settled(&c.world, 2000, 0);
    collector_end(&c);
}

static void a_busy_collector_is_asked_again(void **state)
{
    static const struct server_reply replies[] = {SAY(ANSWER("503 Unavailable", "", "4", "busy")),
                                                  SAY(ANSWER("429 Slow", "Retry-After: 1\r\n", "0", "")), SAY(OK)};
    struct collector c;
    uint64_t began;

    collector_open(&c, replies, 3);
    sink_world_give(&c.world, 512, 0);
    assert_true(run_until_requests(&c, 1, 1000));
    began = clock_ms();
    assert_true(run_until_requests(&c, 2, 3000));
    assert_true(clock_ms() - began >= 900);
    expect_spans(&c, 0, 512);
    began = clock_ms();
    assert_true(run_until_requests(&c, 3, 3000)); /* 2 s, but for Retry-After */
    assert_true(clock_ms() - began >= 900 && clock_ms() - began < 1900);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 512, 1000));
    expect_settled(&c.world, 512, 0);
    collector_end(&c);
}

static void but_not_for_ever(void **state)
{
    static const struct server_reply replies[] = {SAY(ANSWER("502 Bad Gateway", "Retry-After: 1\r\n", "0", ""))};
    struct collector c;

    collector_open(&c, replies, 1);
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.lost, 512, 6000));
    assert_int_equal(c.server.requests, 4);
    expect_settled(&c.world, 0, 512);
    expect_trouble(&c, "the collector answered 502");
    collector_end(&c);
}

static void what_it_will_never_take_is_lost_at_once(void **state)
{
    static const struct server_reply replies[] = {SAY(ANSWER("400 Bad Request", "", "2", "no")),
                                                  SAY(ANSWER("301 Moved", "Location: /\r\n", "0", "")), SAY(OK)};
    struct collector c;

    collector_open(&c, replies, 3);
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.lost, 512, 900));
    expect_trouble(&c, "the collector answered 400");
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.lost, 1024, 900));
    expect_trouble(&c, "the collector answered 301");
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 512, 900));
    assert_null(sink_otlp.trouble(c.world.sink));
    assert_int_equal(c.server.requests, 3);
    expect_settled(&c.world, 512, 1024);
    collector_end(&c);
}

static void rejected_spans_are_lost(void **state)
{
    static const struct {
        const char *status, *body;
        unsigned lost;
        const char *trouble;
    } cases[] = {
        {"200 OK", "{\"partialSuccess\":{\"rejectedSpans\":\"12\",\"errorMessage\":\"no\\n\"}}", 12, "no?"},
        {"202 Accepted", "{\"partialSuccess\":{\"rejectedSpans\":500}}", 500, "the collector rejected them"},
        {"200 OK", "{\"partialSuccess\":{\"rejectedSpans\":5000}}", 512, "the collector rejected them"},
        {"200 OK", "{\"partialSuccess\":{\"rejectedSpans\":-1}}", 0, NULL},
        {"200 OK", "{\"partialSuccess\":{\"rejectedSpans\":[]}}", 0, NULL},
        {"200 OK", "{\"partialSuccess\":null}", 0, NULL},
        {"200 OK", "hello", 0, NULL},
        {"204 No Content", "", 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct server_reply reply = {.then = THEN_KEEP};
        struct collector c;
        char text[300];

        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", cases[i].status,
                 strlen(cases[i].body), cases[i].body);
        reply.bytes = bytes_of(text);
        collector_open(&c, &reply, 1);
        sink_world_give(&c.world, 512, 0);
        for (int ms = 0; ms < 3000 && sink_world_under_way(&c.world); ms++)
            sink_world_run_for(&c.world, 1);
        expect_settled(&c.world, 512 - cases[i].lost, cases[i].lost);
        expect_trouble(&c, cases[i].trouble);
        collector_end(&c);
    }
}

static void a_collector_may_come_late(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    char folder[] = "/tmp/embergate_XXXXXX", path[64];
    struct collector c;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    collector_init(&c, replies, 1);
    server_deinit(&c.server);
    c.config.unix_path = bytes_of(path);
    sink_world_start(&c.world);
    sink_world_give(&c.world, 512, 0);
    sink_world_run_for(&c.world, 100);
    server_init_unix(&c.server, &c.world.loop, path, replies, 1);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 512, 3000));
    expect_settled(&c.world, 512, 0);
    collector_end(&c);
    assert_return_code(rmdir(folder), errno);
}

static void a_dead_connection_is_no_failure(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    struct collector c;

    collector_open(&c, replies, 1);
    for (unsigned i = 1; i <= 5; i++) {
        sink_world_give(&c.world, 512, 0);
        assert_true(sink_world_run_until(&c.world, &c.world.kept, 512 * i, 900));
        server_drop(&c.server);
        if (i % 2)
            sink_world_run_for(&c.world, 5);
    }
    expect_settled(&c.world, 512 * 5, 0);
    collector_end(&c);
}

static void names_are_looked_up(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    struct collector c;

    collector_init(&c, replies, 1);
    c.config.host = BYTES("localhost");
    sink_world_start(&c.world);
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.kept, 512, 3000));
    sink_world_give(&c.world, 512, 0);
    collector_end(&c); /* in the middle */
}

static void what_is_no_url_loses_spans_not_the_gateway(void **state)
{
    static const struct server_reply replies[] = {SAY(OK)};
    struct collector c;

    collector_init(&c, replies, 1);
    c.config.api_key = BYTES("a\nb");
    sink_world_start(&c.world);
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.lost, 512, 900));
    collector_end(&c);
    collector_init(&c, replies, 1);
    c.config.path = BYTES("/a b");
    sink_world_start(&c.world);
    sink_world_give(&c.world, 512, 0);
    assert_true(sink_world_run_until(&c.world, &c.world.lost, 512, 900));
    collector_end(&c);
}

static void it_may_end_at_any_time(void **state)
{
    static const struct server_reply busy[] = {SAY(ANSWER("503 Unavailable", "", "0", ""))}, well[] = {SAY(OK)};
    struct collector c;

    for (unsigned turns = 0; turns < 40; turns++) {
        const struct server_reply *replies = turns % 2 ? busy : well;

        collector_init(&c, replies, 1);
        if (turns > 1)
            sink_world_start(&c.world);
        if (turns > 3)
            sink_world_give(&c.world, 100 * turns, 0);
        for (unsigned i = 0; i < turns; i++)
            uv_run(&c.world.loop, UV_RUN_NOWAIT);
        collector_end(&c);
    }
    collector_open(&c, well, 1);
    c.world.close_when_settled = true;
    sink_world_give(&c.world, 2000, 0);
    while (!c.world.closed)
        uv_run(&c.world.loop, UV_RUN_ONCE);
    collector_end(&c);
    collector_init(&c, well, 1);
    assert_null(sink_otlp.free(NULL));
    collector_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_spans_leave_together_after_a_second),
        cmocka_unit_test(a_full_batch_leaves_at_once),
        cmocka_unit_test(two_batches_are_all_that_is_held),
        cmocka_unit_test(a_busy_collector_is_asked_again),
        cmocka_unit_test(but_not_for_ever),
        cmocka_unit_test(what_it_will_never_take_is_lost_at_once),
        cmocka_unit_test(rejected_spans_are_lost),
        cmocka_unit_test(a_collector_may_come_late),
        cmocka_unit_test(a_dead_connection_is_no_failure),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(what_is_no_url_loses_spans_not_the_gateway),
        cmocka_unit_test(it_may_end_at_any_time),
    };

    signal(SIGPIPE, SIG_IGN);
    transfer_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
