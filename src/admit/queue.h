/*
 * Waiting instead of refusing: a bounded queue in front of a concurrency limit, fair between teams by deficit round
 * robin (Shreedhar and Varghese, SIGCOMM 1995): teams take turns, each by its weight, whatever one of them has
 * waiting; in a team the first come is the first. One per scope that is configured to queue, for all workers: its
 * functions may be called from any thread, those about a waiter from the waiter's own.
 *
 * The queue does not know when a place is free. Whoever gave one back calls queue_offer(); the waiter whose turn it is
 * hears of it by letter, on its own thread, and tries its reservation again:
 *
 *   it got its place             queue_take()     the next offer goes to the next waiter
 *   somebody was quicker         queue_stay()     it stays at the head, for the next offer
 *   refused for another reason,
 *   gone, or too late            queue_leave()    the same offer goes to the next waiter
 *
 * One waiter tries at a time. Each offer is good for one try that begins after it; so is joining, unless the others
 * are known to have tried in vain, so that a place given back between a refusal and queue_join() is not lost.
 *
 * Nobody overtakes: who finds queue_length() above 0 joins without trying. Where Redis counts the places, other
 * gateways free them too: somebody calls queue_offer() every so often there.
 */
#pragma once

#include "base/bytes.h"
#include "link/mailbox.h"

#include <stdint.h>

struct queue;

/* Somebody who waits: part of an exchange. All zero: nobody. */
struct waiter {
    /* To read. */
    struct queue *queue;        /* NULL: not waiting */
    uint64_t since_ms;
    uint64_t until_ms;          /* its owner has a timer, and leaves then */

    /* The queue's own. */
    struct letter letter;
    struct mailbox *home;
    void (*turn)(void *data);
    void *data;
    struct list link;           /* in its team */
    struct queue_team *team;
    uint32_t cost;
};

/* TURN comes on HOME's thread, never from inside a call. Calls for one of queue_take(), queue_stay() and
 * queue_leave(), then or later: nobody else has a turn before. */
void waiter_init(struct waiter *waiter, struct mailbox *home, void (*turn)(void *data), void *data);

struct queue *queue_new(uint32_t length, uint32_t longest_ms);
/* When nobody waits any more. NULL is fine. */
struct queue *queue_free(struct queue *queue);

enum { QUEUE_E_FULL = 1 };

#define QUEUE_MOST_WEIGHT 1000

/* Wait, as one of TEAM (by name; forgotten when it has nobody waiting and no debt) with WEIGHT from 1, for a turn that
 * COSTs 1, or tokens: a team pays behind, and is passed by while it is in debt. 0, or QUEUE_E_FULL: so many wait, over
 * all teams. */
int queue_join(struct queue *queue, struct waiter *waiter, struct bytes team, uint32_t weight, uint32_t cost,
               uint64_t now_ms);
/* Not waiting any more; TURN does not come. Twice is fine. Before its mailbox is gone. */
void queue_leave(struct waiter *waiter);

/* A place may be free. */
void queue_offer(struct queue *queue);
/* WAITER used its turn: off the queue, and its team pays. */
void queue_take(struct waiter *waiter);
/* WAITER used its turn in vain. */
void queue_stay(struct waiter *waiter);

/* Takes no lock. */
uint32_t queue_length(const struct queue *queue);
/* How many turns come before WAITER's, at most, as things stand. Walks those before it in its team, and the teams. */
uint32_t queue_position(const struct waiter *waiter);
