/*
 * Names to backends, and which backends are worth asking.
 */
#include "config/config.h"
#include "route/health.h"
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct config *read_config(const char *text)
{
    struct config_overrides overrides = {0};
    struct buffer errors;
    struct config *config = NULL;

    buffer_init(&errors);
    if (config_read_text("test.yaml", ".", bytes_of(text), &overrides, &errors, &config) != 0)
        fprintf(stderr, "%.*s\n", BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    assert_non_null(config);
    return config;
}

static const char two_backends[] = "backends:\n"
                                   "  - {name: one, kind: vllm, url: 'http://127.0.0.1:1/v1'}\n"
                                   "  - {name: two, kind: sglang, url: 'http://127.0.0.1:2'}\n"
                                   "models:\n"
                                   "  - {name: llama, aliases: [lama], backends: [two, one], upstream: real}\n"
                                   "variants:\n"
                                   "  - {name: pirate, model: llama, adapter: pirate-lora}\n";

static void names_lead_to_backends_in_order(void **state)
{
    static const char *const names[] = {"llama", "lama", "pirate"};
    struct config *config = read_config(two_backends);
    struct catalog *catalog = catalog_new(config);
    struct arena arena;
    struct route route;

    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(route_find(config, catalog, bytes_of(names[i]), &arena, &route), 0);
        assert_int_equal(route.count, 2);
        assert_int_equal(route.targets[0].kind, KIND_SGLANG);
        assert_int_equal(route.targets[1].kind, KIND_VLLM);
        assert_true(bytes_equal(route.targets[0].upstream_model, BYTES("real")));
        assert_int_equal(route.variant != NULL, i == 2);
    }
    assert_int_equal(route_find(config, catalog, BYTES("Llama"), &arena, &route), ROUTE_E_NO_MODEL);
    assert_int_equal(route_find(config, catalog, BYTES(""), &arena, &route), ROUTE_E_NO_MODEL);
    arena_deinit(&arena);
    catalog_free(catalog);
    config_unref(config);
}

static void lists_are_learned(void **state)
{
    struct config *config = read_config("backends:\n"
                                        "  - {name: one, kind: vllm, url: 'http://127.0.0.1:1/v1'}\n"
                                        "  - {name: two, kind: echo}\n");
    struct catalog *catalog = catalog_new(config);
    struct arena arena;
    struct route route;
    struct route_name *names;
    struct json_doc doc;

    arena_init(&arena);
    assert_true(catalog_stale(catalog, 0, 1000, 500));
    assert_false(catalog_stale(catalog, 1, 1000, 500));
    assert_int_equal(route_find(config, catalog, BYTES("m"), &arena, &route), ROUTE_E_NO_MODEL);
    assert_false(catalog_known(catalog, 0));
    assert_true(catalog_known(catalog, 1));
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, BYTES("{\"data\":[{\"id\":\"m\"},{\"id\":7},{\"id\":\"n\"}]}")), 0);
    catalog_learn(catalog, 0, KIND_VLLM, &doc, 1000);
    json_doc_deinit(&doc);
    assert_true(catalog_known(catalog, 0));
    assert_false(catalog_stale(catalog, 0, 1400, 500));
    assert_true(catalog_stale(catalog, 0, 1500, 500));
    assert_int_equal(route_find(config, catalog, BYTES("n"), &arena, &route), 0);
    assert_int_equal(route.targets[0].kind, KIND_VLLM);
    assert_int_equal(route_names(config, catalog, &arena, &names), 3);
    arena_deinit(&arena);
    catalog_free(catalog);
    config_unref(config);
}

static void the_unreachable_are_left_alone(void **state)
{
    struct health *health = health_new(1);

    assert_int_equal(health_ask(health, 0, 0), HEALTH_GOOD);
    health_unreachable(health, 0, 0);
    assert_int_equal(health_ask(health, 0, 10), HEALTH_RESTING);
    assert_int_equal(health_ask(health, 0, 1000), HEALTH_GOOD);
    for (int i = 0; i < 5; i++)
        health_unreachable(health, 0, 2000);
    assert_int_equal(health_ask(health, 0, 2500), HEALTH_DOWN);
    assert_int_equal(health_ask(health, 0, 3000), HEALTH_GOOD);
    assert_int_equal(health_ask(health, 0, 3001), HEALTH_DOWN);
    health_reached(health, 0);
    assert_int_equal(health_ask(health, 0, 3002), HEALTH_GOOD);
    /* What one answer began, another's success does not end. */
    health_rest(health, 0, 4000, 300);
    health_reached(health, 0);
    assert_int_equal(health_ask(health, 0, 4299), HEALTH_RESTING);
    assert_int_equal(health_ask(health, 0, 4300), HEALTH_GOOD);
    health_free(health);
}

static void retries_are_a_tenth(void **state)
{
    struct health *health = health_new(1);
    unsigned spent = 0;

    for (int i = 0; i < 1000; i++) {
        health_earn(health);
        spent += health_spend(health);
    }
    assert_in_range(spent, 100, 111);
    health_free(health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_backends_in_order),
        cmocka_unit_test(lists_are_learned),
        cmocka_unit_test(the_unreachable_are_left_alone),
        cmocka_unit_test(retries_are_a_tenth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
