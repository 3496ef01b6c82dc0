/*
 * SGLang's own /generate takes token ids and tells the log-probability of any other id after them. The ids of
 * the prompt come from a chat of one token, so that the template is the server's.
 *
 *   [tokenize all strings] -> chat, for the prompt's ids -> generate -> done
 */
#include "dialect/logits_talk.h"

#include "json/json_write.h"

#include <errno.h>

enum { START, TOKENIZED, PROMPTED, GENERATED };

static int start(struct logits_talk *talk)
{
    if (!backend_ends_with_assistant(talk->ask.request))
        return 0;
    logits_fail(talk, FAIL_UNSUPPORTED, "messages",
                "'messages': with this model's backend the last message must not be the assistant's.");
    return -EINVAL;
}

static enum logits_verdict ask_tokens(struct logits_talk *talk)
{
    struct buffer *body = logits_body(talk);

    talk->stage = TOKENIZED;
    buffer_append_char(body, '{');
    json_write_member_string(body, "model", talk->ask.upstream_model);
    json_write_name(body, "prompt");
    for (uint32_t i = 0; i < talk->wish_count; i++) {
        buffer_append_char(body, i ? ',' : '[');
        json_write_string(body, talk->wishes[i].text);
    }
    buffer_append_text(body, "],\"add_special_tokens\":false}");
    return logits_post(talk, "/tokenize");
}

static enum logits_verdict ask_prompt(struct logits_talk *talk)
{
    struct backend_draft draft;

    talk->stage = PROMPTED;
    if (logits_chat(talk, &draft, 0) < 0)
        return LOGITS_FAILED;
    draft.value[FIELD_LOGPROBS] = BYTES_NONE;
    backend_draft_extra(&draft, BYTES("return_prompt_token_ids"), BYTES("true"), false);
    return logits_post_draft(talk, &draft, draft.quirks->chat_path);
}

static enum logits_verdict read_tokens(struct logits_talk *talk)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *lists = json_member(doc, json_root(doc), BYTES("tokens")), *list;
    uint32_t i = 0;

    if (json_length(doc, lists) != talk->wish_count)
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's tokenizer gave no usable answer.");
    for (list = json_first(doc, lists); list; list = json_after(doc, lists, list), i++)
        if (json_length(doc, list) != 1 || json_i64(doc, json_first(doc, list), &talk->wishes[i].id) < 0)
            talk->wishes[i].id = -1;
    logits_sort_wishes(talk);
    return talk->by_id_count ? ask_prompt(talk) : LOGITS_DONE;
}

/* The adapter's own name: chats know it as base:adapter. */
static struct bytes adapter(const struct logits_talk *talk)
{
    struct bytes name = talk->ask.steering ? talk->ask.steering->adapter : BYTES_NONE;
    size_t colon = bytes_find(name, BYTES(":"));

    return colon < name.size ? bytes_skip(name, colon + 1) : name;
}

static enum logits_verdict ask_values(struct logits_talk *talk)
{
    struct buffer *body = logits_body(talk);

    talk->stage = GENERATED;
    buffer_append_char(body, '{');
    json_write_member_raw(body, "input_ids", talk->prompt);
    json_write_member_raw(body, "sampling_params", BYTES("{\"max_new_tokens\":1,\"temperature\":0}"));
    json_write_member_raw(body, "return_logprob", BYTES("true"));
    if (talk->filtered) {
        json_write_name(body, "token_ids_logprob");
        for (uint32_t i = 0; i < talk->by_id_count; i++) {
            buffer_append_char(body, i ? ',' : '[');
            buffer_append_i64(body, talk->by_id[i]->id);
        }
        buffer_append_char(body, ']');
    } else {
        json_write_member_i64(body, "top_logprobs_num", logits_generous(talk, 0));
        json_write_member_raw(body, "return_text_in_logprobs", BYTES("true"));
    }
    if (adapter(talk).size)
        json_write_member_string(body, "lora_path", adapter(talk));
    buffer_append_char(body, '}');
    return logits_post(talk, "/generate");
}

static enum logits_verdict read_prompt(struct logits_talk *talk)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *ids = json_at(doc, json_root(doc), "choices.0.prompt_token_ids");

    if (!json_is(ids, JSON_ARRAY))
        ids = json_member(doc, json_root(doc), BYTES("prompt_token_ids"));
    if (!json_is(ids, JSON_ARRAY) || !json_first(doc, ids))
        return logits_fail(talk, FAIL_UNSUPPORTED, NULL,
                           "This model's backend is an SGLang that does not tell a prompt's token ids; logits need a "
                           "newer one.");
    talk->prompt = arena_copy(talk->ask.arena, json_raw(doc, ids));
    return ask_values(talk);
}

/* Items are [log-probability, id, text or null]. */
static void read_item(struct logits_talk *talk, const struct json_node *item)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *number = json_first(doc, item), *token = json_after(doc, item, number);
    const struct json_node *name = json_after(doc, item, token);
    struct bytes text = json_text(doc, name, talk->ask.arena);
    double value;
    int64_t id;

    if (json_i64(doc, token, &id) < 0 || !logits_value(talk, number, &value))
        return;
    if (talk->filtered)
        logits_answer_id(talk, id, value, number);
    else if (text.size && bytes_find(text, BYTES("\xef\xbf\xbd")) == text.size)
        logits_add(talk, text, id, value, number);
}

static enum logits_verdict read_values(struct logits_talk *talk)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *list, *item;

    list = json_at(doc, json_root(doc),
                   talk->filtered ? "meta_info.output_token_ids_logprobs.0" : "meta_info.output_top_logprobs.0");
    if (!json_is(list, JSON_ARRAY))
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's answer has no log-probabilities.");
    for (item = json_first(doc, list); item; item = json_after(doc, list, item))
        read_item(talk, item);
    return LOGITS_DONE;
}

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    switch (talk->stage) {
    case START:
        return talk->filtered ? ask_tokens(talk) : ask_prompt(talk);
    case TOKENIZED:
        return read_tokens(talk);
    case PROMPTED:
        return read_prompt(talk);
    default:
        return read_values(talk);
    }
}

const struct logits_kind logits_sglang = {.start = start, .next = next, .by_token = true};
