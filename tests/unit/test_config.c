/*
 * Good files and what they become: every default, every unit, both forms of a controller, overrides.
 */
#include "config/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/embergate-config-XXXXXX";

static void assert_text(struct bytes view, const char *expected)
{
    if (!bytes_equal(view, bytes_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", BYTES_ARG(view), expected);
}

static struct config *read_good(const char *text, const struct config_overrides *overrides)
{
    struct config *config = NULL;
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = config_read_text("gate.yaml", folder, bytes_of(text), overrides, &errors, &config);
    if (r)
        fail_msg("%d: %.*s", r, BYTES_ARG(buffer_bytes(&errors)));
    assert_int_equal(errors.size, 0);
    buffer_deinit(&errors);
    return config;
}

static void write_file(const char *name, const char *text)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static void remove_file(const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static void silence_means_defaults(void **state)
{
    struct config *config = read_good("backends: [{name: local, kind: echo}]\nlimits:\nmodels: ~\n", NULL);

    assert_int_equal(config->listen_count, 1);
    assert_text(config->listen[0].host, "127.0.0.1");
    assert_int_equal(config->listen[0].port, 8080);
    assert_true(config->has_admin);
    assert_int_equal(config->admin.port, 8081);
    assert_true(config->workers >= 1);
    assert_int_equal(config->limits.connections, 0);
    assert_int_equal(config->limits.header_bytes, 16 << 10);
    assert_int_equal(config->limits.headers, 100);
    assert_int_equal(config->limits.body_bytes, 16 << 20);
    assert_int_equal(config->limits.buffered_bytes, 256 << 20);
    assert_int_equal(config->limits.answer_bytes, 16 << 20);
    assert_int_equal(config->limits.event_bytes, 1 << 20);
    assert_int_equal(config->limits.high_water, 64 << 10);
    assert_int_equal(config->limits.low_water, 16 << 10);
    assert_int_equal(config->header_ms, 10000);
    assert_int_equal(config->body_ms, 30000);
    assert_int_equal(config->idle_ms, 60000);
    assert_int_equal(config->client_stall_ms, 60000);
    assert_int_equal(config->drain_ms, 30000);
    assert_int_equal(config->keepalive_ms, 10000);
    assert_int_equal(config->backends[0].timeouts.connect, 5000);
    assert_int_equal(config->backends[0].timeouts.first_byte, 60000);
    assert_int_equal(config->backends[0].timeouts.between_bytes, 60000);
    assert_int_equal(config->backends[0].timeouts.total, 1800000);
    assert_int_equal(config->backends[0].echo_pace_ms, 20);
    assert_int_equal(config->backends[0].api_key.size, 0);
    assert_int_equal(config->model_count, 0);
    config_unref(config);
}

static void every_key_is_heard(void **state)
{
    struct config *config =
        read_good("listen: ['[::1]:0', localhost:9000, unix:/run/e.sock]\nadmin: off\nworkers: 3\n"
                  "limits: {connections: 7, header_bytes: 2k, headers: 9, body_bytes: 3m, buffered_bytes: "
                  "5g, answer_bytes: 4K,\n"
                  "         event_bytes: 2000, high_water: 1m, low_water: 1}\n"
                  "timeouts: {header: 1s, body: 2m, idle: 3h, client_stall: 4ms, drain: 5s, keepalive: 6s, "
                  "connect: 7s,\n"
                  "           first_byte: 8s, between_bytes: 9s, total: 10s}\n"
                  "backends:\n"
                  "  - {name: a, kind: echo, echo: {pace: 0}, url: http://h, api_key: k}\n"
                  "  - {name: b, kind: vllm, url: http://h, api_key: key, timeouts: {first_byte: 1s}}\n",
                  NULL);

    assert_int_equal(config->listen_count, 3);
    assert_text(config->listen[0].host, "::1");
    assert_int_equal(config->listen[0].port, 0);
    assert_text(config->listen[1].host, "127.0.0.1");
    assert_text(config->listen[2].unix_path, "/run/e.sock");
    assert_false(config->has_admin);
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->limits.connections, 7);
    assert_int_equal(config->limits.header_bytes, 2048);
    assert_int_equal(config->limits.headers, 9);
    assert_true(config->limits.buffered_bytes == UINT64_C(5) << 30);
    assert_int_equal(config->limits.answer_bytes, 4096);
    assert_int_equal(config->limits.event_bytes, 2000);
    assert_int_equal(config->limits.low_water, 1);
    assert_int_equal(config->header_ms, 1000);
    assert_int_equal(config->body_ms, 120000);
    assert_int_equal(config->idle_ms, 10800000);
    assert_int_equal(config->client_stall_ms, 4);
    assert_int_equal(config->keepalive_ms, 6000);
    assert_int_equal(config->backends[0].echo_pace_ms, 0);
    assert_int_equal(config->backends[0].timeouts.total, 10000);
    assert_int_equal(config->backends[1].timeouts.connect, 7000);
    assert_int_equal(config->backends[1].timeouts.first_byte, 1000);
    assert_text(config->backends[1].api_key, "key");
    assert_int_equal(config->backends[1].index, 1);
    config_unref(config);
}

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *kind, *url, *host, *root;
        int port;
        bool tls, versionless;
    } cases[] = {
        {"openai", "http://127.0.0.1:8000/v1", "127.0.0.1", "", 8000, false, false},
        {"openai", "http://127.0.0.1:8000", "127.0.0.1", "", 8000, false, false},
        {"openai", "http://h/", "h", "", 80, false, false},
        {"openai", "HTTPS://api.example.com/v1/", "api.example.com", "", 443, true, false},
        {"openai", "https://h:8443/a/b/v1", "h", "/a/b", 8443, true, false},
        {"openai", "https://h/v1/", "h", "", 443, true, false},
        {"openai", "https://h/a/b", "h", "/a/b", 443, true, true},
        {"openai", "https://h/av1", "h", "/av1", 443, true, true},
        {"vllm", "https://h/a/b", "h", "/a/b", 443, true, false},
        {"vllm", "http://[::1]:81/v1", "::1", "", 81, false, false},
        {"goodfire", "https://g/api/inference/v1", "g", "", 443, true, false},
        {"goodfire", "https://g/x/api/inference/v1/", "g", "/x", 443, true, false},
        {"goodfire", "https://g", "g", "", 443, true, false},
    };
    char text[300];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct config_backend *backend;
        struct config *config;

        snprintf(text, sizeof(text), "backends: [{name: b, kind: %s, url: '%s'}]", cases[i].kind,
                 cases[i].url);
        config = read_good(text, NULL);
        backend = &config->backends[0];
        assert_string_equal(config_kind_name(backend->kind), cases[i].kind);
        assert_text(backend->host, cases[i].host);
        assert_text(backend->root, cases[i].root);
        assert_int_equal(backend->port, cases[i].port);
        assert_int_equal(backend->tls, cases[i].tls);
        assert_int_equal(backend->versionless, cases[i].versionless);
        config_unref(config);
    }
}

