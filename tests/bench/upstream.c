/*
 * The model server of the benchmark: one epoll loop that answers at once and never computes anything.
 *
 * POST /v1/chat/completions gives a fixed JSON answer of 1 KB or, when the body holds "stream":true, a stream
 * of events of 200 bytes, one write() each, stamped with the clock. The body's "user" chooses it: "rate=50
 * count=100" is 100 events, 50 each second (rate=0: as fast as the socket takes them). The first event
 * follows the head at once; each stream then keeps its own phase, so that streams do not march in step. A body with
 * "nonce=" and digits gets them back as the answer's id, in each of its events. GET /v1/models lists one model, GET
 * /count tells how many questions were asked so far.
 */
#include <signal.h>
#include <sys/epoll.h>

#include "bench.h"

enum { INPUT_BYTES = 4096, EVENT_ROOM = 256, BATCH = 256, UNPACED_BURST = 16 };

struct peer {
    int fd;
    bool streaming, blocked;        /* blocked: the socket is full */
    uint32_t input_length;
    uint64_t body_left;             /* bytes of a long body that are not kept */
    uint64_t interval, due;         /* ns; interval 0: not paced */
    uint32_t sequence, count;
    int heap_place;                 /* -1: not in the heap */
    char nonce[NONCE_DIGITS];
    uint32_t rest_length;           /* what a short write left */
    char rest[EVENT_ROOM + 512];
    char input[INPUT_BYTES + 1];
};

static int epoll;
static struct peer **heap;
static int heap_count, heap_room;
static uint64_t asked;
static char json_answer[2048], models_answer[512], event_text[EVENT_ROOM], finish_text[512];
static size_t json_length, models_length, event_length, finish_length;
static char *event_stamp, *json_nonce, *event_nonce, *finish_nonce;

static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
#define CHUNK_HEAD \
    "{\"id\":\"" NONCE_MARK NO_NONCE "\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
    "\"model\":\"bench\","
static const char finish_event[] =
    "data: " CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: [DONE]\n\n";

/* --- the fixed texts --- */

