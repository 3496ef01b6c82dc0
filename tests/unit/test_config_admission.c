/*
 * Who may ask and how much: defaults, every key of the file, exact money, dates, metadata, files of keys; and every word
 * about what is wrong with them. What stands in the place of a digest is never among the words.
 */
#include "config/config.h"
#include "config/values.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define ECHO_BACKEND "backends: [{name: local, kind: echo}]\n"
#define ECHO_MODEL ECHO_BACKEND "models:\n  - name: echo\n    backends: [local]\n"
#define ZEROS "000000000000000000000000000000000000000000000000000000000000000"
#define KEY(name, digit) "{name: " name ", sha256: " ZEROS digit "}"
#define DOOR "is reachable from other machines, and anyone who reaches it may ask: give keys (embergate key new makes " \
             "one), or say admission: {open: true}\n"

static const struct config anything;

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
    r = config_read_text("gate.yaml", "/folder", bytes_of(text), NULL, &errors, &config);
    if (r)
        fail_msg("%d: %.*s", r, BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    return config;
}

/* --- values --- */

static void money_is_exact(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t amount;
    } cases[] = {
        {"0", 0, 0}, {"0.0", 0, 0}, {"12.50", 0, 12500000}, {"0.000001", 0, 1}, {"0.1", 0, 100000},
        {"999999999999.999999", 0, UINT64_C(999999999999999999)}, {"007", 0, 7000000},
        {"1000000000000", -ERANGE, 0}, {"9999999999999999999999", -ERANGE, 0}, {"0.0000001", -EINVAL, 0},
        {"1.", -EINVAL, 0}, {".5", -EINVAL, 0}, {"", -EINVAL, 0}, {"-1", -EINVAL, 0}, {"+1", -EINVAL, 0},
        {"1e3", -EINVAL, 0}, {"1,5", -EINVAL, 0}, {" 1", -EINVAL, 0}, {"1.5 ", -EINVAL, 0}, {"1.5.5", -EINVAL, 0},
        {"$5", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t amount = 4711;
        int r = value_money(bytes_of(cases[i].text), &amount);

        if (r != cases[i].r || amount != (r ? 4711 : cases[i].amount))
            fail_msg("%s: %d, %llu", cases[i].text, r, (unsigned long long)amount);
    }
}

static void numbers_have_powers_of_a_thousand(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t number;
    } cases[] = {
        {"0", 0, 0}, {"60", 0, 60}, {"100k", 0, 100000}, {"2m", 0, 2000000}, {"3K", 0, 3000}, {"4M", 0, 4000000},
        {"999999999999999m", -ERANGE, 0}, {"1000000000000000", -ERANGE, 0}, {"1g", -EINVAL, 0}, {"k", -EINVAL, 0},
        {"1.5k", -EINVAL, 0}, {"-1", -EINVAL, 0}, {"", -EINVAL, 0}, {"1 k", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t number = 4711;
        int r = value_number(bytes_of(cases[i].text), &number);

        if (cases[i].r == -ERANGE && strchr(cases[i].text, 'm') && r == 0)
            continue; /* it fits into 64 bits */
        if (r != cases[i].r || number != (r ? 4711 : cases[i].number))
            fail_msg("%s: %d, %llu", cases[i].text, r, (unsigned long long)number);
    }
}

