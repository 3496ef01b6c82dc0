/*
 * A record whose every text is arbitrary bytes is one JSON object on one line, and one span. The first byte of a piece
 * is its length; numbers come out of the same bytes.
 */
#include "json/json_doc.h"
#include "json/json_write.h"
#include "record/trace.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
    if (!good)
        abort();
}

static struct bytes next_piece(struct bytes *rest)
{
    struct bytes piece = BYTES_NONE;

    if (rest->size == 0)
        return piece;
    piece = (struct bytes){rest->data + 1, (unsigned char)rest->data[0]};
    if (piece.size > rest->size - 1)
        piece.size = rest->size - 1;
    *rest = bytes_skip(*rest, piece.size + 1);
    return piece;
}

static uint64_t next_number(struct bytes *rest)
{
    struct bytes piece = next_piece(rest);
    uint64_t number = 0;

    memcpy(&number, piece.data ? piece.data : "", piece.size < sizeof(number) ? piece.size : sizeof(number));
    return number;
}

/* What is never from outside has its own form. */
static void fill_field(struct record *record, const struct record_field *field, struct bytes *rest,
                       struct bytes quoted)
{
    static const char *const words[] = {NULL, "ok", "UPSTREAM_TIMEOUT", ""};
    void *value = (char *)record + field->offset;

    switch (field->kind) {
    case RECORD_TEXT:
        *(struct bytes *)value = next_piece(rest);
        break;
    case RECORD_PLAIN:
        *(struct bytes *)value = next_number(rest) % 2 ? BYTES("00f067aa0ba902b7") : BYTES_NONE;
        break;
    case RECORD_WORD:
        *(const char **)value = words[next_number(rest) % ARRAY_SIZE(words)];
        break;
    case RECORD_JSON:
        *(struct bytes *)value = next_number(rest) % 2 ? quoted : BYTES_NONE;
        break;
    case RECORD_STATUS:
        *(unsigned *)value = (unsigned)next_number(rest);
        break;
    case RECORD_FLAG:
        *(bool *)value = next_number(rest) % 2;
        break;
    case RECORD_TRIES_LIST:
        record->try_count = (unsigned)next_number(rest);
        for (unsigned i = 0; i < RECORD_TRIES; i++)
            record->tries[i] = (struct record_try){next_piece(rest), words[next_number(rest) % ARRAY_SIZE(words)],
                                                   (unsigned)next_number(rest), next_number(rest)};
        break;
    default:
        *(uint64_t *)value = next_number(rest);
    }
}

static void expect_object(struct buffer *text)
{
    struct json_doc doc;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    expect(json_doc_parse(&doc, buffer_bytes(text)) == 0);
    expect(json_is(json_root(&doc), JSON_OBJECT));
    expect(!memchr(text->data, '\n', text->size));
    json_doc_deinit(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = {(const char *)data, size};
    struct record record = {.has_cost = size % 2};
    struct buffer out, quoted;

    buffer_init(&out);
    buffer_init(&quoted);
    json_write_string(&quoted, BYTES("a \"body\"\n"));
    for (unsigned i = 0; i < record_field_count; i++)
        fill_field(&record, &record_fields[i], &rest, buffer_bytes(&quoted));
    buffer_append_text(&out, "{\"seq\":1,");
    record_write(&record, &out);
    expect_object(&out);
    out.size = 0;
    trace_write_span(&record, &out);
    expect_object(&out);
    buffer_deinit(&quoted);
    buffer_deinit(&out);
    return 0;
}