static void prepare_texts(void)
{
    char body[1100], event[EVENT_ROOM];
    int length;

    length = snprintf(body, sizeof body,
        "{\"id\":\"" NONCE_MARK NO_NONCE "\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    while (length < 1024 - 100)
        length += snprintf(body + length, sizeof body - (size_t)length, "embers glow ");
    length += snprintf(body + length, sizeof body - (size_t)length,
        "\"},\"finish_reason\":\"stop\"}],\"usage\":"
        "{\"prompt_tokens\":40,\"completion_tokens\":200,\"total_tokens\":240}}");
    json_length = (size_t)snprintf(json_answer, sizeof json_answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body);
    json_nonce = strstr(json_answer, NONCE_MARK) + strlen(NONCE_MARK);

    length = snprintf(event, sizeof event, "data: " CHUNK_HEAD
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@%0*d %0*d\"},\"finish_reason\":null}]}\n\n",
        STAMP_SEQUENCE_DIGITS, 0, STAMP_CLOCK_DIGITS, 0);
    event_length = (size_t)snprintf(event_text, sizeof event_text, "%x\r\n%s\r\n", (unsigned)length, event);
    event_stamp = strchr(event_text, '@');
    event_nonce = strstr(event_text, NONCE_MARK) + strlen(NONCE_MARK);
    finish_length = (size_t)snprintf(finish_text, sizeof finish_text, "%x\r\n%s\r\n0\r\n\r\n",
                                     (unsigned)(sizeof finish_event - 1), finish_event);
    finish_nonce = strstr(finish_text, NONCE_MARK) + strlen(NONCE_MARK);

    length = snprintf(body, sizeof body,
        "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1700000000,"
        "\"owned_by\":\"bench\"}]}");
    models_length = (size_t)snprintf(models_answer, sizeof models_answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body);
}

/* --- who is due next: a binary heap --- */

static void heap_put(struct peer *peer, int place)
{
    heap[place] = peer;
    peer->heap_place = place;
}

static void heap_sift(struct peer *peer, int place)
{
    while (place > 0 && heap[(place - 1) / 2]->due > peer->due) {
        heap_put(heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    for (;;) {
        int child = 2 * place + 1;

        if (child + 1 < heap_count && heap[child + 1]->due < heap[child]->due)
            child++;
        if (child >= heap_count || heap[child]->due >= peer->due)
            break;
        heap_put(heap[child], place);
        place = child;
    }
    heap_put(peer, place);
}

static void heap_remove(struct peer *peer)
{
    int place = peer->heap_place;

    if (place < 0)
        return;
    peer->heap_place = -1;
    heap_count--;
    if (place < heap_count)
        heap_sift(heap[heap_count], place);
}

static void heap_add(struct peer *peer)
{
    if (heap_count == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, (size_t)heap_room * sizeof *heap);
        if (!heap)
            die("realloc");
    }
    heap_count++;
    heap_sift(peer, heap_count - 1);
}

/* --- peers --- */

static void peer_watch(struct peer *peer, int operation, uint32_t events)
{
    struct epoll_event wish = { .events = events, .data.ptr = peer };

    if (epoll_ctl(epoll, operation, peer->fd, &wish) < 0)
        die("epoll_ctl");
}

static void peer_free(struct peer *peer)
{
    heap_remove(peer);
    close(peer->fd);
    free(peer);
}

/* False when the peer is gone. */
static bool peer_write(struct peer *peer, const char *text, size_t length)
{
    ssize_t sent = write(peer->fd, text, length);

    if (sent == (ssize_t)length)
        return true;
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    peer->rest_length = (uint32_t)(length - (size_t)sent);
    if (peer->rest_length > sizeof peer->rest)
        return false;
    memcpy(peer->rest, text + sent, peer->rest_length);
    peer->blocked = true;
    peer_watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return true;
}

static bool peer_finish_stream(struct peer *peer)
{
    peer->streaming = false;
    memcpy(finish_nonce, peer->nonce, NONCE_DIGITS);
    return peer_write(peer, finish_text, finish_length);
}

static bool peer_send_event(struct peer *peer)
{
    if (peer->sequence == peer->count)
        return peer_finish_stream(peer);
    memcpy(event_nonce, peer->nonce, NONCE_DIGITS);
    put_digits(event_stamp + 1 + STAMP_SEQUENCE_DIGITS, peer->sequence++, STAMP_SEQUENCE_DIGITS);
    put_digits(event_stamp + STAMP_LENGTH, clock_ns(), STAMP_CLOCK_DIGITS);
    return peer_write(peer, event_text, event_length);
}

/* Send what is due now, and enter the heap for the next event. A burst of an unpaced stream ends after some
 * events so that the others get their turn. */
static bool peer_stream(struct peer *peer)
{
    int burst = UNPACED_BURST;

    while (peer->streaming && !peer->blocked && peer->due <= clock_ns() && burst-- > 0) {
        if (!peer_send_event(peer))
            return false;
        peer->due += peer->interval;
        if (peer->sequence == 1)
            peer->due += peer->interval * (uint64_t)(rand() % 1024) / 1024;
    }
    if (peer->streaming && !peer->blocked && peer->heap_place < 0)
        heap_add(peer);
    return true;
}

static uint64_t number_after(const char *text, const char *name, uint64_t otherwise)
{
    const char *found = strstr(text, name);

    return found ? strtoull(found + strlen(name), NULL, 10) : otherwise;
}

static bool peer_answer_get(struct peer *peer)
{
    char text[256], number[32];
    int length;

    if (strncmp(peer->input, "GET /count ", 11) != 0)
        return peer_write(peer, models_answer, models_length);
    length = snprintf(number, sizeof number, "%llu", (unsigned long long)asked);
    length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, number);
    return peer_write(peer, text, (size_t)length);
}

static void read_nonce(struct peer *peer, const char *body)
{
    const char *nonce = strstr(body, "nonce=");

    memcpy(peer->nonce, NO_NONCE, NONCE_DIGITS);
    if (nonce && strlen(nonce + 6) >= NONCE_DIGITS)
        memcpy(peer->nonce, nonce + 6, NONCE_DIGITS);
}

/* BODY is as much of it as was kept, ended by a NUL. */
static bool peer_answer(struct peer *peer, const char *body)
{
    uint64_t rate;

    if (strncmp(peer->input, "GET ", 4) == 0)
        return peer_answer_get(peer);
    asked++;
    read_nonce(peer, body);
    if (!strstr(body, "\"stream\":true") && !strstr(body, "\"stream\": true")) {
        memcpy(json_nonce, peer->nonce, NONCE_DIGITS);
        return peer_write(peer, json_answer, json_length);
    }
    rate = number_after(body, "rate=", 50);
    peer->count = (uint32_t)number_after(body, "count=", 100);
    peer->interval = rate ? NANO / rate : 0;
    peer->sequence = 0;
    peer->streaming = true;
    peer->due = clock_ns();
    return peer_write(peer, stream_head, sizeof stream_head - 1) && peer_stream(peer);
}

/* One request, when all of it is there. A long body is only counted beyond the input buffer. */
static bool peer_parse(struct peer *peer)
{
    char *end, *length;
    uint64_t whole, head;

    peer->input[peer->input_length] = '\0';
    end = strstr(peer->input, "\r\n\r\n");
    if (!end)
        return peer->input_length < INPUT_BYTES;
    head = (uint64_t)(end + 4 - peer->input);
    *end = '\0';
    length = strcasestr(peer->input, "\r\ncontent-length:");
    whole = head + (length ? strtoull(length + strlen("\r\ncontent-length:"), NULL, 10) : 0);
    *end = '\r';
    if (whole > peer->input_length && peer->input_length < INPUT_BYTES)
        return true;
    peer->body_left = whole > peer->input_length ? whole - peer->input_length : 0;
    if (peer->body_left)
        return true;
    peer->input_length = 0;
    return peer_answer(peer, peer->input + head);
}

static bool peer_skip_body(struct peer *peer)
{
    static char waste[256 * 1024];
    size_t room = peer->body_left < sizeof waste ? (size_t)peer->body_left : sizeof waste;
    ssize_t got = read(peer->fd, waste, room);

    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    peer->body_left -= (uint64_t)got;
    if (peer->body_left)
        return true;
    peer->input_length = 0;
    return peer_answer(peer, strstr(peer->input, "\r\n\r\n") + 4);
}

static bool peer_read(struct peer *peer)
{
    ssize_t got;

    if (peer->body_left)
        return peer_skip_body(peer);
    got = read(peer->fd, peer->input + peer->input_length, INPUT_BYTES - peer->input_length);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (peer->streaming)
        return false;                       /* nobody here sends a request before the answer's end */
    peer->input_length += (uint32_t)got;
    return peer_parse(peer);
}

static bool peer_unblock(struct peer *peer)
{
    ssize_t sent = write(peer->fd, peer->rest, peer->rest_length);

    if (sent < 0)
        return errno == EAGAIN;
    peer->rest_length -= (uint32_t)sent;
    memmove(peer->rest, peer->rest + sent, peer->rest_length);
    if (peer->rest_length)
        return true;
    peer->blocked = false;
    peer_watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    return peer_stream(peer);
}

static void peer_ready(struct peer *peer, uint32_t events)
{
    bool alive = true;

    if (events & EPOLLOUT)
        alive = peer_unblock(peer);
    if (alive && (events & ~(uint32_t)EPOLLOUT))
        alive = peer_read(peer);
    if (!alive)
        peer_free(peer);
}

/* --- the loop --- */

static int listen_on(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct peer *peer = must_alloc(sizeof *peer);

        set_nodelay(fd);
        peer->fd = fd;
        peer->heap_place = -1;
        peer_watch(peer, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void send_what_is_due(void)
{
    uint64_t now = clock_ns();
    int most = heap_count;

    while (heap_count && heap[0]->due <= now && most-- > 0) {
        struct peer *peer = heap[0];

        heap_remove(peer);
        if (!peer_stream(peer))
            peer_free(peer);
    }
}

static void loop_run(int listener)
{
    struct epoll_event ready[BATCH], wish = { .events = EPOLLIN, .data.ptr = NULL };
    struct timespec wait;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wish) < 0)
        die("epoll_ctl");
    for (;;) {
        uint64_t now = clock_ns(), left = heap_count && heap[0]->due > now ? heap[0]->due - now : 0;
        int count;

        wait = (struct timespec){ .tv_sec = (time_t)(left / NANO), .tv_nsec = (long)(left % NANO) };
        count = epoll_pwait2(epoll, ready, BATCH, heap_count ? &wait : NULL, NULL);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr)
                peer_ready(ready[i].data.ptr, ready[i].events);
            else
                accept_all(listener);
        }
        send_what_is_due();
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: upstream PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    prepare_texts();
    epoll = epoll_create1(0);
    loop_run(listen_on((int)strtol(argv[1], NULL, 10)));
}