static void sockets_stand_for_hosts(void **state)
{
    struct config *config =
        read_good("backends: [{name: b, kind: llama-server, url: 'unix:/run/llama.sock'}]", NULL);

    assert_text(config->backends[0].unix_path, "/run/llama.sock");
    assert_int_equal(config->backends[0].host.size, 0);
    assert_text(config->backends[0].root, "");
    config_unref(config);
}

static void variables_are_expanded(void **state)
{
    struct config *config;

    setenv("TEST_KEY", "k-1", 1);
    setenv("TEST_HOST", "h.example", 1);
    config = read_good(
        "backends:\n  - name: b-${TEST_KEY}\n    kind: openai\n    url: 'http://${TEST_HOST}:81/v1'\n"
        "    api_key: a${TEST_KEY}b$${TEST_KEY}$x$$\n",
        NULL);
    assert_text(config->backends[0].name, "b-k-1");
    assert_text(config->backends[0].host, "h.example");
    assert_text(config->backends[0].api_key, "ak-1b${TEST_KEY}$x$$");
    config_unref(config);
}

#define MODEL                                                                                                \
    "backends: [{name: a, kind: echo}, {name: b, kind: echo}]\n"                                             \
    "models:\n  - name: m\n    aliases: [org/m, other]\n    backends: [b, a]\n"

