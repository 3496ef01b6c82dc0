/*
 * One request on one easy handle, which is told only what differs from its last one.
 *
 * No silent replay: when a pooled connection dies before the first byte of its answer, libcurl opens another and sends
 * the request again, POST or not, and no option forbids it. But it announces each sending by
 * CURLOPT_PREREQFUNCTION, the second one too: that one is refused there, and already the new socket for it is
 * (CURLOPT_OPENSOCKETFUNCTION). So the body can be given as POSTFIELDS and leaves with the head in one send, which the
 * other way (READFUNCTION without a seek function) costs.
 *
 * The owner may cancel from anywhere. Outside of libcurl the handle leaves the multi at once; inside, the transfer is
 * doomed: callbacks refuse, and it is taken out when libcurl returns.
 */
#include "link/curl_private.h"

#include "base/alloc.h"

#include <assert.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

/* --- the answer's head ----------------------------------------------------------------------------------------- */

/* End the transfer as TRANSFER_E_BAD; for callbacks to return. */
static size_t refuse(struct curl_transfer *transfer, const char *why)
{
    transfer->result = TRANSFER_E_BAD;
    snprintf(transfer->reason, sizeof(transfer->reason), "%s", why);
    return 0;
}

static unsigned status_of(struct bytes line)
{
    const char *space = memchr(line.data, ' ', line.size);
    size_t at = space ? (size_t)(space - line.data) + 1 : line.size;
    unsigned status = 0;

    for (int digit = 0; digit < 3 && at < line.size; digit++, at++)
        status = status * 10 + ((unsigned char)line.data[at] - '0') % 10;
    return status;
}

/* The headers an owner is told of. */
static void keep_header(struct curl_transfer *transfer, struct bytes line)
{
    struct {
        struct bytes name;
        char *place;
        size_t size;
    } wanted[] = {
        {BYTES("content-type:"), transfer->content_type, sizeof(transfer->content_type)},
        {BYTES("content-encoding:"), transfer->content_encoding, sizeof(transfer->content_encoding)},
        {BYTES("retry-after:"), transfer->retry_after, sizeof(transfer->retry_after)},
    };
    char first = (char)(line.data[0] | 0x20);

    if (first != 'c' && first != 'r')
        return;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        struct bytes name = wanted[i].name, value;

        if (line.size < name.size || !bytes_equal_nocase((struct bytes){line.data, name.size}, name))
            continue;
        value = bytes_skip(line, name.size);
        while (value.size && (value.data[value.size - 1] == '\n' || value.data[value.size - 1] == '\r'))
            value.size--;
        value = bytes_trim(value);
        if (value.size > wanted[i].size)
            value.size = wanted[i].size;
        memcpy(wanted[i].place, value.data, value.size);
        transfer->kept[i] = (unsigned char)value.size;
    }
}

