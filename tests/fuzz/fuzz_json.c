/*
 * JSON in pieces must read as JSON whole, and behind white space as without it; what is read can be
 * changed and stays JSON; strings go out and come back.
 */
#include "base/buffer.h"
#include "base/utf8.h"
#include "json/json_doc.h"
#include "json/json_splice.h"
#include "json/json_write.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

static const struct json_limits generous = {.depth = 1000, .nodes = 1000000};

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* The same text in pieces of at most STEP bytes, the last of them out of other memory. */
static void read_in_pieces(const struct json_doc *whole, struct bytes text, uint32_t step)
{
    struct json_doc doc;
    struct buffer moved;
    uint32_t seed = step;

    buffer_init(&moved);
    buffer_append(&moved, text);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    for (size_t at = 1; at <= text.size; at += 1 + next_random(&seed) % step)
        json_doc_feed(&doc, (struct bytes){at * 2 < text.size ? text.data : moved.data, at});
    MUST(json_doc_finish(&doc, text) == whole->error);
    MUST(doc.error_at == whole->error_at);
    if (!doc.error) {
        MUST(doc.count == whole->count);
        MUST(memcmp(doc.nodes, whole->nodes, doc.count * sizeof(*doc.nodes)) == 0);
    }
    json_doc_deinit(&doc);
    buffer_deinit(&moved);
}

/* White space that makes a short text a long one, whose strings are checked ahead of the parser. */
#define BLANKS 600

static void read_behind_blanks(const struct json_doc *plain, struct bytes text)
{
    struct buffer moved;
    struct json_doc doc;

    buffer_init(&moved);
    for (uint32_t i = 0; i < BLANKS; i++)
        buffer_append_char(&moved, ' ');
    buffer_append(&moved, text);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    MUST(json_doc_parse(&doc, buffer_bytes(&moved)) == plain->error);
    MUST(doc.error_at == plain->error_at + (plain->error ? BLANKS : 0));
    MUST(doc.error || doc.count == plain->count);
    for (uint32_t i = 0; !doc.error && i < doc.count; i++) {
        struct json_node node = plain->nodes[i];

        node.start += BLANKS;
        node.end += BLANKS;
        MUST(memcmp(&doc.nodes[i], &node, sizeof(node)) == 0);
    }
    read_in_pieces(&doc, buffer_bytes(&moved), 100);
    json_doc_deinit(&doc);
    buffer_deinit(&moved);
}

static void check_string(const struct json_doc *doc, const struct json_node *node, struct arena *arena,
                         struct json_doc *again)
{
    struct bytes text = json_text(doc, node, arena);
    struct bytes raw = json_raw(doc, node);
    struct buffer out;

    MUST(raw.size >= 2 && raw.data[0] == '"' && raw.data[raw.size - 1] == '"');
    MUST(node->escaped == (memchr(raw.data, '\\', raw.size) != NULL));
    MUST(utf8_valid(text));
    MUST(memchr(text.data, '\0', text.size) == NULL);
    MUST(json_text_is(doc, node, text));
    buffer_init(&out);
    for (int ascii = 0; ascii < 2; ascii++) {
        buffer_clear(&out, 4096);
        (ascii ? json_write_string_ascii : json_write_string)(&out, text);
        MUST(json_doc_parse(again, buffer_bytes(&out)) == 0);
        MUST(json_text_is(again, json_root(again), text));
    }
    buffer_deinit(&out);
}

static void check_number(const struct json_doc *doc, const struct json_node *node)
{
    double value = 0;
    int64_t whole = 0;
    int r = json_double(doc, node, &value);

    if (json_i64(doc, node, &whole) == 0)
        MUST(r == 0 && fabs(value - (double)whole) <= fabs(value) * 1e-15);
}

static void check_nodes(const struct json_doc *doc, struct arena *arena)
{
    struct json_doc again;

    json_doc_init(&again, generous);
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct json_node *node = &doc->nodes[i];

        MUST(node->next > i && node->next <= doc->count);
        MUST(node->start < node->end && node->end <= doc->text.size);
        if (node->type == JSON_STRING || node->type == JSON_KEY)
            check_string(doc, node, arena, &again);
        else if (node->type == JSON_NUMBER)
            check_number(doc, node);
        /* a value's span is a text of its own; a few levels are enough */
        if (node->type != JSON_KEY && node->depth < 3) {
            MUST(json_doc_parse(&again, json_raw(doc, node)) == 0);
            MUST(again.count == node->next - i);
        }
    }
    json_doc_deinit(&again);
}

static void change_one(struct json_splice *splice, const struct json_node *container, uint32_t choice)
{
    const struct json_doc *doc = splice->doc;
    const struct json_node *child = json_first(doc, container);

    for (uint32_t i = choice / 16 % 8; child && i > 0 && json_after(doc, container, child); i--)
        child = json_after(doc, container, child);
    switch (choice % 8) {
    case 0:
        json_splice_replace(splice, json_is(child, JSON_KEY) ? child + 1 : child, BYTES("[\"new\"]"));
        break;
    case 1:
        json_splice_rename(splice, child, BYTES("renamed"));
        break;
    case 2:
        json_splice_prepend(splice, container, BYTES("{}"));
        break;
    case 3:
        json_splice_add(splice, "added", BYTES("null"));
        break;
    default:
        json_splice_remove(splice, container, json_is(child, JSON_KEY) ? child : NULL);
    }
}

static void check_splices(const struct json_doc *doc, struct arena *arena, uint32_t seed)
{
    struct json_splice splice;
    struct json_doc again;
    struct buffer out;

    buffer_init(&out);
    json_doc_init(&again, generous);
    json_splice_init(&splice, doc, arena);
    for (uint32_t i = next_random(&seed) % 12; i > 0; i--)
        change_one(&splice, &doc->nodes[next_random(&seed) % doc->count], next_random(&seed));
    json_splice_write(&splice, &out);
    MUST(json_doc_parse(&again, buffer_bytes(&out)) == 0);
    MUST(!json_splice_clean(&splice) || bytes_equal(buffer_bytes(&out), doc->text));
    json_doc_deinit(&again);
    buffer_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = {(const char *)data, size};
    uint32_t seed = (uint32_t)size;
    struct json_doc doc;
    struct arena arena;

    for (size_t i = 0; i < size; i++)
        seed = seed * 31 + data[i];
    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_parse(&doc, text);
    read_in_pieces(&doc, text, 1);
    read_in_pieces(&doc, text, 20);
    read_behind_blanks(&doc, text);
    if (json_root(&doc)) {
        check_nodes(&doc, &arena);
        for (uint32_t i = 0; i < 4; i++)
            check_splices(&doc, &arena, seed + i);
        MUST(json_doc_parse(&doc, text) == 0);
    }
    json_doc_deinit(&doc);
    arena_deinit(&arena);
    return 0;
}
