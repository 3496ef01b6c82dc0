/*
 * The canonical text is the controller's JSON with sorted members, numbers in their shortest form, and
 * without what does not steer. Members nobody knows stay in it: they might steer, and two texts too many do
 * less harm than one too few.
 */
#include "chat/steering.h"

#include "chat/check.h"
#include "json/json_write.h"

#include <errno.h>
#include <stdlib.h>

/* --- empty? valid? --- */

static bool has_items(const struct json_doc *doc, const struct json_node *object, struct bytes name)
{
    return json_first(doc, json_member(doc, object, name)) != NULL;
}

bool steering_controller_empty(const struct json_doc *doc, const struct json_node *controller)
{
    return !json_is(controller, JSON_OBJECT) || (!has_items(doc, controller, BYTES("interventions")) &&
                                                 !has_items(doc, controller, BYTES("scopes")));
}

int steering_controller_check(const struct json_doc *doc, const struct json_node *controller,
                              const char *prefix, struct arena *arena, struct failure *ret_failure)
{
    struct violations found = {.limit = 1};

    check_value(doc, controller, &rule_controller, prefix, arena, &found);
    if (found.count == 0)
        return 0;
    *ret_failure = violation_failure(&found.item[0], doc, arena);
    return -EINVAL;
}

/* --- canonical --- */

struct writer {
    const struct json_doc *doc;
    struct arena *arena;
    struct buffer *out;
};

struct member {
    struct bytes name;
    const struct json_node *value;
};

/* What an object inside a controller is. A feature and a group of them are told apart by their members. */
enum part {
    PART_UNKNOWN,
    PART_CONTROLLER,
    PART_INTERVENTION,
    PART_FEATURE,
    PART_SCOPE,
    PART_JOINED,
    PART_CONDITION,
};

struct part_row {
    enum part in;
    const char *name;
    enum part is;
};

static const struct part_row parts[] = {
    {PART_CONTROLLER, "interventions", PART_INTERVENTION},
    {PART_CONTROLLER, "scopes", PART_SCOPE},
    {PART_INTERVENTION, "features", PART_FEATURE},
    {PART_FEATURE, "features", PART_FEATURE},
    {PART_SCOPE, "conditionals", PART_JOINED},
    {PART_SCOPE, "controller", PART_CONTROLLER},
    {PART_JOINED, "conditionals", PART_CONDITION},
    {PART_CONDITION, "left_hand", PART_FEATURE},
    {PART_CONDITION, "right_hand", PART_FEATURE},
};

static const struct part_row without_effect[] = {
    {PART_CONTROLLER, "name", PART_UNKNOWN},
    {PART_FEATURE, "label", PART_UNKNOWN},
    {PART_FEATURE, "max_activation_strength", PART_UNKNOWN},
    {PART_SCOPE, "is_active", PART_UNKNOWN},
};

static const struct part_row *row_of(const struct part_row *rows, size_t count, enum part in,
                                     struct bytes name)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].in == in && bytes_equal(bytes_of(rows[i].name), name))
            return &rows[i];
    return NULL;
}

static enum part part_of(enum part in, struct bytes name)
{
    const struct part_row *row = row_of(parts, ARRAY_SIZE(parts), in, name);

    return row ? row->is : PART_UNKNOWN;
}

static void write_value(struct writer *writer, const struct json_node *node, enum part part);

/* Says MEMBER of OBJECT, a PART, nothing about how the answer is steered? */
static bool cosmetic(const struct writer *writer, const struct json_node *object, enum part part,
                     const struct member *member)
{
    if (part == PART_UNKNOWN)
        return false;
    if (json_is(member->value, JSON_NULL) ||
        row_of(without_effect, ARRAY_SIZE(without_effect), part, member->name))
        return true;
    if (part == PART_FEATURE && bytes_equal(member->name, BYTES("uuid")))
        return json_is(json_member(writer->doc, object, BYTES("index_in_sae")), JSON_NUMBER);
    if (part == PART_SCOPE && bytes_equal(member->name, BYTES("controller")))
        return steering_controller_empty(writer->doc, member->value);
    return part == PART_CONTROLLER && json_is(member->value, JSON_ARRAY) &&
           !json_first(writer->doc, member->value);
}

static int by_name(const void *left, const void *right)
{
    const struct bytes *a = &((const struct member *)left)->name, *b = &((const struct member *)right)->name;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);

    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static void write_object(struct writer *writer, const struct json_node *object, enum part part)
{
    struct member *members =
        arena_alloc(writer->arena, (json_length(writer->doc, object) + 1) * sizeof(*members));
    size_t count = 0;

    for (const struct json_node *key = json_first(writer->doc, object); key;
         key = json_after(writer->doc, object, key)) {
        struct member *member = &members[count];

        member->name = json_text(writer->doc, key, writer->arena);
        member->value = json_value(writer->doc, key);
        count += !cosmetic(writer, object, part, member);
    }
    qsort(members, count, sizeof(*members), by_name);
    buffer_append_char(writer->out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_char(writer->out, ',');
        json_write_string(writer->out, members[i].name);
        buffer_append_char(writer->out, ':');
        write_value(writer, members[i].value, part_of(part, members[i].name));
    }
    buffer_append_char(writer->out, '}');
}

static void write_array(struct writer *writer, const struct json_node *array, enum part part)
{
    const struct json_node *first = json_first(writer->doc, array);

    buffer_append_char(writer->out, '[');
    for (const struct json_node *item = first; item; item = json_after(writer->doc, array, item)) {
        if (item != first)
            buffer_append_char(writer->out, ',');
        write_value(writer, item, part);
    }
    buffer_append_char(writer->out, ']');
}

static void write_number(struct writer *writer, const struct json_node *node)
{
    int64_t integer;
    double number;

    if (json_i64(writer->doc, node, &integer) == 0)
        buffer_append_i64(writer->out, integer);
    else if (json_double(writer->doc, node, &number) == 0)
        json_write_double(writer->out, number);
    else
        buffer_append(writer->out, json_raw(writer->doc, node));
}

/* As deep as the document, whose depth is limited. */
static void write_value(struct writer *writer, const struct json_node *node, enum part part)
{
    switch (node->type) {
    case JSON_OBJECT:
        write_object(writer, node, part);
        break;
    case JSON_ARRAY:
        write_array(writer, node, part);
        break;
    case JSON_STRING:
        json_write_string(writer->out, json_text(writer->doc, node, writer->arena));
        break;
    case JSON_NUMBER:
        write_number(writer, node);
        break;
    default:
        buffer_append(writer->out, json_raw(writer->doc, node));
    }
}

void steering_controller_canonical(const struct json_doc *doc, const struct json_node *controller,
                                   struct arena *arena, struct buffer *out)
{
    struct writer writer = {.doc = doc, .arena = arena, .out = out};

    if (steering_controller_empty(doc, controller))
        buffer_append(out, BYTES("{}"));
    else
        write_object(&writer, controller, PART_CONTROLLER);
}
