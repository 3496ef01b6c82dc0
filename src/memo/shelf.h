/*
 * Which answers stay when there is no room for all: S3-FIFO (Yang et al., "FIFO queues are all you need for cache
 * eviction", SOSP 2023), by bytes.
 *
 * Three queues: newcomers wait in a small one (a tenth of the bytes); those asked for again while there go to the main
 * one, the others leave and only their names stay, in the ghost queue; a name that comes back while it is a ghost goes
 * to the main one at once. A scan of answers asked for once passes through the small queue and disturbs nothing. A hit
 * writes one counter and moves nothing.
 *
 * No locks: the owner has one around it.
 */
#pragma once

#include "base/list.h"

#include <stdint.h>

struct shelf;

/* Part of what lies on the shelf. */
struct shelf_item {
    struct list link;
    uint64_t name;          /* a hash of its key */
    uint32_t size;
    uint8_t hits;           /* asked for since it was last looked at, at most 3 */
    uint8_t queue;          /* the shelf's own; 0: on none */
};

struct shelf *shelf_new(uint64_t bytes);
struct shelf *shelf_free(struct shelf *shelf);      /* its items are the owner's to free first */

/* ITEM's name and size are set; it lies on no shelf. There may be too much on the shelf afterwards: shelf_evict(). */
void shelf_put(struct shelf *shelf, struct shelf_item *item);
void shelf_take(struct shelf *shelf, struct shelf_item *item);
static inline void shelf_hit(struct shelf_item *item)
{
    if (item->hits < 3)
        item->hits++;
}

/* The next one to go so that WANTED more bytes fit, taken off; NULL when they fit. */
struct shelf_item *shelf_evict(struct shelf *shelf, uint64_t wanted);

uint64_t shelf_bytes(const struct shelf *shelf);
uint64_t shelf_count(const struct shelf *shelf);