static void dates_are_seconds(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: refused */
    } cases[] = {
        {"1970-01-01", 0}, {"1970-01-02T00:00:01Z", 86401}, {"2000-02-29", 951782400}, {"2000-03-01", 951868800},
        {"2027-01-01", 1798761600}, {"2027-01-01T12:00:00Z", 1798804800}, {"2100-03-01", 4107542400},
        {"9999-12-31T23:59:59Z", 253402300799}, {"2024-02-29T23:59:59Z", 1709251199}, {"2023-02-29", -1},
        {"2100-02-29", -1}, {"1969-12-31", -1}, {"2027-00-01", -1}, {"2027-13-01", -1}, {"2027-01-00", -1},
        {"2027-04-31", -1}, {"2027-01-01T24:00:00Z", -1}, {"2027-01-01T00:60:00Z", -1},
        {"2027-01-01T00:00:60Z", -1}, {"2027-01-01T00:00:00", -1}, {"2027-01-01T00:00:00+00", -1},
        {"2027-01-01 00:00:00Z", -1}, {"2027-1-1", -1}, {"27-01-01", -1}, {"", -1}, {"2027-01-01Z", -1},
        {"20270101", -1}, {"2027/01/01", -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t seconds = -1;
        int r = value_time(bytes_of(cases[i].text), &seconds);

        if (seconds != cases[i].seconds || (r == 0) != (seconds >= 0))
            fail_msg("%s: %d, %lld", cases[i].text, r, (long long)seconds);
    }
}

/* Every day of 400 years and more is the one after the day before. */
static void no_day_is_lost(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t expected = 0;
    char text[32];

    for (int year = 1970; year < 2420; year++) {
        for (int month = 1; month <= 12; month++) {
            bool leap = month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0);

            for (int day = 1; day <= lengths[month - 1] + leap; day++, expected += 86400) {
                int64_t seconds = -1;

                snprintf(text, sizeof(text), "%04d-%02d-%02d", year, month, day);
                assert_int_equal(value_time(bytes_of(text), &seconds), 0);
                assert_true(seconds == expected);
            }
        }
    }
}

/* --- good files --- */

static void silence_means_defaults(void **state)
{
    static const char *const texts[] = {
        ECHO_MODEL, ECHO_MODEL "keys:\nkeys_file:\nteams:\nadmission:\n",
        ECHO_MODEL "keys: []\nteams: []\nadmission: {}\n",
        ECHO_MODEL "    quota:\n    queue:\n    price:\nadmission: {quota: {}, redis: ~, lease: , open: ~}\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct config *config = read_good(texts[i]);
        const struct config_admission *admission = &config->admission;

        assert_null(config->keys);
        assert_int_equal(config->keys_file.size, 0);
        assert_int_equal(config->team_count, 0);
        assert_false(admission->quota.any);
        assert_false(admission->redis.used);
        assert_int_equal(admission->redis.deadline_ms, 20);
        assert_int_equal(admission->redis.connect_ms, 1000);
        assert_text(admission->redis.prefix, "embergate");
        assert_int_equal(admission->gateways, 1);
        assert_int_equal(admission->lease_ms, 30000);
        assert_false(admission->charge_joined || admission->charge_hits || admission->open);
        assert_false(config->models[0].quota.any || config->backends[0].quota.any);
        assert_int_equal(config->models[0].queue.length, 0);
        assert_int_equal(config->backends[0].queue.length, 0);
        assert_int_equal(config->models[0].price.input + config->models[0].price.output, 0);
        assert_int_equal(config->models[0].default_output, 1024);
        assert_false(config->backends[0].pass_through_key);
        config_unref(config);
    }
}

