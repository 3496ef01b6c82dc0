/*
 * Storms: threads with loops and mailboxes share a few places and one queue. Clients join, try, stay, leave with and
 * without a turn, answer at once or later, and some take a place past the queue. A thread whose clients all wait
 * sleeps, so a wake-up that is lost is a storm that does not end; most storms are short, since each shows only the
 * wake-up that was lost last.
 *
 * Build with -fsanitize=thread to see the most of it.
 */
#include "admit/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MOST_THREADS 4
#define MOST_CLIENTS 40
#define PATIENCE_MS 60000

struct plan {
    unsigned threads, clients, places, cycles, rounds;
    uint32_t length;
};

/* What all threads know: a concurrency limit, and its queue. */
struct square {
    const struct plan *plan;
    struct queue *queue;
    uv_mutex_t lock;
    unsigned taken;
    _Atomic int turns;              /* told of, and not answered: one at most */
    _Atomic unsigned waits, served, left, refused;
};

enum state { IDLE, WAITING, TURN, HOLDING, DONE };

struct client {
    struct waiter waiter;
    struct thread *thread;
    enum state state;
    unsigned cycles;
};

struct thread {
    struct square *square;
    uv_thread_t id;
    uv_loop_t loop;
    uv_idle_t step;                 /* runs while some client has something to do */
    uv_timer_t patience;
    struct mailbox mailbox;
    uint64_t random;
    struct client clients[MOST_CLIENTS];
};

static uint32_t below(struct thread *thread, uint32_t bound)
{
    thread->random = thread->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(thread->random >> 33) % bound;
}

/* No cmocka on other threads. */
static void must(bool good, const char *text)
{
    if (good)
        return;
    fprintf(stderr, "storm: %s\n", text);
    abort();
}

static bool take_place(struct square *square)
{
    bool taken;

    uv_mutex_lock(&square->lock);
    taken = square->taken < square->plan->places;
    square->taken += taken;
    uv_mutex_unlock(&square->lock);
    return taken;
}

static void give_place(struct square *square)
{
    uv_mutex_lock(&square->lock);
    must(square->taken > 0, "a place given back twice");
    square->taken--;
    uv_mutex_unlock(&square->lock);
    queue_offer(square->queue);
}

/* --- clients --- */

/* Between a refusal and the word of it: what others do meanwhile must not be lost. */
static void hesitate(struct thread *thread)
{
    if (below(thread, 8) == 0)
        uv_sleep(1);
}

static void on_step(uv_idle_t *step);

/* The word is said before the deed: the next one's turn may begin in it. */
static void answered(struct square *square)
{
    must(atomic_fetch_sub(&square->turns, 1) == 1, "answers and turns differ");
}

static void leave(struct client *client)
{
    struct square *square = client->thread->square;

    if (client->state == TURN)
        answered(square);
    queue_leave(&client->waiter);
    atomic_fetch_add(&square->left, 1);
    client->state = IDLE;
}

static void answer(struct client *client)
{
    struct square *square = client->thread->square;

    if (below(client->thread, 8) == 0) {
        leave(client);
    } else if (take_place(square)) {
        answered(square);
        queue_take(&client->waiter);
        atomic_fetch_add(&square->served, 1);
        client->state = HOLDING;
    } else {
        hesitate(client->thread);
        client->state = WAITING;
        answered(square);
        queue_stay(&client->waiter);
    }
}

static void on_turn(void *data)
{
    struct client *client = data;
    struct thread *thread = client->thread;

    must(atomic_fetch_add(&thread->square->turns, 1) == 0, "two have the turn");
    must(client->state == WAITING && client->waiter.queue, "a turn for one who does not wait");
    client->state = TURN;
    if (below(thread, 4))
        answer(client);
    uv_idle_start(&thread->step, on_step);
}

static void start(struct client *client)
{
    static const char teams[] = "abcde";
    struct thread *thread = client->thread;
    struct square *square = thread->square;
    uint32_t team = below(thread, 5);

    if (client->cycles == 0) {
        client->state = DONE;
        return;
    }
    client->cycles--;
    if ((below(thread, 8) == 0 || queue_length(square->queue) == 0) && take_place(square)) {
        client->state = HOLDING;
        return;
    }
    hesitate(thread);
    if (queue_join(square->queue, &client->waiter, (struct bytes){teams + team, 1}, team, 1 + below(thread, 2) * 99,
                   0) == QUEUE_E_FULL) {
        atomic_fetch_add(&square->refused, 1);
        return;
    }
    atomic_fetch_add(&square->waits, 1);
    client->state = WAITING;
}

