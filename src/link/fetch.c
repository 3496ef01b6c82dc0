/*
 * libcurl's easy interface, as plain as it gets: HTTP/1.1 without proxies, redirects or anything that is kept.
 */
#include "link/fetch.h"

#include "link/curl_private.h"

#include <errno.h>

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    struct buffer *body = user;

    if (body->size + size > FETCH_BODY_MAX)
        return 0;
    buffer_append(body, (struct bytes){data, size});
    return size;
}

/* "http://[::1]:8081/cache", ending with a NUL. */
static void write_url(const struct fetch *fetch, struct buffer *url)
{
    bool v6 = bytes_find(fetch->host, BYTES(":")) < fetch->host.size;

    if (fetch->unix_path.size)
        buffer_printf(url, "http://localhost%s", fetch->path);
    else
        buffer_printf(url, "http://%s%.*s%s:%u%s", v6 ? "[" : "", BYTES_ARG(fetch->host), v6 ? "]" : "", fetch->port,
                      fetch->path);
    buffer_append_char(url, '\0');
}

static int judge(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_WRITE_ERROR:
        return -EFBIG;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ECONNREFUSED;
    default:
        return -EIO;
    }
}

static int perform(CURL *easy, const struct fetch *fetch, struct buffer *body, struct buffer *why)
{
    char reason[CURL_ERROR_SIZE] = "";
    size_t before = body->size;
    CURLcode code;

    SET(easy, CURLOPT_ERRORBUFFER, reason);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, body);
    SET(easy, CURLOPT_PROXY, "");
    SET(easy, CURLOPT_NOPROXY, "*");
    SET(easy, CURLOPT_PROTOCOLS_STR, "http");
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(easy, CURLOPT_PATH_AS_IS, 1L);
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_TIMEOUT_MS, (long)FETCH_LIMIT_MS);
    if (fetch->post)
        SET(easy, CURLOPT_POSTFIELDS, "");
    code = curl_easy_perform(easy);
    if (code == CURLE_WRITE_ERROR)
        buffer_printf(why, "the answer is larger than %u bytes", FETCH_BODY_MAX);
    else if (code != CURLE_OK)
        buffer_append_text(why, reason[0] ? reason : curl_easy_strerror(code));
    if (code != CURLE_OK)
        body->size = before;
    return judge(code);
}

int fetch_ask(const struct fetch *fetch, unsigned *ret_status, struct buffer *body, struct buffer *why)
{
    CURL *easy = curl_easy_init();
    struct buffer url, unix_path;
    long status = 0;
    int r;

    assert(easy);
    buffer_init(&url);
    buffer_init(&unix_path);
    write_url(fetch, &url);
    SET(easy, CURLOPT_URL, url.data);
    if (fetch->unix_path.size) {
        buffer_append(&unix_path, fetch->unix_path);
        buffer_append_char(&unix_path, '\0');
        SET(easy, CURLOPT_UNIX_SOCKET_PATH, unix_path.data);
    }
    r = perform(easy, fetch, body, why);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (r == 0)
        *ret_status = (unsigned)status;
    curl_easy_cleanup(easy);
    buffer_deinit(&unix_path);
    buffer_deinit(&url);
    return r;
}
