/*
 * llama-server tells the log-probabilities of its best tokens over any number of them, but not of tokens by
 * name. So the tokens asked for are lifted among the best by a bias, and the bias is taken off again by
 * calculation.
 *
 *   template -> tokenize each string -> find a helper -> A: best -> [names of special tokens] -> done
 *                                                         `-> B: lifted -> [vocabulary: all of it] -> done
 *
 * A forces the helper, an ASCII token, to be sampled: the sampled token does not change the values, but when
 * it is a piece of a character the server leaves them out. B gives probabilities after the bias: with the
 * best token lifted as well, value(t) = value(best) + (ln p(t) - bias(t)) - (ln p(best) - bias(best)). What
 * is too improbable even for that is read from the whole vocabulary, which is exact and large.
 */
#include "dialect/logits_talk.h"

#include "json/json_write.h"

#include <errno.h>
#include <math.h>

#define FORCE 100              /* A: the helper's bias */
#define LIFT 20                /* B: the bias of what is asked for */
#define HELPER_LIFT 60         /* B: the helper's, so that it is sampled */
#define PROB_MIN 1e-37         /* below, a float has lost digits */
#define VOCABULARY_MAX 1000000 /* tokens */
#define NAMES_MAX 64           /* special tokens whose names are looked up */

enum { START, TEMPLATED, TOKENIZED, HELPER_ASKED, BEST_ASKED, NAME_ASKED, LIFTED, MODELS_ASKED, ALL_ASKED };

static const char *const helpers[] = {"a", "e", "i", "o", "t", "n", "s", "1", "A", "B", ".", " a", " the"};

static int start(struct logits_talk *talk)
{
    if (!backend_ends_with_assistant(talk->ask.request))
        return 0;
    logits_fail(talk, FAIL_UNSUPPORTED, "messages",
                "'messages': with this model's backend the last message must not be the assistant's.");
    return -EINVAL;
}

/* --- prompt and tokens --- */

static enum logits_verdict ask_template(struct logits_talk *talk)
{
    struct backend_draft draft;

    talk->stage = TEMPLATED;
    if (logits_draft(talk, &draft) < 0)
        return LOGITS_FAILED;
    return logits_post_draft(talk, &draft, "/apply-template");
}

static enum logits_verdict ask_token(struct logits_talk *talk, struct bytes text)
{
    struct buffer *body = logits_body(talk);

    buffer_append_char(body, '{');
    json_write_member_string(body, "content", text);
    json_write_member_raw(body, "add_special", BYTES("false"));
    json_write_member_raw(body, "parse_special", BYTES("true"));
    buffer_append_char(body, '}');
    return logits_post(talk, "/tokenize");
}

static int64_t read_token(struct logits_talk *talk)
{
    const struct json_node *tokens = json_member(&talk->doc, json_root(&talk->doc), BYTES("tokens"));
    int64_t id;

    if (json_length(&talk->doc, tokens) != 1 || json_i64(&talk->doc, json_first(&talk->doc, tokens), &id) < 0)
        return -1;
    return id;
}

static enum logits_verdict ask_helper(struct logits_talk *talk)
{
    talk->stage = HELPER_ASKED;
    return ask_token(talk, bytes_of(helpers[talk->at]));
}

static enum logits_verdict ask_next_wish(struct logits_talk *talk)
{
    if (talk->at < talk->wish_count) {
        talk->stage = TOKENIZED;
        return ask_token(talk, talk->wishes[talk->at].text);
    }
    talk->at = 0;
    logits_sort_wishes(talk);
    return talk->filtered && !talk->by_id_count ? LOGITS_DONE : ask_helper(talk);
}

static enum logits_verdict read_template(struct logits_talk *talk)
{
    const struct json_node *prompt = json_member(&talk->doc, json_root(&talk->doc), BYTES("prompt"));

    if (!json_is(prompt, JSON_STRING))
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's chat template gave no prompt.");
    talk->prompt = arena_copy(talk->ask.arena, json_raw(&talk->doc, prompt));
    return ask_next_wish(talk);
}

/* --- completions --- */

static struct buffer *begin_completion(struct logits_talk *talk, int64_t probs)
{
    const struct chat_steering *steering = talk->ask.steering;
    struct buffer *body = logits_body(talk);

