/*
 * GCRA per address in milliseconds: one time says when the last failure will be forgiven. Sets of eight addresses under
 * a few mutexes; while nobody has failed for long enough anywhere, asking is one look at one time.
 */
#include "admit/guard.h"

#include "base/alloc.h"
#include "base/random.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <uv.h>

#define SET_BITS 10
#define SETS (1 << SET_BITS)
#define WAYS 8
#define LOCKS 16
#define ADDRESS 16

struct offender {
    uint8_t address[ADDRESS];
    uint64_t forgiven_ms;       /* when its last failure will be; 0: nobody */
    uint64_t last_ms;
};

struct guard {
    uint32_t most, every_ms;
    uint64_t seed;              /* so that nobody can choose whom they share a set with */
    _Atomic uint64_t quiet_ms;  /* from then on nobody is known to have failed */
    uv_mutex_t locks[LOCKS];
    struct offender sets[SETS][WAYS];
};

struct guard *guard_new(uint32_t most, uint32_t every_ms)
{
    struct guard *guard = ALLOC_NEW(struct guard);

    guard->most = most ? most : 1;
    guard->every_ms = every_ms ? every_ms : 1;
    guard->seed = random_u64();
    for (int i = 0; i < LOCKS; i++)
        uv_mutex_init(&guard->locks[i]);
    return guard;
}

struct guard *guard_free(struct guard *guard)
{
    if (!guard)
        return NULL;
    for (int i = 0; i < LOCKS; i++)
        uv_mutex_destroy(&guard->locks[i]);
    return alloc_free(guard);
}

/* --- addresses --- */

/* PEER without its port and brackets. An address without brackets has one colon at most, in front of its port. */
static struct bytes host_of(struct bytes peer)
{
    bool bracket = peer.size && peer.data[0] == '[';
    struct bytes host = bracket ? bytes_skip(peer, 1) : peer;
    size_t end = bytes_find(host, bracket ? BYTES("]") : BYTES(":"));

    if (bracket || bytes_find(bytes_skip(host, end), BYTES(":")) == host.size - end ||
        bytes_find(bytes_skip(host, end + 1), BYTES(":")) == host.size - end - 1)
        host.size = end;
    host.size = bytes_find(host, BYTES("%"));
    return host;
}

/* What is no address (a unix socket's name) is told apart by its first bytes. */
static void address_of(struct bytes peer, uint8_t ret[ADDRESS])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct bytes host = host_of(peer);
    char text[INET6_ADDRSTRLEN] = {0};

    memset(ret, 0, ADDRESS);
    if (host.size < sizeof(text)) {
        if (host.size)
            memcpy(text, host.data, host.size);
        if (inet_pton(AF_INET6, text, ret) == 1) {
            if (memcmp(ret, mapped, sizeof(mapped)) != 0)
                memset(ret + 8, 0, 8);
            return;
        }
        if (inet_pton(AF_INET, text, ret + 12) == 1) {
            memcpy(ret, mapped, sizeof(mapped));
            return;
        }
    }
    memset(ret, 0, ADDRESS);
    if (peer.size)
        memcpy(ret, peer.data, peer.size < ADDRESS ? peer.size : ADDRESS);
}

static unsigned set_of(const struct guard *guard, const uint8_t address[ADDRESS])
{
    uint64_t hash = guard->seed, part;

    for (size_t i = 0; i < ADDRESS; i += sizeof(part)) {
        memcpy(&part, address + i, sizeof(part));
        hash ^= hash >> 32;
        hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return (unsigned)(hash >> (64 - SET_BITS));
}

/* --- the table --- */

/* NULL: ADDRESS is not among SET. */
static struct offender *find(struct offender set[WAYS], const uint8_t address[ADDRESS])
{
    for (int i = 0; i < WAYS; i++) {
        if (set[i].forgiven_ms && memcmp(set[i].address, address, ADDRESS) == 0)
            return &set[i];
    }
    return NULL;
}

static struct offender *longest_quiet(struct offender set[WAYS])
{
    struct offender *found = &set[0];

    for (int i = 1; i < WAYS; i++) {
        if (set[i].last_ms < found->last_ms)
            found = &set[i];
    }
    return found;
}

uint32_t guard_wait_ms(struct guard *guard, struct bytes peer, uint64_t now_ms)
{
    uint64_t patience = (uint64_t)(guard->most - 1) * guard->every_ms, wait = 0;
    const struct offender *offender;
    uint8_t address[ADDRESS];
    unsigned set;

    if (now_ms >= atomic_load_explicit(&guard->quiet_ms, memory_order_acquire))
        return 0;
    address_of(peer, address);
    set = set_of(guard, address);
    uv_mutex_lock(&guard->locks[set % LOCKS]);
    offender = find(guard->sets[set], address);
    if (offender && offender->forgiven_ms > now_ms + patience)
        wait = offender->forgiven_ms - now_ms - patience;
    uv_mutex_unlock(&guard->locks[set % LOCKS]);
    return wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
}

static void raise_quiet(struct guard *guard, uint64_t until_ms)
{
    uint64_t known = atomic_load_explicit(&guard->quiet_ms, memory_order_relaxed);

    while (known < until_ms && !atomic_compare_exchange_weak(&guard->quiet_ms, &known, until_ms))
        ;
}

void guard_failed(struct guard *guard, struct bytes peer, uint64_t now_ms)
{
    uint64_t most_ms = now_ms + (uint64_t)guard->most * guard->every_ms, until_ms;
    struct offender *offender;
    uint8_t address[ADDRESS];
    unsigned set;

    address_of(peer, address);
    set = set_of(guard, address);
    uv_mutex_lock(&guard->locks[set % LOCKS]);
    offender = find(guard->sets[set], address);
    if (!offender) {
        offender = longest_quiet(guard->sets[set]);
        *offender = (struct offender){0};
        memcpy(offender->address, address, ADDRESS);
    }
    until_ms = (offender->forgiven_ms > now_ms ? offender->forgiven_ms : now_ms) + guard->every_ms;
    offender->forgiven_ms = until_ms < most_ms ? until_ms : most_ms;
    offender->last_ms = now_ms;
    until_ms = offender->forgiven_ms;
    uv_mutex_unlock(&guard->locks[set % LOCKS]);
    raise_quiet(guard, until_ms);
}
