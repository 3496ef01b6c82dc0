/*
 * One timer for all connections of a loop, those that connect and those that wait. The lists it looks at are in order
 * of time, so a look is a few steps, and nothing is set or stopped per request.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

#include <assert.h>

enum {
    IDLE_MS = TRANSFER_IDLE_S * 1000,
    LATE_MS = 20,
};

/* --- the clock ------------------------------------------------------------------------------------------------- */

/* Returns when to look again. */
static uint64_t sweep_connecting(struct http1_target *target, uint64_t now)
{
    struct list *node;

    while ((node = list_first(&target->connecting))) {
        struct http1_connection *connection = LIST_ENTRY(node, struct http1_connection, node);

        if (connection->since + target->connect_ms > now)
            return connection->since + target->connect_ms;
        http1_connection_fail(connection, TRANSFER_E_CONNECT_TIMEOUT, "no connection in time");
    }
    return UINT64_MAX;
}

static uint64_t sweep_idle(struct http1_loop *loop, uint64_t now)
{
    struct list *node;

    while ((node = list_first(&loop->aging))) {
        struct http1_connection *connection = LIST_ENTRY(node, struct http1_connection, age);

        if (connection->since + IDLE_MS > now)
            return connection->since + IDLE_MS;
        http1_connection_close(connection);
    }
    return UINT64_MAX;
}

static void on_timer(uv_timer_t *timer)
{
    struct http1_loop *loop = timer->data;
    uint64_t now = uv_now(loop->uv), next;

    /* After a suspended process or a long turn connections may have been made that nobody has looked at yet. */
    loop->warned = !loop->warned && now > loop->wakes_at + LATE_MS;
    loop->wakes_at = UINT64_MAX;
    if (loop->warned) {
        http1_loop_wake_at(loop, now + 1);
        return;
    }
    next = sweep_idle(loop, now);
    LIST_EACH(&loop->targets, node) {
        uint64_t at = sweep_connecting(LIST_ENTRY(node, struct http1_target, node), now);

        if (at < next)
            next = at;
    }
    http1_loop_wake_at(loop, next);
}

void http1_loop_wake_at(struct http1_loop *loop, uint64_t at)
{
    uint64_t now = uv_now(loop->uv);

    if (at >= loop->wakes_at)
        return;
    loop->wakes_at = at;
    uv_timer_start(&loop->timer, on_timer, at > now ? at - now : 0, 0);
}

/* --- who waits ------------------------------------------------------------------------------------------------- */

void http1_loop_keep(struct http1_loop *loop, struct http1_connection *connection)
{
    connection->state = HTTP1_IDLE;
    connection->since = uv_now(loop->uv);
    list_append(&connection->target->idle, &connection->node);
    list_append(&loop->aging, &connection->age);
    if (++loop->idle > loop->idle_limit)
        http1_connection_close(LIST_ENTRY(list_first(&loop->aging), struct http1_connection, age));
    http1_loop_wake_at(loop, uv_now(loop->uv) + IDLE_MS);
}

void http1_loop_forget(struct http1_loop *loop, struct http1_connection *connection)
{
    list_remove(&connection->node);
    list_remove(&connection->age);
    if (connection->state == HTTP1_IDLE)
        loop->idle--;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

struct http1_loop *http1_loop_new(uv_loop_t *uv, unsigned idle_connections)
{
    struct http1_loop *loop = ALLOC_NEW(struct http1_loop);

    loop->uv = uv;
    loop->idle_limit = idle_connections;
    loop->wakes_at = UINT64_MAX;
    list_init(&loop->targets);
    list_init(&loop->aging);
    buffer_init(&loop->head);
    uv_timer_init(uv, &loop->timer);
    loop->timer.data = loop;
    loop->handles = 1;
    return loop;
}

void http1_loop_handle_closed(struct http1_loop *loop)
{
    if (--loop->handles > 0)
        return;
    buffer_deinit(&loop->head);
    loop->closed(loop->closed_data);
    alloc_free(loop);
}

static void on_closed(uv_handle_t *handle)
{
    http1_loop_handle_closed(handle->data);
}

void http1_loop_close(struct http1_loop *loop, void (*closed)(void *data), void *data)
{
    assert(list_empty(&loop->targets) && loop->idle == 0);
    loop->closed = closed;
    loop->closed_data = data;
    uv_close((uv_handle_t *)&loop->timer, on_closed);
}

unsigned http1_loop_idle(const struct http1_loop *loop)
{
    return loop->idle;
}
