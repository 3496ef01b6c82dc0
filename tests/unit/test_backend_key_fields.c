/*
 * Every member of both schemas, and some of none: changed, and the key must change with it or must not, exactly as the
 * tables say, for each kind of backend and at both doors. A member that no row names fails the test.
 */
#include "key_stage.h"

#include "chat/schema.h"

#define ON(kind) (1u << (kind))
#define NONE 0u
#define ALL                                                                                                          \
    (ON(KIND_OPENAI) | ON(KIND_GOODFIRE) | ON(KIND_VLLM) | ON(KIND_LLAMA_SERVER) | ON(KIND_SGLANG) |                 \
     ON(KIND_OLLAMA) | ON(KIND_ECHO))
#define BUT(kind) (ALL & ~ON(kind))
#define SYSTEM_ROLE (ALL & ~ON(KIND_OPENAI) & ~ON(KIND_ECHO))
#define FLAT (ON(KIND_GOODFIRE) | ON(KIND_OLLAMA))
#define NO_TOP_K (ON(KIND_GOODFIRE) | ON(KIND_OLLAMA))
#define TOP_K_SENT (ON(KIND_VLLM) | ON(KIND_LLAMA_SERVER) | ON(KIND_SGLANG))

enum doors { BOTH, OPENAI, GOODFIRE };

struct flip {
    const char *field;
    const char *one, *other;    /* members, from the comma on */
    unsigned same;              /* kinds for which the two are one question */
    unsigned refused;           /* kinds that cannot be asked one of them */
    enum doors door;
};

/* What is left out is NONE refused, and BOTH doors. */
#define FLIP(...) FLIP_ROW(__VA_ARGS__, 0, 0, 0)
#define FLIP_ROW(field, one, other, same, refused, door, ...) {field, one, other, same, refused, door}

#define USER(rest) "\"messages\":[{\"role\":\"user\",\"content\":\"x\"" rest "}]"
#define SAYS(text) ",\"messages\":[{\"role\":\"user\",\"content\":" text "}]"
#define ANSWER(rest) ",\"messages\":[{\"role\":\"assistant\"" rest "},{\"role\":\"user\",\"content\":\"x\"}]"
#define CALL(arguments)                                                                                              \
    ANSWER(",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\",\"function\":{\"name\":\"f\","                            \
           "\"arguments\":\"" arguments "\"}}]")
#define PART(text) "{\"type\":\"text\",\"text\":" text "}"
#define TOOL(rest) "{\"type\":\"function\",\"function\":{\"name\":\"f\"" rest "}}"
#define TOOLS ",\"tools\":[" TOOL("") "]"
#define SCHEMA(rest) ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\"" rest "}}"

