/*
 * Counters are each model's, added to without a lock; reading sums them.
 */
#include "memo/memo.h"

#include "memo/memo_private.h"

void memo_count(struct memo_model *model, enum memo_count count)
{
    atomic_fetch_add_explicit(&model->counts[count], 1, memory_order_relaxed);
}

struct memo_counts memo_model_counts(const struct memo_model *model, uint64_t *ret_entries, uint64_t *ret_bytes)
{
    struct memo_counts counts;

#define MEMO_READ(name) counts.name = atomic_load_explicit(&model->counts[MEMO_COUNT_##name], memory_order_relaxed);
    MEMO_COUNTS(MEMO_READ)
#undef MEMO_READ
    if (ret_entries)
        *ret_entries = atomic_load_explicit(&model->entries, memory_order_relaxed);
    if (ret_bytes)
        *ret_bytes = atomic_load_explicit(&model->bytes, memory_order_relaxed);
    return counts;
}

static void add_shard(struct shard *shard, struct memo_stats *stats)
{
    uv_mutex_lock(&shard->lock);
    stats->entries += shelf_count(shard->shelf);
    stats->bytes += shelf_bytes(shard->shelf);
    stats->growing += shard->growing_count;
    stats->growing_bytes += shard->growing_bytes;
    uv_mutex_unlock(&shard->lock);
}

void memo_stats(struct memo *memo, struct memo_stats *ret)
{
    struct memo_stats stats = {.memory = memo->limits.memory};
    struct memo_model *model;

    for (int i = 0; i < SHARDS; i++)
        add_shard(&memo->shards[i], &stats);
    for (; (model = memo_model_at(memo, (uint32_t)stats.models)); stats.models++) {
        struct memo_counts counts = memo_model_counts(model, NULL, NULL);

#define MEMO_ADD(name) stats.counts.name += counts.name;
        MEMO_COUNTS(MEMO_ADD)
#undef MEMO_ADD
    }
    *ret = stats;
}
