/*
 * The request log and tracing in the file: defaults, every key, and every word about what is wrong with them.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ECHO_BACKEND "backends: [{name: local, kind: echo}]\n"
#define ECHO_MODEL ECHO_BACKEND "models:\n  - name: echo\n    backends: [local]\n"
#define DIGEST "sha256: 1111111111111111111111111111111111111111111111111111111111111111"
#define KB (UINT64_C(1) << 10)
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
    r = config_read_text("gate.yaml", "/folder", bytes_of(text), NULL, &errors, &config);
    if (r)
        fail_msg("%d: %.*s", r, BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    return config;
}

/* --- good ones --- */

static void silence_means_defaults(void **state)
{
    static const char *const texts[] = {ECHO_MODEL, ECHO_MODEL "log:\ntracing:\nserver_timing:\n",
                                        ECHO_MODEL "log: {}\n",
                                        ECHO_MODEL "log: {sinks: , redact: , when_full: ~, body: ~}\n",
                                        ECHO_MODEL "log: {redact: {}}\nserver_timing: true\n",
                                        ECHO_MODEL "log: {redact: {fields: [], patterns: ~}}\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct config *config = read_good(texts[i]);
        const struct config_log *log = &config->log;

        assert_int_equal(log->sink_count, 1);
        assert_int_equal(log->sinks[0].kind, CONFIG_SINK_STDOUT);
        assert_int_equal(log->when_full, WHEN_FULL_DROP);
        assert_int_equal(log->block_ms, 5000);
        assert_int_equal(log->flush_ms, 200);
        assert_true(log->buffer == 4 * MB);
        assert_int_equal(log->bodies, BODIES_NONE);
        assert_int_equal(log->body_bytes, 64 * KB);
        assert_int_equal(log->redact_field_count, 0);
        assert_int_equal(log->redact_pattern_count, 0);
        assert_false(config->tracing.used);
        assert_true(config->server_timing);
        assert_int_equal(config->models[0].bodies, BODIES_UNSAID);
        config_unref(config);
    }
}

static void no_sinks_are_none(void **state)
{
    struct config *config = read_good("log: {sinks: []}\n" ECHO_BACKEND);

    assert_int_equal(config->log.sink_count, 0);
    assert_int_equal(config->log.flush_ms, 200);
    config_unref(config);
}

static void sinks_have_defaults(void **state)
{
    struct config *config = read_good("log:\n  sinks:\n    - kind: file\n      path: a.log\n    - {kind: syslog}\n"
                                      "    - {kind: redis, redis: {url: 'redis://h'}}\n    - {kind: stdout}\n"
                                      "    - {kind: file, path: b.log, rotate: {age: 1h}}\n" ECHO_BACKEND);
    const struct config_sink *sinks = config->log.sinks;

    assert_int_equal(config->log.sink_count, 5);
    assert_int_equal(sinks[0].kind, CONFIG_SINK_FILE);
    assert_text(sinks[0].path, "/folder/a.log");
    assert_true(sinks[0].rotate_bytes == 0 && sinks[0].rotate_s == 0 && sinks[0].keep == 0 && !sinks[0].gzip);
    assert_int_equal(sinks[1].kind, CONFIG_SINK_SYSLOG);
    assert_text(sinks[1].path, "/dev/log");
    assert_text(sinks[1].tag, "embergate");
    assert_int_equal(sinks[1].facility, 16);
    assert_int_equal(sinks[2].kind, CONFIG_SINK_REDIS);
    assert_true(sinks[2].redis.used);
    assert_text(sinks[2].redis.host, "h");
    assert_int_equal(sinks[2].redis.connect_ms, 1000);
    assert_int_equal(sinks[2].redis.deadline_ms, 2000);
    assert_text(sinks[2].stream, "embergate:requests");
    assert_true(sinks[2].length == 1000000);
    assert_int_equal(sinks[3].kind, CONFIG_SINK_STDOUT);
    assert_true(sinks[4].rotate_bytes == 0 && sinks[4].keep == 0 && !sinks[4].gzip);
    assert_int_equal(sinks[4].rotate_s, 3600);
    config_unref(config);
}

