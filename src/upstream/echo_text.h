/*
 * What an echo says: the words of a question cut into tokens, and numbers made from them.
 */
#pragma once

#include "base/buffer.h"
#include "json/json_doc.h"

struct echo_tokens {
    struct bytes *list;
    unsigned count;
};

/* The text of the last user message in MESSAGES (the last message when there is none), parts joined. */
struct bytes echo_last_words(const struct json_doc *doc, const struct json_node *messages, struct arena *arena);

/* TEXT in pieces of a word with the white space before it, at most 16 bytes each, characters kept whole. */
struct echo_tokens echo_tokenize(struct bytes text, struct arena *arena);

/* Words in all messages together. */
int64_t echo_count_prompt(const struct json_doc *doc, const struct json_node *messages, struct arena *arena);

/* 64 bits that depend on every byte of TEXT and on SEED. Not cryptographic. */
uint64_t echo_hash(uint64_t seed, struct bytes text);

/* The whole logits answer for BODY (JSON), of MODEL. */
void echo_write_logits(const struct json_doc *doc, struct bytes model, struct bytes steering, struct arena *arena,
                       struct buffer *out);
