/*
 * One timer for all connections of a loop. The lists it looks at are in order of time, so a look is a few steps, and
 * nothing is set or stopped per request.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

#include <assert.h>

static void on_timer(uv_timer_t *timer)
{
    struct http1_loop *loop = timer->data;
    uint64_t next = UINT64_MAX;

    loop->wakes_at = UINT64_MAX;
    LIST_EACH(&loop->targets, node) {
        uint64_t at = http1_target_sweep(LIST_ENTRY(node, struct http1_target, node), uv_now(loop->uv));

        if (at < next)
            next = at;
    }
    if (next != UINT64_MAX)
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

struct http1_loop *http1_loop_new(uv_loop_t *uv, unsigned idle_connections)
{
    struct http1_loop *loop = ALLOC_NEW(struct http1_loop);

    loop->uv = uv;
    loop->idle_limit = idle_connections;
    loop->wakes_at = UINT64_MAX;
    list_init(&loop->targets);
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