static void every_limit_is_heard(void **state)
{
    struct config *config = read_good(
        "admission:\n"
        "  quota: {requests_per_minute: 60, requests_burst: 10, tokens_per_minute: 100k, tokens_burst: 2m,\n"
        "          concurrent: 4, tokens_per_day: 1m, tokens_per_month: 20m, money_per_day: 12.50,\n"
        "          money_per_month: 0.000001, on_redis_failure: closed}\n"
        "  charge_joined: true\n  charge_hits: true\n  gateways: 3\n  lease: 10s\n  open: true\n"
        "  redis: {url: 'redis://h:1/2', username: u, password: p, database: 3, prefix: x, deadline: 5ms, connect: 2s}\n"
        "teams: [{name: a, weight: 2, quota: {tokens_per_minute: 7}}, {name: b, quota: {on_redis_failure: open}}]\n"
        "backends: [{name: local, kind: echo, pass_through_key: true, quota: {concurrent: 9},\n"
        "            queue: {length: 5, longest: 100ms}}]\n"
        "models: [{name: m, backends: [local], quota: {concurrent: 1, requests_per_minute: 1k}, queue: {},\n"
        "          price: {input: 0.5, output: 1.50}, default_output: 50}]\n");
    const struct config_quota *quota = &config->admission.quota;

    assert_true(quota->any);
    assert_int_equal(quota->requests_per_minute, 60);
    assert_int_equal(quota->requests_burst, 10);
    assert_int_equal(quota->tokens_per_minute, 100000);
    assert_int_equal(quota->tokens_burst, 2000000);
    assert_int_equal(quota->concurrent, 4);
    assert_int_equal(quota->tokens_per_day, 1000000);
    assert_int_equal(quota->tokens_per_month, 20000000);
    assert_int_equal(quota->money_per_day, 12500000);
    assert_int_equal(quota->money_per_month, 1);
    assert_int_equal(quota->on_redis_failure, REDIS_FAILURE_CLOSED);
    assert_true(config->admission.charge_joined && config->admission.charge_hits && config->admission.open);
    assert_int_equal(config->admission.gateways, 3);
    assert_int_equal(config->admission.lease_ms, 10000);
    assert_true(config->admission.redis.used);
    assert_text(config->admission.redis.host, "h");
    assert_int_equal(config->admission.redis.database, 3);
    assert_text(config->admission.redis.prefix, "x");
    assert_int_equal(config->admission.redis.deadline_ms, 5);
    assert_false(config->cache.redis.used);
    assert_int_equal(config->team_count, 2);
    assert_int_equal(config->teams[0].weight, 2);
    assert_int_equal(config->teams[0].quota.tokens_burst, 7);
    assert_int_equal(config->teams[1].weight, 1);
    assert_false(config->teams[1].quota.any);
    assert_int_equal(config->teams[1].quota.on_redis_failure, REDIS_FAILURE_OPEN);
    assert_true(config->backends[0].pass_through_key);
    assert_int_equal(config->backends[0].queue.length, 5);
    assert_int_equal(config->backends[0].queue.longest_ms, 100);
    assert_int_equal(config->models[0].quota.requests_burst, 1000);
    assert_int_equal(config->models[0].queue.length, 100);
    assert_int_equal(config->models[0].queue.longest_ms, 30000);
    assert_int_equal(config->models[0].price.input, 500000);
    assert_int_equal(config->models[0].price.output, 1500000);
    assert_int_equal(config->models[0].default_output, 50);
    config_unref(config);
}

static void every_key_is_heard(void **state)
{
    struct config *config;
    const struct config_key *key;

    setenv("TEST_PROJECT", "a \"b\"\n\xc3\xbc", 1);
    config = read_good(
        ECHO_MODEL "    aliases: [other]\nvariants: [{name: v, model: echo, adapter: x}]\nteams: [{name: research}]\n"
        "keys_file: keys.yaml\n"
        "keys:\n"
        "  - name: alice@example.org\n    team: research\n    expires: 2027-01-01\n    models: [echo, other, v]\n"
        "    sha256: 00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\n"
        "    quota: {concurrent: 2}\n"
        "    metadata: {z: 1, project: '${TEST_PROJECT}', a: ~, t: true, f: 'false', n: -1.50e3, s: '7', o: 007,\n"
        "               e: '', y: yes, 'a b': \"$${\"}\n"
        "  - {name: '1', expires: '1970-01-01', metadata: {}, sha256: " ZEROS "1}\n");
    assert_text(config->keys_file, "/folder/keys.yaml");
    assert_int_equal(config->keys->count, 2);
    key = config->keys->list;
    assert_text(key->name, "alice@example.org");
    assert_text(key->team, "research");
    assert_int_equal(key->digest[1], 0x11);
    assert_int_equal(key->digest[31], 0xff);
    assert_true(key->expires_s == 1798761600);
    assert_int_equal(key->model_count, 3);
    assert_text(key->models[2], "v");
    assert_int_equal(key->quota.concurrent, 2);
    assert_text(key->metadata, "{\"a\":null,\"a b\":\"${\",\"e\":\"\",\"f\":\"false\",\"n\":-1.50e3,\"o\":\"007\","
                               "\"project\":\"a \\\"b\\\"\\n\xc3\xbc\",\"s\":\"7\",\"t\":true,\"y\":\"yes\",\"z\":1}");
    key++;
    assert_int_equal(key->team.size, 0);
    assert_int_equal(key->expires_s, 1);
    assert_int_equal(key->model_count, 0);
    assert_int_equal(key->metadata.size, 0);
    assert_false(key->quota.any);
    config_unref(config);
}

