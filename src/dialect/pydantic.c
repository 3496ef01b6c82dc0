/*
 * {"type":...,"loc":["body",...],"msg":...,"input":...,"ctx":{...}}
 *
 * Bounds of decimal fields appear as integers in `msg` and as floats in `ctx`, as pydantic writes them.
 */
#include "dialect/pydantic.h"

#include "base/utf8.h"
#include "json/json_write.h"

#include <inttypes.h>

#define INPUT_MAX 4096  /* a larger offender is not repeated */
#define PARENT_MAX 1024 /* nor is a larger object that misses a member */
#define STEP_MAX 256

/* What is said of one violation. */
struct entry {
    const char *type;
    struct bytes message;
    struct bytes context; /* JSON, or none */
    size_t input_max;
};

struct wording {
    const char *type, *message;
};

static struct bytes quoted(struct arena *arena, struct bytes text)
{
    struct buffer out;
    struct bytes copy;

    buffer_init(&out);
    json_write_string(&out, text);
    copy = arena_copy(arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return copy;
}

/* 'a', 'b' or 'c' */
static struct bytes alternatives(struct arena *arena, const struct bytes *names, unsigned count)
{
    struct buffer out;
    struct bytes copy;

    buffer_init(&out);
    for (unsigned i = 0; i < count; i++) {
        buffer_append_text(&out, i == 0 ? "'" : i + 1 < count ? ", '" : " or '");
        buffer_append(&out, names[i]);
        buffer_append_char(&out, '\'');
    }
    copy = arena_copy(arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return copy;
}

/* --- describing --- */

static void describe_literal(struct entry *entry, const struct rule *rule, struct arena *arena)
{
    struct bytes names[RULE_FIELDS_MAX], list;
    unsigned count = 0;

    for (; count < ARRAY_SIZE(names) && rule_value(rule, count); count++)
        names[count] = bytes_of(rule_value(rule, count));
    list = alternatives(arena, names, count);
    entry->type = "literal_error";
    entry->message = arena_printf(arena, "Input should be %.*s", BYTES_ARG(list));
    list = quoted(arena, list);
    entry->context = arena_printf(arena, "{\"expected\":%.*s}", BYTES_ARG(list));
}

static struct wording number_wording(const struct rule *rule, const struct json_node *node)
{
    static const struct wording int_text = {
        "int_parsing", "Input should be a valid integer, unable to parse string as an integer"};
    static const struct wording int_fraction = {
        "int_from_float", "Input should be a valid integer, got a number with a fractional part"};
    static const struct wording int_other = {"int_type", "Input should be a valid integer"};
    static const struct wording float_text = {
        "float_parsing", "Input should be a valid number, unable to parse string as a number"};
    static const struct wording float_other = {"float_type", "Input should be a valid number"};

    if (rule->type == RULE_NUMBER)
        return node->type == JSON_STRING ? float_text : float_other;
    return node->type == JSON_STRING ? int_text : node->type == JSON_NUMBER ? int_fraction : int_other;
}

static struct wording type_wording(const struct rule *rule, const struct json_node *node)
{
    static const struct wording bool_text = {"bool_parsing",
                                             "Input should be a valid boolean, unable to interpret input"};
    static const struct wording bool_other = {"bool_type", "Input should be a valid boolean"};
    static const struct wording string = {"string_type", "Input should be a valid string"};
    static const struct wording list = {"list_type", "Input should be a valid list"};
    static const struct wording model = {
        "model_attributes_type", "Input should be a valid dictionary or object to extract fields from"};
    static const struct wording dict = {"dict_type", "Input should be a valid dictionary"};