static void every_key_is_heard(void **state)
{
    const struct config_log *log;
    struct config *config;

    setenv("TEST_FOLDER", "/var/log", 1);
    config = read_good("log:\n  sinks:\n"
                       "    - kind: file\n      path: ${TEST_FOLDER}/requests.log\n"
                       "      rotate: {size: 256m, age: 49d, keep: 30, compress: gzip}\n"
                       "    - {kind: file, path: other.log, rotate: {size: 4k, compress: none}}\n"
                       "    - {kind: syslog, path: /run/log, facility: local7, tag: gate-1}\n"
                       "    - {kind: redis, redis: {url: 'unix:/run/redis', database: 3, deadline: 5s},\n"
                       "       stream: 'team a:requests', length: 0}\n"
                       "  when_full: block\n  block: 250ms\n  flush: 10s\n  buffer: 1g\n  bodies: full\n  body: 16m\n"
                       "  redact:\n    fields: [user, messages.*.content, '*', metadata.e mail]\n"
                       "    patterns: ['sk-[A-Za-z0-9]+', \"two\\nlines\"]\n"
                       "server_timing: false\n" ECHO_BACKEND);
    log = &config->log;
    assert_int_equal(log->sink_count, 4);
    assert_text(log->sinks[0].path, "/var/log/requests.log");
    assert_true(log->sinks[0].rotate_bytes == 256 * MB);
    assert_int_equal(log->sinks[0].rotate_s, 49 * 24 * 3600);
    assert_int_equal(log->sinks[0].keep, 30);
    assert_true(log->sinks[0].gzip);
    assert_text(log->sinks[1].path, "/folder/other.log");
    assert_true(log->sinks[1].rotate_bytes == 4 * KB && !log->sinks[1].gzip);
    assert_text(log->sinks[2].path, "/run/log");
    assert_int_equal(log->sinks[2].facility, 23);
    assert_text(log->sinks[2].tag, "gate-1");
    assert_text(log->sinks[3].redis.unix_path, "/run/redis");
    assert_int_equal(log->sinks[3].redis.database, 3);
    assert_int_equal(log->sinks[3].redis.deadline_ms, 5000);
    assert_text(log->sinks[3].stream, "team a:requests");
    assert_true(log->sinks[3].length == 0);
    assert_int_equal(log->when_full, WHEN_FULL_BLOCK);
    assert_int_equal(log->block_ms, 250);
    assert_int_equal(log->flush_ms, 10000);
    assert_true(log->buffer == 1024 * MB);
    assert_int_equal(log->bodies, BODIES_FULL);
    assert_int_equal(log->body_bytes, 16 * MB);
    assert_int_equal(log->redact_field_count, 4);
    assert_text(log->redact_fields[1], "messages.*.content");
    assert_text(log->redact_fields[3], "metadata.e mail");
    assert_int_equal(log->redact_pattern_count, 2);
    assert_text(log->redact_patterns[0], "sk-[A-Za-z0-9]+");
    assert_text(log->redact_patterns[1], "two\nlines");
    assert_false(config->server_timing);
    config_unref(config);
}

static void facilities_are_numbered(void **state)
{
    static const struct {
        const char *name;
        unsigned number;
    } cases[] = {{"kern", 0}, {"user", 1}, {"daemon", 3}, {"auth", 4}, {"cron", 9}, {"authpriv", 10}, {"local0", 16},
                 {"local3", 19}, {"local7", 23}};
    char text[200];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config;

        snprintf(text, sizeof(text), "log: {sinks: [{kind: syslog, facility: %s}]}\n" ECHO_BACKEND, cases[i].name);
        config = read_good(text);
        assert_int_equal(config->log.sinks[0].facility, cases[i].number);
        config_unref(config);
    }
}

static void keys_and_models_have_bodies_of_their_own(void **state)
{
    struct config *config = read_good("keys:\n  - {name: a, " DIGEST ", log_bodies: hash}\n" ECHO_MODEL
                                      "    log_bodies: full\n");
    struct config_keys *keys = NULL;
    struct buffer errors;

    assert_int_equal(config->keys->list[0].bodies, BODIES_HASH);
    assert_int_equal(config->models[0].bodies, BODIES_FULL);
    buffer_init(&errors);
    assert_int_equal(config_read_keys_text("keys.yaml",
                                           BYTES("keys:\n  - {name: b, " DIGEST ", log_bodies: none}\n"), config,
                                           &errors, &keys), 0);
    assert_int_equal(keys->list[0].bodies, BODIES_NONE);
    assert_int_equal(config_read_keys_text("keys.yaml", BYTES("keys:\n  - name: b\n    log_bodies: ful\n    " DIGEST
                                                              "\n"), config, &errors, &(struct config_keys *){NULL}),
                     CONFIG_E_BAD);
    assert_text(buffer_bytes(&errors), "keys.yaml:3: keys[0].log_bodies: \"ful\" is none of none, hash, full; did you "
                                       "mean \"full\"?\n");
    buffer_deinit(&errors);
    config_keys_unref(keys);
    config_unref(config);
}

