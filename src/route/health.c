/*
 * Failures in a row, a time until which to look elsewhere, and a small purse for retries.
 */
#include "route/health.h"

#include "base/alloc.h"

/* Unreachable this often in a row: down. */
#define DOWN_AFTER 5
#define PROBE_MS 1000
/* A retry costs ten requests; ten may be saved up. */
#define RETRY_COST 10
#define PURSE 100

struct state {
    uint32_t unreachable;   /* in a row */
    uint64_t rest_until;
    uint64_t probe_at;
};

struct health {
    uint32_t purse;
    struct state states[];
};

struct health *health_new(uint32_t backend_count)
{
    struct health *health = alloc_zeroed(sizeof(*health) + backend_count * sizeof(struct state));

    health->purse = PURSE;
    return health;
}

struct health *health_free(struct health *health)
{
    return alloc_free(health);
}

void health_reached(struct health *health, uint32_t backend)
{
    health->states[backend].unreachable = 0;
}

void health_unreachable(struct health *health, uint32_t backend, uint64_t now)
{
    struct state *state = &health->states[backend];

    state->unreachable++;
    state->rest_until = state->probe_at = now + PROBE_MS;
}

void health_rest(struct health *health, uint32_t backend, uint64_t now, uint32_t ms)
{
    health->states[backend].rest_until = now + ms;
}

enum health_state health_look(const struct health *health, uint32_t backend, uint64_t now)
{
    const struct state *state = &health->states[backend];

    if (state->unreachable >= DOWN_AFTER)
        return now < state->probe_at ? HEALTH_DOWN : HEALTH_GOOD;
    return now < state->rest_until ? HEALTH_RESTING : HEALTH_GOOD;
}

enum health_state health_ask(struct health *health, uint32_t backend, uint64_t now)
{
    struct state *state = &health->states[backend];
    enum health_state found = health_look(health, backend, now);

    if (found == HEALTH_GOOD && state->unreachable >= DOWN_AFTER)
        state->probe_at = now + PROBE_MS;
    return found;
}

void health_earn(struct health *health)
{
    if (health->purse < PURSE)
        health->purse++;
}

bool health_spend(struct health *health)
{
    if (health->purse < RETRY_COST)
        return false;
    health->purse -= RETRY_COST;
    return true;
}
