/*
 * A traceparent is four fields of fixed length: read strictly, in place.
 */
#include "record/trace.h"

#define VERSION_AT 0
#define TRACE_AT 3
#define SPAN_AT (TRACE_AT + TRACE_ID_SIZE + 1)
#define FLAGS_AT (SPAN_AT + SPAN_ID_SIZE + 1)
#define SAMPLED 1

/* Hex digits of lower case; upper case is not allowed. */
static bool is_hex(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (bytes_hex_digit(text.data[i]) < 0 || (text.data[i] >= 'A' && text.data[i] <= 'F'))
            return false;
    return true;
}

static bool is_id(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '0')
            return is_hex(text);
    return false;
}

static struct bytes part(struct bytes text, size_t at, size_t size)
{
    return (struct bytes){text.data + at, size};
}

/* Dashes where they belong, and nothing behind the flags but what a later version may have put there. */
static bool has_form(struct bytes text)
{
    struct bytes version;

    if (text.size < TRACEPARENT_SIZE)
        return false;
    version = part(text, VERSION_AT, 2);
    if (!is_hex(version) || bytes_equal(version, BYTES("ff")))
        return false;
    if (text.size > TRACEPARENT_SIZE && (bytes_equal(version, BYTES("00")) || text.data[TRACEPARENT_SIZE] != '-'))
        return false;
    return text.data[TRACE_AT - 1] == '-' && text.data[SPAN_AT - 1] == '-' && text.data[FLAGS_AT - 1] == '-';
}

bool trace_read(struct bytes traceparent, struct trace *ret)
{
    struct bytes trace_id, parent_id, flags;

    if (!has_form(traceparent))
        return false;
    trace_id = part(traceparent, TRACE_AT, TRACE_ID_SIZE);
    parent_id = part(traceparent, SPAN_AT, SPAN_ID_SIZE);
    flags = part(traceparent, FLAGS_AT, 2);
    if (!is_id(trace_id) || !is_id(parent_id) || !is_hex(flags))
        return false;
    memcpy(ret->trace_id, trace_id.data, TRACE_ID_SIZE);
    memcpy(ret->parent_id, parent_id.data, SPAN_ID_SIZE);
    ret->joined = true;
    ret->sampled = bytes_hex_digit(flags.data[1]) & SAMPLED;
    return true;
}

bool trace_state_good(struct bytes tracestate)
{
    unsigned members = 0;
    bool inside = false; /* of a member; empty ones do not count */

    for (size_t i = 0; i < tracestate.size; i++) {
        char c = tracestate.data[i];

        if (c < ' ' || c > '~')
            return false;
        members += !inside && c != ',' && c != ' ';
        inside = c != ',' && (inside || c != ' ');
    }
    return tracestate.size > 0 && tracestate.size <= TRACESTATE_MOST && members <= TRACESTATE_MEMBERS;
}

void trace_write(const struct trace *trace, char ret[TRACEPARENT_SIZE])
{
    memcpy(ret, "00-", TRACE_AT);
    memcpy(ret + TRACE_AT, trace->trace_id, TRACE_ID_SIZE);
    ret[SPAN_AT - 1] = '-';
    memcpy(ret + SPAN_AT, trace->span_id, SPAN_ID_SIZE);
    ret[FLAGS_AT - 1] = '-';
    ret[FLAGS_AT] = '0';
    ret[FLAGS_AT + 1] = trace->sampled ? '1' : '0';
}