static void models_keep_their_order_and_digits(void **state)
{
    struct config *config = read_good(
        MODEL "    upstream: there\n"
              "    defaults: {temperature: 0.70, seed: -7, stop: [\"a\\n\", '\"'], reasoning_effort: low}\n"
              "    fixed: {top_p: 1.0e-1, max_tokens: 512, stop: null}\n"
              "  - {name: n, backends: [a], defaults: {stop: END}}\n",
        NULL);
    const struct config_model *model = config_find_model(config, BYTES("org/m"));

    assert_ptr_equal(model, &config->models[0]);
    assert_ptr_equal(config_find_model(config, BYTES("n")), &config->models[1]);
    assert_null(config_find_model(config, BYTES("gone")));
    assert_int_equal(model->backend_count, 2);
    assert_int_equal(model->backends[0], 1);
    assert_int_equal(model->backends[1], 0);
    assert_text(model->upstream, "there");
    assert_text(config->models[1].upstream, "n");
    assert_int_equal(model->defaults.count, 4);
    assert_text(model->defaults.list[0].name, "temperature");
    assert_text(model->defaults.list[0].value, "0.70");
    assert_text(model->defaults.list[1].value, "-7");
    assert_text(model->defaults.list[2].value, "\"low\"");
    assert_text(model->defaults.list[3].name, "stop");
    assert_text(model->defaults.list[3].value, "[\"a\\n\",\"\\\"\"]");
    assert_int_equal(model->fixed.count, 2);
    assert_text(model->fixed.list[0].value, "1.0e-1");
    assert_text(model->fixed.list[1].value, "512");
    assert_text(config->models[1].defaults.list[0].value, "\"END\"");
    config_unref(config);
}

#define FEATURE "{\"uuid\":\"00ff\",\"label\":\"a b\",\"index_in_sae\":3,\"max_activation_strength\":1}"
#define NUDGE(value) "{\"mode\":\"nudge\",\"features\":{\"features\":[" FEATURE "]},\"value\":" value "}"
#define TAIL "\"nonzero_strength_threshold\":null,\"min_nudge_entropy\":null,\"max_nudge_entropy\":null}"
#define EDITS                                                                                                \
    "[{\"feature_id\": \"00-ff\", \"feature_label\": \"a b\", \"index_in_sae\": 3, \"value\": -0.30}]"
#define CONDITION                                                                                            \
    "{\"conditionals\":[{\"left_hand\":{\"features\":[" FEATURE                                              \
    "]},\"right_hand\":0.5,\"operator\":\">\"}],"                                                            \
    "\"operator\":\"AND\"}"

