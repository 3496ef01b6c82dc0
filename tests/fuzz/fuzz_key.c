/*
 * A JSON text and the same one written in another way (members shuffled, other white space, other escapes, other forms
 * of numbers) have one digest, and with one value changed another. Where the text is a question, both forms of it have
 * one key for every kind of backend, and a member more gives another.
 *
 * The first eight bytes choose how it is rewritten.
 */
#include "chat/steering.h"
#include "dialect/backend_key.h"
#include "dialect/client.h"
#include "json/json_digest.h"
#include "json/json_write.h"

#include <stdlib.h>

#define SHUFFLED_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint8_t bytes[DIGEST_SIZE];
};

static struct digest *digest, *scratch;

static void require(bool good)
{
    if (!good)
        abort();
}

/* --- writing in another way --- */

struct rewriter {
    const struct json_doc *doc;
    struct arena *arena;
    struct buffer *out;
    uint64_t random;
    const struct json_node *changed;    /* written as another value; or NULL */
};

static unsigned dice(struct rewriter *rewriter, unsigned sides)
{
    rewriter->random ^= rewriter->random << 13;
    rewriter->random ^= rewriter->random >> 7;
    rewriter->random ^= rewriter->random << 17;
    return (unsigned)(rewriter->random >> 33) % sides;
}

static void write_space(struct rewriter *rewriter)
{
    while (dice(rewriter, 4) == 0)
        buffer_append_char(rewriter->out, " \t\r\n"[dice(rewriter, 4)]);
}

/* The character at TEXT, and how many bytes it has. */
static uint32_t decode(struct bytes text, size_t *ret_size)
{
    unsigned char first = (unsigned char)text.data[0];
    size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = size == 1 ? first : first & (0x7fu >> size);

    for (size_t i = 1; i < size; i++)
        code = code << 6 | ((unsigned char)text.data[i] & 0x3f);
    *ret_size = size;
    return code;
}

static void write_escaped(struct rewriter *rewriter, uint32_t code)
{
    bool large = dice(rewriter, 2);

    if (code >= 0x10000) {
        buffer_printf(rewriter->out, "\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)));
        code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    if (large)
        buffer_printf(rewriter->out, "\\u%04X", (unsigned)code);
    else
        buffer_printf(rewriter->out, "\\u%04x", (unsigned)code);
}

static void write_text(struct rewriter *rewriter, struct bytes text)
{
    buffer_append_char(rewriter->out, '"');
    while (text.size) {
        size_t size;
        uint32_t code = decode(text, &size);

        if (code < 0x20 || code == '"' || code == '\\' || dice(rewriter, 8) == 0)
            write_escaped(rewriter, code);
        else
            buffer_append(rewriter->out, (struct bytes){text.data, size});
        text = bytes_skip(text, size);
    }
    buffer_append_char(rewriter->out, '"');
}

/* DIGITS times ten to EXPONENT, as one of many. */
static void write_digits(struct rewriter *rewriter, struct bytes digits, int64_t exponent)
{
    struct buffer *out = rewriter->out;

    switch (dice(rewriter, 3)) {
    case 0:
        buffer_append(out, digits);
        buffer_append_char(out, dice(rewriter, 2) ? 'e' : 'E');
        break;
    case 1:
        buffer_append(out, digits);
        buffer_append(out, BYTES("0e"));
        exponent--;
        break;
    default:
        buffer_append(out, (struct bytes){digits.data, 1});
        buffer_append_char(out, '.');
        buffer_append(out, bytes_skip(digits, 1));
        buffer_append(out, BYTES("00e"));
        exponent += (int64_t)digits.size - 1;
    }
    if (exponent >= 0 && dice(rewriter, 2))
        buffer_append_char(out, '+');
    buffer_append_i64(out, exponent);
}

static void write_number(struct rewriter *rewriter, struct bytes raw)
{
    static const char *const zeros[] = {"0", "-0", "0.0", "0e7", "0.00E-1"};
    char digits[40];
    size_t count = 0, at = raw.data[0] == '-', fraction = 0;
    bool point = false;
    int64_t exponent = 0;

    for (; raw.size < sizeof(digits) && at < raw.size && (raw.data[at] | 0x20) != 'e'; at++) {
        point |= raw.data[at] == '.';
        fraction += point && raw.data[at] != '.';
        if (raw.data[at] != '.' && (count || raw.data[at] != '0'))
            digits[count++] = raw.data[at];
    }
    if (at + 1 < raw.size && raw.data[at + 1] == '+')
        at++;
    if (raw.size >= sizeof(digits) || dice(rewriter, 4) == 0 ||
        (at < raw.size && (bytes_to_i64(bytes_skip(raw, at + 1), &exponent) < 0 || llabs(exponent) > 100000))) {
        buffer_append(rewriter->out, raw);
        return;
    }
    if (count == 0) {
        buffer_append_text(rewriter->out, zeros[dice(rewriter, ARRAY_SIZE(zeros))]);
        return;
    }
    if (raw.data[0] == '-')
        buffer_append_char(rewriter->out, '-');
    write_digits(rewriter, (struct bytes){digits, count}, exponent - (int64_t)fraction);
}

static void write_value(struct rewriter *rewriter, const struct json_node *node);

/* Any order but that of members with one name among themselves. */
static void shuffle(struct rewriter *rewriter, const struct json_node **keys, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = dice(rewriter, i);
        const struct json_node *moved = keys[i - 1];

        keys[i - 1] = keys[other];
        keys[other] = moved;
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++) {
            const struct json_node *moved = keys[i];

            if (keys[j] < moved &&
                json_text_is(rewriter->doc, keys[j], json_text(rewriter->doc, moved, rewriter->arena))) {
                keys[i] = keys[j];
                keys[j] = moved;
            }
        }
}

static void write_key(struct rewriter *rewriter, const struct json_node *key)
{
    struct bytes name = json_text(rewriter->doc, key, rewriter->arena);

    if (key == rewriter->changed)
        name = arena_printf(rewriter->arena, "%.*sx", BYTES_ARG(name));
    write_text(rewriter, name);
    write_space(rewriter);
    buffer_append_char(rewriter->out, ':');
    write_value(rewriter, json_value(rewriter->doc, key));
}

static void write_object(struct rewriter *rewriter, const struct json_node *object)
{
    uint32_t count = json_length(rewriter->doc, object), at = 0;
    const struct json_node **keys = arena_alloc(rewriter->arena, (count + 1) * sizeof(*keys)), *key;

    for (key = json_first(rewriter->doc, object); key; key = json_after(rewriter->doc, object, key))
        keys[at++] = key;
    if (count <= SHUFFLED_MAX)
        shuffle(rewriter, keys, count);
    buffer_append_char(rewriter->out, '{');
    write_space(rewriter);
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buffer_append_char(rewriter->out, ',');
        write_space(rewriter);
        write_key(rewriter, keys[i]);
    }
    if (object == rewriter->changed)
        buffer_append_text(rewriter->out, count ? ",\"\":null" : "\"\":null");
    buffer_append_char(rewriter->out, '}');
}

