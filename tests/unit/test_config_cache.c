/*
 * What is remembered: defaults, every key, a model's own policy, Redis servers as people write them, and every word
 * about what is wrong with them. A password is never among the words.
 */
#include "config/config.h"
#include "config/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ECHO_BACKEND "backends: [{name: local, kind: echo}]\n"
#define ECHO_MODEL ECHO_BACKEND "models:\n  - name: echo\n    backends: [local]\n"
#define MB (UINT64_C(1) << 20)

static void assert_text(struct bytes view, const char *expected)
{
    if (!bytes_equal(view, bytes_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", BYTES_ARG(view), expected);
}

static struct config *read_good(const char *text)
{
    struct config *config = NULL;
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = config_read_text("gate.yaml", "/nonexistent", bytes_of(text), NULL, &errors, &config);
    if (r)
        fail_msg("%d: %.*s", r, BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    return config;
}

/* --- good ones --- */

static void silence_means_defaults(void **state)
{
    static const char *const texts[] = {ECHO_MODEL, ECHO_MODEL "cache:\n", ECHO_MODEL "cache: {redis: ~, ttl: }\n",
                                        ECHO_MODEL "    cache:\ncache: {}\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct config *config = read_good(texts[i]);
        const struct config_cache_policy *policy = &config->models[0].cache;

        assert_int_equal(config->cache.policy.when, CACHE_REPEATABLE);
        assert_int_equal(config->cache.policy.scope, SCOPE_TEAM);
        assert_int_equal(config->cache.policy.replay, REPLAY_INSTANT);
        assert_int_equal(config->cache.policy.ttl_ms, 24 * 3600 * 1000);
        assert_int_equal(config->cache.policy.audit_ppm, 0);
        assert_memory_equal(policy, &config->cache.policy, sizeof(*policy));
        assert_int_equal(config->cache.memory, 128 * MB);
        assert_int_equal(config->cache.entry_bytes, 2 * MB);
        assert_int_equal(config->cache.secret.size, 0);
        assert_false(config->cache.redis.used);
        assert_true(config->backends[0].seeds);
        config_unref(config);
    }
}

static void every_key_is_heard(void **state)
{
    struct config *config;

    setenv("TEST_SECRET", "0123456789abcdef", 1);
    setenv("TEST_PASSWORD", "p@ss/word", 1);
    setenv("TEST_TTL", "10m", 1);
    config = read_good("cache:\n  when: always\n  scope: shared\n  memory: 2g\n  entry: 64m\n  ttl: ${TEST_TTL}\n"
                       "  replay: paced\n  audit: 0.015\n  secret: ${TEST_SECRET}\n"
                       "  redis: {url: 'redis://u:p@h/3', username: gate, password: '${TEST_PASSWORD}', database: 4,\n"
                       "          prefix: 'a.B_9:{x}-', deadline: 20ms, connect: 2s, value: 64m}\n" ECHO_BACKEND);
    assert_int_equal(config->cache.policy.when, CACHE_ALWAYS);
    assert_int_equal(config->cache.policy.scope, SCOPE_SHARED);
    assert_int_equal(config->cache.policy.replay, REPLAY_PACED);
    assert_int_equal(config->cache.policy.ttl_ms, 600000);
    assert_int_equal(config->cache.policy.audit_ppm, 15000);
    assert_int_equal(config->cache.memory, 2048 * MB);
    assert_int_equal(config->cache.entry_bytes, 64 * MB);
    assert_text(config->cache.secret, "0123456789abcdef");
    assert_true(config->cache.redis.used);
    assert_text(config->cache.redis.host, "h");
    assert_int_equal(config->cache.redis.port, 6379);
    assert_text(config->cache.redis.username, "gate");
    assert_text(config->cache.redis.password, "p@ss/word");
    assert_int_equal(config->cache.redis.database, 4);
    assert_text(config->cache.redis.prefix, "a.B_9:{x}-");
    assert_int_equal(config->cache.redis.deadline_ms, 20);
    assert_int_equal(config->cache.redis.connect_ms, 2000);
    assert_int_equal(config->cache.redis.value_bytes, 64 * MB);
    config_unref(config);
}

static void redis_has_defaults(void **state)
{
    struct config *config = read_good("cache: {redis: {url: 'redis://h'}}\n" ECHO_BACKEND);

    assert_true(config->cache.redis.used);
    assert_int_equal(config->cache.redis.username.size, 0);
    assert_int_equal(config->cache.redis.password.size, 0);
    assert_int_equal(config->cache.redis.database, 0);
    assert_text(config->cache.redis.prefix, "embergate");
    assert_int_equal(config->cache.redis.deadline_ms, 50);
    assert_int_equal(config->cache.redis.connect_ms, 1000);
    assert_int_equal(config->cache.redis.value_bytes, MB);
    config_unref(config);
}

static void a_small_memory_has_small_entries(void **state)
{
    static const struct {
        const char *cache;
        uint64_t memory;
        uint32_t entry, value;
    } cases[] = {
        {"{memory: 0}", 0, 2 * MB, MB},
        {"{memory: 0, entry: 1g}", 0, 1024 * MB, MB},
        {"{memory: 1m}", MB, 32 << 10, 32 << 10},
        {"{memory: 32m}", 32 * MB, MB, MB},
        {"{memory: 64m}", 64 * MB, 2 * MB, MB},
        {"{memory: 65m}", 65 * MB, 2 * MB, MB},
        {"{memory: 64m, entry: 2m}", 64 * MB, 2 * MB, MB},
        {"{memory: 1024g, entry: 1k}", 1048576 * MB, 1024, 1024},
        {"{entry: 4m, redis: {url: unix:/r, value: 4m}}", 128 * MB, 4 * MB, 4 * MB},
    };
    char text[200];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config;

        snprintf(text, sizeof(text), "cache: %s\n" ECHO_BACKEND, cases[i].cache);
        config = read_good(text);
        assert_true(config->cache.memory == cases[i].memory);
        assert_int_equal(config->cache.entry_bytes, cases[i].entry);
        assert_int_equal(config->cache.redis.value_bytes, cases[i].value);
        config_unref(config);
    }
}

static void models_have_policies_of_their_own(void **state)
{
    struct config *config =
        read_good("models:\n"
                  "  - {name: a, backends: [local]}\n"
                  "  - {name: b, backends: [local], cache: {when: never}}\n"
                  "  - {name: c, backends: [local], cache: {when: always, ttl: 49d, replay: instant, audit: 1,\n"
                  "     scope: tenant}}\n"
                  "cache: {ttl: 1s, replay: paced, audit: 0.0000001, scope: shared}\n" ECHO_BACKEND);
    const struct config_cache_policy *a = &config->models[0].cache, *b = &config->models[1].cache,
                                     *c = &config->models[2].cache;

    assert_memory_equal(a, &config->cache.policy, sizeof(*a));
    assert_int_equal(a->ttl_ms, 1000);
    assert_int_equal(a->audit_ppm, 1);
    assert_int_equal(b->when, CACHE_NEVER);
    assert_int_equal(b->replay, REPLAY_PACED);
    assert_int_equal(b->scope, SCOPE_SHARED);
    assert_int_equal(c->when, CACHE_ALWAYS);
    assert_true(c->ttl_ms == 49u * 24 * 3600 * 1000);
    assert_int_equal(c->replay, REPLAY_INSTANT);
    assert_int_equal(c->audit_ppm, 1000000);
    assert_int_equal(c->scope, SCOPE_TENANT);
    config_unref(config);
}

static void the_cache_is_heard_beside_backend_urls(void **state)
{
    const char *urls[] = {"http://h"};
    const struct config_overrides overrides = {.backends = urls, .backend_count = 1};
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read_text("gate.yaml", ".", BYTES("cache: {memory: 0, when: never}\n"), &overrides,
                                      &errors, &config), 0);
    assert_true(config->cache.memory == 0);
    assert_int_equal(config->cache.policy.when, CACHE_NEVER);
    assert_true(config->backends[0].seeds);
    config_unref(config);
    assert_int_equal(config_read(NULL, &overrides, &errors, &config), 0);
    assert_true(config->cache.memory == 128 * MB);
    config_unref(config);
    buffer_deinit(&errors);
}

static void seeds_depend_on_the_kind(void **state)
{
    struct config *config = read_good("backends:\n"
                                      "  - {name: a, kind: sglang, url: 'http://h'}\n"
                                      "  - {name: b, kind: sglang, url: 'http://h', seeds: true}\n"
                                      "  - {name: c, kind: vllm, url: 'http://h'}\n"
                                      "  - {name: d, kind: vllm, url: 'http://h', seeds: false}\n"
                                      "  - {name: e, kind: vllm, url: 'http://h', seeds: ~}\n");

    assert_false(config->backends[0].seeds);
    assert_true(config->backends[1].seeds);
    assert_true(config->backends[2].seeds);
    assert_false(config->backends[3].seeds);
    assert_true(config->backends[4].seeds);
    config_unref(config);
}

/* --- Redis servers --- */

static void redis_urls_are_taken_apart(void **state)
{
    static const struct {
        const char *url, *host, *unix_path, *username, *password;
        unsigned port, database;
    } cases[] = {
        {"redis://h", "h", "", "", "", 6379, 0},
        {"redis://h/", "h", "", "", "", 6379, 0},
        {"redis://h:1/15", "h", "", "", "", 1, 15},
        {"REDIS://cache-1.example.:65535/65535", "cache-1.example.", "", "", "", 65535, 65535},
        {"redis://127.0.0.1:6380", "127.0.0.1", "", "", "", 6380, 0},
        {"redis://[::1]", "::1", "", "", "", 6379, 0},
        {"redis://[fe80::1]:7/2", "fe80::1", "", "", "", 7, 2},
        {"redis://u@h", "h", "", "u", "", 6379, 0},
        {"redis://u:@h", "h", "", "u", "", 6379, 0},
        {"redis://:p@h", "h", "", "", "p", 6379, 0},
        {"redis://@h", "h", "", "", "", 6379, 0},
        {"redis://user:password@h:6379/0", "h", "", "user", "password", 6379, 0},
        {"redis://us%3Aer:p%40%2f%25%3F%23@[::1]:2/3", "::1", "", "us:er", "p@/%?#", 2, 3},
        {"redis://u:p@ss@h", "h", "", "u", "p@ss", 6379, 0},
        {"redis://u:p:q@h", "h", "", "u", "p:q", 6379, 0},
        {"redis://u:%C3%BC@h", "h", "", "u", "\xc3\xbc", 6379, 0},
        {"unix:/run/redis.sock", "", "/run/redis.sock", "", "", 0, 0},
        {"unix:///run/redis.sock", "", "/run/redis.sock", "", "", 0, 0},
        {"unix:/run/redis.sock?db=2", "", "/run/redis.sock", "", "", 0, 2},
        {"redis+unix:/run/redis.sock", "", "/run/redis.sock", "", "", 0, 0},
        {"redis+unix:///run/redis.sock?db=9", "", "/run/redis.sock", "", "", 0, 9},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_redis redis = {0};
        struct arena arena = {0};
        const char *wrong = redis_url_read(&arena, bytes_of(cases[i].url), &redis);

        if (wrong)
            fail_msg("%s: %s", cases[i].url, wrong);
        assert_text(redis.host, cases[i].host);
        assert_text(redis.unix_path, cases[i].unix_path);
        assert_text(redis.username, cases[i].username);
        assert_text(redis.password, cases[i].password);
        assert_int_equal(redis.port, cases[i].port);
        assert_int_equal(redis.database, cases[i].database);
        arena_deinit(&arena);
    }
}

static void bad_redis_urls_are_refused(void **state)
{
    static const struct {
        const char *url, *wrong;
    } cases[] = {
        {"h:6379", "must begin with redis://"},
        {"redis:h", "must begin with redis://"},
        {"http://h", "must begin with redis://"},
        {"rediss://u:hidden@h", "run stunnel"},
        {"REDISS://h", "run stunnel"},
        {"redis://", "neither a name"},
        {"redis:///0", "neither a name"},
        {"redis://u:hidden@", "neither a name"},
        {"redis://u:hidden@h h", "neither a name"},
        {"redis://::1", "neither a name"},
        {"redis://[::1", "cannot be read"},
        {"redis://[hidden]:1", "neither a name"},
        {"redis://h:0", "from 1 to 65535"},
        {"redis://h:", "from 1 to 65535"},
        {"redis://h:65536", "from 1 to 65535"},
        {"redis://h:hidden", "from 1 to 65535"},
        {"redis://h/x", "the database must be"},
        {"redis://h/-1", "the database must be"},
        {"redis://h/65536", "the database must be"},
        {"redis://h/0/", "the database must be"},
        {"redis://h/?db=1", "no query"},
        {"redis://u:hidden#@h", "no query"},
        {"redis://u:hid/den@h", "a slash is written %2F"},
        {"redis://u:hidden%@h", "must begin two hex digits"},
        {"redis://u:hidden%2@h", "must begin two hex digits"},
        {"redis://u:hidden%zz@h", "must begin two hex digits"},
        {"redis://%2:hidden@h", "must begin two hex digits"},
        {"unix:", "from the root"},
        {"unix:hidden", "from the root"},
        {"unix:/", "from the root"},
        {"redis+unix://h", "from the root"},
        {"unix:/a?hidden", "only ?db=NUMBER"},
        {"unix:/a?db=", "the database must be"},
        {"unix:/a?db=1&x=2", "the database must be"},
        {"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789", "shorter than 108"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_redis redis = {.database = 7}, before = redis;
        struct arena arena = {0};
        const char *wrong = redis_url_read(&arena, bytes_of(cases[i].url), &redis);

        if (!wrong || !strstr(wrong, cases[i].wrong) || strstr(wrong, "hidden"))
            fail_msg("%s: %s", cases[i].url, wrong ? wrong : "is good");
        assert_memory_equal(&redis, &before, sizeof(redis));
        arena_deinit(&arena);
    }
}

/* Each cut on the heap, at its exact size: a read too far is seen. */
static void no_cut_url_leads_outside(void **state)
{
    static const char *const urls[] = {"redis://us%3Aer:p%40%2f@[::1]:2/3", "redis+unix:///run/r.sock?db=9",
                                       "redis://@:%%%@/:/@", "rediss://h"};

    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        for (size_t size = 0; size <= strlen(urls[i]); size++) {
            struct config_redis redis = {0};
            struct arena arena = {0};
            char *copy = malloc(size ? size : 1);

            memcpy(copy, urls[i], size);
            redis_url_read(&arena, (struct bytes){copy, size}, &redis);
            free(copy);
            arena_deinit(&arena);
        }
    }
}

/* --- bad files --- */

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *errors;
    } cases[] = {
        {"cache: on\n" ECHO_BACKEND, "gate.yaml:1: cache: must be a map of keys and values\n"},
        {"cache:\n  wen: never\n  when: sometimes\n  scope: teams\n  replay: 5\n  ttl: 500ms\n  audit: 2\n"
         "  memory: 1k\n  entry: 1\n  secret: short\n  redis: redis://u:hidden@h\n" ECHO_BACKEND,
         "gate.yaml:2: cache.wen: unknown key; did you mean \"when\"?\n"
         "gate.yaml:3: cache.when: \"sometimes\" is none of repeatable, never, always\n"
         "gate.yaml:4: cache.scope: \"teams\" is none of tenant, team, shared; did you mean \"team\"?\n"
         "gate.yaml:5: cache.replay: \"5\" is none of instant, paced\n"
         "gate.yaml:6: cache.ttl: must be from 1s to 49d\n"
         "gate.yaml:7: cache.audit: must be a number from 0 to 1, such as 0.01\n"
         "gate.yaml:8: cache.memory: must be 0, or from 1m to 1024g\n"
         "gate.yaml:10: cache.secret: must have at least 16 bytes\n"
         "gate.yaml:11: cache.redis: must be a map of keys and values\n"},
        {"cache:\n  ttl: 50d\n  audit: -0.1\n  memory: 2000g\n  entry: 2g\n  secret: [x]\n" ECHO_BACKEND,
         "gate.yaml:2: cache.ttl: must be from 1s to 49d\n"
         "gate.yaml:3: cache.audit: must be a number from 0 to 1, such as 0.01\n"
         "gate.yaml:4: cache.memory: must be from 0 to 1024g\n"
         "gate.yaml:6: cache.secret: must be text\n"},
        {"cache:\n  ttl: forever\n  audit: 1%\n  memory: lots\n  entry: 2g\n" ECHO_BACKEND,
         "gate.yaml:2: cache.ttl: must be a duration such as 500ms, 10s, 5m or 1h, not \"forever\"\n"
         "gate.yaml:3: cache.audit: must be a number from 0 to 1, such as 0.01\n"
         "gate.yaml:4: cache.memory: must be a size such as 512, 64k, 16m or 1g, not \"lots\"\n"},
        {"cache:\n  memory: 16m\n  entry: 2m\n  redis: {url: 'unix:/r', value: 64m}\n" ECHO_BACKEND,
         "gate.yaml:3: cache.entry: must be at most a thirty-second of memory (512k)\n"},
        {"cache:\n  entry: 512\n  redis: {url: 'unix:/r', value: 65m}\n" ECHO_BACKEND,
         "gate.yaml:2: cache.entry: must be from 1k to 1g\n"
         "gate.yaml:3: cache.redis.value: must be from 1k to 64m\n"},
        {"cache:\n  redis: {url: 'unix:/r', value: 3m}\n" ECHO_BACKEND,
         "gate.yaml:2: cache.redis.value: must be at most entry (2m): what is larger is not kept, and so never "
         "written\n"},
        {"cache:\n  redis:\n    username: u\n    prefix: a b\n    deadline: 0\n    connect: 2m\n    database: 65536\n"
         ECHO_BACKEND,
         "gate.yaml:2: cache.redis.url: is missing\n"
         "gate.yaml:4: cache.redis.prefix: may hold letters, digits and ._:{}- only\n"
         "gate.yaml:5: cache.redis.deadline: must be from 1ms to 10s\n"
         "gate.yaml:6: cache.redis.connect: must be from 1ms to 1m\n"
         "gate.yaml:7: cache.redis.database: must be from 0 to 65535\n"},
        {"cache:\n  redis:\n    url: rediss://u:hidden@h\n    prefix: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n    password: \"hid\\nden\"\n"
         ECHO_BACKEND,
         "gate.yaml:3: cache.redis.url: TLS is not spoken to Redis: run stunnel (or the like) next to this gateway, "
         "and give the address it listens on, such as redis://127.0.0.1:6380\n"
         "gate.yaml:4: cache.redis.prefix: must have at most 64 bytes\n"
         "gate.yaml:5: cache.redis.password: must not hold control characters (a line break at its end?)\n"},
        {"cache: {redis: {url: 'redis://u@h'}}\n" ECHO_BACKEND,
         "gate.yaml:1: cache.redis.url: names a user without a password: give password as well\n"},
        {"cache: {redis: {url: 'redis://h',\n username: u}}\n" ECHO_BACKEND,
         "gate.yaml:2: cache.redis.username: names a user without a password: give password as well\n"},
        {"cache: {redis: {url: '${TEST_HIDDEN}',\n username: u, password: '${TEST_GONE}'}, secret: '${TEST_SHORT}',\n"
         " when: '${TEST_SHORT}', ttl: '${TEST_SHORT}', memory: '${TEST_SHORT}'}\n" ECHO_BACKEND,
         "gate.yaml:1: cache.redis.url: the port must be a number from 1 to 65535\n"
         "gate.yaml:2: cache.secret: must have at least 16 bytes\n"
         "gate.yaml:2: cache.redis.password: the environment variable TEST_GONE is not set\n"
         "gate.yaml:3: cache.when: \"${TEST_SHORT}\" is none of repeatable, never, always\n"
         "gate.yaml:3: cache.ttl: must be a duration such as 500ms, 10s, 5m or 1h, not \"${TEST_SHORT}\"\n"
         "gate.yaml:3: cache.memory: must be a size such as 512, 64k, 16m or 1g, not \"${TEST_SHORT}\"\n"},
        {ECHO_MODEL "    cache: {memory: 1m, when: Never, ttl: 0, audit: x, replay: pased, scope: [a]}\n",
         "gate.yaml:5: models[0].cache.memory: unknown key\n"
         "gate.yaml:5: models[0].cache.scope: must be text\n"
         "gate.yaml:5: models[0].cache.when: \"Never\" is none of repeatable, never, always; did you mean \"never\"?\n"
         "gate.yaml:5: models[0].cache.replay: \"pased\" is none of instant, paced; did you mean \"paced\"?\n"
         "gate.yaml:5: models[0].cache.ttl: must be from 1s to 49d\n"
         "gate.yaml:5: models[0].cache.audit: must be a number from 0 to 1, such as 0.01\n"},
        {"backends: [{name: local, kind: echo, seeds: maybe, seds: 1}]\n",
         "gate.yaml:1: backends[0].seds: unknown key; did you mean \"seeds\"?\n"
         "gate.yaml:1: backends[0].seeds: must be true or false, not \"maybe\"\n"},
    };

    unsetenv("TEST_GONE");
    setenv("TEST_SHORT", "hidden", 1);
    setenv("TEST_HIDDEN", "redis://u:p@h:hidden", 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config = NULL;
        struct buffer errors;

        buffer_init(&errors);
        assert_int_equal(config_read_text("gate.yaml", "/nonexistent", bytes_of(cases[i].text), NULL, &errors,
                                          &config), CONFIG_E_BAD);
        assert_null(config);
        buffer_append_char(&errors, '\0');
        assert_null(strstr(errors.data, "hidden"));
        assert_string_equal(errors.data, cases[i].errors);
        buffer_deinit(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_means_defaults),
        cmocka_unit_test(every_key_is_heard),
        cmocka_unit_test(redis_has_defaults),
        cmocka_unit_test(a_small_memory_has_small_entries),
        cmocka_unit_test(models_have_policies_of_their_own),
        cmocka_unit_test(the_cache_is_heard_beside_backend_urls),
        cmocka_unit_test(seeds_depend_on_the_kind),
        cmocka_unit_test(redis_urls_are_taken_apart),
        cmocka_unit_test(bad_redis_urls_are_refused),
        cmocka_unit_test(no_cut_url_leads_outside),
        cmocka_unit_test(mistakes_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
