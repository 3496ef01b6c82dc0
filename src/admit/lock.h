/*
 * A mutex in one word, taken and given back in place: a request takes ten of them, each for some ten nanoseconds, and
 * calls into libuv and libc were a quarter of what its admission cost. Drepper, "Futexes Are Tricky", mutex 2: 0 is
 * free, 1 taken, 2 taken while somebody may sleep. All zero is free; nothing is to be ended.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct lock {
    _Atomic uint32_t state;
};

/* Private to lock.c: somebody else has it; somebody sleeps. */
void lock_wait(struct lock *lock);
void lock_wake(struct lock *lock);

static inline void lock_take(struct lock *lock)
{
    uint32_t free = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->state, &free, 1, memory_order_acquire, memory_order_relaxed))
        lock_wait(lock);
}

static inline void lock_give(struct lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        lock_wake(lock);
}
