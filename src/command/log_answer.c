/*
 * Both become an answer_text, which knows what counts.
 */
#include "command/log_answer.h"

#include "base/utf8.h"
#include "command/text_table.h"

#define EVENT_MOST (16u << 20)
#define MESSAGE_MOST 200

/* A whole answer, or an answer with logits. */
static void add_whole(struct answer_text *text, struct bytes body, struct json_doc *scratch)
{
    struct chat_event event = {.kind = EVENT_BODY, .payload = body};

    if (json_doc_parse(scratch, body) == 0 && json_member(scratch, json_root(scratch), BYTES("logits")))
        event.kind = EVENT_LOGITS;
    answer_text_add(text, &event, scratch);
}

const char *log_answer_recorded(const struct json_doc *doc, const struct json_node *node, struct json_doc *scratch,
                                struct answer_text *text)
{
    if (json_is(node, JSON_OBJECT))
        add_whole(text, json_raw(doc, node), scratch);
    if (text->count == 0 || text->unreadable)
        return "whose answer is of another kind";
    return answer_text_whole(text) ? NULL : "whose answer broke off";
}

/* --- what comes --- */

void log_reply_init(struct log_reply *reply, struct json_doc *scratch)
{
    *reply = (struct log_reply){.scratch = scratch};
    sse_init(&reply->sse, EVENT_MOST);
    answer_text_init(&reply->text);
}

void log_reply_deinit(struct log_reply *reply)
{
    sse_deinit(&reply->sse);
    buffer_deinit(&reply->body);
    answer_text_deinit(&reply->text);
}

void log_reply_head(struct log_reply *reply, unsigned status, struct bytes content_type)
{
    static const struct bytes stream = {"text/event-stream", 17};

    reply->status = status;
    reply->is_stream = status == 200 && content_type.size >= stream.size &&
                       bytes_equal_nocase((struct bytes){content_type.data, stream.size}, stream);
}

static void add_event(struct log_reply *reply, struct bytes data)
{
    struct chat_event event = {.kind = EVENT_CHUNK, .payload = data};
    const struct json_node *error;

    if (bytes_equal(bytes_trim(data), BYTES("[DONE]")))
        return;
    answer_text_add(&reply->text, &event, reply->scratch);
    if (reply->text.unreadable)
        return;
    error = json_member(reply->scratch, json_root(reply->scratch), BYTES("error"));
    if (error && !json_is(error, JSON_NULL))
        reply->fault = "an error inside the stream";
}

void log_reply_body(struct log_reply *reply, struct bytes piece)
{
    struct sse_event event;
    int r = SSE_MORE;

    reply->size += piece.size;
    if (reply->size > LOG_ANSWER_MOST)
        reply->fault = "it is too large";
    if (!reply->is_stream && !reply->fault)
        buffer_append(&reply->body, piece);
    while (reply->is_stream && !reply->fault && (r = sse_next(&reply->sse, &piece, &event)) == SSE_EVENT)
        add_event(reply, event.data);
    if (r != SSE_MORE && !reply->fault)
        reply->fault = "the stream is not of events";
}

/* The server's own words, if they are of a known form. */
static void append_message(struct log_reply *reply, struct buffer *why)
{
    struct json_doc *doc = reply->scratch;
    struct bytes text;
    struct arena arena;

    if (json_doc_parse(doc, buffer_bytes(&reply->body)) != 0)
        return;
    arena_init(&arena);
    text = json_text(doc, json_at(doc, json_root(doc), "error.message"), &arena);
    text = utf8_cut(text, MESSAGE_MOST);
    if (text.size) {
        buffer_append_text(why, ": ");
        table_name(why, text);
    }
    arena_deinit(&arena);
}

bool log_reply_end(struct log_reply *reply, struct buffer *why)
{
    struct sse_event event;

    if (reply->status != 200) {
        buffer_printf(why, "status %u", reply->status);
        append_message(reply, why);
        return false;
    }
    if (reply->is_stream && !reply->fault && sse_end(&reply->sse, &event) == SSE_EVENT)
        add_event(reply, event.data);
    if (!reply->is_stream && !reply->fault)
        add_whole(&reply->text, buffer_bytes(&reply->body), reply->scratch);
    if (!reply->fault && !answer_text_whole(&reply->text))
        reply->fault = reply->text.unreadable ? "it cannot be read" : "it breaks off";
    if (reply->fault)
        buffer_append_text(why, reply->fault);
    return !reply->fault;
}
