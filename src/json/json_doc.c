/*
 * The door to yajl. Only its callbacks are used, and of them only that a token ended: the token's span
 * follows from the bytes yajl has consumed, and its start from the end of the token before.
 *
 * yajl looks at each byte of a string three times, and decodes what is escaped, which nobody here wants.
 * So long strings are checked ahead of it, and yajl is given an empty one in their place. A string with
 * anything wrong in it goes to yajl as it is: what is refused, and where, is told by one place alone.
 *
 * What yajl lets pass is refused here: lax UTF-8, lone surrogates, NUL, \f and \v as white space, depth,
 * number of nodes, and a second value after the first. yajl is told to allow the last, since that is what
 * makes its handle fit for the next text once one has ended well.
 */
#include "json/json_doc.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "json/json_scan.h"
#include "json/json_unescape.h"

#include <yajl/yajl_parse.h>

#define FIRST_NODES 16 /* as many as a short chat has, or nearly */
#define SHORT_TEXT 512 /* up to here yajl alone is as fast, and the text is read when all of it is there */
#define KEEP_SIZE 65536 /* the parser of a larger text may hold large buffers: it goes; and so do nodes of scratch */

enum { GAP_NONE, GAP_GOOD, GAP_BAD };
enum { INSIDE_UNKNOWN, INSIDE_PLAIN, INSIDE_ESCAPED };

/* What may stand between two tokens; yajl has seen to it that colons and commas are where they belong. */
static const uint8_t gap[256] = {
    [' '] = GAP_GOOD, ['\t'] = GAP_GOOD, ['\n'] = GAP_GOOD, ['\r'] = GAP_GOOD,
    [':'] = GAP_GOOD, [','] = GAP_GOOD,  ['\f'] = GAP_BAD,  ['\v'] = GAP_BAD,
};

void json_doc_init(struct json_doc *doc, struct json_limits limits)
{
    *doc = (struct json_doc){.limits = limits};
}

static void close_parser(struct json_doc *doc)
{
    if (doc->parser)
        yajl_free(doc->parser);
    doc->parser = NULL;
}

void json_doc_deinit(struct json_doc *doc)
{
    close_parser(doc);
    alloc_free(doc->nodes);
    json_doc_init(doc, doc->limits);
}

/* The first error stays. Returns 0, which tells yajl to stop. */
static int refuse(struct json_doc *doc, int error, size_t at)
{
    if (!doc->error) {
        doc->error = error;
        doc->error_at = (uint32_t)at;
    }
    return 0;
}

/* --- what yajl reports --- */

/* The span of the token that just ended. */
static int take_token(struct json_doc *doc, uint32_t *ret_start, uint32_t *ret_end)
{
    const unsigned char *text = (const unsigned char *)doc->text.data;
    uint32_t start = doc->token_end;

    while (gap[text[start]] == GAP_GOOD)
        start++;
    if (gap[text[start]] == GAP_BAD)
        return refuse(doc, JSON_E_SYNTAX, start);
    *ret_start = start;
    *ret_end = doc->token_end = doc->fed + (uint32_t)yajl_get_bytes_consumed(doc->parser);
    return 1;
}

static void grow(struct json_doc *doc)
{
    doc->capacity = doc->capacity < FIRST_NODES ? FIRST_NODES : doc->capacity + doc->capacity / 2;
    doc->nodes = alloc_resize(doc->nodes, doc->capacity * sizeof(*doc->nodes));
}

static int add_node(struct json_doc *doc, enum json_type type)
{
    uint32_t start, end;
    struct json_node *node;

    if (!take_token(doc, &start, &end))
        return 0;
    if (doc->open == 0 && doc->count > 0)
        return refuse(doc, JSON_E_SYNTAX, start);
    if (doc->count >= doc->limits.nodes)
        return refuse(doc, JSON_E_SIZE, start);
    if (doc->count == doc->capacity)
        grow(doc);
    node = &doc->nodes[doc->count++];
    node->start = start;
    node->end = end;
    node->next = doc->count;
    node->type = (uint8_t)type;
    node->escaped = 0;
    node->depth = doc->open ? (uint16_t)(doc->nodes[doc->open - 1].depth + 1) : 0;
    return 1;
}

static int open_container(struct json_doc *doc, enum json_type type)
{
    struct json_node *node;

    if (!add_node(doc, type))
        return 0;
    node = &doc->nodes[doc->count - 1];
    if (node->depth >= doc->limits.depth)
        return refuse(doc, JSON_E_DEPTH, node->start);
    node->next = doc->open;
    doc->open = doc->count;
    return 1;
}

static int on_close(void *context)
{
    struct json_doc *doc = context;
    struct json_node *node = &doc->nodes[doc->open - 1];
    uint32_t start, end;

    if (!take_token(doc, &start, &end))
        return 0;
    doc->open = node->next;
    node->end = end;
    node->next = doc->count;
    return 1;
}

