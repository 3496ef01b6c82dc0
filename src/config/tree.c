/*
 * libyaml's events, one after another, become nodes below the container that is open. The first thing that is
 * wrong with the YAML ends the reading: what comes after it cannot be trusted.
 */
#include "config/tree.h"

#include "base/utf8.h"

#include <yaml.h>

struct tree_reader {
    struct arena *arena;
    struct report *report;
    struct tree_node *root, *open; /* the innermost open container */
    struct bytes key;              /* read, its value not yet */
    uint32_t key_line;
    bool has_key;
    uint32_t depth, nodes, most, documents;
};

static uint32_t line_of(const yaml_event_t *event)
{
    return (uint32_t)event->start_mark.line + 1;
}

/* A new node below the open container. False after a complaint. */
static bool add(struct tree_reader *reader, enum tree_type type, uint32_t line, struct tree_node **ret)
{
    struct tree_node *node, *open = reader->open;

    if (++reader->nodes > reader->most) {
        report_line(reader->report, line, "more than %u values", reader->most);
        return false;
    }
    node = arena_zeroed(reader->arena, sizeof(*node));
    *node = (struct tree_node){.type = type, .line = line, .parent = open};
    if (!open) {
        reader->root = node;
    } else {
        if (open->type == TREE_MAP) {
            node->key = reader->key;
            node->line = reader->key_line;
            reader->has_key = false;
        }
        node->index = open->count++;
        if (open->last)
            open->last->next = node;
        else
            open->first = node;
        open->last = node;
    }
    *ret = node;
    return true;
}

static bool enter(struct tree_reader *reader, enum tree_type type, const yaml_event_t *event)
{
    struct tree_node *node;

    if (reader->open && reader->open->type == TREE_MAP && !reader->has_key) {
        report_line(reader->report, line_of(event), "a key must be plain text");
        return false;
    }
    if (++reader->depth > TREE_DEPTH_MAX) {
        report_line(reader->report, line_of(event), "nested deeper than %d levels", TREE_DEPTH_MAX);
        return false;
    }
    if (!add(reader, type, line_of(event), &node))
        return false;
    reader->open = node;
    return true;
}

static void leave(struct tree_reader *reader)
{
    reader->depth--;
    reader->open = reader->open->parent;
}

static bool scalar(struct tree_reader *reader, const yaml_event_t *event)
{
    struct bytes text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    struct tree_node *node;

    if (text.size && memchr(text.data, '\0', text.size)) {
        report_line(reader->report, line_of(event), "a NUL character is not allowed");
        return false;
    }
    text = arena_copy(reader->arena, text);
    if (reader->open && reader->open->type == TREE_MAP && !reader->has_key) {
        reader->key = text;
        reader->key_line = line_of(event);
        reader->has_key = true;
        return true;
    }
    if (!add(reader, TREE_SCALAR, line_of(event), &node))
        return false;
    node->text = text;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return true;
}

/* Anchors, aliases and tags are refused wherever they stand. */
static bool decorated(struct tree_reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                      const yaml_char_t *tag)
{
    if (anchor)
        report_line(reader->report, line_of(event), "anchors and aliases (& and *) are not allowed");
    else if (tag)
        report_line(reader->report, line_of(event), "tags (!) are not allowed");
    return anchor || tag;
}

static bool take(struct tree_reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++reader->documents == 1)
            return true;
        report_line(reader->report, line_of(event), "a second document (---) is not allowed");
        return false;
    case YAML_ALIAS_EVENT:
        return !decorated(reader, event, event->data.alias.anchor, NULL);
    case YAML_SCALAR_EVENT:
        return !decorated(reader, event, event->data.scalar.anchor, event->data.scalar.tag) &&
               scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return !decorated(reader, event, event->data.sequence_start.anchor, event->data.sequence_start.tag) &&
               enter(reader, TREE_LIST, event);
    case YAML_MAPPING_START_EVENT:
        return !decorated(reader, event, event->data.mapping_start.anchor, event->data.mapping_start.tag) &&
               enter(reader, TREE_MAP, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        leave(reader);
        return true;
    default:
        return true;
    }
}

static uint32_t lines_before(struct bytes text, size_t offset)
{
    uint32_t line = 1;

    for (size_t i = 0; i < offset && i < text.size; i++)
        line += text.data[i] == '\n';
    return line;
}

static void complain(struct tree_reader *reader, const yaml_parser_t *parser, struct bytes text)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";

    if (parser->error == YAML_READER_ERROR)
        report_line(reader->report, lines_before(text, parser->problem_offset), "not valid YAML: %s",
                    problem);
    else
        report_line(reader->report, (uint32_t)parser->problem_mark.line + 1,
                    "not valid YAML: %s (column %zu)", problem, parser->problem_mark.column + 1);
}

static bool run(struct tree_reader *reader, yaml_parser_t *parser, struct bytes text)
{
    bool good = true, end = false;

    while (good && !end) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event)) {
            complain(reader, parser, text);
            return false;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        good = take(reader, &event);
        yaml_event_delete(&event);
    }
    return good;
}

bool tree_read(struct arena *arena, struct bytes text, uint32_t most, struct report *report, struct tree_node **ret)
{
    struct tree_reader reader = {.arena = arena, .report = report, .most = most};
    size_t valid = utf8_valid_prefix(text);
    yaml_parser_t parser;
    bool good;

    if (valid != text.size) {
        report_line(report, lines_before(text, valid), "not valid UTF-8");
        return false;
    }
    if (!yaml_parser_initialize(&parser)) {
        report_line(report, 0, "no memory for the YAML parser");
        return false;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.size ? text.data : ""), text.size);
    good = run(&reader, &parser, text);
    yaml_parser_delete(&parser);
    if (!good)
        return false;
    *ret = reader.root && tree_is_null(reader.root) ? NULL : reader.root;
    return true;
}

const struct tree_node *tree_member(const struct tree_node *map, struct bytes key)
{
    if (!map || map->type != TREE_MAP)
        return NULL;
    for (const struct tree_node *node = map->first; node; node = node->next)
        if (bytes_equal(node->key, key))
            return node;
    return NULL;
}

bool tree_given(const struct tree_node *map, struct bytes key)
{
    const struct tree_node *node = tree_member(map, key);

    return node && !tree_is_null(node);
}

bool tree_is_null(const struct tree_node *node)
{
    static const struct bytes words[] = {
        {"", 0}, {"~", 1}, {"null", 4}, {"Null", 4}, {"NULL", 4},
    };

    if (node->type != TREE_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (bytes_equal(node->text, words[i]))
            return true;
    return false;
}
