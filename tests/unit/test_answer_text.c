/*
 * What an answer says is told apart from how it was cut.
 */
#include "chat/answer_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct world {
    struct answer_text one, other;
    struct json_doc doc;
    uint32_t choice;
    size_t at;
};

static int set_up(void **state)
{
    static struct world world;

    answer_text_init(&world.one);
    answer_text_init(&world.other);
    json_doc_init(&world.doc, ANSWER_JSON_LIMITS);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    answer_text_deinit(&world->one);
    answer_text_deinit(&world->other);
    json_doc_deinit(&world->doc);
    return 0;
}

static void add(struct world *world, struct answer_text *text, enum chat_event_kind kind, const char *payload)
{
    answer_text_add(text, &(struct chat_event){.kind = kind, .payload = bytes_of(payload)}, &world->doc);
}

static bool differ(struct world *world)
{
    return answer_text_differ(&world->one, &world->other, &world->choice, &world->at);
}

static void cutting_says_nothing(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_CHUNK,
        "{\"id\":\"a\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}");
    add(world, &world->one, EVENT_CHUNK, "{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"}}]}");
    add(world, &world->one, EVENT_CHUNK, "{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t\\u0077o\"}}]}");
    add(world, &world->one, EVENT_CHUNK, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
    add(world, &world->one, EVENT_USAGE, "{\"choices\":[],\"usage\":{\"prompt_tokens\":9}}");
    add(world, &world->other, EVENT_BODY,
        "{\"id\":\"b\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"one two\"},\"finish_reason\":\"stop\"}]}");
    assert_false(differ(world));
}

static void the_first_difference_is_told(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_BODY,
        "{\"choices\":[{\"message\":{\"content\":\"same\"}},{\"index\":1,\"message\":{\"content\":\"abcdef\"}}]}");
    add(world, &world->other, EVENT_BODY,
        "{\"choices\":[{\"message\":{\"content\":\"same\"}},{\"index\":1,\"message\":{\"content\":\"abcxef\"}}]}");
    assert_true(differ(world));
    assert_int_equal(world->choice, 1);
    assert_int_equal(world->at, 3);
}

static void one_that_is_shorter_differs_at_its_end(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_BODY, "{\"choices\":[{\"message\":{\"content\":\"abc\"}}]}");
    add(world, &world->other, EVENT_BODY, "{\"choices\":[{\"message\":{\"content\":\"abcd\"}}]}");
    assert_true(differ(world));
    assert_int_equal(world->at, 3);
}

static void tools_and_reasons_count(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_BODY,
        "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}");
    add(world, &world->other, EVENT_BODY,
        "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":\"[]\"}}]},\"finish_reason\":\"tool_calls\"}]}");
    assert_true(differ(world));
    assert_int_equal(world->at, 1);
}

static void logits_are_compared_as_written(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_LOGITS, "{\"logits\":{\"a\":1.0}}");
    add(world, &world->other, EVENT_LOGITS, "{\"logits\":{\"a\":1.5}}");
    assert_true(differ(world));
    assert_int_equal(world->at, 7);
}

static void nonsense_is_passed_by(void **state)
{
    struct world *world = *state;

    add(world, &world->one, EVENT_CHUNK, "{\"choices\":[{\"index\":-1,\"delta\":{\"content\":\"x\"}},7,null]}");
    add(world, &world->one, EVENT_CHUNK, "{\"choices\":[{\"index\":4000000000,\"delta\":{\"content\":\"x\"}}]}");
    add(world, &world->one, EVENT_CHUNK, "not JSON");
    assert_false(differ(world));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cutting_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_difference_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_shorter_differs_at_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tools_and_reasons_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(logits_are_compared_as_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_is_passed_by, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
