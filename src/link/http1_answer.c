/*
 * llhttp knows the grammar and the framing; here stands what a gateway wants on top: which fields are kept, what it
 * refuses, how much may come that is no body, and where an answer ends. A head is not gathered: the few wanted values
 * are copied as they pass, wherever a read cuts them. An interim answer ends llhttp's message like any other, and a
 * new parser reads on, so nothing of it is left. llhttp stops behind the last byte of an answer, and its upgrade mode
 * is never entered: only a 101 would, and that one is refused.
 */
#include "link/http1_answer.h"

#include "base/alloc.h"

#include <llhttp.h>

_Static_assert(LLHTTP_STRICT_MODE == 1, "the loose parser reads lines that end in LF alone");

enum { CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER, TRANSFER_ENCODING, WANTED };

/* Fields that are kept, and where in `text`. Only `chunked` must find room in the last. */
static const struct {
    struct bytes name;
    uint8_t at, size;
} wanted[WANTED] = {
    [CONTENT_TYPE] = {{"content-type", 12}, 0, 128},
    [CONTENT_ENCODING] = {{"content-encoding", 16}, 128, 32},
    [RETRY_AFTER] = {{"retry-after", 11}, 160, 64},
    [TRANSFER_ENCODING] = {{"transfer-encoding", 17}, 224, 8},
};

enum { TEXT_BYTES = 128 + 32 + 64 + 8, NAME_BYTES = 17 };

struct http1_answer {
    llhttp_t parser;
    const struct http1_answer_events *events;
    void *data;
    uint8_t state;
    bool begun, headed, keeps;
    const char *reason;

    /* What was read since the last byte of a body, or ever: in reads before this one, and in this one from MARK. */
    size_t overhead;
    const char *mark, *end;

    uint8_t interim;            /* 1xx answers so far */
    uint8_t codings;            /* Transfer-Encoding fields */
    uint8_t field;              /* whose value comes; WANTED: of no interest */
    bool value_ended;           /* by its line's end: more of it would be a folded line */
    uint8_t name_size;
    uint8_t sizes[WANTED];
    bool cut[WANTED];
    char name[NAME_BYTES];
    char text[TEXT_BYTES];
};

_Static_assert(sizeof(struct http1_answer) <= 600, "one per connection");

/* --- fields ---------------------------------------------------------------------------------------------------- */

/* For callbacks of llhttp to return. */
static int refuse(struct http1_answer *answer, const char *reason)
{
    answer->reason = reason;
    return -1;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_answer *answer = parser->data;

    if (answer->headed)
        return 0;
    if (size > (size_t)NAME_BYTES - answer->name_size) {
        answer->name_size = NAME_BYTES;
        answer->name[0] = ':'; /* the beginning of no name */
        return 0;
    }
    memcpy(answer->name + answer->name_size, at, size);
    answer->name_size += (uint8_t)size;
    return 0;
}

static uint8_t find_field(struct bytes name)
{
    uint8_t field = 0;

    while (field < WANTED && !(name.size == wanted[field].name.size && bytes_equal_nocase(name, wanted[field].name)))
        field++;
    return field;
}

/* The last field of a name counts. */
static int on_name_complete(llhttp_t *parser)
{
    struct http1_answer *answer = parser->data;

    if (answer->headed)
        return 0;
    answer->field = find_field((struct bytes){answer->name, answer->name_size});
    answer->name_size = 0;
    answer->value_ended = false;
    if (answer->field == WANTED)
        return 0;
    answer->sizes[answer->field] = 0;
    answer->cut[answer->field] = false;
    if (answer->field == TRANSFER_ENCODING && ++answer->codings > 1)
        return refuse(answer, "more than one transfer encoding");
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_answer *answer = parser->data;
    uint8_t field = answer->field;
    size_t room;

    if (answer->headed)
        return 0;
    if (answer->value_ended)
        return refuse(answer, "a header goes on in a second line");
    answer->value_ended = at + size < answer->end;
    if (field == WANTED)
        return 0;
    room = (size_t)wanted[field].size - answer->sizes[field];
    if (size > room) {
        answer->cut[field] |= bytes_trim((struct bytes){at + room, size - room}).size > 0;
        size = room;
    }
    memcpy(answer->text + wanted[field].at + answer->sizes[field], at, size);
    answer->sizes[field] += (uint8_t)size;
    return 0;
}