static void walk(struct client *client)
{
    struct thread *thread = client->thread;

    if (client->state == IDLE) {
        start(client);
    } else if (client->state == TURN && below(thread, 3) == 0) {
        answer(client);
    } else if (client->state == HOLDING && below(thread, 3) == 0) {
        client->state = IDLE;
        give_place(thread->square);
    } else if (client->state == WAITING && below(thread, 50) == 0) {
        leave(client);
    } else if (client->state == WAITING && below(thread, 20) == 0) {
        must(queue_position(&client->waiter) < thread->square->plan->length, "a position beyond the queue");
    }
}

/* --- threads --- */

static void end(struct thread *thread)
{
    uv_close((uv_handle_t *)&thread->step, NULL);
    uv_close((uv_handle_t *)&thread->patience, NULL);
    mailbox_close(&thread->mailbox, NULL, NULL);
}

static void on_step(uv_idle_t *step)
{
    struct thread *thread = step->data;
    unsigned done = 0, waiting = 0, clients = thread->square->plan->clients;

    for (unsigned i = 0; i < clients; i++) {
        walk(&thread->clients[i]);
        done += thread->clients[i].state == DONE;
        waiting += thread->clients[i].state == WAITING;
    }
    if (done == clients)
        end(thread);
    else if (done + waiting == clients)
        uv_idle_stop(step);
}

static void out_of_patience(uv_timer_t *timer)
{
    must(false, "a wake-up was lost");
}

static void run_thread(void *data)
{
    struct thread *thread = data;

    uv_run(&thread->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&thread->mailbox);
    must(uv_loop_close(&thread->loop) == 0, "a loop with handles left");
}

static void thread_init(struct thread *thread, struct square *square, uint64_t seed)
{
    *thread = (struct thread){.square = square, .random = seed};
    uv_loop_init(&thread->loop);
    mailbox_init(&thread->mailbox, &thread->loop);
    uv_idle_init(&thread->loop, &thread->step);
    thread->step.data = thread;
    uv_idle_start(&thread->step, on_step);
    uv_timer_init(&thread->loop, &thread->patience);
    uv_timer_start(&thread->patience, out_of_patience, PATIENCE_MS, 0);
    for (unsigned i = 0; i < square->plan->clients; i++) {
        struct client *client = &thread->clients[i];

        client->thread = thread;
        client->cycles = square->plan->cycles;
        waiter_init(&client->waiter, &thread->mailbox, on_turn, client);
    }
}

static void storm(const struct plan *plan, unsigned round)
{
    static struct thread threads[MOST_THREADS];
    struct square square = {.plan = plan, .queue = queue_new(plan->length, 1000)};

    uv_mutex_init(&square.lock);
    for (unsigned i = 0; i < plan->threads; i++)
        thread_init(&threads[i], &square, round * 1000 + i);
    for (unsigned i = 0; i < plan->threads; i++)
        uv_thread_create(&threads[i].id, run_thread, &threads[i]);
    for (unsigned i = 0; i < plan->threads; i++)
        uv_thread_join(&threads[i].id);
    assert_int_equal(square.taken, 0);
    assert_int_equal(square.turns, 0);
    assert_int_equal(queue_length(square.queue), 0);
    assert_int_equal(square.served + square.left, square.waits);
    uv_mutex_destroy(&square.lock);
    queue_free(square.queue);
}

static void every_storm_ends(void **state)
{
    static const struct plan plans[] = {
        {.threads = 2, .clients = 1, .places = 1, .cycles = 20, .rounds = 200, .length = 10},
        {.threads = 4, .clients = 2, .places = 1, .cycles = 10, .rounds = 200, .length = 10},
        {.threads = 4, .clients = 2, .places = 3, .cycles = 10, .rounds = 200, .length = 10},
        {.threads = 3, .clients = 5, .places = 2, .cycles = 20, .rounds = 50, .length = 4},
        {.threads = 4, .clients = MOST_CLIENTS, .places = 7, .cycles = 200, .rounds = 2, .length = 100},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(plans); i++) {
        for (unsigned round = 0; round < plans[i].rounds; round++)
            storm(&plans[i], round);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_storm_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
