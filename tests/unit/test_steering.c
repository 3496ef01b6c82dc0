/*
 * Controllers: which are empty, which are none, and which say the same.
 */
#include "chat/steering.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define FEATURE(members) "{\"features\":[{" members "}]}"
#define ONE(features, value) "{\"mode\":\"nudge\",\"features\":" features ",\"value\":" value "}"
#define INDEX_5 FEATURE("\"index_in_sae\":5")
#define NUDGE "{\"interventions\":[" ONE(INDEX_5, "0.5") "]}"
#define CONDITION(left, right) "{\"left_hand\":" left ",\"right_hand\":" right ",\"operator\":\">\"}"
#define WHEN(condition, rest)                                                                                \
    "{\"conditionals\":{\"conditionals\":[" condition "],\"operator\":\"AND\"}" rest "}"
#define SCOPES(scope) "{\"scopes\":[" scope "]}"

struct parsed {
    struct arena arena;
    struct json_doc doc;
};

static const struct json_node *parse(struct parsed *parsed, const char *text)
{
    arena_init(&parsed->arena);
    json_doc_init(&parsed->doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&parsed->doc, bytes_of(text)), 0);
    return json_root(&parsed->doc);
}

static void forget(struct parsed *parsed)
{
    json_doc_deinit(&parsed->doc);
    arena_deinit(&parsed->arena);
}