/* yajl's own decoding only tells, by being shorter, that something is escaped. */
static int add_string(struct json_doc *doc, enum json_type type, size_t decoded_size)
{
    struct json_node *node;
    struct bytes inside;
    size_t at;
    int error;

    if (!add_node(doc, type))
        return 0;
    node = &doc->nodes[doc->count - 1];
    if (doc->inside != INSIDE_UNKNOWN) {
        node->escaped = doc->inside == INSIDE_ESCAPED;
        return 1;
    }
    inside = (struct bytes){doc->text.data + node->start + 1, node->end - node->start - 2};
    if (inside.size == decoded_size)
        return 1;
    node->escaped = 1;
    error = json_escapes_check(inside, &at);
    return error ? refuse(doc, error, node->start + 1 + at) : 1;
}

static int on_null(void *doc)
{
    return add_node(doc, JSON_NULL);
}

static int on_boolean(void *doc, int value)
{
    return add_node(doc, value ? JSON_TRUE : JSON_FALSE);
}

static int on_number(void *doc, const char *text, size_t size)
{
    return add_node(doc, JSON_NUMBER);
}

static int on_string(void *doc, const unsigned char *text, size_t size)
{
    return add_string(doc, JSON_STRING, size);
}

static int on_key(void *doc, const unsigned char *text, size_t size)
{
    return add_string(doc, JSON_KEY, size);
}

static int on_open_object(void *doc)
{
    return open_container(doc, JSON_OBJECT);
}

static int on_open_array(void *doc)
{
    return open_container(doc, JSON_ARRAY);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close,
};

/* --- feeding yajl --- */

static void *yajl_take(void *context, size_t size)
{
    return alloc_bytes(size);
}

static void *yajl_retake(void *context, void *old, size_t size)
{
    return alloc_resize(old, size);
}

static void yajl_give_back(void *context, void *memory)
{
    alloc_free(memory);
}

static void open_parser(struct json_doc *doc)
{
    yajl_alloc_funcs memory = {yajl_take, yajl_retake, yajl_give_back, NULL};

    doc->parser = yajl_alloc(&callbacks, &memory, doc);
    yajl_config(doc->parser, yajl_allow_comments, 0);
    yajl_config(doc->parser, yajl_dont_validate_strings, 1);
    yajl_config(doc->parser, yajl_allow_multiple_values, 1);
}

/* Where the text offends, after yajl said so: at a comma or colon that yajl stopped at, at the byte inside a
 * string that it stopped at, else where the token begins that does not fit. */
static size_t offence(const struct json_doc *doc, uint32_t limit)
{
    const unsigned char *text = (const unsigned char *)doc->text.data;
    size_t stopped = doc->fed + yajl_get_bytes_consumed(doc->parser);
    uint32_t start = doc->token_end;
    unsigned char *words;
    bool lexical;

    while (start < limit && gap[text[start]] == GAP_GOOD) {
        if ((text[start] == ':' || text[start] == ',') && start + 1 >= stopped)
            return start;
        start++;
    }
    if (start == limit || text[start] != '"')
        return start;
    words = yajl_get_error(doc->parser, 0, NULL, 0);
    lexical = words && bytes_start_with(bytes_of((const char *)words), BYTES("lexical"));
    yajl_free_error(doc->parser, words);
    return lexical && stopped < limit ? stopped : start;
}

static int give_up(struct json_doc *doc, int error, size_t at)
{
    refuse(doc, error, at);
    close_parser(doc);
    return doc->error;
}

/* Let yajl read SIZE bytes of TEXT, which stand for what is in the document up to LIMIT. */
static int give_text(struct json_doc *doc, const char *text, uint32_t size, uint32_t limit)
{
    doc->fed = limit - size;
    if (yajl_parse(doc->parser, (const unsigned char *)text, size) != yajl_status_ok)
        return give_up(doc, JSON_E_SYNTAX, doc->error ? 0 : offence(doc, limit));
    doc->fed = limit;
    return 0;
}

/* Let yajl read up to LIMIT, as it is. */
static int give(struct json_doc *doc, uint32_t limit)
{
    if (!doc->parser)
        open_parser(doc);
    return limit > doc->fed ? give_text(doc, doc->text.data + doc->fed, limit - doc->fed, limit) : 0;
}

/* Once yajl has read up to AT, it is not inside a token, or waiting for more digits. */
static bool is_between_tokens(const struct json_doc *doc, uint32_t at)
{
    unsigned char before = at ? (unsigned char)doc->text.data[at - 1] : ' ';

    return gap[before] == GAP_GOOD || before == '[' || before == '{';
}

/* Let yajl read up to the end of the last long string that is good. What is before it is read with it, so
 * that yajl tells of an earlier offence first. */
static int give_long_strings(struct json_doc *doc)
{
    struct bytes inside;
    bool escaped;

    while (json_scan_long_string(doc, &inside)) {
        uint32_t start = (uint32_t)(inside.data - doc->text.data) - 1;
        int r;

        if (!is_between_tokens(doc, start) || !json_scan_is_good(inside, &escaped))
            continue;
        r = give(doc, start);
        if (r)
            return r;
        doc->inside = escaped ? INSIDE_ESCAPED : INSIDE_PLAIN;
        r = give_text(doc, "\"\"", 2, start + (uint32_t)inside.size + 2);
        if (r)
            return r;
        doc->inside = INSIDE_UNKNOWN;
    }
    return 0;
}