static void write_array(struct rewriter *rewriter, const struct json_node *array)
{
    const struct json_node *first = json_first(rewriter->doc, array), *item;

    buffer_append_char(rewriter->out, '[');
    write_space(rewriter);
    for (item = first; item; item = json_after(rewriter->doc, array, item)) {
        if (item != first)
            buffer_append_char(rewriter->out, ',');
        write_value(rewriter, item);
    }
    if (array == rewriter->changed)
        buffer_append_text(rewriter->out, first ? ",null" : "null");
    buffer_append_char(rewriter->out, ']');
}

static void write_string(struct rewriter *rewriter, const struct json_node *node)
{
    struct bytes text = json_text(rewriter->doc, node, rewriter->arena);

    if (node == rewriter->changed)
        text = arena_printf(rewriter->arena, "%.*sx", BYTES_ARG(text));
    write_text(rewriter, text);
}

static void write_value(struct rewriter *rewriter, const struct json_node *node)
{
    bool changed = node == rewriter->changed;

    write_space(rewriter);
    switch (node->type) {
    case JSON_OBJECT:
        write_object(rewriter, node);
        break;
    case JSON_ARRAY:
        write_array(rewriter, node);
        break;
    case JSON_STRING:
        write_string(rewriter, node);
        break;
    case JSON_NUMBER:
        if (changed)
            buffer_append_text(rewriter->out, "\"0\"");
        else
            write_number(rewriter, json_raw(rewriter->doc, node));
        break;
    default:
        buffer_append_text(rewriter->out, node->type == JSON_NULL   ? (changed ? "false" : "null")
                                          : node->type == JSON_TRUE ? (changed ? "null" : "true")
                                          : changed                 ? "true"
                                                                    : "false");
    }
    write_space(rewriter);
}

/* --- digests --- */

static struct sum sum_of(const struct json_doc *doc, struct arena *arena)
{
    struct sum sum;

    digest_begin(digest);
    json_digest(digest, doc, json_root(doc), arena);
    digest_end(digest, sum.bytes);
    return sum;
}

static bool equal(struct sum a, struct sum b)
{
    return digest_equal(a.bytes, b.bytes);
}

/* --- keys --- */

static bool steers(const struct chat_request *request, enum config_kind kind)
{
    return (kind == KIND_GOODFIRE || kind == KIND_ECHO) &&
           !steering_controller_empty(request->doc, chat_field(request, FIELD_CONTROLLER));
}

/* The key told is the key made, and told in good JSON. */
static enum repeat_reason told_key(const struct backend_ask *ask, const uint8_t scope[DIGEST_SIZE], struct sum *ret)
{
    enum repeat_reason reason = backend_key(ask, 1, CACHE_ALWAYS, scope, digest, ret->bytes);
    struct key_parts parts = {.digest = scratch};
    struct json_doc told;
    struct buffer out;
    struct sum sum;