static void controllers_come_in_three_forms(void **state)
{
    static const struct {
        const char *file, *controller;
    } cases[] = {
        {"{\"interventions\": [" NUDGE("0.50") "],\n\t\"scopes\":[], \"name\":\"c \\\" 1\"}\n",
         "{\"interventions\":[" NUDGE("0.50") "],\"scopes\":[],\"name\":\"c \\\" 1\"}"},
        {"{\"base_model\": \"org/m\", \"controller\": {\"interventions\": [], \"scopes\": []}}",
         "{\"interventions\":[],\"scopes\":[]}"},
        {"{\"base_model\": \"m\", \"edits\": " EDITS ", \"scopes\": []}",
         "{\"interventions\":[" NUDGE("-0.30") "],\"scopes\":[],\"name\":\"v\"," TAIL},
        {"{\"base_model\": \"there\", \"edits\": [], \"scopes\": [{\"condition\": " CONDITION
         ", \"nested_variant\": {\"base_model\": \"m\", \"edits\": " EDITS ", \"scopes\": []}}]}",
         "{\"interventions\":[],\"scopes\":[{\"conditionals\":" CONDITION
         ",\"controller\":{\"interventions\":[" NUDGE("-0.30") "],\"scopes\":[],\"name\":\"v_scope\"," TAIL
         ",\"is_active\":false,\"event_name\":null}],\"name\":\"v\"," TAIL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config;

        write_file("v.json", cases[i].file);
        config =
            read_good(MODEL "    upstream: there\nvariants:\n  - {name: v, model: other, controller: v.json, "
                            "adapter: x, lora: [{id: 2, scale: 0.80}, {id: 3}]}\n",
                      NULL);
        assert_ptr_equal(config_find_variant(config, BYTES("v")), &config->variants[0]);
        assert_text(config->variants[0].controller, cases[i].controller);
        assert_text(config->variants[0].adapter, "x");
        assert_int_equal(config->variants[0].lora[0].id, 2);
        assert_text(config->variants[0].lora[0].scale, "0.80");
        assert_text(config->variants[0].lora[1].scale, "1");
        config_unref(config);
    }
    remove_file("v.json");
}

static void bad_controllers_are_named(void **state)
{
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"", "syntax"},
        {"[]", "\"v.json\": must be a JSON object"},
        {"{}", "\"v.json\": interventions: is missing"},
        {"{\"interventions\": 1}", "\"v.json\": interventions: must be a list"},
        {"{\"interventions\": []}", "\"v.json\": scopes: is missing"},
        {"{\"controller\": 1}", "\"v.json\": controller: must be an object"},
        {"{\"interventions\": [" NUDGE("1") ", 1]}", "\"v.json\": interventions[1]: must be an object"},
        {"{\"interventions\": [{\"mode\": \"push\"}]}",
         "interventions[0]: its mode must be nudge, pin or mul"},
        {"{\"interventions\": [{\"mode\": \"pin\"}]}", "interventions[0]: its value must be a number"},
        {"{\"interventions\": [{\"mode\": \"mul\", \"value\": 1}]}", "its features.features must be a list"},
        {"{\"interventions\": [{\"mode\": \"mul\", \"value\": 1, \"features\": {\"features\": [{}]}}]}",
         "interventions[0]: a feature must have index_in_sae or uuid"},
        {"{\"interventions\": [], \"scopes\": [{\"conditionals\": {}, \"controller\": {\"interventions\": "
         "[0]}}]}",
         "\"v.json\": scopes[0].controller.interventions[0]: must be an object"},
        {"{\"base_model\": \"x\", \"edits\": []}",
         "\"v.json\": base_model: is neither the name, nor an alias"},
        {"{\"base_model\": \"m\", \"edits\": [{}]}", "\"v.json\": edits[0]: must have feature_id"},
        {"{\"base_model\": \"m\", \"edits\": [], \"scopes\": [{\"condition\": {}, \"nested_variant\": {}}]}",
         "\"v.json\": scopes[0]: has no edits: Variant.json() loses abort_when"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *config = NULL;
        struct buffer errors;

        write_file("v.json", cases[i].file);
        buffer_init(&errors);
        assert_int_equal(config_read_text("gate.yaml", folder,
                                          BYTES(MODEL "variants: [{name: v, model: m, controller: v.json}]"),
                                          NULL, &errors, &config),
                         CONFIG_E_BAD);
        buffer_append_char(&errors, '\0');
        assert_int_equal(strncmp(errors.data, "gate.yaml:6: variants[0].controller: \"v.json\": ", 47), 0);
        if (i > 0 && !strstr(errors.data, cases[i].message))
            fail_msg("no \"%s\" in: %s", cases[i].message, errors.data);
        buffer_deinit(&errors);
    }
    remove_file("v.json");
}

