/*
 * A value, its rule, and the way to it: the way lives on the stack and is only written down when a rule is
 * broken.
 *
 * An object's keys are walked once and put into the slots of their table; then the slots are judged in the
 * table's order. So a member that stands there twice is seen, and the same body always breaks the same rule
 * first.
 */
#include "chat/check.h"

#include <errno.h>

struct place {
    const struct place *up;
    struct path_step step;
};

struct check {
    const struct json_doc *doc;
    struct arena *arena;
    struct violations *found;
};

/* The members of one object, in the slots of its table. */
struct slots {
    const struct rule_field *fields;
    unsigned count;
    const struct json_node *value[RULE_FIELDS_MAX];
};

static const struct rule tag_rule = {.type = RULE_STRING};

static void walk(struct check *check, const struct rule *rule, const struct json_node *node,
                 const struct place *place, unsigned more);

/* --- taking down --- */

static bool full(const struct check *check)
{
    return check->found->count >= check->found->limit;
}

static const struct path_step *write_path(struct check *check, const struct place *place, unsigned *ret_depth)
{
    unsigned depth = 0;
    struct path_step *path;

    for (const struct place *at = place; at; at = at->up)
        depth++;
    path = arena_alloc(check->arena, (depth + 1) * sizeof(*path));
    *ret_depth = depth;
    for (const struct place *at = place; at; at = at->up)
        path[--depth] = at->step;
    return path;
}

static void take_down(struct check *check, const struct place *place, struct violation violation)
{
    if (full(check))
        return;
    violation.path = write_path(check, place, &violation.depth);
    check->found->item[check->found->count++] = violation;
}

static void breach(struct check *check, enum violation_kind kind, const struct rule *rule,
                   const struct json_node *node, const struct place *place)
{
    take_down(check, place, (struct violation){.kind = kind, .rule = rule, .node = node});
}

/* --- values without parts --- */

static bool bounded(const struct rule *rule)
{
    return rule->min != 0 || rule->max != 0;
}

/* Beyond all integers or doubles. */
static void walk_beyond(struct check *check, const struct rule *rule, const struct json_node *node,
                        const struct place *place)
{
    bool negative = json_raw(check->doc, node).data[0] == '-';

    if (!bounded(rule))
        breach(check, VIOLATION_TYPE, rule, node, place);
    else
        breach(check, negative ? VIOLATION_BELOW : VIOLATION_ABOVE, rule, node, place);
}

static void walk_integer(struct check *check, const struct rule *rule, const struct json_node *node,
                         const struct place *place)
{
    int64_t value;
    int r = json_i64(check->doc, node, &value);

    if (r == -ERANGE)
        walk_beyond(check, rule, node, place);
    else if (r < 0)
        breach(check, VIOLATION_TYPE, rule, node, place);
    else if (bounded(rule) && value > rule->max)
        breach(check, VIOLATION_ABOVE, rule, node, place);
    else if (bounded(rule) && value < rule->min)
        breach(check, VIOLATION_BELOW, rule, node, place);
}

static void walk_number(struct check *check, const struct rule *rule, const struct json_node *node,
                        const struct place *place)
{
    double value;

    if (json_double(check->doc, node, &value) < 0)
        walk_beyond(check, rule, node, place);
    else if (bounded(rule) && value > (double)rule->max)
        breach(check, VIOLATION_ABOVE, rule, node, place);
    else if (bounded(rule) && value < (double)rule->min)
        breach(check, VIOLATION_BELOW, rule, node, place);
}

/* True when COUNT of something stays within the rule. */
static bool walk_size(struct check *check, const struct rule *rule, const struct json_node *node,
                      const struct place *place, uint64_t count, unsigned more)
{
    bool short_of = count < (uint64_t)rule->min, beyond = rule->max && count + more > (uint64_t)rule->max;

    if (!short_of && !beyond)
        return true;
    take_down(check, place,
              (struct violation){
                  .kind = short_of ? VIOLATION_TOO_SHORT : VIOLATION_TOO_LONG,
                  .rule = rule,
                  .node = node,
                  .actual = short_of ? count : count + more,
              });
    return false;
}

static bool one_of(const struct rule *rule, struct bytes text)
{
    for (unsigned i = 0; rule_value(rule, i); i++)
        if (bytes_equal(text, bytes_of(rule_value(rule, i))))
            return true;
    return false;
}

