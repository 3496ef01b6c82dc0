/*
 * Counters one set per worker and one for the administration; the memory; the books of the limits and the queues in
 * front of them.
 */
#include "gateway_shared.h"

#include "admit/guard.h"
#include "admit/keyring.h"
#include "admit/queue.h"
#include "admit/scope.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "memo/memo.h"

/* Wrong keys that an address may show at once, and how soon one is forgiven. */
#define GUESSES 20
#define FORGIVEN_MS 3000

static struct queue *queue_for(const struct config_queue *queue)
{
    return queue->length ? queue_new(queue->length, queue->longest_ms) : NULL;
}

void gateway_shared_init(struct flow_shared *shared, const struct config *config, uint32_t most_connections)
{
    *shared = (struct flow_shared){.config = config, .most_connections = most_connections};
    shared->started = clock_wall_s();
    shared->set_count = config->workers + 1;
    shared->sets = alloc_zeroed(shared->set_count * sizeof(struct metrics *));
    for (unsigned i = 0; i < shared->set_count; i++)
        shared->sets[i] = ALLOC_NEW(struct metrics);
    shared->memo = memo_new(&(struct memo_limits){config->cache.memory, config->cache.entry_bytes});
    shared->admit = admit_new();
    shared->shares = admit_new();
    shared->guard = guard_new(GUESSES, FORGIVEN_MS);
    uv_mutex_init(&shared->keyring_lock);
    shared->model_queues = alloc_zeroed((config->model_count + 1) * sizeof(struct queue *));
    shared->backend_queues = alloc_zeroed((config->backend_count + 1) * sizeof(struct queue *));
    for (uint32_t i = 0; i < config->model_count; i++)
        shared->model_queues[i] = queue_for(&config->models[i].queue);
    for (uint32_t i = 0; i < config->backend_count; i++)
        shared->backend_queues[i] = queue_for(&config->backends[i].queue);
}

void gateway_shared_deinit(struct flow_shared *shared)
{
    for (uint32_t i = 0; i < shared->config->model_count; i++)
        queue_free(shared->model_queues[i]);
    for (uint32_t i = 0; i < shared->config->backend_count; i++)
        queue_free(shared->backend_queues[i]);
    alloc_free(shared->model_queues);
    alloc_free(shared->backend_queues);
    uv_mutex_destroy(&shared->keyring_lock);
    guard_free(shared->guard);
    admit_free(shared->shares);
    admit_free(shared->admit);
    memo_free(shared->memo);
    for (unsigned i = 0; i < shared->set_count; i++)
        alloc_free(shared->sets[i]);
    alloc_free(shared->sets);
}
