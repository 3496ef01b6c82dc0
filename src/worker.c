/*
 * A worker is told things by flags and a doorbell (uv_async, which coalesces), looks at them in its own thread, and
 * ends its loop by closing every handle on it.
 */
#include "worker.h"

#include "base/alloc.h"
#include "entry/listener.h"

#include <stdlib.h>
#include <unistd.h>

/* How often a draining worker looks whether it is done. */
#define DRAIN_LOOK_MS 10

struct worker {
    uv_loop_t loop;
    uv_async_t doorbell;
    uv_timer_t look;            /* while draining */
    uv_thread_t thread;
    bool threaded, closing;
    _Atomic bool drain, abort, cut;
    bool draining, aborted, is_cut;
    struct flow *flow;
    struct listener **listeners;
    unsigned count;
    void (*ended)(void *data);
    void *data;
};

static void flow_is_closed(void *data)
{
    (void)data; /* the loop runs out of handles by itself */
}

static void close_when_idle(struct worker *worker)
{
    if (!worker->draining || worker->closing || !flow_idle(worker->flow))
        return;
    worker->closing = true;
    uv_close((uv_handle_t *)&worker->doorbell, NULL);
    uv_close((uv_handle_t *)&worker->look, NULL);
    flow_close(worker->flow, flow_is_closed, NULL);
}

static void on_look(uv_timer_t *timer)
{
    close_when_idle(timer->data);
}

static void on_doorbell(uv_async_t *doorbell)
{
    struct worker *worker = doorbell->data;

    if (atomic_load(&worker->drain) && !worker->draining) {
        worker->draining = true;
        for (unsigned i = 0; i < worker->count; i++)
            listener_close(worker->listeners[i]);
        worker->count = 0;
        flow_drain(worker->flow);
        uv_timer_start(&worker->look, on_look, DRAIN_LOOK_MS, DRAIN_LOOK_MS);
    }
    if (atomic_load(&worker->abort) && !worker->aborted) {
        worker->aborted = true;
        flow_abort(worker->flow);
    }
    if (atomic_load(&worker->cut) && !worker->is_cut) {
        worker->is_cut = true;
        flow_cut(worker->flow);
    }
    close_when_idle(worker);
}

/* Before it ever ran: what was opened so far goes. */
static void unmake(struct worker *worker)
{
    for (unsigned i = 0; i < worker->count; i++)
        listener_close(worker->listeners[i]);
    worker->count = 0;
    flow_close(worker->flow, flow_is_closed, NULL);
    uv_close((uv_handle_t *)&worker->doorbell, NULL);
    uv_close((uv_handle_t *)&worker->look, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    worker_free(worker);
}

int worker_new(struct flow_shared *shared, unsigned index, bool admin, const struct config_address *addresses,
               unsigned count, const struct worker *first, void (*ended)(void *data), void *data, struct worker **ret,
               unsigned *ret_bad)
{
    struct worker *worker = ALLOC_NEW(struct worker);
    struct listener_gate gate = {.admit = flow_admit};

    uv_loop_init(&worker->loop);
    uv_async_init(&worker->loop, &worker->doorbell, on_doorbell);
    uv_timer_init(&worker->loop, &worker->look);
    worker->doorbell.data = worker->look.data = worker;
    worker->ended = ended;
    worker->data = data;
    worker->flow = gate.data = flow_new(&worker->loop, shared, index, admin);
    worker->listeners = alloc_zeroed(count * sizeof(struct listener *));
    for (unsigned i = 0; i < count; i++) {
        int shared_with = first ? listener_descriptor(first->listeners[i]) : -1;
        int r = listener_open(flow_conns(worker->flow), &addresses[i], shared_with, &gate, &worker->listeners[i]);

        if (r < 0) {
            *ret_bad = i;
            unmake(worker);
            return r;
        }
        worker->count++;
    }
    *ret = worker;
    return 0;
}

uv_loop_t *worker_loop(struct worker *worker)
{
    return &worker->loop;
}

const char *worker_listens(const struct worker *worker, unsigned at)
{
    return listener_name(worker->listeners[at]);
}

uint16_t worker_port(const struct worker *worker, unsigned at)
{
    return listener_port(worker->listeners[at]);
}

void worker_run(struct worker *worker)
{
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    if (worker->ended)
        worker->ended(worker->data);
}

static void run_thread(void *data)
{
    worker_run(data);
}

int worker_start(struct worker *worker)
{
    int r = uv_thread_create(&worker->thread, run_thread, worker);

    worker->threaded = r == 0;
    return r;
}

struct worker *worker_free(struct worker *worker)
{
    if (!worker)
        return NULL;
    if (worker->threaded)
        uv_thread_join(&worker->thread);
    flow_free(worker->flow);
    uv_loop_close(&worker->loop);
    alloc_free(worker->listeners);
    return alloc_free(worker);
}

void worker_drain(struct worker *worker)
{
    atomic_store(&worker->drain, true);
    uv_async_send(&worker->doorbell);
}

void worker_abort(struct worker *worker)
{
    atomic_store(&worker->abort, true);
    uv_async_send(&worker->doorbell);
}

void worker_cut(struct worker *worker)
{
    atomic_store(&worker->cut, true);
    uv_async_send(&worker->doorbell);
}