static void walk_string(struct check *check, const struct rule *rule, const struct json_node *node,
                        const struct place *place)
{
    struct bytes text;

    if (!bounded(rule) && !rule->values && !rule->pattern)
        return; /* a long text is not looked at */
    text = json_text(check->doc, node, check->arena);
    if (!walk_size(check, rule, node, place, text.size, 0))
        return;
    if (rule->values && !one_of(rule, text))
        breach(check, VIOLATION_VALUE, rule, node, place);
    else if (rule->pattern && !rule->pattern->fits(text))
        breach(check, VIOLATION_PATTERN, rule, node, place);
}

/* --- arrays --- */

static void walk_array(struct check *check, const struct rule *rule, const struct json_node *node,
                       const struct place *place, unsigned more)
{
    struct place below = {.up = place};

    if (!walk_size(check, rule, node, place, json_length(check->doc, node), more))
        return;
    for (const struct json_node *item = json_first(check->doc, node); item && !full(check);
         item = json_after(check->doc, node, item)) {
        walk(check, rule->items, item, &below, 0);
        below.step.index++;
    }
}

/* --- objects --- */

static unsigned slot_of(const struct slots *slots, struct bytes name)
{
    for (unsigned i = 0; i < slots->count; i++)
        if (slots->fields[i].name_size == name.size &&
            memcmp(slots->fields[i].name, name.data, name.size) == 0)
            return i;
    return slots->count;
}

/* Does a key before KEY bear the same NAME? Only asked of objects whose size is limited. */
static bool seen_before(const struct check *check, const struct json_node *object,
                        const struct json_node *key, struct bytes name)
{
    for (const struct json_node *other = json_first(check->doc, object); other != key;
         other = json_after(check->doc, object, other))
        if (json_text_is(check->doc, other, name))
            return true;
    return false;
}

static void fill_slots(struct check *check, const struct rule *rule, const struct json_node *object,
                       const struct place *place, struct slots *slots)
{
    struct place below = {.up = place};
    bool tagged = false;

    memset(slots->value, 0, slots->count * sizeof(slots->value[0]));
    for (const struct json_node *key = json_first(check->doc, object); key && !full(check);
         key = json_after(check->doc, object, key)) {
        const struct json_node *value = json_value(check->doc, key);
        struct bytes name = json_text(check->doc, key, check->arena);
        unsigned slot = slot_of(slots, name);
        bool known = slot < slots->count;
        bool tag = rule->tag && bytes_equal(name, bytes_of(rule->tag));

        below.step.name = name;
        if ((known && slots->value[slot]) || (tag && tagged) ||
            (!known && rule->unique && seen_before(check, object, key, name)))
            breach(check, VIOLATION_DUPLICATE, rule, value, &below);
        else if (known)
            slots->value[slot] = value;
        else if (rule->items)
            walk(check, rule->items, value, &below, 0);
        tagged |= tag;
    }
}

static const struct json_node *sibling(const struct check *check, const struct json_node *object,
                                       const char *name)
{
    const struct json_node *node = json_member(check->doc, object, bytes_of(name));

    return json_is(node, JSON_NULL) ? NULL : node;
}

static bool excused(const struct check *check, const struct rule_field *field, const struct json_node *object)
{
    for (size_t i = 0; i < ARRAY_SIZE(field->unless) && field->unless[i]; i++)
        if (sibling(check, object, field->unless[i]))
            return true;
    return false;
}

/* How FIELD gets along with its siblings. */
static void walk_company(struct check *check, const struct rule_field *field, const struct json_node *object,
                         const struct json_node *value, const struct place *place)
{
    struct violation violation = {.rule = field->rule, .node = value};

    if (field->only_with && !json_is(sibling(check, object, field->only_with), JSON_TRUE)) {
        violation.kind = VIOLATION_ONLY_WITH;
        violation.sibling = field->only_with;
        take_down(check, place, violation);
    }
    if (field->not_with && json_is(sibling(check, object, field->not_with), JSON_TRUE)) {
        violation.kind = VIOLATION_NOT_WITH;
        violation.sibling = field->not_with;
        take_down(check, place, violation);
    }
}

/* A member that is there and not null. */
static void walk_field(struct check *check, const struct rule_field *field, const struct json_node *object,
                       const struct json_node *value, const struct place *place)
{
    unsigned more = 0;

    walk_company(check, field, object, value, place);
    if (field->counted_with) {
        const struct json_node *other = sibling(check, object, field->counted_with);

        more = json_is(other, JSON_STRING) && json_raw(check->doc, other).size > 2;
    }
    walk(check, field->rule, value, place, more);
}

