/*
 * Easy handles: set up once for their target, then kept on its free list, for a new one costs a fifth of a request.
 */
#include "link/curl_private.h"

#include "base/alloc.h"

#include <assert.h>

enum { CURL_BUFFER = 8 << 10 };

static void set_up_tls(CURL *easy, const struct curl_target *target)
{
    char *system_file = NULL;

    SET(easy, CURLOPT_SHARE, target->loop->share);
    SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (target->ca_file)
        SET(easy, CURLOPT_CAINFO, target->ca_file);
    /* A folder besides the file would be trusted as well, and keeps libcurl from remembering the parsed file. */
    curl_easy_getinfo(easy, CURLINFO_CAINFO, &system_file);
    if (target->ca_file || system_file)
        SET(easy, CURLOPT_CAPATH, (char *)NULL);
}

static void set_up(struct curl_transfer *transfer)
{
    const struct curl_target *target = target_of(transfer);
    CURL *easy = transfer->easy;

    curl_transfer_set_callbacks(transfer);
    if (target->tls)
        set_up_tls(easy, target);
    SET(easy, CURLOPT_CURLU, target->url);
    if (target->unix_path)
        SET(easy, CURLOPT_UNIX_SOCKET_PATH, target->unix_path);
    SET(easy, CURLOPT_PROXY, ""); /* not even the environment's, */
    SET(easy, CURLOPT_NOPROXY, "*"); /* which is not even asked */
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    SET(easy, CURLOPT_TCP_NODELAY, 1L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_MAXAGE_CONN, (long)TRANSFER_IDLE_S);
    SET(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* what it was told lasts until it is told otherwise */
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)target->connect_ms);
}

static struct curl_transfer *curl_transfer_new(struct curl_target *target)
{
    struct curl_transfer *transfer = ALLOC_NEW(struct curl_transfer);

    list_init(&transfer->node);
    list_init(&transfer->wake);
    buffer_init(&transfer->path);
    transfer->base.target = &target->base;
    transfer->easy = curl_easy_init();
    assert(transfer->easy);
    set_up(transfer);
    return transfer;
}

static struct curl_slist *header_before(struct curl_slist *list, struct bytes name_and_colon, struct bytes value)
{
    struct curl_slist *header;
    struct buffer text;

    buffer_init(&text);
    buffer_append(&text, name_and_colon);
    buffer_append(&text, value);
    buffer_append_char(&text, '\0');
    header = curl_slist_append(NULL, text.data);
    assert(header);
    header->next = list;
    explicit_bzero(text.data, text.size);
    buffer_deinit(&text);
    return header;
}

struct curl_slist *curl_transfer_own_headers(struct curl_transfer *transfer, const struct transfer_request *request,
                                             struct curl_slist *headers)
{
    struct curl_slist *list = headers;

    if (request->tracestate.size)
        list = header_before(list, BYTES("tracestate: "), request->tracestate);
    if (request->traceparent.size)
        list = header_before(list, BYTES("traceparent: "), request->traceparent);
    if (request->key.size)
        list = header_before(list, BYTES("Authorization: Bearer "), request->key);
    transfer->own_headers = list;
    transfer->own_end = headers;
    return list;
}

static void drop_own_headers(struct curl_transfer *transfer)
{
    struct curl_slist *own = transfer->own_headers;

    if (!own)
        return;
    SET(transfer->easy, CURLOPT_HTTPHEADER, transfer->own_end);
    transfer->headers = transfer->own_end;
    transfer->own_headers = NULL;
    while (own != transfer->own_end) {
        struct curl_slist *next = own->next;

        own->next = NULL;
        explicit_bzero(own->data, strlen(own->data));
        curl_slist_free_all(own);
        own = next;
    }
}

void curl_transfer_free(struct curl_transfer *transfer)
{
    drop_own_headers(transfer);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->resolve);
    buffer_deinit(&transfer->path);
    alloc_free(transfer);
}

struct curl_transfer *curl_transfer_take(struct curl_target *target)
{
    struct curl_transfer *transfer;

    if (list_empty(&target->idle)) {
        transfer = curl_transfer_new(target);
    } else {
        transfer = LIST_ENTRY(target->idle.prev, struct curl_transfer, node);
        list_remove(&transfer->node);
        target->loop->idle_handles--;
    }
    target->live++;
    target->loop->running++;
    return transfer;
}

void curl_transfer_give_back(struct curl_transfer *transfer)
{
    struct curl_target *target = target_of(transfer);
    struct curl_loop *loop = target->loop;

    target->live--;
    loop->running--;
    transfer->state = CURL_TRANSFER_IDLE;
    drop_own_headers(transfer);
    if (loop->idle_handles >= loop->idle_limit) {
        curl_transfer_free(transfer);
        return;
    }
    if (transfer->resolve) {
        SET(transfer->easy, CURLOPT_RESOLVE, (struct curl_slist *)NULL);
        curl_slist_free_all(transfer->resolve);
        transfer->resolve = NULL;
    }
    list_append(&target->idle, &transfer->node);
    loop->idle_handles++;
}
