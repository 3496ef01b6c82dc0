/*
 * traceparent and tracestate, good and bad, by the W3C's rules; and spans as an OTLP collector reads them.
 */
#include "json/json_doc.h"
#include "record/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
#define ZEROS "0000000000000000"

static void traceparents_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        bool good, sampled;
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", true, true},
        {"00-" TRACE "-" SPAN "-00", true, false},
        {"00-" TRACE "-" SPAN "-ff", true, true},
        {"00-" TRACE "-" SPAN "-fe", true, false},
        {"cc-" TRACE "-" SPAN "-01", true, true},
        {"cc-" TRACE "-" SPAN "-01-what-comes-later", true, true},
        {"cc-" TRACE "-" SPAN "-01.what-comes-later", false, false},
        {"00-" TRACE "-" SPAN "-01-", false, false},
        {"00-" TRACE "-" SPAN "-01-more", false, false},
        {"ff-" TRACE "-" SPAN "-01", false, false},
        {"0-" TRACE "-" SPAN "-01", false, false},
        {"0g-" TRACE "-" SPAN "-01", false, false},
        {"0A-" TRACE "-" SPAN "-01", false, false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false, false},
        {"00-" TRACE "-00F067AA0BA902B7-01", false, false},
        {"00-" ZEROS ZEROS "-" SPAN "-01", false, false},
        {"00-" TRACE "-" ZEROS "-01", false, false},
        {"00-" TRACE "-" SPAN "-0x", false, false},
        {"00-" TRACE "-" SPAN "-0F", false, false},
        {"00-" TRACE "-" SPAN "-1", false, false},
        {"00_" TRACE "-" SPAN "-01", false, false},
        {"00-" TRACE "_" SPAN "-01", false, false},
        {"00-" TRACE "-" SPAN "_01", false, false},
        {" 00-" TRACE "-" SPAN "-01", false, false},
        {"", false, false},
        {"00", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct trace trace = {.trace_id = "x", .sampled = true}, before = trace;
        bool good = trace_read(bytes_of(cases[i].text), &trace);

        if (good != cases[i].good || (good && trace.sampled != cases[i].sampled))
            fail_msg("%s", cases[i].text);
        if (!good) {
            assert_memory_equal(&trace, &before, sizeof(trace));
            continue;
        }
        assert_true(trace.joined);
        assert_memory_equal(trace.trace_id, TRACE, TRACE_ID_SIZE);
        assert_memory_equal(trace.parent_id, SPAN, SPAN_ID_SIZE);
    }
}

static void what_goes_upstream_is_read_there(void **state)
{
    struct trace trace = {.sampled = true}, there;
    char text[TRACEPARENT_SIZE];

    memcpy(trace.trace_id, TRACE, TRACE_ID_SIZE);
    memcpy(trace.span_id, SPAN, SPAN_ID_SIZE);
    trace_write(&trace, text);
    assert_memory_equal(text, "00-" TRACE "-" SPAN "-01", TRACEPARENT_SIZE);
    assert_true(trace_read((struct bytes){text, sizeof(text)}, &there));
    assert_true(there.sampled);
    assert_memory_equal(there.parent_id, SPAN, SPAN_ID_SIZE);
    trace.sampled = false;
    trace_write(&trace, text);
    assert_memory_equal(text, "00-" TRACE "-" SPAN "-00", TRACEPARENT_SIZE);
}

/* COUNT members into TEXT. */
static void members_of(unsigned count, char *text)
{
    for (unsigned i = 0; i < count; i++)
        text += snprintf(text, 8, "%sk%u=v", i ? "," : "", i);
}

