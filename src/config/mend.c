/*
 * The walk follows the schema, not the file: so keys that nobody knows and second values of a key are left
 * out by themselves. All in one line of flow style, every value quoted, nothing but ASCII: no rule of YAML
 * about plain text can spoil it.
 */
#include "config/mend.h"

static void write_value(const struct tree_node *node, const cyaml_schema_value_t *schema, struct buffer *out);

/* The character that valid UTF-8 TEXT begins with; *RET_SIZE: its bytes. */
static uint32_t character(struct bytes text, size_t *ret_size)
{
    unsigned char lead = (unsigned char)text.data[0];
    size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t code = size == 1 ? lead : lead & (0x7fu >> size);

    for (size_t i = 1; i < size && i < text.size; i++)
        code = code << 6 | ((unsigned char)text.data[i] & 0x3f);
    *ret_size = size;
    return code;
}

static void write_text(struct bytes text, struct buffer *out)
{
    buffer_append_char(out, '"');
    while (text.size) {
        size_t size;
        uint32_t code = character(text, &size);

        if (code < 0x20 || code >= 0x7f || code == '"' || code == '\\')
            buffer_printf(out, "\\U%08x", code);
        else
            buffer_append_char(out, (char)code);
        text = bytes_skip(text, size < text.size ? size : text.size);
    }
    buffer_append_char(out, '"');
}

static void write_list(const struct tree_node *node, const cyaml_schema_value_t *schema, struct buffer *out)
{
    const struct tree_node *item = node->first;

    buffer_append_char(out, '[');
    for (uint32_t i = 0; item && i < schema->sequence.max; i++, item = item->next) {
        if (i)
            buffer_append_text(out, ", ");
        write_value(item, schema->sequence.entry, out);
    }
    buffer_append_char(out, ']');
}

/* NODE may be no map at all: then it is an empty one. */
static void write_map(const struct tree_node *node, const cyaml_schema_value_t *schema, struct buffer *out)
{
    const char *comma = "";

    buffer_append_char(out, '{');
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key; field++) {
        const struct tree_node *child = tree_member(node, bytes_of(field->key));

        if (field->value.type == CYAML_IGNORE || (!child && (field->value.flags & CYAML_FLAG_OPTIONAL)))
            continue;
        buffer_printf(out, "%s\"%s\": ", comma, field->key);
        write_value(child, &field->value, out);
        comma = ", ";
    }
    buffer_append_char(out, '}');
}

/* NODE may be NULL where a key is missing. */
static void write_value(const struct tree_node *node, const cyaml_schema_value_t *schema, struct buffer *out)
{
    bool may_be_empty = (schema->flags & CYAML_FLAG_POINTER_NULL) == CYAML_FLAG_POINTER_NULL;

    if (may_be_empty && (!node || node->bad || tree_is_null(node)))
        buffer_append_text(out, "\"\"");
    else if (schema->type == CYAML_MAPPING)
        write_map(node, schema, out);
    else if (schema->type == CYAML_SEQUENCE)
        write_list(node, schema, out);
    else
        write_text(node->text, out);
}

void mend_write(const struct tree_node *root, const cyaml_schema_value_t *schema, struct buffer *out)
{
    write_value(root, schema, out);
}
