/*
 * Names are resolved here, in libuv's thread pool: our own sockets are given the address, and libcurl is told it, whose
 * own lookups block the loop when a transfer is cancelled during one.
 *
 * A failure is remembered for a second: a thousand requests to a name that does not resolve make one lookup. Waiters
 * are told from the lookup's end or from a timer of 0, never from inside resolver_wait().
 */
#include "link/resolve.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <netdb.h>

enum { FAILURE_MS = 1000 };

struct resolver {
    uv_loop_t *loop;
    char *name;
    uint32_t ttl_ms;

    char address[INET6_ADDRSTRLEN]; /* empty: never known */
    uint64_t answered_at;           /* when the last lookup ended */
    int status;                     /* how */

    struct resolve_wait *waits, **last;
    struct resolve_wait *told; /* those deliver() has still to tell */
    uv_getaddrinfo_t lookup;
    uv_timer_t soon;
    bool looking;
    bool freed;
    unsigned holds; /* the timer handle, a lookup, a delivery: the memory stays while there is one */
};

enum { NEVER_ASKED = 1 };

struct resolver *resolver_new(uv_loop_t *loop, struct bytes name, uint32_t ttl_ms)
{
    struct resolver *resolver = ALLOC_NEW(struct resolver);

    resolver->loop = loop;
    resolver->name = alloc_bytes(name.size + 1);
    memcpy(resolver->name, name.data, name.size);
    resolver->name[name.size] = '\0';
    resolver->ttl_ms = ttl_ms;
    resolver->status = NEVER_ASKED;
    resolver->last = &resolver->waits;
    uv_timer_init(loop, &resolver->soon);
    resolver->soon.data = resolver->lookup.data = resolver;
    resolver->holds = 1;
    return resolver;
}

static void release(struct resolver *resolver)
{
    if (--resolver->holds > 0)
        return;
    alloc_free(resolver->name);
    alloc_free(resolver);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

struct resolver *resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return NULL;
    resolver->freed = true;
    resolver->waits = resolver->told = NULL;
    if (resolver->looking)
        uv_cancel((uv_req_t *)&resolver->lookup); /* its callback comes in any case */
    uv_close((uv_handle_t *)&resolver->soon, on_closed);
    return NULL;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

/* Tell everybody who waits now. A waiter may cancel others, wait again (which is told another time), or free the
 * resolver. */
static void deliver(struct resolver *resolver)
{
    int status = resolver->address[0] ? 0 : resolver->status;
    struct resolve_wait *wait;

    resolver->told = resolver->waits;
    resolver->waits = NULL;
    resolver->last = &resolver->waits;
    resolver->holds++;
    while ((wait = resolver->told)) {
        resolver->told = wait->next;
        wait->next = NULL;
        wait->done(wait->data, status);
    }
    release(resolver);
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct resolver *resolver = lookup->data;
    const struct addrinfo *chosen = status == 0 ? resolve_choose(found) : NULL;

    if (status == 0 && !chosen)
        status = UV_EAI_ADDRFAMILY;
    if (chosen)
        uv_ip_name(chosen->ai_addr, resolver->address, sizeof(resolver->address));
    uv_freeaddrinfo(found);
    resolver->looking = false;
    resolver->status = status;
    resolver->answered_at = uv_now(resolver->loop);
    if (!resolver->freed)
        deliver(resolver);
    release(resolver);
}

static bool is_due(const struct resolver *resolver)
{
    uint32_t keep_ms = resolver->status == 0 ? resolver->ttl_ms : FAILURE_MS;

    if (resolver->looking)
        return false;
    return resolver->status == NEVER_ASKED || uv_now(resolver->loop) - resolver->answered_at >= keep_ms;
}

static void look(struct resolver *resolver)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int status = uv_getaddrinfo(resolver->loop, &resolver->lookup, on_found, resolver->name, NULL, &hints);

    if (status != 0) {
        resolver->status = status;
        resolver->answered_at = uv_now(resolver->loop);
        return;
    }
    resolver->looking = true;
    resolver->holds++;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

const char *resolver_address(struct resolver *resolver)
{
    if (is_due(resolver))
        look(resolver);
    return resolver->address[0] ? resolver->address : NULL;
}

static void on_soon(uv_timer_t *timer)
{
    deliver(timer->data);
}

void resolver_wait(struct resolver *resolver, struct resolve_wait *wait)
{
    wait->next = NULL;
    *resolver->last = wait;
    resolver->last = &wait->next;
    if (is_due(resolver) && resolver->address[0] == '\0')
        look(resolver);
    if (!resolver->looking || resolver->address[0])
        uv_timer_start(&resolver->soon, on_soon, 0, 0);
}

static struct resolve_wait **find(struct resolve_wait **link, const struct resolve_wait *wait)
{
    while (*link && *link != wait)
        link = &(*link)->next;
    return link;
}

void resolver_cancel(struct resolver *resolver, struct resolve_wait *wait)
{
    struct resolve_wait **link = find(&resolver->waits, wait);

    if (!*link)
        link = find(&resolver->told, wait);
    if (!*link)
        return;
    if (resolver->last == &wait->next)
        resolver->last = link;
    *link = wait->next;
    wait->next = NULL;
}

bool resolve_is_literal(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.size == 0 || host.size >= sizeof(text))
        return false;
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

const struct addrinfo *resolve_choose(const struct addrinfo *found)
{
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (at->ai_family == AF_INET)
            return at;
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (at->ai_family == AF_INET6)
            return at;
    return NULL;
}
