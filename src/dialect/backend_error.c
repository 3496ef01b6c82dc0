/*
 * Every server has its own shape for an error; the message is looked for in all of them. The status says
 * whose fault it was. What upstreams say about keys is never passed on.
 */
#include "dialect/backend_error.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define MESSAGE_LIMIT 500
#define DETAIL_LIMIT 8192
#define RETRY_AFTER_LIMIT_S 300
#define LOADING_RETRY_MS 2000

/* What an error said. Views of its document or of the arena. */
struct said {
    struct bytes message, param, code, type;
    struct bytes detail; /* a pydantic list, JSON */
};

/* --- text --- */

struct bytes backend_clean_text(struct arena *arena, struct bytes text)
{
    struct bytes cut = text.size > MESSAGE_LIMIT ? (struct bytes){text.data, MESSAGE_LIMIT} : text;
    struct bytes copy = arena_copy(arena, cut);
    char *data = arena_alloc(arena, copy.size + 1);
    size_t at = 0;

    memcpy(data, copy.data, copy.size + 1);
    while (at < copy.size) {
        size_t good = utf8_valid_prefix((struct bytes){data + at, copy.size - at});

        at += good;
        if (at < copy.size && copy.size - at < 4 && cut.size < text.size)
            copy.size = at; /* a character that the limit cut */
        else if (at < copy.size)
            data[at++] = '?';
    }
    for (size_t i = 0; i < copy.size; i++)
        if ((unsigned char)data[i] < 0x20 || data[i] == 0x7f)
            data[i] = ' ';
    return (struct bytes){data, copy.size};
}

/* TEXT has WORDS in it, ASCII case aside. */
static bool mentions(struct bytes text, const char *words)
{
    struct bytes needle = bytes_of(words);

    for (size_t i = 0; i + needle.size <= text.size; i++)
        if (bytes_equal_nocase((struct bytes){text.data + i, needle.size}, needle))
            return true;
    return false;
}

/* --- shapes --- */

static struct bytes string_member(const struct json_doc *doc, const struct json_node *object, const char *member,
                                  struct arena *arena)
{
    const struct json_node *node = json_member(doc, object, bytes_of(member));

    return json_is(node, JSON_STRING) ? json_text(doc, node, arena) : BYTES_NONE;
}

/* FastAPI's list: the first item's place and message, "body.top_p: Input should be ...". */
static struct bytes detail_message(const struct json_doc *doc, const struct json_node *list, struct arena *arena)
{
    const struct json_node *item = json_first(doc, list);
    const struct json_node *place = json_member(doc, item, BYTES("loc")), *part;
    struct bytes what = string_member(doc, item, "msg", arena), message;
    struct buffer text;

    if (!what.size)
        return BYTES_NONE;
    buffer_init(&text);
    for (part = json_first(doc, place); part && text.size < MESSAGE_LIMIT; part = json_after(doc, place, part)) {
        if (text.size)
            buffer_append_char(&text, '.');
        buffer_append(&text, json_is(part, JSON_STRING) ? json_text(doc, part, arena) : json_raw(doc, part));
    }
    if (text.size)
        buffer_append_text(&text, ": ");
    buffer_append(&text, what);
    message = arena_copy(arena, buffer_bytes(&text));
    buffer_deinit(&text);
    return message;
}

static struct said read_object(const struct json_doc *doc, struct arena *arena)
{
    const struct json_node *root = json_root(doc), *object = json_member(doc, root, BYTES("error"));
    const struct json_node *detail = json_member(doc, root, BYTES("detail"));
    struct said said = {0};

    if (json_is(object, JSON_STRING))
        said.message = json_text(doc, object, arena);
    if (!json_is(object, JSON_OBJECT))
        object = root;
    if (!said.message.size)
        said.message = string_member(doc, object, "message", arena);
    if (!said.message.size && json_is(detail, JSON_STRING))
        said.message = json_text(doc, detail, arena);
    if (json_is(detail, JSON_ARRAY)) {
        if (!said.message.size)
            said.message = detail_message(doc, detail, arena);
        said.detail = json_raw(doc, detail);
    }
    said.param = string_member(doc, object, "param", arena);
    said.code = string_member(doc, object, "code", arena);
    said.type = string_member(doc, object, "type", arena);
    if (!said.type.size)
        said.type = string_member(doc, object, "error_type", arena);
    return said;
}

