/*
 * A timer and a list of tokens. Each tick says the next token of every choice; a pace of 0 says all at once, as far as
 * the transcript takes it.
 */
#include "upstream/echo.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "json/json_write.h"
#include "upstream/echo_text.h"

struct echo {
    uv_timer_t timer;
    struct transcript *transcript;
    void (*ended)(void *data);
    void *data;
    bool begun;                 /* the role was said */
    bool waiting;               /* the transcript is full */

    struct arena arena;
    struct json_doc doc;
    enum chat_operation operation;
    struct bytes model, steering;
    bool stream, logprobs;
    int64_t choices, top_logprobs;
    uint64_t pace_ms;
    const char *finish;

    struct echo_tokens tokens;
    unsigned said;
    char id[RANDOM_ID_SIZE];
    int64_t created;
    int64_t prompt_tokens;
};

/* --- writing --- */

static void open_object(const struct echo *echo, const char *object, struct buffer *out)
{
    buffer_printf(out, "{\"id\":\"chatcmpl-%.*s\",\"object\":\"%s\",\"created\":%lld,\"model\":", RANDOM_ID_SIZE,
                  echo->id, object, (long long)echo->created);
    json_write_string(out, echo->model);
    buffer_append_text(out, ",\"system_fingerprint\":\"echo-1\",\"choices\":[");
}

static void write_logprob(const struct echo *echo, unsigned at, int64_t rank, struct buffer *out)
{
    struct bytes token = echo->tokens.list[at];
    uint64_t hash = echo_hash((uint64_t)at, token);

    buffer_append_text(out, "{\"token\":");
    if (rank == 0)
        json_write_string(out, token);
    else
        buffer_printf(out, "\" %llx\"", (unsigned long long)(hash >> rank & 0xffff));
    buffer_printf(out, ",\"logprob\":%.4f,\"bytes\":null", -(double)(hash % 1000 + 1) / 10000.0 - (double)rank);
}

static void write_logprobs(const struct echo *echo, unsigned from, unsigned to, struct buffer *out)
{
    buffer_append_text(out, "\"logprobs\":");
    if (!echo->logprobs) {
        buffer_append_text(out, "null");
        return;
    }
    buffer_append_text(out, "{\"content\":[");
    for (unsigned at = from; at < to; at++) {
        if (at > from)
            buffer_append_char(out, ',');
        write_logprob(echo, at, 0, out);
        buffer_append_text(out, ",\"top_logprobs\":[");
        for (int64_t rank = 0; rank < echo->top_logprobs; rank++) {
            if (rank)
                buffer_append_char(out, ',');
            write_logprob(echo, at, rank, out);
            buffer_append_char(out, '}');
        }
        buffer_append_text(out, "]}");
    }
    buffer_append_text(out, "],\"refusal\":null}");
}

void echo_facts(const struct echo *echo, struct transcript_facts *facts)
{
    facts->prompt_tokens = echo->prompt_tokens;
    facts->completion_tokens = (int64_t)echo->tokens.count * echo->choices;
    if (echo->finish)
        facts->finish = finish_of(bytes_of(echo->finish));
}

static void write_usage(const struct echo *echo, struct buffer *out)
{
    int64_t completion = (int64_t)echo->tokens.count * echo->choices;

    buffer_printf(out, "\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld}}",
                  (long long)echo->prompt_tokens, (long long)completion,
                  (long long)(echo->prompt_tokens + completion));
}

static bool append(struct echo *echo, enum chat_event_kind kind, const struct buffer *text)
{
    struct chat_event event = {.kind = kind, .shape = SHAPE_OPENAI, .payload = buffer_bytes(text)};

    return transcript_append(echo->transcript, &event);
}

enum said { SAY_ROLE, SAY_TOKEN, SAY_FINISH };

