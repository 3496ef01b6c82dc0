/*
 * One timer looks at all who wait, ten times a second: for the end of their patience, for their clients' sake, and for
 * places that come free where nobody here sees it.
 */
#include "flow/patience.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "flow/deliver_frame.h"
#include "flow/siblings.h"

#define LOOK_MS 100

struct patience {
    struct flow *flow;
    struct list waiting;
    uv_timer_t timer;
    struct siblings *siblings;
};

/* --- looking --- */

static void keep_alive(struct exchange *x, uint64_t now)
{
    if (!x->question->request.stream || x->endpoint->operation != CHAT_COMPLETION || x->choked || !x->conn)
        return;
    if (!x->last_write_ms)
        x->last_write_ms = x->admission->waiter.since_ms;
    if (now - x->last_write_ms < x->flow->config->keepalive_ms)
        return;
    METRICS_COUNT(x->flow->metrics, keepalives_total);
    limit_note_wait(x);
    deliver_keepalive(x);
}

/* The queues that have had an offer in this look. */
struct offered {
    struct queue *list[32];
    unsigned count;
};

/* Places come free that nobody here sees: other gateways', and those of another scope that whoever is in turn needs. */
static void offer_once(struct offered *offered, struct queue *queue)
{
    for (unsigned i = 0; i < offered->count; i++)
        if (offered->list[i] == queue)
            return;
    if (offered->count < ARRAY_SIZE(offered->list))
        offered->list[offered->count++] = queue;
    queue_offer(queue);
}

/* Its patience is over: it is told with no place. */
static void give_up(struct admission *admission)
{
    if (admission->x) {
        admission->x->patience_over = true;
        exchange_resume(admission->x);
    } else {
        admission_move_late(admission);
    }
}

static void look(uv_timer_t *timer)
{
    struct patience *patience = timer->data;
    uint64_t now = clock_ms();
    struct offered offered = {0};

    if (list_empty(&patience->waiting))
        uv_timer_stop(timer);
    LIST_EACH(&patience->waiting, node) {
        struct admission *admission = LIST_ENTRY(node, struct admission, waiting);

        if (now >= admission->waiter.until_ms && !admission_is_asking(admission)) {
            give_up(admission);
            continue;
        }
        if (admission->x)
            keep_alive(admission->x, now);
        offer_once(&offered, admission->waiter.queue);
    }
}

/* --- waiting --- */

/* It moved from one queue to another, and has what patience was left. */
static void keep_patience(struct admission *admission, uint64_t now)
{
    admission->waiter.since_ms = admission->since_ms;
    if (now + admission->left_ms < admission->waiter.until_ms)
        admission->waiter.until_ms = now + admission->left_ms;
}

static void stop_waiting(struct admission *admission)
{
    uint64_t now = clock_ms();

    admission->left_ms = admission->waiter.until_ms > now ? admission->waiter.until_ms - now : 0;
    list_remove(&admission->waiting);
}

bool patience_wait(struct admission *admission, struct queue *queue, void (*turn)(void *data), void *data)
{
    struct flow *flow = admission->flow;
    uint64_t now = clock_ms();

    waiter_init(&admission->waiter, &flow->mailbox, turn, data);
    if (queue_join(queue, &admission->waiter, admission->team, admission->weight, 1, now))
        return false;
    if (admission->position) {
        keep_patience(admission, now);
    } else {
        METRICS_COUNT(flow->metrics, queued_total);
        admission->since_ms = admission->waiter.since_ms;
        admission->position = queue_position(&admission->waiter) + 1;
    }
    list_append(&flow->patience->waiting, &admission->waiting);
    if (!uv_is_active((uv_handle_t *)&flow->patience->timer))
        uv_timer_start(&flow->patience->timer, look, LOOK_MS, LOOK_MS);
    return true;
}

void patience_take(struct admission *admission)
{
    if (!admission->waiter.queue)
        return;
    stop_waiting(admission);
    queue_take(&admission->waiter);
}

void patience_leave(struct admission *admission)
{
    if (!admission->waiter.queue)
        return;
    stop_waiting(admission);
    queue_leave(&admission->waiter);
}

void patience_offer(struct patience *patience, const struct config_backend *backend)
{
    struct queue *queue = patience->flow->shared->backend_queues[backend->index];

    if (queue && queue_length(queue))
        queue_offer(queue);
    else
        siblings_offer(patience->siblings, backend->index);
}

struct patience *patience_new(struct flow *flow)
{
    struct patience *patience = ALLOC_NEW(struct patience);

    patience->flow = flow;
    patience->siblings = siblings_new(flow->config, flow->shared->backend_queues);
    list_init(&patience->waiting);
    uv_timer_init(flow->loop, &patience->timer);
    patience->timer.data = patience;
    return patience;
}

void patience_close(struct patience *patience, uv_close_cb closed)
{
    patience->timer.data = patience->flow;
    uv_close((uv_handle_t *)&patience->timer, closed);
}

struct patience *patience_free(struct patience *patience)
{
    if (patience)
        siblings_free(patience->siblings);
    return alloc_free(patience);
}
