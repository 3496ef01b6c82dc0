/*
 * Teams stand in a ring. The one in front has its visit: it is given its weight, once, and has turns until that is
 * spent; then it goes to the end. A turn is paid behind, so a team that has just come is served at its first visit
 * whatever its turn costs, and the debt is worked off by visits passed by. Turns that cost 1 leave no debt: then each
 * visit is a turn, and no operation walks anything. When all are in debt, the visits until the first is out of it are
 * given at once.
 *
 * Teams are known while somebody of theirs waits or they are in debt; a queue that is empty has none.
 *
 * One waiter has the turn at a time. Offers made meanwhile are counted, not dropped: one that comes between a vain try
 * and the word of it starts another try. More offers than waiters are of no use.
 */
#include "admit/queue.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdatomic.h>

#define MOST_BUCKETS 1024

struct queue_team {
    struct list ring;
    struct list bucket;
    struct list waiters;
    uint32_t count;         /* of them */
    uint32_t weight;
    bool visited;           /* in front, and given its weight */
    int64_t balance;        /* above 0: may have a turn */
    size_t name_size;
    char name[];
};

struct queue {
    _Atomic uint32_t length;
    uv_mutex_t lock;
    uint32_t most, longest_ms;
    /* Whose turn. */
    struct waiter *turn;    /* was told so, and has not answered; NULL: no offer is left, or nobody waits */
    uint32_t offers;        /* beside the one that TURN tries */
    /* Teams. */
    struct list ring;
    uint32_t teams;
    uint32_t buckets;       /* a power of two */
    struct list table[];
};

static uint32_t length_of(const struct queue *queue)
{
    return atomic_load_explicit(&queue->length, memory_order_relaxed);
}

static void change_length(struct queue *queue, uint32_t length)
{
    atomic_store(&queue->length, length);
    if (queue->offers > length)
        queue->offers = length;
}

static void add_offer(struct queue *queue)
{
    if (queue->offers < length_of(queue))
        queue->offers++;
}

/* --- teams --- */

static struct list *bucket_of(struct queue *queue, struct bytes name)
{
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * 16777619; /* FNV-1a */
    return &queue->table[(hash ^ hash >> 16) & (queue->buckets - 1)];
}

static struct queue_team *team_new(struct queue *queue, struct list *bucket, struct bytes name)
{
    struct queue_team *team = alloc_zeroed(sizeof(*team) + name.size);

    if (name.size)
        memcpy(team->name, name.data, name.size);
    team->name_size = name.size;
    list_init(&team->waiters);
    list_append(bucket, &team->bucket);
    list_append(&queue->ring, &team->ring);
    queue->teams++;
    return team;
}

static void team_free(struct queue *queue, struct queue_team *team)
{
    list_remove(&team->ring);
    list_remove(&team->bucket);
    queue->teams--;
    alloc_free(team);
}

static struct queue_team *find_team(struct queue *queue, struct bytes name)
{
    struct list *bucket = bucket_of(queue, name);

    LIST_EACH(bucket, node) {
        struct queue_team *team = LIST_ENTRY(node, struct queue_team, bucket);

        if (bytes_equal((struct bytes){team->name, team->name_size}, name))
            return team;
    }
    return team_new(queue, bucket, name);
}

static void forget_all_teams(struct queue *queue)
{
    LIST_EACH(&queue->ring, node)
        team_free(queue, LIST_ENTRY(node, struct queue_team, ring));
}

/* Nobody waits and nothing is owed: what it had left of its visit is lost. */
static void forget_if_done(struct queue *queue, struct queue_team *team)
{
    if (team->count == 0 && team->balance >= 0)
        team_free(queue, team);
}

/* --- the round --- */

