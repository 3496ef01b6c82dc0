/*
 * A list of NAME or NAME=VALUE, where a value is a word or a quoted text that may hold commas. One pass; a directive
 * with anything else about it is passed by up to its comma.
 */
#include "entry/cache_control.h"

struct directive {
    struct bytes name, value;   /* the value without its quotes, its escapes as they are */
};

/* The size of the quoted text that TEXT begins with, both quotes included; 0 when it does not end. */
static size_t quoted_size(struct bytes text)
{
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == '"')
            return i + 1;
        if (text.data[i] == '\\')
            i++;
    }
    return 0;
}

/* The size of the directive that TEXT begins with: up to a comma that is not quoted. A quote that does not end takes
 * the rest. */
static size_t directive_size(struct bytes text)
{
    size_t at = 0;

    while (at < text.size && text.data[at] != ',') {
        size_t quoted = text.data[at] == '"' ? quoted_size(bytes_skip(text, at)) : 1;

        if (quoted == 0)
            return text.size;
        at += quoted;
    }
    return at;
}

/* TEXT is one directive. White space around the equals sign is none of the grammar, and harmless. */
static struct directive split(struct bytes text)
{
    size_t equals = bytes_find(text, BYTES("="));
    struct directive directive = {.name = bytes_trim((struct bytes){text.data, equals})};

    if (equals == text.size)
        return directive;
    directive.value = bytes_trim(bytes_skip(text, equals + 1));
    if (directive.value.size >= 2 && directive.value.data[0] == '"' &&
        quoted_size(directive.value) == directive.value.size)
        directive.value = (struct bytes){directive.value.data + 1, directive.value.size - 2};
    return directive;
}

/* The strict reading: what is no number allows no age at all. */
static uint32_t seconds(struct bytes text)
{
    uint64_t number = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
        if (number > CACHE_CONTROL_AGE_MOST)
            number = CACHE_CONTROL_AGE_MOST;
    }
    return (uint32_t)number;
}

/* Whatever its value: where none belongs, asking anew is the safe side. */
static bool is_word(struct directive directive, const char *word)
{
    return bytes_equal_nocase(directive.name, bytes_of(word));
}

/* Of two ages the smaller one holds. */
static void take(struct directive directive, struct cache_control *control)
{
    control->no_cache |= is_word(directive, "no-cache");
    control->no_store |= is_word(directive, "no-store");
    control->only_if_cached |= is_word(directive, "only-if-cached");
    if (is_word(directive, "max-age")) {
        uint32_t age = seconds(directive.value);

        if (age < control->max_age_s)
            control->max_age_s = age;
    }
}

void cache_control_read(struct bytes value, struct cache_control *ret)
{
    *ret = (struct cache_control){.max_age_s = UINT32_MAX};
    while (value.size) {
        size_t size = directive_size(value);

        take(split((struct bytes){value.data, size}), ret);
        value = bytes_skip(value, size < value.size ? size + 1 : size);
    }
}