static const struct flip chat[] = {
    /* what is asked */
    FLIP("model", ",\"model\":\"m\"", ",\"model\":\"alias\"", ALL),
    FLIP("messages", SAYS("\"x\""), SAYS("\"y\""), NONE),
    FLIP("messages", SAYS("\"x\""), SAYS("\"\\u0078\""), ALL),
    FLIP("messages", SAYS("\"x\""), ",\"messages\":[{\"content\":\"x\",\"role\":\"user\"}]", ALL),
    FLIP("messages", SAYS("\"x\""), ",\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]", NONE),
    FLIP("messages", SAYS("\"x\""), ",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]", NONE),
    FLIP("messages", SAYS("\"x\""), SAYS("[" PART("\"x\"") "]"), FLAT),
    FLIP("messages", SAYS("\"xy\""), SAYS("[" PART("\"x\"") "," PART("\"\\u0079\"") "]"), FLAT),
    FLIP("messages", SAYS("[" PART("\"xy\"") "]"), SAYS("[" PART("\"x\"") "," PART("\"y\"") "]"), FLAT),
    FLIP("messages", SAYS("[" PART("\"x\"") "," PART("\"y\"") "]"), SAYS("[" PART("\"y\"") "," PART("\"x\"") "]"),
         NONE),
    FLIP("messages", SAYS("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"a\"}}]"),
     SAYS("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"b\"}}]"), NONE, FLAT, OPENAI),
    FLIP("messages", SAYS("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"a\"}}]"),
     SAYS("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"a\",\"detail\":\"low\"}}]"), NONE, FLAT, OPENAI),
    FLIP("messages", SAYS("[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"a\",\"format\":\"wav\"}}]"),
     SAYS("[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"a\",\"format\":\"mp3\"}}]"), NONE, FLAT, OPENAI),
    FLIP("messages", SAYS("[{\"type\":\"file\",\"file\":{\"file_id\":\"a\"}}]"),
     SAYS("[{\"type\":\"file\",\"file\":{\"file_id\":\"b\"}}]"), NONE, FLAT, OPENAI),
    FLIP("messages", "," USER(""), "," USER(",\"name\":\"n\""), NONE),
    FLIP("messages", "," USER(""), "," USER(",\"name\":null"), ALL),
    FLIP("messages", "," USER(""), "," USER(",\"unknown\":1"), NONE),
    FLIP("messages", "," USER(""), "," USER(",\"unknown\":null"), ALL),
    FLIP("messages", ",\"messages\":[{\"role\":\"developer\",\"content\":\"x\"}]",
     ",\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]", SYSTEM_ROLE, NONE, OPENAI),
    FLIP("messages", ANSWER(",\"content\":\"a\""), ANSWER(",\"content\":\"a\",\"refusal\":\"r\""), NONE, NONE, OPENAI),
    FLIP("messages", ANSWER(",\"content\":\"a\""),
     ANSWER(",\"content\":\"a\",\"refusal\":null,\"audio\":null,\"tool_calls\":null,\"function_call\":null"), ALL, NONE,
     OPENAI),
    FLIP("messages", ANSWER(",\"content\":\"a\""), ANSWER(",\"content\":\"a\",\"audio\":{\"id\":\"i\"}"), NONE, NONE,
     OPENAI),
    FLIP("messages", CALL("{}"), CALL("{ }"), NONE, ON(KIND_GOODFIRE), OPENAI),
    FLIP("messages", ANSWER(",\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}"),
     ANSWER(",\"function_call\":{\"name\":\"g\",\"arguments\":\"\"}"), NONE, ON(KIND_GOODFIRE), OPENAI),
    FLIP("messages", ",\"messages\":[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"i\"}]",
     ",\"messages\":[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"j\"}]", NONE, ON(KIND_GOODFIRE), OPENAI),
    FLIP("messages", ",\"messages\":[{\"role\":\"function\",\"content\":\"x\",\"name\":\"i\"}]",
     ",\"messages\":[{\"role\":\"function\",\"content\":\"x\",\"name\":\"j\"}]", NONE, ON(KIND_GOODFIRE), OPENAI),
    FLIP("system_prompt", "", ",\"system_prompt\":\"s\"", NONE),
    FLIP("system_prompt", "", ",\"system_prompt\":null", ALL),
    FLIP("system_prompt", ",\"system_prompt\":\"s\"",
     ",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"}]", ALL),
    FLIP("controller", "", ",\"controller\":{\"interventions\":[],\"scopes\":[],\"name\":\"controller__1\"}", ALL),
    FLIP("stream", "", ",\"stream\":true", NONE),
    FLIP("stream", "", ",\"stream\":false", ALL),
    FLIP("stream_options", ",\"stream\":true", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}", ALL),
    FLIP("stream_options", ",\"stream\":true", ",\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}",
         ALL),

    /* how much */
    FLIP("max_tokens", "", ",\"max_tokens\":5", NONE),
    FLIP("max_tokens", ",\"max_tokens\":5", ",\"max_tokens\":6", NONE),
    FLIP("max_tokens", ",\"max_tokens\":5", ",\"max_completion_tokens\":5.0", ALL),
    FLIP("max_completion_tokens", ",\"max_completion_tokens\":5", ",\"max_completion_tokens\":5,\"max_tokens\":9", ALL),
    FLIP("max_completion_tokens", "", ",\"max_completion_tokens\":null", ALL),
    FLIP("n_predict", ",\"max_tokens\":5", ",\"n_predict\":5", ON(KIND_LLAMA_SERVER)),
    FLIP("n_predict", ",\"max_tokens\":5", ",\"max_tokens\":5,\"n_predict\":9", ON(KIND_LLAMA_SERVER)),
    FLIP("n", "", ",\"n\":1", ALL),
    FLIP("n", "", ",\"n\":2", NONE, ON(KIND_GOODFIRE) | ON(KIND_OLLAMA), OPENAI),
    FLIP("stop", "", ",\"stop\":\"a\"", NONE),
    FLIP("stop", "", ",\"stop\":null", ALL),
    FLIP("stop", "", ",\"stop\":[]", ALL, NONE, GOODFIRE),
    FLIP("stop", ",\"stop\":\"a\\n\"", ",\"stop\":[\"a\\u000a\"]", ALL),
    FLIP("stop", ",\"stop\":[\"a\"]", ",\"stop\":[\"a\",\"b\"]", NONE),
    FLIP("stop", ",\"stop\":[\"a\",\"b\"]", ",\"stop\":[\"b\",\"a\"]", NONE),
    FLIP("stop", "", ",\"stop\":[\"<|eot_id|>\",\"<|begin_of_text|>\"]", ON(KIND_VLLM)),
    FLIP("stop", ",\"stop\":\"a\"", ",\"stop\":[\"<|eot_id|>\",\"a\"]", ON(KIND_VLLM)),

    /* sampling */
    FLIP("temperature", "", ",\"temperature\":1", ALL, NONE, OPENAI),
    FLIP("temperature", "", ",\"temperature\":1.0", BUT(KIND_GOODFIRE), NONE, GOODFIRE),
    FLIP("temperature", "", ",\"temperature\":0.5", NONE),
    FLIP("temperature", ",\"temperature\":0.5", ",\"temperature\":5e-1", ALL),
    FLIP("temperature", ",\"temperature\":0.5", ",\"temperature\":0.6", NONE),
    FLIP("top_p", "", ",\"top_p\":1", ALL, NONE, OPENAI),
    FLIP("top_p", "", ",\"top_p\":1", BUT(KIND_GOODFIRE), NONE, GOODFIRE),
    FLIP("top_p", "", ",\"top_p\":0.9", NONE),
    FLIP("top_p", ",\"temperature\":0,\"top_p\":1", ",\"top_p\":0", ON(KIND_VLLM) | ON(KIND_SGLANG)),
    FLIP("top_k", "", ",\"top_k\":5", NONE, NO_TOP_K),
    FLIP("top_k", "", ",\"top_k\":0", TOP_K_SENT | NO_TOP_K),
    FLIP("top_k", ",\"top_k\":-1", ",\"top_k\":0", TOP_K_SENT | NO_TOP_K),
    FLIP("min_p", "", ",\"min_p\":0.1", NONE, NO_TOP_K),
    FLIP("min_p", "", ",\"min_p\":0.0", TOP_K_SENT | NO_TOP_K),
    FLIP("seed", ",\"seed\":7", ",\"seed\":8", NONE),
    FLIP("seed", ",\"seed\":7", ",\"seed\":7.0", ALL),
    FLIP("seed", ",\"seed\":7", ",\"seed\":4294967303", ON(KIND_LLAMA_SERVER)),
    FLIP("seed", ",\"seed\":-5", ",\"seed\":4294967291", ON(KIND_LLAMA_SERVER)),
    FLIP("seed", ",\"temperature\":0,\"seed\":7", ",\"temperature\":0,\"seed\":8", ALL),
    FLIP("seed", ",\"temperature\":0,\"seed\":7", ",\"temperature\":0.0,\"seed\":null", ALL),
    FLIP("seed", ",\"top_p\":0,\"seed\":7", ",\"top_p\":0,\"seed\":8", ALL),
    FLIP("seed", ",\"top_k\":1,\"seed\":7", ",\"top_k\":1,\"seed\":8", ALL & ~NO_TOP_K, NO_TOP_K),
    FLIP("frequency_penalty", "", ",\"frequency_penalty\":0.0", ALL),
    FLIP("frequency_penalty", "", ",\"frequency_penalty\":0.5", NONE, ON(KIND_GOODFIRE)),
    FLIP("presence_penalty", "", ",\"presence_penalty\":0", ALL),
    FLIP("presence_penalty", "", ",\"presence_penalty\":-1", NONE, ON(KIND_GOODFIRE)),
    FLIP("logit_bias", "", ",\"logit_bias\":{ }", ALL),
    FLIP("logit_bias", "", ",\"logit_bias\":{\"5\":1}", NONE, FLAT),
    FLIP("logit_bias", ",\"logit_bias\":{\"5\":1,\"6\":2}", ",\"logit_bias\":{\"6\":2.0,\"5\":1}", ALL & ~FLAT, FLAT),
    FLIP("logit_bias", ",\"logit_bias\":{\"5\":1,\"6\":2}", ",\"logit_bias\":{\"5\":2,\"6\":1}", NONE, FLAT),

    /* what comes back */
    FLIP("logprobs", "", ",\"logprobs\":false", ALL),
    FLIP("logprobs", "", ",\"logprobs\":true", NONE, ON(KIND_GOODFIRE)),
    FLIP("top_logprobs", ",\"logprobs\":true", ",\"logprobs\":true,\"top_logprobs\":0", NONE, ON(KIND_GOODFIRE)),
    FLIP("top_logprobs", ",\"logprobs\":true,\"top_logprobs\":1", ",\"logprobs\":true,\"top_logprobs\":2", NONE,
     ON(KIND_GOODFIRE)),
    FLIP("response_format", "", ",\"response_format\":{\"type\":\"text\"}", ALL),
    FLIP("response_format", "", ",\"response_format\":{\"type\":\"text\",\"unknown\":1}", ON(KIND_GOODFIRE)),
    FLIP("response_format", "", ",\"response_format\":{\"type\":\"json_object\"}", NONE, ON(KIND_GOODFIRE)),
    FLIP("response_format", SCHEMA(""), SCHEMA(",\"strict\":true"), NONE, ON(KIND_GOODFIRE)),
    FLIP("response_format", SCHEMA(",\"schema\":{\"a\":1}"), SCHEMA(",\"schema\":{\"a\":2}"), NONE, ON(KIND_GOODFIRE)),
    FLIP("modalities", "", ",\"modalities\":[\"text\"]", ALL),
    FLIP("reasoning_effort", "", ",\"reasoning_effort\":\"low\"", NONE),
    FLIP("reasoning_effort", ",\"reasoning_effort\":\"high\"", ",\"reasoning_effort\":\"low\"", NONE),
    FLIP("verbosity", "", ",\"verbosity\":\"low\"", NONE),
    FLIP("prediction", "", ",\"prediction\":{\"type\":\"content\",\"content\":\"x\"}", NONE),
    FLIP("moderation", "", ",\"moderation\":{\"model\":\"x\"}", NONE),
    FLIP("moderation", "", ",\"moderation\":null", ALL),

    /* tools */
    FLIP("tools", "", ",\"tools\":[ ]", ALL),
    FLIP("tools", "", TOOLS, NONE, ON(KIND_GOODFIRE)),
    FLIP("tools", TOOLS, ",\"tools\":[" TOOL(",\"strict\":true") "]", NONE, ON(KIND_GOODFIRE)),
    FLIP("tools", TOOLS, ",\"tools\":[" TOOL(",\"parameters\":{\"type\":\"object\"}") "]", NONE, ON(KIND_GOODFIRE)),
    FLIP("tools", TOOLS, ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]", NONE, ON(KIND_GOODFIRE)),
    FLIP("tool_choice", "", ",\"tool_choice\":\"none\"", ALL),
    FLIP("tool_choice", "", ",\"tools\":[],\"tool_choice\":\"none\"", ALL, ON(KIND_OLLAMA)),
    FLIP("tool_choice", TOOLS, TOOLS ",\"tool_choice\":\"auto\"", ALL, ON(KIND_GOODFIRE)),
    FLIP("tool_choice", TOOLS, TOOLS ",\"tool_choice\":\"none\"", NONE, FLAT),
    FLIP("tool_choice", TOOLS, TOOLS ",\"tool_choice\":\"required\"", NONE, FLAT),
    FLIP("tool_choice", TOOLS, TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", NONE,
         FLAT),
    FLIP("parallel_tool_calls", "", ",\"parallel_tool_calls\":true", BUT(KIND_LLAMA_SERVER)),
    FLIP("parallel_tool_calls", "", ",\"parallel_tool_calls\":false", NONE),
    FLIP("functions", "", ",\"functions\":[{\"name\":\"f\"}]", NONE, ON(KIND_GOODFIRE)),
    FLIP("function_call", "", ",\"function_call\":\"none\"", ALL),
    FLIP("function_call", ",\"functions\":[{\"name\":\"f\"}]",
         ",\"functions\":[{\"name\":\"f\"}],\"function_call\":\"auto\"",
     ALL, ON(KIND_GOODFIRE)),
    FLIP("function_call", ",\"functions\":[{\"name\":\"f\"}]",
         ",\"functions\":[{\"name\":\"f\"}],\"function_call\":\"none\"",
     NONE, ON(KIND_GOODFIRE)),

    /* what changes nothing */
    FLIP("user", "", ",\"user\":\"u\"", ALL),
    FLIP("safety_identifier", "", ",\"safety_identifier\":\"u\"", ALL),
    FLIP("metadata", "", ",\"metadata\":{\"a\":\"b\"}", ALL),
    FLIP("service_tier", "", ",\"service_tier\":\"flex\"", ALL),
    FLIP("store", "", ",\"store\":false", ALL),
    FLIP("prompt_cache_key", "", ",\"prompt_cache_key\":\"k\"", ALL),
    FLIP("prompt_cache_retention", "", ",\"prompt_cache_retention\":\"24h\"", ALL),
    FLIP("prompt_cache_options", "", ",\"prompt_cache_options\":{\"ttl\":1}", ALL),
    FLIP("audio", "", ",\"audio\":null", ALL),
    FLIP("web_search_options", "", ",\"web_search_options\":null", ALL),

    /* of no schema, or of the other operation's */
    FLIP("unknown", "", ",\"unknown\":1", NONE),
    FLIP("unknown", "", ",\"unknown\":null", ALL),
    FLIP("unknown", "", ",\"unknown\":false", NONE),
    FLIP("unknown", ",\"unknown\":1", ",\"unknown\":1.0", ALL),
    FLIP("unknown", ",\"unknown\":1", ",\"unknown\":2", NONE),
    FLIP("unknown", ",\"unknown\":1", ",\"unknows\":1", NONE),
    FLIP("unknown", ",\"unknown\":1", ",\"\\u0075nknown\":1", ALL),
    FLIP("unknown", ",\"a\":{\"c\":1,\"d\":2},\"b\":[1]", ",\"b\":[1],\"a\":{\"d\":2,\"c\":1}", ALL),
    FLIP("unknown", ",\"a\":1,\"b\":2", ",\"a\":2,\"b\":1", NONE),
    FLIP("unknown", ",\"a\":1,\"a\":2", ",\"a\":2,\"a\":1", NONE),
    FLIP("unknown", ",\"a\":1", ",\"a\":1,\"a\":1", NONE),
    FLIP("repetition_penalty", "", ",\"repetition_penalty\":1.1", NONE),
    FLIP("chat_template_kwargs", "", ",\"chat_template_kwargs\":{\"enable_thinking\":false}", NONE),
    FLIP("lora", "", ",\"lora\":[{\"id\":0,\"scale\":1}]", NONE),
    FLIP("continue_final_message", "", ",\"continue_final_message\":true", NONE),
    FLIP("filter_vocabulary", "", ",\"filter_vocabulary\":[\"a\"]", NONE),
    FLIP("filter_vocabulary", ",\"filter_vocabulary\":[\"a\",\"b\"]", ",\"filter_vocabulary\":[\"b\",\"a\"]", NONE),
    FLIP("scale", "", ",\"scale\":\"prob\"", NONE),
};

