/*
 * What a sink's tests share: a loop, a sink on it, and a journal of the simplest kind: it offers what was not taken
 * when the sink is ready, and every few milliseconds.
 */
#pragma once

#include "record/line_cut.h"
#include "record/sink.h"

#include "base/clock.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct sink_world {
    uv_loop_t loop;
    const struct sink_kind *kind;
    struct sink *sink;
    struct buffer backlog;
    uint64_t given, kept, lost; /* lines */
    uint64_t later;             /* taken, to be settled */
    unsigned readies;
    int refusal;                /* the last take's negative errno */
    bool started, in_take, closing, closed;
    bool close_when_settled;
};

static inline void sink_world_closed(void *data)
{
    ((struct sink_world *)data)->closed = true;
}

/* Lines taken and not settled. */
static inline uint64_t sink_world_under_way(const struct sink_world *world)
{
    return world->later - world->kept - world->lost;
}

static inline void sink_world_offer(struct sink_world *world)
{
    struct bytes lines = buffer_bytes(&world->backlog);
    bool later = false;
    ssize_t taken;

    if (world->closing || lines.size == 0)
        return;
    world->in_take = true;
    taken = world->kind->take(world->sink, lines, &later);
    world->in_take = false;
    assert_true(taken <= (ssize_t)lines.size);
    world->refusal = taken < 0 ? (int)taken : 0;
    if (taken <= 0)
        return;
    assert_int_equal(lines.data[taken - 1], '\n');
    if (later)
        world->later += count_lines((struct bytes){lines.data, (size_t)taken});
    else
        world->kept += count_lines((struct bytes){lines.data, (size_t)taken});
    buffer_consume(&world->backlog, (size_t)taken);
}

static inline void sink_world_ready(void *data)
{
    struct sink_world *world = data;

    assert_true(world->started && !world->in_take && !world->closing);
    world->readies++;
    sink_world_offer(world);
}

static inline void sink_world_settled(void *data, uint64_t kept, uint64_t lost)
{
    struct sink_world *world = data;
    assert_true(world->started && !world->closing);
    assert_true(!world->in_take || lost);
    world->kept += kept;
    world->lost += lost;
    if (!world->close_when_settled)
        return;
    world->closing = true;
    world->kind->close(world->sink, sink_world_closed, world);
}

static inline void sink_world_init(struct sink_world *world, const struct sink_kind *kind, const void *config)
{
    struct buffer errors;

    *world = (struct sink_world){.kind = kind};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&world->loop);
    buffer_init(&errors);
    assert_int_equal(kind->open(config, &errors, &world->sink), 0);
    assert_int_equal(errors.size, 0);
    buffer_deinit(&errors);
}

static inline void sink_world_start(struct sink_world *world)
{
    struct sink_events events = {sink_world_ready, sink_world_settled, world, "the sink"};

    world->started = true;
    world->kind->start(world->sink, &world->loop, &events);
}

/* In whatever state it is. */
static inline void sink_world_end(struct sink_world *world)
{
    if (!world->closing)
        world->kind->close(world->sink, sink_world_closed, world);
    world->closing = true;
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_true(world->closed);
    assert_null(world->kind->free(world->sink));
    assert_int_equal(uv_loop_close(&world->loop), 0);
    buffer_deinit(&world->backlog);
}

/* COUNT more lines {"n":NUMBER,"x":"..."}, numbered from 0 on, of about SIZE bytes. */
static inline void sink_world_give(struct sink_world *world, unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++) {
        char number[32];
        int digits = snprintf(number, sizeof(number), "{\"n\":%" PRIu64 ",\"x\":\"", world->given++);

        buffer_append(&world->backlog, (struct bytes){number, (size_t)digits});
        if (size > (size_t)digits + 3) {
            memset(buffer_reserve(&world->backlog, size), 'x', size - (size_t)digits - 3);
            world->backlog.size += size - (size_t)digits - 3;
        }
        buffer_append_text(&world->backlog, "\"}\n");
    }
    sink_world_offer(world);
}

/* Turn the loop, offering again, until *COUNTER is WANTED or LIMIT_MS passed. */
static inline bool sink_world_run_until(struct sink_world *world, const uint64_t *counter, uint64_t wanted,
                                        unsigned limit_ms)
{
    uint64_t now = clock_ms(), end = now + limit_ms, offer = now;

    while (*counter < wanted && (now = clock_ms()) < end) {
        if (now >= offer)
            sink_world_offer(world);
        if (now >= offer)
            offer = now + 5;
        uv_run(&world->loop, UV_RUN_NOWAIT);
        usleep(100);
    }
    return *counter >= wanted;
}

static inline void sink_world_run_for(struct sink_world *world, unsigned ms)
{
    const uint64_t never = 0;

    sink_world_run_until(world, &never, 1, ms);
}
