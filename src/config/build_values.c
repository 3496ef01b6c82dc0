/*
 * Values of the file, one by one: expanded, read, held against their bounds.
 */
#include "config/build.h"

#include "base/utf8.h"
#include "config/suggest.h"
#include "config/values.h"

#include <errno.h>
#include <unistd.h>

#define WEEK_MS (7 * 24 * 3600 * 1000u)

bool build_free_text(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret)
{
    struct bytes text = BYTES_NONE;

    if (!raw)
        return false;
    switch (value_expand(build->arena, bytes_of(raw), &text)) {
    case VALUE_E_UNSET:
        report_node(build->report, node, "the environment variable %.*s is not set", BYTES_ARG(text));
        return false;
    case VALUE_E_GRAMMAR:
        report_node(build->report, node,
                    "\"${\" must begin ${NAME}; write \"$${\" for the characters themselves");
        return false;
    }
    if (!utf8_valid(text) || text.size == 0) {
        report_node(build->report, node,
                    text.size ? "is not valid UTF-8" : "is empty: the variable has no value");
        return false;
    }
    *ret = text;
    return true;
}

bool build_text(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret)
{
    struct bytes text;

    if (!build_free_text(build, node, raw, &text))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f)
            continue;
        report_node(build->report, node, "must not hold control characters (a line break at its end?)");
        return false;
    }
    *ret = text;
    return true;
}

/* False after a complaint, or when there is nothing. *RET_ERROR: -ERANGE, which is not complained of yet. */
static bool read_duration(struct build *build, const struct tree_node *node, const char *raw, uint64_t *ret_ms,
                          int *ret_error)
{
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return false;
    *ret_error = value_duration(text, ret_ms);
    if (*ret_error != -EINVAL)
        return true;
    report_node(build->report, node, "must be a duration such as 500ms, 10s, 5m or 1h, not %s",
                report_quote(build->report, node->text));
    return false;
}

void build_duration(struct build *build, const struct tree_node *node, const char *raw, bool zero,
                    uint32_t *target)
{
    uint64_t ms = 0;
    int r;

    if (!read_duration(build, node, raw, &ms, &r))
        return;
    if (r < 0 || ms > WEEK_MS)
        report_node(build->report, node, "must be at most a week");
    else if (ms == 0 && !zero)
        report_node(build->report, node, "must not be 0");
    else
        *target = (uint32_t)ms;
}

void build_duration_between(struct build *build, const struct tree_node *node, const char *raw, const char *least,
                            const char *most, uint32_t *target)
{
    uint64_t ms = 0, from = 0, to = 0;
    int r;

    if (!read_duration(build, node, raw, &ms, &r))
        return;
    value_duration(bytes_of(least), &from);
    value_duration(bytes_of(most), &to);
    if (r < 0 || ms < from || ms > to)
        report_node(build->report, node, "must be from %s to %s", least, most);
    else
        *target = (uint32_t)ms;
}

const char *build_size_text(struct build *build, uint64_t size)
{
    static const char *const units[] = {"", "k", "m", "g"};
    size_t unit = 0;

    while (size && size % 1024 == 0 && unit + 1 < ARRAY_SIZE(units)) {
        size /= 1024;
        unit++;
    }
    return arena_printf(&build->report->arena, "%llu%s", (unsigned long long)size, units[unit]).data;
}

bool build_size(struct build *build, const struct tree_node *node, const char *raw, uint64_t least, uint64_t most,
                uint64_t *target)
{
    struct bytes text;
    uint64_t size;
    int r;

    if (!node || tree_is_null(node))
        return true;
    if (!build_text(build, node, raw, &text))
        return false;
    r = value_size(text, &size);
    if (r == 0 && size >= least && size <= most) {
        *target = size;
        return true;
    }
    if (r == -EINVAL)
        report_node(build->report, node, "must be a size such as 512, 64k, 16m or 1g, not %s",
                    report_quote(build->report, node->text));
    else
        report_node(build->report, node, "must be from %s to %s", build_size_text(build, least),
                    build_size_text(build, most));
    return false;
}

