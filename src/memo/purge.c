/*
 * Dropping what is remembered: the epoch is moved first, so that what is being made cannot stay; then whatever is of
 * an earlier one is looked for in all shards.
 */
#include "memo/memo.h"

#include "memo/memo_private.h"

static bool is_void(const struct entry *entry, const struct memo_model *model)
{
    return (!model || entry->model == model) && entry->epoch != model_epoch(entry->model);
}

static uint64_t drop_void(struct shard *shard, const struct memo_model *model, struct entry **bin)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < (size_t)1 << shard->bits; i++) {
        for (struct entry *entry = shard->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            if (!is_void(entry, model))
                continue;
            memo_count(entry->model, MEMO_COUNT_purged);
            shard_drop(entry, bin);
            dropped++;
        }
    }
    return dropped;
}

uint64_t memo_purge_model(struct memo *memo, struct memo_model *model)
{
    struct memo_model *each;
    uint64_t dropped = 0;

    for (uint32_t i = 0; (each = memo_model_at(memo, i)); i++) {
        if (!model || each == model)
            model_move_epoch(each);
    }
    for (int i = 0; i < SHARDS; i++) {
        struct entry *bin = NULL;

        uv_mutex_lock(&memo->shards[i].lock);
        dropped += drop_void(&memo->shards[i], model, &bin);
        uv_mutex_unlock(&memo->shards[i].lock);
        bin_empty(bin);
    }
    return dropped;
}

bool memo_purge_key(struct memo *memo, const uint8_t key[DIGEST_SIZE])
{
    struct shard *shard = memo_shard(memo, key);
    struct entry *entry, *bin = NULL;

    atomic_fetch_add_explicit(&shard->purges, 1, memory_order_acq_rel);
    uv_mutex_lock(&shard->lock);
    entry = shard_find(shard, key, memo_name(memo, key));
    if (entry) {
        memo_count(entry->model, MEMO_COUNT_purged);
        shard_drop(entry, &bin);
    }
    uv_mutex_unlock(&shard->lock);
    bin_empty(bin);
    return entry != NULL;
}
