/*
 * What an answer says, however it was cut into events: gathered event by event, then compared.
 */
#pragma once

#include "base/buffer.h"
#include "chat/transcript.h"

#define ANSWER_TEXT_CHOICES 128 /* the most the API allows */

/* One choice: its content, and all else that counts (reasoning, refusal, tool calls, the finish reason). */
struct answer_choice {
    struct buffer content, rest;
    bool ended;
};

struct answer_text {
    struct answer_choice *choices;
    uint32_t count;
    bool unreadable;            /* something that was added is no answer's part */
};

void answer_text_init(struct answer_text *text);
void answer_text_deinit(struct answer_text *text);

/* Add EVENT; DOC is scratch with ANSWER_JSON_LIMITS. What cannot be read is passed by, and noted. */
void answer_text_add(struct answer_text *text, const struct chat_event *event, struct json_doc *doc);

/* What was added is an answer: of a chat, every choice that was begun ended with a reason, in chunks or in one body; of
 * logits, it has some. */
bool answer_text_whole(const struct answer_text *text);

/* The place where two answers first differ: the choice, and the byte in its content (or behind it, in the rest).
 * False: they say the same. */
bool answer_text_differ(const struct answer_text *a, const struct answer_text *b, uint32_t *ret_choice,
                        size_t *ret_at);
