/*
 * Gateways that share limits in one Redis: each with scopes of its own, on the test's loop, and takes that note how
 * they ended.
 */
#pragma once

#include "admit/scope_private.h"
#include "admit/shared.h"
#include "base/clock.h"
#include "redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PATIENCE_MS 10000

struct gate {
    struct admit *admit;
    struct shared *shared;
    unsigned news[SHARED_GAVE_UP + 1];
    char text[256];             /* of the last error */
    char line[256];             /* for the log, the last */
    int64_t wall_skew_s;
};

struct asked {
    struct shared_take take;
    unsigned done;
    int result;
    struct refusal refusal;
};

static struct redis_server server = {.socket = -1};
static uv_loop_t loop;

static int stage_begin(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    if (!redis_server_start(&server)) {
        print_error("redis-server is needed: sh deploy/install-dependencies.sh test\n");
        return -1;
    }
    return 0;
}

static int stage_end(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    redis_server_deinit(&server);
    return uv_loop_close(&loop);
}

static void gate_news(void *data, enum shared_news news, struct bytes words)
{
    struct gate *gate = data;

    gate->news[news]++;
    if (news == SHARED_ERROR)
        snprintf(gate->text, sizeof(gate->text), "%.*s", BYTES_ARG(words));
    else if (news >= SHARED_UP)
        snprintf(gate->line, sizeof(gate->line), "%.*s", BYTES_ARG(words));
}

static struct admit_time gate_now(const struct gate *gate)
{
    return (struct admit_time){clock_us(), clock_wall_s() + gate->wall_skew_s};
}

static void tick(uv_timer_t *timer)
{
}

/* Turn the loop until *COUNT is at least WANTED, or MS have passed. */
static bool turn_until(const unsigned *count, unsigned wanted, unsigned ms)
{
    uint64_t end_ms = clock_ms() + ms;
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, tick, 2, 2);
    while (*count < wanted && clock_ms() < end_ms)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *count >= wanted;
}

static void turn_for(unsigned ms)
{
    const unsigned never = 0;

    turn_until(&never, 1, ms);
}

static void gate_open(struct gate *gate, uint32_t gateways, uint32_t lease_ms, uint32_t deadline_ms)
{
    struct shared_config config = {
        .redis = {.unix_path = bytes_of(server.path), .connect_ms = 1000, .deadline_ms = deadline_ms},
        .prefix = BYTES("t"),
        .gateways = gateways,
        .lease_ms = lease_ms,
    };

    *gate = (struct gate){.admit = admit_new()};
    gate->shared = shared_new(&loop, &config, gate_news, gate);
}

static void gate_closed(void *data)
{
    ((struct gate *)data)->shared = NULL;
}

static void gate_close(struct gate *gate)
{
    shared_close(gate->shared, gate_closed, gate);
    while (gate->shared)
        uv_run(&loop, UV_RUN_ONCE);
    gate->admit = admit_free(gate->admit);
}

static void on_asked(void *data, int result, const struct refusal *refusal)
{
    struct asked *asked = data;

    asked->done++;
    asked->result = result;
    if (refusal)
        asked->refusal = *refusal;
}

static void ask_for(struct gate *gate, struct asked *asked, struct scope *const *scopes, unsigned count,
                    const struct charge *want)
{
    *asked = (struct asked){0};
    shared_take(gate->shared, &asked->take, scopes, count, want, gate_now(gate), on_asked, asked);
}

/* Ask for one request of TOKENS and MONEY, and wait for the answer. */
static int take_of(struct gate *gate, struct asked *asked, struct scope *scope, uint64_t tokens, uint64_t money)
{
    ask_for(gate, asked, &scope, 1, &(struct charge){1, tokens, money, false});
    turn_until(&asked->done, 1, PATIENCE_MS);
    return asked->done == 1 ? asked->result : -1;
}

static void settle(struct gate *gate, struct asked *asked, uint64_t tokens, uint64_t money)
{
    shared_settle(&asked->take, &(struct charge){1, tokens, money, false}, gate_now(gate));
}

/* Everything written behind has arrived. */
static bool gate_rest(struct gate *gate)
{
    uint64_t end_ms = clock_ms() + PATIENCE_MS;

    while (shared_unsettled(gate->shared) && clock_ms() < end_ms)
        turn_for(2);
    return shared_unsettled(gate->shared) == 0;
}
