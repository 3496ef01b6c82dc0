/*
 * One run tells every error of a file: those of its form and those of its values, and none that only follows.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define ECHO_BACKEND "backends: [{name: local, kind: echo}]\n"
#define ECHO_MODEL ECHO_BACKEND "models:\n  - name: echo\n    backends: [local]\n"

#define ZEROS "000000000000000000000000000000000000000000000000000000000000000"

struct bad_file {
    const char *text, *errors;
};

static void assert_complains(struct bytes text, const char *expected)
{
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read_text("gate.yaml", "/nonexistent", text, NULL, &errors, &config),
                     CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    assert_string_equal(errors.data, expected);
    assert_null(config);
    buffer_deinit(&errors);
}

static void assert_all_complain(const struct bad_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_complains(bytes_of(files[i].text), files[i].errors);
}

/* Every part complains in the same run, whatever is wrong elsewhere. */
static void all_is_told_at_once(void **state)
{
    static const struct bad_file files[] = {
        {"wrokers: 2000\n"
         "limits: {body_bytes: 16q, headers: many}\n"
         "backends:\n"
         "  - {name: local, kind: gpt, url: 'http://h'}\n"
         "  - {name: other, kind: vllm, url: 'http://h', api_key: '${TEST_GONE}'}\n"
         "models:\n"
         "  - backends: [local, other]\n"
         "  - {name: m, backends: [far]}\n"
         "  - {name: [n], backends: [local]}\n"
         "colour: red\n",
         "gate.yaml:1: wrokers: unknown key; did you mean \"workers\"?\n"
         "gate.yaml:1: workers: must be at most 1024\n"
         "gate.yaml:2: limits.headers: must be a whole number, not \"many\"\n"
         "gate.yaml:2: limits.body_bytes: must be a size such as 512, 64k, 16m or 1g, not \"16q\"\n"
         "gate.yaml:4: backends[0].kind: \"gpt\" is none of openai, goodfire, vllm, llama-server, sglang, "
         "ollama, echo\n"
         "gate.yaml:5: backends[1].api_key: the environment variable TEST_GONE is not set\n"
         "gate.yaml:7: models[0].name: is missing\n"
         "gate.yaml:8: models[1].backends[0]: no backend is called \"far\"\n"
         "gate.yaml:9: models[2].name: must be text\n"
         "gate.yaml:10: colour: unknown key\n"},
        {"backends:\n"
         "  - {name: local, kind: echo, echo: 5, timeouts: {total: soon, conect: now}}\n"
         "models:\n"
         "  - {name: m, backends: [local], defaults: {max_tokens: [1], max_completion_tokens: 5, seed: []},\n"
         "     fixed: {seed: 1, stop: {}, top_p: 7}, aliases: [[x], m]}\n"
         "variants:\n"
         "  - {name: v, model: m, lora: [{id: x}, {id: 1, scale: [2]}, {id: 1}, 5]}\n"
         "  - {model: n, adapter: \"\"}\n",
         "gate.yaml:2: backends[0].echo: must be a map of keys and values\n"
         "gate.yaml:2: backends[0].timeouts.conect: unknown key; did you mean \"connect\"?\n"
         "gate.yaml:2: backends[0].timeouts.connect: must be a duration such as 500ms, 10s, 5m or 1h, not "
         "\"now\"\n"
         "gate.yaml:2: backends[0].timeouts.total: must be a duration such as 500ms, 10s, 5m or 1h, not "
         "\"soon\"\n"
         "gate.yaml:4: models[0].defaults.max_tokens: must be text\n"
         "gate.yaml:4: models[0].defaults.seed: must be text\n"
         "gate.yaml:4: models[0].defaults.max_tokens: says the same as max_completion_tokens: give one of "
         "them\n"
         "gate.yaml:4: models[0].defaults.seed: has no effect, because it is fixed\n"
         "gate.yaml:5: models[0].fixed.stop: must be text or a list of texts\n"
         "gate.yaml:5: models[0].aliases[0]: must be text\n"
         "gate.yaml:5: models[0].fixed.top_p: must be from 0 to 1\n"
         "gate.yaml:5: models[0].aliases[1]: \"m\" is already a name, see line 4\n"
         "gate.yaml:7: variants[0].lora[0].id: must be a whole number, not \"x\"\n"
         "gate.yaml:7: variants[0].lora[1].scale: must be text\n"
         "gate.yaml:7: variants[0].lora[3]: must be a map of keys and values\n"
         "gate.yaml:7: variants[0].lora[2].id: is the same as in lora[1]\n"
         "gate.yaml:8: variants[1].adapter: must not be empty\n"
         "gate.yaml:8: variants[1].name: is missing\n"},
        {"cache: {whn: 5, memory: 1, ttl: [1], redis: {prefix: 'a b', dedline: 1h}, secret: x}\n"
         "backends: [{name: local, kind: echo, seeds: [no]}]\n"
         "models: [{name: m, backends: [far], cache: {audit: 2, entry: 1m}}]\n",
         "gate.yaml:1: cache.whn: unknown key; did you mean \"when\"?\n"
         "gate.yaml:1: cache.ttl: must be text\n"
         "gate.yaml:1: cache.redis.dedline: unknown key; did you mean \"deadline\"?\n"
         "gate.yaml:1: cache.when: \"5\" is none of repeatable, never, always\n"
         "gate.yaml:1: cache.memory: must be 0, or from 1m to 1024g\n"
         "gate.yaml:1: cache.secret: must have at least 16 bytes\n"
         "gate.yaml:1: cache.redis.url: is missing\n"
         "gate.yaml:1: cache.redis.prefix: may hold letters, digits and ._:{}- only\n"
         "gate.yaml:1: cache.redis.deadline: must be from 1ms to 10s\n"
         "gate.yaml:2: backends[0].seeds: must be text\n"
         "gate.yaml:3: models[0].cache.entry: unknown key\n"
         "gate.yaml:3: models[0].backends[0]: no backend is called \"far\"\n"
         "gate.yaml:3: models[0].cache.audit: must be a number from 0 to 1, such as 0.01\n"},
        {"listen: ['0.0.0.0:1']\n"
         "keys:\n"
         "  - {nmae: a b, team: t, sha256: eg-secret, expires: soon, models: [m, x], metadata: {a: [1], b: {}, a: 2}}\n"
         "  - {name: b, sha256: " ZEROS "1, quota: {request_per_minute: 1q, tokens_burst: 5, concurrent: 0}}\n"
         "  - 5\n"
         "teams: [{name: u, weight: 0}, {name: u, weight: 2000, quota: []}]\n"
         "admission: {lease: 1h, gateways: 0, open: perhaps, redis: {value: 1k}, quota: {money_per_day: 1.2345678}}\n"
         "backends: [{name: local, kind: echo, queue: {length: 1}, pass_through_key: 1}]\n"
         "models: [{name: m, backends: [local], price: {input: -1}, default_output: 0, queue: {longest: 2h}}]\n",
         "gate.yaml:3: keys[0].nmae: unknown key; did you mean \"name\"?\n"
         "gate.yaml:3: keys[0].metadata.a: must be text, a number, true or false\n"
         "gate.yaml:3: keys[0].metadata.b: must be text, a number, true or false\n"
         "gate.yaml:3: keys[0].name: may hold letters, digits and ._-:/@+ only\n"
         "gate.yaml:3: keys[0].team: no entry of teams is called \"t\"\n"
         "gate.yaml:3: keys[0].sha256: must be 64 hex digits: the SHA-256 of a key, as embergate key hash tells it\n"
         "gate.yaml:3: keys[0].expires: must be a date such as 2027-01-01 or 2027-01-01T12:00:00Z, not \"soon\"\n"
         "gate.yaml:3: keys[0].models[1]: no entry of models or variants is called \"x\"\n"
         "gate.yaml:3: keys[0].metadata.a: stands here twice, first in line 3\n"
         "gate.yaml:4: keys[1].quota.request_per_minute: unknown key; did you mean \"requests_per_minute\"?\n"
         "gate.yaml:4: keys[1].quota.requests_per_minute: must be a number such as 60, 100k or 2m, not \"1q\"\n"
         "gate.yaml:4: keys[1].quota.tokens_burst: needs tokens_per_minute\n"
         "gate.yaml:4: keys[1].quota.concurrent: must be from 1 to 1000000\n"
         "gate.yaml:5: keys[2]: must be a map of keys and values\n"
         "gate.yaml:6: teams[1].quota: must be a map of keys and values\n"
         "gate.yaml:6: teams[0].weight: must be from 1 to 1000\n"
         "gate.yaml:6: teams[1].weight: must be from 1 to 1000\n"
         "gate.yaml:6: teams[1].name: \"u\" is already the name of a team, see line 6\n"
         "gate.yaml:7: admission.redis.value: unknown key\n"
         "gate.yaml:7: admission.quota.money_per_day: must be an amount such as 12.50, with at most six decimals, not "
         "\"1.2345678\"\n"
         "gate.yaml:7: admission.redis.url: is missing\n"
         "gate.yaml:7: admission.gateways: must be from 1 to 1000\n"
         "gate.yaml:7: admission.lease: must be from 1s to 10m\n"
         "gate.yaml:7: admission.open: must be true or false, not \"perhaps\"\n"
         "gate.yaml:8: backends[0].queue: needs quota.concurrent: it is a place among these that is waited for\n"
         "gate.yaml:8: backends[0].pass_through_key: must be true or false, not \"1\"\n"
         "gate.yaml:9: models[0].queue.longest: must be from 1ms to 1h\n"
         "gate.yaml:9: models[0].queue: needs quota.concurrent: it is a place among these that is waited for\n"
         "gate.yaml:9: models[0].price.input: must be an amount such as 12.50, with at most six decimals, not \"-1\"\n"
         "gate.yaml:9: models[0].default_output: must be from 1 to 2147483647\n"},
    };

    unsetenv("TEST_GONE");
    assert_all_complain(files, ARRAY_SIZE(files));
}

