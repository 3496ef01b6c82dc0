/*
 * Another backend is to be asked than the one whose place was taken: that place is given back, and one at the other
 * backend is asked for, in Redis where Redis counts. Where there is a queue in front of it the flight waits, as a
 * request would that came there first.
 */
#include "flow/patience.h"

#include "base/alloc.h"

void admission_leave_backend(struct admission *admission)
{
    const struct config_backend *backend = admission->backend;
    struct scope *scope = admission->scopes[SCOPE_OF_BACKEND];

    if (!backend)
        return;
    if (admission->shared_moved)
        shared_undo(admission->shared_moved, admission_now());
    else if (admission->shared)
        shared_leave(admission->shared, scope, admission_now());
    else if (admission->moved)
        reservation_undo(admission->moved, admission_now());
    else
        reservation_leave(&admission->local, scope, admission_now());
    admission_set_backend(admission, NULL);
    patience_offer(admission->flow->patience, backend);
}

/* --- asking --- */

static void on_turn(void *data);

static struct queue *queue_of(const struct admission *admission)
{
    return admission->flow->shared->backend_queues[admission->moving->index];
}

static enum flight_move judge(struct admission *admission, int result, const struct refusal *refusal)
{
    struct queue *queue = queue_of(admission);

    if (result == 0) {
        patience_take(admission);
        admission_set_backend(admission, admission->moving);
        if (!admission->position || admission_is_known(admission))
            return FLIGHT_MAY;
        admission_leave_backend(admission);
        return FLIGHT_MAY_NOT;
    }
    if (!queue || refusal->limit != QUOTA_CONCURRENT) {
        patience_leave(admission);
        return FLIGHT_MAY_NOT;
    }
    if (!admission->waiter.queue)
        return patience_wait(admission, queue, on_turn, admission) ? FLIGHT_WAIT : FLIGHT_MAY_NOT;
    queue_stay(&admission->waiter);
    return FLIGHT_WAIT;
}

/* The last thing that happens here: a flight that was told may be over, and ADMISSION with it. */
static void tell(struct admission *admission, enum flight_move move)
{
    admission->move = move;
    if (admission->flight && move != FLIGHT_WAIT)
        flight_moved(admission->flight, move == FLIGHT_MAY);
}

static void decided(void *data, int result, const struct refusal *refusal)
{
    struct admission *admission = data;

    tell(admission, judge(admission, result, refusal));
}

static void ask(struct admission *admission)
{
    struct flow *flow = admission->flow;
    struct scope *scope = flow->scopes.backends[admission->moving->index];
    struct refusal refusal;
    int r;

    if (admission->shared) {
        shared_take(flow->limits_shared, admission->shared_moved, &scope, 1, &admission->want, admission_now(), decided,
                    admission);
        return;
    }
    r = reservation_take(admission->moved, &scope, 1, &admission->want, admission_now(), &refusal);
    decided(admission, r, &refusal);
}

static void on_turn(void *data)
{
    ask(data);
}

/* Nobody overtakes those who wait already. */
static void begin(struct admission *admission)
{
    struct queue *queue = queue_of(admission);

    admission->move = FLIGHT_WAIT;
    if (!queue || queue_length(queue) == 0)
        ask(admission);
    else if (!patience_wait(admission, queue, on_turn, admission))
        admission->move = FLIGHT_MAY_NOT;
}

enum flight_move admission_move(struct admission *admission, const struct config_backend *backend,
                                struct flight *flight)
{
    struct flow *flow = admission->flow;

    admission_leave_backend(admission);
    if (!flow->scopes.backends[backend->index] || (admission->shared && !flow->limits_shared))
        return FLIGHT_MAY;
    if (admission->shared && !admission->shared_moved)
        admission->shared_moved = ALLOC_NEW(struct shared_take);
    if (!admission->shared && !admission->moved)
        admission->moved = ALLOC_NEW(struct reservation);
    admission->moving = backend;
    admission->flight = NULL;
    begin(admission);
    admission->flight = flight;
    return admission->move;
}

void admission_move_late(struct admission *admission)
{
    patience_leave(admission);
    tell(admission, FLIGHT_MAY_NOT);
}
