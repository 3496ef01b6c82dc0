/*
 * An entry's life:
 *
 *   claim: nothing good is there         -> it is made, and grows; others join
 *   its transcript wants to hold more    -> room is made on the shelf, or it is refused
 *   its transcript ended                 -> on the shelf, if it is whole and still in the table; else freed
 *   claim: it is void, expired, ...      -> out of the table, and another one in its place
 *   evicted, purged                      -> out of the table
 *
 * The shard's lock is held for looking, adding and dropping. What is dropped is freed, and whoever waits is told,
 * after it was given back.
 */
#include "memo/memo.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "memo/memo_private.h"

struct memo *memo_new(const struct memo_limits *limits)
{
    struct memo *memo = ALLOC_NEW(struct memo);

    memo->limits = *limits;
    memo->multiplier = random_u64() | 1;
    models_init(&memo->models, random_u64());
    kept_list_init(&memo->kept);
    for (int i = 0; i < SHARDS; i++)
        shard_init(&memo->shards[i], limits->memory / SHARDS);
    return memo;
}

struct memo *memo_free(struct memo *memo)
{
    if (!memo)
        return NULL;
    for (int i = 0; i < SHARDS; i++)
        shard_deinit(&memo->shards[i]);
    kept_list_deinit(&memo->kept);
    models_deinit(&memo->models);
    return alloc_free(memo);
}

/* --- what grows --- */

static bool on_grow(void *data, size_t bytes)
{
    struct entry *entry = data, *bin = NULL;
    struct shard *shard = entry->shard;
    bool good;

    uv_mutex_lock(&shard->lock);
    good = shard_grow(entry, bytes, entry->memo->limits.entry, &bin);
    uv_mutex_unlock(&shard->lock);
    bin_empty(bin);
    if (!good)
        memo_count(entry->model, MEMO_COUNT_too_large);
    return good;
}

/* The clock may have begun after an answer was made: times wrap, and only their differences mean something. */
static bool is_past(uint64_t time, uint64_t now)
{
    return (int64_t)(now - time) >= 0;
}

/* Here or on another shelf. An answer that changed what its source says is the first one of the epoch it began:
 * *EPOCH. */
static bool may_stay(struct entry *entry, enum transcript_status status, const struct transcript_facts *facts,
                     uint64_t *epoch)
{
    if (status != TRANSCRIPT_FINISHED || !facts->whole)
        return false;
    if (model_hear(&entry->memo->models, entry->model, facts, epoch) == WORD_OTHER)
        return false;
    return !entry->refused && *epoch == model_epoch(entry->model) && !is_past(entry->expires_ms, clock_ms());
}

static bool is_void(const struct entry *entry, uint64_t now)
{
    return entry->epoch != model_epoch(entry->model) || is_past(entry->expires_ms, now);
}

static void on_ended(void *data, struct transcript *transcript, enum transcript_status status)
{
    struct entry *entry = data, *bin = NULL, *before;
    struct memo_model *model = entry->model;
    struct memo *memo = entry->memo;
    struct kept *kept = entry->kept;
    struct transcript_facts facts = transcript_facts(transcript);
    struct shard *shard = entry->shard;
    uint64_t size = 0, epoch = entry->epoch;
    struct memo_ticket ticket;
    bool good, stays, linked;

    entry->made_ms = facts.made_ms ? facts.made_ms : clock_ms();
    entry->expires_ms = entry->made_ms + entry->ttl_ms;
    good = may_stay(entry, status, &facts, &epoch);
    if (good && shard->limit)
        size = transcript_size(transcript) + sizeof(*entry);
    entry->kept = NULL;

    uv_mutex_lock(&shard->lock);
    entry->epoch = epoch;
    good = good && entry->linked;
    ticket = memo_ticket(memo, model, entry->key);
    ticket.epoch = epoch;
    before = entry->before;
    entry->before = NULL;
    linked = entry->linked;
    stays = shard_settle(entry, size, &bin);
    if (before && linked && !good && !is_void(before, clock_ms()))
        shard_put_back(before, &bin);
    else if (before)
        shard_throw_away(before, &bin);
    uv_mutex_unlock(&shard->lock);
    bin_empty(bin);
    if (stays)
        memo_count(model, MEMO_COUNT_stored);
    if (good && kept && !facts.recalled)
        kept_send(kept, memo, transcript, ticket);
    else
        kept_free(kept);
}

struct memo_ticket memo_ticket(struct memo *memo, const struct memo_model *model, const uint8_t key[DIGEST_SIZE])
{
    return (struct memo_ticket){
        .epoch = model_epoch(model),
        .purges = atomic_load_explicit(&memo_shard(memo, key)->purges, memory_order_acquire),
    };
}

bool memo_ticket_holds(struct memo *memo, const struct memo_model *model, const uint8_t key[DIGEST_SIZE],
                       struct memo_ticket ticket)
{
    struct memo_ticket now = memo_ticket(memo, model, key);

    return now.epoch == ticket.epoch && now.purges == ticket.purges;
}

/* --- claims --- */