static size_t end_of_head(struct curl_transfer *transfer)
{
    struct transfer_head head = {
        .status = transfer->status,
        .content_type = {transfer->content_type, transfer->kept[0]},
        .content_encoding = {transfer->content_encoding, transfer->kept[1]},
        .retry_after = {transfer->retry_after, transfer->kept[2]},
    };

    transfer->in_block = false;
    if (head.status == 101)
        return refuse(transfer, "the upstream switched protocols");
    if (head.status < 200) {
        if (++transfer->interim > TRANSFER_INTERIM_LIMIT)
            return refuse(transfer, "too many interim answers");
        return 1;
    }
    transfer->head_given = true;
    if (transfer_spends(!transfer->is_get, head.status)) {
        SET(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
        transfer->is_spent = true;
    }
    transfer->base.events->head(transfer->base.data, &head);
    return transfer->state == CURL_TRANSFER_RUNNING;
}

/* CURLOPT_HEADERFUNCTION: one line a call; answers with 1xx first, trailers at the end. */
static size_t on_header(char *text, size_t one, size_t size, void *data)
{
    struct curl_transfer *transfer = data;
    struct bytes line = {text, size};

    if (transfer->state != CURL_TRANSFER_RUNNING)
        return 0;
    transfer->header_bytes += size;
    if (transfer->header_bytes > TRANSFER_HEADER_LIMIT)
        return refuse(transfer, "the answer's headers are too large");
    if (transfer->head_given || size == 0)
        return size;
    if (!transfer->in_block) {
        transfer->in_block = true;
        transfer->status = status_of(line);
        memset(transfer->kept, 0, sizeof(transfer->kept));
        return size;
    }
    if (text[0] == '\r' || text[0] == '\n')
        return end_of_head(transfer) ? size : 0;
    keep_header(transfer, line);
    return size;
}

/* --- libcurl's other calls ------------------------------------------------------------------------------------- */

static void apply_pause(struct curl_transfer *transfer)
{
    /* Both directions: pausing only one makes libcurl run the handle once more, which reads. It fails while there is
     * no connection; on_body() comes back to it. */
    transfer->held = curl_easy_pause(transfer->easy, CURLPAUSE_ALL) == CURLE_OK;
}

/* CURLOPT_WRITEFUNCTION */
static size_t on_body(char *text, size_t one, size_t size, void *data)
{
    struct curl_transfer *transfer = data;

    if (transfer->state != CURL_TRANSFER_RUNNING)
        return 0;
    if (transfer->paused && !transfer->held)
        apply_pause(transfer);
    transfer->base.events->body(transfer->base.data, (struct bytes){text, size});
    return transfer->state == CURL_TRANSFER_RUNNING ? size : 0;
}

/* Bytes that followed the last answer and were decrypted with it: no socket tells of them, libcurl reads no further
 * than an answer's length, and they would be the next answer. */
static bool has_unread(CURL *easy)
{
    struct curl_tlssessioninfo *session = NULL;

    return curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &session) == CURLE_OK && session &&
           session->backend == CURLSSLBACKEND_OPENSSL && session->internals && SSL_pending(session->internals) > 0;
}

/* CURLOPT_PREREQFUNCTION: libcurl is about to send the request. */
static int on_request(void *data, char *remote, char *local, int remote_port, int local_port)
{
    struct curl_transfer *transfer = data;
    struct curl_target *target = target_of(transfer);

    curl_loop_publish_socket(transfer);
    if (transfer->asked || transfer->state != CURL_TRANSFER_RUNNING)
        return CURL_PREREQFUNC_ABORT;
    if (!transfer->opened && has_unread(transfer->easy)) {
        transfer->result = TRANSFER_E_STALE;
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->asked = true;
    transfer->reused = !transfer->opened;
    transfer_connects(&transfer->base, target->loop->uv);
    if (transfer->resolve)
        target->told_version = transfer->address_version;
    return CURL_PREREQFUNC_OK;
}

/* CURLOPT_OPENSOCKETFUNCTION */
static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curl_transfer *transfer = data;
    int size = TRANSFER_RECEIVE_BUFFER;
    int fd;

    if (transfer->asked)
        return CURL_SOCKET_BAD;
    transfer->opened = true;
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    curl_loop_forget_socket(target_of(transfer)->loop, fd);
    if (address->family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return fd;
}

/* --- for the handle and the loop ------------------------------------------------------------------------------- */

void curl_transfer_set_callbacks(struct curl_transfer *transfer)
{
    CURL *easy = transfer->easy;

    SET(easy, CURLOPT_PRIVATE, (void *)transfer);
    SET(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    SET(easy, CURLOPT_HEADERDATA, (void *)transfer);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, (void *)transfer);
    SET(easy, CURLOPT_PREREQFUNCTION, on_request);
    SET(easy, CURLOPT_PREREQDATA, (void *)transfer);
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(easy, CURLOPT_OPENSOCKETDATA, (void *)transfer);
    /* Outlives the handle in the connection, so it belongs to the loop. */
    SET(easy, CURLOPT_CLOSESOCKETFUNCTION, curl_loop_close_socket);
    SET(easy, CURLOPT_CLOSESOCKETDATA, (void *)target_of(transfer)->loop);
}

void curl_transfer_begin(struct curl_transfer *transfer)
{
    struct curl_loop *loop = target_of(transfer)->loop;

    list_remove(&transfer->node);
    transfer->state = CURL_TRANSFER_RUNNING;
    /* libcurl counts connections in use as well; what we mean is how many unused ones it keeps. */
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)loop->running + (long)loop->idle_limit);
    if (curl_multi_add_handle(loop->multi, transfer->easy) != CURLM_OK)
        curl_transfer_finish(transfer, CURLE_FAILED_INIT);
}

