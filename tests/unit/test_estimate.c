/*
 * What a question will cost.
 */
#include "admit/estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct estimate estimate_with(const char *text, const struct chat_request *with, uint32_t fixed_output)
{
    struct arena arena;
    struct json_doc doc;
    struct chat_request request;
    struct failure failure;
    struct estimate estimate;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_of(text)), 0);
    assert_int_equal(chat_request_index(&request, &doc, &arena, &failure), 0);
    request.operation = with->operation;
    request.has_max_tokens = with->has_max_tokens;
    request.max_tokens = with->max_tokens;
    request.n = with->n;
    estimate = estimate_of(&request, &(struct config_model){.default_output = 100, .fixed_output = fixed_output});
    json_doc_deinit(&doc);
    arena_deinit(&arena);
    return estimate;
}

static struct estimate estimate_text(const char *text, const struct chat_request *with)
{
    return estimate_with(text, with, 0);
}

static void prompts(void **given)
{
    static const struct {
        const char *messages;
        uint64_t tokens;
    } cases[] = {
        {"[{\"role\":\"user\",\"content\":\"12345678\"}]", 2 + 4},
        {"[{\"role\":\"user\",\"content\":\"123456789\"}]", 3 + 4},
        {"[{\"role\":\"user\",\"content\":\"\"}]", 4},
        {"[{\"role\":\"user\",\"content\":\"1234\"},{\"role\":\"assistant\",\"content\":\"12\"}]", 2 + 8},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"1234\"},"
         "{\"type\":\"text\",\"text\":\"5678\"}]}]", 2 + 4},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"1234\"},{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAA\",\"detail\":\"low\"}},"
         "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}]}]", 1 + 4 + 2000},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]", 4 + 1000},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call_123456\",\"type\":\"function\",\"function\":"
         "{\"name\":\"abcd\",\"arguments\":\"{}  \"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"call_123456\",\"content\":\"1234\"}]", 3 + 8},
        {"[{\"role\":\"user\",\"content\":\"file\"},{\"role\":\"user\",\"file\":\"1234\"}]", 2 + 8},
        {"[]", 0},
        {"\"12345678\"", 2 + 4},
    };
    char text[1000];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct estimate estimate;

        snprintf(text, sizeof(text), "{\"model\":\"m\",\"messages\":%s}", cases[i].messages);
        estimate = estimate_text(text, &(struct chat_request){.n = 1});
        if (estimate.prompt != cases[i].tokens)
            fail_msg("%s: %lu, not %lu", cases[i].messages, (unsigned long)estimate.prompt,
                     (unsigned long)cases[i].tokens);
        assert_int_equal(estimate.output, 100);
    }
}

static void what_else_the_model_reads(void **given)
{
    const struct chat_request plain = {.n = 1};

    assert_int_equal(estimate_text("{\"tools\":[{\"a\":\"1234567\"}]}", &plain).prompt, 5);
    assert_int_equal(estimate_text("{\"system_prompt\":\"123456\"}", &plain).prompt, 2);
    assert_int_equal(estimate_text("{\"response_format\":{\"type\":1}}", &plain).prompt, 3);
    assert_int_equal(estimate_text("{\"user\":\"123456\",\"stop\":\"123456789\"}", &plain).prompt, 0);
}

static void outputs(void **given)
{
    static const struct {
        struct chat_request with;
        uint64_t tokens;
        uint32_t fixed;
    } cases[] = {
        {{.n = 1}, 100, 0},
        {{.n = 3}, 300, 0},
        {{.n = 1, .has_max_tokens = true, .max_tokens = 7}, 7, 0},
        {{.n = 2, .has_max_tokens = true, .max_tokens = 7}, 14, 0},
        {{.n = 2, .has_max_tokens = true, .max_tokens = 0}, 0, 0},
        {{.n = 1, .has_max_tokens = true, .max_tokens = -5}, 0, 0},
        {{.n = 0}, 100, 0},
        {{.n = -1}, 100, 0},
        {{.n = INT64_MAX, .has_max_tokens = true, .max_tokens = INT64_MAX}, ESTIMATE_MOST, 0},
        {{.n = 1, .has_max_tokens = true, .max_tokens = INT64_MAX}, ESTIMATE_MOST, 0},
        {{.n = 1, .operation = CHAT_LOGITS}, 1, 0},
        {{.n = 1}, 50, 50},
        {{.n = 2, .has_max_tokens = true, .max_tokens = 7}, 100, 50},
        {{.n = 1, .has_max_tokens = true, .max_tokens = INT64_MAX}, 50, 50},
        {{.n = 1, .operation = CHAT_LOGITS}, 1, 50},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(estimate_with("{}", &cases[i].with, cases[i].fixed).output, cases[i].tokens);
}

static void money(void **given)
{
    assert_int_equal(estimate_money(1000000, 0, 500000, 1500000), 500000);
    assert_int_equal(estimate_money(0, 1000000, 500000, 1500000), 1500000);
    assert_int_equal(estimate_money(1000, 200, 500000, 1500000), 800);
    assert_int_equal(estimate_money(1, 0, 500000, 1500000), 1);
    assert_int_equal(estimate_money(1, 1, 500000, 500000), 1);
    assert_int_equal(estimate_money(1, 1, 500000, 500001), 2);
    assert_int_equal(estimate_money(0, 0, 500000, 1500000), 0);
    assert_int_equal(estimate_money(7, 9, 0, 0), 0);
    assert_true(estimate_money(UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_MAX);
    assert_true(estimate_money(UINT64_MAX, 0, 1000000, 0) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),
        cmocka_unit_test(what_else_the_model_reads),
        cmocka_unit_test(outputs),
        cmocka_unit_test(money),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
