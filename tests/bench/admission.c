/*
 * What admission costs a request: 10,000 keys in 100 teams, all five scopes on, each with all limits it may have.
 *
 *     meson compile -C build libembergate.a      (with -Dbuildtype=release)
 *     cc -O2 -std=c11 -D_GNU_SOURCE -I src tests/bench/admission.c build/libembergate.a -luv -lcrypto \
 *        -lyaml -lcyaml -lyajl -lhiredis -lm
 *     ./a.out [REQUESTS [THREADS]]
 *
 * Keys are asked for at random, so that each request finds its key's scope outside the nearest caches. Instructions:
 * the difference of two runs under callgrind with PART=0 to 3 in the environment, REQUESTS apart.
 */
#include "admit/keyring.h"
#include "admit/reservation.h"
#include "base/alloc.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define KEYS 10000
#define TEAMS 100
#define MODELS 20
#define BACKENDS 8
#define THREADS_MOST 64

enum part { FIND, TAKE_SETTLE, WITH_HEADERS, WALK, PARTS };

static const char *const part_names[PARTS] = {
    [FIND] = "digest and key",
    [TAKE_SETTLE] = "take and settle",
    [WITH_HEADERS] = "the same, and the tightest for headers",
    [WALK] = "all: digest, key, take, headers, settle",
};

struct world {
    struct config_keys *keys;
    struct keyring *keyring;
    struct admit *admit;
    struct scope *of_key[KEYS], *of_team[TEAMS], *of_model[MODELS], *of_backend[BACKENDS], *gateway;
};

struct bench {
    uv_thread_t thread;
    const struct world *world;
    enum part part;
    uint64_t requests, state, good, lines;
    struct digest *digest;
};

static struct scope *scope_of(struct admit *admit, enum scope_kind kind, uint32_t number)
{
    const uint64_t plenty = UINT64_C(1) << 40;
    const struct config_quota quota = {
        .requests_per_minute = plenty, .tokens_per_minute = plenty, .concurrent = 100000, .tokens_per_day = plenty << 10,
        .tokens_per_month = plenty << 10, .money_per_day = plenty << 10, .money_per_month = plenty << 10,
    };
    char name[16];

    snprintf(name, sizeof(name), "name-%u", number);
    return admit_scope(admit, kind, bytes_of(name), &quota);
}

static struct config_keys *make_keys(void)
{
    struct config_keys *keys = ALLOC_NEW(struct config_keys);
    struct digest *digest = digest_new(BYTES_NONE);

    keys->references = 1;
    keys->count = KEYS;
    keys->list = arena_zeroed(&keys->arena, KEYS * sizeof(*keys->list));
    for (uint32_t i = 0; i < KEYS; i++) {
        keys->list[i].name = arena_printf(&keys->arena, "eg-0123456789012345678901234567890123456%06u", i);
        digest_begin(digest);
        digest_add(digest, keys->list[i].name);
        digest_end(digest, keys->list[i].digest);
    }
    digest_free(digest);
    return keys;
}

static void world_init(struct world *world)
{
    world->keys = make_keys();
    world->keyring = keyring_new(world->keys, NULL);
    world->admit = admit_new();
    for (uint32_t i = 0; i < KEYS; i++)
        world->of_key[i] = scope_of(world->admit, SCOPE_OF_KEY, i);
    for (uint32_t i = 0; i < TEAMS; i++)
        world->of_team[i] = scope_of(world->admit, SCOPE_OF_TEAM, i);
    for (uint32_t i = 0; i < MODELS; i++)
        world->of_model[i] = scope_of(world->admit, SCOPE_OF_MODEL, i);
    for (uint32_t i = 0; i < BACKENDS; i++)
        world->of_backend[i] = scope_of(world->admit, SCOPE_OF_BACKEND, i);
    world->gateway = scope_of(world->admit, SCOPE_OF_GATEWAY, 0);
}

static void world_deinit(struct world *world)
{
    keyring_unref(world->keyring);
    config_keys_unref(world->keys);
    admit_free(world->admit);
}

static uint32_t next_random(struct bench *bench)
{
    bench->state = bench->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(bench->state >> 33);
}

static void find(struct bench *bench, uint32_t key)
{
    uint8_t digest[DIGEST_SIZE];

    digest_begin(bench->digest);
    digest_add(bench->digest, bench->world->keys->list[key].name);
    digest_end(bench->digest, digest);
    bench->good += keyring_find(bench->world->keyring, digest) == &bench->world->keys->list[key];
}

static void take_and_settle(struct bench *bench, uint32_t key, struct admit_time now)
{
    const struct world *world = bench->world;
    struct scope *const scopes[SCOPE_KINDS] = {
        world->of_key[key], world->of_team[key % TEAMS], world->of_model[key % MODELS],
        world->of_backend[key % BACKENDS], world->gateway,
    };
    struct reservation reservation = {0};
    struct scope_line line;
    struct refusal refusal;

    bench->good += reservation_take(&reservation, scopes, SCOPE_KINDS, &(struct charge){1, 1200, 900}, now, &refusal) == 0;
    if (bench->part >= WITH_HEADERS) {
        bench->lines += reservation_line(&reservation, QUOTA_REQUESTS, &line) ? line.remaining : 0;
        bench->lines += reservation_line(&reservation, QUOTA_TOKENS, &line) ? line.remaining : 0;
    }
    reservation_settle(&reservation, &(struct charge){1, 800, 600}, now);
}

static void run(void *data)
{
    struct bench *bench = data;
    int64_t wall_s = clock_wall_s();

    for (uint64_t i = 0; i < bench->requests; i++) {
        uint32_t key = next_random(bench) % KEYS;

        if (bench->part == FIND || bench->part == WALK)
            find(bench, key);
        if (bench->part != FIND)
            take_and_settle(bench, key, (struct admit_time){clock_us(), wall_s});
    }
}

/* Nanoseconds of each thread per request. */
static double measure(const struct world *world, enum part part, uint64_t requests, unsigned threads)
{
    static struct bench benches[THREADS_MOST];
    uint64_t start = clock_us(), good = 0, wanted = requests * threads * (part == WALK ? 2 : 1);

    for (unsigned i = 0; i < threads; i++) {
        benches[i] = (struct bench){.world = world, .part = part, .requests = requests, .state = i + 1};
        benches[i].digest = digest_new(BYTES_NONE);
        uv_thread_create(&benches[i].thread, run, &benches[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        uv_thread_join(&benches[i].thread);
        good += benches[i].good;
        digest_free(benches[i].digest);
    }
    if (good != wanted)
        fprintf(stderr, "%s: %lu were not good\n", part_names[part], (unsigned long)(wanted - good));
    return (double)(clock_us() - start) * 1000 / (double)requests;
}

int main(int argc, char **argv)
{
    static struct world world;
    uint64_t requests = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    const char *only = getenv("PART");      /* of one part, for callgrind */

    if (threads < 1 || threads > THREADS_MOST)
        return 2;
    world_init(&world);
    for (int part = 0; part < PARTS; part++) {
        if (only && strtol(only, NULL, 10) != part)
            continue;
        if (!only)
            measure(&world, (enum part)part, requests / 10 + 1, threads);
        printf("%-42s %8.0f ns\n", part_names[part], measure(&world, (enum part)part, requests, threads));
    }
    world_deinit(&world);
    return 0;
}
