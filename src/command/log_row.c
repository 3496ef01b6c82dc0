/*
 * For people: when, status, how long, first token, cache, tokens, who, where, what, and what went wrong. What has any
 * length stands at the end, so that the rest is in columns; nothing in it may steer the terminal.
 */
#include "command/log_row.h"

#include "record/record.h"
#include "command/text_table.h"

#define RED "\x1b[31m"
#define YELLOW "\x1b[33m"
#define PLAIN "\x1b[0m"

bool log_row_field_known(struct bytes name)
{
    static const char *const ours[] = {"seq", "run", "event", "dropped", "first", "last"};

    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (bytes_equal(name, bytes_of(ours[i])))
            return true;
    for (unsigned i = 0; i < record_field_count; i++)
        if (bytes_equal(name, bytes_of(record_fields[i].name)))
            return true;
    return false;
}

/* --- some fields --- */

/* White space between the tokens of a JSON value may be tabs. All else that steers stands inside of strings. */
static void write_json(struct buffer *out, struct bytes raw)
{
    for (size_t i = 0; i < raw.size;) {
        uint32_t code;
        size_t size = table_steers(raw, i, &code);

        if (size == 0)
            buffer_append_char(out, raw.data[i]);
        else if (code < 0x20)
            buffer_append_char(out, ' ');
        else if (code < 0x10000)
            buffer_printf(out, "\\u%04x", code);
        else
            buffer_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
        i += size ? size : 1;
    }
}

/* Strings as they are, but for what would break the columns; all else as JSON. */
static void write_fields(const struct log_form_spec *spec, struct log_line *line, struct buffer *out)
{
    for (unsigned i = 0; i < spec->field_count; i++) {
        const struct json_node *value = json_member(&line->doc, json_root(&line->doc), spec->fields[i]);

        if (i)
            buffer_append_char(out, '\t');
        if (json_is(value, JSON_STRING))
            table_name(out, json_text(&line->doc, value, &line->arena));
        else
            write_json(out, json_raw(&line->doc, value));
    }
    buffer_append_char(out, '\n');
}

/* --- for people --- */

static void write_time(struct log_line *line, struct buffer *out)
{
    struct bytes text = log_line_text(line, LOG_time);
    int64_t us;

    /* "2026-11-23T07:45:00.123Z" */
    if (text.size == 24 && log_time_read(text, &us) == 0)
        buffer_printf(out, "%.10s %.12s  ", text.data, text.data + 11);
    else
        buffer_printf(out, "%-23s  ", "?");
}

static void write_ms(struct log_line *line, enum log_field field, struct buffer *cell, struct buffer *out)
{
    uint64_t us;

    if (!log_line_us(line, field, &us))
        buffer_append_char(cell, '-');
    else if (us < 100000)
        buffer_printf(cell, "%.1f ms", (double)us / 1e3);
    else
        buffer_printf(cell, "%.2f s", (double)us / 1e6);
    table_cell(out, cell, 9);
}

static void write_tokens(struct log_line *line, struct buffer *cell, struct buffer *out)
{
    int64_t in = log_line_number(line, LOG_prompt_tokens, -1), made = log_line_number(line, LOG_completion_tokens, -1);

    if (in < 0 && made < 0)
        buffer_append_char(cell, '-');
    else
        buffer_printf(cell, "%lld+%lld", (long long)(in < 0 ? 0 : in), (long long)(made < 0 ? 0 : made));
    table_cell(out, cell, 11);
}

static void write_name(struct log_line *line, enum log_field field, size_t width, struct buffer *out)
{
    struct bytes name = log_line_text(line, field);
    size_t before = out->size;

    if (name.size)
        table_name(out, name);
    else
        buffer_append_char(out, '-');
    while (out->size - before < width)
        buffer_append_char(out, ' ');
    buffer_append_text(out, "  ");
}

static void write_end(struct log_line *line, struct buffer *out)
{
    struct bytes outcome = log_line_text(line, LOG_outcome), reason = log_line_text(line, LOG_reason);

    if (outcome.size && !bytes_equal(outcome, BYTES("ok"))) {
        table_name(out, outcome);
        buffer_append_text(out, reason.size ? ": " : "  ");
    }
    if (reason.size) {
        table_name(out, reason);
        buffer_append_text(out, "  ");
    }
    table_name(out, log_line_text(line, LOG_id));
}

static void write_request(struct log_line *line, struct buffer *out)
{
    int64_t status = log_line_number(line, LOG_status, 0);
    struct buffer cell;

    buffer_init(&cell);
    write_time(line, out);
    if (status)
        buffer_printf(out, "%3lld  ", (long long)status);
    else
        buffer_append_text(out, "  -  ");
    write_ms(line, LOG_total_ms, &cell, out);
    write_ms(line, LOG_ttft_ms, &cell, out);
    write_tokens(line, &cell, out);
    write_name(line, LOG_cache, 6, out);
    write_name(line, LOG_key, 10, out);
    write_name(line, LOG_backend, 10, out);
    write_name(line, LOG_model, 16, out);
    write_end(line, out);
    buffer_deinit(&cell);
}

static void write_loss(struct log_line *line, struct buffer *out)
{
    int64_t dropped = log_line_number(line, LOG_dropped, 0);

    write_time(line, out);
    table_count(out, (uint64_t)dropped);
    buffer_printf(out, " line%s dropped: numbers %lld to %lld", dropped == 1 ? " was" : "s were",
                  (long long)log_line_number(line, LOG_first, 0), (long long)log_line_number(line, LOG_last, 0));
}

/* What stands in OUT from FROM on is made to fit in WIDTH columns, each character counting as one. */
static void cut(struct buffer *out, size_t from, unsigned width)
{
    unsigned columns = 0;

    for (size_t at = from; at < out->size; at++) {
        if (((unsigned char)out->data[at] & 0xc0) == 0x80)
            continue;
        if (columns++ == width) {
            out->size = at;
            return;
        }
    }
}

static const char *colour_of(const struct log_line *line)
{
    int64_t status = log_line_number(line, LOG_status, 0);

    if (line->kind == LOG_LOSS || status >= 500)
        return RED;
    return status >= 400 || status == 0 ? YELLOW : NULL;
}

void log_row_write(const struct log_form_spec *spec, struct log_line *line, struct buffer *out)
{
    const char *colour = spec->colours ? colour_of(line) : NULL;
    size_t from;

    if (spec->form == LOG_FORM_JSON) {
        buffer_append(out, line->text);
        buffer_append_char(out, '\n');
        return;
    }
    if (spec->form == LOG_FORM_FIELDS) {
        write_fields(spec, line, out);
        return;
    }
    if (colour)
        buffer_append_text(out, colour);
    from = out->size;
    if (line->kind == LOG_LOSS)
        write_loss(line, out);
    else
        write_request(line, out);
    while (out->size > from && out->data[out->size - 1] == ' ')
        out->size--;
    if (spec->width)
        cut(out, from, spec->width);
    if (colour)
        buffer_append_text(out, PLAIN);
    buffer_append_char(out, '\n');
}
