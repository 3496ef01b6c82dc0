/*
 * Reading a parsed text: a walk over the flat nodes, where a whole subtree is passed by one step to its
 * `next`.
 */
#include "json/json_doc.h"

#include "base/alloc.h"
#include "json/json_unescape.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

const struct json_node *json_root(const struct json_doc *doc)
{
    return doc->complete ? doc->nodes : NULL;
}

static bool is_container(const struct json_node *node)
{
    return json_is(node, JSON_OBJECT) || json_is(node, JSON_ARRAY);
}

const struct json_node *json_first(const struct json_doc *doc, const struct json_node *container)
{
    if (!is_container(container) || container->next == (uint32_t)(container - doc->nodes) + 1)
        return NULL;
    return container + 1;
}

const struct json_node *json_after(const struct json_doc *doc, const struct json_node *container,
                                   const struct json_node *node)
{
    uint32_t next;

    if (!is_container(container) || !node)
        return NULL;
    next = node->next;
    if (node->type == JSON_KEY)
        next = doc->nodes[next].next;
    return next < container->next ? &doc->nodes[next] : NULL;
}

const struct json_node *json_value(const struct json_doc *doc, const struct json_node *key)
{
    return json_is(key, JSON_KEY) ? key + 1 : NULL;
}

uint32_t json_length(const struct json_doc *doc, const struct json_node *container)
{
    uint32_t length = 0;

    for (const struct json_node *at = json_first(doc, container); at; at = json_after(doc, container, at))
        length++;
    return length;
}

const struct json_node *json_member(const struct json_doc *doc, const struct json_node *object,
                                    struct bytes member)
{
    const struct json_node *found = NULL;

    if (!json_is(object, JSON_OBJECT))
        return NULL;
    for (const struct json_node *key = json_first(doc, object); key; key = json_after(doc, object, key))
        if (json_text_is(doc, key, member))
            found = key + 1;
    return found;
}

static const struct json_node *item(const struct json_doc *doc, const struct json_node *array,
                                    struct bytes digits)
{
    const struct json_node *at = json_first(doc, array);
    int64_t index;

    if (bytes_to_i64(digits, &index) || index < 0)
        return NULL;
    while (at && index-- > 0)
        at = json_after(doc, array, at);
    return at;
}

const struct json_node *json_at(const struct json_doc *doc, const struct json_node *node, const char *path)
{
    while (node) {
        size_t size = strcspn(path, ".");
        struct bytes step = {path, size};

        node = json_is(node, JSON_ARRAY) ? item(doc, node, step) : json_member(doc, node, step);
        if (path[size] == '\0')
            break;
        path += size + 1;
    }
    return node;
}

/* --- values --- */

struct bytes json_raw(const struct json_doc *doc, const struct json_node *node)
{
    if (!node)
        return BYTES_NONE;
    return (struct bytes){doc->text.data + node->start, node->end - node->start};
}

static bool is_text(const struct json_node *node)
{
    return json_is(node, JSON_STRING) || json_is(node, JSON_KEY);
}

/* What stands between the quotes. */
static struct bytes inside(const struct json_doc *doc, const struct json_node *node)
{
    return (struct bytes){doc->text.data + node->start + 1, node->end - node->start - 2};
}

struct bytes json_text(const struct json_doc *doc, const struct json_node *node, struct arena *arena)
{
    struct bytes raw;
    char *decoded;

    if (!is_text(node))
        return BYTES_NONE;
    raw = inside(doc, node);
    if (!node->escaped)
        return raw;
    decoded = arena_alloc(arena, raw.size);
    return (struct bytes){decoded, json_unescape(raw, decoded)};
}

/* RAW decodes to TEXT; compared piece by piece, without memory. */
static bool decodes_to(struct bytes raw, struct bytes text)
{
    while (raw.size) {
        char one[4] = {raw.data[0]};
        size_t size = 1, taken = 1;

        if (raw.data[0] == '\\')
            taken = json_unescape_one(raw.data, one, &size);
        if (!bytes_start_with(text, (struct bytes){one, size}))
            return false;
        text = bytes_skip(text, size);
        raw = bytes_skip(raw, taken);
    }
    return text.size == 0;
}

