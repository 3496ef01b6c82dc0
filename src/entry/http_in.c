/*
 * A head is gathered through the filter into a buffer of its own until it is whole, and llhttp reads it in
 * one go: so every span is in one piece and no rule has to think of cuts. The request line is read twice, by
 * the rules and by llhttp, and so are framing and field count; if the two do not agree, the request is
 * refused. llhttp stops where the head ends; bodies are framed here and in http_chunks.c, where a few lines
 * are all it takes, and the upgrade mode of llhttp is never entered.
 */
#include "entry/http_in.h"

#include "base/alloc.h"
#include "entry/http_chunks.h"

#include <assert.h>
#include <llhttp.h>

_Static_assert(LLHTTP_STRICT_MODE == 1, "the loose parser lets requests be smuggled");

#define KEPT_BYTES 1024 /* of head buffer, between the requests of a connection */

enum state { IN_HEAD, IN_LENGTH, IN_CHUNKS, IN_END, IN_FAILED };

struct http_in {
    struct http_in_limits limits;
    uint8_t state;
    uint8_t lenient_flags;      /* llhttp's, as they were after the last head */

    struct buffer head, joined; /* joined: a field of more than one line */
    struct http_filter filter;
    struct http_request request;

    uint64_t left;              /* IN_LENGTH */
    struct http_chunks chunks;  /* IN_CHUNKS */

    struct http_fault fault;
};

struct http_in *http_in_new(const struct http_in_limits *limits)
{
    struct http_in *in = ALLOC_NEW(struct http_in);

    in->limits = *limits;
    return in;
}

struct http_in *http_in_free(struct http_in *in)
{
    if (!in)
        return NULL;
    buffer_deinit(&in->head);
    buffer_deinit(&in->joined);
    return alloc_free(in);
}

/* --- llhttp --------------------------------------------------------------------------------------------- */

/* One run of llhttp over one head. */
struct reading {
    struct http_in *in;
    struct http_rules rules;
    struct bytes target, name, value;
    uint32_t count;
    bool complete;
};

/* Spans of one thing must touch: a gap would be a folded line. */
static int add_span(struct bytes *span, const char *at, size_t size)
{
    if (!span->data)
        span->data = at;
    if (span->data + span->size != at)
        return -1;
    span->size += size;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    return add_span(&((struct reading *)parser->data)->target, at, size);
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    return add_span(&((struct reading *)parser->data)->name, at, size);
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    return add_span(&((struct reading *)parser->data)->value, at, size);
}

static int on_field_complete(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    struct bytes value = reading->value, name = reading->name;

    /* Up to the CR that the filter saw: some rules mind the spaces that llhttp cuts off. An empty value is told where
     * the next line begins, and stays empty. */
    if (value.size)
        value.size = (size_t)((const char *)rawmemchr(value.data, '\r') - value.data);
    reading->name = reading->value = BYTES_NONE;
    reading->count++;
    return http_rules_field(&reading->rules, name, value, &reading->in->fault) ? 0 : -1;
}

static int on_head_complete(llhttp_t *parser)
{
    ((struct reading *)parser->data)->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field_complete,
    .on_headers_complete = on_head_complete,
};

/* The line has passed the rules, so a complaint about its words is about a method llhttp does not know, or
 * knows for another protocol. */
static bool explain(llhttp_errno_t error, struct http_fault *fault)
{
    if (fault->message)
        return false;
    switch (error) {
    case HPE_INVALID_METHOD:
    case HPE_INVALID_CONSTANT:
        return http_refuse(fault, FAIL_NOT_IMPLEMENTED, "The method is not known here.");
    case HPE_INVALID_TRANSFER_ENCODING:
        return http_refuse(fault, FAIL_NOT_IMPLEMENTED,
                           "Transfer-Encoding must be one field saying chunked.");
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return http_refuse(fault, FAIL_BAD_HTTP, "The length of the body is not clear.");
    case HPE_INVALID_HEADER_TOKEN:
        return http_refuse(fault, FAIL_BAD_HTTP, "A header holds a byte that must not be there.");
    default:
        return http_refuse(fault, FAIL_BAD_HTTP, "The head is not HTTP.");
    }
}

/* Both readers saw the same request, and it ends where the filter says. */
static bool readers_agree(const struct http_in *in, const struct reading *reading, const llhttp_t *parser)
{
    const struct http_request *request = &in->request;
    size_t target = request->path.size + (request->query.data ? request->query.size + 1 : 0);

    return reading->complete && llhttp_get_error_pos(parser) == in->head.data + in->head.size &&
           reading->target.data == request->path.data && reading->target.size == target &&
           reading->count + 1 == in->filter.lines && parser->http_major == 1 &&
           parser->http_minor == request->minor && !(parser->flags & F_CHUNKED) == !request->chunked &&
           (request->chunked || parser->content_length == request->content_length);
}