    switch (rule->type) {
    case RULE_INTEGER:
    case RULE_NUMBER:
        return number_wording(rule, node);
    case RULE_BOOLEAN:
        return node->type == JSON_STRING || node->type == JSON_NUMBER ? bool_text : bool_other;
    case RULE_ARRAY:
        return list;
    case RULE_OBJECT:
        return rule->fields || rule->tags ? model : dict;
    default:
        return string;
    }
}

static void describe_type(struct entry *entry, const struct violation *violation, struct arena *arena)
{
    const struct rule *rule =
        violation->rule->type == RULE_EITHER ? violation->rule->options[0] : violation->rule;
    struct wording wording;

    if (rule->type == RULE_STRING && rule->values) {
        describe_literal(entry, rule, arena);
        return;
    }
    wording = type_wording(rule, violation->node);
    entry->type = wording.type;
    entry->message = bytes_of(wording.message);
}

static void describe_range(struct entry *entry, const struct violation *violation, struct arena *arena)
{
    bool above = violation->kind == VIOLATION_ABOVE;
    int64_t bound = above ? violation->rule->max : violation->rule->min;

    entry->type = above ? "less_than_equal" : "greater_than_equal";
    entry->message = arena_printf(arena, "Input should be %s than or equal to %" PRId64,
                                  above ? "less" : "greater", bound);
    entry->context = arena_printf(arena, "{\"%s\":%" PRId64 "%s}", above ? "le" : "ge", bound,
                                  violation->rule->type == RULE_NUMBER ? ".0" : "");
}

static void describe_size(struct entry *entry, const struct violation *violation, struct arena *arena)
{
    bool over = violation->kind == VIOLATION_TOO_LONG;
    int64_t bound = over ? violation->rule->max : violation->rule->min;
    const char *at = over ? "most" : "least", *limit = over ? "max" : "min", *plural = bound == 1 ? "" : "s";
    const char *field = violation->rule->type == RULE_ARRAY ? "List" : "Dictionary";

    if (violation->rule->type == RULE_STRING) {
        entry->type = over ? "string_too_long" : "string_too_short";
        entry->message =
            arena_printf(arena, "String should have at %s %" PRId64 " character%s", at, bound, plural);
        entry->context = arena_printf(arena, "{\"%s_length\":%" PRId64 "}", limit, bound);
        return;
    }
    entry->type = over ? "too_long" : "too_short";
    entry->message =
        arena_printf(arena, "%s should have at %s %" PRId64 " item%s after validation, not %" PRIu64, field,
                     at, bound, plural, violation->actual);
    entry->context =
        arena_printf(arena, "{\"field_type\":\"%s\",\"%s_length\":%" PRId64 ",\"actual_length\":%" PRIu64 "}",
                     field, limit, bound, violation->actual);
}

static void describe_pattern(struct entry *entry, const struct rule *rule, struct arena *arena)
{
    struct bytes pattern = quoted(arena, bytes_of(rule->pattern->text));

    entry->type = "string_pattern_mismatch";
    entry->message = arena_printf(arena, "String should match pattern '%s'", rule->pattern->text);
    entry->context = arena_printf(arena, "{\"pattern\":%.*s}", BYTES_ARG(pattern));
}

static struct entry describe(const struct violation *violation, const struct json_doc *doc,
                             struct arena *arena)
{
    struct entry entry = {.type = "value_error", .input_max = INPUT_MAX};

