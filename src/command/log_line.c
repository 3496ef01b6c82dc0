/*
 * Members are found by the hash of their name, in a small table made once: a line has some sixty, and each is looked up
 * one time. Of a name that stands there twice the last counts.
 */
#include "command/log_line.h"

#include "config/values.h"

#include <errno.h>

/* Deeper and larger than any body that the gateway takes, which may stand in the line. */
#define LINE_LIMITS ((struct json_limits){.depth = 128, .nodes = 4000000})
#define SEQ_MOST (INT64_MAX / 4)
#define SLOTS 128 /* a power of two */

const char *const log_field_names[LOG_FIELD_COUNT] = {
#define LOG_FIELD_NAME(name) #name,
    LOG_FIELDS(LOG_FIELD_NAME)
#undef LOG_FIELD_NAME
};

static struct slot {
    struct bytes name;
    enum log_field field;
} slots[SLOTS];

static size_t slot_of(struct bytes name)
{
    const unsigned char *text = (const unsigned char *)name.data;

    return (text[0] * 7u + text[name.size - 1] * 31u + text[name.size / 2] * 13u + name.size) & (SLOTS - 1);
}

static void fill_slots(void)
{
    for (int i = 0; i < LOG_FIELD_COUNT; i++) {
        struct bytes name = bytes_of(log_field_names[i]);
        size_t at = slot_of(name);

        while (slots[at].name.size)
            at = (at + 1) & (SLOTS - 1);
        slots[at] = (struct slot){name, (enum log_field)i};
    }
}

void log_line_init(struct log_line *line)
{
    *line = (struct log_line){.kind = LOG_BROKEN};
    json_doc_init(&line->doc, LINE_LIMITS);
    if (slots[slot_of(BYTES("seq"))].name.size == 0)
        fill_slots();
}

void log_line_deinit(struct log_line *line)
{
    json_doc_deinit(&line->doc);
    arena_deinit(&line->arena);
}

/* --- reading --- */

static void take_member(struct log_line *line, const struct json_node *key)
{
    struct bytes name = {line->doc.text.data + key->start + 1, key->end - key->start - 2};
    size_t at;

    if (name.size == 0 || key->escaped)
        return;
    for (at = slot_of(name); slots[at].name.size; at = (at + 1) & (SLOTS - 1)) {
        if (!bytes_equal(slots[at].name, name))
            continue;
        line->values[slots[at].field] = key + 1;
        return;
    }
}

/* What the line is, by its members. */
static enum log_kind judge(struct log_line *line)
{
    int64_t first, last, dropped;

    if (json_i64(&line->doc, line->values[LOG_seq], &line->seq) != 0 || line->seq < 1 || line->seq > SEQ_MOST)
        return LOG_BROKEN;
    if (!line->values[LOG_event])
        return LOG_REQUEST;
    if (!json_is(line->values[LOG_event], JSON_STRING))
        return LOG_BROKEN;
    if (!json_text_is(&line->doc, line->values[LOG_event], BYTES("dropped")))
        return LOG_EVENT;
    first = log_line_number(line, LOG_first, -1);
    last = log_line_number(line, LOG_last, -1);
    dropped = log_line_number(line, LOG_dropped, -1);
    if (first < 1 || last < first || last > SEQ_MOST || dropped < 1 || dropped > last - first + 1)
        return LOG_BROKEN;
    return LOG_LOSS;
}

void log_line_read(struct log_line *line, struct bytes text)
{
    const struct json_doc *doc = &line->doc;
    const struct json_node *root;

    arena_deinit(&line->arena);
    memset(line->values, 0, sizeof(line->values));
    line->text = text;
    line->kind = LOG_BROKEN;
    if (text.size > LOG_LINE_MOST || json_doc_parse(&line->doc, text) != 0)
        return;
    root = json_root(doc);
    if (!json_is(root, JSON_OBJECT))
        return;
    for (const struct json_node *key = json_first(doc, root); key; key = json_after(doc, root, key))
        take_member(line, key);
    line->kind = judge(line);
}