void curl_transfer_wake(struct curl_transfer *transfer)
{
    CURLcode code;

    transfer->held = false;
    code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK && transfer->state == CURL_TRANSFER_RUNNING)
        curl_transfer_finish(transfer, code);
}

void curl_transfer_bury(struct curl_transfer *transfer)
{
    list_remove(&transfer->node);
    curl_loop_remove(target_of(transfer)->loop, transfer);
    curl_transfer_give_back(transfer);
}

void curl_transfer_finish(struct curl_transfer *transfer, CURLcode code)
{
    struct curl_loop *loop = target_of(transfer)->loop;

    curl_loop_remove(loop, transfer);
    list_remove(&transfer->wake);
    curl_transfer_judge(transfer, code);
    transfer->state = CURL_TRANSFER_FINISHED;
    list_append(&loop->finished, &transfer->node);
    curl_loop_arm(loop);
}

void curl_transfer_report(struct curl_transfer *transfer)
{
    const struct transfer_events *events = transfer->base.events;
    void *data = transfer->base.data;
    int result = transfer->result;
    char reason[CURL_ERROR_SIZE];

    reason[0] = '\0';
    if (result)
        memcpy(reason, transfer->reason, sizeof(reason));
    list_remove(&transfer->node);
    curl_transfer_give_back(transfer);
    events->done(data, result, reason);
}

/* --- for the owner --------------------------------------------------------------------------------------------- */

/* libcurl sends the path as it is. */
static bool set_path(struct curl_transfer *transfer, struct bytes path)
{
    if (transfer->path.size == path.size + 1 && memcmp(transfer->path.data, path.data, path.size) == 0)
        return true;
    if (!transfer_is_path(path))
        return false;
    transfer->path.size = 0;
    buffer_append(&transfer->path, path);
    buffer_append_char(&transfer->path, '\0');
    SET(transfer->easy, CURLOPT_REQUEST_TARGET, transfer->path.data);
    return true;
}