static void the_log_is_heard_beside_backend_urls(void **state)
{
    const char *urls[] = {"http://h"};
    const struct config_overrides overrides = {.backends = urls, .backend_count = 1};
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read(NULL, &overrides, &errors, &config), 0);
    assert_int_equal(config->log.sink_count, 1);
    assert_true(config->server_timing);
    config_unref(config);
    assert_int_equal(config_read_text("gate.yaml", ".", BYTES("log: {sinks: []}\nserver_timing: false\n"), &overrides,
                                      &errors, &config), 0);
    assert_int_equal(config->log.sink_count, 0);
    assert_false(config->server_timing);
    config_unref(config);
    buffer_deinit(&errors);
}

/* --- tracing --- */

static void collectors_are_taken_apart(void **state)
{
    static const struct {
        const char *url, *host, *unix_path, *path;
        unsigned port;
        bool tls;
    } cases[] = {
        {"http://127.0.0.1:4318/v1/traces", "127.0.0.1", "", "/v1/traces", 4318, false},
        {"http://collector:4318", "collector", "", "/v1/traces", 4318, false},
        {"http://collector/", "collector", "", "/v1/traces", 80, false},
        {"https://otlp.example.com/otlp/v1/traces", "otlp.example.com", "", "/otlp/v1/traces", 443, true},
        {"HTTPS://[::1]:1/a/", "::1", "", "/a/", 1, true},
        {"unix:/run/collector.sock", "", "/run/collector.sock", "/v1/traces", 0, false},
    };
    char text[300];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct config_tracing *tracing;
        struct config *config;

        snprintf(text, sizeof(text), "tracing: {url: '%s'}\n" ECHO_BACKEND, cases[i].url);
        config = read_good(text);
        tracing = &config->tracing;
        assert_true(tracing->used);
        assert_text(tracing->host, cases[i].host);
        assert_text(tracing->unix_path, cases[i].unix_path);
        assert_text(tracing->path, cases[i].path);
        assert_int_equal(tracing->port, cases[i].port);
        assert_int_equal(tracing->tls, cases[i].tls);
        assert_text(tracing->service, "embergate");
        assert_int_equal(tracing->sample_ppm, 1000000);
        assert_int_equal(tracing->api_key.size + tracing->ca_file.size, 0);
        config_unref(config);
    }
}

static void all_of_tracing_is_heard(void **state)
{
    struct config *config;

    setenv("TEST_KEY", "sk-hidden", 1);
    config = read_good("tracing:\n  url: https://h\n  api_key: ${TEST_KEY}\n  ca_file: /dev/null\n"
                       "  service: gate of team a\n  sample: 0.1\n" ECHO_BACKEND);
    assert_text(config->tracing.api_key, "sk-hidden");
    assert_text(config->tracing.ca_file, "/dev/null");
    assert_text(config->tracing.service, "gate of team a");
    assert_int_equal(config->tracing.sample_ppm, 100000);
    config_unref(config);
    config = read_good("tracing: {url: 'http://h', sample: 0}\n" ECHO_BACKEND);
    assert_int_equal(config->tracing.sample_ppm, 0);
    config_unref(config);
}