/* Without lists of teams and models, keys may name any. */
static void keys_without_lists_name_anything(void **state)
{
    const char *urls[] = {"http://h"};
    const struct config_overrides overrides = {.backends = urls, .backend_count = 1};
    static const char keys[] = "keys: [{name: a, team: t, models: [x], sha256: " ZEROS "1}]\nkeys_file: /k.yaml\n";
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read_text("g", ".", bytes_of(keys), &overrides, &errors, &config), 0);
    assert_int_equal(config->keys->count, 1);
    assert_text(config->keys_file, "/k.yaml");
    config_unref(config);
    config_unref(read_good("keys: [{name: a, team: t, models: [x], sha256: " ZEROS "1}]\n" ECHO_BACKEND));
    buffer_deinit(&errors);
}

/* A key's snapshot outlives the one of the file. */
static void keys_outlive_their_file(void **state)
{
    struct config *config = read_good(ECHO_BACKEND "keys: [" KEY("a", "1") "]\n");
    struct config_keys *keys = config_keys_ref(config->keys);

    config_unref(config);
    assert_text(keys->list[0].name, "a");
    assert_null(config_keys_unref(keys));
    assert_null(config_keys_unref(NULL));
}

static void *take_and_give(void *data)
{
    for (int i = 0; i < 20000; i++)
        config_keys_unref(config_keys_ref(data));
    return NULL;
}

static void references_are_counted_by_all_threads(void **state)
{
    struct config *config = read_good(ECHO_BACKEND "keys: [" KEY("a", "1") "]\n");
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, take_and_give, config->keys);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(config->keys->references, 1);
    config_unref(config);
}

