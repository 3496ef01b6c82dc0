/*
 * The talk's frame: it begins with the strings asked for, goes on as the kind says, and collects values. A token
 * that cannot be told exactly is left out, never guessed.
 */
#include "dialect/logits_talk.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "dialect/backend_error.h"

#include <errno.h>
#include <stdlib.h>

/* Each string costs a call to the tokenizer. */
#define WISH_LIMIT 1024

/* Alternatives asked for beyond those wanted. */
#define SPARE 10

/* A reply over a whole vocabulary; the answer's size in bytes is bounded before it gets here. */
#define REPLY_LIMITS ((struct json_limits){.depth = 64, .nodes = 8000000})

static const struct logits_kind *const kinds[KIND_COUNT] = {
    [KIND_OPENAI] = &logits_openai,      [KIND_GOODFIRE] = &logits_goodfire, [KIND_VLLM] = &logits_vllm,
    [KIND_LLAMA_SERVER] = &logits_llama, [KIND_SGLANG] = &logits_sglang,     [KIND_OLLAMA] = &logits_openai,
};

/* --- beginning --- */

static bool wished(const struct logits_talk *talk, struct bytes text)
{
    for (uint32_t i = 0; i < talk->wish_count; i++)
        if (bytes_equal(talk->wishes[i].text, text))
            return true;
    return false;
}

static int read_wishes(struct logits_talk *talk)
{
    const struct json_doc *doc = talk->ask.request->doc;
    const struct json_node *list = chat_field(talk->ask.request, FIELD_FILTER_VOCABULARY), *item;
    uint32_t count = json_is(list, JSON_ARRAY) ? json_length(doc, list) : 0;

    if (count > WISH_LIMIT) {
        logits_fail(talk, FAIL_UNSUPPORTED, "filter_vocabulary",
                    "'filter_vocabulary': this model's backend is asked for at most 1024 tokens at a time.");
        return -EINVAL;
    }
    talk->filtered = count > 0;
    talk->wishes = arena_zeroed(talk->ask.arena, (count + 1) * sizeof(*talk->wishes));
    talk->by_id = arena_zeroed(talk->ask.arena, (count + 1) * sizeof(struct logits_wish *));
    for (item = json_first(doc, list); item && count; item = json_after(doc, list, item)) {
        struct bytes text = json_text(doc, item, talk->ask.arena);

        if (json_is(item, JSON_STRING) && !wished(talk, text))
            talk->wishes[talk->wish_count++] = (struct logits_wish){.text = text, .id = -1};
    }
    return 0;
}

struct logits_talk *logits_start(const struct backend_ask *ask, struct failure *ret_failure)
{
    struct logits_talk *talk;
    int r;

    if (backend_check_steering(ask, ret_failure) < 0)
        return NULL;
    talk = arena_zeroed(ask->arena, sizeof(*talk));
    talk->ask = *ask;
    talk->kind = kinds[ask->kind];
    talk->ret_failure = ret_failure;
    talk->helper = talk->best = -1;
    json_doc_init(&talk->doc, REPLY_LIMITS);
    buffer_init(&talk->body);
    buffer_init(&talk->answer);
    r = talk->kind->by_token ? read_wishes(talk) : 0;
    if (r == 0 && talk->kind->start)
        r = talk->kind->start(talk);
    if (r == 0)
        return talk;
    logits_free(talk);
    return NULL;
}

void logits_free(struct logits_talk *talk)
{
    if (!talk)
        return;
    talk->entries = alloc_free(talk->entries);
    buffer_deinit(&talk->answer);
    buffer_deinit(&talk->body);
    json_doc_deinit(&talk->doc);
}

/* --- asking --- */

struct buffer *logits_body(struct logits_talk *talk)
{
    talk->body.size = 0;
    return &talk->body;
}

enum logits_verdict logits_post(struct logits_talk *talk, const char *path)
{
    talk->request = (struct backend_request){
        .path = backend_path(talk->ask.backend, talk->ask.arena, path),
        .body = buffer_bytes(&talk->body),
    };
    return LOGITS_ASK;
}

static const enum chat_field prompt_fields[] = {
    FIELD_MODEL, FIELD_MESSAGES,  FIELD_SYSTEM_PROMPT,    FIELD_CONTROLLER,
    FIELD_TOOLS, FIELD_FUNCTIONS, FIELD_REASONING_EFFORT,
};

