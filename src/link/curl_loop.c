/*
 * The multi's eyes and clock.
 *
 * Sockets: libcurl says REMOVE at the end of each request and IN again at the next one on the same connection. Obeying
 * would cost two to six epoll calls per request, so REMOVE only makes the poll handle dormant: it stays registered,
 * and nothing has to be done when the old wish comes back. A dormant handle that wakes up is stopped then: either a
 * paused transfer has bytes waiting, or something happens on a connection that nobody uses. That one is hung up on,
 * because libcurl 7.88 would use it again with the unasked bytes still in it, and give them to the next question.
 *
 * Descriptors: the one that libcurl closes is closed here, after its poll handle (CURLOPT_CLOSESOCKETFUNCTION). But
 * 7.88 closes a socket that never got connected all by itself; so a socket belongs to the transfer that opened it
 * until the request goes out, and its poll handle ends with that transfer.
 *
 * Clock: libcurl's timer of 0, new transfers, resumed ones and reports of finished ones all wait for turn(), which runs
 * once right after the loop's batch of socket events (a check handle), or before the loop goes to sleep (an idle
 * handle, active only while there is something to do, so that the loop does not sleep on it). No owner is ever called
 * from inside transfer_start() or transfer_resume(), and `done` never from inside libcurl.
 */
#include "link/curl_private.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS_PER_TURN = 4 };

struct curl_socket {
    uv_poll_t poll;
    struct curl_loop *loop;
    int fd;
    int wish;    /* what libcurl waits for: UV_READABLE, UV_WRITABLE; 0: dormant */
    int watched; /* what the poll handle is registered for */
    bool paused; /* dormant because its transfer is */
    struct curl_transfer *opener;
};

/* Mostly of nothing. */
static void give_back(void *memory)
{
    if (memory)
        alloc_free(memory);
}

static void *take_zeroed(size_t count, size_t size)
{
    size_t whole;

    return __builtin_mul_overflow(count, size, &whole) ? NULL : alloc_zeroed(whole);
}

void curl_loop_global_init(void)
{
    CURLcode code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, alloc_bytes, give_back, alloc_resize, alloc_text,
                                         take_zeroed);

    assert(code == CURLE_OK);
    (void)code;
}

/* --- calling libcurl ------------------------------------------------------------------------------------------- */

static void bury_doomed(struct curl_loop *loop)
{
    struct list *node;

    while ((node = list_first(&loop->doomed)))
        curl_transfer_bury(LIST_ENTRY(node, struct curl_transfer, node));
}

/* NULL for a handle that libcurl made for itself. */
static struct curl_transfer *transfer_of(CURL *easy)
{
    char *transfer = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct curl_transfer *)(void *)transfer;
}

/* Which transfers are over? Any may be, not only the one whose socket woke us. */
static void collect_finished(struct curl_loop *loop)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop->multi, &left))) {
        CURLcode code = message->data.result;

        if (message->msg == CURLMSG_DONE)
            curl_transfer_finish(transfer_of(message->easy_handle), code);
    }
}

static void act(struct curl_loop *loop, curl_socket_t fd, int events)
{
    int running;

    loop->inside = true;
    curl_multi_socket_action(loop->multi, fd, events, &running);
    loop->inside = false;
    bury_doomed(loop);
    collect_finished(loop);
}

/* --- sockets --------------------------------------------------------------------------------------------------- */

static void on_socket(uv_poll_t *poll, int status, int events);

static struct curl_socket *socket_at(struct curl_loop *loop, curl_socket_t fd)
{
    return (size_t)fd < loop->socket_count ? loop->sockets[fd] : NULL;
}

static void grow_table(struct curl_loop *loop, size_t needed)
{
    size_t count = loop->socket_count ? loop->socket_count : 64;

    while (count < needed)
        count *= 2;
    loop->sockets = alloc_resize(loop->sockets, count * sizeof(loop->sockets[0]));
    memset(loop->sockets + loop->socket_count, 0, (count - loop->socket_count) * sizeof(loop->sockets[0]));
    loop->socket_count = count;
}

