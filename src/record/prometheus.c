/*
 * A sample is written once, left to right. The lines of a histogram have the same labels: those of the first are copied
 * to the others, so nothing is escaped twice.
 */
#include "record/prometheus.h"

#include "base/utf8.h"

/* Stands for what cannot be told in this format. */
#define UNKNOWN "\xEF\xBF\xBD"

/* How many bytes at the front of VIEW go in as they are. */
static size_t plain_prefix(struct bytes view, bool quoted)
{
    size_t size = 0;

    while (size < view.size && view.data[size] != '\\' && view.data[size] != '\n' && view.data[size] &&
           !(quoted && view.data[size] == '"'))
        size++;
    return size;
}

/* Text that is UTF-8. */
static void write_escaped(struct buffer *out, struct bytes text, bool quoted)
{
    while (text.size) {
        size_t plain = plain_prefix(text, quoted);

        buffer_append(out, (struct bytes){text.data, plain});
        text = bytes_skip(text, plain);
        if (!text.size)
            return;
        if (text.data[0] == '\n') {
            buffer_append_text(out, "\\n");
        } else if (text.data[0]) {
            buffer_append_char(out, '\\');
            buffer_append_char(out, text.data[0]);
        } else {
            buffer_append_text(out, UNKNOWN);
        }
        text = bytes_skip(text, 1);
    }
}

/* One bad byte would make the whole page unreadable. */
static void write_value(struct buffer *out, struct bytes value)
{
    while (value.size) {
        size_t good = utf8_valid_prefix(value);

        write_escaped(out, (struct bytes){value.data, good}, true);
        value = bytes_skip(value, good);
        if (value.size) {
            buffer_append_text(out, UNKNOWN);
            value = bytes_skip(value, 1);
        }
    }
}

static void write_labels(struct buffer *out, const struct prometheus_series *series)
{
    for (unsigned i = 0; i < series->count; i++) {
        if (i)
            buffer_append_char(out, ',');
        buffer_append_text(out, series->labels[i].name);
        buffer_append(out, BYTES("=\""));
        write_value(out, series->labels[i].value);
        buffer_append_char(out, '"');
    }
}

static void write_decimal(struct buffer *out, uint64_t millionths)
{
    uint64_t rest = millionths % 1000000;
    char digits[6];
    size_t size = 0;

    buffer_append_u64(out, millionths / 1000000);
    if (!rest)
        return;
    for (uint64_t unit = 100000; rest; unit /= 10) {
        digits[size++] = (char)('0' + rest / unit);
        rest %= unit;
    }
    buffer_append_char(out, '.');
    buffer_append(out, (struct bytes){digits, size});
}

static void write_name(struct buffer *out, const struct prometheus_series *series)
{
    buffer_append_text(out, series->name);
    if (!series->count)
        return;
    buffer_append_char(out, '{');
    write_labels(out, series);
    buffer_append_char(out, '}');
}

void prometheus_family(struct buffer *out, const char *name, const char *kind, const char *help)
{
    buffer_append(out, BYTES("# HELP "));
    buffer_append_text(out, name);
    buffer_append_char(out, ' ');
    write_escaped(out, bytes_of(help), false);
    buffer_append(out, BYTES("\n# TYPE "));
    buffer_append_text(out, name);
    buffer_append_char(out, ' ');
    buffer_append_text(out, kind);
    buffer_append_char(out, '\n');
}

void prometheus_sample(struct buffer *out, const struct prometheus_series *series, int64_t value)
{
    write_name(out, series);
    buffer_append_char(out, ' ');
    buffer_append_i64(out, value);
    buffer_append_char(out, '\n');
}

void prometheus_sample_decimal(struct buffer *out, const struct prometheus_series *series, uint64_t millionths)
{
    write_name(out, series);
    buffer_append_char(out, ' ');
    write_decimal(out, millionths);
    buffer_append_char(out, '\n');
}

void prometheus_single(struct buffer *out, const char *name, const char *kind, const char *help, int64_t value)
{
    prometheus_family(out, name, kind, help);
    prometheus_sample(out, &(struct prometheus_series){.name = name}, value);
}

/* --- histograms --- */

/* Where in OUT the labels stand that were written first. */
struct written {
    size_t from, size;
};

static void write_again(struct buffer *out, struct written labels)
{
    char *to = buffer_reserve(out, labels.size);

    memcpy(to, out->data + labels.from, labels.size);
    out->size += labels.size;
}

static void write_number(struct buffer *out, uint64_t value, bool decimal)
{
    if (decimal)
        write_decimal(out, value);
    else
        buffer_append_u64(out, value);
}

static void write_bucket(struct buffer *out, const struct prometheus_buckets *buckets, unsigned i)
{
    buffer_append(out, BYTES("le=\""));
    if (i + 1 == buckets->count)
        buffer_append(out, BYTES("+Inf"));
    else
        write_number(out, buckets->bounds[i], buckets->decimal);
    buffer_append(out, BYTES("\"} "));
    buffer_append_u64(out, buckets->cumulative[i]);
    buffer_append_char(out, '\n');
}

static void write_total(struct buffer *out, const char *name, const char *end, struct written labels, uint64_t value,
                        bool decimal)
{
    buffer_append_text(out, name);
    buffer_append_text(out, end);
    if (labels.size) {
        buffer_append_char(out, '{');
        write_again(out, (struct written){labels.from, labels.size - 1});
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ' ');
    write_number(out, value, decimal);
    buffer_append_char(out, '\n');
}

void prometheus_histogram(struct buffer *out, const struct prometheus_series *series,
                          const struct prometheus_buckets *buckets)
{
    struct written labels = {0};

    for (unsigned i = 0; i < buckets->count; i++) {
        buffer_append_text(out, series->name);
        buffer_append(out, BYTES("_bucket{"));
        if (i) {
            write_again(out, labels);
        } else {
            labels.from = out->size;
            write_labels(out, series);
            if (series->count)
                buffer_append_char(out, ',');
            labels.size = out->size - labels.from;
        }
        write_bucket(out, buckets, i);
    }
    write_total(out, series->name, "_sum", labels, buckets->sum, buckets->decimal);
    write_total(out, series->name, "_count", labels, buckets->cumulative[buckets->count - 1], false);
}
