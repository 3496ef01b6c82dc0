/*
 * An answer, event by event or whole. Payloads go on as they came; the few things that must differ are
 * spliced. What is kept of a stream is which choices it began and which of them ended with a reason.
 */
#include "dialect/backend_error.h"
#include "dialect/backend_frame.h"
#include "dialect/backend_quirks.h"

#include "base/random.h"

#include <errno.h>

/* Nodes of a document that are worth keeping between answers. */
#define KEEP_NODES 4096
/* Longer ones are none. */
#define FINGERPRINT_BYTES 120
/* More tokens than any answer has: a count above it is not believed. */
#define TOKENS_MOST 1000000000

void backend_answer_init(struct backend_answer *answer, enum config_kind kind, const struct chat_request *request,
                         struct arena *arena, struct json_doc *doc)
{
    char id[RANDOM_ID_SIZE];

    *answer = (struct backend_answer){
        .kind = kind, .request = request, .arena = arena, .doc = doc, .prompt_tokens = -1, .completion_tokens = -1};
    buffer_init(&answer->scratch);
    buffer_init(&answer->joined);
    backend_frame_init(&answer->frame);
    if (backend_quirks(kind)->ids_repeat) {
        random_id(id);
        answer->id = arena_printf(arena, "\"chatcmpl-%.*s\"", RANDOM_ID_SIZE, id);
    }
}

void backend_answer_deinit(struct backend_answer *answer)
{
    backend_frame_deinit(&answer->frame);
    buffer_deinit(&answer->joined);
    buffer_deinit(&answer->scratch);
    if (answer->doc->capacity > KEEP_NODES) {
        json_doc_deinit(answer->doc);
        json_doc_init(answer->doc, ANSWER_JSON_LIMITS);
    }
}

static enum chat_shape shape_of(const struct backend_answer *answer)
{
    return backend_quirks(answer->kind)->goodfire_shape ? SHAPE_GOODFIRE : SHAPE_OPENAI;
}

static enum backend_verdict fail(struct backend_answer *answer, enum failure_kind kind, const char *message,
                                 struct failure *ret_failure)
{
    *ret_failure = failure_make(answer->arena, kind, "%s", message);
    return BACKEND_FAILED;
}

/* --- finish reasons --- */

enum finish { FINISH_NONE, FINISH_GOOD, FINISH_BROKEN };

/* What others call them; the API's own and unknown ones pass. */
static const struct {
    const char *theirs, *ours;
} finishes[] = {
    {"stop", "\"stop\""},     {"length", "\"length\""},     {"eos_token", "\"stop\""}, {"stop_sequence", "\"stop\""},
    {"end_turn", "\"stop\""}, {"max_tokens", "\"length\""}, {"limit", "\"length\""},   {"tool_use", "\"tool_calls\""},
};

/* The ends that the same question would have again. */
static const char *const repeatable[] = {"\"stop\"", "\"length\"", "\"tool_calls\"", "\"function_call\""};

static const char *const breaks[] = {"abort", "error", "load", "unload"};

static bool is_repeatable(struct bytes reason)
{
    for (size_t i = 0; i < ARRAY_SIZE(repeatable); i++)
        if (bytes_equal(reason, bytes_of(repeatable[i])))
            return true;
    return false;
}

static enum finish read_finish(struct backend_answer *answer, const struct json_node *reason,
                               struct json_splice *splice)
{
    const struct json_doc *doc = answer->doc;
    struct bytes told = json_raw(doc, reason);

    if (!reason || reason->type == JSON_NULL)
        return FINISH_NONE;
    if (reason->type != JSON_STRING)
        return FINISH_BROKEN;
    if (reason->end - reason->start == 2) {
        json_splice_replace(splice, reason, BYTES("null"));
        return FINISH_NONE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(breaks); i++)
        if (json_text_is(doc, reason, bytes_of(breaks[i])))
            return FINISH_BROKEN;
    for (size_t i = 0; i < ARRAY_SIZE(finishes); i++) {
        if (!json_text_is(doc, reason, bytes_of(finishes[i].theirs)))
            continue;
        if (!bytes_equal(json_raw(doc, reason), bytes_of(finishes[i].ours)))
            json_splice_replace(splice, reason, bytes_of(finishes[i].ours));
        told = bytes_of(finishes[i].ours);
        break;
    }
    answer->finish = finish_join(answer->finish, finish_of((struct bytes){told.data + 1, told.size - 2}));
    answer->unfit = answer->unfit || !is_repeatable(told);
    return FINISH_GOOD;
}

