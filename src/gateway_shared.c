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
#include "record/recent.h"
#include "record/series.h"
#include "record/top.h"

/* Wrong keys that an address may show at once, and how soon one is forgiven. */
#define GUESSES 20
#define FORGIVEN_MS 3000

static struct queue *queue_for(const struct config_queue *queue)
{
    return queue->length ? queue_new(queue->length, queue->longest_ms) : NULL;
}

static void make_sets(struct flow_shared *shared, const struct config *config)
{
    struct bytes *names = alloc_zeroed((config->backend_count + 1) * sizeof(*names));

    for (uint32_t i = 0; i < config->backend_count; i++)
        names[i] = config->backends[i].name;
    shared->series = alloc_zeroed(shared->set_count * sizeof(struct series *));
    shared->tops = alloc_zeroed(shared->set_count * sizeof(struct top *));
    for (unsigned i = 0; i < shared->set_count; i++) {
        shared->sets[i] = ALLOC_NEW(struct metrics);
        shared->series[i] = series_new(names, config->backend_count);
        shared->tops[i] = top_new();
    }
    shared->recent = recent_new();
    alloc_free(names);
}

static void free_sets(struct flow_shared *shared)
{
    for (unsigned i = 0; i < shared->set_count; i++) {
        alloc_free(shared->sets[i]);
        series_free(shared->series[i]);
        top_free(shared->tops[i]);
    }
    recent_free(shared->recent);
    alloc_free(shared->sets);
    alloc_free(shared->series);
    alloc_free(shared->tops);
}

void gateway_shared_init(struct flow_shared *shared, const struct config *config, uint32_t most_connections)
{
    *shared = (struct flow_shared){.config = config, .most_connections = most_connections};
    shared->started = clock_wall_s();
    shared->set_count = config->workers + 1;
    shared->sets = alloc_zeroed(shared->set_count * sizeof(struct metrics *));
    make_sets(shared, config);
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
    free_sets(shared);
}