/* --- bad files --- */

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *errors;
    } cases[] = {
        {ECHO_BACKEND "keys:\n  - " KEY("a", "1") "\n  - " KEY("b", "1") "\n  - " KEY("a", "2") "\n",
         "gate.yaml:4: keys[1].sha256: \"" ZEROS "1\" is already the digest of a key, see line 3\n"
         "gate.yaml:5: keys[2].name: \"a\" is already the name of a key, see line 3\n"},
        {ECHO_BACKEND "keys: [{name: a}, {sha256: eg-hidden, name: b, key: eg-hidden}]\n",
         "gate.yaml:2: keys[0].sha256: is missing\n"
         "gate.yaml:2: keys[1].key: unknown key\n"
         "gate.yaml:2: keys[1].sha256: must be 64 hex digits: the SHA-256 of a key, as embergate key hash tells it\n"},
        {ECHO_BACKEND "teams: [{name: red}]\nkeys: [{name: a, team: read, sha256: " ZEROS "1}]\n",
         "gate.yaml:3: keys[0].team: no entry of teams is called \"read\"\n"},
        {ECHO_BACKEND "admission: {quota: {requests_per_minute: 0, requests_burst: 1, money_per_day: 0,\n"
                      "  tokens_per_minute: 10, tokens_burst: 15k, on_redis_failure: locl, money_per_month: 1000000000000,\n"
                      "  tokens_per_day: 9999999999999m}}\n",
         "gate.yaml:2: admission.quota.requests_per_minute: must be from 1 to 1000000000\n"
         "gate.yaml:2: admission.quota.money_per_day: must not be 0\n"
         "gate.yaml:3: admission.quota.money_per_month: must be below a million millions\n"
         "gate.yaml:3: admission.quota.tokens_burst: must be at most what a day gives (14400)\n"
         "gate.yaml:3: admission.quota.on_redis_failure: \"locl\" is none of local, open, closed; did you mean \"local\"?\n"
         "gate.yaml:4: admission.quota.tokens_per_day: must be from 1 to 1000000000000000\n"},
        {ECHO_MODEL "    queue: {length: 200000}\n    quota: {concurrent: 5}\n    price: {input: 1.0000001, out: 1}\n",
         "gate.yaml:5: models[0].queue.length: must be from 0 to 100000\n"
         "gate.yaml:7: models[0].price.out: unknown key\n"
         "gate.yaml:7: models[0].price.input: must be an amount such as 12.50, with at most six decimals, not "
         "\"1.0000001\"\n"},
        {ECHO_MODEL "    quota: {concurrent: 5}\nadmission: {quota: {money_per_day: 5}}\n",
         "gate.yaml:6: admission.quota: has a budget of money, and no model has a price, so nothing would ever be spent: "
         "give models a price (models: [{name: ..., price: {input: 0.50, output: 1.50}}])\n"},
        {ECHO_BACKEND "listen: ['127.0.0.1:1', '0.0.0.0:2', '[::]:3', '[::1]:4', 'unix:/x', '10.0.0.1:5']\nkeys: []\n",
         "gate.yaml:2: listen[1]: " DOOR "gate.yaml:2: listen[2]: " DOOR "gate.yaml:2: listen[5]: " DOOR},
        {ECHO_BACKEND "listen: ['[::]:3']\nadmission: {open: false}\n", "gate.yaml:2: listen[0]: " DOOR},
        {ECHO_BACKEND "keys: [{name: a, sha256: " ZEROS "1, metadata: [1]}]\n",
         "gate.yaml:2: keys[0].metadata: must be a map of keys and values\n"},
        {ECHO_BACKEND "keys: [{name: a, sha256: " ZEROS "1, metadata: {'': 1, x: '${TEST_GONE}', y: '${'}}]\n",
         "gate.yaml:2: keys[0].metadata.: the name must have from 1 to 64 bytes\n"
         "gate.yaml:2: keys[0].metadata.x: the environment variable TEST_GONE is not set\n"
         "gate.yaml:2: keys[0].metadata.y: \"${\" must begin ${NAME}; write \"$${\" for the characters themselves\n"},
    };

    unsetenv("TEST_GONE");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config = NULL;
        struct buffer errors;

        buffer_init(&errors);
        assert_int_equal(config_read_text("gate.yaml", ".", bytes_of(cases[i].text), NULL, &errors, &config),
                         CONFIG_E_BAD);
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].errors);
        buffer_deinit(&errors);
    }
}

static void doors_may_be_opened(void **state)
{
    static const char *const texts[] = {
        "admission: {open: true}\n", "keys_file: k.yaml\n", "keys: [" KEY("a", "1") "]\n",
    };
    const struct config_overrides overrides = {.listen = "0.0.0.0:1"};
    struct config *config = NULL;
    struct buffer errors;
    char text[300];

    buffer_init(&errors);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        snprintf(text, sizeof(text), ECHO_BACKEND "listen: ['0.0.0.0:1']\n%s", texts[i]);
        config_unref(read_good(text));
        assert_int_equal(config_read_text("g", ".", bytes_of(text), &overrides, &errors, &config), 0);
        config_unref(config);
    }
    assert_int_equal(config_read_text("g", ".", BYTES(ECHO_BACKEND), &overrides, &errors, &config), CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    assert_string_equal(errors.data, "command line: --listen: " DOOR);
    buffer_deinit(&errors);
}