/* NULL when the kernel will not watch it: then the transfer runs into its owner's deadline. */
static struct curl_socket *socket_new(struct curl_loop *loop, curl_socket_t fd, struct curl_transfer *opener)
{
    struct curl_socket *socket = ALLOC_NEW(struct curl_socket);

    if (uv_poll_init(loop->uv, &socket->poll, fd) != 0)
        return alloc_free(socket);
    if ((size_t)fd >= loop->socket_count)
        grow_table(loop, (size_t)fd + 1);
    socket->loop = loop;
    socket->fd = fd;
    socket->poll.data = socket;
    loop->sockets[fd] = socket;
    loop->open_handles++;
    if (opener && !opener->asked) {
        socket->opener = opener;
        opener->socket = socket;
    }
    return socket;
}

static void watch(struct curl_socket *socket)
{
    if (socket->wish == 0 || socket->wish == socket->watched)
        return;
    uv_poll_start(&socket->poll, socket->wish, on_socket);
    socket->watched = socket->wish;
}

/* Leave it in a state that libcurl's next look takes for closed: no bytes, no error, only the end. */
static void hang_up(int fd)
{
    char bytes[4096];
    bool more = true;

    shutdown(fd, SHUT_RDWR);
    for (int i = 0; i < 64 && more; i++) {
        ssize_t count = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        more = count > 0 || (count < 0 && errno != EAGAIN);
    }
}

/* Something happened on a socket that libcurl does not wait for. */
static void on_stray(struct curl_socket *socket)
{
    if (socket->watched)
        uv_poll_stop(&socket->poll);
    socket->watched = 0;
    if (!socket->paused)
        hang_up(socket->fd);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct curl_socket *socket = poll->data;
    struct curl_loop *loop = socket->loop;
    int fd = socket->fd;
    int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

    if (status < 0) {
        /* libuv has stopped the handle. With IN libcurl still reads what came before the error; and while it only waits
         * to write, nothing but OUT makes it find the error. */
        socket->watched = 0;
        flags = CURL_CSELECT_ERR | CURL_CSELECT_IN | (socket->wish & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    }
    if (socket->wish == 0) {
        on_stray(socket);
        return;
    }
    act(loop, fd, flags);
    if (status == 0 || socket_at(loop, fd) != socket)
        return;
    if (socket->wish)
        watch(socket);
    else
        on_stray(socket);
}

/* CURLMOPT_SOCKETFUNCTION */
static int on_wish(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
    struct curl_loop *loop = data;
    struct curl_socket *socket = socket_at(loop, fd);
    struct curl_transfer *transfer = transfer_of(easy);

    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            socket->wish = 0;
            socket->paused = transfer && transfer->paused;
        }
        return 0;
    }
    if (!socket)
        socket = socket_new(loop, fd, transfer);
    if (socket) {
        socket->wish = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
        watch(socket);
    }
    return 0;
}

static void handle_closed(struct curl_loop *loop)
{
    if (--loop->open_handles > 0)
        return;
    loop->closed(loop->closed_data);
    alloc_free(loop->sockets);
    alloc_free(loop);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct curl_socket *socket = handle->data;
    struct curl_loop *loop = socket->loop;

    alloc_free(socket);
    handle_closed(loop);
}

void curl_loop_publish_socket(struct curl_transfer *opener)
{
    if (opener->socket)
        opener->socket->opener = NULL;
    opener->socket = NULL;
}