/* What would only follow from another complaint is not told. */
static void nothing_is_told_that_only_follows(void **state)
{
    static const struct bad_file files[] = {
        {"listen: 127.0.0.1:9000\nadmin: 127.0.0.1:8080\n" ECHO_BACKEND,
         "gate.yaml:1: listen: must be a list\n"},
        {"listen: ['127.0.0.1:8081']\nadmin: [off]\n" ECHO_BACKEND, "gate.yaml:2: admin: must be text\n"},
        {ECHO_BACKEND "limits:\n  {low_water: 1m, high_water: [1], buffered_bytes: 1m, body_bytes: 1q}\n",
         "gate.yaml:3: limits.high_water: must be text\n"
         "gate.yaml:3: limits.body_bytes: must be a size such as 512, 64k, 16m or 1g, not \"1q\"\n"},
        {"backends: {a: 1}\nmodels: [{name: m, backends: [a]}]\n", "gate.yaml:1: backends: must be a list\n"},
        {"backend: [{nmae: a, knid: echo}]\nmodles: [{name: m, backends: [a]}]\n"
         "variants: [{name: v, model: m, adpater: x}]\n",
         "gate.yaml:1: backend: unknown key; did you mean \"backends\"?\n"
         "gate.yaml:1: backends[0].nmae: unknown key; did you mean \"name\"?\n"
         "gate.yaml:1: backends[0].knid: unknown key; did you mean \"kind\"?\n"
         "gate.yaml:2: modles: unknown key; did you mean \"models\"?\n"
         "gate.yaml:3: variants[0].adpater: unknown key; did you mean \"adapter\"?\n"},
        {"backends:\n  - {name: a, kind: gpt, echo: {pace: 1s}, ca_file: /dev/null}\n"
         "  - {name: b, kind: vllm, url: 'htp://h', ca_file: /dev/null}\n"
         "  - {name: c d, kind: echo}\nmodels: [{name: m, backends: [a, b, c d]}]\n",
         "gate.yaml:2: backends[0].kind: \"gpt\" is none of openai, goodfire, vllm, llama-server, sglang, "
         "ollama, echo\n"
         "gate.yaml:3: backends[1].url: must begin with http://, https:// or unix:/\n"
         "gate.yaml:4: backends[2].name: may hold letters, digits and ._-:/@+ only\n"},
        {"backends: [{name: '${TEST_GONE}', kind: echo}]\nmodels: [{name: m, backends: [a]}]\n",
         "gate.yaml:1: backends[0].name: the environment variable TEST_GONE is not set\n"},
        {"backends: [a, {name: b, kind: echo}]\nmodels: [{name: m, backends: [a, b]}]\n",
         "gate.yaml:1: backends[0]: must be a map of keys and values\n"},
        {ECHO_BACKEND "cache: {memory: many, entry: 1g, redis: {url: 'unix:/r', value: 2m}}\n",
         "gate.yaml:2: cache.memory: must be a size such as 512, 64k, 16m or 1g, not \"many\"\n"},
        {ECHO_BACKEND "cache: {memory: 16m, entry: 1g, redis: {url: [x], username: u, value: 64m}}\n",
         "gate.yaml:2: cache.redis.url: must be text\n"
         "gate.yaml:2: cache.entry: must be at most a thirty-second of memory (512k)\n"},
        {ECHO_MODEL "    aliases: [[x]]\nvariants: [{name: v, model: x, lora: []}]\n",
         "gate.yaml:5: models[0].aliases[0]: must be text\n"
         "gate.yaml:6: variants[0].lora: must have at least 1 entry\n"},
        {ECHO_MODEL "models: []\nvariants: [{name: v, model: x, controller: [y]}, v]\n",
         "gate.yaml:5: models: stands here twice, first in line 2\n"
         "gate.yaml:6: variants[0].controller: must be text\n"
         "gate.yaml:6: variants[1]: must be a map of keys and values\n"},
        {ECHO_BACKEND "listen: ['0.0.0.0:1']\nkeys: {}\n", "gate.yaml:3: keys: must be a list\n"},
        {ECHO_BACKEND "listen: ['0.0.0.0:1']\nadmission: [open]\n",
         "gate.yaml:3: admission: must be a map of keys and values\n"},
        {ECHO_BACKEND "listen: ['0.0.0.0:1']\nkeys: [{sha256: x}]\n",
         "gate.yaml:3: keys[0].name: is missing\n"
         "gate.yaml:3: keys[0].sha256: must be 64 hex digits: the SHA-256 of a key, as embergate key hash tells it\n"},
        {ECHO_BACKEND "teams: [{nmae: a}, 5]\nkeys: [{name: k, team: b, sha256: " ZEROS "2}]\n",
         "gate.yaml:2: teams[0].nmae: unknown key; did you mean \"name\"?\n"
         "gate.yaml:2: teams[1]: must be a map of keys and values\n"},
        {ECHO_MODEL "variants: [v]\nkeys: [{name: k, models: [b], sha256: " ZEROS "2}]\n",
         "gate.yaml:5: variants[0]: must be a map of keys and values\n"},
        {ECHO_MODEL "    queue: {}\n    quota: {concurrent: [4], tokens_per_minute: x, tokens_burst: 4}\n",
         "gate.yaml:6: models[0].quota.concurrent: must be text\n"
         "gate.yaml:6: models[0].quota.tokens_per_minute: must be a number such as 60, 100k or 2m, not \"x\"\n"},
        {ECHO_MODEL "    queue: {longest: 1s}\n    quota: 4\n",
         "gate.yaml:6: models[0].quota: must be a map of keys and values\n"},
        {"backends: [{name: \"\xc3\xa9\\x85\\U0001f600\", kind: echo}]\nmodels: 5\n",
         "gate.yaml:1: backends[0].name: may hold letters, digits and ._-:/@+ only\n"
         "gate.yaml:2: models: must be a list\n"},
    };

    unsetenv("TEST_GONE");
    assert_all_complain(files, ARRAY_SIZE(files));
}

/* The entries that are too many are neither read nor missed. */
static void long_lists_are_cut(void **state)
{
    struct buffer text;

    buffer_init(&text);
    buffer_append_text(&text, ECHO_MODEL "    aliases: [");
    for (int i = 0; i < 300; i++)
        buffer_printf(&text, "a%d, ", i);
    buffer_append_text(&text, "]\nvariants: [{name: v, model: a299, adapter: x}, "
                              "{name: a299, model: m, lora: 1}]\n");
    buffer_append_char(&text, '\0');
    assert_complains(bytes_of(text.data), "gate.yaml:5: models[0].aliases: must have at most 256 entries\n"
                                          "gate.yaml:6: variants[1].lora: must be a list\n");
    buffer_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_told_at_once),
        cmocka_unit_test(nothing_is_told_that_only_follows),
        cmocka_unit_test(long_lists_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
