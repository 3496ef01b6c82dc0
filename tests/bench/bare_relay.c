/*
 * The least a gateway on these libraries can do: uv_tcp and llhttp towards clients, libcurl's multi towards
 * the upstream, and nothing in between. No JSON, no routing, no limits, no log; response headers are fixed.
 * What the gateway costs above this is its own work, what this costs above nginx is libcurl's.
 *
 * libcurl is wired as the gateway's is: sockets stay registered between transfers, a timer of 0 runs in the
 * same loop turn after the socket events, handles come from a free list, head and body leave in one send.
 *
 *     client_read -> llhttp -> ask() -> libcurl -> on_body: output -> flush_all() once per turn
 */
#include <curl/curl.h>
#include <llhttp.h>
#include <signal.h>
#include <uv.h>

#include "bench.h"

enum { READ_BYTES = 64 * 1024, FREE_HANDLES = 8192, HEAD_ROOM = 160, DESCRIPTORS = 65536 };
struct text {
    char *bytes;
    size_t length, room;
};

struct client {
    uv_tcp_t tcp;
    llhttp_t parser;
    CURL *easy;                         /* the transfer in flight */
    struct client *next_to_flush;
    bool waiting_for_flush, headed, chunked, closing;
    long long length;                   /* of the answer; -1: unknown, so chunked */
    struct text body, output;
};

/* A socket of libcurl's. It stays registered for reading while libcurl keeps the connection. */
struct link {
    uv_poll_t poll;
    curl_socket_t fd;
    int wanted, registered;
};

static uv_loop_t *loop;
static CURLM *multi;
static uv_timer_t timer;
static uv_check_t after_batch;
static uv_idle_t do_not_block;
static bool timer_is_due;
static struct link *links[DESCRIPTORS];
static CURL *free_handles[FREE_HANDLES];
static unsigned free_count;
static struct client *to_flush;
static char url[128];
static struct curl_slist *headers;
static llhttp_settings_t settings;

/* --- output: collected during a turn, one write at its end --- */

static void text_add(struct text *text, const void *bytes, size_t length)
{
    if (text->length + length > text->room) {
        text->room = (text->length + length) * 2;
        text->bytes = realloc(text->bytes, text->room);
        if (!text->bytes)
            die("realloc");
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;

    free(client->body.bytes);
    free(client->output.bytes);
    free(client);
}

static void easy_release(struct client *client)
{
    if (!client->easy)
        return;
    curl_multi_remove_handle(multi, client->easy);
    if (free_count == FREE_HANDLES)
        die("too many handles");
    free_handles[free_count++] = client->easy;
    client->easy = NULL;
}

static void client_close(struct client *client)
{
    if (client->closing)
        return;
    client->closing = true;
    easy_release(client);
    if (!client->waiting_for_flush)
        uv_close((uv_handle_t *)&client->tcp, client_closed);
}

static void rest_written(uv_write_t *write, int status)
{
    free(write);
}

/* What the socket did not take at once: libuv keeps a copy. */
static void write_rest(struct client *client, size_t from)
{
    size_t length = client->output.length - from;
    uv_write_t *write = must_alloc(sizeof *write + length);
    uv_buf_t buffer = uv_buf_init((char *)(write + 1), (unsigned)length);

    memcpy(write + 1, client->output.bytes + from, length);
    if (uv_write(write, (uv_stream_t *)&client->tcp, &buffer, 1, rest_written) < 0)
        free(write);
}

static void client_flush(struct client *client)
{
    uv_buf_t buffer = uv_buf_init(client->output.bytes, (unsigned)client->output.length);
    int sent = client->output.length ? uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) : 0;

    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0) {
        client_close(client);
        return;
    }
    if ((size_t)sent < client->output.length)
        write_rest(client, (size_t)sent);
    client->output.length = 0;
}

