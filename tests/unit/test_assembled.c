/*
 * Chunks and bodies become one body, whatever they were cut into.
 */
#include "chat/assembled.h"

#include "chat/transcript.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *payloads[6];
    const char *body;
};

static const struct row rows[] = {
    {"nothing", {NULL}, "{\"choices\":[]}"},
    {"a stream",
     {"{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}",
      "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \\\"\"},\"finish_reason\":null}]}",
      "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}",
      "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"one \\\"two\"},"
     "\"finish_reason\":\"stop\"}]}"},
    {"the same as a body",
     {"{\"id\":\"x\",\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"one \\\"two\",\"refusal\":null},"
      "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{}}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"one \\\"two\"},"
     "\"finish_reason\":\"stop\"}]}"},
    {"calls of tools, in pieces",
     {"{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"a\","
      "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\"\"}}]}}]}",
      "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}},{\"index\":1,\"id\":\"b\","
      "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}}]}",
      "{\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\","
     "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"
     "\"finish_reason\":\"tool_calls\"}]}"},
    {"a call in its older form",
     {"{\"choices\":[{\"message\":{\"content\":null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
      "\"finish_reason\":\"function_call\"}]}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
     "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}]}"},
    {"the second choice first, broken off",
     {"{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\",\"refusal\":\"no\"}}]}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null},"
     "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"b\",\"refusal\":\"no\"},\"finish_reason\":null}]}"},
    {"what cannot be read is passed by",
     {"not JSON", "[]", "{\"choices\":7}", "{\"choices\":[7,{\"index\":999999,\"delta\":{\"content\":\"x\"}},"
                                           "{\"index\":-1,\"delta\":{\"content\":\"x\"}}]}",
      "{\"choices\":[{\"delta\":{\"content\":\"y\",\"tool_calls\":[{\"index\":128},7,{\"index\":-5}]}}]}"},
     "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"y\"},\"finish_reason\":null}]}"},
};

static void pieces_become_one(void **state)
{
    struct json_doc doc;

    json_doc_init(&doc, ANSWER_JSON_LIMITS);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct assembled assembled;
        struct buffer out;

        print_message("  %s\n", rows[i].name);
        assembled_init(&assembled);
        buffer_init(&out);
        for (size_t at = 0; at < ARRAY_SIZE(rows[i].payloads) && rows[i].payloads[at]; at++)
            assembled_add(&assembled, bytes_of(rows[i].payloads[at]), &doc);
        assembled_write(&assembled, &out);
        assert_int_equal(out.size, strlen(rows[i].body));
        assert_memory_equal(out.data, rows[i].body, out.size);
        buffer_deinit(&out);
        assembled_deinit(&assembled);
    }
    json_doc_deinit(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_become_one)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