static int give_all(struct json_doc *doc)
{
    int r = doc->checked > SHORT_TEXT ? give_long_strings(doc) : 0;

    return r ? r : give(doc, doc->checked);
}

/* Whether the text's last bytes, from the first that is not good UTF-8, may be the start of a character. */
static bool character_is_cut(const struct json_doc *doc)
{
    unsigned char lead = (unsigned char)doc->text.data[doc->checked];
    size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;

    return doc->text.size - doc->checked < length;
}

/* Look at what is new. An earlier offence is reported rather than the one found here, however the text was
 * cut. */
static int check_utf8(struct json_doc *doc, struct bytes so_far, bool whole)
{
    int r;

    if (so_far.size >= UINT32_MAX)
        return give_up(doc, JSON_E_SIZE, UINT32_MAX);
    doc->text = so_far;
    if (so_far.size > doc->checked)
        doc->checked += (uint32_t)utf8_valid_prefix(bytes_skip(so_far, doc->checked));
    if (doc->checked == so_far.size || (!whole && character_is_cut(doc)))
        return 0;
    r = give_all(doc);
    return r ? r : give_up(doc, JSON_E_UTF8, doc->checked);
}

/* yajl copies a token that is cut, and reads it again from its start when there is more: small pieces of a
 * long token would cost time by the square, and its memory once more. So an unfinished string waits as a
 * whole, and any other until as much again has come. */
int json_doc_feed(struct json_doc *doc, struct bytes so_far)
{
    uint32_t limit;
    int r;

    if (doc->error)
        return doc->error;
    r = check_utf8(doc, so_far, false);
    if (r || doc->checked <= SHORT_TEXT)
        return r;
    r = give_long_strings(doc);
    if (r)
        return r;
    limit = doc->string_start ? doc->string_start - 1 : doc->checked;
    if (limit <= doc->fed || limit - doc->fed < doc->fed - doc->token_end)
        return 0;
    return give(doc, limit);
}

/* As json_doc_finish(), with the parser kept after success. */
static int finish(struct json_doc *doc, struct bytes whole)
{
    uint32_t at;
    int r;

    if (doc->error)
        return doc->error;
    r = check_utf8(doc, whole, true);
    if (r)
        return r;
    r = give_all(doc);
    if (r)
        return r;
    if (yajl_complete_parse(doc->parser) != yajl_status_ok || doc->count == 0)
        return give_up(doc, JSON_E_SYNTAX, whole.size);
    for (at = doc->token_end; at < whole.size; at++)
        if (!memchr(" \t\n\r", whole.data[at], 4))
            return give_up(doc, JSON_E_SYNTAX, at);
    doc->complete = true;
    return 0;
}

/* What is read from now on may be kept for as long as a stream lasts. */
static void trim(struct json_doc *doc)
{
    if (doc->capacity - doc->count <= doc->capacity / 4)
        return;
    doc->capacity = doc->count;
    doc->nodes = alloc_resize(doc->nodes, doc->capacity * sizeof(*doc->nodes));
}

int json_doc_finish(struct json_doc *doc, struct bytes whole)
{
    int r = finish(doc, whole);

    close_parser(doc);
    trim(doc);
    return r;
}

int json_doc_parse(struct json_doc *doc, struct bytes whole)
{
    struct json_doc kept = *doc;

    json_doc_init(doc, kept.limits);
    doc->nodes = kept.nodes;
    doc->capacity = kept.capacity;
    doc->parser = kept.parser;
    if (!kept.complete || kept.text.size > KEEP_SIZE)
        close_parser(doc);
    return finish(doc, whole);
}

int json_doc_read(struct json_doc *doc, struct json_doc *scratch, struct bytes whole)
{
    int r = json_doc_parse(scratch, whole);
    size_t size = r ? 0 : scratch->count * sizeof(*doc->nodes);

    *doc = *scratch;
    doc->parser = NULL;
    doc->count = doc->capacity = r ? 0 : scratch->count;
    doc->nodes = size ? memcpy(alloc_bytes(size), scratch->nodes, size) : NULL;
    if (scratch->capacity * sizeof(*doc->nodes) > KEEP_SIZE)
        json_doc_deinit(scratch);
    return r;
}

const char *json_error_text(int error)
{
    static const char *const texts[] = {
        [JSON_E_SYNTAX] = "not valid JSON",
        [JSON_E_UTF8] = "not valid UTF-8",
        [JSON_E_NUL] = "a NUL character in a string",
        [JSON_E_DEPTH] = "nested too deeply",
        [JSON_E_SIZE] = "too many values",
    };

    return error > 0 && (size_t)error < ARRAY_SIZE(texts) ? texts[error] : "unknown";
}
