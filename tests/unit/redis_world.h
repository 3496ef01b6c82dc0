/*
 * One link to Redis on the test's own loop, what it told, and calls that note how they ended.
 */
#pragma once

#include "link/redis.h"

#include "base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
    uv_loop_t loop;
    struct redis_config config;
    struct redis *redis;
    unsigned news[REDIS_ERRED + 1];
    char text[REDIS_ERRED + 1][256]; /* of the last news of each kind */
    bool ready, closed;
    bool close_on_news;
};

struct asker {
    struct redis_call call;
    struct world *world;
    bool done;
    unsigned times;
    int result;
    enum redis_kind kind;
    char text[64];
    int64_t integer;
    uint32_t count;
    uint64_t asked_ms, done_ms;
    void (*then)(struct asker *asker);
    struct asker *other;
};

static inline bool run_until(struct world *world, const bool *flag, unsigned limit_ms)
{
    uint64_t end = clock_ms() + limit_ms;

    while (!*flag && clock_ms() < end) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        if (!*flag)
            usleep(200);
    }
    return *flag;
}

static inline void run_for(struct world *world, unsigned ms)
{
    const bool never = false;

    run_until(world, &never, ms);
}

static inline bool run_until_count(struct world *world, const unsigned *count, unsigned least, unsigned limit_ms)
{
    uint64_t end = clock_ms() + limit_ms;

    while (*count < least && clock_ms() < end)
        run_for(world, 1);
    return *count >= least;
}

static inline void on_gone(void *data)
{
    ((struct world *)data)->closed = true;
}

static inline void world_close(struct world *world)
{
    redis_close(world->redis, on_gone, world);
    world->redis = NULL;
    world->ready = false;
}

static inline void on_news(void *data, enum redis_news news, struct bytes text)
{
    struct world *world = data;

    assert_false(world->redis == NULL);
    world->news[news]++;
    snprintf(world->text[news], sizeof(world->text[news]), "%.*s", BYTES_ARG(text));
    world->ready = redis_is_ready(world->redis);
    if (world->close_on_news)
        world_close(world);
}

static inline void world_init(struct world *world)
{
    *world = (struct world){.config = {.connect_ms = 500,
                                       .deadline_ms = 200,
                                       .reply_bytes = 4 << 20,
                                       .queue_bytes = 8 << 20}};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&world->loop);
}

static inline void world_open(struct world *world)
{
    world->closed = false;
    world->redis = redis_new(&world->loop, &world->config, on_news, world);
}

static inline void world_end(struct world *world)
{
    if (world->redis)
        world_close(world);
    assert_true(run_until(world, &world->closed, 1000));
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

static inline void on_done(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct asker *asker = LIST_ENTRY(call, struct asker, call);

    asker->done = true;
    asker->times++;
    asker->result = result;
    asker->done_ms = clock_ms();
    assert_true((result == 0) == (reply != NULL));
    if (reply) {
        asker->kind = reply->kind;
        asker->integer = reply->integer;
        asker->count = reply->count;
        snprintf(asker->text, sizeof(asker->text), "%.*s", BYTES_ARG(reply->text));
    }
    if (asker->then)
        asker->then(asker);
}

/* WORDS, separated by single spaces, as a command. ASKER may be NULL. */
static inline int ask(struct world *world, struct asker *asker, const char *words)
{
    struct bytes arguments[16];
    uint32_t count = 0;

    for (const char *at = words; count < ARRAY_SIZE(arguments); count++) {
        size_t size = strcspn(at, " ");

        arguments[count] = (struct bytes){at, size};
        at += size;
        if (*at == '\0') {
            count++;
            break;
        }
        at++;
    }
    if (asker) {
        asker->world = world;
        asker->call.done = on_done;
        asker->asked_ms = clock_ms();
        asker->done = false;
    }
    return redis_ask(world->redis, arguments, count, asker ? &asker->call : NULL);
}

/* Ask and wait for the end. */
static inline void learn(struct world *world, struct asker *asker, const char *words)
{
    *asker = (struct asker){0};
    assert_int_equal(ask(world, asker, words), 0);
    assert_false(asker->done);
    assert_true(run_until(world, &asker->done, 2000));
}

#define EXPECT_TEXT(world, words, wanted)                                                                    \
    do {                                                                                                     \
        struct asker expected_;                                                                              \
        learn((world), &expected_, (words));                                                                 \
        assert_int_equal(expected_.result, 0);                                                               \
        assert_string_equal(expected_.text, (wanted));                                                       \
    } while (0)
