/*
 * A chat of one token tells the best 20 of the next token's alternatives and no more: a string that is not
 * among them is not answered. There are no token ids, so tokens are known by their text.
 */
#include "dialect/logits_talk.h"

#define TOP_LIMIT 20

enum { START };

static enum logits_verdict ask(struct logits_talk *talk, int64_t top)
{
    struct backend_draft draft;

    talk->top = top;
    if (logits_chat(talk, &draft, top) < 0)
        return LOGITS_FAILED;
    return logits_post_draft(talk, &draft, draft.quirks->chat_path);
}

/* Some of these servers tell fewer than OpenAI does. */
static bool goes_on(const struct logits_talk *talk, unsigned status)
{
    return (status == 400 || status == 422) && talk->top > logits_wanted(talk, TOP_LIMIT);
}

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *list, *token;

    if (talk->stage++ == START)
        return ask(talk, talk->filtered || talk->ask.request->top_k > TOP_LIMIT ? TOP_LIMIT
                                                                                : logits_generous(talk, TOP_LIMIT));
    if (status != 200)
        return ask(talk, logits_wanted(talk, TOP_LIMIT));
    list = json_member(doc, logits_chat_token(talk), BYTES("top_logprobs"));
    if (!json_is(list, JSON_ARRAY) || !json_first(doc, list))
        return logits_fail(talk, FAIL_UNSUPPORTED, NULL,
                           "This model's backend does not tell the log-probabilities of its tokens.");
    for (token = json_first(doc, list); token; token = json_after(doc, list, token)) {
        const struct json_node *number = json_member(doc, token, BYTES("logprob"));
        struct bytes text;
        double value;

        if (!logits_value(talk, number, &value) || !logits_token_text(talk, token, &text))
            continue;
        if (talk->filtered)
            logits_answer_text(talk, text, value, number);
        else
            logits_add(talk, text, -1, value, number);
    }
    return LOGITS_DONE;
}

const struct logits_kind logits_openai = {.next = next, .by_token = true, .goes_on = goes_on};