    buffer_append_char(body, '{');
    json_write_member_raw(body, "prompt", talk->prompt);
    json_write_member_i64(body, "n_predict", 1);
    json_write_member_i64(body, "n_probs", probs);
    json_write_member_raw(body, "cache_prompt", BYTES("true"));
    json_write_member_raw(body, "response_fields", BYTES("[\"completion_probabilities\"]"));
    if (steering && steering->lora.size)
        json_write_member_raw(body, "lora", steering->lora);
    return body;
}

static enum logits_verdict ask_plain(struct logits_talk *talk, int64_t probs, int stage)
{
    struct buffer *body = begin_completion(talk, probs);

    talk->stage = stage;
    json_write_member_i64(body, "temperature", 0);
    if (talk->helper >= 0)
        buffer_printf(body, ",\"logit_bias\":[[%lld,%d]]", (long long)talk->helper, FORCE);
    buffer_append_char(body, '}');
    return logits_post(talk, "/completion");
}

static enum logits_verdict read_helper(struct logits_talk *talk)
{
    talk->helper = read_token(talk);
    if (talk->helper < 0 && ++talk->at < ARRAY_SIZE(helpers))
        return ask_helper(talk);
    talk->at = 0;
    return ask_plain(talk, logits_generous(talk, 0), BEST_ASKED);
}

/* The list of alternatives of the one token; NULL when the server left it out. */
static const struct json_node *alternatives(const struct logits_talk *talk, const char *name)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *token = json_at(doc, json_root(doc), "completion_probabilities.0");
    const struct json_node *list = json_member(doc, token, bytes_of(name));

    return json_is(list, JSON_ARRAY) && json_first(doc, list) ? list : NULL;
}

static bool read_alternative(struct logits_talk *talk, const struct json_node *token, int64_t *ret_id,
                             double *ret_value)
{
    const struct json_doc *doc = &talk->doc;

    return json_i64(doc, json_member(doc, token, BYTES("id")), ret_id) == 0 && *ret_id >= 0 &&
           logits_value(talk, json_member(doc, token, BYTES("logprob")), ret_value);
}

static void take_alternative(struct logits_talk *talk, const struct json_node *token)
{
    const struct json_node *number = json_member(&talk->doc, token, BYTES("logprob"));
    struct bytes text;
    double value;
    int64_t id;

    if (!read_alternative(talk, token, &id, &value))
        return;
    if (talk->best < 0 || value > talk->best_value) {
        talk->best = id;
        talk->best_value = value;
    }
    if (talk->filtered)
        logits_answer_id(talk, id, value, number);
    else if (logits_token_text(talk, token, &text))
        logits_add(talk, text.size ? text : BYTES_NONE, id, value, number);
}

static bool read_alternatives(struct logits_talk *talk)
{
    const struct json_node *list = alternatives(talk, "top_logprobs"), *token;

    for (token = json_first(&talk->doc, list); token; token = json_after(&talk->doc, list, token))
        take_alternative(talk, token);
    return list;
}

/* --- names of special tokens --- */

static enum logits_verdict ask_name(struct logits_talk *talk)
{
    while (talk->at < talk->entry_count && talk->entries[talk->at].text.data)
        talk->at++;
    if (talk->at == talk->entry_count || talk->at >= NAMES_MAX)
        return LOGITS_DONE;
    talk->stage = NAME_ASKED;
    buffer_printf(logits_body(talk), "{\"tokens\":[%lld]}", (long long)talk->entries[talk->at].id);
    return logits_post(talk, "/detokenize");
}

static enum logits_verdict read_name(struct logits_talk *talk)
{
    const struct json_node *content = json_member(&talk->doc, json_root(&talk->doc), BYTES("content"));
    struct bytes name = json_text(&talk->doc, content, talk->ask.arena);

    talk->entries[talk->at++].text = arena_copy(talk->ask.arena, name);
    return ask_name(talk);
}

/* --- tokens by name --- */

static double bias_of(const struct logits_talk *talk, int64_t id)
{
    return id == talk->helper ? HELPER_LIFT : LIFT;
}

static void append_bias(struct buffer *body, int64_t id, int bias)
{
    if (body->data[body->size - 1] == ']')
        buffer_append_char(body, ',');
    buffer_printf(body, "[%lld,%d]", (long long)id, bias);
}

