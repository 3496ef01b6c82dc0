/*
 * Where lines should not be lost (log.when_full: block), a request waits at the door while half of the log's buffer is
 * used, or a sink is gone for good, and is refused when that takes too long. Who was let in has a line in any case,
 * also beyond the buffer: so what waits is bounded by how many are inside. Who was not (refused here or before, gone
 * while it waited) has one while there is room.
 */
#include "flow/timing.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/journal.h"

#define LOOK_MS 20

struct log_room {
    struct flow *flow;
    struct list waiting;
    uv_timer_t timer;
};

static void look(uv_timer_t *timer)
{
    struct log_room *room = timer->data;

    if (list_empty(&room->waiting))
        uv_timer_stop(timer);
    LIST_EACH(&room->waiting, node)
        exchange_resume(LIST_ENTRY(node, struct exchange, rooming));
}

struct log_room *log_room_new(struct flow *flow)
{
    struct log_room *room = ALLOC_NEW(struct log_room);

    room->flow = flow;
    list_init(&room->waiting);
    uv_timer_init(flow->loop, &room->timer);
    room->timer.data = room;
    return room;
}

void log_room_close(struct log_room *room, uv_close_cb closed)
{
    room->timer.data = room->flow;
    uv_close((uv_handle_t *)&room->timer, closed);
}

struct log_room *log_room_free(struct log_room *room)
{
    return alloc_free(room);
}

/* Health is told in any case, and what is refused at the HTTP level is not held open. */
static bool needs_room(const struct exchange *x)
{
    return !x->flow->admin && !x->body_failed &&
           !(x->endpoint && (x->endpoint->kind == ENDPOINT_HEALTH || x->endpoint->kind == ENDPOINT_READY));
}

/* So long it was in a queue, though not for its limits. */
static void stop_waiting(struct exchange *x)
{
    if (list_empty(&x->rooming))
        return;
    list_remove(&x->rooming);
    timing_spend(x, PHASE_QUEUE, clock_us());
}

enum verdict log_room_step(struct exchange *x)
{
    struct log_room *room = x->flow->log_room;
    const struct config_log *log = &x->flow->config->log;

    if (log->when_full != WHEN_FULL_BLOCK || !needs_room(x) || !journal_is_crowded(x->flow->shared->journal)) {
        x->let_in = needs_room(x);
        stop_waiting(x);
        return STEP_NEXT;
    }
    if (clock_us() - x->began_us >= (uint64_t)log->block_ms * 1000) {
        stop_waiting(x);
        return exchange_refuse_text(x, FAIL_OVERLOADED,
                                    "The gateway's request log has no room, and no request may go unrecorded here. "
                                    "Please try again later.");
    }
    if (list_empty(&x->rooming))
        list_append(&room->waiting, &x->rooming);
    if (!uv_is_active((uv_handle_t *)&room->timer))
        uv_timer_start(&room->timer, look, LOOK_MS, LOOK_MS);
    return STEP_WAIT;
}
