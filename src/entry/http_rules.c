/*
 * Strict where two readers of one request could differ. What frames a request has exactly one spelling here;
 * what is not understood is refused rather than guessed; a field that is not in the table is not looked at.
 */
#include "entry/http_rules.h"

static const struct {
    const char *name;
    uint8_t size;
    bool once;
} fields[] = {
#define HTTP_FIELD_ROW(field, name, once) {name, sizeof(name) - 1, once},
    HTTP_FIELDS(HTTP_FIELD_ROW)
#undef HTTP_FIELD_ROW
};

/* Beside the fields above: what RFC 9110 6.5.1 forbids in a trailer, as far as it could ever matter to
 * anybody. */
static const char *const head_only[] = {
    "age", "cookie", "date", "expires", "forwarded", "if-match", "if-modified-since", "if-none-match",
    "if-range", "if-unmodified-since", "keep-alive", "location", "max-forwards", "pragma",
    "proxy-authenticate", "proxy-authorization", "proxy-connection", "range", "retry-after", "set-cookie",
    "te", "trailer", "vary", "warning", "www-authenticate",
};

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {{"POST", HTTP_POST_}, {"GET", HTTP_GET_}, {"HEAD", HTTP_HEAD_}, {"OPTIONS", HTTP_OPTIONS_}};

/* --- words ---------------------------------------------------------------------------------------------- */

