/*
 * Replays at the recorded pace: an event is due as long after the replay's begin as it came after the answer's. And
 * pages that tell more every so often. One timer for all who wait.
 */
#include "flow/exchange.h"

#include "base/alloc.h"
#include "base/clock.h"

struct paces {
    struct flow *flow;
    struct list waiting;
    uv_timer_t timer;
    uint64_t next_ms;           /* what the timer is set to; UINT64_MAX: it is not */
};

static void on_time(uv_timer_t *timer);

static void arm(struct paces *paces, uint64_t due_ms)
{
    uint64_t now = clock_ms();

    if (due_ms >= paces->next_ms)
        return;
    paces->next_ms = due_ms;
    uv_timer_start(&paces->timer, on_time, due_ms > now ? due_ms - now : 0, 0);
}

/* Those that are due go on; the timer is set to the next of the others. */
static void on_time(uv_timer_t *timer)
{
    struct paces *paces = timer->data;
    uint64_t now = clock_ms(), next = UINT64_MAX;

    paces->next_ms = UINT64_MAX;
    LIST_EACH(&paces->waiting, node) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, pacing);

        if (x->pace_due_ms > now) {
            next = x->pace_due_ms < next ? x->pace_due_ms : next;
            continue;
        }
        list_remove(&x->pacing);
        exchange_resume(x);
    }
    arm(paces, next);
}

struct paces *paces_new(struct flow *flow)
{
    struct paces *paces = ALLOC_NEW(struct paces);

    paces->flow = flow;
    list_init(&paces->waiting);
    paces->next_ms = UINT64_MAX;
    uv_timer_init(flow->loop, &paces->timer);
    paces->timer.data = paces;
    return paces;
}

static bool replays(struct exchange *x)
{
    if (!x->memory.policy || x->memory.policy->replay != REPLAY_PACED)
        return false;
    return x->memory.outcome == MEMORY_HIT ||
           (x->memory.outcome != MEMORY_BYPASS && transcript_facts(x->transcript).recalled);
}

void paces_set(struct paces *paces, struct exchange *x, uint64_t due_ms)
{
    x->pace_due_ms = due_ms;
    list_remove(&x->pacing);
    list_append(&paces->waiting, &x->pacing);
    arm(paces, due_ms);
}

bool paces_wait(struct paces *paces, struct exchange *x)
{
    uint64_t now;
    uint32_t at_ms;

    if (!replays(x))
        return false;
    list_remove(&x->pacing);
    if (reader_peek(&x->reader, &at_ms) != 0)
        return false;
    now = clock_ms();
    if (!x->pace_from_ms)
        x->pace_from_ms = now;
    x->pace_due_ms = x->pace_from_ms + at_ms;
    if (x->pace_due_ms <= now)
        return false;
    paces_set(paces, x, x->pace_due_ms);
    return true;
}

void paces_close(struct paces *paces, uv_close_cb closed)
{
    paces->timer.data = paces->flow;
    uv_close((uv_handle_t *)&paces->timer, closed);
}

struct paces *paces_free(struct paces *paces)
{
    return alloc_free(paces);
}
