/*
 * What a backend may say: the first byte chooses its kind, the second how the rest is read: as the events of
 * a stream (one per line), as a whole answer, as an error, or as the replies of a talk about logits (one per
 * line).
 *
 * A stream is read twice, by one reader that remembers frames and by a fresh one for each event; both must
 * agree.
 */
#include "dialect/logits.h"

#include <assert.h>

/* Set up with the first input, used by all of them. */
static struct json_doc scratch;

static const enum config_kind kinds[] = {KIND_OPENAI,       KIND_GOODFIRE, KIND_VLLM,
                                         KIND_LLAMA_SERVER, KIND_SGLANG,   KIND_OLLAMA};

/* The next line of REST, its end taken off. */
static struct bytes next_line(struct bytes *rest)
{
    size_t size = bytes_find(*rest, BYTES("\n"));
    struct bytes line = {rest->data, size};

    *rest = bytes_skip(*rest, size < rest->size ? size + 1 : size);
    return line;
}

static void check_payload(const struct chat_event *event)
{
    struct json_doc doc;

    assert(!memchr(event->payload.data, '\n', event->payload.size));
    json_doc_init(&doc, (struct json_limits){.depth = 64, .nodes = 4000000});
    assert(json_doc_parse(&doc, event->payload) == 0);
    json_doc_deinit(&doc);
}

static void read_stream(enum config_kind kind, struct bytes rest)
{
    struct backend_answer answer, fresh;
    struct arena arena;
    enum backend_verdict verdict = BACKEND_NOTHING;

    arena_init(&arena);
    backend_answer_init(&answer, kind, NULL, &arena, &scratch);
    while (rest.size && verdict != BACKEND_DONE && verdict != BACKEND_FAILED) {
        struct bytes line = next_line(&rest);
        struct chat_event event, again;
        struct failure failure;

        verdict = backend_read_event(&answer, BYTES_NONE, line, &event, &failure);
        if (verdict != BACKEND_EVENT)
            continue;
        check_payload(&event);
        backend_answer_init(&fresh, kind, NULL, &arena, &scratch);
        fresh.id = answer.id;
        assert(backend_read_event(&fresh, BYTES_NONE, line, &again, &failure) == BACKEND_EVENT);
        assert(again.kind == event.kind && bytes_equal(again.payload, event.payload));
        backend_answer_deinit(&fresh);
    }
    if (verdict != BACKEND_FAILED && verdict != BACKEND_DONE) {
        struct failure failure;

        backend_read_end(&answer, &failure);
    }
    backend_answer_deinit(&answer);
    arena_deinit(&arena);
}

static void read_whole(enum config_kind kind, struct bytes body)
{
    struct backend_answer answer;
    struct chat_event event;
    struct failure failure;
    struct arena arena;

    arena_init(&arena);
    backend_answer_init(&answer, kind, NULL, &arena, &scratch);
    backend_read_body(&answer, body, &event, &failure);
    backend_answer_deinit(&answer);
    arena_deinit(&arena);
}

static void read_error(enum config_kind kind, struct bytes rest)
{
    struct bytes status = next_line(&rest), retry_after = next_line(&rest);
    struct failure failure;
    struct arena arena;
    int64_t number = 0;

    arena_init(&arena);
    bytes_to_i64(status, &number);
    failure = backend_read_error(kind, (unsigned)number, retry_after, rest, &arena);
    assert(failure.message.size > 0 && failure.message.size <= 500 && failure.retry_after_ms <= 300000);
    arena_deinit(&arena);
}

static const char question[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                               "\"filter_vocabulary\":[\"a\",\"b\"]}";

static void talk_logits(enum config_kind kind, struct bytes rest, bool filtered)
{
    struct config_backend backend = {.kind = kind, .root = BYTES("")};
    struct chat_request request = {0};
    struct backend_request asked;
    struct logits_talk *talk;
    struct failure failure;
    struct bytes answer;
    struct arena arena;
    struct json_doc doc;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_parse(&doc, bytes_of(question));
    chat_request_index(&request, &doc, &arena, &failure);
    request.operation = CHAT_LOGITS;
    request.model = BYTES("m");
    request.top_k = 3;
    if (!filtered)
        request.field[FIELD_FILTER_VOCABULARY] = 0;
    talk = logits_start(
        &(struct backend_ask){
            .request = &request, .backend = &backend, .kind = kind, .upstream_model = BYTES("m"), .arena = &arena},
        &failure);
    if (talk && logits_next(talk, 0, BYTES_NONE, &asked, &answer, &failure) == LOGITS_ASK)
        while (rest.size) {
            struct bytes reply = next_line(&rest);
            unsigned status = bytes_start_with(reply, BYTES("!")) ? 400 : 200;

            if (logits_next(talk, status, reply, &asked, &answer, &failure) != LOGITS_ASK)
                break;
        }
    logits_free(talk);
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = {(const char *)data, size};
    enum config_kind kind;

    if (size < 2)
        return 0;
    if (scratch.limits.nodes == 0)
        json_doc_init(&scratch, ANSWER_JSON_LIMITS);
    kind = kinds[data[0] % ARRAY_SIZE(kinds)];
    rest = bytes_skip(rest, 2);
    switch (data[1] % 5) {
    case 0:
        read_stream(kind, rest);
        break;
    case 1:
        read_whole(kind, rest);
        break;
    case 2:
        read_error(kind, rest);
        break;
    default:
        talk_logits(kind, rest, data[1] % 5 == 3);
        break;
    }
    return 0;
}