static void metadata_is_bounded(void **state)
{
    struct config_keys *keys = NULL;
    struct buffer text, errors;

    buffer_init(&text);
    buffer_init(&errors);
    buffer_append_text(&text, "keys:\n- {name: a, sha256: " ZEROS "1, metadata: {a: ");
    for (int i = 0; i < 1025; i++)
        buffer_append_char(&text, 'x');
    buffer_append_text(&text, "}}\n- {name: b, sha256: " ZEROS "2, metadata: {");
    for (int i = 0; i < 33; i++)
        buffer_printf(&text, "k%d: 1, ", i);
    buffer_append_text(&text, "}}\n");
    assert_int_equal(config_read_keys_text("k.yaml", buffer_bytes(&text), &anything, &errors, &keys), CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    assert_string_equal(errors.data, "k.yaml:2: keys[0].metadata.a: is longer than 1024 bytes\n"
                                     "k.yaml:3: keys[1].metadata: must have at most 32 entries\n");
    buffer_deinit(&text);
    buffer_deinit(&errors);
}

/* --- files of keys --- */

static int read_keys(const char *text, const struct config *config, struct config_keys **ret, char *errors, size_t room)
{
    struct buffer out;
    int r;

    buffer_init(&out);
    r = config_read_keys_text("keys.yaml", bytes_of(text), config, &out, ret);
    snprintf(errors, room, "%.*s", BYTES_ARG(buffer_bytes(&out)));
    buffer_deinit(&out);
    return r;
}

static void files_of_keys_are_read(void **state)
{
    struct config *config = read_good(ECHO_MODEL "teams: [{name: t}]\n");
    static const struct {
        const char *text;
        uint32_t count;
    } cases[] = {{"", 0}, {"# nobody\n", 0}, {"keys:\n", 0}, {"keys: []\n", 0},
                 {"keys:\n- {name: a, team: t, models: [echo], sha256: " ZEROS "1}\n- " KEY("b", "2") "\n", 2}};
    struct config_keys *keys = NULL;
    char errors[1000];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(read_keys(cases[i].text, config, &keys, errors, sizeof(errors)), 0);
        assert_string_equal(errors, "");
        assert_int_equal(keys->count, cases[i].count);
        config_keys_unref(keys);
    }
    keys = NULL;
    assert_int_equal(read_keys("keys:\n- {name: a, team: u, models: [x], sha256: " ZEROS "1}\nkey: 1\n- 5\n", config,
                               &keys, errors, sizeof(errors)), CONFIG_E_BAD);
    assert_non_null(strstr(errors, "keys.yaml:4: not valid YAML"));
    assert_int_equal(read_keys("keys:\n- {name: a, team: u, models: [x], sha256: " ZEROS "1}\nteams: []\n", config,
                               &keys, errors, sizeof(errors)), CONFIG_E_BAD);
    assert_string_equal(errors, "keys.yaml:2: keys[0].team: no entry of teams is called \"u\"\n"
                                "keys.yaml:2: keys[0].models[0]: no entry of models or variants is called \"x\"\n"
                                "keys.yaml:3: teams: unknown key\n");
    assert_null(keys);
    config_unref(config);
}

/* The two are counted in one scope, so one of them would have the other's limits. */
static void names_of_the_configuration_are_taken(void **state)
{
    struct config *config = read_good(ECHO_BACKEND "keys: [" KEY("a", "1") ", " KEY("b", "2") "]\n");
    struct config_keys *keys = NULL;
    char errors[1000];

    assert_int_equal(read_keys("keys:\n- " KEY("c", "3") "\n- " KEY("a", "4") "\n- " KEY("a", "5") "\n", config, &keys,
                               errors, sizeof(errors)), CONFIG_E_BAD);
    assert_string_equal(errors, "keys.yaml:3: keys[1].name: \"a\" is already the name of a key in the configuration\n"
                                "keys.yaml:4: keys[2].name: \"a\" is already the name of a key, see line 3\n");
    assert_null(keys);
    assert_int_equal(read_keys("keys:\n- " KEY("c", "3") "\n", config, &keys, errors, sizeof(errors)), 0);
    config_keys_unref(keys);
    config_unref(config);
}