bool json_text_is(const struct json_doc *doc, const struct json_node *node, struct bytes text)
{
    if (!is_text(node))
        return false;
    return node->escaped ? decodes_to(inside(doc, node), text) : bytes_equal(inside(doc, node), text);
}

/* --- numbers --- */

/* A number's digits without its point, and the power of ten they stand for. */
struct decimal {
    bool negative;
    struct bytes digits; /* from the first that is not 0; may hold the point */
    int64_t exponent;    /* of the last digit */
};

#define EXPONENT_LIMIT 1000000000000 /* beyond any text's length */

static int64_t read_exponent(struct bytes text)
{
    bool negative = text.data[0] == '-';
    int64_t value = 0;

    if (negative || text.data[0] == '+')
        text = bytes_skip(text, 1);
    for (size_t i = 0; i < text.size && value < EXPONENT_LIMIT; i++)
        value = value * 10 + (text.data[i] - '0');
    return negative ? -value : value;
}

static struct decimal read_decimal(struct bytes raw)
{
    struct decimal number = {.negative = raw.data[0] == '-'};
    size_t at = number.negative, end = at, point;

    while (end < raw.size && raw.data[end] != 'e' && raw.data[end] != 'E')
        end++;
    if (end < raw.size)
        number.exponent = read_exponent(bytes_skip(raw, end + 1));
    point = at + bytes_find((struct bytes){raw.data + at, end - at}, BYTES("."));
    if (point < end)
        number.exponent -= (int64_t)(end - point - 1);
    while (at < end && (raw.data[at] == '0' || raw.data[at] == '.'))
        at++;
    for (; end > at && (raw.data[end - 1] == '0' || raw.data[end - 1] == '.'); end--)
        number.exponent += raw.data[end - 1] == '0';
    number.digits = (struct bytes){raw.data + at, end - at};
    return number;
}

/* The digits, and then as many zeros as the exponent says. */
static int decimal_to_i64(const struct decimal *number, int64_t *ret)
{
    uint64_t limit = (uint64_t)INT64_MAX + number->negative;
    size_t size = number->digits.size + (size_t)number->exponent;
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        char byte = i < number->digits.size ? number->digits.data[i] : '0';
        unsigned digit = (unsigned)(byte - '0');

        if (byte == '.')
            continue;
        if (value > (limit - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *ret = (int64_t)(number->negative ? 0 - value : value);
    return 0;
}

int json_i64(const struct json_doc *doc, const struct json_node *node, int64_t *ret)
{
    struct decimal number;

    if (!json_is(node, JSON_NUMBER))
        return -EINVAL;
    number = read_decimal(json_raw(doc, node));
    if (number.digits.size == 0) {
        *ret = 0;
        return 0;
    }
    if (number.exponent < 0)
        return -EINVAL;
    if ((int64_t)number.digits.size + number.exponent > 20)
        return -ERANGE;
    return decimal_to_i64(&number, ret);
}

/* One that is longer than bytes_to_double() takes. */
static double read_long(struct bytes raw)
{
    char *text = memcpy(alloc_bytes(raw.size + 1), raw.data, raw.size);
    double value;

    text[raw.size] = '\0';
    value = strtod(text, NULL);
    alloc_free(text);
    return value;
}

int json_double(const struct json_doc *doc, const struct json_node *node, double *ret)
{
    struct bytes raw = json_raw(doc, node);
    double value;

    if (!json_is(node, JSON_NUMBER))
        return -EINVAL;
    if (bytes_to_double(raw, &value) < 0)
        value = read_long(raw);
    if (!isfinite(value))
        return -ERANGE;
    *ret = value;
    return 0;
}
