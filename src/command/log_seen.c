/*
 * Two tables: when the newer one is full it becomes the older one. Two things of one hash are taken for the same: of a
 * thousand million lines that is likely once in ten thousand logs.
 */
#include "command/log_seen.h"

#include "base/alloc.h"

#define SLOTS (2 * LOG_SEEN_KEPT)

void log_seen_deinit(struct log_seen *seen)
{
    alloc_free(seen->now);
    alloc_free(seen->before);
    *seen = (struct log_seen){0};
}

uint64_t log_seen_hash(uint64_t hash, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211u;
    return (hash ^ 0xff) * 1099511628211u; /* "a" and "bc" are not "ab" and "c" */
}

/* Where HASH stands, or belongs. */
static uint64_t *find(uint64_t *table, uint64_t hash)
{
    size_t at = (hash ^ hash >> 32) % SLOTS;

    while (table[at] && table[at] != hash)
        at = (at + 1) % SLOTS;
    return &table[at];
}

bool log_seen_add(struct log_seen *seen, uint64_t hash)
{
    uint64_t *slot;

    hash = hash ? hash : 1;
    if (seen->count == LOG_SEEN_KEPT) {
        alloc_free(seen->before);
        seen->before = seen->now;
        seen->now = NULL;
        seen->count = 0;
    }
    if (!seen->now)
        seen->now = alloc_zeroed(SLOTS * sizeof(*seen->now));
    slot = find(seen->now, hash);
    if (*slot == hash)
        return true;
    *slot = hash;
    seen->count++;
    return seen->before && *find(seen->before, hash) == hash;
}