static bool say(struct echo *echo, enum said what, int64_t choice)
{
    struct buffer out;
    bool room;

    buffer_init(&out);
    open_object(echo, "chat.completion.chunk", &out);
    buffer_printf(&out, "{\"index\":%lld,\"delta\":{", (long long)choice);
    if (what == SAY_ROLE) {
        buffer_append_text(&out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
    } else if (what == SAY_TOKEN) {
        buffer_append_text(&out, "\"content\":");
        json_write_string(&out, echo->tokens.list[echo->said]);
    }
    buffer_append_text(&out, "},");
    if (what == SAY_TOKEN)
        write_logprobs(echo, echo->said, echo->said + 1, &out);
    else
        buffer_append_text(&out, "\"logprobs\":null");
    buffer_append_text(&out, ",\"finish_reason\":");
    buffer_printf(&out, what == SAY_FINISH ? "\"%s\"}]}" : "null}]}", echo->finish);
    room = append(echo, EVENT_CHUNK, &out);
    buffer_deinit(&out);
    return room;
}

static bool say_to_all(struct echo *echo, enum said what)
{
    bool room = true;

    for (int64_t choice = 0; choice < echo->choices; choice++)
        room = say(echo, what, choice) && room;
    return room;
}

static void say_end(struct echo *echo)
{
    struct buffer out;

    say_to_all(echo, SAY_FINISH);
    buffer_init(&out);
    open_object(echo, "chat.completion.chunk", &out);
    buffer_append_text(&out, "],");
    write_usage(echo, &out);
    append(echo, EVENT_USAGE, &out);
    buffer_deinit(&out);
}

static void say_whole(struct echo *echo)
{
    struct buffer out;

    buffer_init(&out);
    open_object(echo, "chat.completion", &out);
    for (int64_t choice = 0; choice < echo->choices; choice++) {
        buffer_printf(&out, "%s{\"index\":%lld,\"message\":{\"role\":\"assistant\",\"content\":", choice ? "," : "",
                      (long long)choice);
        if (echo->tokens.count)
            json_write_string(&out, (struct bytes){echo->tokens.list[0].data,
                                                   (size_t)(echo->tokens.list[echo->tokens.count - 1].data -
                                                            echo->tokens.list[0].data) +
                                                       echo->tokens.list[echo->tokens.count - 1].size});
        else
            buffer_append_text(&out, "\"\"");
        buffer_append_text(&out, ",\"refusal\":null},");
        write_logprobs(echo, 0, echo->tokens.count, &out);
        buffer_printf(&out, ",\"finish_reason\":\"%s\"}", echo->finish);
    }
    buffer_append_text(&out, "],");
    write_usage(echo, &out);
    append(echo, EVENT_BODY, &out);
    buffer_deinit(&out);
}

static void say_logits(struct echo *echo)
{
    struct buffer out;

    buffer_init(&out);
    echo_write_logits(&echo->doc, echo->model, echo->steering, &echo->arena, &out);
    append(echo, EVENT_LOGITS, &out);
    buffer_deinit(&out);
}

/* --- time --- */

static void release(struct echo *echo)
{
    json_doc_deinit(&echo->doc);
    arena_deinit(&echo->arena);
    alloc_free(echo);
}

static void closed(uv_handle_t *handle)
{
    release(handle->data);
}

struct echo *echo_cancel(struct echo *echo)
{
    if (echo && !uv_is_closing((uv_handle_t *)&echo->timer))
        uv_close((uv_handle_t *)&echo->timer, closed);
    return NULL;
}

static void end(struct echo *echo)
{
    void (*ended)(void *data) = echo->ended;
    void *data = echo->data;

    if (echo->operation == CHAT_LOGITS)
        say_logits(echo);
    else if (echo->stream)
        say_end(echo);
    else
        say_whole(echo);
    echo_cancel(echo);
    ended(data);
}

static void tick(uv_timer_t *timer)
{
    struct echo *echo = timer->data;
    bool room = true;

    if (echo->stream && !echo->begun)
        room = say_to_all(echo, SAY_ROLE);
    echo->begun = true;
    while (echo->said < echo->tokens.count && room) {
        if (echo->stream)
            room = say_to_all(echo, SAY_TOKEN);
        echo->said++;
        if (echo->pace_ms && room) {
            uv_timer_start(&echo->timer, tick, echo->pace_ms, 0);
            return;
        }
    }
    if (!room && echo->said < echo->tokens.count)
        echo->waiting = true;
    else
        end(echo);
}

void echo_resume(struct echo *echo)
{
    if (!echo->waiting)
        return;
    echo->waiting = false;
    uv_timer_start(&echo->timer, tick, echo->pace_ms, 0);
}

/* --- the question --- */

/* TEXT up to the first of the stop strings in it. */
static struct bytes stop_at(const struct echo *echo, const struct json_node *stop, struct bytes text)
{
    const struct json_doc *doc = &echo->doc;
    struct arena scratch;
    size_t cut = text.size;

    arena_init(&scratch);
    if (json_is(stop, JSON_STRING)) {
        struct bytes word = json_text(doc, stop, &scratch);

        cut = word.size ? bytes_find(text, word) : cut;
    }
    for (const struct json_node *item = json_first(doc, stop); item; item = json_after(doc, stop, item)) {
        struct bytes word = json_text(doc, item, &scratch);
        size_t at = word.size ? bytes_find(text, word) : cut;

        cut = at < cut ? at : cut;
    }
    arena_deinit(&scratch);
    return (struct bytes){text.data, cut};
}

static struct bytes steering_mark(const struct chat_steering *steering, struct arena *arena)
{
    struct bytes what = steering->controller.size ? steering->controller
                        : steering->lora.size     ? steering->lora
                                                  : steering->adapter;

    if (what.size == 0)
        return BYTES_NONE;
    return arena_printf(arena, "[steered %08x] ", (unsigned)echo_hash(0, what));
}

static void prepare_answer(struct echo *echo)
{
    const struct json_doc *doc = &echo->doc;
    const struct json_node *root = json_root(doc), *messages = json_member(doc, root, BYTES("messages"));
    struct bytes words = echo_last_words(doc, messages, &echo->arena);
    struct bytes text = arena_printf(&echo->arena, "%.*s%.*s", BYTES_ARG(echo->steering), BYTES_ARG(words));
    int64_t limit = INT64_MAX;

    text = stop_at(echo, json_member(doc, root, BYTES("stop")), text);
    echo->tokens = echo_tokenize(text, &echo->arena);
    echo->finish = "stop";
    if (json_i64(doc, json_member(doc, root, BYTES("max_completion_tokens")), &limit) < 0)
        json_i64(doc, json_member(doc, root, BYTES("max_tokens")), &limit);
    if (echo->tokens.count > limit) {
        echo->tokens.count = limit < 0 ? 0 : (unsigned)limit;
        echo->finish = "length";
    }
    echo->stream = json_is(json_member(doc, root, BYTES("stream")), JSON_TRUE);
    echo->logprobs = json_is(json_member(doc, root, BYTES("logprobs")), JSON_TRUE);
    json_i64(doc, json_member(doc, root, BYTES("top_logprobs")), &echo->top_logprobs);
    json_i64(doc, json_member(doc, root, BYTES("n")), &echo->choices);
    echo->prompt_tokens = echo_count_prompt(doc, messages, &echo->arena);
}

/* About what a whole answer takes. */
static bool fits(const struct echo *echo, uint32_t answer_bytes)
{
    uint64_t token = 2 * 16 + (echo->logprobs ? 100 + 80 * (uint64_t)(echo->top_logprobs + 1) : 0);

    return echo->operation == CHAT_LOGITS || echo->stream ||
           (uint64_t)echo->choices * (200 + token * echo->tokens.count) <= answer_bytes;
}

struct echo *echo_start(uv_loop_t *loop, const struct echo_question *question, struct transcript *transcript,
                        void (*ended)(void *data), void *data, struct failure *ret_failure)
{
    struct echo *echo = ALLOC_NEW(struct echo);

    json_doc_init(&echo->doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&echo->doc, question->body) != 0) {
        json_doc_deinit(&echo->doc);
        alloc_free(echo);
        *ret_failure = (struct failure){.kind = FAIL_INTERNAL, .message = BYTES("The question cannot be echoed.")};
        return NULL;
    }
    arena_init(&echo->arena);
    echo->transcript = transcript;
    echo->ended = ended;
    echo->data = data;
    echo->operation = question->operation;
    echo->model = question->model;
    echo->steering = steering_mark(question->steering, &echo->arena);
    echo->pace_ms = question->pace_ms;
    echo->choices = 1;
    random_id(echo->id);
    echo->created = clock_wall_s();
    if (question->operation == CHAT_COMPLETION)
        prepare_answer(echo);
    if (!fits(echo, question->answer_bytes)) {
        release(echo);
        *ret_failure = (struct failure){.kind = FAIL_INVALID,
                                        .message = BYTES("The answer would be larger than this gateway accepts. Ask "
                                                         "for fewer choices or log-probabilities, or stream it.")};
        return NULL;
    }
    uv_timer_init(loop, &echo->timer);
    echo->timer.data = echo;
    uv_timer_start(&echo->timer, tick, question->operation == CHAT_LOGITS ? 0 : echo->pace_ms, 0);
    return echo;
}