/* What a writer has not written yet, or cut off. */
static void a_file_must_say_something(void **state)
{
    static const struct {
        const char *text, *line;
    } cases[] = {{"", ""}, {" \n", ""}, {"# nobody\n", ""}, {"keys:\n", ":1"}, {"#\nkeys: ~\n", ":2"},
                 {"---\n", ""}, {"{}\n", ""}, {"keys: []\n", NULL}};
    char path[] = "/tmp/test_config_admission.XXXXXX", expected[300];

    close(mkstemp(path));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_keys *keys = NULL;
        FILE *file = fopen(path, "w");
        struct buffer errors;

        fputs(cases[i].text, file);
        fclose(file);
        buffer_init(&errors);
        assert_int_equal(config_read_keys(path, &anything, &errors, &keys), cases[i].line ? CONFIG_E_BAD : 0);
        snprintf(expected, sizeof(expected), "%s%s: says nothing of keys: none at all is written `keys: []`\n", path,
                 cases[i].line ? cases[i].line : "");
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].line ? expected : "");
        buffer_deinit(&errors);
        config_keys_unref(keys);
    }
    unlink(path);
}

static void paths_are_read(void **state)
{
    char folder[] = "/tmp/test_config_admission.XXXXXX", path[200], expected[300];
    struct config_keys *keys = NULL;
    struct buffer errors;
    FILE *file;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/keys.yaml", folder);
    buffer_init(&errors);
    assert_int_equal(config_read_keys(path, &anything, &errors, &keys), -ENOENT);
    buffer_append_char(&errors, '\0');
    snprintf(expected, sizeof(expected), "%s: No such file or directory\n", path);
    assert_string_equal(errors.data, expected);
    assert_int_equal(config_read_keys(folder, &anything, &errors, &keys), -EISDIR);
    file = fopen(path, "w");
    fputs("keys: [" KEY("a", "1") "]\n", file);
    fclose(file);
    assert_int_equal(config_read_keys(path, &anything, &errors, &keys), 0);
    assert_int_equal(keys->count, 1);
    config_keys_unref(keys);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_read_keys(path, &anything, &errors, &keys), -EINVAL);
    unlink(path);
    rmdir(folder);
    buffer_deinit(&errors);
}

/* Ten thousand keys, and a name that stands there twice among them. */
static void many_keys_are_read(void **state)
{
    struct config_keys *keys = NULL;
    struct buffer text, errors;

    buffer_init(&text);
    buffer_init(&errors);
    buffer_append_text(&text, "keys:\n");
    for (int i = 1; i <= 10000; i++)
        buffer_printf(&text, "- name: k%d\n  team: t%d\n  sha256: %064x\n", i, i % 10, (unsigned)i);
    assert_int_equal(config_read_keys_text("k.yaml", buffer_bytes(&text), &anything, &errors, &keys), 0);
    assert_int_equal(keys->count, 10000);
    assert_text(keys->list[9999].name, "k10000");
    config_keys_unref(keys);
    keys = NULL;
    buffer_append_text(&text, "- " KEY("k77", "f") "\n");
    assert_int_equal(config_read_keys_text("k.yaml", buffer_bytes(&text), &anything, &errors, &keys), CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    assert_string_equal(errors.data,
                        "k.yaml:30002: keys[10000].name: \"k77\" is already the name of a key, see line 230\n"
                        "k.yaml:30002: keys[10000].sha256: \"" ZEROS "f\" is already the digest of a key, see line 46\n");
    buffer_deinit(&text);
    buffer_deinit(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_is_exact),
        cmocka_unit_test(numbers_have_powers_of_a_thousand),
        cmocka_unit_test(dates_are_seconds),
        cmocka_unit_test(no_day_is_lost),
        cmocka_unit_test(silence_means_defaults),
        cmocka_unit_test(every_limit_is_heard),
        cmocka_unit_test(every_key_is_heard),
        cmocka_unit_test(keys_without_lists_name_anything),
        cmocka_unit_test(keys_outlive_their_file),
        cmocka_unit_test(references_are_counted_by_all_threads),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(doors_may_be_opened),
        cmocka_unit_test(metadata_is_bounded),
        cmocka_unit_test(files_of_keys_are_read),
        cmocka_unit_test(names_of_the_configuration_are_taken),
        cmocka_unit_test(a_file_must_say_something),
        cmocka_unit_test(paths_are_read),
        cmocka_unit_test(many_keys_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