    buffer_init(&out);
    parts.out = &out;
    require(backend_key_told(ask, 1, CACHE_ALWAYS, scope, digest, &parts, sum.bytes) == reason);
    require(reason != REPEAT_YES || memcmp(sum.bytes, ret->bytes, DIGEST_SIZE) == 0);
    json_doc_init(&told, ((struct json_limits){.depth = 80, .nodes = 100000}));
    require(out.size == 0 || json_doc_parse(&told, buffer_bytes(&out)) == 0);
    json_doc_deinit(&told);
    buffer_deinit(&out);
    return reason;
}

static enum repeat_reason key_of(const struct chat_request *request, enum chat_shape client, enum config_kind kind,
                                 struct arena *arena, struct sum *ret)
{
    static const uint8_t scope[DIGEST_SIZE];
    struct config_backend backend = {.name = BYTES("b"), .seeds = true, .root = BYTES("")};
    struct chat_steering steering = {0};
    struct backend_ask ask = {
        .request = request,
        .client = client,
        .backend = &backend,
        .kind = kind,
        .upstream_model = BYTES("m"),
        .steering = &steering,
        .arena = arena,
    };

    if (steers(request, kind))
        steering.controller = json_raw(request->doc, chat_field(request, FIELD_CONTROLLER));
    return told_key(&ask, scope, ret);
}

static void compare_keys(const struct json_doc *docs[3], const struct client_dialect *door,
                         enum chat_operation operation)
{
    struct chat_request requests[3];
    struct failure failure;
    struct arena arena;
    bool good[3];

    arena_init(&arena);
    for (int i = 0; i < 3; i++)
        good[i] = door->understand(&requests[i], docs[i], operation, &arena, &failure) == 0;
    require(good[0] == good[1] && good[0] == good[2]);
    for (int kind = KIND_OPENAI; good[0] && kind < KIND_COUNT; kind++) {
        enum repeat_reason reasons[3];
        struct sum sums[3];

        for (int i = 0; i < 3; i++)
            reasons[i] = key_of(&requests[i], door->shape, (enum config_kind)kind, &arena, &sums[i]);
        require(reasons[0] == reasons[1] && reasons[0] == reasons[2]);
        require(reasons[0] != REPEAT_YES || (equal(sums[0], sums[1]) && !equal(sums[0], sums[2])));
    }
    arena_deinit(&arena);
}

/* --- */

static void parse(struct json_doc *doc, const struct buffer *text)
{
    json_doc_init(doc, (struct json_limits){.depth = 64, .nodes = 200000});
    require(json_doc_parse(doc, buffer_bytes(text)) == 0);
}

/* TEXT, an object that is not empty, with a member that no schema knows. */
static void add_member(const struct buffer *text, struct buffer *out)
{
    size_t end = text->size;

    while (text->data[end - 1] != '}')
        end--;
    buffer_append(out, (struct bytes){text->data, end - 1});
    buffer_append_text(out, ",\"\\u0001fuzz\":1}");
}

static void compare_questions(const struct json_doc *doc, const struct json_doc *other, const struct buffer *text)
{
    static const struct client_dialect *const doors[] = {&client_openai, &client_goodfire};
    struct buffer more;
    struct json_doc added;
    const struct json_doc *docs[3] = {doc, other, &added};

    if (!json_is(json_root(doc), JSON_OBJECT) || !json_first(doc, json_root(doc)))
        return;
    buffer_init(&more);
    add_member(text, &more);
    parse(&added, &more);
    for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
        compare_keys(docs, doors[i], CHAT_COMPLETION);
        compare_keys(docs, doors[i], CHAT_LOGITS);
    }
    json_doc_deinit(&added);
    buffer_deinit(&more);
}

static void compare(const struct json_doc *doc, uint64_t random, struct arena *arena)
{
    struct buffer same, different;
    struct json_doc same_doc, different_doc;
    struct rewriter rewriter = {.doc = doc, .arena = arena, .out = &same, .random = random | 1};

    buffer_init(&same);
    buffer_init(&different);
    write_value(&rewriter, json_root(doc));
    rewriter.out = &different;
    rewriter.changed = &doc->nodes[dice(&rewriter, doc->count)];
    write_value(&rewriter, json_root(doc));
    parse(&same_doc, &same);
    parse(&different_doc, &different);
    require(equal(sum_of(doc, arena), sum_of(&same_doc, arena)));
    require(!equal(sum_of(doc, arena), sum_of(&different_doc, arena)));
    compare_questions(doc, &same_doc, &same);
    json_doc_deinit(&different_doc);
    json_doc_deinit(&same_doc);
    buffer_deinit(&different);
    buffer_deinit(&same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct json_doc doc;
    uint64_t random;

    if (size <= sizeof(random))
        return 0;
    if (!digest)
        digest = digest_new(BYTES_NONE);
    if (!scratch)
        scratch = digest_new(BYTES_NONE);
    memcpy(&random, data, sizeof(random));
    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&doc, (struct bytes){(const char *)data + sizeof(random), size - sizeof(random)}) == 0)
        compare(&doc, random, &arena);
    json_doc_deinit(&doc);
    arena_deinit(&arena);
    return 0;
}
