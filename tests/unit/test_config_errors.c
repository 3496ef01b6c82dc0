/*
 * Bad files, and every word the gateway says about them, in the order of the lines.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define ECHO_BACKEND "backends: [{name: local, kind: echo}]\n"
#define ECHO_MODEL ECHO_BACKEND "models:\n  - name: echo\n    backends: [local]\n"

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

static void keys_and_types_are_checked(void **state)
{
    static const struct bad_file files[] = {
        {"lisen: [127.0.0.1:1]\nbackend: [{name: a, kind: echo}]\nwerkers: 1\ncompletely: different\n",
         "gate.yaml:1: lisen: unknown key; did you mean \"listen\"?\n"
         "gate.yaml:2: backend: unknown key; did you mean \"backends\"?\n"
         "gate.yaml:3: werkers: unknown key; did you mean \"workers\"?\n"
         "gate.yaml:4: completely: unknown key\n"},
        {ECHO_BACKEND "limits:\n  body-bytes: 1m\ntimeouts:\n  backends: 1s\n",
         "gate.yaml:3: limits.body-bytes: unknown key; did you mean \"body_bytes\"?\n"
         "gate.yaml:5: timeouts.backends: unknown key\n"},
        {"listen: 127.0.0.1:8080\nadmin: [a]\nworkers: two\nlimits: 16m\nbackends: {a: 1}\n",
         "gate.yaml:1: listen: must be a list\n"
         "gate.yaml:2: admin: must be text\n"
         "gate.yaml:3: workers: must be a whole number, not \"two\"\n"
         "gate.yaml:4: limits: must be a map of keys and values\n"
         "gate.yaml:5: backends: must be a list\n"},
        {ECHO_BACKEND "workers: 1.5\nlimits:\n  connections: -1\n  headers: 0x10\n",
         "gate.yaml:2: workers: must be a whole number, not \"1.5\"\n"
         "gate.yaml:4: limits.connections: must be from 0 to 4294967295\n"
         "gate.yaml:5: limits.headers: must be a whole number, not \"0x10\"\n"},
        {ECHO_BACKEND "workers: 010\nlimits: {headers: 4294967296, connections: \"1\"}\n",
         "gate.yaml:2: workers: must be a whole number, not \"010\"\n"
         "gate.yaml:3: limits.headers: must be from 0 to 4294967295\n"
         "gate.yaml:3: limits.connections: must be a whole number\n"},
        {"workers: 1\nadmin: off\nworkers: 2\n" ECHO_BACKEND,
         "gate.yaml:3: workers: stands here twice, first in line 1\n"},
        {"listen: []\nbackends:\n  - kind: vlm\n  - name:\n    kind: openai\n    url: \"\"\n    api_key: "
         "\"null\"\n",
         "gate.yaml:1: listen: must have at least 1 entry\n"
         "gate.yaml:3: backends[0].name: is missing\n"
         "gate.yaml:3: backends[0].kind: \"vlm\" is none of openai, goodfire, vllm, llama-server, sglang, "
         "ollama, echo; did you mean \"vllm\"?\n"
         "gate.yaml:4: backends[1].name: has no value\n"
         "gate.yaml:6: backends[1].url: must not be empty\n"
         "gate.yaml:7: backends[1].api_key: \"null\" cannot be used here\n"},
        {ECHO_BACKEND
         "models:\n  - name: a\n  - a\n  - name: b\n    backends: local\n    defaults: {stop: {a: b}}\n",
         "gate.yaml:3: models[0].backends: is missing\n"
         "gate.yaml:4: models[1]: must be a map of keys and values\n"
         "gate.yaml:6: models[2].backends: must be a list\n"
         "gate.yaml:7: models[2].defaults.stop: must be text or a list of texts\n"},
        {"- a\n", "gate.yaml:1: must be a map of keys and values\n"},
        {"just text\n", "gate.yaml:1: must be a map of keys and values\n"},
    };

    assert_all_complain(files, ARRAY_SIZE(files));
}

static void addresses_and_sizes_are_checked(void **state)
{
    static const struct bad_file files[] = {
        {"listen:\n  - example.com:80\n  - 127.0.0.1\n  - :8080\n  - 127.0.0.1:99999\n  - ::1:80\n  - "
         "unix:here\n"
         "  - 127.0.0.1:1\n  - localhost:1\nadmin: 127.0.0.1:1\n" ECHO_BACKEND,
         "gate.yaml:2: listen[0]: the host must be an IP address or localhost\n"
         "gate.yaml:3: listen[1]: must be host:port, [v6]:port or unix:/path\n"
         "gate.yaml:4: listen[2]: needs an address before the port: 127.0.0.1, or 0.0.0.0 for all\n"
         "gate.yaml:5: listen[3]: the port must be a number from 0 to 65535\n"
         "gate.yaml:6: listen[4]: an IPv6 address stands in brackets: [::1]:8080\n"
         "gate.yaml:7: listen[5]: a unix socket is written unix:/path, from the root\n"
         "gate.yaml:9: listen[7]: is the same as listen[6]\n"
         "gate.yaml:10: admin: is the same address as the main listener's\n"},
        {ECHO_BACKEND "workers: 1025\nlimits:\n  body_bytes: 16x\n  header_bytes: 2m\n  event_bytes: 0\n"
                      "  headers: 0\ntimeouts:\n  body: 5\n  idle: 0s\n  total: 8d\n  drain: 999h\n",
         "gate.yaml:2: workers: must be at most 1024\n"
         "gate.yaml:4: limits.body_bytes: must be a size such as 512, 64k, 16m or 1g, not \"16x\"\n"
         "gate.yaml:5: limits.header_bytes: must be from 1k to 1m\n"
         "gate.yaml:6: limits.event_bytes: must be from 1k to 1g\n"
         "gate.yaml:7: limits.headers: must be from 1 to 10000\n"
         "gate.yaml:9: timeouts.body: must be a duration such as 500ms, 10s, 5m or 1h, not \"5\"\n"
         "gate.yaml:10: timeouts.idle: must not be 0\n"
         "gate.yaml:11: timeouts.total: must be at most a week\n"
         "gate.yaml:12: timeouts.drain: must be at most a week\n"},
        {ECHO_BACKEND "limits:\n  high_water: 8k\n  body_bytes: 1g\n",
         "gate.yaml:2: limits.low_water: must be below high_water (16384 is not below 8192)\n"
         "gate.yaml:2: limits.buffered_bytes: must be at least body_bytes (1073741824)\n"},
    };

    assert_all_complain(files, ARRAY_SIZE(files));
}

static void backends_are_checked(void **state)
{
    static const struct bad_file files[] = {
        {"",
         "gate.yaml: backends: none is given: name one in a file (-c FILE), or say --backend URL, such as "
         "--backend http://127.0.0.1:8000\n"},
        {"admin: off\n",
         "gate.yaml:1: backends: none is given: name one in a file (-c FILE), or say --backend URL, "
         "such as --backend http://127.0.0.1:8000\n"},
        {"backends:\n"
         "  - {name: a, kind: openai}\n"
         "  - {name: a, kind: openai, url: 'ftp://h'}\n"
         "  - {name: c d, kind: openai, url: 'http://user:secret@h/v1'}\n"
         "  - {name: e, kind: openai, url: 'http://h/v1?key=secret'}\n"
         "  - {name: f, kind: openai, url: 'http://h:0'}\n"
         "  - {name: g, kind: openai, url: 'http://[::1/v1'}\n"
         "  - {name: h, kind: openai, url: 'http://a b/v1'}\n"
         "  - {name: i, kind: openai, url: 'http://h/a b'}\n"
         "  - {name: j, kind: openai, url: 'http://h', ca_file: x.pem, echo: {pace: 1s}}\n"
         "  - {name: k, kind: openai, url: 'https://h', ca_file: x.pem, timeouts: {total: 0}}\n"
         "  - {name: l, kind: openai, url: 'https://h', api_key: \"sec\\nret\"}\n"
         "  - {name: m, kind: openai, url: 'https://h', api_key: sec ret}\n",
         "gate.yaml:2: backends[0].url: is missing\n"
         "gate.yaml:3: backends[1].name: \"a\" is the name of backends[0] too\n"
         "gate.yaml:3: backends[1].url: must begin with http://, https:// or unix:/\n"
         "gate.yaml:4: backends[2].name: may hold letters, digits and ._-:/@+ only\n"
         "gate.yaml:4: backends[2].url: no user or password in a URL: a key belongs in api_key\n"
         "gate.yaml:5: backends[3].url: no query (?) and no fragment (#) in a URL\n"
         "gate.yaml:6: backends[4].url: the port must be a number from 1 to 65535\n"
         "gate.yaml:7: backends[5].url: the host and port cannot be read\n"
         "gate.yaml:8: backends[6].url: the host is neither a name nor an IP address\n"
         "gate.yaml:9: backends[7].url: the path holds a character that must be percent-encoded\n"
         "gate.yaml:10: backends[8].ca_file: is only for a URL with https\n"
         "gate.yaml:10: backends[8].echo: is only for kind echo\n"
         "gate.yaml:11: backends[9].ca_file: \"x.pem\" cannot be read\n"
         "gate.yaml:11: backends[9].timeouts.total: must not be 0\n"
         "gate.yaml:12: backends[10].api_key: must not hold control characters (a line break at its end?)\n"
         "gate.yaml:13: backends[11].api_key: must be visible ASCII characters without spaces\n"},
    };

    assert_all_complain(files, ARRAY_SIZE(files));
}

static void models_and_variants_are_checked(void **state)
{
    static const struct bad_file files[] = {
        {ECHO_BACKEND "models:\n  - {name: a, backends: [locl, local, local]}\n",
         "gate.yaml:3: models[0].backends[0]: no backend is called \"locl\"\n"
         "gate.yaml:3: models[0].backends[2]: \"local\" stands here twice\n"},
        {ECHO_BACKEND "models:\n  - {name: b, backends: []}\n",
         "gate.yaml:3: models[0].backends: must have at least 1 entry\n"},
        {ECHO_MODEL "    aliases: [a, b, a, echo]\n  - name: b\n    backends: [local]\n"
                    "variants: [{name: a, model: echo, adapter: x}]\n",
         "gate.yaml:5: models[0].aliases[2]: \"a\" is already a name, see line 5\n"
         "gate.yaml:5: models[0].aliases[3]: \"echo\" is already a name, see line 3\n"
         "gate.yaml:6: models[1].name: \"b\" is already a name, see line 5\n"
         "gate.yaml:8: variants[0].name: \"a\" is already a name, see line 5\n"},
        {ECHO_MODEL "variants:\n  - {name: a, model: gone, adapter: x}\n  - {name: b, model: echo}\n"
                    "  - {name: c, model: echo, controller: gone.json}\n"
                    "  - {name: d, model: echo, lora: [{id: 0, scale: much}, {id: 0, scale: \"1\"}]}\n",
         "gate.yaml:6: variants[0].model: no entry of models is called \"gone\"\n"
         "gate.yaml:7: variants[1]: steers nothing: give controller, lora or adapter\n"
         "gate.yaml:8: variants[2].controller: \"gone.json\": No such file or directory\n"
         "gate.yaml:9: variants[3].lora[0].scale: must be a number, without quotes\n"
         "gate.yaml:9: variants[3].lora[1].id: is the same as in lora[0]\n"
         "gate.yaml:9: variants[3].lora[1].scale: must be a number, without quotes\n"},
        {ECHO_BACKEND "variants: [{name: a, model: echo, adapter: x}]\n",
         "gate.yaml:2: variants[0].model: no entry of models is called \"echo\"\n"},
        {ECHO_MODEL
         "    defaults:\n      temperature: 2.1\n      top_p: \"1\"\n      top_k: 1.5\n      min_p: .5\n"
         "      max_tokens: 0\n      seed: 1e3\n      presence_penalty: +1\n"
         "      reasoning_effort: lots\n      stop: []\n      n: 2\n",
         "gate.yaml:6: models[0].defaults.temperature: must be from 0 to 2\n"
         "gate.yaml:7: models[0].defaults.top_p: must be a number, without quotes\n"
         "gate.yaml:8: models[0].defaults.top_k: must be a whole number, without quotes\n"
         "gate.yaml:9: models[0].defaults.min_p: must be a number, without quotes\n"
         "gate.yaml:10: models[0].defaults.max_tokens: must be from 1 to 2147483647\n"
         "gate.yaml:11: models[0].defaults.seed: must be a whole number, without quotes\n"
         "gate.yaml:12: models[0].defaults.presence_penalty: must be a number, without quotes\n"
         "gate.yaml:13: models[0].defaults.reasoning_effort: must be one of none, minimal, low, medium, "
         "high, xhigh\n"
         "gate.yaml:14: models[0].defaults.stop: must have from 1 to 16 entries\n"
         "gate.yaml:15: models[0].defaults.n: unknown key\n"},
        {ECHO_MODEL
         "    defaults:\n      temperature: 2.1\n      top_p: \"1\"\n      top_k: 1.5\n      min_p: .5\n"
         "      max_tokens: 0\n      max_completion_tokens: 1\n      presence_penalty: +1\n"
         "      reasoning_effort: lots\n      stop: []\n      seed: 1e3\n"
         "    fixed: {stop: [a, \"\"], seed: inf}\n",
         "gate.yaml:6: models[0].defaults.temperature: must be from 0 to 2\n"
         "gate.yaml:7: models[0].defaults.top_p: must be a number, without quotes\n"
         "gate.yaml:8: models[0].defaults.top_k: must be a whole number, without quotes\n"
         "gate.yaml:9: models[0].defaults.min_p: must be a number, without quotes\n"
         "gate.yaml:10: models[0].defaults.max_tokens: must be from 1 to 2147483647\n"
         "gate.yaml:10: models[0].defaults.max_tokens: says the same as max_completion_tokens: give one of "
         "them\n"
         "gate.yaml:12: models[0].defaults.presence_penalty: must be a number, without quotes\n"
         "gate.yaml:13: models[0].defaults.reasoning_effort: must be one of none, minimal, low, medium, "
         "high, xhigh\n"
         "gate.yaml:14: models[0].defaults.stop: must have from 1 to 16 entries\n"
         "gate.yaml:14: models[0].defaults.stop: has no effect, because it is fixed\n"
         "gate.yaml:15: models[0].defaults.seed: must be a whole number, without quotes\n"
         "gate.yaml:15: models[0].defaults.seed: has no effect, because it is fixed\n"
         "gate.yaml:16: models[0].fixed.seed: must be a whole number, without quotes\n"
         "gate.yaml:16: models[0].fixed.stop[1]: must not be empty\n"},
    };

    assert_all_complain(files, ARRAY_SIZE(files));
}

static void variables_must_be_there(void **state)
{
    static const struct bad_file files[] = {
        {"admin: ${TEST_GONE}\nbackends:\n  - {name: a, kind: openai, url: '${TEST_URL', api_key: "
         "'${TEST_EMPTY}'}\n"
         "  - {name: b, kind: openai, url: '${1}', api_key: '${TEST_LINE}'}\n"
         "  - {name: c, kind: openai, url: '${TEST_SECRET_URL}', api_key: '${TEST_LATIN}'}\n",
         "gate.yaml:1: admin: the environment variable TEST_GONE is not set\n"
         "gate.yaml:3: backends[0].url: \"${\" must begin ${NAME}; write \"$${\" for the characters "
         "themselves\n"
         "gate.yaml:3: backends[0].api_key: is empty: the variable has no value\n"
         "gate.yaml:4: backends[1].url: \"${\" must begin ${NAME}; write \"$${\" for the characters "
         "themselves\n"
         "gate.yaml:4: backends[1].api_key: must not hold control characters (a line break at its end?)\n"
         "gate.yaml:5: backends[2].url: no user or password in a URL: a key belongs in api_key\n"
         "gate.yaml:5: backends[2].api_key: is not valid UTF-8\n"},
        {ECHO_BACKEND "timeouts: {body: '${TEST_SECRET_URL}'}\n",
         "gate.yaml:2: timeouts.body: must be a duration such as 500ms, 10s, 5m or 1h, not "
         "\"${TEST_SECRET_URL}\"\n"},
    };

    unsetenv("TEST_GONE");
    setenv("TEST_EMPTY", "", 1);
    setenv("TEST_LINE", "secret\n", 1);
    setenv("TEST_LATIN", "secr\xe9t", 1);
    setenv("TEST_SECRET_URL", "http://user:secret@host", 1);
    assert_all_complain(files, ARRAY_SIZE(files));
}

static void hostile_yaml_is_refused(void **state)
{
    static const struct bad_file files[] = {
        {"a: &a [x]\nb: *a\n", "gate.yaml:1: anchors and aliases (& and *) are not allowed\n"},
        {"a: *a\n", "gate.yaml:1: anchors and aliases (& and *) are not allowed\n"},
        {"a: 1\nb: !!binary aGk=\n", "gate.yaml:2: tags (!) are not allowed\n"},
        {"admin: off\n---\nadmin: off\n", "gate.yaml:2: a second document (---) is not allowed\n"},
        {"? [a]\n: b\n", "gate.yaml:1: a key must be plain text\n"},
        {"a: \"\\0\"\n", "gate.yaml:1: a NUL character is not allowed\n"},
        {"a: b\nc: \xff\n", "gate.yaml:2: not valid UTF-8\n"},
        {"a: b\nc: \x01\n", "gate.yaml:2: not valid YAML: control characters are not allowed\n"},
        {"a: [b\nc: d\n", "gate.yaml:2: not valid YAML: did not find expected ',' or ']' (column 2)\n"},
        {"a: b: c\n",
         "gate.yaml:1: not valid YAML: mapping values are not allowed in this context (column 5)\n"},
        {"\"a\\x07\\e[31m\": 1\n" ECHO_BACKEND, "gate.yaml:1: a\\x07\\x1b[31m: unknown key\n"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[\n", "gate.yaml:1: nested deeper than 16 levels\n"},
    };

    assert_all_complain(files, ARRAY_SIZE(files));
}

static void assert_refused_with(const struct buffer *text, const char *part)
{
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read_text("gate.yaml", ".", buffer_bytes(text), NULL, &errors, &config),
                     CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    if (!strstr(errors.data, part))
        fail_msg("no \"%s\" in: %s", part, errors.data);
    assert_true(errors.size < 40000);
    buffer_deinit(&errors);
}

static void repeat(struct buffer *text, const char *head, const char *piece, size_t size)
{
    buffer_clear(text, SIZE_MAX);
    buffer_append_text(text, head);
    while (text->size + strlen(piece) <= size)
        buffer_append_text(text, piece);
}

static void complaints_are_bounded(void **state)
{
    struct buffer text;

    buffer_init(&text);
    buffer_append_text(&text, "listen:");
    for (int i = 0; i < 300; i++)
        buffer_append_text(&text, "\n  - \"\"");
    assert_refused_with(&text, "gate.yaml:100: listen[98]: must not be empty\ngate.yaml: and more\n");
    buffer_deinit(&text);
}

static void big_files_are_refused_in_time(void **state)
{
    static const struct {
        const char *head, *piece, *part;
    } cases[] = {
        {"a: ", "[", "deeper"},
        {"", "- ", "deeper"},
        {"", "? ", "a key must be plain text"},
        {"a: ", "{a: ", "deeper"},
        {"a: [", "a,", "more than 20000 values"},
        {"", "a: 1\n", "more than 20000 values"},
        {"a: ", "x", "unknown key"},
        {"", "x", "map of keys"},
        {"workers: ", "1", "must be from 0"},
        {"limits: {", "headers: 1,", "more than 20000 values"},
        {"admin: \"", "\\u00e9", "not valid YAML"},
        {"a: ", "&a ", "anchors"},
        {"", "%TAG ! a\n", "not valid YAML"},
        {"", "\n", "backends: none is given"},
        {"# ", "x", "backends: none is given"},
    };
    struct buffer text;

    buffer_init(&text);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        repeat(&text, cases[i].head, cases[i].piece, 1 << 20);
        assert_refused_with(&text, cases[i].part);
    }
    repeat(&text, "# ", "x", (1 << 20) + 1);
    assert_refused_with(&text, "gate.yaml: is larger than 1 MB");
    buffer_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_types_are_checked), cmocka_unit_test(addresses_and_sizes_are_checked),
        cmocka_unit_test(backends_are_checked),       cmocka_unit_test(models_and_variants_are_checked),
        cmocka_unit_test(variables_must_be_there),    cmocka_unit_test(hostile_yaml_is_refused),
        cmocka_unit_test(complaints_are_bounded),     cmocka_unit_test(big_files_are_refused_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