/* --- bad files --- */

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *errors;
    } cases[] = {
        {"log: on\ntracing: http://h\nserver_timing: sometimes\n" ECHO_BACKEND,
         "gate.yaml:1: log: must be a map of keys and values\n"
         "gate.yaml:2: tracing: must be a map of keys and values\n"
         "gate.yaml:3: server_timing: must be true or false, not \"sometimes\"\n"},
        {"log:\n  sink: []\n  when_full: wait\n  block: 0\n  flush: 5ms\n  buffer: 1k\n  bodies: all\n  body: 1g\n"
         "  redact: [user]\n" ECHO_BACKEND,
         "gate.yaml:2: log.sink: unknown key; did you mean \"sinks\"?\n"
         "gate.yaml:3: log.when_full: \"wait\" is none of drop, block\n"
         "gate.yaml:4: log.block: must be from 1ms to 10m\n"
         "gate.yaml:5: log.flush: must be from 10ms to 10s\n"
         "gate.yaml:6: log.buffer: must be from 64k to 1g\n"
         "gate.yaml:7: log.bodies: \"all\" is none of none, hash, full\n"
         "gate.yaml:8: log.body: must be from 1k to 16m\n"
         "gate.yaml:9: log.redact: must be a map of keys and values\n"},
        {"log:\n  sinks:\n    - {path: a}\n    - {kind: kafka}\n    - stdout\n    - kind: file\n" ECHO_BACKEND,
         "gate.yaml:3: log.sinks[0].kind: is missing\n"
         "gate.yaml:4: log.sinks[1].kind: \"kafka\" is none of stdout, file, syslog, redis\n"
         "gate.yaml:5: log.sinks[2]: must be a map of keys and values\n"
         "gate.yaml:6: log.sinks[3].path: is missing: a sink of kind file needs one, such as requests.log\n"},
        {"log: {sinks: [{kind: stdout}, {kind: stdout}, {kind: stdout}, {kind: stdout}, {kind: stdout},\n"
         "  {kind: stdout}, {kind: stdout}, {kind: stdout}, {kind: stdout}]}\n" ECHO_BACKEND,
         "gate.yaml:1: log.sinks: must have at most 8 entries\n"},
        {"log:\n  sinks:\n    - kind: file\n      path: logs/\n      rotate:\n        keep: 3\n"
         "    - kind: file\n      path: a.log\n      rotate: {size: 1k, age: 500ms, keep: 100001, compress: zip}\n"
         "    - kind: file\n      path: /folder/a.log\n      rotate: {}\n" ECHO_BACKEND,
         "gate.yaml:4: log.sinks[0].path: must name a file, not a folder\n"
         "gate.yaml:5: log.sinks[0].rotate: needs size or age, such as {size: 256m, age: 24h}\n"
         "gate.yaml:9: log.sinks[1].rotate.size: must be from 4k to 1024g\n"
         "gate.yaml:9: log.sinks[1].rotate.age: must be from 1s to 49d\n"
         "gate.yaml:9: log.sinks[1].rotate.keep: must be from 0 to 100000\n"
         "gate.yaml:9: log.sinks[1].rotate.compress: \"zip\" is none of none, gzip; did you mean \"gzip\"?\n"
         "gate.yaml:11: log.sinks[2].path: \"/folder/a.log\" is already the path of a file, see line 8\n"
         "gate.yaml:12: log.sinks[2].rotate: needs size or age, such as {size: 256m, age: 24h}\n"},
        {"log:\n  sinks:\n    - kind: stdout\n      path: x\n      rotate: {size: 1m}\n      facility: local0\n"
         "      tag: x\n      redis: {url: 'redis://u:hidden@h'}\n      stream: x\n      length: 5\n"
         "    - {kind: file, path: a, tag: b}\n    - {kind: redis, redis: {url: 'redis://h'}, path: b}\n" ECHO_BACKEND,
         "gate.yaml:4: log.sinks[0].path: is only for a sink of kind file or syslog: take it out here\n"
         "gate.yaml:5: log.sinks[0].rotate: is only for a sink of kind file: take it out here\n"
         "gate.yaml:6: log.sinks[0].facility: is only for a sink of kind syslog: take it out here\n"
         "gate.yaml:7: log.sinks[0].tag: is only for a sink of kind syslog: take it out here\n"
         "gate.yaml:8: log.sinks[0].redis: is only for a sink of kind redis: take it out here\n"
         "gate.yaml:9: log.sinks[0].stream: is only for a sink of kind redis: take it out here\n"
         "gate.yaml:10: log.sinks[0].length: is only for a sink of kind redis: take it out here\n"
         "gate.yaml:11: log.sinks[1].tag: is only for a sink of kind syslog: take it out here\n"
         "gate.yaml:12: log.sinks[2].path: is only for a sink of kind file or syslog: take it out here\n"},
        {"log:\n  sinks:\n    - kind: syslog\n      path: log\n      facility: local9\n      tag: a b\n"
         "    - kind: syslog\n      tag: 0123456789012345678901234567890123456789012345678\n" ECHO_BACKEND,
         "gate.yaml:4: log.sinks[0].path: must be a unix socket's path from the root, shorter than 108 bytes, such as "
         "/dev/log\n"
         "gate.yaml:5: log.sinks[0].facility: \"local9\" is none of kern, user, mail, daemon, auth, syslog, lpr, news, "
         "uucp, cron, authpriv, ftp, ntp, audit, alert, clock, local0, local1, local2, local3, local4, local5, local6, "
         "local7; did you mean \"local0\"?\n"
         "gate.yaml:6: log.sinks[0].tag: may hold letters, digits and ._-:/@+ only\n"
         "gate.yaml:8: log.sinks[1].tag: must have at most 48 bytes\n"},
        {"log:\n  sinks:\n    - kind: redis\n      length: many\n    - kind: redis\n      redis:\n        prefix: a\n"
         "        url: rediss://u:hidden@h\n        value: 1m\n      length: -1\n" ECHO_BACKEND,
         "gate.yaml:3: log.sinks[0].redis: is missing: a sink of kind redis needs it, such as {url: "
         "'redis://127.0.0.1:6379/0'}\n"
         "gate.yaml:4: log.sinks[0].length: must be a number such as 60, 100k or 2m, not \"many\"\n"
         "gate.yaml:7: log.sinks[1].redis.prefix: has no meaning here: the sink's stream is the whole key\n"
         "gate.yaml:8: log.sinks[1].redis.url: TLS is not spoken to Redis: run stunnel (or the like) next to this "
         "gateway, and give the address it listens on, such as redis://127.0.0.1:6380\n"
         "gate.yaml:9: log.sinks[1].redis.value: unknown key\n"
         "gate.yaml:10: log.sinks[1].length: must be a number such as 60, 100k or 2m, not \"-1\"\n"},
        {"log:\n  redact:\n    fields:\n      - a..b\n      - .a\n      - a.\n      - ''\n      - [a]\n      - .\n"
         "      - a.*.b\n    patterns:\n      - ''\n      -\n      - fine\n    other: x\n" ECHO_BACKEND,
         "gate.yaml:4: log.redact.fields[0]: must be names with one dot between them, such as messages.*.content; a "
         "star stands for any\n"
         "gate.yaml:5: log.redact.fields[1]: must be names with one dot between them, such as messages.*.content; a "
         "star stands for any\n"
         "gate.yaml:6: log.redact.fields[2]: must be names with one dot between them, such as messages.*.content; a "
         "star stands for any\n"
         "gate.yaml:7: log.redact.fields[3]: must not be empty\n"
         "gate.yaml:8: log.redact.fields[4]: must be text\n"
         "gate.yaml:9: log.redact.fields[5]: must be names with one dot between them, such as messages.*.content; a "
         "star stands for any\n"
         "gate.yaml:12: log.redact.patterns[0]: must not be empty\n"
         "gate.yaml:13: log.redact.patterns[1]: has no value\n"
         "gate.yaml:15: log.redact.other: unknown key\n"},
        {"tracing:\n  sample: 2\n  service: ''\n" ECHO_BACKEND,
         "gate.yaml:1: tracing.url: is missing: it says where spans go, such as http://127.0.0.1:4318/v1/traces\n"
         "gate.yaml:2: tracing.sample: must be a number from 0 to 1, such as 0.01\n"
         "gate.yaml:3: tracing.service: must not be empty\n"},
        {"tracing:\n  url: grpc://h\n  ca_file: /dev/null\n  api_key: 'hidden \xc3\xbc'\n" ECHO_BACKEND,
         "gate.yaml:2: tracing.url: must begin with http://, https:// or unix:/\n"
         "gate.yaml:4: tracing.api_key: must be visible ASCII characters without spaces\n"},
        {"tracing:\n  url: http://u:hidden@h\n" ECHO_BACKEND,
         "gate.yaml:2: tracing.url: no user or password in a URL: a key belongs in api_key\n"},
        {"tracing:\n  url: http://h/a b\n  ca_file: /nonexistent\n" ECHO_BACKEND,
         "gate.yaml:2: tracing.url: the path holds a character that must be percent-encoded\n"
         "gate.yaml:3: tracing.ca_file: \"/nonexistent\" cannot be read\n"},
        {"tracing:\n  url: http://h/a?b\n" ECHO_BACKEND,
         "gate.yaml:2: tracing.url: no query (?) and no fragment (#) in a URL\n"},
        {"tracing:\n  url: http://h\n  ca_file: /dev/null\n" ECHO_BACKEND,
         "gate.yaml:3: tracing.ca_file: is only for a URL with https\n"},
        {ECHO_MODEL "    log_bodies: Full\n",
         "gate.yaml:5: models[0].log_bodies: \"Full\" is none of none, hash, full; did you mean \"full\"?\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config = NULL;
        struct buffer errors;

        buffer_init(&errors);
        assert_int_equal(config_read_text("gate.yaml", "/folder", bytes_of(cases[i].text), NULL, &errors, &config),
                         CONFIG_E_BAD);
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
        cmocka_unit_test(no_sinks_are_none),
        cmocka_unit_test(sinks_have_defaults),
        cmocka_unit_test(every_key_is_heard),
        cmocka_unit_test(facilities_are_numbered),
        cmocka_unit_test(keys_and_models_have_bodies_of_their_own),
        cmocka_unit_test(the_log_is_heard_beside_backend_urls),
        cmocka_unit_test(collectors_are_taken_apart),
        cmocka_unit_test(all_of_tracing_is_heard),
        cmocka_unit_test(mistakes_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
