/*
 * Numbers stand at the right of their columns; a name stands last in its line, for it may have any length.
 */
#include "command/text_table.h"

#include <stdio.h>

void table_count(struct buffer *out, uint64_t value)
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);

    for (int i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0)
            buffer_append_char(out, ',');
        buffer_append_char(out, digits[i]);
    }
}

void table_size(struct buffer *out, uint64_t bytes)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    double size = (double)bytes / 1024;
    size_t unit = 0;

    while (size >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        size /= 1024;
        unit++;
    }
    buffer_printf(out, "%.1f %s", size, units[unit]);
}

void table_ratio(struct buffer *out, uint64_t part, uint64_t all)
{
    if (all)
        buffer_printf(out, "%.1f %%", 100.0 * (double)part / (double)all);
    else
        buffer_append_char(out, '-');
}

void table_cell(struct buffer *out, struct buffer *cell, int width)
{
    buffer_printf(out, "%*.*s  ", width, BYTES_ARG(buffer_bytes(cell)));
    buffer_clear(cell, SIZE_MAX);
}

static const struct {
    uint32_t from, to;
} unseen[] = {
    {0x80, 0x9f},     {0x61c, 0x61c},   {0x180e, 0x180e}, {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
};

/* The character at AT, in *RET_SIZE bytes; 0 of a half one, or of what is none. */
static uint32_t character_at(struct bytes text, size_t at, size_t *ret_size)
{
    unsigned char first = (unsigned char)text.data[at];
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    uint32_t code = first & (0xffu >> (size + 1));

    if (size > text.size - at)
        return 0;
    for (size_t i = 1; i < size; i++) {
        unsigned char byte = (unsigned char)text.data[at + i];

        if ((byte & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte & 0x3fu);
    }
    *ret_size = size;
    return code;
}

size_t table_steers(struct bytes text, size_t at, uint32_t *ret_code)
{
    unsigned char first = (unsigned char)text.data[at];
    size_t size = 1;
    uint32_t code;

    if (first < 0xc0) {
        *ret_code = first;
        return first < 0x20 || first == 0x7f;
    }
    code = character_at(text, at, &size);
    for (size_t i = 0; i < ARRAY_SIZE(unseen); i++) {
        if (code < unseen[i].from || code > unseen[i].to)
            continue;
        *ret_code = code;
        return size;
    }
    return 0;
}

void table_name(struct buffer *out, struct bytes name)
{
    for (size_t i = 0; i < name.size;) {
        uint32_t code;
        size_t size = table_steers(name, i, &code);

        if (size)
            buffer_printf(out, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
        else
            buffer_append_char(out, name.data[i]);
        i += size ? size : 1;
    }
}