int logits_draft(struct logits_talk *talk, struct backend_draft *draft)
{
    struct bytes kept[ARRAY_SIZE(prompt_fields)];

    backend_draft_init(draft, &talk->ask, talk->ret_failure);
    for (size_t i = 0; i < ARRAY_SIZE(prompt_fields); i++)
        kept[i] = draft->value[prompt_fields[i]];
    for (int i = 0; i < FIELD_COUNT; i++)
        draft->value[i] = BYTES_NONE;
    for (size_t i = 0; i < ARRAY_SIZE(prompt_fields); i++)
        draft->value[prompt_fields[i]] = kept[i];
    draft->limit = BYTES_NONE;
    return backend_draft_prompt(draft);
}

enum logits_verdict logits_post_draft(struct logits_talk *talk, struct backend_draft *draft, const char *path)
{
    talk->request = (struct backend_request){
        .path = backend_path(talk->ask.backend, talk->ask.arena, path),
        .body = backend_draft_write(draft),
    };
    return LOGITS_ASK;
}

int64_t logits_wanted(const struct logits_talk *talk, int64_t limit)
{
    int64_t wanted = talk->ask.request->top_k > 1 ? talk->ask.request->top_k : 1;

    return limit && wanted > limit ? limit : wanted;
}

int64_t logits_generous(const struct logits_talk *talk, int64_t limit)
{
    int64_t wanted = logits_wanted(talk, 0);

    if (limit && wanted > limit)
        return wanted;
    return limit && wanted + SPARE > limit ? limit : wanted + SPARE;
}

int logits_chat(struct logits_talk *talk, struct backend_draft *draft, int64_t top)
{
    int r = logits_draft(talk, draft);

    if (r < 0)
        return r;
    draft->limit = BYTES("1");
    draft->value[FIELD_TEMPERATURE] = BYTES("0");
    draft->value[FIELD_LOGPROBS] = BYTES("true");
    if (top)
        draft->value[FIELD_TOP_LOGPROBS] = arena_printf(talk->ask.arena, "%lld", (long long)top);
    return 0;
}

/* --- reading --- */

enum logits_verdict logits_fail(struct logits_talk *talk, enum failure_kind kind, const char *param,
                                const char *message)
{
    *talk->ret_failure = failure_make(talk->ask.arena, kind, "%s", message);
    talk->ret_failure->param = bytes_of(param);
    return LOGITS_FAILED;
}

const struct json_node *logits_chat_token(const struct logits_talk *talk)
{
    return json_at(&talk->doc, json_root(&talk->doc), "choices.0.logprobs.content.0");
}

static int order_ids(const void *left, const void *right)
{
    const struct logits_wish *const *a = left, *const *b = right;

    return ((*a)->id > (*b)->id) - ((*a)->id < (*b)->id);
}

void logits_sort_wishes(struct logits_talk *talk)
{
    for (uint32_t i = 0; i < talk->wish_count; i++)
        if (talk->wishes[i].id >= 0)
            talk->by_id[talk->by_id_count++] = &talk->wishes[i];
    if (talk->by_id_count)
        qsort(talk->by_id, talk->by_id_count, sizeof(struct logits_wish *), order_ids);
}

bool logits_wish_open(const struct logits_wish *wish)
{
    return wish->id >= 0 && !wish->answered;
}

uint32_t logits_open_wishes(const struct logits_talk *talk)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < talk->wish_count; i++)
        count += logits_wish_open(&talk->wishes[i]);
    return count;
}

static struct bytes keep_digits(struct logits_talk *talk, const struct json_node *number)
{
    return number ? arena_copy(talk->ask.arena, json_raw(&talk->doc, number)) : BYTES_NONE;
}

static void answer_wish(struct logits_talk *talk, struct logits_wish *wish, double value,
                        const struct json_node *number)
{
    if (wish->answered)
        return;
    wish->answered = true;
    wish->value = value;
    wish->digits = keep_digits(talk, number);
}