/* Trimmed; a cut one is as it came. */
static struct bytes value_of(const struct http1_answer *answer, uint8_t field)
{
    struct bytes value = {answer->text + wanted[field].at, answer->sizes[field]};

    return answer->cut[field] ? value : bytes_trim(value);
}

static void forget_fields(struct http1_answer *answer)
{
    memset(answer->sizes, 0, sizeof(answer->sizes));
    answer->codings = answer->name_size = 0;
}

/* --- the message ----------------------------------------------------------------------------------------------- */

/* Any coding but `chunked` would have to be undone. A length beside it does not count (RFC 9112 6.3). */
static bool framing_is_clear(const struct http1_answer *answer)
{
    unsigned flags = answer->parser.flags;

    if (!(flags & F_TRANSFER_ENCODING) && answer->codings == 0)
        return true;
    return flags & F_CHUNKED && bytes_equal_nocase(value_of(answer, TRANSFER_ENCODING), BYTES("chunked"));
}

/* More careful than llhttp: HTTP/1.0 does not know chunks, `close` has the last word, and two ways of framing at once
 * is how answers are smuggled. */
static bool may_be_kept(const llhttp_t *parser)
{
    unsigned flags = parser->flags;

    if (flags & F_CONNECTION_CLOSE || (flags & F_CHUNKED && (parser->http_minor == 0 || flags & F_CONTENT_LENGTH)))
        return false;
    return llhttp_should_keep_alive(parser);
}

static int give_head(struct http1_answer *answer)
{
    struct transfer_head head = {
        .status = answer->parser.status_code,
        .content_type = value_of(answer, CONTENT_TYPE),
        .content_encoding = value_of(answer, CONTENT_ENCODING),
        .retry_after = value_of(answer, RETRY_AFTER),
    };

    answer->headed = true;
    answer->keeps = may_be_kept(&answer->parser);
    if (!answer->events->head(answer->data, &head)) {
        answer->state = HTTP1_ANSWER_LEFT;
        return -1;
    }
    return head.status == 204 || head.status == 304;
}

/* llhttp's answer to 1: there is no body. */
static int on_head(llhttp_t *parser)
{
    struct http1_answer *answer = parser->data;

    if (parser->http_major != 1)
        return refuse(answer, "not HTTP/1");
    if (parser->status_code < 100)
        return refuse(answer, "not a status");
    if (parser->status_code == 101)
        return refuse(answer, "the upstream switched protocols");
    if (parser->status_code < 200) {
        if (++answer->interim > TRANSFER_INTERIM_LIMIT)
            return refuse(answer, "too many interim answers");
        return 1;
    }
    if (!framing_is_clear(answer))
        return refuse(answer, "a transfer encoding that is not known here");
    return give_head(answer);
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_answer *answer = parser->data;

    if (answer->overhead + (size_t)(at - answer->mark) > TRANSFER_HEADER_LIMIT)
        return -1; /* read_piece() sees why */
    answer->overhead = 0;
    answer->mark = at + size;
    if (answer->events->body(answer->data, (struct bytes){at, size}))
        return 0;
    answer->state = HTTP1_ANSWER_LEFT;
    return -1;
}

