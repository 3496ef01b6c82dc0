/*
 * Tokens are words with their leading space. Logits are a hash of question and token, spread over 0..24; the vocabulary
 * of a question is a fixed list of words and whatever its filter names, so that probabilities have a sum.
 */
#include "upstream/echo_text.h"

#include "base/utf8.h"
#include "json/json_write.h"

#include <math.h>
#include <stdlib.h>

#define TOKEN_BYTES 16

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* A message's text: a string, or its text parts. */
static void append_content(const struct json_doc *doc, const struct json_node *content, struct arena *arena,
                           struct buffer *out)
{
    if (json_is(content, JSON_STRING)) {
        buffer_append(out, json_text(doc, content, arena));
        return;
    }
    if (!json_is(content, JSON_ARRAY))
        return;
    for (const struct json_node *part = json_first(doc, content); part; part = json_after(doc, content, part))
        buffer_append(out, json_text(doc, json_member(doc, part, BYTES("text")), arena));
}

struct bytes echo_last_words(const struct json_doc *doc, const struct json_node *messages, struct arena *arena)
{
    const struct json_node *last = NULL, *user = NULL;
    struct buffer text;
    struct bytes words;

    for (const struct json_node *item = json_first(doc, messages); item; item = json_after(doc, messages, item)) {
        last = item;
        if (json_text_is(doc, json_member(doc, item, BYTES("role")), BYTES("user")))
            user = item;
    }
    buffer_init(&text);
    append_content(doc, json_member(doc, user ? user : last, BYTES("content")), arena, &text);
    words = arena_copy(arena, buffer_bytes(&text));
    buffer_deinit(&text);
    return words;
}

static size_t token_size(struct bytes text)
{
    size_t size = 0;

    while (size < text.size && is_space(text.data[size]))
        size++;
    while (size < text.size && !is_space(text.data[size]))
        size++;
    return utf8_cut((struct bytes){text.data, size}, TOKEN_BYTES).size;
}

struct echo_tokens echo_tokenize(struct bytes text, struct arena *arena)
{
    struct echo_tokens tokens = {0};
    struct bytes rest = text;

    while (rest.size) {
        rest = bytes_skip(rest, token_size(rest));
        tokens.count++;
    }
    tokens.list = arena_alloc(arena, tokens.count * sizeof(*tokens.list));
    for (unsigned i = 0; i < tokens.count; i++) {
        tokens.list[i] = (struct bytes){text.data, token_size(text)};
        text = bytes_skip(text, tokens.list[i].size);
    }
    return tokens;
}

int64_t echo_count_prompt(const struct json_doc *doc, const struct json_node *messages, struct arena *arena)
{
    struct buffer text;
    int64_t count = 0;

    buffer_init(&text);
    for (const struct json_node *item = json_first(doc, messages); item; item = json_after(doc, messages, item))
        append_content(doc, json_member(doc, item, BYTES("content")), arena, &text);
    for (struct bytes rest = buffer_bytes(&text); rest.size; count++)
        rest = bytes_skip(rest, token_size(rest));
    buffer_deinit(&text);
    return count;
}

uint64_t echo_hash(uint64_t seed, struct bytes text)
{
    uint64_t hash = 0xcbf29ce484222325u ^ seed;

    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3u;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ hash >> 33;
}

/* --- logits --- */

static const char *const vocabulary[] = {
    "I",      " I",     "The",    " the",   " a",     " an",    "Yes",     " yes",  "No",    " no",    " not",
    " is",    " was",   " are",   " be",    " to",    " of",    " and",    " or",   " but",  " in",    " on",
    " at",    " for",   " with",  " as",    " it",    " that",  " this",   " you",  " he",   " she",   " we",
    " they",  "Hello",  " hello", " world", " Paris", " one",   " two",    " true", " false", " good", " bad",
    " red",   " green", " blue",  " light", " dark",  " warm",  " cold",   ".",     ",",     "!",      "?",
    "\n",     " time",  " day",   " night", " king",  " sea",   " pirate", " ship", "<|eot_id|>",
};

struct scored {
    struct bytes token;
    double value;
};

static int higher_first(const void *a, const void *b)
{
    const struct scored *one = a, *two = b;

    if (one->value != two->value)
        return one->value < two->value ? 1 : -1;
    return memcmp(one->token.data, two->token.data,
                  one->token.size < two->token.size ? one->token.size : two->token.size);
}

static struct scored score(uint64_t seed, struct bytes token)
{
    /* Sixteenths, as a model in half precision would give them. */
    return (struct scored){token, (double)(echo_hash(seed, token) % 385) / 16.0};
}

/* The words of the house, then the filter's that are not among them. Returns how many. */
static unsigned fill(const struct json_doc *doc, const struct json_node *filter, uint64_t seed, struct arena *arena,
                     struct scored *list)
{
    unsigned count = 0;

    for (; count < ARRAY_SIZE(vocabulary); count++)
        list[count] = score(seed, bytes_of(vocabulary[count]));
    for (const struct json_node *item = json_first(doc, filter); item; item = json_after(doc, filter, item)) {
        struct bytes token = json_text(doc, item, arena);
        unsigned i = 0;

        while (i < count && !bytes_equal(list[i].token, token))
            i++;
        if (i == count)
            list[count++] = score(seed, token);
    }
    return count;
}

static void to_probabilities(struct scored *list, unsigned count)
{
    double sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += exp(list[i].value);
    for (unsigned i = 0; i < count; i++)
        list[i].value = exp(list[i].value) / sum;
}

static bool in_filter(const struct json_doc *doc, const struct json_node *filter, struct bytes token)
{
    for (const struct json_node *item = json_first(doc, filter); item; item = json_after(doc, filter, item))
        if (json_text_is(doc, item, token))
            return true;
    return false;
}

void echo_write_logits(const struct json_doc *doc, struct bytes model, struct bytes steering, struct arena *arena,
                       struct buffer *out)
{
    const struct json_node *root = json_root(doc), *filter = json_member(doc, root, BYTES("filter_vocabulary"));
    bool prob = json_text_is(doc, json_member(doc, root, BYTES("scale")), BYTES("prob"));
    bool filtered = json_is(filter, JSON_ARRAY);
    uint64_t seed = echo_hash(echo_hash(0, steering), json_raw(doc, json_member(doc, root, BYTES("messages"))));
    unsigned most = (unsigned)ARRAY_SIZE(vocabulary) + json_length(doc, filtered ? filter : NULL), count;
    struct scored *list = arena_alloc(arena, most * sizeof(*list));
    int64_t left = 10;

    json_i64(doc, json_member(doc, root, BYTES("top_k")), &left);
    count = fill(doc, filtered ? filter : NULL, seed, arena, list);
    if (prob)
        to_probabilities(list, count);
    qsort(list, count, sizeof(*list), higher_first);
    buffer_append_text(out, "{\"logits\":{");
    for (unsigned i = 0; i < count && (filtered || left > 0); i++) {
        if (filtered && !in_filter(doc, filter, list[i].token))
            continue;
        if (out->data[out->size - 1] != '{')
            buffer_append_char(out, ',');
        json_write_string(out, list[i].token);
        buffer_append_char(out, ':');
        json_write_double(out, list[i].value);
        left--;
    }
    buffer_append_char(out, '}');
    json_write_member_string(out, "scale", prob ? BYTES("prob") : BYTES("logit"));
    json_write_member_raw(out, "unanswered", BYTES("[]"));
    json_write_member_string(out, "model", model);
    buffer_append_char(out, '}');
}
