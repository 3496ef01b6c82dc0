/*
 * Every reader takes the whole text or refuses it; no unit is guessed.
 */
#include "config/values.h"

#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>

struct unit {
    struct bytes name;
    uint64_t factor;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Digits, then one of UNITS. */
static int number_with_unit(struct bytes text, const struct unit *units, size_t count, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t number = 0;

    while (digits < text.size && is_digit(text.data[digits])) {
        if (digits == 15)
            return -ERANGE;
        number = number * 10 + (uint64_t)(text.data[digits++] - '0');
    }
    if (digits == 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal(bytes_skip(text, digits), units[i].name))
            continue;
        if (number > UINT64_MAX / units[i].factor)
            return -ERANGE;
        *ret = number * units[i].factor;
        return 0;
    }
    return -EINVAL;
}

int value_duration(struct bytes text, uint64_t *ret_ms)
{
    static const struct unit units[] = {
        {{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}, {{"d", 1}, 86400000}};

    if (bytes_equal(text, BYTES("0"))) {
        *ret_ms = 0;
        return 0;
    }
    return number_with_unit(text, units, ARRAY_SIZE(units), ret_ms);
}

int value_size(struct bytes text, uint64_t *ret)
{
    static const struct unit units[] = {
        {{"", 0}, 1},        {{"k", 1}, 1 << 10}, {{"m", 1}, 1 << 20}, {{"g", 1}, 1 << 30},
        {{"K", 1}, 1 << 10}, {{"M", 1}, 1 << 20}, {{"G", 1}, 1 << 30},
    };

    return number_with_unit(text, units, ARRAY_SIZE(units), ret);
}

int value_number(struct bytes text, uint64_t *ret)
{
    static const struct unit units[] = {
        {{"", 0}, 1}, {{"k", 1}, 1000}, {{"m", 1}, 1000000}, {{"K", 1}, 1000}, {{"M", 1}, 1000000},
    };

    return number_with_unit(text, units, ARRAY_SIZE(units), ret);
}

int value_money(struct bytes text, uint64_t *ret)
{
    size_t at = 0, whole, decimals = 0;
    uint64_t amount = 0;

    for (; at < text.size && is_digit(text.data[at]) && at <= 12; at++)
        amount = amount * 10 + (uint64_t)(text.data[at] - '0');
    whole = at;
    if (at < text.size && text.data[at] == '.')
        for (at++; at < text.size && is_digit(text.data[at]) && decimals < 6; at++, decimals++)
            amount = amount * 10 + (uint64_t)(text.data[at] - '0');
    if (whole > 12)
        return -ERANGE;
    if (at != text.size || whole == 0 || at == whole + 1)
        return -EINVAL;
    for (; decimals < 6; decimals++)
        amount *= 10;
    *ret = amount;
    return 0;
}

/* TEXT has the form of FORM, where 0 is any digit. */
static bool has_form(struct bytes text, struct bytes form)
{
    if (text.size != form.size)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (form.data[i] == '0' ? !is_digit(text.data[i]) : text.data[i] != form.data[i])
            return false;
    return true;
}

static int64_t digits_at(struct bytes text, size_t at, size_t count)
{
    int64_t number = 0;

    while (count--)
        number = number * 10 + (text.data[at++] - '0');
    return number;
}

/* Days from 1970-01-01 to the given day of the Gregorian calendar. */
static int64_t days_before(int64_t year, int64_t month, int64_t day)
{
    static const int64_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t last = month > 2 ? year : year - 1; /* whose leap day has passed */

    return 365 * (year - 1970) + last / 4 - last / 100 + last / 400 - 477 + before[month - 1] + day - 1;
}

int value_time(struct bytes text, int64_t *ret_s)
{
    static const int64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day, hour = 0, minute = 0, second = 0;
    bool leap;

    if (!has_form(text, BYTES("0000-00-00")) && !has_form(text, BYTES("0000-00-00T00:00:00Z")))
        return -EINVAL;
    year = digits_at(text, 0, 4);
    month = digits_at(text, 5, 2);
    day = digits_at(text, 8, 2);
    if (text.size > 10) {
        hour = digits_at(text, 11, 2);
        minute = digits_at(text, 14, 2);
        second = digits_at(text, 17, 2);
    }
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1] + (month == 2 && leap) ||
        hour > 23 || minute > 59 || second > 59)
        return -EINVAL;
    *ret_s = days_before(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return 0;
}

bool value_is_name(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i], small = (char)(byte | 0x20);

        if (!(small >= 'a' && small <= 'z') && !is_digit(byte) && !strchr("._-:/@+", byte))
            return false;
    }
    return text.size > 0;
}

/* Past the digits at AT; how many there were in *RET. */
static size_t skip_digits(struct bytes text, size_t at, size_t *ret)
{
    size_t from = at;

    while (at < text.size && is_digit(text.data[at]))
        at++;
    *ret = at - from;
    return at;
}

bool value_is_number(struct bytes text, bool *ret_whole)
{
    size_t at = text.size && text.data[0] == '-', digits;
    bool whole = true;

    if (at < text.size && text.data[at] == '0') {
        at++;
    } else {
        at = skip_digits(text, at, &digits);
        if (!digits)
            return false;
    }
    if (at < text.size && text.data[at] == '.') {
        whole = false;
        at = skip_digits(text, at + 1, &digits);
        if (!digits)
            return false;
    }
    if (at < text.size && (text.data[at] == 'e' || text.data[at] == 'E')) {
        whole = false;
        at++;
        at += at < text.size && (text.data[at] == '+' || text.data[at] == '-');
        at = skip_digits(text, at, &digits);
        if (!digits)
            return false;
    }
    *ret_whole = whole;
    return at == text.size;
}

/* The length of the variable name that TEXT begins with. */
static size_t name_length(struct bytes text)
{
    size_t size = 0;

    for (; size < text.size; size++) {
        char byte = text.data[size], small = (char)(byte | 0x20);

        if (!(small >= 'a' && small <= 'z') && byte != '_' && !(size && is_digit(byte)))
            break;
    }
    return size;
}

/* TEXT stands behind a "${". */
static int expand_one(struct arena *arena, struct bytes *text, struct buffer *out, struct bytes *ret)
{
    size_t size = name_length(*text);
    struct bytes name;
    const char *value;

    if (size == 0 || size == text->size || text->data[size] != '}')
        return VALUE_E_GRAMMAR;
    name = arena_copy(arena, (struct bytes){text->data, size});
    value = getenv(name.data);
    if (!value) {
        *ret = name;
        return VALUE_E_UNSET;
    }
    buffer_append_text(out, value);
    *text = bytes_skip(*text, size + 1);
    return 0;
}

int value_expand(struct arena *arena, struct bytes text, struct bytes *ret)
{
    struct buffer out;
    int r = 0;

    buffer_init(&out);
    while (text.size && r == 0) {
        if (bytes_start_with(text, BYTES("$${"))) {
            buffer_append_text(&out, "${");
            text = bytes_skip(text, 3);
        } else if (bytes_start_with(text, BYTES("${"))) {
            text = bytes_skip(text, 2);
            r = expand_one(arena, &text, &out, ret);
        } else {
            buffer_append_char(&out, text.data[0]);
            text = bytes_skip(text, 1);
        }
    }
    if (r == 0)
        *ret = arena_copy(arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return r;
}
