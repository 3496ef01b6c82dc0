/*
 * A stream of tokens, one walk: no digest per level, no text written anew. Each token begins with its kind and can be
 * told from whatever follows, so two values give one stream only when they are the same value. Members are sorted
 * before they are walked, by pointers; strings without escapes are added where they stand.
 */
#include "json/json_digest.h"

#include "base/alloc.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>

/* Below this, sorting by insertion is quicker; above, an enemy might have chosen the order. */
#define FEW 16

/* --- sorted members --- */

struct member {
    struct bytes name;
    const struct json_node *key;
};

static int by_name(const void *left, const void *right)
{
    const struct member *a = left, *b = right;
    int order = memcmp(a->name.data, b->name.data, a->name.size < b->name.size ? a->name.size : b->name.size);

    if (order == 0)
        order = (a->name.size > b->name.size) - (a->name.size < b->name.size);
    return order ? order : (a->key > b->key) - (a->key < b->key);
}

static void sort(struct member *members, uint32_t count)
{
    if (count > FEW) {
        qsort(members, count, sizeof(*members), by_name);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        struct member moved = members[i];
        uint32_t at = i;

        for (; at > 0 && by_name(&members[at - 1], &moved) > 0; at--)
            members[at] = members[at - 1];
        members[at] = moved;
    }
}

static struct member *sorted_members(const struct json_doc *doc, const struct json_node *object, struct arena *arena,
                                     uint32_t *ret_count)
{
    struct member *members = arena_alloc(arena, json_length(doc, object) * sizeof(*members));
    uint32_t count = 0;

    for (const struct json_node *key = json_first(doc, object); key; key = json_after(doc, object, key))
        members[count++] = (struct member){json_text(doc, key, arena), key};
    sort(members, count);
    *ret_count = count;
    return members;
}

const struct json_node **json_sorted_keys(const struct json_doc *doc, const struct json_node *object,
                                          struct arena *arena, uint32_t *ret_count)
{
    struct member *members = sorted_members(doc, object, arena, ret_count);
    const struct json_node **keys = arena_alloc(arena, *ret_count * sizeof(*keys));

    for (uint32_t i = 0; i < *ret_count; i++)
        keys[i] = members[i].key;
    return keys;
}

/* --- numbers --- */

/* digits times ten to the exponent; of no digits: zero. */
struct decimal {
    bool negative;
    struct bytes digits;    /* from the first to the last that is not 0; the point may stand among them */
    int64_t exponent;       /* of the last one */
};

#define EXPONENT_DIGITS 15 /* no more of them, and sums of exponents and sizes stay in an int64_t */

/* False when it has more digits; *RET is then made of the first of them. */
static bool read_exponent(struct bytes text, int64_t *ret)
{
    bool negative = text.size && text.data[0] == '-';

    if (text.size && (negative || text.data[0] == '+'))
        text = bytes_skip(text, 1);
    while (text.size && text.data[0] == '0')
        text = bytes_skip(text, 1);
    *ret = 0;
    for (size_t i = 0; i < text.size && i < EXPONENT_DIGITS; i++)
        *ret = *ret * 10 + (text.data[i] - '0');
    if (negative)
        *ret = -*ret;
    return text.size <= EXPONENT_DIGITS;
}

static bool is_filling(char byte)
{
    return byte == '0' || byte == '.';
}

/* False when its exponent is too large to be told. */
static bool read_decimal(struct bytes raw, struct decimal *ret)
{
    bool negative = raw.size && raw.data[0] == '-', bounded = true;
    size_t start = negative, end = start, point = raw.size;
    int64_t exponent = 0;

    for (; end < raw.size && (raw.data[end] | 0x20) != 'e'; end++)
        if (raw.data[end] == '.')
            point = end;
    if (end < raw.size)
        bounded = read_exponent(bytes_skip(raw, end + 1), &exponent);
    if (point < end)
        exponent -= (int64_t)(end - point - 1);
    for (; end > start && is_filling(raw.data[end - 1]); end--)
        exponent += raw.data[end - 1] == '0';
    while (start < end && is_filling(raw.data[start]))
        start++;
    *ret = (struct decimal){negative, {raw.data + start, end - start}, exponent};
    return bounded;
}

/* All there is to know: sign, exponent, and every digit. */
static void add_exact(struct digest *digest, const struct decimal *number)
{
    struct bytes digits = number->digits;
    size_t point = bytes_find(digits, BYTES("."));

    digest_add(digest, number->negative ? BYTES("i-") : BYTES("i+"));
    digest_add_u64(digest, (uint64_t)number->exponent);
    digest_add_u64(digest, digits.size - (point < digits.size));
    digest_add(digest, (struct bytes){digits.data, point});
    if (point < digits.size)
        digest_add(digest, bytes_skip(digits, point + 1));
}

