/*
 * The house's words for a violation are those of the OpenAI API: users' programs match on them.
 */
#include "chat/violation.h"

#include "base/buffer.h"
#include "base/utf8.h"

#include <inttypes.h>

#define QUOTED_MAX 64 /* bytes of the client's own text in a message */

const char *rule_value(const struct rule *rule, unsigned index)
{
    return rule->tags ? rule->tags[index].value : rule->values[index];
}

struct bytes violation_path(const struct violation *violation, struct arena *arena)
{
    struct buffer text;
    struct bytes copy;

    if (violation->depth == 0)
        return BYTES_NONE;
    buffer_init(&text);
    for (unsigned i = 0; i < violation->depth; i++) {
        const struct path_step *step = &violation->path[i];

        if (!step->name.data) {
            buffer_printf(&text, "[%" PRIu32 "]", step->index);
            continue;
        }
        if (i > 0)
            buffer_append_char(&text, '.');
        buffer_append(&text, utf8_cut(step->name, QUOTED_MAX));
    }
    copy = arena_copy(arena, buffer_bytes(&text));
    buffer_deinit(&text);
    return copy;
}

static const char *expected(const struct rule *rule)
{
    static const char *const by_type[] = {
        [RULE_ANYTHING] = "a value", [RULE_BOOLEAN] = "a boolean",   [RULE_INTEGER] = "an integer",
        [RULE_NUMBER] = "a number",  [RULE_STRING] = "a string",     [RULE_ARRAY] = "an array",
        [RULE_OBJECT] = "an object", [RULE_EITHER] = "another type",
    };

    return rule->expected ? rule->expected : by_type[rule->type];
}

static const char *got(const struct violation *violation, const struct json_doc *doc)
{
    int64_t integer;

    switch (violation->node->type) {
    case JSON_NULL:
        return "null";
    case JSON_FALSE:
    case JSON_TRUE:
        return "a boolean";
    case JSON_STRING:
        return "a string";
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    default:
        if (violation->rule->type == RULE_NUMBER)
            return "one that is out of range";
        return json_i64(doc, violation->node, &integer) == 0 ? "an integer" : "a decimal number";
    }
}

/* "'a', 'b', and 'c'." */
static struct bytes supported(const struct rule *rule, struct arena *arena)
{
    struct bytes list = BYTES_NONE;

    for (unsigned i = 0; rule_value(rule, i); i++) {
        bool last = !rule_value(rule, i + 1);
        const char *before = i == 0 ? "" : !last ? ", " : i == 1 ? " and " : ", and ";

        list = arena_printf(arena, "%.*s%s'%s'", BYTES_ARG(list), before, rule_value(rule, i));
    }
    return list;
}

/* What a string, an array and an object are counted in. */
struct measure {
    const char *code_long, *code_short;
    const char *noun;   /* "an array" */
    const char *empty;  /* "array" */
    const char *excess; /* "array too long" */
    const char *with;   /* "maximum length", between "with" and the number ... */
    const char *having; /* ... "length", the same for what came ... */
    const char *unit;   /* ... and after it */
};

static const struct measure *measure_of(const struct rule *rule)
{
    static const struct measure of_string = {
        .code_long = "string_above_max_length",
        .code_short = "empty_string",
        .noun = "a string",
        .empty = "string",
        .excess = "string too long",
        .with = "maximum length ",
        .having = "length ",
        .unit = "",
    };
    static const struct measure of_array = {
        .code_long = "array_above_max_length",
        .code_short = "empty_array",
        .noun = "an array",
        .empty = "array",
        .excess = "array too long",
        .with = "maximum length ",
        .having = "length ",
        .unit = "",
    };
    static const struct measure of_object = {
        .code_long = "object_above_max_properties",
        .code_short = "empty_object",
        .noun = "an object",
        .empty = "object",
        .excess = "too many properties",
        .with = "at most ",
        .having = "",
        .unit = " properties",
    };

    return rule->type == RULE_STRING ? &of_string : rule->type == RULE_ARRAY ? &of_array : &of_object;
}

static struct bytes too_long(const struct violation *violation, struct bytes path, struct arena *arena)
{
    const struct measure *in = measure_of(violation->rule);

    return arena_printf(arena,
                        "Invalid '%.*s': %s. Expected %s with %s%" PRId64 "%s, but got %s with %s%" PRIu64
                        "%s instead.",
                        BYTES_ARG(path), in->excess, in->noun, in->with, violation->rule->max, in->unit,
                        in->noun, in->having, violation->actual, in->unit);
}

static struct bytes too_short(const struct violation *violation, struct bytes path, struct arena *arena)
{
    const struct measure *in = measure_of(violation->rule);