/* Void or expired: to be dropped, and counted. */
static bool is_over(const struct entry *entry, uint64_t now)
{
    if (entry->epoch != model_epoch(entry->model)) {
        memo_count(entry->model, MEMO_COUNT_voided);
        return true;
    }
    if (!entry->growing && is_past(entry->expires_ms, now)) {
        memo_count(entry->model, MEMO_COUNT_expired);
        return true;
    }
    return false;
}

static bool is_good_enough(const struct memo_claim *claim, const struct entry *entry, uint64_t now)
{
    uint32_t most_ms = claim->ttl_ms < claim->max_age_ms ? claim->ttl_ms : claim->max_age_ms;

    return !claim->fresh && (entry->growing || !is_past(entry->made_ms + most_ms + 1, now));
}

/* ENTRY is to be replaced. A finished one is good until the new one is: it is laid aside, in *BEFORE. */
static void replace(struct entry *entry, struct entry **before, struct entry **bin)
{
    if (entry->growing) {
        *before = entry->before;
        entry->before = NULL;
        shard_drop(entry, bin);
    } else {
        *before = entry;
        shard_lay_aside(entry);
    }
}

/* MEMO_HIT, MEMO_JOIN, or MEMO_NONE: then what was there is out of the table, unless it is good and CLAIM will not
 * lead. */
static enum memo_verdict look(const struct memo_claim *claim, struct entry *entry, struct reader *reader,
                              void (*wake)(void *data), void *wake_data, struct entry **before, struct entry **bin)
{
    uint64_t now = clock_ms();

    if (is_over(entry, now)) {
        shard_drop(entry, bin);
        return MEMO_NONE;
    }
    if (!is_good_enough(claim, entry, now)) {
        if (!claim->only)
            replace(entry, before, bin);
        return MEMO_NONE;
    }
    if (!reader_init(reader, entry->transcript, claim->home, wake, wake_data)) {
        shard_drop(entry, bin);
        return MEMO_NONE;
    }
    if (entry->growing)
        return MEMO_JOIN;
    shelf_hit(&entry->item);
    return MEMO_HIT;
}

/* A new entry in its shard; it owns a reference to its transcript. */
static struct transcript *lead(struct memo *memo, const struct memo_claim *claim, uint64_t name, struct entry *before)
{
    struct entry *entry = ALLOC_NEW(struct entry);
    struct transcript_keeper keeper = {.grow = on_grow, .ended = on_ended, .data = entry};

    entry->item.name = name;
    entry->memo = memo;
    entry->model = claim->model;
    entry->transcript = transcript_new_shared(claim->home, &keeper, claim->high_water, claim->low_water);
    memcpy(entry->key, claim->key, DIGEST_SIZE);
    entry->epoch = model_epoch(claim->model);
    entry->ttl_ms = claim->ttl_ms;
    entry->kept = kept_new(&memo->kept, claim);
    entry->before = before;
    shard_add(memo_shard(memo, claim->key), entry);
    return entry->transcript;
}

enum memo_verdict memo_claim(struct memo *memo, const struct memo_claim *claim, struct reader *reader,
                             void (*wake)(void *data), void *wake_data, struct transcript **ret)
{
    static const enum memo_count counts[] = {
        [MEMO_HIT] = MEMO_COUNT_hits,
        [MEMO_JOIN] = MEMO_COUNT_joins,
        [MEMO_LEAD] = MEMO_COUNT_misses,
    };
    struct shard *shard = memo_shard(memo, claim->key);
    uint64_t name = memo_name(memo, claim->key);
    enum memo_verdict verdict = MEMO_NONE;
    struct entry *entry, *before = NULL, *bin = NULL;

    uv_mutex_lock(&shard->lock);
    entry = shard_find(shard, claim->key, name);
    if (entry)
        verdict = look(claim, entry, reader, wake, wake_data, &before, &bin);
    if (verdict == MEMO_NONE && !claim->only) {
        reader_init(reader, lead(memo, claim, name, before), claim->home, wake, wake_data);
        verdict = MEMO_LEAD;
    }
    uv_mutex_unlock(&shard->lock);
    bin_empty(bin);
    if (verdict == MEMO_NONE)
        return verdict;
    memo_count(claim->model, counts[verdict]);
    *ret = transcript_ref(reader->transcript);
    return verdict;
}

enum memo_verdict memo_look(struct memo *memo, const struct memo_claim *claim)
{
    struct shard *shard = memo_shard(memo, claim->key);
    enum memo_verdict verdict = MEMO_NONE;
    uint64_t now = clock_ms();
    struct entry *entry;

    uv_mutex_lock(&shard->lock);
    entry = shard_find(shard, claim->key, memo_name(memo, claim->key));
    if (entry && entry->epoch == model_epoch(entry->model) && is_good_enough(claim, entry, now) &&
        (entry->growing || !is_past(entry->expires_ms, now)))
        verdict = entry->growing ? MEMO_JOIN : MEMO_HIT;
    uv_mutex_unlock(&shard->lock);
    return verdict;
}
