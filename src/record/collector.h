/*
 * An OpenTelemetry collector: a body of spans to it, asked again for a while when it is busy or gone, and what became
 * of them.
 */
#pragma once

#include "config/config.h"

#include <uv.h>

struct collector;

/* DONE comes once for each collector_ask(), from a timer: LOST of its spans were not taken. From inside of it the
 * collector may be asked the next, or closed. CONFIG outlives it. */
struct collector *collector_new(uv_loop_t *loop, const struct config_tracing *config,
                                void (*done)(void *data, uint64_t lost), void *data);
/* DONE comes no more. CLOSED comes when all handles are closed and the collector is gone. */
void collector_close(struct collector *collector, void (*closed)(void *data), void *data);

/* SPANS of them in BODY, which must stay until DONE. One at a time. */
void collector_ask(struct collector *collector, struct bytes body, uint64_t spans);
bool collector_is_busy(const struct collector *collector);
/* It is busy because it was asked in vain. */
bool collector_is_failing(const struct collector *collector);
/* Why spans were lost last, or are not taken now, in words; NULL: nothing is wrong. */
const char *collector_trouble(const struct collector *collector);
