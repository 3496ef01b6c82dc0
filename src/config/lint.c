/*
 * libcyaml stops at its first error and knows no lines. So the tree is walked along its schema tables first,
 * and libcyaml only ever loads what passed here. The walk is as deep as the schema, whatever the file does.
 */
#include "config/lint.h"

#include <errno.h>

#define SUGGEST_MAX 32 /* longer words get no suggestion */

static void lint_value(const struct tree_node *node, const cyaml_schema_value_t *schema,
                       struct report *report);

static uint32_t least(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t smaller = a < b ? a : b;

    return smaller < c ? smaller : c;
}

/* How many letters must be added, removed or replaced. */
static uint32_t distance(struct bytes one, struct bytes other)
{
    uint32_t row[SUGGEST_MAX + 1];

    for (uint32_t j = 0; j <= other.size; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= one.size; i++) {
        uint32_t corner = row[0];

        row[0] = i;
        for (uint32_t j = 1; j <= other.size; j++) {
            uint32_t above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1, corner + (one.data[i - 1] != other.data[j - 1]));
            corner = above;
        }
    }
    return row[other.size];
}

/* Keeps the nearest of the words it is shown. */
struct nearest {
    struct bytes word;
    const char *best;
    uint32_t distance;
};

static void nearest_try(struct nearest *nearest, const char *candidate)
{
    struct bytes word = bytes_of(candidate);
    uint32_t far;

    if (nearest->word.size > SUGGEST_MAX || word.size > SUGGEST_MAX)
        return;
    far = distance(nearest->word, word);
    if (far <= word.size / 3 && (!nearest->best || far < nearest->distance)) {
        nearest->best = candidate;
        nearest->distance = far;
    }
}

/* "; did you mean "url"?", or nothing. */
static struct bytes suggestion(struct report *report, const struct nearest *nearest)
{
    if (!nearest->best)
        return BYTES("");
    return arena_printf(&report->arena, "; did you mean \"%s\"?", nearest->best);
}

static void lint_text(const struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    struct tree_node plain = *node;

    plain.plain = true;
    if (node->type != TREE_SCALAR)
        report_node(report, node, "must be text");
    else if (tree_is_null(node))
        report_node(report, node, "has no value");
    else if (node->text.size == 0)
        report_node(report, node, "must not be empty");
    else if (node->text.size > schema->string.max)
        report_node(report, node, "is longer than %u bytes", schema->string.max);
    else if ((schema->flags & CYAML_FLAG_POINTER_NULL_STR) == CYAML_FLAG_POINTER_NULL_STR &&
             tree_is_null(&plain))
        report_node(report, node, "%s cannot be used here", report_quote(report, node->text));
}

static void lint_number(const struct tree_node *node, const cyaml_schema_value_t *schema,
                        struct report *report)
{
    bool wide = schema->data_size > sizeof(uint32_t);
    int64_t most = wide ? INT64_MAX : UINT32_MAX;
    int64_t number;
    int r;

    if (node->type != TREE_SCALAR || !node->plain) {
        report_node(report, node, "must be a whole number");
        return;
    }
    r = bytes_to_i64(node->text, &number);
    if (r == -EINVAL || (node->text.size > 1 && node->text.data[0] == '0'))
        report_node(report, node, "must be a whole number, not %s", report_quote(report, node->text));
    else if (r < 0 || number < 0 || number > most)
        report_node(report, node, "must be from 0 to %lld", (long long)most);
}

static void lint_word(const struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    struct nearest nearest = {.word = node->text};
    struct bytes hint;
    struct buffer words;

    if (node->type != TREE_SCALAR) {
        report_node(report, node, "must be text");
        return;
    }
    buffer_init(&words);
    for (uint32_t i = 0; i < schema->enumeration.count; i++) {
        const char *word = schema->enumeration.strings[i].str;

        if (bytes_equal(node->text, bytes_of(word))) {
            buffer_deinit(&words);
            return;
        }
        nearest_try(&nearest, word);
        buffer_printf(&words, "%s%s", i ? ", " : "", word);
    }
    hint = suggestion(report, &nearest);
    report_node(report, node, "%s is none of %.*s%.*s", report_quote(report, node->text), (int)words.size,
                words.data, BYTES_ARG(hint));
    buffer_deinit(&words);
}

/* What libcyaml passes by: `stop`, which is text or a list of texts. */
static void lint_texts(const struct tree_node *node, const cyaml_schema_value_t *schema,
                       struct report *report)
{
    if (node->type == TREE_MAP)
        report_node(report, node, "must be text or a list of texts");
    for (const struct tree_node *item = node->type == TREE_LIST ? node->first : NULL; item; item = item->next)
        if (item->type != TREE_SCALAR)
            report_node(report, item, "must be text");
}

static void lint_list(const struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    if (node->type != TREE_LIST) {
        report_node(report, node, "must be a list");
        return;
    }
    if (node->count < schema->sequence.min)
        report_node(report, node, "must have at least %u %s", schema->sequence.min,
                    schema->sequence.min == 1 ? "entry" : "entries");
    if (node->count > schema->sequence.max)
        report_node(report, node, "must have at most %u entries", schema->sequence.max);
    for (const struct tree_node *item = node->first; item && !report->full; item = item->next)
        lint_value(item, schema->sequence.entry, report);
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, struct bytes key)
{
    for (; fields->key; fields++)
        if (bytes_equal(bytes_of(fields->key), key))
            return fields;
    return NULL;
}

static void unknown_key(const struct tree_node *node, const cyaml_schema_field_t *fields,
                        struct report *report)
{
    struct nearest nearest = {.word = node->key};
    struct bytes hint;

    for (; fields->key; fields++)
        nearest_try(&nearest, fields->key);
    hint = suggestion(report, &nearest);
    report_node(report, node, "unknown key%.*s", BYTES_ARG(hint));
}

static void lint_map(const struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    const cyaml_schema_field_t *fields = schema->mapping.fields;

    if (node->type != TREE_MAP) {
        report_node(report, node, "must be a map of keys and values");
        return;
    }
    for (const struct tree_node *child = node->first; child && !report->full; child = child->next) {
        const cyaml_schema_field_t *field = find_field(fields, child->key);
        const struct tree_node *before = field ? tree_member(node, child->key) : child;

        if (!field)
            unknown_key(child, fields, report);
        else if (before != child)
            report_node(report, child, "stands here twice, first in line %u", before->line);
        else
            lint_value(child, &field->value, report);
    }
    for (; fields->key; fields++)
        if (!(fields->value.flags & CYAML_FLAG_OPTIONAL) && !tree_member(node, bytes_of(fields->key)))
            report_member(report, node, fields->key, "is missing");
}

static void lint_value(const struct tree_node *node, const cyaml_schema_value_t *schema,
                       struct report *report)
{
    static void (*const checks[CYAML__TYPE_COUNT])(const struct tree_node *, const cyaml_schema_value_t *,
                                                   struct report *) = {
        [CYAML_INT] = lint_number,   [CYAML_UINT] = lint_number, [CYAML_ENUM] = lint_word,
        [CYAML_STRING] = lint_text,  [CYAML_MAPPING] = lint_map, [CYAML_SEQUENCE] = lint_list,
        [CYAML_IGNORE] = lint_texts,
    };
    bool may_be_null = (schema->flags & CYAML_FLAG_POINTER_NULL) == CYAML_FLAG_POINTER_NULL;

    if (may_be_null && tree_is_null(node))
        return;
    checks[schema->type](node, schema, report);
}

void lint_tree(const struct tree_node *root, const cyaml_schema_value_t *schema, struct report *report)
{
    lint_value(root, schema, report);
}