static void flush_all(void)
{
    while (to_flush) {
        struct client *client = to_flush;

        to_flush = client->next_to_flush;
        client->waiting_for_flush = false;
        if (client->closing)
            uv_close((uv_handle_t *)&client->tcp, client_closed);
        else
            client_flush(client);
    }
}

static void flush_later(struct client *client)
{
    if (client->waiting_for_flush)
        return;
    client->waiting_for_flush = true;
    client->next_to_flush = to_flush;
    to_flush = client;
}

/* --- libcurl's callbacks: never call libcurl from here --- */

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
    struct client *client = data;

    if (size * count > 15 && strncasecmp(line, "content-length:", 15) == 0)
        client->length = strtoll(line + 15, NULL, 10);
    return size * count;
}

static void add_head(struct client *client)
{
    char head[HEAD_ROOM];
    int length;

    client->headed = true;
    client->chunked = client->length < 0;
    if (client->chunked)
        length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                             "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                             "Content-Length: %lld\r\n\r\n", client->length);
    text_add(&client->output, head, (size_t)length);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
    struct client *client = data;
    char line[24];

    if (!client->headed)
        add_head(client);
    if (client->chunked)
        text_add(&client->output, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", size * count));
    text_add(&client->output, bytes, size * count);
    if (client->chunked)
        text_add(&client->output, "\r\n", 2);
    flush_later(client);
    return size * count;
}

/* --- libcurl on the loop --- */

static void transfer_finished(struct client *client, CURLcode result)
{
    easy_release(client);
    if (result != CURLE_OK || !client->headed) {
        client_close(client);
    } else if (client->chunked) {
        text_add(&client->output, "0\r\n\r\n", 5);
    }
    client->body.length = 0;
    flush_later(client);
}

static void drive(curl_socket_t fd, int events)
{
    CURLMsg *message;
    int running, left;

    curl_multi_socket_action(multi, fd, events, &running);
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        CURLcode result = message->data.result;
        struct client *client;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &client);
        transfer_finished(client, result);
    }
    flush_all();
}

static void link_ready(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;

    if (!link->wanted) {                        /* the peer closed an idle connection: libcurl will see it */
        uv_poll_stop(poll);
        link->registered = 0;
        return;
    }
    if (status < 0) {
        link->registered = 0;
        drive(link->fd, CURL_CSELECT_ERR);
    } else {
        drive(link->fd, ((events & UV_READABLE) ? CURL_CSELECT_IN : 0) |
                        ((events & UV_WRITABLE) ? CURL_CSELECT_OUT : 0));
    }
}

static struct link *link_of(curl_socket_t fd)
{
    struct link *link;

    if (fd >= DESCRIPTORS)
        die("too many descriptors");
    if (links[fd])
        return links[fd];
    link = must_alloc(sizeof *link);
    link->poll.data = link;
    link->fd = fd;
    if (uv_poll_init_socket(loop, &link->poll, fd) < 0)
        die("uv_poll_init");
    return links[fd] = link;
}

/* A wish to read that ends is not taken to the kernel: the next transfer has it again. */
static int on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    struct link *link = link_of(fd);
    int wanted = what == CURL_POLL_REMOVE ? 0 : ((what & CURL_POLL_IN) ? UV_READABLE : 0) |
                                                ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0);

    link->wanted = wanted;
    if (wanted == link->registered || (wanted == 0 && link->registered == UV_READABLE))
        return 0;
    link->registered = wanted;
    if (wanted)
        uv_poll_start(&link->poll, wanted, link_ready);
    else
        uv_poll_stop(&link->poll);
    return 0;
}

static void link_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_close_socket(void *data, curl_socket_t fd)
{
    if (fd < DESCRIPTORS && links[fd]) {
        uv_poll_stop(&links[fd]->poll);
        uv_close((uv_handle_t *)&links[fd]->poll, link_closed);
        links[fd] = NULL;
    }
    return close(fd);
}