/* An error page is nobody's message. */
static struct bytes plain_message(struct bytes body)
{
    while (body.size && strchr(" \t\r\n", body.data[0]))
        body = bytes_skip(body, 1);
    return body.size && body.data[0] != '<' ? body : BYTES_NONE;
}

static struct said read_body(struct bytes body, struct arena *arena)
{
    struct said said = {0};
    struct json_doc doc;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_parse(&doc, body);
    if (json_is(json_root(&doc), JSON_OBJECT))
        said = read_object(&doc, arena);
    else if (json_is(json_root(&doc), JSON_STRING))
        said.message = json_text(&doc, json_root(&doc), arena);
    json_doc_deinit(&doc);
    if (!said.message.size)
        said.message = plain_message(body);
    return said;
}

/* --- what a status means --- */

static const struct {
    unsigned first, last;
    enum failure_kind kind;
} statuses[] = {
    {400, 400, FAIL_UPSTREAM_REFUSED}, {401, 401, FAIL_UPSTREAM_AUTH},    {403, 403, FAIL_UPSTREAM_AUTH},
    {404, 404, FAIL_NO_MODEL},         {408, 408, FAIL_UPSTREAM_TIMEOUT}, {413, 413, FAIL_UPSTREAM_REFUSED},
    {422, 422, FAIL_UPSTREAM_REFUSED}, {429, 429, FAIL_UPSTREAM_BUSY},    {501, 501, FAIL_UNSUPPORTED},
    {503, 503, FAIL_OVERLOADED},       {504, 504, FAIL_UPSTREAM_TIMEOUT}, {529, 529, FAIL_OVERLOADED},
    {400, 599, FAIL_UPSTREAM_FAILED},
};

static enum failure_kind kind_of(unsigned status, const struct said *said)
{
    size_t i = 0;

    while (i < ARRAY_SIZE(statuses) && (status < statuses[i].first || status > statuses[i].last))
        i++;
    if (i == ARRAY_SIZE(statuses))
        return FAIL_UPSTREAM_BAD;
    if (status == 404 && !mentions(said->message, "model") && !mentions(said->code, "model"))
        return FAIL_UPSTREAM_FAILED;
    if (status == 402 || (status == 429 && (mentions(said->type, "insufficient_quota") ||
                                            mentions(said->code, "insufficient_quota"))))
        return FAIL_UPSTREAM_QUOTA;
    if (status == 503 && mentions(said->message, "loading"))
        return FAIL_UPSTREAM_LOADING;
    return statuses[i].kind;
}

static const char *const length_words[] = {"context length", "context size", "context window", "maximum model length",
                                           "context_length"};

static bool too_long(const struct said *said)
{
    if (mentions(said->type, "exceed_context_size") || mentions(said->code, "context_length_exceeded"))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(length_words); i++)
        if (mentions(said->message, length_words[i]))
            return true;
    return false;
}

/* A name that may be told: short, and of the letters names are made of. */
static struct bytes name_only(struct arena *arena, struct bytes name)
{
    if (name.size == 0 || name.size > 128)
        return BYTES_NONE;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] >= 0x7f || name.data[i] == '"' || name.data[i] == '\\')
            return BYTES_NONE;
    return arena_copy(arena, name);
}

static void tell_refusal(struct failure *failure, const struct said *said, enum config_kind kind, struct arena *arena)
{
    failure->param = name_only(arena, said->param);
    failure->code = name_only(arena, said->code);
    if (too_long(said)) {
        failure->code = BYTES("context_length_exceeded");
        failure->param = BYTES("messages");
    }
    if (kind == KIND_GOODFIRE && said->detail.size && said->detail.size <= DETAIL_LIMIT)
        failure->detail = arena_copy(arena, said->detail);
}

static struct failure tell(enum config_kind kind, unsigned status, const struct said *said, struct arena *arena)
{
    struct failure failure = {.kind = kind_of(status, said)};

