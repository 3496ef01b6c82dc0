/*
 * Two answers to one question: the one that the log kept, and the one that comes now.
 */
#pragma once

#include "chat/answer_text.h"
#include "upstream/sse.h"

#define LOG_ANSWER_MOST (64u << 20)

/* What NODE, the member `answer` of a line in DOC, says, into TEXT, which is initialised: a body as the API has it,
 * also of a stream, or one with logits. SCRATCH is a document of its own, with ANSWER_JSON_LIMITS. NULL, or why
 * there is nothing to compare with. */
const char *log_answer_recorded(const struct json_doc *doc, const struct json_node *node, struct json_doc *scratch,
                                struct answer_text *text);

/* An answer that is coming: a stream is put together, anything else is read when it is whole. */
struct log_reply {
    unsigned status;
    bool is_stream;
    size_t size;
    struct sse sse;
    struct buffer body;
    struct answer_text text;
    struct json_doc *scratch;   /* with ANSWER_JSON_LIMITS */
    const char *fault;          /* what is wrong with it, once something is */
};

void log_reply_init(struct log_reply *reply, struct json_doc *scratch);
void log_reply_deinit(struct log_reply *reply);
void log_reply_head(struct log_reply *reply, unsigned status, struct bytes content_type);
void log_reply_body(struct log_reply *reply, struct bytes piece);
/* It has all come. True: reply->text is a whole answer. Else WHY gets a clause. */
bool log_reply_end(struct log_reply *reply, struct buffer *why);
