/*
 * The table of fields, in the order of the line, and the page that is made of it.
 */
#include "record/record_private.h"

/* name, kind, member, help */
#define RECORD_FIELDS(X)                                                                                               \
    X("time", TIME, wall_us, "When its head was read")                                                                 \
    X("id", PLAIN, id, "Its own id, 128 random bits; the client has it as `x-request-id`")                             \
    X("client_id", TEXT, client_id, "The client's own `x-request-id`")                                                 \
    X("trace_id", PLAIN, trace_id, "The W3C trace it belongs to")                                                      \
    X("span_id", PLAIN, span_id, "Its own span in that trace, the parent of the backend's")                            \
    X("parent_id", PLAIN, parent_id, "The client's span, when it sent a `traceparent`")                                \
    X("client", TEXT, client, "The client's address")                                                                  \
    X("key", TEXT, key, "The name of the key it came with; never the key")                                             \
    X("team", TEXT, team, "The team of that key")                                                                      \
    X("metadata", JSON, metadata, "What the key's entry says under `metadata`")                                        \
    X("dialect", WORD, dialect, "The interface it came by: `openai` or `goodfire`")                                    \
    X("operation", WORD, operation, "What was asked for")                                                              \
    X("method", TEXT, method, "The HTTP method")                                                                       \
    X("path", TEXT, path, "The path")                                                                                  \
    X("model", TEXT, model, "The model as the client called it")                                                       \
    X("variant", TEXT, variant, "The variant of the model that was chosen by its name")                                \
    X("upstream_model", TEXT, upstream_model, "The model's name at the backend")                                       \
    X("stream", FLAG, stream, "A streamed answer was asked for")                                                       \
    X("steered", FLAG, steered, "The answer was steered")                                                              \
    X("backend", TEXT, backend, "The backend that answered, or was asked last; of a remembered answer: that made it")  \
    X("attempts", COUNT, attempts, "How many times a backend was asked")                                               \
    X("tries", TRIES_LIST, tries,                                                                                      \
      "Four of them (of more the first three and the last), when there was more than one or one failed: `backend`, "   \
      "`outcome`, `status`, `ms`. No `status`: it did not answer, or could not do what was asked and was not called")  \
    X("cache", WORD, cache, "What the memory said: `hit`, `join`, `miss`, `bypass`")                                   \
    X("cache_reason", WORD, cache_reason, "Why it was not remembered")                                                 \
    X("cache_key", PLAIN, cache_key, "The digest of the question")                                                     \
    X("status", STATUS, status, "The HTTP status; 0: nothing was answered")                                            \
    X("outcome", WORD, outcome, "What became of it: `ok`, or how it ended; always there")                              \
    X("reason", WORD, reason, "The failure, by name")                                                                  \
    X("phase", WORD, phase, "The step in which it was cut short")                                                      \
    X("finish_reason", TEXT, finish_reason, "Why the model stopped")                                                   \
    X("prompt_tokens", MAYBE, prompt_tokens, "Tokens of the question")                                                 \
    X("completion_tokens", MAYBE, completion_tokens, "Tokens of the answer")                                           \
    X("tokens_estimated", FLAG, tokens_estimated, "The backend did not count them: they are estimated")                \
    X("cost", MONEY, cost, "What making the answer cost, by the model's price")                                        \
    X("bytes_in", COUNT, bytes_in, "Bytes of the request's body")                                                      \
    X("bytes_out", COUNT, bytes_out, "Bytes of the answer, its head included")                                         \
    X("events", COUNT, events, "Events of the answer that were delivered")                                             \
    X("total_ms", WHOLE_MS, total_us, "From the request's head to the end of the answer")                              \
    X("auth_ms", MS, auth_us, "Finding out who asks")                                                                  \
    X("body_ms", MS, body_us, "Waiting for the request's body")                                                        \
    X("parse_ms", MS, parse_us, "Reading and checking the question")                                                   \
    X("limit_ms", MS, limit_us, "Asking the limits")                                                                   \
    X("claim_ms", MS, claim_us, "Asking the memory")                                                                   \
    X("queue_ms", MS, queue_us, "Waiting in a queue")                                                                  \
    X("connect_ms", MS, connect_us, "Connecting to the backend")                                                       \
    X("first_byte_ms", MS, first_byte_us,                                                                              \
      "From the connection to the first event of the backend's answer, of one that is not streamed until it is whole; "\
      "and what went by at backends that could not")                                                                   \
    X("answer_ms", MS, answer_us, "From there until the answer's head left")                                           \
    X("ttft_ms", MS, first_token_us, "From the request's head to the answer's first byte")                             \
    X("gap_p50_ms", MS, gap_p50_us, "Half of the times between two events of the stream were at most so long")         \
    X("gap_p99_ms", MS, gap_p99_us, "99 of 100 were")                                                                  \
    X("gap_max_ms", MS, gap_max_us, "All were")                                                                        \
    X("lag_ms", MS, lag_us, "The longest that bytes of the answer were in here, from the backend's socket to the "     \
                            "client's")                                                                                \
    X("queue_position", NUMBER, queue_position, "Its place in the queue when it began to wait")                        \
    X("degraded", FLAG, degraded, "Shared limits were decided without Redis")                                          \
    X("request_hash", PLAIN, request_hash, "SHA-256 of the request's body (`log.bodies: hash`)")                       \
    X("answer_hash", PLAIN, answer_hash, "SHA-256 of the answer's body")                                               \
    X("request_cut", FLAG, request_cut, "`request` is only the beginning, as a string: it was longer than `log.body`") \
    X("answer_cut", FLAG, answer_cut, "`answer` is only the beginning, as a string")                                   \
    X("request", JSON, request_body, "The request's body, redacted (`log.bodies: full`)")                              \
    X("answer", JSON, answer_body, "The answer's body, redacted; that of a stream put together")

