/*
 * Steps are timed where the walk goes from one phase to the next; what passes between the question's leaving and the
 * answer's first event is split by what the transcript knows of the call.
 */
#include "flow/timing.h"

void timing_spend(struct exchange *x, enum phase phase, uint64_t now_us)
{
    x->parts[phase] += now_us - x->mark_us;
    x->mark_us = now_us;
}

/* From MARK to AT, when that lies in between. */
static uint64_t part_until(uint64_t *mark, uint64_t at, uint64_t now)
{
    uint64_t part = at > *mark && at <= now ? at - *mark : 0;

    *mark += part;
    return part;
}

/* Backends were asked and nothing came: in which phase was it waited for? */
static enum phase waited_in(const struct exchange *x, const struct transcript_facts *facts)
{
    const struct transcript_try *last = &facts->tries[facts->try_count ? facts->try_count - 1 : 0];

    if (transcript_queued(x->transcript))
        return PHASE_QUEUE;
    if (facts->try_count && last->failed &&
        (last->failure == FAIL_UPSTREAM_CONNECT || last->failure == FAIL_UPSTREAM_DNS ||
         last->failure == FAIL_UPSTREAM_TLS))
        return PHASE_CONNECT;
    return PHASE_FIRST_BYTE;
}

/* What of that was waiting for a place. */
static void take_queue(struct exchange *x, uint64_t queued_us)
{
    static const enum phase phases[] = {PHASE_FIRST_BYTE, PHASE_CONNECT};

    x->told.waited_ms += queued_us / 1000;
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        uint64_t *part = &x->parts[phases[i]], queued = queued_us < *part ? queued_us : *part;

        *part -= queued;
        x->parts[PHASE_QUEUE] += queued;
        queued_us -= queued;
    }
}

static void split_waiting(struct exchange *x, uint64_t now_us)
{
    struct transcript_facts facts = transcript_facts(x->transcript);
    uint64_t first_us = transcript_first_us(x->transcript), lost;

    /* What went by at backends that could not is waiting for an answer, not for the last one's connection. */
    lost = part_until(&x->mark_us, facts.asked_us, now_us);
    x->parts[PHASE_CONNECT] = part_until(&x->mark_us, facts.connected_us, now_us);
    x->parts[PHASE_FIRST_BYTE] = lost + part_until(&x->mark_us, first_us, now_us);
    timing_spend(x, facts.attempts && !first_us ? waited_in(x, &facts) : PHASE_ANSWER, now_us);
    take_queue(x, facts.queued_us);
}

void timing_close(struct exchange *x, uint64_t now_us)
{
    uint64_t queue = x->told.waited_ms * 1000;

    if (x->timed)
        return;
    x->timed = true;
    if (x->transcript && x->at >= steps_deliver)
        split_waiting(x, now_us);
    else
        timing_spend(x, steps_phase(x->at), now_us);
    if (queue > x->parts[PHASE_LIMIT])
        queue = x->parts[PHASE_LIMIT];
    x->parts[PHASE_QUEUE] += queue;
    x->parts[PHASE_LIMIT] -= queue;
}

void timing_list(const struct exchange *x, struct http_timing ret[TIMING_PARTS])
{
    static const char *const names[PHASE_COUNT] = {
        [PHASE_AUTH] = "auth",   [PHASE_BODY] = "body",   [PHASE_PARSE] = "parse",
        [PHASE_CLAIM] = "claim", [PHASE_LIMIT] = "limit", [PHASE_QUEUE] = "queue",
        [PHASE_CONNECT] = "connect", [PHASE_FIRST_BYTE] = "first-byte", [PHASE_ANSWER] = "answer",
    };
    uint64_t total = 0;

    for (int i = 0; i < PHASE_COUNT; i++) {
        ret[i] = (struct http_timing){names[i], x->parts[i]};
        total += x->parts[i];
    }
    ret[PHASE_COUNT] = (struct http_timing){"total", total};
}

uint64_t timing_overhead_us(const struct exchange *x)
{
    return x->parts[PHASE_AUTH] + x->parts[PHASE_PARSE] + x->parts[PHASE_CLAIM] + x->parts[PHASE_LIMIT] +
           x->parts[PHASE_ANSWER];
}