static const struct flip logits[] = {
    FLIP("model", ",\"model\":\"m\"", ",\"model\":\"alias\"", ALL),
    FLIP("messages", SAYS("\"x\""), SAYS("\"y\""), NONE),
    FLIP("messages", SAYS("\"x\""), SAYS("\"\\u0078\""), ALL),
    FLIP("messages", SAYS("\"x\""), SAYS("[" PART("\"x\"") "]"), FLAT),
    FLIP("top_k", "", ",\"top_k\":10", BUT(KIND_GOODFIRE)),
    FLIP("top_k", "", ",\"top_k\":11", NONE),
    FLIP("top_k", ",\"top_k\":5", ",\"top_k\":5.0", ALL),
    FLIP("filter_vocabulary", "", ",\"filter_vocabulary\":null", ALL),
    FLIP("filter_vocabulary", "", ",\"filter_vocabulary\":[]", NONE),
    FLIP("filter_vocabulary", "", ",\"filter_vocabulary\":[\"a\"]", NONE),
    FLIP("filter_vocabulary", ",\"filter_vocabulary\":[\"a\",\"b\"]",
         ",\"filter_vocabulary\":[\"b\",\"\\u0061\",\"b\"]", ALL),
    FLIP("filter_vocabulary", ",\"filter_vocabulary\":[\"a\",\"b\"]", ",\"filter_vocabulary\":[\"ab\"]", NONE),
    FLIP("scale", "", ",\"scale\":\"prob\"", NONE),
    FLIP("system_prompt", ",\"system_prompt\":\"s\"",
     ",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"}]", ALL),
    FLIP("controller", "", ",\"controller\":{\"interventions\":[]}", ALL),
    FLIP("unknown", "", ",\"unknown\":1", NONE),
    FLIP("tools", "", TOOLS, NONE, NONE, OPENAI),
    FLIP("user", "", ",\"user\":\"u\"", ALL),
};

