/*
 * Heads: which fields are there, and that the date is one.
 */
#include "base/clock.h"
#include "entry/http_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

/* The head with its date and server lines taken out, after looking at them. */
static void write_head(const struct http_head *head, struct buffer *out)
{
    static const char server[] = "server: embergate\r\n";
    struct bytes text;
    size_t date, rest;

    buffer_clear(out, 0);
    http_out_head(head, out);
    text = buffer_bytes(out);
    date = bytes_find(text, BYTES("date: "));
    assert_true(date + 37 + sizeof(server) - 1 < text.size);
    assert_memory_equal(text.data + date + 37 - 6, " GMT\r\n", 6);
    rest = date + 37 + sizeof(server) - 1;
    assert_memory_equal(text.data + date + 37, server, sizeof(server) - 1);
    memmove(out->data + date, out->data + rest, out->size - rest);
    out->size -= rest - date;
}

static void heads_say_what_they_must(void **state)
{
    static const struct {
        struct http_head head;
        const char *text;
    } cases[] = {
        {{.status = 200, .minor = 1, .content_type = "application/json", .content_length = 12},
         "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n"},
        {{.status = 200, .minor = 1, .content_type = "text/event-stream", .chunked = true,
          .event_stream = true},
         "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n"
         "x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n"},
        {{.status = 200, .minor = 0, .chunked = true}, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"},
        {{.status = 200, .minor = 0, .until_close = true}, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"},
        {{.status = 200, .minor = 0, .content_length = 1},
         "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n"},
        {{.status = 200, .minor = 0, .close = true},
         "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
        {{.status = 200, .minor = 1, .requests = {true, 60, 59, 1000}, .tokens = {true, 100000, 0, 999},
          .degraded = true, .queue_position = 3, .waited_ms = 1234},
         "HTTP/1.1 200 OK\r\nx-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
         "x-ratelimit-reset-requests: 1s\r\nx-ratelimit-limit-tokens: 100000\r\n"
         "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 999ms\r\n"
         "x-embergate-admission: degraded\r\nx-embergate-queue-position: 3\r\n"
         "x-embergate-queue-wait-ms: 1234\r\ncontent-length: 0\r\n\r\n"},
        {{.status = 200, .minor = 1, .requests = {true, 1, 0, 360000}, .tokens = {true, 1, 1, 3601500}},
         "HTTP/1.1 200 OK\r\nx-ratelimit-limit-requests: 1\r\nx-ratelimit-remaining-requests: 0\r\n"
         "x-ratelimit-reset-requests: 6m0s\r\nx-ratelimit-limit-tokens: 1\r\n"
         "x-ratelimit-remaining-tokens: 1\r\nx-ratelimit-reset-tokens: 1h0m2s\r\ncontent-length: 0\r\n\r\n"},
        {{.status = 204, .minor = 1}, "HTTP/1.1 204 No Content\r\n\r\n"},
        {{.status = 405, .minor = 1, .allow = "GET, HEAD", .request_id = {"req_1", 5}},
         "HTTP/1.1 405 Method Not Allowed\r\nx-request-id: req_1\r\n"
         "allow: GET, HEAD\r\ncontent-length: 0\r\n\r\n"},
        {{.status = 429, .minor = 1, .retry_after_ms = 1, .no_retry = true, .close = true},
         "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nretry-after-ms: 1\r\nx-should-retry: false\r\n"
         "content-length: 0\r\nconnection: close\r\n\r\n"},
        {{.status = 503, .minor = 1, .retry_after_ms = 1001},
         "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nretry-after-ms: 1001\r\n"
         "content-length: 0\r\n\r\n"},
        {{.status = 503, .minor = 1, .retry_after_ms = UINT32_MAX},
         "HTTP/1.1 503 Service Unavailable\r\nretry-after: 4294968\r\nretry-after-ms: 4294967295\r\n"
         "content-length: 0\r\n\r\n"},
        {{.status = 200, .minor = 1, .cache = "hit", .cache_key = {"00ff", 4}, .has_age = true},
         "HTTP/1.1 200 OK\r\nx-embergate-cache: hit\r\nx-embergate-cache-key: 00ff\r\nage: 0\r\n"
         "content-length: 0\r\n\r\n"},
        {{.status = 200, .minor = 1, .cache = "hit", .has_age = true, .age_s = UINT32_MAX},
         "HTTP/1.1 200 OK\r\nx-embergate-cache: hit\r\nage: 4294967295\r\ncontent-length: 0\r\n\r\n"},
        {{.status = 200, .minor = 1, .cache = "bypass", .cache_reason = "no-seed"},
         "HTTP/1.1 200 OK\r\nx-embergate-cache: bypass\r\nx-embergate-cache-reason: no-seed\r\n"
         "content-length: 0\r\n\r\n"},
        {{.status = 418, .minor = 1}, "HTTP/1.1 418 Client Error\r\ncontent-length: 0\r\n\r\n"},
    };
    struct buffer out = {0};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        write_head(&cases[i].head, &out);
        buffer_append_char(&out, 0);
        assert_string_equal(out.data, cases[i].text);
    }
    buffer_deinit(&out);
}

static void the_date_is_now(void **state)
{
    struct http_head head = {.status = 200, .minor = 1};
    struct buffer out = {0};
    struct tm tm = {0};
    int64_t before = clock_wall_s();

    http_out_head(&head, &out);
    buffer_append_char(&out, 0);
    assert_non_null(strptime(strstr(out.data, "date: ") + 6, "%a, %d %b %Y %H:%M:%S GMT", &tm));
    assert_in_range(timegm(&tm), before, clock_wall_s());
    buffer_deinit(&out);
}

static void a_head_is_appended(void **state)
{
    struct http_head head = {.status = 200, .minor = 1};
    struct buffer out = {0};

    buffer_append_text(&out, "before");
    http_out_head(&head, &out);
    assert_true(bytes_start_with(buffer_bytes(&out), BYTES("beforeHTTP/1.1 200 OK\r\n")));
    buffer_deinit(&out);
}

static void statuses_have_words(void **state)
{
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(302), "Redirection");
    assert_string_equal(http_status_text(599), "Server Error");
    assert_string_equal(http_status_text(0), "Unknown");
    assert_string_equal(http_status_text(1000), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_say_what_they_must),
        cmocka_unit_test(the_date_is_now),
        cmocka_unit_test(a_head_is_appended),
        cmocka_unit_test(statuses_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