static void tracestates_are_printable_and_short(void **state)
{
    char text[TRACESTATE_MOST + 1];

    memset(text, 'a', sizeof(text));
    assert_true(trace_state_good(BYTES("rojo=" SPAN ", congo=t61rcWkgMzE")));
    assert_true(trace_state_good((struct bytes){text, TRACESTATE_MOST}));
    assert_false(trace_state_good((struct bytes){text, TRACESTATE_MOST + 1}));
    assert_false(trace_state_good(BYTES_NONE));
    members_of(TRACESTATE_MEMBERS, text);
    assert_true(trace_state_good(bytes_of(text)));
    members_of(TRACESTATE_MEMBERS + 1, text);
    assert_false(trace_state_good(bytes_of(text)));
    assert_true(trace_state_good(BYTES("a=1,,,, ,,,,,,, ,,,,,,,,,,,,,,,,,,,,,,,,,,, , b=2 3 ,,,,")));
    assert_false(trace_state_good(BYTES("a=\tb")));
    assert_false(trace_state_good(BYTES("a=b\r\nx: y")));
    assert_false(trace_state_good(BYTES("a=\xc3\xa4")));
}

/* --- spans --- */

static void write_and_parse(const struct record *record, struct buffer *out, struct json_doc *doc)
{
    buffer_init(out);
    trace_write_span(record, out);
    json_doc_init(doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(doc, buffer_bytes(out)))
        fail_msg("%.*s", BYTES_ARG(buffer_bytes(out)));
    assert_null(memchr(out->data, '\n', out->size));
}

/* The raw value of the attribute KEY, or none; it stands there at most once. */
static struct bytes attribute(const struct json_doc *doc, const char *key)
{
    const struct json_node *list = json_member(doc, json_root(doc), BYTES("attributes"));
    struct bytes found = BYTES_NONE;

    for (const struct json_node *at = json_first(doc, list); at; at = json_after(doc, list, at)) {
        if (!json_text_is(doc, json_member(doc, at, BYTES("key")), bytes_of(key)))
            continue;
        assert_int_equal(found.size, 0);
        found = json_raw(doc, json_member(doc, at, BYTES("value")));
    }
    return found;
}

static const struct record whole = {
    .wall_us = 1764000000123456,
    .total_us = 2000000,
    .id = {"0123456789abcdef0123456789abcdef", 32},
    .trace_id = {TRACE, TRACE_ID_SIZE},
    .span_id = {"1111111111111111", SPAN_ID_SIZE},
    .parent_id = {SPAN, SPAN_ID_SIZE},
    .client = {"10.0.0.1:5", 10},
    .key = {"k\"\n", 3},
    .dialect = "openai",
    .operation = "chat",
    .method = {"POST", 4},
    .path = {"/v1/chat/completions", 20},
    .model = {"llama", 5},
    .upstream_model = {"Llama-3", 7},
    .stream = true,
    .attempts = 2,
    .status = 504,
    .outcome = "failed",
    .reason = "UPSTREAM_TIMEOUT",
    .finish_reason = {"stop", 4},
    .prompt_tokens = 12,
    .completion_tokens = 0,
    .cost = 1500,
    .has_cost = true,
    .first_token_us = 250000,
    .queue_us = 1250,
    .request_body = {"{\"secret\":1}", 12},
};