/* --- */

static const enum config_kind kinds[] = {KIND_OPENAI, KIND_GOODFIRE, KIND_VLLM, KIND_LLAMA_SERVER,
                                         KIND_SGLANG, KIND_OLLAMA,   KIND_ECHO};

/* MEMBERS, and those that every question has. */
static void write_body(char body[4096], const char *members, enum chat_operation operation)
{
    int size = snprintf(body, 4096, "{\"ignore_eos\":0%s", members);

    if (!strstr(members, "\"model\":\"m\"") && !strstr(members, "\"model\":\"alias\""))
        size += snprintf(body + size, 4096 - (size_t)size, ",\"model\":\"m\"");
    if (!strstr(members, "\"messages\""))
        size += snprintf(body + size, 4096 - (size_t)size, "," USER(""));
    if (!strstr(members, "\"seed\"") && operation == CHAT_COMPLETION)
        size += snprintf(body + size, 4096 - (size_t)size, ",\"seed\":7");
    snprintf(body + size, 4096 - (size_t)size, "}");
}

static void check(const struct flip *flip, enum chat_operation operation, const struct client_dialect *door,
                  enum config_kind kind)
{
    char one[4096], other[4096];
    struct key_result first, second;
    bool refused = flip->refused & ON(kind), same;

    write_body(one, flip->one, operation);
    write_body(other, flip->other, operation);
    first = key_of(door, kind, operation, one);
    second = key_of(door, kind, operation, other);
    if (!first.understood || !second.understood)
        fail_msg("%s: the door refuses %s or %s", door->name, one, other);
    if (refused != (first.reason == REPEAT_UNASKABLE || second.reason == REPEAT_UNASKABLE))
        fail_msg("%s, kind %d: refused or not? %s, %s", door->name, kind, one, other);
    if (refused)
        return;
    if (first.reason != REPEAT_YES || second.reason != REPEAT_YES)
        fail_msg("%s, kind %d: no key: %s, %s", door->name, kind, one, other);
    same = strcmp(first.hex, second.hex) == 0;
    if (same != !!(flip->same & ON(kind)))
        fail_msg("%s, kind %d: %s keys for %s and %s", door->name, kind, same ? "equal" : "different", one, other);
}

