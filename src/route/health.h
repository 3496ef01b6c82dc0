/*
 * Which backends are worth asking: one per worker. A backend that asked for rest gets it, one that cannot be reached is
 * asked last; when it could not be reached for a while, one request a second finds out whether that is still so.
 */
#pragma once

#include "config/config.h"

struct health;

enum health_state {
    HEALTH_GOOD,
    HEALTH_RESTING, /* it said so (429, loading), or it just failed: ask others first */
    HEALTH_DOWN,    /* do not ask */
};

struct health *health_new(uint32_t backend_count);
struct health *health_free(struct health *health);

/* It answered, whatever it said. */
void health_reached(struct health *health, uint32_t backend);
/* It cannot be reached. */
void health_unreachable(struct health *health, uint32_t backend, uint64_t now);
/* It wants to be left alone for MS. */
void health_rest(struct health *health, uint32_t backend, uint64_t now, uint32_t ms);
/* The same without letting anybody through: for putting backends in order. */
enum health_state health_look(const struct health *health, uint32_t backend, uint64_t now);
/* Asking this about a backend that is down lets one caller a second through, as HEALTH_GOOD: it finds out, and goes on
 * to the next backend if nothing changed. */
enum health_state health_ask(struct health *health, uint32_t backend, uint64_t now);

/* One more request: a tenth of a retry is earned. */
void health_earn(struct health *health);
/* May a backend that answered be followed by another one? Takes from what was earned. */
bool health_spend(struct health *health);