/* All with somebody waiting are in debt: give the visits before the one that ends the first such debt. */
static void skip_rounds(struct queue *queue)
{
    int64_t least = INT64_MAX;

    LIST_EACH(&queue->ring, node) {
        struct queue_team *team = LIST_ENTRY(node, struct queue_team, ring);
        int64_t rounds = -team->balance / team->weight;

        if (team->count && rounds < least)
            least = rounds;
    }
    LIST_EACH(&queue->ring, node) {
        struct queue_team *team = LIST_ENTRY(node, struct queue_team, ring);

        team->balance += least * team->weight;
        forget_if_done(queue, team);
    }
}

/* The team in front is not the one: its visit is over. */
static void pass_by(struct queue *queue, struct queue_team *team)
{
    team->visited = false;
    list_remove(&team->ring);
    list_append(&queue->ring, &team->ring);
    forget_if_done(queue, team);
}

/* Somebody waits. */
static struct queue_team *team_in_turn(struct queue *queue)
{
    for (uint32_t passed = 0;; passed++) {
        struct queue_team *team = LIST_ENTRY(queue->ring.next, struct queue_team, ring);

        if (passed > queue->teams) {
            skip_rounds(queue);
            passed = 0;
            continue;
        }
        if (!team->visited)
            team->balance += team->weight;
        team->visited = true;
        if (team->count && team->balance > 0)
            return team;
        pass_by(queue, team);
    }
}

/* --- turns --- */

/* Under the lock, in which the waiter cannot go away. */
static void give_turn(struct queue *queue)
{
    struct queue_team *team;

    if (queue->turn || queue->offers == 0)
        return;
    queue->offers--;
    team = team_in_turn(queue);
    queue->turn = LIST_ENTRY(list_first(&team->waiters), struct waiter, link);
    mailbox_post(queue->turn->home, &queue->turn->letter);
}

static void on_letter(struct letter *letter)
{
    struct waiter *waiter = LIST_ENTRY(letter, struct waiter, letter);

    waiter->turn(waiter->data);
}

void waiter_init(struct waiter *waiter, struct mailbox *home, void (*turn)(void *data), void *data)
{
    *waiter = (struct waiter){.home = home, .turn = turn, .data = data};
    letter_init(&waiter->letter, on_letter);
    list_init(&waiter->link);
}

/* Off the queue. */
static void remove_waiter(struct queue *queue, struct waiter *waiter)
{
    struct queue_team *team = waiter->team;

    list_remove(&waiter->link);
    team->count--;
    change_length(queue, length_of(queue) - 1);
    if (length_of(queue) == 0)
        forget_all_teams(queue);
    else
        forget_if_done(queue, team);
    waiter->team = NULL;
    waiter->queue = NULL;
}

void queue_offer(struct queue *queue)
{
    if (queue_length(queue) == 0)
        return;
    uv_mutex_lock(&queue->lock);
    add_offer(queue);
    give_turn(queue);
    uv_mutex_unlock(&queue->lock);
}

static void append_waiter(struct queue *queue, struct waiter *waiter, struct bytes name, uint32_t weight)
{
    struct queue_team *team = find_team(queue, name);
    bool all_tried = length_of(queue) > 0 && !queue->turn;

    team->weight = weight < 1 ? 1 : weight > QUEUE_MOST_WEIGHT ? QUEUE_MOST_WEIGHT : weight;
    team->count++;
    list_append(&team->waiters, &waiter->link);
    waiter->team = team;
    change_length(queue, length_of(queue) + 1);
    if (!all_tried)
        add_offer(queue);
    give_turn(queue);
}

int queue_join(struct queue *queue, struct waiter *waiter, struct bytes team, uint32_t weight, uint32_t cost,
               uint64_t now_ms)
{
    bool full;

    assert(!waiter->queue);
    uv_mutex_lock(&queue->lock);
    full = length_of(queue) >= queue->most;
    if (!full) {
        waiter->queue = queue;
        waiter->cost = cost ? cost : 1;
        waiter->since_ms = now_ms;
        waiter->until_ms = now_ms + queue->longest_ms;
        append_waiter(queue, waiter, team, weight);
    }
    uv_mutex_unlock(&queue->lock);
    return full ? QUEUE_E_FULL : 0;
}

