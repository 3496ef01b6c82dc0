/*
 * libcyaml stops at its first error and knows no lines. So the tree is walked along its schema tables first,
 * and libcyaml only ever loads what is good here. The walk is as deep as the schema, whatever the file does.
 */
#include "config/lint.h"

#include "config/schema.h"
#include "config/suggest.h"

#include <errno.h>

static void lint_value(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report);

/* Each check returns whether the value can be used. */

static bool lint_text(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
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
    else
        return true;
    return false;
}

static bool lint_number(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    bool wide = schema->data_size > sizeof(uint32_t);
    int64_t most = wide ? INT64_MAX : UINT32_MAX;
    int64_t number;
    int r;

    if (node->type != TREE_SCALAR || !node->plain) {
        report_node(report, node, "must be a whole number");
        return false;
    }
    r = bytes_to_i64(node->text, &number);
    if (r == -EINVAL || (node->text.size > 1 && node->text.data[0] == '0'))
        report_node(report, node, "must be a whole number, not %s", report_quote(report, node->text));
    else if (r < 0 || number < 0 || number > most)
        report_node(report, node, "must be from 0 to %lld", (long long)most);
    else
        return true;
    return false;
}

/* What libcyaml passes by: `stop`, which is text or a list of texts. */
static bool lint_texts(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    if (node->type == TREE_MAP) {
        report_node(report, node, "must be text or a list of texts");
        return false;
    }
    for (struct tree_node *item = node->type == TREE_LIST ? node->first : NULL; item; item = item->next) {
        item->bad = item->type != TREE_SCALAR;
        if (item->bad)
            report_node(report, item, "must be text");
    }
    return true;
}

/* The same: `metadata`, any map of scalars. */
static bool lint_free_map(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    bool good = node->type == TREE_MAP;

    if (!good)
        report_node(report, node, "must be a map of keys and values");
    for (struct tree_node *child = good ? node->first : NULL; child && !report->full; child = child->next) {
        child->bad = child->type != TREE_SCALAR;
        if (child->bad)
            report_node(report, child, "must be text, a number, true or false");
    }
    return good;
}

static bool lint_passed_by(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    return (schema->flags & SCHEMA_FREE_MAP ? lint_free_map : lint_texts)(node, schema, report);
}

static bool lint_list(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    if (node->type != TREE_LIST) {
        report_node(report, node, "must be a list");
        return false;
    }
    if (node->count < schema->sequence.min) {
        report_node(report, node, "must have at least %u %s", schema->sequence.min,
                    schema->sequence.min == 1 ? "entry" : "entries");
        return false;
    }
    if (node->count > schema->sequence.max) {
        report_node(report, node, "must have at most %u entries", schema->sequence.max);
        node->partial = true;
    }
    for (struct tree_node *item = node->first; item && !report->full; item = item->next)
        lint_value(item, schema->sequence.entry, report);
    return true;
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, struct bytes key)
{
    for (; fields->key; fields++)
        if (bytes_equal(bytes_of(fields->key), key))
            return fields;
    return NULL;
}

/* A misspelt key counts as the one that was meant: else that one would be missing too. */
static const cyaml_schema_field_t *unknown_key(struct tree_node *node, const cyaml_schema_field_t *fields,
                                               struct report *report)
{
    struct nearest nearest = {.word = node->key};
    struct bytes hint;

    for (const cyaml_schema_field_t *field = fields; field->key; field++)
        nearest_try(&nearest, field->key);
    hint = nearest_hint(report, &nearest);
    report_node(report, node, "unknown key%.*s", BYTES_ARG(hint));
    if (!nearest.best || tree_member(node->parent, bytes_of(nearest.best)))
        return NULL;
    node->key = bytes_of(nearest.best);
    return find_field(fields, node->key);
}

static void lint_member(struct tree_node *node, const cyaml_schema_field_t *fields, struct report *report)
{
    const cyaml_schema_field_t *field = find_field(fields, node->key);
    struct tree_node *before = node->parent->first;

    if (!field)
        field = unknown_key(node, fields, report);
    if (!field)
        return;
    while (!bytes_equal(before->key, node->key))
        before = before->next;
    if (before == node) {
        lint_value(node, &field->value, report);
        return;
    }
    report_node(report, node, "stands here twice, first in line %u", before->line);
    before->partial = true;
}

static bool lint_map(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    const cyaml_schema_field_t *fields = schema->mapping.fields;

    if (node->type != TREE_MAP) {
        report_node(report, node, "must be a map of keys and values");
        return false;
    }
    for (struct tree_node *child = node->first; child && !report->full; child = child->next)
        lint_member(child, fields, report);
    for (; fields->key; fields++)
        if (!(fields->value.flags & CYAML_FLAG_OPTIONAL) && !tree_member(node, bytes_of(fields->key)))
            report_member(report, node, fields->key, "is missing");
    return true;
}

static void lint_value(struct tree_node *node, const cyaml_schema_value_t *schema, struct report *report)
{
    static bool (*const checks[CYAML__TYPE_COUNT])(struct tree_node *, const cyaml_schema_value_t *,
                                                   struct report *) = {
        [CYAML_INT] = lint_number,  [CYAML_UINT] = lint_number,   [CYAML_STRING] = lint_text,
        [CYAML_MAPPING] = lint_map, [CYAML_SEQUENCE] = lint_list, [CYAML_IGNORE] = lint_passed_by,
    };

    if ((schema->flags & CYAML_FLAG_OPTIONAL) && tree_is_null(node))
        return;
    node->bad = !checks[schema->type](node, schema, report);
}

void lint_tree(struct tree_node *root, const cyaml_schema_value_t *schema, struct report *report)
{
    lint_value(root, schema, report);
}
