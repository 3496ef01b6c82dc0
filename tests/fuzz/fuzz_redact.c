/*
 * Bodies, redacted: two bytes say how much is kept, the rest is the body. What comes is at most so long, is JSON on one
 * line, is a string when it was cut or is no JSON, and holds no match and nothing that a path means.
 */
#include "base/utf8.h"
#include "record/redact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes fields[] = {{"user", 4}, {"a.*.b", 5}};
static struct bytes patterns[] = {{"sk-[A-Za-z0-9]+", 15}, {"x*", 2}, {"(?:[a-z]+ ?)+@", 14}, {"777", 3}};
static const struct config_log with_paths = {.redact_fields = fields,
                                             .redact_field_count = ARRAY_SIZE(fields),
                                             .redact_patterns = patterns,
                                             .redact_pattern_count = ARRAY_SIZE(patterns)};
static const struct config_log with_patterns = {.redact_patterns = patterns,
                                                .redact_pattern_count = ARRAY_SIZE(patterns)};

static void expect(bool good)
{
    if (!good)
        abort();
}

static bool has_match(struct bytes text)
{
    for (size_t at; (at = bytes_find(text, BYTES("sk-"))) < text.size; text = bytes_skip(text, at + 3)) {
        unsigned char next = at + 3 < text.size ? (unsigned char)text.data[at + 3] : ' ';

        if ((next >= '0' && next <= '9') || ((next | 0x20) >= 'a' && (next | 0x20) <= 'z'))
            return true;
    }
    return memchr(text.data ? text.data : "", 'x', text.size) != NULL ||
           bytes_find(text, BYTES("777")) < text.size;
}

/* No value of NODE and below; names of members stay. */
static void expect_clean(const struct json_doc *doc, struct arena *arena)
{
    for (uint32_t i = 0; i < doc->count; i++) {
        if (doc->nodes[i].type == JSON_STRING)
            expect(!has_match(json_text(doc, &doc->nodes[i], arena)));
        else if (doc->nodes[i].type == JSON_NUMBER)
            expect(!has_match(json_raw(doc, &doc->nodes[i])));
    }
}

static void expect_redacted(const struct json_doc *doc, const struct json_node *object)
{
    for (const struct json_node *key = json_first(doc, object); key; key = json_after(doc, object, key))
        if (json_is(key, JSON_KEY) && json_text_is(doc, key, BYTES("user")))
            expect(json_text_is(doc, json_value(doc, key), BYTES("[redacted]")));
}

static void redact_with(const struct config_log *log, struct bytes json, size_t most)
{
    struct redact *redact = redact_new(log);
    struct json_doc doc, again;
    struct arena arena;
    struct buffer out;
    bool good, cut;

    arena_init(&arena);
    buffer_init(&out);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_init(&again, JSON_LIMITS_DEFAULT);
    redact_write(redact, json, &doc, most, &out, &cut);
    good = json_root(&doc) != NULL;
    expect(out.size <= (most < 2 ? 2 : most));
    expect(!memchr(out.data, '\n', out.size));
    expect(json_doc_parse(&again, buffer_bytes(&out)) == 0);
    expect((good && !cut) || json_is(json_root(&again), JSON_STRING));
    expect(!good || cut || again.count <= doc.count);
    if (!good || !cut)
        expect_clean(&again, &arena);
    if (log == &with_paths && !cut)
        expect_redacted(&again, json_root(&again));
    json_doc_deinit(&again);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
    arena_deinit(&arena);
    redact_free(redact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes json = {(const char *)data + 2, size - 2};

    if (size < 2)
        return 0;
    redact_with(&with_paths, json, (size_t)(data[0] << 8 | data[1]));
    redact_with(&with_patterns, json, (size_t)(data[0] << 8 | data[1]));
    return 0;
}