    return arena_printf(arena,
                        "Invalid '%.*s': empty %s. Expected %s with minimum length %" PRId64
                        ", but got an empty %s instead.",
                        BYTES_ARG(path), in->empty, in->noun, violation->rule->min, in->empty);
}

static struct bytes out_of_range(const struct violation *violation, struct bytes path,
                                 const struct json_doc *doc, struct arena *arena)
{
    bool above = violation->kind == VIOLATION_ABOVE;
    struct bytes value = utf8_cut(json_raw(doc, violation->node), QUOTED_MAX);

    return arena_printf(
        arena, "Invalid '%.*s': %s %s value. Expected a value %s %" PRId64 ", but got %.*s instead.",
        BYTES_ARG(path), violation->rule->type == RULE_INTEGER ? "integer" : "decimal",
        above ? "above maximum" : "below minimum",
        above ? "<=" : ">=", above ? violation->rule->max : violation->rule->min, BYTES_ARG(value));
}

static struct bytes wrong_type(const struct violation *violation, struct bytes path,
                               const struct json_doc *doc, struct arena *arena)
{
    const char *wanted = expected(violation->rule), *came = got(violation, doc);

    if (path.size == 0)
        return arena_printf(arena, "Invalid type: expected %s, but got %s instead.", wanted, came);
    return arena_printf(arena, "Invalid type for '%.*s': expected %s, but got %s instead.", BYTES_ARG(path),
                        wanted, came);
}

static struct bytes wrong_value(const struct violation *violation, const struct json_doc *doc,
                                struct arena *arena)
{
    struct bytes value = utf8_cut(json_text(doc, violation->node, arena), QUOTED_MAX);
    struct bytes values = supported(violation->rule, arena);

    return arena_printf(arena, "Invalid value: '%.*s'. Supported values are: %.*s.", BYTES_ARG(value),
                        BYTES_ARG(values));
}

static struct bytes message(const struct violation *violation, struct bytes path, const struct json_doc *doc,
                            struct arena *arena)
{
    switch (violation->kind) {
    case VIOLATION_MISSING:
        return arena_printf(arena, "Missing required parameter: '%.*s'.", BYTES_ARG(path));
    case VIOLATION_TYPE:
        return wrong_type(violation, path, doc, arena);
    case VIOLATION_ABOVE:
    case VIOLATION_BELOW:
        return out_of_range(violation, path, doc, arena);
    case VIOLATION_VALUE:
        return wrong_value(violation, doc, arena);
    case VIOLATION_PATTERN:
        return arena_printf(arena,
                            "Invalid '%.*s': string does not match pattern. "
                            "Expected a string that matches the pattern '%s'.",
                            BYTES_ARG(path), violation->rule->pattern->text);
    case VIOLATION_TOO_LONG:
        return too_long(violation, path, arena);
    case VIOLATION_TOO_SHORT:
        return too_short(violation, path, arena);
    case VIOLATION_DUPLICATE:
        return arena_printf(arena, "Duplicate parameter: '%.*s'.", BYTES_ARG(path));
    case VIOLATION_ONLY_WITH:
        return arena_printf(arena, "The '%.*s' parameter is only allowed when '%s' is enabled.",
                            BYTES_ARG(path), violation->sibling);
    case VIOLATION_NOT_WITH:
        return arena_printf(arena, "The '%.*s' parameter is not supported here when '%s' is enabled.",
                            BYTES_ARG(path), violation->sibling);
    }
    return BYTES_NONE;
}

static const char *code(const struct violation *violation)
{
    bool integer = violation->rule->type == RULE_INTEGER;

    switch (violation->kind) {
    case VIOLATION_MISSING:
        return "missing_required_parameter";
    case VIOLATION_TYPE:
        return "invalid_type";
    case VIOLATION_ABOVE:
        return integer ? "integer_above_max_value" : "decimal_above_max_value";
    case VIOLATION_BELOW:
        return integer ? "integer_below_min_value" : "decimal_below_min_value";
    case VIOLATION_VALUE:
    case VIOLATION_PATTERN:
        return "invalid_value";
    case VIOLATION_TOO_LONG:
        return measure_of(violation->rule)->code_long;
    case VIOLATION_TOO_SHORT:
        return measure_of(violation->rule)->code_short;
    case VIOLATION_DUPLICATE:
        return "duplicate_parameter";
    case VIOLATION_NOT_WITH:
        return "unsupported_parameter";
    case VIOLATION_ONLY_WITH:
        break;
    }
    return NULL;
}

struct failure violation_failure(const struct violation *violation, const struct json_doc *doc,
                                 struct arena *arena)
{
    struct bytes path = violation_path(violation, arena);

    return (struct failure){
        .kind = FAIL_INVALID,
        .message = message(violation, path, doc, arena),
        .param = path,
        .code = bytes_of(code(violation)),
    };
}
