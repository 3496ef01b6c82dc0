/*
 * A chained table of entries, twice as wide whenever it is full, and the bytes of a shard: those on the shelf and those
 * growing are never more than the limit together, and what grows is at most half of it, so that answers nobody can put
 * off do not push out all that is kept.
 */
#include "memo/shard.h"

#include "base/alloc.h"

#define FIRST_BITS 8
#define MOST_BITS 26
#define GROWING_UNKEPT ((uint64_t)4 << 20)      /* bytes that may grow where nothing is kept */

void shard_init(struct shard *shard, uint64_t bytes)
{
    *shard = (struct shard){
        .bits = FIRST_BITS,
        .limit = bytes,
        .growing_limit = bytes ? bytes / 2 : GROWING_UNKEPT,
        .shelf = shelf_new(bytes),
        .buckets = alloc_zeroed(sizeof(struct entry *) << FIRST_BITS),
    };
    list_init(&shard->growing);
    uv_mutex_init(&shard->lock);
}

void shard_deinit(struct shard *shard)
{
    struct entry *bin = NULL;

    for (size_t i = 0; i < (size_t)1 << shard->bits; i++) {
        while (shard->buckets[i])
            shard_drop(shard->buckets[i], &bin);
    }
    LIST_EACH(&shard->growing, node)
        shard_settle(LIST_ENTRY(node, struct entry, item.link), 0, &bin);
    bin_empty(bin);
    shard->shelf = shelf_free(shard->shelf);
    shard->buckets = alloc_free(shard->buckets);
    uv_mutex_destroy(&shard->lock);
}

static void put_into(struct entry **bin, struct entry *entry)
{
    entry->next = *bin;
    *bin = entry;
}

void bin_empty(struct entry *bin)
{
    while (bin) {
        struct entry *entry = bin;

        bin = entry->next;
        if (entry->before)
            put_into(&bin, entry->before);
        transcript_unref(entry->transcript);
        kept_free(entry->kept);
        alloc_free(entry);
    }
}

/* --- the table --- */

static struct entry **bucket_of(struct shard *shard, uint64_t name)
{
    return &shard->buckets[name >> (64 - shard->bits)];
}

struct entry *shard_find(struct shard *shard, const uint8_t key[DIGEST_SIZE], uint64_t name)
{
    struct entry *entry = *bucket_of(shard, name);

    while (entry && (entry->item.name != name || memcmp(entry->key, key, DIGEST_SIZE) != 0))
        entry = entry->next;
    return entry;
}

static void widen(struct shard *shard)
{
    struct entry **old = shard->buckets;
    size_t count = (size_t)1 << shard->bits;

    shard->bits++;
    shard->buckets = alloc_zeroed(sizeof(*old) << shard->bits);
    for (size_t i = 0; i < count; i++) {
        while (old[i]) {
            struct entry *entry = old[i];

            old[i] = entry->next;
            put_into(bucket_of(shard, entry->item.name), entry);
        }
    }
    alloc_free(old);
}

void shard_add(struct shard *shard, struct entry *entry)
{
    if (shard->count >> shard->bits && shard->bits < MOST_BITS)
        widen(shard);
    put_into(bucket_of(shard, entry->item.name), entry);
    shard->count++;
    list_append(&shard->growing, &entry->item.link);
    shard->growing_count++;
    entry->shard = shard;
    entry->linked = entry->growing = true;
}

static void unlink_entry(struct entry *entry)
{
    struct entry **link = bucket_of(entry->shard, entry->item.name);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    entry->linked = false;
    entry->shard->count--;
}

/* ENTRY, which is on the shelf no longer, is not kept. */
static void forget(struct entry *entry, struct entry **bin)
{
    unlink_entry(entry);
    put_into(bin, entry);
    atomic_fetch_sub_explicit(&entry->model->entries, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&entry->model->bytes, entry->item.size, memory_order_relaxed);
}

void shard_drop(struct entry *entry, struct entry **bin)
{
    if (entry->growing) {
        unlink_entry(entry);
    } else {
        shelf_take(entry->shard->shelf, &entry->item);
        forget(entry, bin);
    }
}

void shard_lay_aside(struct entry *entry)
{
    shelf_take(entry->shard->shelf, &entry->item);
    unlink_entry(entry);
    atomic_fetch_sub_explicit(&entry->model->entries, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&entry->model->bytes, entry->item.size, memory_order_relaxed);
}

void shard_throw_away(struct entry *entry, struct entry **bin)
{
    put_into(bin, entry);
}

/* --- its bytes --- */

static void put_on_shelf(struct entry *entry)
{
    shelf_put(entry->shard->shelf, &entry->item);
    atomic_fetch_add_explicit(&entry->model->entries, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&entry->model->bytes, entry->item.size, memory_order_relaxed);
}

void shard_put_back(struct entry *entry, struct entry **bin)
{
    struct shard *shard = entry->shard;

    if (shard_find(shard, entry->key, entry->item.name) || !shard_make_room(shard, entry->item.size, bin)) {
        put_into(bin, entry);
        return;
    }
    put_into(bucket_of(shard, entry->item.name), entry);
    shard->count++;
    entry->linked = true;
    put_on_shelf(entry);
}

bool shard_make_room(struct shard *shard, uint64_t wanted, struct entry **bin)
{
    struct shelf_item *item;

    if (shard->growing_bytes + wanted > shard->limit)
        return false;
    while ((item = shelf_evict(shard->shelf, shard->growing_bytes + wanted))) {
        struct entry *entry = LIST_ENTRY(item, struct entry, item);

        memo_count(entry->model, MEMO_COUNT_evicted);
        forget(entry, bin);
    }
    return true;
}

bool shard_grow(struct entry *entry, size_t bytes, uint32_t most, struct entry **bin)
{
    struct shard *shard = entry->shard;

    if (bytes > most || entry->held + bytes > most || shard->growing_bytes + bytes > shard->growing_limit ||
        (shard->limit && !shard_make_room(shard, bytes, bin))) {
        /* From here on it holds little, and is not counted. */
        entry->refused = true;
        shard->growing_bytes -= entry->held;
        entry->held = 0;
        return false;
    }
    entry->held += bytes;
    shard->growing_bytes += bytes;
    return true;
}

bool shard_settle(struct entry *entry, uint64_t size, struct entry **bin)
{
    struct shard *shard = entry->shard;

    list_remove(&entry->item.link);
    shard->growing_count--;
    shard->growing_bytes -= entry->held;
    entry->growing = false;
    if (size && size <= UINT32_MAX && entry->linked && shard_make_room(shard, size, bin)) {
        entry->item.size = (uint32_t)size;
        put_on_shelf(entry);
        return true;
    }
    if (entry->linked)
        unlink_entry(entry);
    put_into(bin, entry);
    return false;
}