static void timer_fired(uv_timer_t *handle)
{
    drive(CURL_SOCKET_TIMEOUT, 0);
}

static void idle_nothing(uv_idle_t *handle)
{
}

/* 0 means now, which is after the current batch of events. The idle handle only keeps poll from blocking in
 * case the wish comes from outside a batch. */
static int on_timer_wish(CURLM *handle, long milliseconds, void *data)
{
    timer_is_due = milliseconds == 0;
    if (timer_is_due)
        uv_idle_start(&do_not_block, idle_nothing);
    else
        uv_idle_stop(&do_not_block);
    if (milliseconds > 0)
        uv_timer_start(&timer, timer_fired, (uint64_t)milliseconds, 0);
    else
        uv_timer_stop(&timer);
    return 0;
}

static void batch_ended(uv_check_t *handle)
{
    if (!timer_is_due)
        return;
    timer_is_due = false;
    uv_idle_stop(&do_not_block);
    drive(CURL_SOCKET_TIMEOUT, 0);
}

/* --- a request --- */

static CURL *easy_new(void)
{
    CURL *easy = curl_easy_init();

    if (!easy)
        die("curl_easy_init");
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 8192L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    return easy;
}

static int ask(llhttp_t *parser)
{
    struct client *client = parser->data;
    CURL *easy = free_count ? free_handles[--free_count] : easy_new();

    client->easy = easy;
    client->headed = client->chunked = false;
    client->length = -1;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, client);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)client->body.length);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, client->body.bytes);
    return curl_multi_add_handle(multi, easy) == CURLM_OK ? 0 : HPE_USER;
}

static int on_request_body(llhttp_t *parser, const char *bytes, size_t length)
{
    struct client *client = parser->data;

    text_add(&client->body, bytes, length);
    return 0;
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char bytes[READ_BYTES];

    *ret = uv_buf_init(bytes, sizeof bytes);
}

/* A client that speaks before it was answered is not one of the benchmark's: it is cut, as is a gone one. */
static void client_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct client *client = stream->data;

    if (length == 0)
        return;
    if (length < 0 || client->easy || llhttp_execute(&client->parser, buffer->base, (size_t)length) != HPE_OK)
        client_close(client);
}

static void client_came(uv_stream_t *listener, int status)
{
    struct client *client = must_alloc(sizeof *client);

    client->tcp.data = client;
    uv_tcp_init(loop, &client->tcp);
    if (status < 0 || uv_accept(listener, (uv_stream_t *)&client->tcp) < 0)
        die("accept");
    uv_tcp_nodelay(&client->tcp, 1);
    llhttp_init(&client->parser, HTTP_REQUEST, &settings);
    client->parser.data = client;
    uv_read_start((uv_stream_t *)&client->tcp, give_buffer, client_read);
}

/* --- start and end --- */

static void prepare_curl(int upstream_port)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1024L);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/chat/completions", upstream_port);
    headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    headers = curl_slist_append(headers, "Authorization: Bearer "
                                         "sk-bench-0123456789abcdef0123456789abcdef01234567");
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    static uv_tcp_t listener;

    if (argc != 3) {
        fprintf(stderr, "usage: bare_relay PORT UPSTREAM_PORT\n");
        exit(2);
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    loop = uv_default_loop();
    prepare_curl((int)strtol(argv[2], NULL, 10));
    llhttp_settings_init(&settings);
    settings.on_body = on_request_body;
    settings.on_message_complete = ask;
    uv_timer_init(loop, &timer);
    uv_idle_init(loop, &do_not_block);
    uv_check_init(loop, &after_batch);
    uv_check_start(&after_batch, batch_ended);
    address = loopback((int)strtol(argv[1], NULL, 10));
    uv_tcp_init(loop, &listener);
    if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&listener, 4096, client_came) < 0)
        die("listen");
    return uv_run(loop, UV_RUN_DEFAULT);
}
