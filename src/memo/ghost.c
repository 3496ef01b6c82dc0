/*
 * A ring of names, and an index of it: buckets that chain places of the ring. A name that is taken keeps its place in
 * the ring until the ring comes round to it.
 */
#include "memo/ghost.h"

#include "base/alloc.h"

#define FIRST_BITS 6
#define MOST_BITS 24        /* 16 million names, 400 MB */

static void make_room(struct ghost *ghost, unsigned bits)
{
    ghost->bits = bits;
    ghost->ring = alloc_zeroed(sizeof(*ghost->ring) << bits);
    ghost->buckets = alloc_zeroed(sizeof(*ghost->buckets) << bits);
}

void ghost_init(struct ghost *ghost)
{
    *ghost = (struct ghost){0};
    make_room(ghost, FIRST_BITS);
}

void ghost_deinit(struct ghost *ghost)
{
    ghost->ring = alloc_free(ghost->ring);
    ghost->buckets = alloc_free(ghost->buckets);
}

static uint32_t *bucket_of(struct ghost *ghost, uint64_t name)
{
    return &ghost->buckets[name >> (64 - ghost->bits)];
}

static struct ghost_place *place_at(struct ghost *ghost, uint64_t turn)
{
    return &ghost->ring[turn & ((1u << ghost->bits) - 1)];
}

static void insert(struct ghost *ghost, uint64_t name, bool here)
{
    struct ghost_place *place = place_at(ghost, ghost->newest++);
    uint32_t *bucket = bucket_of(ghost, name);

    *place = (struct ghost_place){.name = name, .here = here};
    if (!here)
        return;
    place->next = *bucket;
    *bucket = (uint32_t)(place - ghost->ring) + 1;
}

static void unchain(struct ghost *ghost, const struct ghost_place *place)
{
    uint32_t number = (uint32_t)(place - ghost->ring) + 1;
    uint32_t *link = bucket_of(ghost, place->name);

    while (*link != number)
        link = &ghost->ring[*link - 1].next;
    *link = place->next;
}

static void drop_oldest(struct ghost *ghost)
{
    struct ghost_place *place = place_at(ghost, ghost->oldest++);

    if (place->here)
        unchain(ghost, place);
    place->here = false;
}

static void grow(struct ghost *ghost)
{
    struct ghost old = *ghost;

    make_room(ghost, old.bits + 1);
    ghost->oldest = ghost->newest = 0;
    for (uint64_t turn = old.oldest; turn < old.newest; turn++) {
        const struct ghost_place *place = place_at(&old, turn);

        insert(ghost, place->name, place->here);
    }
    ghost_deinit(&old);
}

void ghost_add(struct ghost *ghost, uint64_t name, uint64_t bound)
{
    if (ghost_count(ghost) == (uint64_t)1 << ghost->bits && ghost_count(ghost) < bound && ghost->bits < MOST_BITS)
        grow(ghost);
    while (ghost_count(ghost) && (ghost_count(ghost) >= bound || ghost_count(ghost) == (uint64_t)1 << ghost->bits))
        drop_oldest(ghost);
    if (bound)
        insert(ghost, name, true);
}

bool ghost_take(struct ghost *ghost, uint64_t name)
{
    for (uint32_t number = *bucket_of(ghost, name); number; number = ghost->ring[number - 1].next) {
        struct ghost_place *place = &ghost->ring[number - 1];

        if (place->name != name)
            continue;
        unchain(ghost, place);
        place->here = false;
        return true;
    }
    return false;
}
