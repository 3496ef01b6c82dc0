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

void table_name(struct buffer *out, struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        unsigned char byte = (unsigned char)name.data[i];
        bool high = byte == 0xc2 && i + 1 < name.size && (unsigned char)name.data[i + 1] < 0xa0;

        if (byte < 0x20 || byte == 0x7f || high)
            buffer_printf(out, "\\x%02x", high ? (unsigned char)name.data[++i] : byte);
        else
            buffer_append_char(out, name.data[i]);
    }
}