static void the_command_line_has_the_last_word(void **state)
{
    const char *urls[] = {"http://127.0.0.1:8000/v1", "https://h/x/v1", "unix:/run/l.sock", "http://[::1]"};
    const struct config_overrides overrides = {"[::1]:1", "off", urls, ARRAY_SIZE(urls), 2};
    struct config *config = read_good(MODEL "variants: [{name: v, model: gone, adapter: x}]\nworkers: 9\n"
                                            "timeouts: {connect: 1s}\nlisten: [127.0.0.1:5]\n",
                                      &overrides);

    assert_int_equal(config->listen_count, 1);
    assert_text(config->listen[0].host, "::1");
    assert_false(config->has_admin);
    assert_int_equal(config->workers, 2);
    assert_int_equal(config->model_count, 0);
    assert_int_equal(config->variant_count, 0);
    assert_int_equal(config->backend_count, 4);
    assert_int_equal(config->backends[0].kind, KIND_AUTO);
    assert_string_equal(config_kind_name(KIND_AUTO), "auto");
    assert_text(config->backends[0].name, "127.0.0.1:8000");
    assert_text(config->backends[1].name, "h:443/x");
    assert_text(config->backends[2].name, "unix:/run/l.sock");
    assert_text(config->backends[3].name, "[::1]:80");
    assert_int_equal(config->backends[3].timeouts.connect, 1000);
    config_unref(config);
}

static void no_file_is_fine_with_a_backend(void **state)
{
    const char *urls[] = {"http://127.0.0.1:8000"}, *bad[] = {"127.0.0.1:8000", "http://h", "http://h",
                                                       "unix:/a\x01", "unix:/\xff", "http://\xc3\xa9"};
    struct config_overrides overrides = {.backends = urls, .backend_count = 1};
    struct config *config = NULL;
    struct buffer errors;

    buffer_init(&errors);
    assert_int_equal(config_read(NULL, &overrides, &errors, &config), 0);
    assert_int_equal(config->listen[0].port, 8080);
    assert_int_equal(config->admin.port, 8081);
    assert_ptr_equal(config_ref(config), config);
    config_unref(config);
    assert_null(config_unref(config));
    assert_int_equal(config_read(NULL, NULL, &errors, &config), CONFIG_E_BAD);
    overrides = (struct config_overrides){"x", "y", bad, ARRAY_SIZE(bad), 9999};
    assert_int_equal(config_read(NULL, &overrides, &errors, &config), CONFIG_E_BAD);
    buffer_append_char(&errors, '\0');
    assert_string_equal(
        errors.data, "command line: --backend: none is given: name one in a file (-c FILE), or say --backend "
                     "URL, such as --backend http://127.0.0.1:8000\n"
                     "command line: --listen: must be host:port, [v6]:port or unix:/path\n"
                     "command line: --admin: must be host:port, [v6]:port or unix:/path\n"
                     "command line: --workers: must be at most 1024\n"
                     "command line: --backend: must begin with http://, https:// or unix:/\n"
                     "command line: --backend: h:80 is given twice\n"
                     "command line: --backend: must not hold control characters\n"
                     "command line: --backend: is not valid UTF-8\n"
                     "command line: --backend: the host is neither a name nor an IP address\n");
    buffer_deinit(&errors);
}

static void files_are_read_whole(void **state)
{
    struct config *config = NULL;
    struct buffer errors;
    char path[200];

    buffer_init(&errors);
    write_file("good.yaml", "backends: [{name: a, kind: echo}]");
    snprintf(path, sizeof(path), "%s/good.yaml", folder);
    assert_int_equal(config_read(path, NULL, &errors, &config), 0);
    config_unref(config);
    remove_file("good.yaml");
    assert_int_equal(config_read(path, NULL, &errors, &config), -ENOENT);
    assert_true(bytes_end_with(buffer_bytes(&errors), BYTES("/good.yaml: No such file or directory\n")));
    assert_int_equal(config_read(folder, NULL, &errors, &config), -EISDIR);
    buffer_deinit(&errors);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_means_defaults),
        cmocka_unit_test(every_key_is_heard),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(sockets_stand_for_hosts),
        cmocka_unit_test(variables_are_expanded),
        cmocka_unit_test(models_keep_their_order_and_digits),
        cmocka_unit_test(controllers_come_in_three_forms),
        cmocka_unit_test(bad_controllers_are_named),
        cmocka_unit_test(the_command_line_has_the_last_word),
        cmocka_unit_test(no_file_is_fine_with_a_backend),
        cmocka_unit_test(files_are_read_whole),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