    switch (violation->kind) {
    case VIOLATION_MISSING:
        entry =
            (struct entry){.type = "missing", .message = BYTES("Field required"), .input_max = PARENT_MAX};
        break;
    case VIOLATION_TYPE:
        describe_type(&entry, violation, arena);
        break;
    case VIOLATION_ABOVE:
    case VIOLATION_BELOW:
        describe_range(&entry, violation, arena);
        break;
    case VIOLATION_VALUE:
        describe_literal(&entry, violation->rule, arena);
        break;
    case VIOLATION_TOO_LONG:
    case VIOLATION_TOO_SHORT:
        describe_size(&entry, violation, arena);
        break;
    case VIOLATION_PATTERN:
        describe_pattern(&entry, violation->rule, arena);
        break;
    default: {
        struct failure failure = violation_failure(violation, doc, arena);

        entry.message = arena_printf(arena, "Value error, %.*s", BYTES_ARG(failure.message));
    }
    }
    return entry;
}

/* --- writing --- */

/* Up to the message; the caller adds what follows, and closes. */
static void open_item(struct buffer *out, const char *type, const char *loc)
{
    buffer_append(out, BYTES("{\"type\":\""));
    buffer_append_text(out, type);
    buffer_append(out, BYTES("\",\"loc\":[\"body\""));
    buffer_append_text(out, loc);
}

static void write_message(struct buffer *out, struct bytes message)
{
    buffer_append(out, BYTES("],\"msg\":"));
    json_write_string(out, message);
}

static void write_step(struct buffer *out, struct bytes name)
{
    buffer_append_char(out, ',');
    json_write_string(out, utf8_cut(name, STEP_MAX));
}

static void write_violation(struct buffer *out, const struct violation *violation, const struct json_doc *doc,
                            struct arena *arena)
{
    struct entry entry = describe(violation, doc, arena);
    struct bytes input = json_raw(doc, violation->node);

    open_item(out, entry.type, "");
    for (unsigned i = 0; i < violation->depth; i++) {
        const struct path_step *step = &violation->path[i];

        if (step->name.data)
            write_step(out, step->name);
        else
            buffer_printf(out, ",%" PRIu32, step->index);
    }
    write_message(out, entry.message);
    if (input.size <= entry.input_max) {
        buffer_append(out, BYTES(",\"input\":"));
        buffer_append(out, input);
    }
    if (entry.context.data) {
        buffer_append(out, BYTES(",\"ctx\":"));
        buffer_append(out, entry.context);
    }
    buffer_append_char(out, '}');
}

void pydantic_write(struct buffer *out, const struct violations *found, const struct json_doc *doc,
                    struct arena *arena)
{
    buffer_append_char(out, '[');
    for (unsigned i = 0; i < found->count; i++) {
        if (i > 0)
            buffer_append_char(out, ',');
        write_violation(out, &found->item[i], doc, arena);
    }
    buffer_append_char(out, ']');
}

struct bytes pydantic_model_message(const struct bytes *names, unsigned count, struct arena *arena)
{
    struct bytes list = alternatives(arena, names, count);

    return arena_printf(arena, "Input should be %.*s", BYTES_ARG(list));
}

struct bytes pydantic_model_list(struct bytes model, const struct bytes *names, unsigned count,
                                 struct arena *arena)
{
    struct buffer out;
    struct bytes copy;

    buffer_init(&out);
    buffer_append_char(&out, '[');
    open_item(&out, "literal_error", ",\"model\"");
    write_message(&out, pydantic_model_message(names, count, arena));
    json_write_member_string(&out, "input", model);
    buffer_append(&out, BYTES(",\"ctx\":{"));
    json_write_member_string(&out, "expected", alternatives(arena, names, count));
    buffer_append(&out, BYTES("}}]"));
    copy = arena_copy(arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return copy;
}

/* The next step of PATH, which is moved on behind it. */
static struct bytes next_step(struct bytes *path)
{
    struct bytes step = *path;
    size_t size = 0;

    while (size < path->size && !memchr(".[]", path->data[size], 3))
        size++;
    step.size = size;
    while (size < path->size && memchr(".[]", path->data[size], 3))
        size++;
    *path = bytes_skip(*path, size);
    return step;
}

void pydantic_write_plain(struct buffer *out, const char *type, struct bytes path, struct bytes message)
{
    buffer_append_char(out, '[');
    open_item(out, type, "");
    while (path.size > 0) {
        struct bytes step = next_step(&path);
        int64_t index;

        if (bytes_to_i64(step, &index) == 0) {
            buffer_append_char(out, ',');
            buffer_append_i64(out, index);
        } else if (step.size > 0) {
            write_step(out, step);
        }
    }
    write_message(out, message);
    buffer_append(out, BYTES("}]"));
}
