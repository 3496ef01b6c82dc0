/*
 * Who finds a lock taken says so in it and sleeps. Whoever was woken takes it as 2, since others may sleep as well: a
 * wake too many costs a call, one too few would be for ever.
 */
#include "admit/lock.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLEEPERS 2

void lock_wait(struct lock *lock)
{
    while (atomic_exchange_explicit(&lock->state, SLEEPERS, memory_order_acquire) != 0)
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, SLEEPERS, NULL, NULL, 0);
}

void lock_wake(struct lock *lock)
{
    syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