bool build_number(struct build *build, const struct tree_node *node, const char *raw, uint64_t least, uint64_t most,
                  uint64_t *target)
{
    struct bytes text;
    uint64_t number;
    int r;

    if (!build_text(build, node, raw, &text))
        return false;
    r = value_number(text, &number);
    if (r == 0 && number >= least && number <= most) {
        *target = number;
        return true;
    }
    if (r == -EINVAL)
        report_node(build->report, node, "must be a number such as 60, 100k or 2m, not %s",
                    report_quote(build->report, node->text));
    else
        report_node(build->report, node, "must be from %llu to %llu", (unsigned long long)least,
                    (unsigned long long)most);
    return false;
}

void build_money(struct build *build, const struct tree_node *node, const char *raw, bool zero, uint64_t *target)
{
    struct bytes text;
    uint64_t amount;
    int r;

    if (!build_text(build, node, raw, &text))
        return;
    r = value_money(text, &amount);
    if (r == -EINVAL)
        report_node(build->report, node, "must be an amount such as 12.50, with at most six decimals, not %s",
                    report_quote(build->report, node->text));
    else if (r < 0)
        report_node(build->report, node, "must be below a million millions");
    else if (amount == 0 && !zero)
        report_node(build->report, node, "must not be 0");
    else
        *target = amount;
}

void build_count(struct build *build, const struct tree_node *map, const char *key, const uint32_t *raw,
                 uint32_t least, uint32_t most, uint32_t *target)
{
    if (!raw)
        return;
    if (*raw < least || *raw > most)
        report_member(build->report, map, key, "must be from %u to %u", least, most);
    else
        *target = *raw;
}

bool build_name(struct build *build, const struct tree_node *node, const char *raw, struct bytes *ret)
{
    if (!build_text(build, node, raw, ret))
        return false;
    if (value_is_name(*ret))
        return true;
    report_node(build->report, node, "may hold letters, digits and ._-:/@+ only");
    return false;
}

bool build_word(struct build *build, const struct tree_node *node, const char *raw, const char *const *words,
                size_t count, size_t *ret)
{
    struct nearest nearest = {0};
    struct buffer list;
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(text, bytes_of(words[i]))) {
            *ret = i;
            return true;
        }
    }
    nearest.word = node->text;
    buffer_init(&list);
    for (size_t i = 0; i < count; i++) {
        nearest_try(&nearest, words[i]);
        buffer_printf(&list, "%s%s", i ? ", " : "", words[i]);
    }
    buffer_append(&list, nearest_hint(build->report, &nearest));
    report_node(build->report, node, "%s is none of %.*s", report_quote(build->report, node->text),
                BYTES_ARG(buffer_bytes(&list)));
    buffer_deinit(&list);
    return false;
}

void build_flag(struct build *build, const struct tree_node *node, const char *raw, bool *target)
{
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return;
    if (!bytes_equal(text, BYTES("true")) && !bytes_equal(text, BYTES("false")))
        report_node(build->report, node, "must be true or false, not %s", report_quote(build->report, node->text));
    else
        *target = text.size == 4;
}

void build_share(struct build *build, const struct tree_node *node, const char *raw, uint32_t *target)
{
    double share = 0;
    struct bytes text;
    bool whole;

    if (!build_text(build, node, raw, &text))
        return;
    if (!value_is_number(text, &whole) || bytes_to_double(text, &share) < 0 || !(share >= 0 && share <= 1)) {
        report_node(build->report, node, "must be a number from 0 to 1, such as 0.01");
        return;
    }
    *target = (uint32_t)(share * 1e6 + 0.5);
    if (*target == 0 && share > 0)
        *target = 1;
}

void build_secret(struct build *build, const struct tree_node *node, const char *raw, struct bytes *target)
{
    if (!build_text(build, node, raw, target))
        return;
    for (size_t i = 0; i < target->size; i++) {
        if (target->data[i] > 0x20 && target->data[i] < 0x7f)
            continue;
        report_node(build->report, node, "must be visible ASCII characters without spaces");
        return;
    }
}

void build_ca_file(struct build *build, const struct tree_node *node, const char *raw, bool plain,
                   struct bytes *target)
{
    struct bytes path;

    if (!build_text(build, node, raw, &path))
        return;
    *target = build_path(build, path);
    if (plain)
        report_node(build->report, node, "is only for a URL with https");
    else if (access(target->data, R_OK) < 0)
        report_node(build->report, node, "%s cannot be read", report_quote(build->report, node->text));
}