    if (failure.kind == FAIL_UPSTREAM_AUTH)
        return failure_make(arena, FAIL_UPSTREAM_AUTH,
                            "The model server did not accept the gateway's key for it (status %u).", status);
    if (failure.kind == FAIL_UPSTREAM_BAD || !said->message.size)
        failure = failure_make(arena, failure.kind, "The model server answered with status %u.", status);
    else
        failure.message = backend_clean_text(arena, said->message);
    if (failure.kind == FAIL_UPSTREAM_REFUSED)
        tell_refusal(&failure, said, kind, arena);
    if (failure.kind == FAIL_UPSTREAM_BUSY)
        failure.code = name_only(arena, said->code);
    if (failure.kind == FAIL_UPSTREAM_LOADING)
        failure.retry_after_ms = LOADING_RETRY_MS;
    return failure;
}

/* --- Retry-After --- */

static const char *const date_forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                         "%a %b %d %H:%M:%S %Y"};

static bool read_date(struct bytes value, int64_t *ret)
{
    char text[64];

    if (value.size >= sizeof(text))
        return false;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(date_forms); i++) {
        struct tm when = {0};
        const char *end = strptime(text, date_forms[i], &when);

        if (end && *end == '\0') {
            *ret = (int64_t)timegm(&when);
            return true;
        }
    }
    return false;
}

/* Seconds or an HTTP date; 0 when it says nothing usable. */
static uint32_t read_retry_after(struct bytes value)
{
    int64_t seconds = 0, when;
    int r;

    value = bytes_trim(value);
    if (value.size == 0)
        return 0;
    r = bytes_to_i64(value, &seconds);
    if (r == -ERANGE)
        seconds = value.data[0] == '-' ? 0 : RETRY_AFTER_LIMIT_S;
    else if (r < 0)
        seconds = read_date(value, &when) ? when - clock_wall_s() : 0;
    if (seconds < 0)
        seconds = 0;
    return (uint32_t)(seconds > RETRY_AFTER_LIMIT_S ? RETRY_AFTER_LIMIT_S : seconds) * 1000;
}

/* --- the two doors --- */

struct failure backend_read_error(enum config_kind kind, unsigned status, struct bytes retry_after, struct bytes body,
                                  struct arena *arena)
{
    struct said said = read_body(body, arena);
    struct failure failure = tell(kind, status, &said, arena);
    uint32_t wait = read_retry_after(retry_after);

    if (wait && failure_row(failure.kind)->again)
        failure.retry_after_ms = wait;
    return failure;
}

bool backend_is_error(const struct json_doc *doc)
{
    const struct json_node *root = json_root(doc), *error = json_member(doc, root, BYTES("error"));

    if (error && error->type != JSON_NULL && error->type != JSON_FALSE)
        return true;
    return json_text_is(doc, json_member(doc, root, BYTES("object")), BYTES("error"));
}

/* What a type or code stands for, where no number does. */
static const struct {
    const char *word;
    unsigned status;
} words[] = {
    {"context_length_exceeded", 400}, {"exceed_context_size_error", 400}, {"invalid_request_error", 400},
    {"BadRequestError", 400},         {"insufficient_quota", 429},        {"rate_limit_exceeded", 429},
    {"rate_limit_error", 429},        {"overloaded", 503},                {"overloaded_error", 503},
    {"authentication_error", 401},    {"unavailable_error", 503},
};

static unsigned status_said(const struct said *said)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (bytes_equal(said->code, bytes_of(words[i].word)) || bytes_equal(said->type, bytes_of(words[i].word)))
            return words[i].status;
    return 500;
}

static const char *const status_paths[] = {"error.code", "error.http_status_code", "error.status", "code"};

struct failure backend_error_inside(enum config_kind kind, const struct json_doc *doc, struct arena *arena)
{
    struct said said = read_object(doc, arena);
    int64_t status = status_said(&said), code;

    for (size_t i = 0; i < ARRAY_SIZE(status_paths); i++)
        if (json_i64(doc, json_at(doc, json_root(doc), status_paths[i]), &code) == 0 && code >= 400 && code < 600) {
            status = code;
            break;
        }
    if (!said.message.size)
        said.message = json_raw(doc, json_root(doc));
    return tell(kind, (unsigned)status, &said, arena);
}