static void emptiness(void **state)
{
    static const struct {
        const char *text;
        bool empty;
    } cases[] = {
        {"{}", true},
        {"null", true},
        {"{\"interventions\":[],\"scopes\":[],\"name\":\"controller__14004510\","
         "\"nonzero_strength_threshold\":null,\"min_nudge_entropy\":null,\"max_nudge_entropy\":null}",
         true},
        {NUDGE, false},
        {SCOPES(WHEN(CONDITION(INDEX_5, "1"), "")), false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct parsed parsed;
        const struct json_node *root = parse(&parsed, cases[i].text);

        assert_int_equal(steering_controller_empty(&parsed.doc, root), cases[i].empty);
        forget(&parsed);
    }
    assert_true(steering_controller_empty(NULL, NULL));
}

static void checks(void **state)
{
    static const struct {
        const char *text, *message, *param;
    } cases[] = {
        {NUDGE, NULL, NULL},
        {"{\"interventions\":[" ONE(FEATURE("\"uuid\":\"ab\",\"label\":\"x\",\"index_in_sae\":null"),
                                    "1") "]}",
         NULL, NULL},
        {SCOPES(WHEN(CONDITION(INDEX_5, "0.5"), ",\"controller\":" NUDGE ",\"is_active\":false,"
                                                "\"event_name\":null")),
         NULL, NULL},
        {SCOPES(WHEN(CONDITION(INDEX_5, INDEX_5), "")), NULL, NULL},
        {SCOPES(WHEN(CONDITION(INDEX_5, "{\"index_in_sae\":1}"), "")), NULL, NULL},
        {"{\"new_member\":{\"of\":\"tomorrow\"}}", NULL, NULL},
        {"5", "Invalid type for 'steer': expected an object, but got an integer instead.", "steer"},
        {"{\"interventions\":[{}]}", "Missing required parameter: 'steer.interventions[0].mode'.",
         "steer.interventions[0].mode"},
        {"{\"interventions\":[" ONE(FEATURE("\"label\":\"x\""), "1") "]}",
         "Missing required parameter: 'steer.interventions[0].features.features[0].uuid'.",
         "steer.interventions[0].features.features[0].uuid"},
        {"{\"interventions\":[" ONE(INDEX_5, "\"much\"") "]}",
         "Invalid type for 'steer.interventions[0].value': expected a number, but got a string instead.",
         "steer.interventions[0].value"},
        {SCOPES(WHEN(CONDITION(INDEX_5, "\"x\""), "")),
         "Invalid type for 'steer.scopes[0].conditionals.conditionals[0].right_hand': expected one of a "
         "number or "
         "object, but got a string instead.",
         "steer.scopes[0].conditionals.conditionals[0].right_hand"},
        {SCOPES(WHEN(CONDITION(INDEX_5, "1"), ",\"controller\":{\"interventions\":[1]}")),
         "Invalid type for 'steer.scopes[0].controller.interventions[0]': expected an object, but got an "
         "integer "
         "instead.",
         "steer.scopes[0].controller.interventions[0]"},
        {"{\"interventions\":[],\"interventions\":[]}", "Duplicate parameter: 'steer.interventions'.",
         "steer.interventions"},
        {"{\"new\":1,\"n\\u0065w\":2}", "Duplicate parameter: 'steer.new'.", "steer.new"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct parsed parsed;
        struct failure failure = {0};
        const struct json_node *root = parse(&parsed, cases[i].text);
        int r = steering_controller_check(&parsed.doc, root, "steer", &parsed.arena, &failure);

        assert_int_equal(r, cases[i].message ? -EINVAL : 0);
        if (cases[i].message) {
            char text[512];

            snprintf(text, sizeof(text), "%.*s", BYTES_ARG(failure.message));
            assert_string_equal(text, cases[i].message);
            snprintf(text, sizeof(text), "%.*s", BYTES_ARG(failure.param));
            assert_string_equal(text, cases[i].param);
        }
        forget(&parsed);
    }
}

static void wide_objects_are_refused(void **state)
{
    struct buffer text;
    struct parsed parsed;
    struct failure failure;
    const struct json_node *root;

    buffer_init(&text);
    buffer_append_text(&text, "{\"a0\":0");
    for (int i = 1; i < 40000; i++)
        buffer_printf(&text, ",\"a%d\":0", i);
    buffer_append(&text, (struct bytes){"}", 2});
    root = parse(&parsed, text.data);
    assert_int_equal(steering_controller_check(&parsed.doc, root, "controller", &parsed.arena, &failure),
                     -EINVAL);
    assert_true(bytes_equal(failure.code, BYTES("object_above_max_properties")));
    forget(&parsed);
    buffer_deinit(&text);
}

static void canonical_texts(void **state)
{
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"{\"interventions\":[],\"name\":\"controller__1\"}", "{}"},
        {NUDGE, "{\"interventions\":[{\"features\":{\"features\":[{\"index_in_sae\":5}]},\"mode\":\"nudge\","
                "\"value\":0.5}]}"},
        {"{\"name\":\"controller__2\",\"scopes\":[],\"max_nudge_entropy\":null,\"interventions\":[{"
         "\"value\":5e-1, \"m\\u006fde\":\"nudg\\u0065\",\"features\":{\"features\":[{\"uuid\":\"ff\","
         "\"label\":\"l\",\"index_in_sae\":5.0,\"max_activation_strength\":1}]}}]}",
         "{\"interventions\":[{\"features\":{\"features\":[{\"index_in_sae\":5}]},\"mode\":\"nudge\","
         "\"value\":0.5}]}"},
        {"{\"interventions\":[" ONE(FEATURE("\"uuid\":\"ff\",\"label\":\"l\""), "2.0") "]}",
         "{\"interventions\":[{\"features\":{\"features\":[{\"uuid\":\"ff\"}]},\"mode\":\"nudge\",\"value\":"
         "2}]}"},
        {SCOPES(WHEN(CONDITION(INDEX_5, "1"), ",\"controller\":{\"interventions\":[],\"name\":\"x\"},"
                                              "\"is_active\":true,\"event_name\":\"e\"")),
         "{\"scopes\":[{\"conditionals\":{\"conditionals\":[{\"left_hand\":{\"features\":[{\"index_in_sae\":"
         "5}]},"
         "\"operator\":\">\",\"right_hand\":1}],\"operator\":\"AND\"},\"event_name\":\"e\"}]}"},
        {"{\"interventions\":[" ONE(INDEX_5, "1") "],\"later\":{\"name\":null,\"label\":[1.50]}}",
         "{\"interventions\":[{\"features\":{\"features\":[{\"index_in_sae\":5}]},\"mode\":\"nudge\","
         "\"value\":1}],\"later\":{\"label\":[1.5],\"name\":null}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct parsed parsed;
        struct buffer out;
        const struct json_node *root = parse(&parsed, cases[i].text);

        buffer_init(&out);
        steering_controller_canonical(&parsed.doc, root, &parsed.arena, &out);
        buffer_append_char(&out, '\0');
        assert_string_equal(out.data, cases[i].canonical);
        buffer_deinit(&out);
        forget(&parsed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emptiness),
        cmocka_unit_test(checks),
        cmocka_unit_test(wide_objects_are_refused),
        cmocka_unit_test(canonical_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