static void walk_slots(struct check *check, const struct slots *slots, const struct json_node *object,
                       const struct place *place)
{
    for (unsigned i = 0; i < slots->count && !full(check); i++) {
        const struct rule_field *field = &slots->fields[i];
        const struct json_node *value = slots->value[i];
        struct place below = {.up = place, .step.name = {field->name, field->name_size}};

        if (value && (value->type != JSON_NULL || field->rule->null_ok))
            walk_field(check, field, object, value, &below);
        else if (field->required && !excused(check, field, object))
            breach(check, VIOLATION_MISSING, field->rule, object, &below);
    }
}

/* The table that the object's tag chooses, or NULL after taking down why there is none. */
static const struct rule_tag *choose(struct check *check, const struct rule *rule,
                                     const struct json_node *object, const struct place *place)
{
    struct place below = {.up = place, .step.name = bytes_of(rule->tag)};
    const struct json_node *value = sibling(check, object, rule->tag);

    if (!value) {
        breach(check, VIOLATION_MISSING, &tag_rule, object, &below);
        return NULL;
    }
    if (value->type != JSON_STRING) {
        breach(check, VIOLATION_TYPE, &tag_rule, value, &below);
        return NULL;
    }
    for (const struct rule_tag *tag = rule->tags; tag->value; tag++)
        if (json_text_is(check->doc, value, bytes_of(tag->value)))
            return tag;
    breach(check, VIOLATION_VALUE, rule, value, &below);
    return NULL;
}

static void walk_object(struct check *check, const struct rule *rule, const struct json_node *node,
                        const struct place *place)
{
    struct slots slots = {.fields = rule->fields, .count = rule->field_count};

    if (bounded(rule) && !walk_size(check, rule, node, place, json_length(check->doc, node), 0))
        return;
    if (rule->tag) {
        const struct rule_tag *tag = choose(check, rule, node, place);

        if (!tag)
            return;
        slots.fields = tag->fields;
        slots.count = tag->field_count;
    }
    if (slots.count == 0 && !rule->items && !rule->tag)
        return;
    fill_slots(check, rule, node, place, &slots);
    walk_slots(check, &slots, node, place);
}

/* --- any value --- */

static bool type_fits(const struct rule *rule, const struct json_node *node)
{
    static const uint8_t types[] = {
        [RULE_ANYTHING] = 0xff,
        [RULE_BOOLEAN] = 1 << JSON_FALSE | 1 << JSON_TRUE,
        [RULE_INTEGER] = 1 << JSON_NUMBER,
        [RULE_NUMBER] = 1 << JSON_NUMBER,
        [RULE_STRING] = 1 << JSON_STRING,
        [RULE_ARRAY] = 1 << JSON_ARRAY,
        [RULE_OBJECT] = 1 << JSON_OBJECT,
        [RULE_EITHER] = 0,
    };

    return types[rule->type] & 1 << node->type;
}

static const struct rule *option_for(const struct rule *rule, const struct json_node *node)
{
    if (rule->type != RULE_EITHER)
        return type_fits(rule, node) ? rule : NULL;
    for (unsigned i = 0; rule->options[i]; i++)
        if (type_fits(rule->options[i], node))
            return rule->options[i];
    return NULL;
}

static void walk(struct check *check, const struct rule *rule, const struct json_node *node,
                 const struct place *place, unsigned more)
{
    const struct rule *option;

    if (node->type == JSON_NULL && rule->null_ok)
        return;
    option = option_for(rule, node);
    if (!option)
        breach(check, VIOLATION_TYPE, rule, node, place);
    else if (option->type == RULE_INTEGER)
        walk_integer(check, option, node, place);
    else if (option->type == RULE_NUMBER)
        walk_number(check, option, node, place);
    else if (option->type == RULE_STRING)
        walk_string(check, option, node, place);
    else if (option->type == RULE_ARRAY)
        walk_array(check, option, node, place, more);
    else if (option->type == RULE_OBJECT)
        walk_object(check, option, node, place);
}

void check_value(const struct json_doc *doc, const struct json_node *node, const struct rule *rule,
                 const char *prefix, struct arena *arena, struct violations *found)
{
    struct check check = {.doc = doc, .arena = arena, .found = found};
    struct place top = {.step.name = bytes_of(prefix)};

    walk(&check, rule, node, prefix ? &top : NULL, 0);
}
