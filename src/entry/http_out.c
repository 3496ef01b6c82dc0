/*
 * A head is put together by appending; nothing is formatted but numbers. The date changes once a second, so
 * each thread keeps its text for that long.
 */
#include "entry/http_out.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static const struct {
    uint16_t status;
    const char *text;
} statuses[] = {
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {529, "Overloaded"},
};

const char *http_status_text(unsigned status)
{
    static const char *const classes[] = {"Informational", "Success", "Redirection", "Client Error",
                                          "Server Error"};

    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return status >= 100 && status <= 599 ? classes[status / 100 - 1] : "Unknown";
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale. */
static struct bytes date_text(void)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static _Thread_local struct {
        int64_t second;
        char text[64];
    } date;
    int64_t now = clock_wall_s();

    if (date.second != now || date.text[0] == 0) {
        time_t seconds = (time_t)now;
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(date.text, sizeof(date.text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        date.second = now;
    }
    return (struct bytes){date.text, 29};
}

static void field(struct buffer *out, struct bytes name_and_colon, struct bytes value)
{
    buffer_append(out, name_and_colon);
    buffer_append(out, value);
    buffer_append(out, BYTES("\r\n"));
}

static void number_field(struct buffer *out, struct bytes name_and_colon, uint64_t value)
{
    buffer_append(out, name_and_colon);
    buffer_append_u64(out, value);
    buffer_append(out, BYTES("\r\n"));
}

/* How the body ends, and what becomes of the connection. */
static void append_framing(const struct http_head *head, struct buffer *out)
{
    bool until_close = head->until_close || (head->chunked && head->minor == 0);
    bool bodiless = head->status < 200 || head->status == 204 || head->status == 304;

    if (head->chunked && !until_close)
        buffer_append(out, BYTES("transfer-encoding: chunked\r\n"));
    else if (!until_close && !bodiless)
        number_field(out, BYTES("content-length: "), head->content_length);
    if (head->close || until_close)
        buffer_append(out, BYTES("connection: close\r\n"));
    else if (head->minor == 0)
        buffer_append(out, BYTES("connection: keep-alive\r\n"));
}

/* Where the answer came from. */
static void append_cache(const struct http_head *head, struct buffer *out)
{
    field(out, BYTES("x-embergate-cache: "), bytes_of(head->cache));
    if (head->cache_reason)
        field(out, BYTES("x-embergate-cache-reason: "), bytes_of(head->cache_reason));
    if (head->cache_key.size)
        field(out, BYTES("x-embergate-cache-key: "), head->cache_key);
    if (head->has_age)
        number_field(out, BYTES("age: "), head->age_s);
}

static void append_unit(struct buffer *out, uint64_t value, struct bytes unit)
{
    buffer_append_u64(out, value);
    buffer_append(out, unit);
}

/* "12ms", "1s", "6m0s" */
static void append_duration(struct buffer *out, uint64_t ms)
{
    if (ms < 1000) {
        append_unit(out, ms, BYTES("ms"));
        return;
    }
    ms = (ms + 999) / 1000;
    if (ms >= 3600)
        append_unit(out, ms / 3600, BYTES("h"));
    if (ms >= 60)
        append_unit(out, ms % 3600 / 60, BYTES("m"));
    append_unit(out, ms % 60, BYTES("s"));
}

/* NAMES: limit, remaining and reset, each with its colon. */
static void append_rate(struct buffer *out, const struct bytes names[3], const struct http_rate *rate)
{
    number_field(out, names[0], rate->limit);
    number_field(out, names[1], rate->remaining);
    buffer_append(out, names[2]);
    append_duration(out, rate->reset_ms);
    buffer_append(out, BYTES("\r\n"));
}

/* Milliseconds with three digits behind the point. */
static void append_timings(const struct http_head *head, struct buffer *out)
{
    bool any = false;

    buffer_append(out, BYTES("server-timing: "));
    for (unsigned i = 0; i < head->timing_count; i++) {
        uint64_t us = head->timings[i].us;
        char thousandths[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};

        if (us == 0)
            continue;
        if (any)
            buffer_append(out, BYTES(", "));
        any = true;
        buffer_append_text(out, head->timings[i].name);
        buffer_append(out, BYTES(";dur="));
        buffer_append_u64(out, us / 1000);
        buffer_append(out, (struct bytes){thousandths, sizeof(thousandths)});
    }
    buffer_append(out, BYTES("\r\n"));
}

#define NAME(literal) {(literal ": "), sizeof(literal ": ") - 1}

static const struct bytes requests[] = {
    NAME("x-ratelimit-limit-requests"),
    NAME("x-ratelimit-remaining-requests"),
    NAME("x-ratelimit-reset-requests"),
};
static const struct bytes tokens[] = {
    NAME("x-ratelimit-limit-tokens"),
    NAME("x-ratelimit-remaining-tokens"),
    NAME("x-ratelimit-reset-tokens"),
};

void http_out_head(const struct http_head *head, struct buffer *out)
{
    buffer_reserve(out, 512);
    buffer_append(out, BYTES("HTTP/1.1 "));
    buffer_append_u64(out, head->status);
    buffer_append_char(out, ' ');
    field(out, bytes_of(http_status_text(head->status)), BYTES_NONE);
    field(out, BYTES("date: "), date_text());
    buffer_append(out, BYTES("server: embergate\r\n"));
    if (head->content_type)
        field(out, BYTES("content-type: "), bytes_of(head->content_type));
    if (head->event_stream)
        buffer_append(out, BYTES("cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n"));
    if (head->is_page)
        buffer_append(out, BYTES("content-security-policy: default-src 'none'; style-src 'unsafe-inline'; "
                                 "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
                                 "form-action 'none'; frame-ancestors 'none'\r\nx-content-type-options: nosniff\r\n"));
    if (head->request_id.size)
        field(out, BYTES("x-request-id: "), head->request_id);
    if (head->allow)
        field(out, BYTES("allow: "), bytes_of(head->allow));
    if (head->retry_after_ms) {
        number_field(out, BYTES("retry-after: "), ((uint64_t)head->retry_after_ms + 999) / 1000);
        number_field(out, BYTES("retry-after-ms: "), head->retry_after_ms);
    }
    if (head->no_retry)
        buffer_append(out, BYTES("x-should-retry: false\r\n"));
    if (head->cache)
        append_cache(head, out);
    if (head->requests.told)
        append_rate(out, requests, &head->requests);
    if (head->tokens.told)
        append_rate(out, tokens, &head->tokens);
    if (head->degraded)
        buffer_append(out, BYTES("x-embergate-admission: degraded\r\n"));
    if (head->queue_position) {
        number_field(out, BYTES("x-embergate-queue-position: "), head->queue_position);
        number_field(out, BYTES("x-embergate-queue-wait-ms: "), head->waited_ms);
    }
    if (head->timing_count)
        append_timings(head, out);
    append_framing(head, out);
    buffer_append(out, BYTES("\r\n"));
}
