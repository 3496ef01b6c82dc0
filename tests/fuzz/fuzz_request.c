/*
 * Any JSON as a question at both doors, and as an upstream's payload for both kinds of clients. Whatever is
 * refused or told must itself be good JSON, and what a Goodfire client streams must be ASCII that splits at
 * `data: `.
 */
#include "chat/steering.h"
#include "dialect/client.h"

#include <stdlib.h>

/* Set up with the first input, used by all of them. */
static struct json_doc scratch;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void require_json(struct bytes text)
{
    struct json_doc doc;

    json_doc_init(&doc, (struct json_limits){.depth = 80, .nodes = 4000000});
    require(json_doc_parse(&doc, text) == 0);
    json_doc_deinit(&doc);
}

/* Equal controllers have equal texts, so the text of the text is the text. */
static void steer(const struct chat_request *request, struct arena *arena)
{
    struct buffer once, twice;
    struct json_doc doc;

    buffer_init(&once);
    buffer_init(&twice);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    steering_controller_canonical(request->doc, chat_field(request, FIELD_CONTROLLER), arena, &once);
    require(json_doc_parse(&doc, buffer_bytes(&once)) == 0);
    steering_controller_canonical(&doc, json_root(&doc), arena, &twice);
    require(bytes_equal(buffer_bytes(&once), buffer_bytes(&twice)));
    json_doc_deinit(&doc);
    buffer_deinit(&twice);
    buffer_deinit(&once);
}

static void ask(const struct client_dialect *dialect, const struct json_doc *doc,
                enum chat_operation operation)
{
    struct chat_request request;
    struct failure failure;
    struct arena arena;
    struct buffer out;

    arena_init(&arena);
    buffer_init(&out);
    if (dialect->understand(&request, doc, operation, &arena, &failure) == 0) {
        require(request.model.size > 0 && request.n >= 1);
        steer(&request, &arena);
    } else {
        dialect->write_failure(&failure, &out);
        require_json(buffer_bytes(&out));
    }
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static void require_events(struct bytes text, bool ascii)
{
    while (text.size > 0) {
        size_t end = bytes_find(text, BYTES("\n\n"));
        struct bytes event = {text.data, end};

        require(end < text.size && bytes_start_with(event, BYTES("data: ")));
        event = bytes_skip(event, 6);
        require(bytes_find(event, BYTES("\n")) == event.size);
        for (size_t i = 0; ascii && i < event.size; i++)
            require((unsigned char)event.data[i] < 0x80);
        require(!ascii || bytes_find(event, BYTES("data: ")) == event.size);
        require_json(event);
        text = bytes_skip(text, end + 2);
    }
}

static void tell(const struct client_dialect *dialect, struct bytes payload, enum chat_shape shape)
{
    const struct chat_request request = {.model = BYTES("data: m\xc3\xa9")};
    struct chat_event event = {.kind = EVENT_CHUNK, .shape = shape, .usage = true, .payload = payload};
    struct client_stream stream;
    struct arena arena;
    struct buffer out;

    arena_init(&arena);
    buffer_init(&out);
    client_stream_init(&stream, dialect, &request, &arena, &scratch);
    if (dialect->write_event(&stream, &event, &out) == 0 && dialect->write_event(&stream, &event, &out) == 0)
        require_events(buffer_bytes(&out), dialect->event_per_chunk);
    buffer_clear(&out, SIZE_MAX);
    event.kind = EVENT_BODY;
    if (dialect->write_body(&stream, &event, &out) == 0)
        require_json(buffer_bytes(&out));
    buffer_deinit(&out);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct client_dialect *const dialects[] = {&client_openai, &client_goodfire};
    struct bytes text = {(const char *)data, size};
    struct json_doc doc;

    if (scratch.limits.nodes == 0)
        json_doc_init(&scratch, ANSWER_JSON_LIMITS);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&doc, text) == 0) {
        for (size_t i = 0; i < ARRAY_SIZE(dialects); i++) {
            ask(dialects[i], &doc, CHAT_COMPLETION);
            ask(dialects[i], &doc, CHAT_LOGITS);
            tell(dialects[i], text, SHAPE_OPENAI);
            tell(dialects[i], text, SHAPE_GOODFIRE);
        }
    }
    json_doc_deinit(&doc);
    return 0;
}