void queue_leave(struct waiter *waiter)
{
    struct queue *queue = waiter->queue;
    bool had_turn;

    if (!queue)
        return;
    uv_mutex_lock(&queue->lock);
    had_turn = queue->turn == waiter;
    remove_waiter(queue, waiter);
    if (had_turn) {
        queue->turn = NULL;
        add_offer(queue);
    }
    give_turn(queue);
    uv_mutex_unlock(&queue->lock);
    if (had_turn)
        mailbox_withdraw(waiter->home, &waiter->letter);
}

void queue_take(struct waiter *waiter)
{
    struct queue *queue = waiter->queue;

    uv_mutex_lock(&queue->lock);
    assert(queue->turn == waiter);
    queue->turn = NULL;
    waiter->team->balance -= waiter->cost;
    remove_waiter(queue, waiter);
    give_turn(queue);
    uv_mutex_unlock(&queue->lock);
}

void queue_stay(struct waiter *waiter)
{
    struct queue *queue = waiter->queue;

    uv_mutex_lock(&queue->lock);
    assert(queue->turn == waiter);
    queue->turn = NULL;
    give_turn(queue);
    uv_mutex_unlock(&queue->lock);
}

/* --- the whole --- */

struct queue *queue_new(uint32_t length, uint32_t longest_ms)
{
    struct queue *queue;
    uint32_t buckets = 16;
    int r;

    while (buckets < length && buckets < MOST_BUCKETS)
        buckets *= 2;
    queue = alloc_zeroed(sizeof(*queue) + buckets * sizeof(queue->table[0]));
    r = uv_mutex_init(&queue->lock);
    assert(r == 0);
    (void)r;
    queue->most = length;
    queue->longest_ms = longest_ms;
    list_init(&queue->ring);
    queue->buckets = buckets;
    for (uint32_t i = 0; i < buckets; i++)
        list_init(&queue->table[i]);
    return queue;
}

struct queue *queue_free(struct queue *queue)
{
    if (!queue)
        return NULL;
    assert(length_of(queue) == 0);
    uv_mutex_destroy(&queue->lock);
    return alloc_free(queue);
}

uint32_t queue_length(const struct queue *queue)
{
    return atomic_load(&queue->length);
}

/* What those before WAITER in its team cost, and how many they are. */
static uint32_t ahead_in_team(const struct waiter *waiter, int64_t *ret_cost)
{
    uint32_t count = 0;

    *ret_cost = 0;
    for (struct list *node = waiter->link.prev; node != &waiter->team->waiters; node = node->prev) {
        *ret_cost += LIST_ENTRY(node, struct waiter, link)->cost;
        count++;
    }
    return count;
}

/* The most turns TEAM may have in so many visits more: none costs less than 1. */
static uint32_t most_turns(const struct queue_team *team, int64_t visits)
{
    int64_t units = team->balance + visits * team->weight;

    return units <= 0 ? 0 : units < team->count ? (uint32_t)units : team->count;
}

uint32_t queue_position(const struct waiter *waiter)
{
    struct queue *queue = waiter->queue;
    const struct queue_team *own = waiter->team;
    uint32_t position;
    int64_t missing, visits;
    bool behind = false;

    uv_mutex_lock(&queue->lock);
    position = ahead_in_team(waiter, &missing);
    missing -= own->balance;
    visits = missing < 0 ? 0 : missing / own->weight + 1;
    LIST_EACH(&queue->ring, node) {
        const struct queue_team *team = LIST_ENTRY(node, struct queue_team, ring);

        if (team == own)
            behind = !own->visited; /* else the next visit of its own comes after all others' */
        else
            position += most_turns(team, behind || team->visited ? visits - 1 : visits);
    }
    uv_mutex_unlock(&queue->lock);
    return position;
}
