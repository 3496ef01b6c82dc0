/*
 * vLLM tells the log-probability of any token by its id, 128 at a time, named `token_id:N` so that no text
 * can be mistaken for another. Without a filter it tells the best by their text. A server that does not know
 * the request for ids is asked for its best 20 instead, and what is not among them stays unanswered.
 *
 *   tokenize each string -> a batch of ids -> ... -> done        (filter)
 *                                  `-> best 20 -> done           (an older server)
 *   best top_k -> [refused: best 20] -> done                     (no filter)
 */
#include "dialect/logits_talk.h"

#include "json/json_write.h"

#define TOP_LIMIT 20
#define BATCH 128
#define TOKEN_PREFIX "token_id:"

enum { START, TOKENIZED, BATCH_ASKED, BEST_IDS_ASKED, BEST_ASKED };

static enum logits_verdict ask_best(struct logits_talk *talk, int64_t top)
{
    struct backend_draft draft;

    talk->stage = BEST_ASKED;
    talk->top = top;
    if (logits_chat(talk, &draft, top) < 0)
        return LOGITS_FAILED;
    return logits_post_draft(talk, &draft, draft.quirks->chat_path);
}

static enum logits_verdict ask_best_ids(struct logits_talk *talk)
{
    struct backend_draft draft;

    talk->stage = BEST_IDS_ASKED;
    if (logits_chat(talk, &draft, TOP_LIMIT) < 0)
        return LOGITS_FAILED;
    backend_draft_extra(&draft, BYTES("return_tokens_as_token_ids"), BYTES("true"), false);
    return logits_post_draft(talk, &draft, draft.quirks->chat_path);
}

static struct bytes batch_of_ids(struct logits_talk *talk)
{
    struct buffer *list = logits_body(talk);

    for (uint32_t i = talk->at; i < talk->by_id_count && i < talk->at + BATCH; i++) {
        buffer_append_char(list, i == talk->at ? '[' : ',');
        buffer_append_i64(list, talk->by_id[i]->id);
    }
    buffer_append_char(list, ']');
    return arena_copy(talk->ask.arena, buffer_bytes(list));
}

static enum logits_verdict ask_batch(struct logits_talk *talk)
{
    struct backend_draft draft;

    if (talk->at >= talk->by_id_count)
        return LOGITS_DONE;
    talk->stage = BATCH_ASKED;
    if (logits_chat(talk, &draft, 0) < 0)
        return LOGITS_FAILED;
    backend_draft_extra(&draft, BYTES("logprob_token_ids"), batch_of_ids(talk), false);
    backend_draft_extra(&draft, BYTES("return_tokens_as_token_ids"), BYTES("true"), false);
    return logits_post_draft(talk, &draft, draft.quirks->chat_path);
}

static enum logits_verdict ask_token(struct logits_talk *talk)
{
    struct buffer *body = logits_body(talk);

    if (talk->at == talk->wish_count) {
        talk->at = 0;
        logits_sort_wishes(talk);
        return ask_batch(talk);
    }
    talk->stage = TOKENIZED;
    buffer_append_char(body, '{');
    json_write_member_string(body, "model", talk->ask.upstream_model);
    json_write_member_string(body, "prompt", talk->wishes[talk->at].text);
    json_write_member_raw(body, "add_special_tokens", BYTES("false"));
    buffer_append_char(body, '}');
    return logits_post(talk, "/tokenize");
}

static enum logits_verdict read_token(struct logits_talk *talk)
{
    const struct json_node *tokens = json_member(&talk->doc, json_root(&talk->doc), BYTES("tokens"));

    if (json_length(&talk->doc, tokens) != 1 ||
        json_i64(&talk->doc, json_first(&talk->doc, tokens), &talk->wishes[talk->at].id) < 0)
        talk->wishes[talk->at].id = -1;
    talk->at++;
    return ask_token(talk);
}

/* The values of "token_id:N" entries. */
static void read_ids(struct logits_talk *talk, const struct json_node *list)
{
    const struct json_doc *doc = &talk->doc;

    for (const struct json_node *token = json_first(doc, list); token; token = json_after(doc, list, token)) {
        const struct json_node *number = json_member(doc, token, BYTES("logprob"));
        struct bytes name = json_text(doc, json_member(doc, token, BYTES("token")), talk->ask.arena);
        double value;
        int64_t id;

        if (bytes_start_with(name, BYTES(TOKEN_PREFIX)) &&
            bytes_to_i64(bytes_skip(name, sizeof(TOKEN_PREFIX) - 1), &id) == 0 && logits_value(talk, number, &value))
            logits_answer_id(talk, id, value, number);
    }
}

static void read_texts(struct logits_talk *talk, const struct json_node *list)
{
    const struct json_doc *doc = &talk->doc;

    for (const struct json_node *token = json_first(doc, list); token; token = json_after(doc, list, token)) {
        const struct json_node *number = json_member(doc, token, BYTES("logprob"));
        struct bytes text;
        double value;

        if (logits_value(talk, number, &value) && logits_token_text(talk, token, &text))
            logits_add(talk, text, -1, value, number);
    }
}

static enum logits_verdict read_chat(struct logits_talk *talk)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *sampled = logits_chat_token(talk), *list;
    uint32_t open = logits_open_wishes(talk);
    double value;

    list = json_member(doc, sampled, BYTES("top_logprobs"));
    if (!json_is(list, JSON_ARRAY))
        return logits_fail(talk, FAIL_UNSUPPORTED, NULL,
                           "This model's backend does not tell the log-probabilities of its tokens.");
    logits_value(talk, json_member(doc, sampled, BYTES("logprob")), &value); /* may show that these are true logits */
    if (talk->stage == BEST_ASKED) {
        read_texts(talk, list);
        return LOGITS_DONE;
    }
    read_ids(talk, list);
    if (talk->stage == BEST_IDS_ASKED)
        return LOGITS_DONE;
    if (talk->at == 0 && logits_open_wishes(talk) == open)
        return ask_best_ids(talk);
    talk->at += BATCH;
    return ask_batch(talk);
}

/* It refuses more alternatives than it was started for, and an older one may refuse ids. */
static bool goes_on(const struct logits_talk *talk, unsigned status)
{
    return status == 400 && ((talk->stage == BEST_ASKED && talk->top > logits_wanted(talk, TOP_LIMIT)) ||
                             (talk->stage == BATCH_ASKED && talk->at == 0));
}

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    if (status == 400 && talk->stage == BEST_ASKED)
        return ask_best(talk, logits_wanted(talk, TOP_LIMIT));
    if (status == 400)
        return ask_best_ids(talk);
    if (talk->stage == START)
        return talk->filtered ? ask_token(talk) : ask_best(talk, logits_generous(talk, TOP_LIMIT));
    return talk->stage == TOKENIZED ? read_token(talk) : read_chat(talk);
}

const struct logits_kind logits_vllm = {.next = next, .by_token = true, .goes_on = goes_on};
