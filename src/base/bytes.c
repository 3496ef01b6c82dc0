/*
 * Views are compared and searched here; the numbers in them are read here, strictly.
 */
#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

bool bytes_start_with(struct bytes view, struct bytes prefix)
{
    return view.size >= prefix.size && memcmp(view.data, prefix.data, prefix.size) == 0;
}

bool bytes_end_with(struct bytes view, struct bytes suffix)
{
    return view.size >= suffix.size &&
           memcmp(view.data + view.size - suffix.size, suffix.data, suffix.size) == 0;
}

size_t bytes_find(struct bytes haystack, struct bytes needle)
{
    const char *at;

    if (haystack.size < needle.size)
        return haystack.size;
    at = memmem(haystack.data, haystack.size, needle.data, needle.size);
    return at ? (size_t)(at - haystack.data) : haystack.size;
}

struct bytes bytes_trim(struct bytes view)
{
    while (view.size && (view.data[0] == ' ' || view.data[0] == '\t'))
        view = bytes_skip(view, 1);
    while (view.size && (view.data[view.size - 1] == ' ' || view.data[view.size - 1] == '\t'))
        view.size--;
    return view;
}

int bytes_to_i64(struct bytes view, int64_t *ret)
{
    bool negative = view.size && view.data[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t value = 0;

    if (negative)
        view = bytes_skip(view, 1);
    if (view.size == 0)
        return -EINVAL;
    for (size_t i = 0; i < view.size; i++) {
        unsigned digit = (unsigned char)view.data[i] - '0';

        if (digit > 9)
            return -EINVAL;
        if (value > (limit - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}

int bytes_hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int bytes_percent(struct bytes view, size_t at)
{
    int high, low;

    if (view.size - at < 3 || view.data[at] != '%')
        return -1;
    high = bytes_hex_digit(view.data[at + 1]);
    low = bytes_hex_digit(view.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Few digits with a point among them: their quotient by a power of ten that is exact is the nearest double. */
static bool plain_decimal(struct bytes view, double *ret)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t at = view.size && view.data[0] == '-', point = view.size;
    bool negative = at;
    uint64_t digits = 0;

    if (view.size == at || view.size - at > 15)
        return false;
    for (; at < view.size; at++) {
        if (view.data[at] == '.' && point == view.size && at + 1 < view.size && at > negative)
            point = at + 1;
        else if (view.data[at] >= '0' && view.data[at] <= '9')
            digits = digits * 10 + (uint64_t)(view.data[at] - '0');
        else
            return false;
    }
    *ret = (negative ? -(double)digits : (double)digits) / powers[view.size - point];
    return true;
}

int bytes_to_double(struct bytes view, double *ret)
{
    char text[64];
    char *end;

    if (plain_decimal(view, ret))
        return 0;
    if (view.size == 0 || view.size >= sizeof(text))
        return -EINVAL;
    memcpy(text, view.data, view.size);
    text[view.size] = '\0';
    *ret = strtod(text, &end);
    return end == text + view.size ? 0 : -EINVAL;
}