/* Few digits and a power of ten, both exact as doubles, have a quotient that is the nearest one. */
static bool divide(const struct decimal *number, double *ret)
{
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t digits = 0;

    if (number->digits.size > 16 || number->exponent <= -(int64_t)ARRAY_SIZE(powers))
        return false;
    for (size_t i = 0; i < number->digits.size; i++)
        if (number->digits.data[i] != '.')
            digits = digits * 10 + (uint64_t)(number->digits.data[i] - '0');
    if (digits > UINT64_C(1) << 53)
        return false;
    *ret = (number->negative ? -(double)digits : (double)digits) / powers[-number->exponent];
    return true;
}

static double nearest(struct bytes raw, const struct decimal *number)
{
    char short_text[64];
    char *text = short_text;
    double value;

    if (divide(number, &value))
        return value;
    if (raw.size >= sizeof(short_text))
        text = alloc_bytes(raw.size + 1);
    memcpy(text, raw.data, raw.size);
    text[raw.size] = '\0';
    value = strtod(text, NULL);
    if (text != short_text)
        alloc_free(text);
    return value;
}

static void add_fraction(struct digest *digest, struct bytes raw, const struct decimal *number)
{
    double value = nearest(raw, number);
    uint64_t bits;

    if (!isfinite(value)) {
        add_exact(digest, number);
        return;
    }
    memcpy(&bits, &value, sizeof(bits));
    digest_add_byte(digest, 'd');
    digest_add_u64(digest, bits);
}

void json_digest_number(struct digest *digest, struct bytes number)
{
    static const struct decimal zero;
    struct decimal decimal;
    bool bounded = read_decimal(number, &decimal);

    if (decimal.digits.size == 0) {
        add_exact(digest, &zero);
    } else if (decimal.exponent < 0) {
        add_fraction(digest, number, &decimal);
    } else if (bounded) {
        add_exact(digest, &decimal);
    } else {
        digest_add_byte(digest, 'w');
        digest_add_text(digest, number);
    }
}

/* --- values --- */

void json_digest_text(struct digest *digest, struct bytes text)
{
    digest_add_byte(digest, 's');
    digest_add_text(digest, text);
}

static void add_object(struct digest *digest, const struct json_doc *doc, const struct json_node *object,
                       struct arena *arena)
{
    uint32_t count;
    const struct member *members = sorted_members(doc, object, arena, &count);

    digest_add_byte(digest, '{');
    for (uint32_t i = 0; i < count; i++) {
        json_digest_text(digest, members[i].name);
        json_digest(digest, doc, json_value(doc, members[i].key), arena);
    }
    digest_add_byte(digest, '}');
}

static void add_array(struct digest *digest, const struct json_doc *doc, const struct json_node *array,
                      struct arena *arena)
{
    digest_add_byte(digest, '[');
    for (const struct json_node *item = json_first(doc, array); item; item = json_after(doc, array, item))
        json_digest(digest, doc, item, arena);
    digest_add_byte(digest, ']');
}

static void add_word(struct digest *digest, enum json_type type)
{
    digest_add_byte(digest, type == JSON_TRUE ? 't' : type == JSON_FALSE ? 'f' : 'n');
}

/* As deep as the document, whose depth is limited. */
void json_digest(struct digest *digest, const struct json_doc *doc, const struct json_node *node, struct arena *arena)
{
    enum json_type type = node ? (enum json_type)node->type : JSON_NULL;

    switch (type) {
    case JSON_OBJECT:
        add_object(digest, doc, node, arena);
        break;
    case JSON_ARRAY:
        add_array(digest, doc, node, arena);
        break;
    case JSON_STRING:
    case JSON_KEY:
        json_digest_text(digest, json_text(doc, node, arena));
        break;
    case JSON_NUMBER:
        json_digest_number(digest, json_raw(doc, node));
        break;
    default:
        add_word(digest, type);
    }
}

static void parse_and_add(struct digest *digest, struct bytes text, struct arena *arena)
{
    struct json_doc doc;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&doc, text) == 0) {
        json_digest(digest, &doc, json_root(&doc), arena);
    } else {
        digest_add_byte(digest, 'w');
        digest_add_text(digest, text);
    }
    json_doc_deinit(&doc);
}

void json_digest_json(struct digest *digest, struct bytes text, struct arena *arena)
{
    char first = text.size ? text.data[0] : '\0';

    if (first == '-' || (first >= '0' && first <= '9'))
        json_digest_number(digest, text);
    else if (bytes_equal(text, BYTES("true")) || bytes_equal(text, BYTES("false")))
        add_word(digest, first == 't' ? JSON_TRUE : JSON_FALSE);
    else if (first == '"' && text.size >= 2 && !memchr(text.data, '\\', text.size))
        json_digest_text(digest, (struct bytes){text.data + 1, text.size - 2});
    else
        parse_and_add(digest, text, arena);
}
