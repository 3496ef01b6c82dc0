/*
 * One walk over the flat nodes of the messages: strings are counted by their spans, nothing is decoded. A few members
 * say nothing to the model, and the bytes of media are not text.
 */
#include "admit/estimate.h"

#define TEXT_PER_TOKEN 4
#define TOKENS_PER_MESSAGE 4
#define TOKENS_PER_MEDIUM 1000

static const struct bytes media[] = {
    {"image_url", 9}, {"input_audio", 11}, {"file", 4}, {"audio", 5}, {"video_url", 9}, {"audio_url", 9},
};
static const struct bytes silent[] = {{"role", 4}, {"type", 4}, {"id", 2}, {"tool_call_id", 12}};

static const enum chat_field read_whole[] = {
    FIELD_SYSTEM_PROMPT, FIELD_TOOLS, FIELD_FUNCTIONS, FIELD_RESPONSE_FORMAT,
};

static bool is_one_of(const struct json_doc *doc, const struct json_node *key, const struct bytes *names, size_t count)
{
    size_t size = key->end - key->start - 2;

    for (size_t i = 0; i < count; i++) {
        if ((names[i].size == size || key->escaped) && json_text_is(doc, key, names[i]))
            return true;
    }
    return false;
}

struct found {
    uint64_t bytes, media;
};

static struct found read_messages(const struct json_doc *doc, const struct json_node *messages)
{
    uint32_t at = (uint32_t)(messages - doc->nodes);
    struct found found = {0};

    while (at < messages->next) {
        const struct json_node *node = &doc->nodes[at++];

        if (node->type == JSON_STRING)
            found.bytes += node->end - node->start - 2;
        if (node->type != JSON_KEY)
            continue;
        if (is_one_of(doc, node, silent, ARRAY_SIZE(silent))) {
            at = doc->nodes[at].next;
        } else if (is_one_of(doc, node, media, ARRAY_SIZE(media)) && doc->nodes[at].type == JSON_OBJECT) {
            found.media++;
            at = doc->nodes[at].next;
        }
    }
    return found;
}

static uint64_t prompt_of(const struct chat_request *request)
{
    const struct json_node *messages = chat_field(request, FIELD_MESSAGES);
    struct found found = {0};
    uint64_t count = 0;

    if (messages) {
        found = read_messages(request->doc, messages);
        count = json_is(messages, JSON_ARRAY) ? json_length(request->doc, messages) : 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(read_whole); i++) {
        const struct json_node *node = chat_field(request, read_whole[i]);

        if (node)
            found.bytes += json_raw(request->doc, node).size;
    }
    return (found.bytes + TEXT_PER_TOKEN - 1) / TEXT_PER_TOKEN + count * TOKENS_PER_MESSAGE +
           found.media * TOKENS_PER_MEDIUM;
}

static uint64_t output_of(const struct chat_request *request, const struct config_model *model)
{
    uint64_t one = model ? model->default_output : CONFIG_DEFAULT_OUTPUT;
    uint64_t times = request->n > 1 ? (uint64_t)request->n : 1;

    if (request->operation == CHAT_LOGITS)
        return 1;
    if (model && model->fixed_output)
        one = model->fixed_output;
    else if (request->has_max_tokens)
        one = request->max_tokens > 0 ? (uint64_t)request->max_tokens : 0;
    return one && times > ESTIMATE_MOST / one ? ESTIMATE_MOST : one * times;
}

struct estimate estimate_of(const struct chat_request *request, const struct config_model *model)
{
    return (struct estimate){prompt_of(request), output_of(request, model)};
}

uint64_t estimate_money(uint64_t prompt_tokens, uint64_t output_tokens, uint64_t input_price, uint64_t output_price)
{
    __extension__ typedef unsigned __int128 wide;
    const wide million = 1000000;
    wide input = (wide)prompt_tokens * input_price, output = (wide)output_tokens * output_price;
    wide money = input / million + output / million + (input % million + output % million + million - 1) / million;

    return money > UINT64_MAX ? UINT64_MAX : (uint64_t)money;
}