/* Clients want the member in every choice. It is put behind a value that is no container, which nothing else
 * cuts. */
static void add_finish(const struct json_doc *doc, const struct json_node *choice, struct json_splice *splice)
{
    const struct json_node *key = json_first(doc, choice);
    struct bytes raw;

    while (key && json_value(doc, key)->type >= JSON_OBJECT)
        key = json_after(doc, choice, key);
    if (!key)
        return;
    raw = json_raw(doc, json_value(doc, key));
    json_splice_replace(splice, json_value(doc, key),
                        arena_printf(splice->arena, "%.*s,\"finish_reason\":null", BYTES_ARG(raw)));
}

/* --- choices --- */

static bool every_choice_finished(const struct backend_answer *answer)
{
    uint64_t seen = 0, open = 0;

    for (size_t i = 0; i < ARRAY_SIZE(answer->choices_seen); i++) {
        seen |= answer->choices_seen[i];
        open |= answer->choices_seen[i] & ~answer->choices_finished[i];
    }
    return seen && !open;
}

/* False: no index we could count. */
static bool choice_index(const struct json_doc *doc, const struct json_node *choice, int64_t *ret)
{
    const struct json_node *index = json_member(doc, choice, BYTES("index"));

    *ret = 0;
    return !index || (json_i64(doc, index, ret) == 0 && *ret >= 0 && *ret < BACKEND_CHOICES);
}

static enum backend_verdict read_choice(struct backend_answer *answer, const struct json_node *choice,
                                        struct json_splice *splice, struct failure *ret_failure)
{
    const struct json_doc *doc = answer->doc;
    const struct json_node *reason = json_member(doc, choice, BYTES("finish_reason"));
    enum finish finish;
    int64_t index;

    if (!json_is(choice, JSON_OBJECT) || !choice_index(doc, choice, &index))
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server sent a choice that cannot be read.", ret_failure);
    finish = read_finish(answer, reason, splice);
    if (finish == FINISH_BROKEN)
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server broke the answer off.", ret_failure);
    if (!reason)
        add_finish(doc, choice, splice);
    answer->choices_seen[index / 64] |= UINT64_C(1) << index % 64;
    if (finish == FINISH_GOOD)
        answer->choices_finished[index / 64] |= UINT64_C(1) << index % 64;
    return BACKEND_EVENT;
}

/* A count that could be one: what is charged and added up is made of it. */
static void read_count(const struct json_doc *doc, const struct json_node *usage, struct bytes name, int64_t *target)
{
    int64_t count;

    if (json_i64(doc, json_member(doc, usage, name), &count) == 0 && count >= 0 && count <= TOKENS_MOST)
        *target = count;
}

static void read_usage(struct backend_answer *answer, const struct json_node *usage)
{
    read_count(answer->doc, usage, BYTES("prompt_tokens"), &answer->prompt_tokens);
    read_count(answer->doc, usage, BYTES("completion_tokens"), &answer->completion_tokens);
}

/* The first event that tells counts. */
static void read_fingerprint(struct backend_answer *answer)
{
    const struct json_doc *doc = answer->doc;
    const struct json_node *root = json_root(doc);
    struct bytes system = json_text(doc, json_member(doc, root, BYTES("system_fingerprint")), answer->arena);
    struct bytes model = json_text(doc, json_member(doc, root, BYTES("model")), answer->arena);

    if (answer->fingerprint.size || !system.size || system.size > FINGERPRINT_BYTES || model.size > FINGERPRINT_BYTES)
        return;
    answer->fingerprint = arena_printf(answer->arena, "%.*s %.*s", BYTES_ARG(system), BYTES_ARG(model));
}

static void splice_id(struct backend_answer *answer, struct json_splice *splice)
{
    const struct json_node *id = json_member(answer->doc, json_root(answer->doc), BYTES("id"));

    if (answer->id.size && id)
        json_splice_replace(splice, id, answer->id);
    else if (answer->id.size)
        json_splice_add(splice, "id", answer->id);
}