void logits_answer_id(struct logits_talk *talk, int64_t id, double value, const struct json_node *number)
{
    uint32_t low = 0, high = talk->by_id_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (talk->by_id[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < talk->by_id_count && talk->by_id[low]->id == id; low++)
        answer_wish(talk, talk->by_id[low], value, number);
}

void logits_answer_text(struct logits_talk *talk, struct bytes text, double value, const struct json_node *number)
{
    for (uint32_t i = 0; i < talk->wish_count; i++)
        if (bytes_equal(talk->wishes[i].text, text))
            answer_wish(talk, &talk->wishes[i], value, number);
}

void logits_add(struct logits_talk *talk, struct bytes text, int64_t id, double value, const struct json_node *number)
{
    if (talk->entry_count == talk->entry_capacity) {
        talk->entry_capacity = talk->entry_capacity ? 2 * talk->entry_capacity : 32;
        talk->entries = alloc_resize(talk->entries, talk->entry_capacity * sizeof(*talk->entries));
    }
    talk->entries[talk->entry_count++] = (struct logits_entry){
        .text = text.data ? arena_copy(talk->ask.arena, text) : text,
        .id = id,
        .value = value,
        .digits = keep_digits(talk, number),
    };
}

/* The characters of a list of byte values. False when it is no such list. */
static bool read_bytes(struct logits_talk *talk, const struct json_node *list, struct bytes *ret)
{
    const struct json_doc *doc = &talk->doc;
    char *text = arena_alloc(talk->ask.arena, json_length(doc, list) + 1);
    size_t size = 0;
    int64_t value;

    for (const struct json_node *at = json_first(doc, list); at; at = json_after(doc, list, at)) {
        if (json_i64(doc, at, &value) < 0 || value < 0 || value > 255)
            return false;
        text[size++] = (char)value;
    }
    *ret = (struct bytes){text, size};
    return true;
}

bool logits_token_text(struct logits_talk *talk, const struct json_node *token, struct bytes *ret)
{
    const struct json_doc *doc = &talk->doc;
    const struct json_node *list = json_member(doc, token, BYTES("bytes"));
    struct bytes text = json_text(doc, json_member(doc, token, BYTES("token")), talk->ask.arena);

    if (json_is(list, JSON_ARRAY) && json_first(doc, list) && !read_bytes(talk, list, &text))
        return false;
    /* U+FFFD is what a piece of a character is shown as: not the name of one token. */
    if (!text.data || !utf8_valid(text) || bytes_find(text, BYTES("\xef\xbf\xbd")) < text.size)
        return false;
    *ret = text;
    return true;
}

bool logits_value(struct logits_talk *talk, const struct json_node *number, double *ret)
{
    double value;

    if (json_double(&talk->doc, number, &value) < 0 || value <= -9999)
        return false;
    if (value > 0)
        talk->true_logits = true;
    *ret = value;
    return true;
}

/* --- the walk --- */

static bool usable(struct logits_talk *talk, unsigned status, struct bytes reply)
{
    if (status == 0 || (status != 200 && talk->kind->goes_on && talk->kind->goes_on(talk, status)))
        return true;
    if (status != 200) {
        *talk->ret_failure = backend_read_error(talk->ask.kind, status, BYTES_NONE, reply, talk->ask.arena);
        return false;
    }
    if (json_doc_parse(&talk->doc, reply) != 0 || !json_is(json_root(&talk->doc), JSON_OBJECT)) {
        logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's answer is not a JSON object.");
        return false;
    }
    if (!backend_is_error(&talk->doc))
        return true;
    *talk->ret_failure = backend_error_inside(talk->ask.kind, &talk->doc, talk->ask.arena);
    return false;
}

enum logits_verdict logits_next(struct logits_talk *talk, unsigned status, struct bytes reply,
                                struct backend_request *ret_request, struct bytes *ret_answer,
                                struct failure *ret_failure)
{
    enum logits_verdict verdict;

    talk->ret_failure = ret_failure;
    if (!usable(talk, status, reply))
        return LOGITS_FAILED;
    verdict = talk->kind->next(talk, status);
    if (verdict == LOGITS_DONE && talk->kind->by_token)
        verdict = logits_write_answer(talk);
    if (verdict == LOGITS_ASK)
        *ret_request = talk->request;
    if (verdict == LOGITS_DONE)
        *ret_answer = buffer_bytes(&talk->answer);
    return verdict;
}