static bool read_by_llhttp(struct http_in *in)
{
    struct reading reading = {.in = in, .rules.joined = &in->joined};
    llhttp_errno_t error;
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &reading;
    error = llhttp_execute(&parser, in->head.data, in->head.size);
    in->lenient_flags = parser.lenient_flags;
    assert(in->lenient_flags == 0);
    if (error != HPE_PAUSED)
        return explain(error, &in->fault);
    if (!http_rules_head(&reading.rules, &in->request, &in->fault))
        return false;
    if (!readers_agree(in, &reading, &parser))
        return http_refuse(&in->fault, FAIL_BAD_HTTP, "The head can be read in two ways.");
    return true;
}

/* --- steps ---------------------------------------------------------------------------------------------- */

static enum http_in_step fail(struct http_in *in)
{
    in->state = IN_FAILED;
    return HTTP_IN_ERROR;
}

static bool parse_head(struct http_in *in)
{
    const char *end = rawmemchr(in->head.data, '\r');
    struct bytes line = {in->head.data, (size_t)(end - in->head.data)};

    if (!http_rules_line(line, &in->request, &in->fault))
        return false;
    return read_by_llhttp(in);
}

static enum http_in_step next_of_head(struct http_in *in, struct bytes *input)
{
    size_t taken;

    *input = bytes_skip(*input, http_filter_lead(&in->filter, *input));
    if (!http_filter_head(&in->filter, &in->limits, *input, &taken, &in->fault))
        return fail(in);
    buffer_append(&in->head, (struct bytes){input->data, taken});
    *input = bytes_skip(*input, taken);
    if (!http_filter_done(&in->filter))
        return HTTP_IN_MORE;
    if (!parse_head(in))
        return fail(in);
    in->left = in->request.content_length;
    in->state = in->request.chunked ? IN_CHUNKS : in->left ? IN_LENGTH : IN_END;
    return HTTP_IN_HEAD;
}

static enum http_in_step next_of_length(struct http_in *in, struct bytes *input, struct bytes *ret_piece)
{
    size_t size = input->size < in->left ? input->size : (size_t)in->left;

    if (size == 0)
        return HTTP_IN_MORE;
    *ret_piece = (struct bytes){input->data, size};
    *input = bytes_skip(*input, size);
    in->left -= size;
    if (in->left == 0)
        in->state = IN_END;
    return HTTP_IN_BODY;
}

static enum http_in_step next_of_chunks(struct http_in *in, struct bytes *input, struct bytes *ret_piece)
{
    enum http_in_step step;

    step = http_chunks_next(&in->chunks, &in->limits, input, ret_piece, &in->fault);
    if (step == HTTP_IN_ERROR)
        return fail(in);
    if (step == HTTP_IN_END)
        in->state = IN_END;
    return step;
}

enum http_in_step http_in_next(struct http_in *in, struct bytes *input, struct bytes *ret_piece)
{
    switch (in->state) {
    case IN_HEAD:
        return next_of_head(in, input);
    case IN_LENGTH:
        return next_of_length(in, input, ret_piece);
    case IN_CHUNKS:
        return next_of_chunks(in, input, ret_piece);
    case IN_END:
        return HTTP_IN_END;
    default:
        return HTTP_IN_ERROR;
    }
}

/* --- questions ------------------------------------------------------------------------------------------ */

const struct http_request *http_in_request(const struct http_in *in)
{
    return &in->request;
}

bool http_in_head_begun(const struct http_in *in)
{
    return in->state == IN_HEAD && in->head.size > 0;
}

uint64_t http_in_left(const struct http_in *in)
{
    switch (in->state) {
    case IN_LENGTH:
        return in->left;
    case IN_CHUNKS:
        return UINT64_MAX;
    default:
        return 0;
    }
}

enum failure_kind http_in_error(const struct http_in *in, const char **ret_message)
{
    *ret_message = in->fault.message;
    return in->fault.kind;
}

size_t http_in_held(const struct http_in *in)
{
    return in->head.capacity + in->joined.capacity;
}

unsigned http_in_lenient_flags(const struct http_in *in)
{
    return in->lenient_flags;
}

void http_in_reset(struct http_in *in)
{
    buffer_clear(&in->head, KEPT_BYTES);
    buffer_clear(&in->joined, 0);
    in->state = IN_HEAD;
    in->filter = (struct http_filter){0};
    in->request = (struct http_request){0};
    in->chunks = (struct http_chunks){0};
    in->fault = (struct http_fault){0};
}