/* B. The same id twice would be lifted twice. */
static enum logits_verdict ask_lifted(struct logits_talk *talk)
{
    uint32_t count = logits_open_wishes(talk);
    struct buffer *body = begin_completion(talk, (int64_t)count + 3);
    int64_t last = -1;

    talk->stage = LIFTED;
    json_write_member_i64(body, "temperature", 1);
    json_write_member_raw(body, "samplers", BYTES("[\"temperature\"]"));
    json_write_member_raw(body, "post_sampling_probs", BYTES("true"));
    buffer_append_text(body, ",\"logit_bias\":[");
    if (talk->helper >= 0)
        append_bias(body, talk->helper, HELPER_LIFT);
    if (talk->best != talk->helper)
        append_bias(body, talk->best, LIFT);
    for (uint32_t i = 0; i < talk->by_id_count; i++) {
        int64_t id = talk->by_id[i]->id;

        if (logits_wish_open(talk->by_id[i]) && id != talk->helper && id != talk->best && id != last)
            append_bias(body, id, LIFT);
        last = id;
    }
    buffer_append_text(body, "]}");
    return logits_post(talk, "/completion");
}

static enum logits_verdict ask_models(struct logits_talk *talk)
{
    talk->stage = MODELS_ASKED;
    talk->request =
        (struct backend_request){.get = true, .path = backend_path(talk->ask.backend, talk->ask.arena, "/v1/models")};
    return LOGITS_ASK;
}

static enum logits_verdict read_best(struct logits_talk *talk)
{
    if (!read_alternatives(talk) || talk->best < 0)
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's answer has no log-probabilities.");
    talk->at = 0;
    if (!talk->filtered)
        return ask_name(talk);
    return logits_open_wishes(talk) ? ask_lifted(talk) : LOGITS_DONE;
}

/* The probability of a lifted token; false when there is none to rely on. */
static bool read_lifted(const struct logits_talk *talk, const struct json_node *token, int64_t *ret_id, double *ret)
{
    const struct json_doc *doc = &talk->doc;

    return json_i64(doc, json_member(doc, token, BYTES("id")), ret_id) == 0 &&
           json_double(doc, json_member(doc, token, BYTES("prob")), ret) == 0 && *ret >= PROB_MIN;
}

static enum logits_verdict read_lifts(struct logits_talk *talk)
{
    const struct json_node *list = alternatives(talk, "top_probs"), *token;
    double best = 0, prob;
    int64_t id;

    for (token = json_first(&talk->doc, list); token; token = json_after(&talk->doc, list, token))
        if (read_lifted(talk, token, &id, &prob) && id == talk->best)
            best = prob;
    for (token = json_first(&talk->doc, list); token && best > 0; token = json_after(&talk->doc, list, token))
        if (read_lifted(talk, token, &id, &prob)) {
            double lift = bias_of(talk, id) - bias_of(talk, talk->best);

            logits_answer_id(talk, id, talk->best_value + (log(prob / best) - lift), NULL);
        }
    return logits_open_wishes(talk) ? ask_models(talk) : LOGITS_DONE;
}

static enum logits_verdict read_models(struct logits_talk *talk)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *list = json_member(doc, json_root(doc), BYTES("data")), *model;
    int64_t size = 0;

    for (model = json_first(doc, list); model && size <= 0; model = json_after(doc, list, model))
        json_i64(doc, json_at(doc, model, "meta.n_vocab"), &size);
    if (size <= 0 || size > VOCABULARY_MAX)
        return LOGITS_DONE; /* what is still open stays unanswered */
    return ask_plain(talk, size, ALL_ASKED);
}

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    switch (talk->stage) {
    case START:
        return ask_template(talk);
    case TEMPLATED:
        return read_template(talk);
    case TOKENIZED:
        talk->wishes[talk->at++].id = read_token(talk);
        return ask_next_wish(talk);
    case HELPER_ASKED:
        return read_helper(talk);
    case BEST_ASKED:
        return read_best(talk);
    case NAME_ASKED:
        return read_name(talk);
    case LIFTED:
        return read_lifts(talk);
    case MODELS_ASKED:
        return read_models(talk);
    default:
        read_alternatives(talk);
        return LOGITS_DONE;
    }
}

const struct logits_kind logits_llama = {.start = start, .next = next, .by_token = true};
