/*
 * The names of those who left: the last so many of them, in the order they went. Each call takes constant time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ghost_place {
    uint64_t name;
    uint32_t next;          /* place in the same bucket, plus one; 0: the last */
    bool here;
};

struct ghost {
    struct ghost_place *ring;
    uint32_t *buckets;      /* the newest place of each, plus one; 0: empty */
    unsigned bits;          /* the ring and the buckets are 2^bits each */
    uint64_t oldest, newest;    /* of all who ever came: those remembered */
};

void ghost_init(struct ghost *ghost);
void ghost_deinit(struct ghost *ghost);

/* NAME left; only the last BOUND who left are remembered. Names are hashes whose upper bits differ well. */
void ghost_add(struct ghost *ghost, uint64_t name, uint64_t bound);
/* NAME was remembered; it is not any more. */
bool ghost_take(struct ghost *ghost, uint64_t name);

static inline uint64_t ghost_count(const struct ghost *ghost)
{
    return ghost->newest - ghost->oldest;
}