static struct bytes spliced(struct backend_answer *answer, const struct json_splice *splice)
{
    if (json_splice_clean(splice))
        return answer->doc->text;
    answer->scratch.size = 0;
    json_splice_write(splice, &answer->scratch);
    return buffer_bytes(&answer->scratch);
}

/* --- streams --- */

/* The text of a plain token event: one choice that goes on, and nothing counted. */
static const struct json_node *token_text(const struct json_doc *doc, const struct json_node *choices,
                                          const struct json_node *usage)
{
    const struct json_node *choice = json_first(doc, choices);
    const struct json_node *reason = json_member(doc, choice, BYTES("finish_reason"));
    const struct json_node *text;

    if (json_is(usage, JSON_OBJECT) || choice->next != choices->next || (reason && reason->type != JSON_NULL))
        return NULL;
    text = json_member(doc, json_member(doc, choice, BYTES("delta")), BYTES("content"));
    return json_is(text, JSON_STRING) ? text : NULL;
}

static enum backend_verdict read_chunk(struct backend_answer *answer, const struct json_node *choices,
                                       const struct json_node *usage, struct arena *cuts, struct chat_event *ret_event,
                                       struct failure *ret_failure)
{
    const struct json_doc *doc = answer->doc;
    struct json_splice splice;
    const struct json_node *text, *choice;
    struct bytes payload;

    json_splice_init(&splice, doc, cuts);
    splice_id(answer, &splice);
    for (choice = json_first(doc, choices); choice; choice = json_after(doc, choices, choice))
        if (read_choice(answer, choice, &splice, ret_failure) == BACKEND_FAILED)
            return BACKEND_FAILED;
    payload = spliced(answer, &splice);
    text = json_length(doc, choices) ? token_text(doc, choices, usage) : NULL;
    if (text)
        backend_frame_keep(&answer->frame, doc->text, text, &splice, payload);
    *ret_event = (struct chat_event){
        .kind = !json_first(doc, choices) && json_is(usage, JSON_OBJECT) ? EVENT_USAGE : EVENT_CHUNK,
        .shape = shape_of(answer),
        .usage = usage && usage->type != JSON_NULL,
        .payload = payload,
    };
    return BACKEND_EVENT;
}

/* An event in one line: line ends between JSON tokens are but white space, and inside strings they cannot be.
 */
static struct bytes one_line(struct backend_answer *answer, struct bytes data)
{
    if (!memchr(data.data, '\n', data.size) && !memchr(data.data, '\r', data.size))
        return data;
    answer->joined.size = 0;
    buffer_append(&answer->joined, data);
    for (size_t i = 0; i < data.size; i++)
        if (data.data[i] == '\n' || data.data[i] == '\r')
            answer->joined.data[i] = ' ';
    return buffer_bytes(&answer->joined);
}

/* An event that is the word of an error alone, or of nothing. */
static bool tells_error(const struct json_doc *doc, const struct json_node *choices)
{
    const struct json_node *root = json_root(doc);

    if (backend_is_error(doc))
        return true;
    return !choices &&
           (json_is(json_member(doc, root, BYTES("message")), JSON_STRING) || json_member(doc, root, BYTES("detail")));
}

static enum backend_verdict read_object(struct backend_answer *answer, bool named_error, struct chat_event *ret_event,
                                        struct failure *ret_failure)
{
    const struct json_doc *doc = answer->doc;
    const struct json_node *choices = json_member(doc, json_root(doc), BYTES("choices"));
    const struct json_node *usage = json_member(doc, json_root(doc), BYTES("usage"));
    struct arena cuts;
    enum backend_verdict verdict;

    if (named_error || tells_error(doc, choices)) {
        *ret_failure = backend_error_inside(answer->kind, doc, answer->arena);
        return BACKEND_FAILED;
    }
    if (choices && choices->type != JSON_ARRAY && choices->type != JSON_NULL)
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server sent an event whose choices cannot be read.",
                    ret_failure);
    read_usage(answer, usage);
    if (answer->fingerprint.size == 0)
        read_fingerprint(answer);
    arena_init(&cuts);
    verdict = read_chunk(answer, json_is(choices, JSON_ARRAY) ? choices : NULL, usage, &cuts, ret_event, ret_failure);
    arena_deinit(&cuts);
    return verdict;
}