const struct record_field record_fields[] = {
#define FIELD(name, kind, member, help) {name, RECORD_##kind, offsetof(struct record, member), help},
    RECORD_FIELDS(FIELD)
#undef FIELD
};

const struct record_lead record_leads[] = {
#define LEAD(name, kind, member, help) {"\"" name "\":", sizeof("\"" name "\":") - 1},
    RECORD_FIELDS(LEAD)
#undef LEAD
};

const unsigned record_field_count = ARRAY_SIZE(record_fields);

#define NAME_FITS(name, kind, member, help) _Static_assert(sizeof("\"" name "\":") <= RECORD_LEAD, name);
RECORD_FIELDS(NAME_FITS)

static const char *const types[] = {
    [RECORD_TEXT] = "text",
    [RECORD_PLAIN] = "text",
    [RECORD_WORD] = "word",
    [RECORD_JSON] = "JSON",
    [RECORD_NUMBER] = "number",
    [RECORD_COUNT] = "number, always there",
    [RECORD_STATUS] = "number, always there",
    [RECORD_MAYBE] = "number",
    [RECORD_FLAG] = "`true`",
    [RECORD_MS] = "milliseconds",
    [RECORD_WHOLE_MS] = "milliseconds, always there",
    [RECORD_TIME] = "RFC 3339, UTC, always there",
    [RECORD_MONEY] = "money, six digits behind the point",
    [RECORD_TRIES_LIST] = "list of objects",
};

static const char opening[] =
    "# The request log\n"
    "\n"
    "One line of JSON for each request that was accepted, written when it is over, whatever became of it. A field\n"
    "that has nothing to say is left out. Words and names of failures are in lower case; milliseconds have three\n"
    "digits behind the point.\n"
    "\n"
    "Each line begins with `seq`, a number that grows by one from line to line of a process, across all its\n"
    "workers. It is given before anything can be lost, so a gap in the numbers is exactly what was dropped. Behind it\n"
    "stands `run`, 16 random hex digits that each process chooses when it starts: where several write to one place,\n"
    "or one after the other, it says whose number it is. Where a sink had to drop lines, it says so once it can:\n"
    "\n"
    "    {\"seq\":N,\"run\":\"...\",\"event\":\"dropped\",\"time\":\"...\",\"dropped\":5,\"first\":101,\"last\":105}\n"
    "\n"
    "`dropped` lines are missing there, with numbers from `first` to `last`.\n"
    "\n"
    "A remembered answer that was asked again (`cache.audit`) and came out otherwise, or not at all, has a line with\n"
    "`\"event\":\"audit\"`, `model`, `backend`, `cache_key`, `result` (`different` or `failed`) and the place where\n"
    "the two begin to differ: `choice`, `at`.\n"
    "\n"
    "Health checks, scrapes of `/metrics` and looks at the status page have no lines. The times from `auth_ms` to\n"
    "`answer_ms` follow one another and add up to the time until the answer's head left.\n"
    "\n"
    "This page is made from the table in `src/record/record_fields.c`.\n"
    "\n"
    "| field | type | meaning |\n"
    "| --- | --- | --- |\n"
    "| `seq` | number, always there | Its number |\n"
    "| `run` | text, always there | The process whose number it is: 16 hex digits, chosen at its start |\n";

void record_describe(struct buffer *out)
{
    buffer_append_text(out, opening);
    for (unsigned i = 0; i < record_field_count; i++) {
        const struct record_field *field = &record_fields[i];

        buffer_printf(out, "| `%s` | %s | %s |\n", field->name, types[field->kind], field->help);
    }
}