static bool is_alnum(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

bool http_is_token(struct bytes name)
{
    /* One bit per byte: letters, digits and !#$%&'*+-.^_`|~ */
    static const uint32_t token[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

    for (size_t i = 0; i < name.size; i++) {
        unsigned char byte = (unsigned char)name.data[i];

        if (!(token[byte >> 5] >> (byte & 31) & 1))
            return false;
    }
    return name.size > 0;
}

static bool is_word(struct bytes view, const char *word)
{
    return bytes_equal_nocase(view, bytes_of(word));
}

static bool same_name(struct bytes name, size_t field)
{
    return name.size == fields[field].size && (name.data[0] | 0x20) == fields[field].name[0] &&
           bytes_equal_nocase(name, (struct bytes){fields[field].name, fields[field].size});
}

static size_t find_field(struct bytes name)
{
    size_t i = 0;

    while (i < HTTP_FIELD_COUNT && !same_name(name, i))
        i++;
    return i;
}

/* --- the request line ----------------------------------------------------------------------------------- */

static bool check_version(struct bytes version, struct http_request *request, struct http_fault *fault)
{
    if (bytes_equal(version, BYTES("HTTP/1.1")) || bytes_equal(version, BYTES("HTTP/1.0"))) {
        request->minor = version.data[7] == '1';
        return true;
    }
    if ((bytes_start_with(version, BYTES("HTTP/")) && version.size == 8 && is_digit(version.data[5]) &&
         version.data[6] == '.' && is_digit(version.data[7])) ||
        bytes_start_with(version, BYTES("RTSP/")) || bytes_start_with(version, BYTES("ICE/")))
        return http_refuse(fault, FAIL_HTTP_VERSION, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    return http_refuse(fault, FAIL_BAD_HTTP, "The request line does not end in an HTTP version.");
}

static bool check_method(struct http_request *request, struct http_fault *fault)
{
    struct bytes text = request->method_text;

    if (!http_is_token(text))
        return http_refuse(fault, FAIL_BAD_HTTP, "The method is not a word.");
    if (bytes_equal(text, BYTES("PRI")))
        return http_refuse(fault, FAIL_HTTP_VERSION, "HTTP/2 is not spoken here.");
    if (bytes_equal(text, BYTES("CONNECT")))
        return http_refuse(fault, FAIL_NOT_IMPLEMENTED, "This server opens no tunnels.");
    request->method = HTTP_OTHER_;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (bytes_equal(text, bytes_of(methods[i].name)))
            request->method = methods[i].method;
    return true;
}

/* Origin form only; the bytes stay as they are, nothing is decoded or made shorter. */
static bool check_target(struct bytes target, struct http_request *request, struct http_fault *fault)
{
    const char *mark;

    for (size_t i = 0; i < target.size; i++)
        if (target.data[i] <= ' ' || target.data[i] > '~' || target.data[i] == '#')
            return http_refuse(fault, FAIL_BAD_HTTP,
                               "The request target holds a byte that must not be there.");
    if (target.size == 0 ||
        (target.data[0] != '/' && !(request->method == HTTP_OPTIONS_ && bytes_equal(target, BYTES("*")))))
        return http_refuse(fault, FAIL_BAD_HTTP,
                           "The request target must be a path that begins with a slash.");
    mark = memchr(target.data, '?', target.size);
    request->path = target;
    request->query = BYTES_NONE;
    if (mark) {
        request->path.size = (size_t)(mark - target.data);
        request->query = bytes_skip(target, request->path.size + 1);
    }
    return true;
}

bool http_rules_line(struct bytes line, struct http_request *request, struct http_fault *fault)
{
    const char *space = memchr(line.data, ' ', line.size), *last;
    struct bytes rest;

    if (!space)
        return http_refuse(fault, FAIL_BAD_HTTP, "The request line has no target.");
    request->method_text = (struct bytes){line.data, (size_t)(space - line.data)};
    rest = bytes_skip(line, request->method_text.size + 1);
    last = memrchr(rest.data, ' ', rest.size);
    if (!check_method(request, fault))
        return false;
    if (!last)
        return http_refuse(fault, FAIL_HTTP_VERSION, "HTTP/0.9 is not spoken here.");
    if (!check_version(bytes_skip(rest, (size_t)(last - rest.data) + 1), request, fault))
        return false;
    return check_target((struct bytes){rest.data, (size_t)(last - rest.data)}, request, fault);
}

/* --- the fields ----------------------------------------------------------------------------------------- */

/* `Content_Length` is an ordinary name to one reader and a length to another. */
static bool is_twin(struct bytes name)
{
    char plain[HTTP_TRAILER_NAME];

    if (name.size > sizeof(plain) || !memchr(name.data, '_', name.size))
        return false;
    for (size_t i = 0; i < name.size; i++)
        plain[i] = name.data[i] == '_' ? '-' : name.data[i];
    return find_field((struct bytes){plain, name.size}) < HTTP_FIELD_COUNT;
}

static void read_connection(struct http_rules *rules, struct bytes value)
{
    while (value.size) {
        const char *comma = memchr(value.data, ',', value.size);
        size_t size = comma ? (size_t)(comma - value.data) : value.size;
        struct bytes word = bytes_trim((struct bytes){value.data, size});

        rules->says_close |= is_word(word, "close");
        rules->says_keep_alive |= is_word(word, "keep-alive");
        value = bytes_skip(value, comma ? size + 1 : size);
    }
}

/* One more line of a list: as if all were one (RFC 9110 5.3). */
static void join(struct buffer *joined, struct bytes first, struct bytes value)
{
    if (joined->size == 0)
        buffer_append(joined, bytes_trim(first));
    buffer_append(joined, BYTES(", "));
    buffer_append(joined, bytes_trim(value));
}

bool http_rules_field(struct http_rules *rules, struct bytes name, struct bytes value,
                      struct http_fault *fault)
{
    size_t field;

    if (!http_is_token(name))
        return http_refuse(fault, FAIL_BAD_HTTP, "A header name is empty or not a word.");
    field = find_field(name);
    if (field == HTTP_FIELD_COUNT) {
        if (is_twin(name))
            return http_refuse(fault, FAIL_BAD_HTTP, "A header name has an underscore for a hyphen.");
        return true;
    }
    if (field == HTTP_FIELD_CONNECTION)
        read_connection(rules, value);
    if (rules->counts[field] == 0)
        rules->values[field] = value;
    else if (field == HTTP_FIELD_CODING)
        return http_refuse(fault, FAIL_NOT_IMPLEMENTED,
                           "Transfer-Encoding must be one field saying chunked.");
    else if (fields[field].once)
        return http_refuse(fault, FAIL_BAD_HTTP, "A header that may come once came twice.");
    else if (field == HTTP_FIELD_CACHE)
        join(rules->joined, rules->values[field], value);
    rules->counts[field] = rules->counts[field] ? 2 : 1;
    return true;
}

static bool check_host(const struct http_rules *rules, unsigned minor, struct http_fault *fault)
{
    struct bytes host = bytes_trim(rules->values[HTTP_FIELD_HOST]);

    if (rules->counts[HTTP_FIELD_HOST] == 0) {
        if (minor == 0)
            return true;
        return http_refuse(fault, FAIL_BAD_HTTP, "An HTTP/1.1 request needs a Host header.");
    }
    for (size_t i = 0; i < host.size; i++)
        if (!is_alnum(host.data[i]) && !memchr("-._~:[]%!$&'()*+;=", host.data[i], 18))
            return http_refuse(fault, FAIL_BAD_HTTP, "The Host header is not a host.");
    if (host.size == 0)
        return http_refuse(fault, FAIL_BAD_HTTP, "The Host header is empty.");
    return true;
}

/* No trimming: neither a sign, nor a leading zero, nor a space behind, nor a list. */
static bool read_length(struct bytes value, uint64_t *ret, struct http_fault *fault)
{
    uint64_t length = 0;
    size_t i = 0;

    while (i < value.size && is_digit(value.data[i]))
        length = length * 10 + (uint64_t)(value.data[i++] - '0');
    if (value.size == 0 || value.size > 19 || i < value.size || (value.size > 1 && value.data[0] == '0'))
        return http_refuse(fault, FAIL_BAD_HTTP, "Content-Length is not a plain number.");
    *ret = length;
    return true;
}

static bool check_framing(const struct http_rules *rules, struct http_request *request,
                          struct http_fault *fault)
{
    if (rules->counts[HTTP_FIELD_CODING]) {
        if (request->minor == 0)
            return http_refuse(fault, FAIL_BAD_HTTP, "HTTP/1.0 has no Transfer-Encoding.");
        if (rules->counts[HTTP_FIELD_LENGTH])
            return http_refuse(fault, FAIL_BAD_HTTP, "Content-Length and Transfer-Encoding came together.");
        if (!is_word(rules->values[HTTP_FIELD_CODING], "chunked"))
            return http_refuse(fault, FAIL_NOT_IMPLEMENTED,
                               "Transfer-Encoding must be one field saying chunked.");
        request->chunked = true;
    } else if (rules->counts[HTTP_FIELD_LENGTH] &&
               !read_length(rules->values[HTTP_FIELD_LENGTH], &request->content_length, fault)) {
        return false;
    }
    request->has_body = request->chunked || request->content_length > 0;
    return true;
}

static bool check_expect(const struct http_rules *rules, struct http_request *request,
                         struct http_fault *fault)
{
    if (rules->counts[HTTP_FIELD_EXPECT] == 0)
        return true;
    if (!is_word(bytes_trim(rules->values[HTTP_FIELD_EXPECT]), "100-continue"))
        return http_refuse(fault, FAIL_BAD_EXPECT, "Only 100-continue can be expected.");
    request->expect_continue = request->minor == 1 && request->has_body;
    return true;
}

/* An offer to go on in HTTP/2 may be passed over (RFC 9110 7.8), and ordinary clients make it; the
 * connection ends after the answer, so no byte behind the offer is ever read. Who asks for anything else
 * needs what is not here. */
static bool check_upgrade(const struct http_rules *rules, struct http_request *request,
                          struct http_fault *fault)
{
    if (rules->counts[HTTP_FIELD_UPGRADE] == 0)
        return true;
    if (!is_word(bytes_trim(rules->values[HTTP_FIELD_UPGRADE]), "h2c"))
        return http_refuse(fault, FAIL_NOT_IMPLEMENTED, "This server does not switch protocols.");
    request->keep_alive = false;
    return true;
}

bool http_rules_head(const struct http_rules *rules, struct http_request *request, struct http_fault *fault)
{
    request->keep_alive = !rules->says_close && (request->minor == 1 || rules->says_keep_alive);
    request->authorization = bytes_trim(rules->values[HTTP_FIELD_AUTHORIZATION]);
    request->api_key = bytes_trim(rules->values[HTTP_FIELD_API_KEY]);
    request->content_type = bytes_trim(rules->values[HTTP_FIELD_TYPE]);
    request->accept = bytes_trim(rules->values[HTTP_FIELD_ACCEPT]);
    request->request_id = bytes_trim(rules->values[HTTP_FIELD_REQUEST_ID]);
    request->user_agent = bytes_trim(rules->values[HTTP_FIELD_AGENT]);
    /* Which of two traceparents is meant nobody knows; a tracestate may always be left out (W3C Trace Context 3.3). */
    if (rules->counts[HTTP_FIELD_TRACEPARENT] == 1)
        request->traceparent = bytes_trim(rules->values[HTTP_FIELD_TRACEPARENT]);
    if (rules->counts[HTTP_FIELD_TRACESTATE] == 1)
        request->tracestate = bytes_trim(rules->values[HTTP_FIELD_TRACESTATE]);
    request->explain = rules->counts[HTTP_FIELD_EXPLAIN] > 1 ? BYTES("twice")
                                                             : bytes_trim(rules->values[HTTP_FIELD_EXPLAIN]);
    request->host = bytes_trim(rules->values[HTTP_FIELD_HOST]);
    request->origin = bytes_trim(rules->values[HTTP_FIELD_ORIGIN]);
    request->cache_control = bytes_trim(rules->joined->size ? buffer_bytes(rules->joined)
                                                            : rules->values[HTTP_FIELD_CACHE]);
    return check_host(rules, request->minor, fault) && check_framing(rules, request, fault) &&
           check_expect(rules, request, fault) && check_upgrade(rules, request, fault);
}

/* --- trailers ------------------------------------------------------------------------------------------- */

bool http_rules_trailer(struct bytes name)
{
    if (find_field(name) < HTTP_FIELD_COUNT || is_twin(name) || bytes_start_with(name, BYTES("content")))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(head_only); i++)
        if (is_word(name, head_only[i]))
            return false;
    return true;
}
