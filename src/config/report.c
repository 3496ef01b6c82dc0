/*
 * A line is kept with its number and the order in which it was found; sorting by both makes the output read
 * like the file. Paths are made only here, when there is something to complain about.
 */
#include "config/report.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "config/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 100
#define QUOTE_MAX 80
#define MESSAGE_MAX 2000

struct report_line {
    uint32_t line;
    uint32_t order;
    bool option; /* from the command line, not from the file */
    struct bytes text;
};

void report_init(struct report *report, const char *name)
{
    *report = (struct report){.name = name};
}

void report_deinit(struct report *report)
{
    arena_deinit(&report->arena);
    alloc_free(report->lines);
    report_init(report, NULL);
}

static void keep(struct report *report, struct report_line line)
{
    if (report->count == LINES_MAX) {
        report->full = true;
        return;
    }
    if (report->count == report->capacity) {
        report->capacity = report->capacity ? report->capacity * 2 : 8;
        report->lines = alloc_resize(report->lines, report->capacity * sizeof(*report->lines));
    }
    line.order = report->count;
    line.text = arena_copy(&report->arena, line.text);
    report->lines[report->count++] = line;
}

/* Control bytes become \xNN; the text stays UTF-8. */
static void append_clean(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte < 0x20 || byte == 0x7f)
            buffer_printf(out, "\\x%02x", byte);
        else
            buffer_append_char(out, (char)byte);
    }
}

static void append_cut(struct buffer *out, struct bytes text)
{
    struct bytes cut = utf8_cut(text, QUOTE_MAX);

    append_clean(out, cut);
    if (cut.size < text.size)
        buffer_append_text(out, "...");
}

/* "backends[0].url" */
static void append_path(struct buffer *out, const struct tree_node *node)
{
    const struct tree_node *way[TREE_DEPTH_MAX + 2];
    size_t count = 0;

    for (; node && node->parent && count < ARRAY_SIZE(way); node = node->parent)
        way[count++] = node;
    while (count) {
        const struct tree_node *step = way[--count];

        if (step->parent->type == TREE_LIST) {
            buffer_printf(out, "[%u]", step->index);
            continue;
        }
        if (out->size)
            buffer_append_char(out, '.');
        append_cut(out, step->key);
    }
}

static __attribute__((format(printf, 2, 0))) void append_message(struct buffer *out, const char *format,
                                                                 va_list args)
{
    char message[MESSAGE_MAX];
    int size = vsnprintf(message, sizeof(message), format, args);

    if (size < 0)
        return;
    append_clean(out, utf8_cut((struct bytes){message, strlen(message)}, sizeof(message)));
}

void report_line(struct report *report, uint32_t line, const char *format, ...)
{
    struct buffer text;
    va_list args;

    buffer_init(&text);
    va_start(args, format);
    append_message(&text, format, args);
    va_end(args);
    keep(report, (struct report_line){.line = line, .text = buffer_bytes(&text)});
    buffer_deinit(&text);
}

void report_node(struct report *report, const struct tree_node *node, const char *format, ...)
{
    struct buffer text;
    va_list args;

    buffer_init(&text);
    append_path(&text, node);
    if (text.size)
        buffer_append_text(&text, ": ");
    va_start(args, format);
    append_message(&text, format, args);
    va_end(args);
    keep(report, (struct report_line){.line = node ? node->line : 0, .text = buffer_bytes(&text)});
    buffer_deinit(&text);
}

void report_member(struct report *report, const struct tree_node *node, const char *member,
                   const char *format, ...)
{
    const struct tree_node *child = tree_member(node, bytes_of(member));
    struct buffer text;
    va_list args;

    buffer_init(&text);
    append_path(&text, child ? child : node);
    if (!child) {
        if (text.size)
            buffer_append_char(&text, '.');
        buffer_append_text(&text, member);
    }
    buffer_append_text(&text, ": ");
    va_start(args, format);
    append_message(&text, format, args);
    va_end(args);
    if (child)
        node = child;
    keep(report, (struct report_line){.line = node ? node->line : 0, .text = buffer_bytes(&text)});
    buffer_deinit(&text);
}

void report_option(struct report *report, const char *option, const char *format, ...)
{
    struct buffer text;
    va_list args;

    buffer_init(&text);
    buffer_printf(&text, "%s: ", option);
    va_start(args, format);
    append_message(&text, format, args);
    va_end(args);
    keep(report, (struct report_line){.option = true, .text = buffer_bytes(&text)});
    buffer_deinit(&text);
}

const char *report_quote(struct report *report, struct bytes text)
{
    struct bytes quoted;
    struct buffer out;

    buffer_init(&out);
    buffer_append_char(&out, '"');
    append_cut(&out, text);
    buffer_append_char(&out, '"');
    quoted = arena_copy(&report->arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return quoted.data;
}

static int compare(const void *one, const void *other)
{
    const struct report_line *a = one, *b = other;

    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

void report_write(struct report *report, struct buffer *out)
{
    if (report->count)
        qsort(report->lines, report->count, sizeof(*report->lines), compare);
    for (uint32_t i = 0; i < report->count; i++) {
        const struct report_line *line = &report->lines[i];

        buffer_append_text(out, line->option || !report->name ? "command line" : report->name);
        if (line->line)
            buffer_printf(out, ":%u", line->line);
        buffer_append_text(out, ": ");
        buffer_append(out, line->text);
        buffer_append_char(out, '\n');
    }
    if (report->full)
        buffer_printf(out, "%s: and more\n", report->name ? report->name : "command line");
}
