/*
 * Time. Each conn has one timer and a few stored times; what is due is computed from them. The timer is never
 * moved to a later time: it fires early, finds that nothing is due, and is set anew. So a busy connection
 * touches the timer heap about once per idle time, not once per request.
 */
#include "entry/conn_private.h"

#include <poll.h>

/* --- what is due ---------------------------------------------------------------------------------------- */

static uint64_t idle_due(const struct conn *conn)
{
    const struct conn_context *context = conn->context;
    uint32_t limit = conn->head_timed ? context->limits.header_ms : context->limits.idle_ms;

    if (conn->ahead.size)
        return CONN_NEVER;      /* held back until the client reads: the stall timer runs */
    if (context->draining && !http_in_head_begun(conn->in) && limit > CONN_GRACE_MS)
        limit = CONN_GRACE_MS;
    return conn->since + limit;
}

static uint64_t phase_due(const struct conn *conn)
{
    switch (conn->phase) {
    case CONN_IDLE:
        return idle_due(conn);
    case CONN_OPEN:
        if (!conn->body_wanted || conn->body_told || conn->refused)
            return CONN_NEVER;
        return conn->since + conn->context->limits.body_ms;
    case CONN_DRAIN:
        return conn->since + CONN_LINGER_MS;
    case CONN_LINGER:
        return conn->since + (conn->reset ? CONN_CUT_MS : CONN_LINGER_MS);
    default:
        return CONN_NEVER;
    }
}

static uint64_t stall_due(const struct conn *conn)
{
    /* Looked at four times within the limit, so that a stall is known a quarter late at most. */
    return conn_unsent(conn) ? conn->checked + conn->context->limits.stall_ms / 4 : CONN_NEVER;
}

static bool must_watch(const struct conn *conn)
{
    return conn->phase == CONN_OPEN && !conn->reading;
}

static uint64_t next_due(const struct conn *conn)
{
    uint64_t now = uv_now(conn->context->loop), due = phase_due(conn), stall = stall_due(conn);

    if (conn->woken)
        return now;
    if (must_watch(conn) && due > now + CONN_WATCH_MS)
        due = now + CONN_WATCH_MS;
    return due < stall ? due : stall;
}

/* --- doing it ------------------------------------------------------------------------------------------- */

/* The client closed, and the end of its input is behind bytes that nobody reads. */
static void watch(struct conn *conn)
{
    struct pollfd look = {.events = POLLRDHUP};

    if (uv_fileno(&conn->socket.handle, &look.fd) == 0 && poll(&look, 1, 0) > 0)
        conn_lost(conn, look.revents & (POLLERR | POLLHUP) ? "reset" : "left");
}

static void check_stall(struct conn *conn, uint64_t now)
{
    uint64_t sent = conn->queued - conn_unsent(conn);
    bool late = now - stall_due(conn) > CONN_GRACE_MS;

    conn->checked = now;
    if (sent > conn->progress_sent || late) {
        conn->progress = now;
        conn->progress_sent = sent;
    } else if (now >= conn->progress + conn->context->limits.stall_ms) {
        conn->reset = true;     /* the kernel's share of the queue goes with it */
        conn_lost(conn, "stalled");
    }
}

/* The body's time is up, unless at least 1 KB/s came since it was last looked at. */
static void check_body(struct conn *conn, uint64_t now)
{
    if ((conn->body_bytes - conn->window_bytes) * 1000 / 1024 < now - conn->since) {
        conn_refuse(conn, FAIL_HTTP_TIMEOUT, "The request body did not arrive in time.");
        return;
    }
    conn->window_bytes = conn->body_bytes;
    conn->since = now;
}

static void expire(struct conn *conn, uint64_t now)
{
    switch (conn->phase) {
    case CONN_IDLE:
        if (http_in_head_begun(conn->in))
            conn_refuse(conn, FAIL_HTTP_TIMEOUT, "The request head did not arrive in time.");
        else
            conn_close(conn);
        break;
    case CONN_OPEN:
        check_body(conn, now);
        break;
    case CONN_DRAIN:
        conn_end(conn);
        break;
    default:
        conn_close(conn);
        break;
    }
}

/* A timer that fires long after its time speaks of a process that stood still, not of the client: what the
 * client did meanwhile is looked at first. */
static void check_phase(struct conn *conn, uint64_t now)
{
    uint64_t due = phase_due(conn);

    if (now < due)
        return;
    if (now - due > CONN_GRACE_MS)
        conn->since += now - due + CONN_GRACE_MS;
    else
        expire(conn, now);
}

static void do_the_rest(struct conn *conn)
{
    conn->woken = false;
    if (conn->error) {
        conn_lost(conn, "reset");
        return;
    }
    if (conn->fresh && conn->phase == CONN_IDLE) {
        http_in_reset(conn->in);
        conn->fresh = false;
    }
    if (conn->ahead.size)
        conn_pump(conn);
}

static void on_timer(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    uint64_t now = uv_now(conn->context->loop);

    conn->armed = 0;
    if (conn->woken)
        do_the_rest(conn);
    if (must_watch(conn))
        watch(conn);
    if (conn->phase != CONN_CLOSING && now >= stall_due(conn))
        check_stall(conn, now);
    if (conn->phase != CONN_CLOSING)
        check_phase(conn, now);
    conn_settle(conn);
}

void conn_arm(struct conn *conn)
{
    uint64_t now = uv_now(conn->context->loop), due;

    if (conn->phase == CONN_CLOSING)
        return;
    due = next_due(conn);
    if (due == CONN_NEVER || (conn->armed && conn->armed <= due))
        return;
    conn->armed = due ? due : 1;
    uv_timer_start(&conn->timer, on_timer, due > now ? due - now : 0, 0);
}
