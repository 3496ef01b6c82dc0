/*
 * The queues to offer to, in one list for all backends: those of backend b stand from first[b] to first[b + 1].
 *
 * All of them are offered the place, for nobody knows whose first waiter can use it: each tries once, the quickest has
 * it and the others stay where they were.
 */
#include "flow/siblings.h"

#include "base/alloc.h"

struct siblings {
    uint32_t *first;
    struct queue **queues;
};

static bool serves(const struct config_model *model, uint32_t backend)
{
    for (uint32_t i = 0; i < model->backend_count; i++)
        if (model->backends[i] == backend)
            return true;
    return false;
}

static bool are_siblings(const struct config *config, uint32_t one, uint32_t other)
{
    if (one == other)
        return false;
    for (uint32_t i = 0; i < config->model_count; i++)
        if (serves(&config->models[i], one) && serves(&config->models[i], other))
            return true;
    return config->model_count == 0;
}

struct siblings *siblings_new(const struct config *config, struct queue *const *queues)
{
    struct siblings *siblings = ALLOC_NEW(struct siblings);
    uint32_t count = 0;

    siblings->first = alloc_zeroed((config->backend_count + 1) * sizeof(*siblings->first));
    for (uint32_t i = 0; i < config->backend_count; i++) {
        siblings->first[i] = count;
        siblings->queues = alloc_resize(siblings->queues, (count + config->backend_count) * sizeof(struct queue *));
        for (uint32_t j = 0; j < config->backend_count; j++)
            if (queues[j] && are_siblings(config, i, j))
                siblings->queues[count++] = queues[j];
    }
    siblings->first[config->backend_count] = count;
    return siblings;
}

struct siblings *siblings_free(struct siblings *siblings)
{
    if (!siblings)
        return NULL;
    alloc_free(siblings->first);
    alloc_free(siblings->queues);
    return alloc_free(siblings);
}

void siblings_offer(const struct siblings *siblings, uint32_t backend)
{
    for (uint32_t i = siblings->first[backend]; i < siblings->first[backend + 1]; i++)
        queue_offer(siblings->queues[i]);
}