/* --- values --- */

struct bytes log_line_text(struct log_line *line, enum log_field field)
{
    return json_text(&line->doc, line->values[field], &line->arena);
}

int64_t log_line_number(const struct log_line *line, enum log_field field, int64_t otherwise)
{
    int64_t value;

    if (!line->values[field] || json_i64(&line->doc, line->values[field], &value) != 0 || value < 0)
        return otherwise;
    return value;
}

bool log_line_flag(const struct log_line *line, enum log_field field)
{
    return json_is(line->values[field], JSON_TRUE);
}

int log_decimal_read(struct bytes text, unsigned digits, uint64_t *ret)
{
    unsigned decimals = 0, seen = 0;
    uint64_t value = 0;
    bool point = false;

    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];

        if (byte == '.' && !point && seen) {
            point = true;
            continue;
        }
        if (byte < '0' || byte > '9' || value > UINT64_MAX / 1000)
            return -EINVAL;
        seen++;
        if (point && decimals == digits)
            continue;
        value = value * 10 + (uint64_t)(byte - '0');
        decimals += point;
    }
    if (!seen || value > UINT64_MAX / 10000000)
        return -EINVAL;
    for (; decimals < digits; decimals++)
        value *= 10;
    *ret = value;
    return 0;
}

bool log_line_us(const struct log_line *line, enum log_field field, uint64_t *ret_us)
{
    return json_is(line->values[field], JSON_NUMBER) &&
           log_decimal_read(json_raw(&line->doc, line->values[field]), 3, ret_us) == 0;
}

/* --- times --- */

/* "Z" or "+01:30" at the end of TEXT, whose size is then less. */
static bool take_offset(struct bytes *text, int64_t *ret_s)
{
    struct bytes tail;
    int64_t hours, minutes;

    *ret_s = 0;
    if (bytes_end_with(*text, BYTES("Z"))) {
        text->size--;
        return true;
    }
    if (text->size < 6)
        return false;
    text->size -= 6;
    tail = (struct bytes){text->data + text->size, 6};
    if ((tail.data[0] != '+' && tail.data[0] != '-') || tail.data[3] != ':' ||
        tail.data[1] > '9' || tail.data[4] > '9' ||
        bytes_to_i64((struct bytes){tail.data + 1, 2}, &hours) != 0 || tail.data[1] < '0' || hours > 23 ||
        bytes_to_i64((struct bytes){tail.data + 4, 2}, &minutes) != 0 || tail.data[4] < '0' || minutes > 59)
        return false;
    *ret_s = (tail.data[0] == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

int log_time_read(struct bytes text, int64_t *ret_us)
{
    char canonical[20];
    int64_t seconds, offset = 0;
    uint64_t fraction = 0;

    if (text.size == 10 && value_time(text, &seconds) == 0) {
        *ret_us = seconds * 1000000;
        return 0;
    }
    if (!take_offset(&text, &offset) || text.size < 19)
        return -EINVAL;
    memcpy(canonical, text.data, 19);
    canonical[19] = 'Z';
    if (value_time((struct bytes){canonical, 20}, &seconds) != 0)
        return -EINVAL;
    if (text.size > 19) {
        char decimal[32] = "0";

        if (text.data[19] != '.' || text.size - 19 >= sizeof(decimal) - 1 || text.size == 20)
            return -EINVAL;
        memcpy(decimal + 1, text.data + 19, text.size - 19);
        if (log_decimal_read((struct bytes){decimal, 1 + text.size - 19}, 6, &fraction) != 0)
            return -EINVAL;
    }
    *ret_us = (seconds - offset) * 1000000 + (int64_t)fraction;
    return 0;
}

bool log_line_time(struct log_line *line, int64_t *ret_us)
{
    return log_time_read(log_line_text(line, LOG_time), ret_us) == 0;
}