static void check_table(const struct flip *table, size_t count, enum chat_operation operation)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
            if (table[i].door != GOODFIRE)
                check(&table[i], operation, &client_openai, kinds[kind]);
            if (table[i].door != OPENAI)
                check(&table[i], operation, &client_goodfire, kinds[kind]);
        }
    }
}

static void chats(void **state)
{
    check_table(chat, ARRAY_SIZE(chat), CHAT_COMPLETION);
}

static void next_tokens(void **state)
{
    check_table(logits, ARRAY_SIZE(logits), CHAT_LOGITS);
}

/* --- is anything forgotten? --- */

static void require_row(const struct flip *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].field, name) == 0)
            return;
    fail_msg("no row for '%s'", name);
}

static void require_rows(const struct flip *table, size_t count, const struct rule *schema)
{
    for (unsigned i = 0; i < schema->field_count; i++)
        require_row(table, count, schema->fields[i].name);
}

static void every_member_has_a_row(void **state)
{
    require_rows(chat, ARRAY_SIZE(chat), &schema_openai_chat);
    require_rows(chat, ARRAY_SIZE(chat), &schema_goodfire_chat);
    require_rows(logits, ARRAY_SIZE(logits), &schema_openai_logits);
    require_rows(logits, ARRAY_SIZE(logits), &schema_goodfire_logits);
    for (int i = 0; i < FIELD_COUNT; i++)
        require_row(chat, ARRAY_SIZE(chat), chat_field_name((enum chat_field)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chats),
        cmocka_unit_test(next_tokens),
        cmocka_unit_test(every_member_has_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