static void socket_free(struct curl_socket *socket)
{
    if (socket->opener)
        curl_loop_publish_socket(socket->opener);
    socket->loop->sockets[socket->fd] = NULL;
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

int curl_loop_close_socket(void *data, curl_socket_t fd)
{
    struct curl_socket *socket = socket_at(data, fd);

    if (socket)
        socket_free(socket); /* this stops it, before the number is free */
    return close(fd);
}

void curl_loop_forget_socket(struct curl_loop *loop, curl_socket_t fd)
{
    struct curl_socket *socket = socket_at(loop, fd);

    if (socket)
        socket_free(socket);
}

void curl_loop_remove(struct curl_loop *loop, struct curl_transfer *transfer)
{
    curl_multi_remove_handle(loop->multi, transfer->easy);
    if (transfer->socket)
        socket_free(transfer->socket);
}

/* --- the turn -------------------------------------------------------------------------------------------------- */

static bool has_work(const struct curl_loop *loop)
{
    return loop->due || !list_empty(&loop->starting) || !list_empty(&loop->waking) || !list_empty(&loop->finished);
}

static void begin_starting(struct curl_loop *loop)
{
    struct list *node;

    while ((node = list_first(&loop->starting)))
        curl_transfer_begin(LIST_ENTRY(node, struct curl_transfer, node));
}

static void wake_resumed(struct curl_loop *loop)
{
    struct list *node;

    while ((node = list_first(&loop->waking))) {
        struct curl_transfer *transfer = LIST_ENTRY(node, struct curl_transfer, wake);

        list_remove(node);
        loop->inside = true;
        curl_transfer_wake(transfer);
        loop->inside = false;
        bury_doomed(loop);
    }
}

/* Those finished by now: one that an owner makes finish at once waits for the next round. */
static void report_finished(struct curl_loop *loop)
{
    struct list batch, *node;

    list_init(&batch);
    while ((node = list_first(&loop->finished))) {
        list_remove(node);
        list_append(&batch, node);
    }
    while ((node = list_first(&batch)))
        curl_transfer_report(LIST_ENTRY(node, struct curl_transfer, node));
}

static void turn(struct curl_loop *loop)
{
    for (int round = 0; round < ROUNDS_PER_TURN && has_work(loop); round++) {
        begin_starting(loop);
        wake_resumed(loop);
        if (loop->due) {
            loop->due = false;
            act(loop, CURL_SOCKET_TIMEOUT, 0);
        }
        report_finished(loop);
    }
    if (!has_work(loop))
        uv_idle_stop(&loop->idle);
}

static void on_idle(uv_idle_t *idle)
{
    turn(idle->data);
}

static void on_check(uv_check_t *check)
{
    struct curl_loop *loop = check->data;

    if (uv_is_active((uv_handle_t *)&loop->idle))
        turn(loop);
}

void curl_loop_arm(struct curl_loop *loop)
{
    uv_idle_start(&loop->idle, on_idle); /* does nothing when it is active */
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_TIMERFUNCTION: each call replaces the wish before. */
static int on_timer_wish(CURLM *multi, long timeout_ms, void *data)
{
    struct curl_loop *loop = data;

    loop->due = timeout_ms == 0;
    if (timeout_ms > 0)
        uv_timer_start(&loop->timer, on_timer, (uint64_t)timeout_ms, 0);
    else
        uv_timer_stop(&loop->timer);
    if (loop->due)
        curl_loop_arm(loop);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static CURLM *multi_new(struct curl_loop *loop)
{
    CURLM *multi = curl_multi_init();

    assert(multi);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_wish);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, loop);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return multi;
}

struct curl_loop *curl_loop_new(uv_loop_t *uv, unsigned idle_connections)
{
    struct curl_loop *loop = ALLOC_NEW(struct curl_loop);

    loop->uv = uv;
    loop->idle_limit = idle_connections;
    list_init(&loop->starting);
    list_init(&loop->waking);
    list_init(&loop->finished);
    list_init(&loop->doomed);
    uv_timer_init(uv, &loop->timer);
    uv_idle_init(uv, &loop->idle);
    uv_check_init(uv, &loop->check);
    loop->timer.data = loop->idle.data = loop->check.data = loop;
    loop->open_handles = 3;
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->check);
    loop->multi = multi_new(loop);
    loop->share = curl_share_init();
    assert(loop->share);
    curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return loop;
}

static void on_own_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void curl_loop_close(struct curl_loop *loop, void (*closed)(void *data), void *data)
{
    assert(loop->running == 0 && loop->idle_handles == 0 && !loop->inside);
    loop->closed = closed;
    loop->closed_data = data;
    curl_multi_cleanup(loop->multi);
    curl_share_cleanup(loop->share);
    uv_close((uv_handle_t *)&loop->timer, on_own_closed);
    uv_close((uv_handle_t *)&loop->idle, on_own_closed);
    uv_close((uv_handle_t *)&loop->check, on_own_closed);
}

unsigned curl_loop_idle_handles(const struct curl_loop *loop)
{
    return loop->idle_handles;
}
