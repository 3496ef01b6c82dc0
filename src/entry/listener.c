/*
 * Accepting is done by hand on a polled descriptor, because libuv's own way accepts without limit, closes
 * clients without a word when descriptors run out, and cannot be asked to take what waits before it closes.
 *
 * A client that cannot be served now gets a short 503. Its socket is kept for a moment, half-closed, since
 * closing at once would meet the request on its way with a reset that may overtake the answer. When
 * descriptors run out, a spare one is spent on telling a few clients, and then the listener rests, so that it
 * never spins.
 */
#include "entry/listener.h"

#include "base/alloc.h"
#include "base/random.h"
#include "entry/http_out.h"
#include "entry/listening.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64     /* then others have their turn */
#define ACCEPTS_AT_CLOSE 8192
#define REST_MS 100
#define REFUSED_MS 500
#define REFUSED_HELD 32
#define REFUSED_BY_SPARE 16

#define TOO_MANY                                                                                             \
    "{\"error\":{\"message\":\"There are too many connections; try again in a moment.\","                    \
    "\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded\"}}\n"

struct listener {
    struct conn_context *context;
    struct listener_gate gate;
    uv_poll_t poll;
    uv_timer_t timer;           /* ends a rest; closes the refused */
    uint8_t handles;
    struct listening socket;
    int spare;
    bool resting;

    struct {
        int descriptor;         /* -1: none */
        uint64_t until;
    } refused[REFUSED_HELD];
    unsigned refused_next;
};

/* --- refusing ------------------------------------------------------------------------------------------- */

static void send_refusal(int descriptor)
{
    char id[4 + RANDOM_ID_SIZE] = "req_";
    struct http_head head = {.status = 503, .minor = 1, .content_type = "application/json", .close = true,
                             .content_length = sizeof(TOO_MANY) - 1, .request_id = {id, sizeof(id)},
                             .retry_after_ms = 1000};
    struct buffer answer = {0};

    random_id(id + 4);
    http_out_head(&head, &answer);
    buffer_append(&answer, BYTES(TOO_MANY));
    /* A client that is gone, or has no room for one packet, goes without. */
    if (send(descriptor, answer.data, answer.size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        shutdown(descriptor, SHUT_WR);
    buffer_deinit(&answer);
}

/* Reads what came, so that closing is not a reset. */
static void close_refused(int descriptor)
{
    char scratch[4096];

    for (unsigned i = 0; i < 16 && recv(descriptor, scratch, sizeof(scratch), MSG_DONTWAIT) > 0; i++)
        continue;
    close(descriptor);
}

static void refuse(struct listener *listener, int descriptor)
{
    unsigned slot = listener->refused_next++ % REFUSED_HELD;

    send_refusal(descriptor);
    if (listener->refused[slot].descriptor >= 0)
        close_refused(listener->refused[slot].descriptor);
    listener->refused[slot].descriptor = descriptor;
    listener->refused[slot].until = uv_now(listener->context->loop) + REFUSED_MS;
}

/* True: some are left. */
static bool close_all_refused(struct listener *listener, uint64_t now)
{
    bool left = false;

    for (unsigned i = 0; i < REFUSED_HELD; i++) {
        if (listener->refused[i].descriptor < 0)
            continue;
        if (listener->refused[i].until > now) {
            left = true;
            continue;
        }
        close_refused(listener->refused[i].descriptor);
        listener->refused[i].descriptor = -1;
    }
    return left;
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct listener *listener)
{
    if (!uv_is_active((uv_handle_t *)&listener->timer))
        uv_timer_start(&listener->timer, on_timer, REST_MS, 0);
}

/* --- accepting ------------------------------------------------------------------------------------------ */

/* No descriptor is left. Give up the spare one to tell some of those who wait. */
static void refuse_by_spare(struct listener *listener)
{
    for (unsigned i = 0; i < REFUSED_BY_SPARE && listener->spare >= 0; i++) {
        int descriptor;

        close(listener->spare);
        descriptor = accept4(listener->socket.descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            send_refusal(descriptor);
            close_refused(descriptor);
        }
        listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (descriptor < 0)
            break;
    }
}

static void rest(struct listener *listener)
{
    listener->resting = true;
    uv_poll_stop(&listener->poll);
    start_timer(listener);
}

/* True: there may be more. */
static bool accept_failed(struct listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        refuse_by_spare(listener);
        rest(listener);
        return false;
    case ENOBUFS:
    case ENOMEM:
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
        rest(listener);
        return false;
    default:
        return true;    /* this client's trouble, not ours */
    }
}

static bool accept_one(struct listener *listener)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    int descriptor = accept4(listener->socket.descriptor, (struct sockaddr *)&peer, &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (descriptor < 0)
        return accept_failed(listener, errno);
    if (!listener->gate.admit || listener->gate.admit(listener->gate.data)) {
        conn_accept(listener->context, descriptor, (struct sockaddr *)&peer);
    } else {
        refuse(listener, descriptor);
        start_timer(listener);
    }
    return true;
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++)
        if (!accept_one(listener))
            return;
}

static void on_timer(uv_timer_t *timer)
{
    struct listener *listener = timer->data;

    if (listener->spare < 0)
        listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (close_all_refused(listener, uv_now(timer->loop)))
        start_timer(listener);
    if (listener->resting)
        uv_poll_start(&listener->poll, UV_READABLE, on_client);
    listener->resting = false;
}

/* --- life ----------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    if (--listener->handles == 0)
        alloc_free(listener);
}

static void close_descriptors(struct listener *listener)
{
    listening_deinit(&listener->socket);
    if (listener->spare >= 0)
        close(listener->spare);
    listener->spare = -1;
}

static struct listener *listener_new(struct conn_context *context, const struct listener_gate *gate)
{
    struct listener *listener = ALLOC_NEW(struct listener);

    listener->context = context;
    if (gate)
        listener->gate = *gate;
    for (unsigned i = 0; i < REFUSED_HELD; i++)
        listener->refused[i].descriptor = -1;
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return listener;
}

int listener_open(struct conn_context *context, const struct config_address *address, int first,
                  const struct listener_gate *gate, struct listener **ret)
{
    struct listener *listener = listener_new(context, gate);
    int r;

    r = listening_init(&listener->socket, address, first);
    if (r == 0)
        r = uv_poll_init(context->loop, &listener->poll, listener->socket.descriptor);
    if (r < 0) {
        close_descriptors(listener);
        alloc_free(listener);
        return r;
    }
    uv_timer_init(context->loop, &listener->timer);
    listener->poll.data = listener->timer.data = listener;
    listener->handles = 2;
    uv_poll_start(&listener->poll, UV_READABLE, on_client);
    *ret = listener;
    return 0;
}

int listener_descriptor(const struct listener *listener)
{
    return listener->socket.descriptor;
}

const char *listener_name(const struct listener *listener)
{
    return listener->socket.name;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->socket.port;
}

struct listener *listener_close(struct listener *listener)
{
    if (!listener)
        return NULL;
    /* Closing resets whoever waits in the queue of this socket, so they are let in first. */
    for (unsigned i = 0; i < ACCEPTS_AT_CLOSE; i++)
        if (!accept_one(listener))
            break;
    close_all_refused(listener, UINT64_MAX);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    uv_close((uv_handle_t *)&listener->timer, on_closed);
    close_descriptors(listener);
    return NULL;
}