static void attributes_have_the_names_of_the_conventions(void **state)
{
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"gen_ai.operation.name", "{\"stringValue\":\"chat\"}"},
        {"gen_ai.provider.name", "{\"stringValue\":\"openai\"}"},
        {"gen_ai.request.model", "{\"stringValue\":\"llama\"}"},
        {"gen_ai.response.model", "{\"stringValue\":\"Llama-3\"}"},
        {"gen_ai.usage.input_tokens", "{\"intValue\":\"12\"}"},
        {"gen_ai.usage.output_tokens", "{\"intValue\":\"0\"}"},
        {"gen_ai.response.finish_reasons", "{\"arrayValue\":{\"values\":[{\"stringValue\":\"stop\"}]}}"},
        {"gen_ai.response.time_to_first_chunk", "{\"doubleValue\":0.250000}"},
        {"http.request.method", "{\"stringValue\":\"POST\"}"},
        {"http.response.status_code", "{\"intValue\":\"504\"}"},
        {"url.path", "{\"stringValue\":\"/v1/chat/completions\"}"},
        {"client.address", "{\"stringValue\":\"10.0.0.1:5\"}"},
        {"error.type", "{\"stringValue\":\"upstream_timeout\"}"},
        {"embergate.id", "{\"stringValue\":\"0123456789abcdef0123456789abcdef\"}"},
        {"embergate.key", "{\"stringValue\":\"k\\\"\\n\"}"},
        {"embergate.outcome", "{\"stringValue\":\"failed\"}"},
        {"embergate.stream", "{\"boolValue\":true}"},
        {"embergate.attempts", "{\"intValue\":\"2\"}"},
        {"embergate.cost", "{\"doubleValue\":0.001500}"},
        {"embergate.queue_ms", "{\"doubleValue\":1.250}"},
        {"embergate.ttft_ms", "{\"doubleValue\":250.000}"},
        {"embergate.request", ""},
        {"embergate.total_ms", ""},
        {"embergate.time", ""},
        {"embergate.steered", ""},
        {"embergate.body_ms", ""},
    };
    struct json_doc doc;
    struct buffer out;

    write_and_parse(&whole, &out, &doc);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bytes value = attribute(&doc, cases[i].key);

        if (!bytes_equal(value, bytes_of(cases[i].value)))
            fail_msg("%s: %.*s", cases[i].key, BYTES_ARG(value));
    }
    assert_int_equal(bytes_find(buffer_bytes(&out), BYTES("secret")), out.size);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
}

static void assert_member(const struct json_doc *doc, const char *name, const char *expected)
{
    struct bytes raw = json_raw(doc, json_member(doc, json_root(doc), bytes_of(name)));

    if (!bytes_equal(raw, bytes_of(expected)))
        fail_msg("%s: %.*s, not %s", name, BYTES_ARG(raw), expected);
}

static void a_span_that_failed(void **state)
{
    struct json_doc doc;
    struct buffer out;

    write_and_parse(&whole, &out, &doc);
    assert_member(&doc, "traceId", "\"" TRACE "\"");
    assert_member(&doc, "spanId", "\"1111111111111111\"");
    assert_member(&doc, "parentSpanId", "\"" SPAN "\"");
    assert_member(&doc, "name", "\"chat llama\"");
    assert_member(&doc, "kind", "2");
    assert_member(&doc, "startTimeUnixNano", "\"1764000000123456000\"");
    assert_member(&doc, "endTimeUnixNano", "\"1764000002123456000\"");
    assert_member(&doc, "status", "{\"code\":2,\"message\":\"upstream_timeout\"}");
    json_doc_deinit(&doc);
    buffer_deinit(&out);
}

static void a_span_of_little(void **state)
{
    struct record record = {.wall_us = INT64_MAX, .total_us = UINT64_MAX, .outcome = "ok", .prompt_tokens = -1};
    struct json_doc doc;
    struct buffer out;

    write_and_parse(&record, &out, &doc);
    assert_null(json_member(&doc, json_root(&doc), BYTES("parentSpanId")));
    assert_member(&doc, "name", "\"request\"");
    assert_member(&doc, "status", "{}");
    assert_member(&doc, "endTimeUnixNano", "\"18446744073709551615\"");
    assert_int_equal(attribute(&doc, "gen_ai.usage.input_tokens").size, 0);
    assert_int_equal(attribute(&doc, "error.type").size, 0);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
    record.method = BYTES("GET");
    write_and_parse(&record, &out, &doc);
    assert_member(&doc, "name", "\"GET\"");
    json_doc_deinit(&doc);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparents_are_read_strictly),
        cmocka_unit_test(what_goes_upstream_is_read_there),
        cmocka_unit_test(tracestates_are_printable_and_short),
        cmocka_unit_test(attributes_have_the_names_of_the_conventions),
        cmocka_unit_test(a_span_that_failed),
        cmocka_unit_test(a_span_of_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