static void set_method(struct curl_transfer *transfer, const struct transfer_request *request)
{
    struct bytes body = request->body.size ? request->body : BYTES("");

    if (request->get && !transfer->is_get)
        SET(transfer->easy, CURLOPT_HTTPGET, 1L);
    transfer->is_get = request->get;
    if (request->get)
        return;
    SET(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    SET(transfer->easy, CURLOPT_POSTFIELDS, body.data);
}

static void set_headers(struct curl_transfer *transfer, const struct transfer_request *request)
{
    int kind = request->get ? HEADERS_GET : request->event_stream ? HEADERS_ASK_STREAM : HEADERS_ASK;
    struct curl_slist *headers = target_of(transfer)->headers[kind];

    if (request->key.size || request->traceparent.size)
        headers = curl_transfer_own_headers(transfer, request, headers);
    if (headers != transfer->headers)
        SET(transfer->easy, CURLOPT_HTTPHEADER, headers);
    transfer->headers = headers;
}

/* Tell the multi's cache of names, if this address is news to it. */
static void set_address(struct curl_transfer *transfer)
{
    struct curl_target *target = target_of(transfer);
    struct buffer entry;

    if (!target->lookup || target->told_version == target->address_version)
        return;
    buffer_init(&entry);
    buffer_printf(&entry, strchr(target->address, ':') ? "%s:[%s]" : "%s:%s", target->lookup, target->address);
    buffer_append_char(&entry, '\0');
    transfer->resolve = curl_slist_append(NULL, entry.data);
    assert(transfer->resolve);
    buffer_deinit(&entry);
    transfer->address_version = target->address_version;
    SET(transfer->easy, CURLOPT_RESOLVE, transfer->resolve);
}

static void forget_last_request(struct curl_transfer *transfer)
{
    transfer->opened = transfer->asked = transfer->reused = false;
    transfer->paused = transfer->held = false;
    transfer->in_block = transfer->head_given = false;
    transfer->interim = transfer->status = 0;
    transfer->header_bytes = 0;
    transfer->base.connected_at = transfer->base.connected_us = 0;
    transfer->result = 0;
    transfer->reason[0] = '\0';
}

static struct transfer *start(struct transfer_target *base, const struct transfer_request *request,
                              const struct transfer_events *events, void *data)
{
    struct curl_target *target = LIST_ENTRY(base, struct curl_target, base);
    struct curl_transfer *transfer = curl_transfer_take(target);

    forget_last_request(transfer);
    transfer->base.events = events;
    transfer->base.data = data;
    if (target->lookup && target->address[0] == '\0') {
        curl_transfer_finish(transfer, CURLE_COULDNT_RESOLVE_HOST);
        return &transfer->base;
    }
    if (!set_path(transfer, request->path)) {
        refuse(transfer, "not a path");
        curl_transfer_finish(transfer, CURLE_URL_MALFORMAT);
        return &transfer->base;
    }
    set_method(transfer, request);
    set_headers(transfer, request);
    set_address(transfer);
    if (request->fresh != transfer->is_fresh)
        SET(transfer->easy, CURLOPT_FRESH_CONNECT, (long)request->fresh);
    transfer->is_fresh = request->fresh;
    if (transfer->is_spent)
        SET(transfer->easy, CURLOPT_FORBID_REUSE, 0L);
    transfer->is_spent = false;
    transfer->state = CURL_TRANSFER_STARTING;
    list_append(&target->loop->starting, &transfer->node);
    curl_loop_arm(target->loop);
    return &transfer->base;
}

static void cancel(struct transfer *base)
{
    struct curl_transfer *transfer = LIST_ENTRY(base, struct curl_transfer, base);
    struct curl_loop *loop = target_of(transfer)->loop;

    list_remove(&transfer->wake);
    list_remove(&transfer->node);
    if (transfer->state == CURL_TRANSFER_RUNNING && loop->inside) {
        transfer->state = CURL_TRANSFER_DOOMED;
        list_append(&loop->doomed, &transfer->node);
        return;
    }
    if (transfer->state == CURL_TRANSFER_RUNNING)
        curl_loop_remove(loop, transfer);
    curl_transfer_give_back(transfer);
}

static void pause_reading(struct transfer *base)
{
    struct curl_transfer *transfer = LIST_ENTRY(base, struct curl_transfer, base);

    if (transfer->paused)
        return;
    transfer->paused = true;
    list_remove(&transfer->wake);
    if (transfer->state == CURL_TRANSFER_RUNNING && !transfer->held)
        apply_pause(transfer);
}

static void resume_reading(struct transfer *base)
{
    struct curl_transfer *transfer = LIST_ENTRY(base, struct curl_transfer, base);

    if (!transfer->paused)
        return;
    transfer->paused = false;
    if (!transfer->held)
        return;
    list_append(&target_of(transfer)->loop->waking, &transfer->wake);
    curl_loop_arm(target_of(transfer)->loop);
}

const struct transfer_carrier transfer_by_curl = {
    .target_new = curl_target_new,
    .target_free = curl_target_free,
    .target_resolved = curl_target_resolved,
    .start = start,
    .cancel = cancel,
    .pause = pause_reading,
    .resume = resume_reading,
};
