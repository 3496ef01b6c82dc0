/*
 * W3C Trace Context (https://www.w3.org/TR/trace-context/), level 1: a client's traceparent is read strictly and gone
 * on with; without one a trace begins here. And one request as an OTLP span (opentelemetry-proto 1.x, JSON).
 */
#pragma once

#include "record/record.h"

#define TRACE_ID_SIZE 32        /* hex digits */
#define SPAN_ID_SIZE 16
#define TRACEPARENT_SIZE 55
/* What is passed on of a client's tracestate; a longer one, or one of more members, is dropped as a whole, as the
 * specification allows. */
#define TRACESTATE_MOST 512
#define TRACESTATE_MEMBERS 32

struct trace {
    char trace_id[TRACE_ID_SIZE], span_id[SPAN_ID_SIZE];
    char parent_id[SPAN_ID_SIZE];   /* the client's span; only when `joined` */
    bool joined;                    /* the client sent a good traceparent */
    bool sampled;
};

/* Read a client's header. False: it is none, or a bad one, and *RET is untouched. Versions above 00 are read as the
 * specification says; ids of zeros are bad. Only sets trace_id, parent_id, joined and sampled. */
bool trace_read(struct bytes traceparent, struct trace *ret);
/* A good tracestate that may go on: printable ASCII, within those bounds. */
bool trace_state_good(struct bytes tracestate);
/* For the upstream: our span is the parent there. */
void trace_write(const struct trace *trace, char ret[TRACEPARENT_SIZE]);

/* The record as one span, a JSON object with no newline in it: kind SERVER, name "chat MODEL", attributes by
 * OpenTelemetry's GenAI conventions (gen_ai.operation.name, gen_ai.request.model, gen_ai.response.model,
 * gen_ai.usage.input_tokens, ...) and http.*; the parts of the time as events are not spans of their own but
 * attributes embergate.*_ms; status ERROR with the reason. Its ids are the record's trace_id, span_id, parent_id. */
void trace_write_span(const struct record *record, struct buffer *out);
