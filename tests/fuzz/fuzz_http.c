/*
 * Any bytes through http_in: whole, byte by byte, and cut in two where the last input byte says. All three
 * must give the same account, and no view may lead outside its memory.
 */
#include "entry/http_in.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_in_limits limits = {
    .line_bytes = 256, .head_bytes = 1024, .headers = 12, .overhead_bytes = 128};

struct account {
    struct http_in *in;
    struct buffer text;
    bool failed;
};

static void require(bool fact, const char *what)
{
    if (fact)
        return;
    fprintf(stderr, "not so: %s\n", what);
    abort();
}

#define REQUIRE(fact) require(fact, #fact)

static void tell_view(struct account *account, struct bytes view)
{
    buffer_append(&account->text, view);
    buffer_append_char(&account->text, '|');
}

static void tell_head(struct account *account)
{
    const struct http_request *request = http_in_request(account->in);

    tell_view(account, request->method_text);
    tell_view(account, request->path);
    tell_view(account, request->query);
    tell_view(account, request->authorization);
    tell_view(account, request->api_key);
    tell_view(account, request->content_type);
    tell_view(account, request->accept);
    tell_view(account, request->request_id);
    tell_view(account, request->user_agent);
    tell_view(account, request->cache_control);
    buffer_printf(&account->text, "%u %d %d %d %llu {", request->minor, request->keep_alive,
                  request->expect_continue, request->chunked, (unsigned long long)request->content_length);
    /* What no request may be, whatever the bytes were. */
    REQUIRE(request->path.size > 0 && (request->path.data[0] == '/' || request->method == HTTP_OPTIONS_));
    for (size_t i = 0; i < request->path.size; i++)
        REQUIRE(request->path.data[i] > ' ' && request->path.data[i] <= '~' && request->path.data[i] != '?');
    for (size_t i = 0; i < request->authorization.size; i++)
        REQUIRE((unsigned char)request->authorization.data[i] >= ' ' ||
                request->authorization.data[i] == '\t');
    REQUIRE(request->minor <= 1);
    REQUIRE(!request->chunked || (request->content_length == 0 && request->minor == 1));
    REQUIRE(request->has_body == (request->chunked || request->content_length > 0));
    REQUIRE(http_in_lenient_flags(account->in) == 0);
    REQUIRE(http_in_held(account->in) <= 4096);
}

static void tell_error(struct account *account)
{
    const char *message = NULL;
    enum failure_kind kind = http_in_error(account->in, &message);

    REQUIRE(message);
    buffer_printf(&account->text, "!%d %s", (int)kind, message);
    account->failed = true;
}

/* False: no more of this input is wanted. */
static bool step(struct account *account, struct bytes *input)
{
    const char *end = input->data + input->size;
    struct bytes piece = BYTES_NONE, before = *input;

    switch (http_in_next(account->in, input, &piece)) {
    case HTTP_IN_MORE:
        REQUIRE(input->size == 0);
        return false;
    case HTTP_IN_HEAD:
        tell_head(account);
        return true;
    case HTTP_IN_BODY:
        REQUIRE(piece.size > 0 && piece.data >= before.data && piece.data + piece.size <= end);
        buffer_append(&account->text, piece);
        return true;
    case HTTP_IN_END:
        buffer_append_text(&account->text, "}\n");
        http_in_reset(account->in);
        return true;
    default:
        tell_error(account);
        return false;
    }
}

static void feed(struct account *account, const uint8_t *data, size_t size)
{
    /* A copy of its exact size, so that a read too far is seen. */
    char *copy = malloc(size ? size : 1);
    struct bytes input = {copy, size};

    if (size)
        memcpy(copy, data, size);
    while (!account->failed && step(account, &input))
        continue;
    free(copy);
}

static struct account begin(void)
{
    return (struct account){.in = http_in_new(&limits)};
}

static void end(struct account *account)
{
    if (http_in_head_begun(account->in) && !account->failed)
        buffer_append_text(&account->text, "...");
    account->in = http_in_free(account->in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct account whole = begin(), bytewise = begin(), cut = begin();
    size_t at = size ? (size_t)data[size - 1] * 7 % size : 0;

    feed(&whole, data, size);
    end(&whole);
    for (size_t i = 0; i < size; i++)
        feed(&bytewise, data + i, 1);
    end(&bytewise);
    feed(&cut, data, at);
    feed(&cut, data + at, size - at);
    end(&cut);
    REQUIRE(bytes_equal(buffer_bytes(&whole.text), buffer_bytes(&bytewise.text)));
    REQUIRE(bytes_equal(buffer_bytes(&whole.text), buffer_bytes(&cut.text)));
    buffer_deinit(&whole.text);
    buffer_deinit(&bytewise.text);
    buffer_deinit(&cut.text);
    return 0;
}