static enum backend_verdict read_done(struct backend_answer *answer, struct failure *ret_failure)
{
    if (every_choice_finished(answer))
        return BACKEND_DONE;
    return fail(answer, FAIL_UPSTREAM_RESET, "The model server's answer ended without a finish reason.", ret_failure);
}

enum backend_verdict backend_read_event(struct backend_answer *answer, struct bytes name, struct bytes data,
                                        struct chat_event *ret_event, struct failure *ret_failure)
{
    bool named_error = bytes_equal(name, BYTES("error"));
    struct bytes payload;

    if (!named_error && backend_frame_read(&answer->frame, data, &answer->scratch, &payload)) {
        *ret_event = (struct chat_event){.kind = EVENT_CHUNK, .shape = shape_of(answer), .payload = payload};
        return BACKEND_EVENT;
    }
    if (data.size == 0)
        return BACKEND_NOTHING;
    if (data.size < 16 && bytes_equal(bytes_trim(data), BYTES("[DONE]"))) {
        answer->done = true;
        return read_done(answer, ret_failure);
    }
    data = one_line(answer, data);
    if (json_doc_parse(answer->doc, data) == 0 && json_is(json_root(answer->doc), JSON_OBJECT))
        return read_object(answer, named_error, ret_event, ret_failure);
    if (!named_error)
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server sent an event that is not a JSON object.",
                    ret_failure);
    *ret_failure = (struct failure){.kind = FAIL_UPSTREAM_FAILED, .message = backend_clean_text(answer->arena, data)};
    return BACKEND_FAILED;
}

enum backend_verdict backend_read_end(struct backend_answer *answer, struct failure *ret_failure)
{
    return read_done(answer, ret_failure);
}

/* --- whole answers --- */

static bool read_whole_choice(struct backend_answer *answer, const struct json_node *choice, struct json_splice *splice)
{
    const struct json_doc *doc = answer->doc;

    return json_is(json_member(doc, choice, BYTES("message")), JSON_OBJECT) &&
           read_finish(answer, json_member(doc, choice, BYTES("finish_reason")), splice) == FINISH_GOOD;
}

static enum backend_verdict read_whole(struct backend_answer *answer, const struct json_node *choices,
                                       struct arena *cuts, struct chat_event *ret_event, struct failure *ret_failure)
{
    const struct json_doc *doc = answer->doc;
    const struct json_node *choice = json_first(doc, choices);
    struct json_splice splice;

    json_splice_init(&splice, doc, cuts);
    splice_id(answer, &splice);
    if (!json_is(choices, JSON_ARRAY) || !choice)
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server's answer has no choices.", ret_failure);
    for (; choice; choice = json_after(doc, choices, choice))
        if (!read_whole_choice(answer, choice, &splice))
            return fail(answer, FAIL_UPSTREAM_BAD, "The model server's answer is not complete.", ret_failure);
    read_usage(answer, json_member(doc, json_root(doc), BYTES("usage")));
    read_fingerprint(answer);
    *ret_event = (struct chat_event){
        .kind = EVENT_BODY, .shape = shape_of(answer), .payload = spliced(answer, &splice)};
    return BACKEND_EVENT;
}

enum backend_verdict backend_read_body(struct backend_answer *answer, struct bytes body, struct chat_event *ret_event,
                                       struct failure *ret_failure)
{
    const struct json_node *root, *choices;
    enum backend_verdict verdict;
    struct arena cuts;

    if (json_doc_parse(answer->doc, body) != 0)
        return fail(answer, FAIL_UPSTREAM_BAD, "The model server's answer is not JSON.", ret_failure);
    root = json_root(answer->doc);
    choices = json_member(answer->doc, root, BYTES("choices"));
    if (json_is(root, JSON_OBJECT) && tells_error(answer->doc, choices)) {
        *ret_failure = backend_error_inside(answer->kind, answer->doc, answer->arena);
        return BACKEND_FAILED;
    }
    arena_init(&cuts);
    verdict = read_whole(answer, choices, &cuts, ret_event, ret_failure);
    arena_deinit(&cuts);
    return verdict;
}
