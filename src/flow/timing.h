/*
 * Where a request's time goes: the walk's parts one after the other, so that they add up to the whole.
 */
#pragma once

#include "entry/http_out.h"
#include "flow/exchange.h"

#define TIMING_PARTS 10

/* A step of X's walk ended at NOW: the time since the last one was PHASE's. */
void timing_spend(struct exchange *x, enum phase phase, uint64_t now_us);

/* The time until X's head, which leaves at NOW, is split for good: kept in X for the record. */
void timing_close(struct exchange *x, uint64_t now_us);

/* For the head: the parts, and at the end their total. */
void timing_list(const struct exchange *x, struct http_timing ret[TIMING_PARTS]);

/* What of it was spent in here: neither the client's, nor a queue's, nor the backend's. */
uint64_t timing_overhead_us(const struct exchange *x);
