/*
 * Three queues of what is there and the ghost of what is not. Newcomers wait in a small queue; one that is itself too
 * large for that waits in a queue of its own, for about as long as those who came with it wait in the small one, so
 * that it does not push all of them out. Who leaves the main queue was not asked for since it was last looked at; the
 * others go round again, one hit poorer.
 */
#include "memo/shelf.h"

#include "base/alloc.h"
#include "memo/ghost.h"

#define SMALL_PART 10       /* of the bytes, one part in so many for newcomers */
#define LARGE_PART 4        /* of the small queue: what is larger than one part in so many waits by itself */
#define MOST_ROUNDS 1024    /* looked at in the main queue for one to leave: bounds the time of one eviction */

enum queue_name { QUEUE_NONE, QUEUE_SMALL, QUEUE_LARGE, QUEUE_MAIN, QUEUE_COUNT };

struct queue {
    struct list items;      /* the oldest first */
    uint64_t bytes, count;
};

struct shelf {
    struct queue queues[QUEUE_COUNT];
    struct ghost ghost;
    uint64_t limit, small_limit;
    uint64_t gone;          /* bytes that ever left for want of room */
    uint64_t large_came;    /* as it was when the last large one came */
};

struct shelf *shelf_new(uint64_t bytes)
{
    struct shelf *shelf = ALLOC_NEW(struct shelf);

    shelf->limit = bytes;
    shelf->small_limit = bytes / SMALL_PART;
    for (int i = 0; i < QUEUE_COUNT; i++)
        list_init(&shelf->queues[i].items);
    ghost_init(&shelf->ghost);
    return shelf;
}

struct shelf *shelf_free(struct shelf *shelf)
{
    if (!shelf)
        return NULL;
    ghost_deinit(&shelf->ghost);
    return alloc_free(shelf);
}

/* To the end of a queue. */
static void enter(struct shelf *shelf, enum queue_name name, struct shelf_item *item)
{
    struct queue *queue = &shelf->queues[name];

    item->queue = name;
    list_append(&queue->items, &item->link);
    queue->bytes += item->size;
    queue->count++;
}

void shelf_take(struct shelf *shelf, struct shelf_item *item)
{
    struct queue *queue = &shelf->queues[item->queue];

    list_remove(&item->link);
    queue->bytes -= item->size;
    queue->count--;
    item->queue = QUEUE_NONE;
}

void shelf_put(struct shelf *shelf, struct shelf_item *item)
{
    item->hits = 0;
    if (ghost_take(&shelf->ghost, item->name)) {
        enter(shelf, QUEUE_MAIN, item);
    } else if (item->size > shelf->small_limit / LARGE_PART) {
        shelf->large_came = shelf->gone;
        enter(shelf, QUEUE_LARGE, item);
    } else {
        enter(shelf, QUEUE_SMALL, item);
    }
}

static struct shelf_item *oldest(const struct shelf *shelf, enum queue_name name)
{
    return LIST_ENTRY(list_first(&shelf->queues[name].items), struct shelf_item, link);
}

/* The oldest newcomer leaves, or moves to the main queue: then NULL. */
static struct shelf_item *pass_newcomer(struct shelf *shelf, enum queue_name name)
{
    struct shelf_item *item = oldest(shelf, name);

    shelf_take(shelf, item);
    if (item->hits == 0) {
        ghost_add(&shelf->ghost, item->name, shelf_count(shelf));
        return item;
    }
    item->hits = 0;
    enter(shelf, QUEUE_MAIN, item);
    return NULL;
}

static struct shelf_item *leave_main(struct shelf *shelf)
{
    struct shelf_item *item = oldest(shelf, QUEUE_MAIN);

    for (int round = 0; item->hits > 0 && round < MOST_ROUNDS; round++) {
        item->hits--;
        shelf_take(shelf, item);
        enter(shelf, QUEUE_MAIN, item);
        item = oldest(shelf, QUEUE_MAIN);
    }
    shelf_take(shelf, item);
    return item;
}

/* The last large newcomer waits until as much as the small queue holds has left; earlier ones are due. */
static bool large_is_due(const struct shelf *shelf)
{
    uint64_t count = shelf->queues[QUEUE_LARGE].count;

    return count > 1 || (count == 1 && shelf->gone - shelf->large_came >= shelf->small_limit);
}

/* The queue that has to give; QUEUE_NONE when nothing is there. */
static enum queue_name whose_turn(const struct shelf *shelf)
{
    const struct queue *queues = shelf->queues;

    if (large_is_due(shelf))
        return QUEUE_LARGE;
    if (queues[QUEUE_SMALL].count && (queues[QUEUE_SMALL].bytes > shelf->small_limit || !queues[QUEUE_MAIN].count))
        return QUEUE_SMALL;
    if (queues[QUEUE_MAIN].count)
        return QUEUE_MAIN;
    return queues[QUEUE_LARGE].count ? QUEUE_LARGE : QUEUE_NONE;
}

struct shelf_item *shelf_evict(struct shelf *shelf, uint64_t wanted)
{
    struct shelf_item *item = NULL;

    while (!item && shelf_bytes(shelf) + wanted > shelf->limit) {
        enum queue_name name = whose_turn(shelf);

        if (name == QUEUE_NONE)
            return NULL;
        item = name == QUEUE_MAIN ? leave_main(shelf) : pass_newcomer(shelf, name);
    }
    if (item)
        shelf->gone += item->size;
    return item;
}

uint64_t shelf_bytes(const struct shelf *shelf)
{
    return shelf->queues[QUEUE_SMALL].bytes + shelf->queues[QUEUE_LARGE].bytes + shelf->queues[QUEUE_MAIN].bytes;
}

uint64_t shelf_count(const struct shelf *shelf)
{
    return shelf->queues[QUEUE_SMALL].count + shelf->queues[QUEUE_LARGE].count + shelf->queues[QUEUE_MAIN].count;
}