static int on_end(llhttp_t *parser)
{
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static void new_parser(struct http1_answer *answer)
{
    llhttp_init(&answer->parser, HTTP_RESPONSE, &settings);
    llhttp_set_lenient_chunked_length(&answer->parser, 1);
    answer->parser.data = answer;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static void fail(struct http1_answer *answer, const char *reason)
{
    answer->state = answer->headed ? HTTP1_ANSWER_CUT : HTTP1_ANSWER_BAD;
    answer->reason = reason;
}

static const char *explain(const struct http1_answer *answer, llhttp_errno_t error)
{
    if (answer->reason)
        return answer->reason;
    if (answer->headed)
        return error == HPE_INVALID_CHUNK_SIZE ? "a malformed chunk size" : "a malformed body";
    switch (error) {
    case HPE_INVALID_CONSTANT:
        return "not HTTP";
    case HPE_INVALID_VERSION:
        return "not HTTP/1";
    case HPE_INVALID_STATUS:
        return "not a status";
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return "the length of the body is not clear";
    default:
        return "a malformed head";
    }
}

static void end_message(struct http1_answer *answer)
{
    if (answer->headed) {
        answer->state = HTTP1_ANSWER_WHOLE;
        return;
    }
    forget_fields(answer);
    new_parser(answer);
}

/* One run of llhttp. How much of PIECE was read. */
static size_t read_piece(struct http1_answer *answer, struct bytes piece)
{
    const char *stop = piece.data + piece.size;
    llhttp_errno_t error;

    answer->mark = piece.data;
    answer->end = stop;
    error = llhttp_execute(&answer->parser, piece.data, piece.size);
    if (answer->state == HTTP1_ANSWER_LEFT)
        return piece.size;
    if (error != HPE_OK)
        stop = llhttp_get_error_pos(&answer->parser);
    answer->overhead += (size_t)(stop - answer->mark);
    if (answer->overhead > TRANSFER_HEADER_LIMIT)
        fail(answer, "too much between two bytes of the body");
    else if (error == HPE_PAUSED)
        end_message(answer);
    else if (error != HPE_OK)
        fail(answer, explain(answer, error));
    return (size_t)(stop - piece.data);
}

enum http1_answer_state http1_answer_read(struct http1_answer *answer, struct bytes input, struct bytes *ret_rest)
{
    *ret_rest = BYTES_NONE; /* now: a callback may free where it is */
    answer->begun |= input.size > 0;
    while (input.size && answer->state == HTTP1_ANSWER_MORE) {
        struct bytes piece = input;

        /* The head must be whole within the limit, however much came at once. */
        if (!answer->headed && piece.size > TRANSFER_HEADER_LIMIT - answer->overhead)
            piece.size = TRANSFER_HEADER_LIMIT - answer->overhead;
        if (piece.size)
            input = bytes_skip(input, read_piece(answer, piece));
        else
            fail(answer, "the answer's headers are too large");
    }
    if (answer->state == HTTP1_ANSWER_WHOLE)
        *ret_rest = input;
    return answer->state;
}

enum http1_answer_state http1_answer_end(struct http1_answer *answer)
{
    if (answer->state != HTTP1_ANSWER_MORE)
        return answer->state;
    if (answer->headed && llhttp_finish(&answer->parser) == HPE_PAUSED)
        answer->state = HTTP1_ANSWER_WHOLE;
    else if (answer->headed)
        fail(answer, "the connection ended within the body");
    else
        fail(answer, answer->begun ? "the connection ended within the head" : "the connection ended unanswered");
    return answer->state;
}

/* --- life and questions ---------------------------------------------------------------------------------------- */

struct http1_answer *http1_answer_new(const struct http1_answer_events *events)
{
    struct http1_answer *answer = ALLOC_NEW(struct http1_answer);

    answer->events = events;
    http1_answer_begin(answer, NULL);
    return answer;
}

struct http1_answer *http1_answer_free(struct http1_answer *answer)
{
    return alloc_free(answer);
}

void http1_answer_begin(struct http1_answer *answer, void *data)
{
    new_parser(answer);
    forget_fields(answer);
    answer->data = data;
    answer->state = HTTP1_ANSWER_MORE;
    answer->begun = answer->headed = answer->keeps = false;
    answer->reason = NULL;
    answer->overhead = 0;
    answer->interim = 0;
}

bool http1_answer_begun(const struct http1_answer *answer)
{
    return answer->begun;
}

bool http1_answer_headed(const struct http1_answer *answer)
{
    return answer->headed;
}

bool http1_answer_keeps(const struct http1_answer *answer)
{
    return answer->state == HTTP1_ANSWER_WHOLE && answer->keeps;
}

const char *http1_answer_reason(const struct http1_answer *answer)
{
    return answer->reason;
}
