/*
 * One row per filter that compares a member with a word; the others have a reader each. All that are given must agree.
 */
#include "command/log_query.h"

#include "chat/failure.h"
#include "config/values.h"

#include <errno.h>

#define DAY_MS 86400000
#define DURATION_MOST_MS (100ull * 366 * DAY_MS)

struct word {
    const char *name;
    size_t offset;              /* in struct log_query */
    enum log_field field;
};

static const struct word words[] = {
    {"key", offsetof(struct log_query, key), LOG_key},
    {"team", offsetof(struct log_query, team), LOG_team},
    {"model", offsetof(struct log_query, model), LOG_model},
    {"backend", offsetof(struct log_query, backend), LOG_backend},
    {"outcome", offsetof(struct log_query, outcome), LOG_outcome},
    {"cache", offsetof(struct log_query, cache), LOG_cache},
};

void log_query_init(struct log_query *query)
{
    *query = (struct log_query){.since_us = INT64_MIN, .until_us = INT64_MAX};
}

/* --- what is asked for --- */

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* "429" or "5xx" */
static bool add_status(struct log_query *query, struct bytes item)
{
    unsigned from, count = 1;

    if (bytes_equal(item, BYTES("000"))) {
        query->statuses[0] = true; /* no answer was begun */
        return true;
    }
    if (item.size != 3 || item.data[0] < '1' || item.data[0] > '5')
        return false;
    from = (unsigned)(item.data[0] - '0') * 100;
    if ((item.data[1] | 0x20) == 'x' && (item.data[2] | 0x20) == 'x')
        count = 100;
    else if (is_digit(item.data[1]) && is_digit(item.data[2]))
        from += (unsigned)(item.data[1] - '0') * 10 + (unsigned)(item.data[2] - '0');
    else
        return false;
    memset(query->statuses + from, true, count);
    return true;
}

static int read_status(struct log_query *query, struct bytes value, struct buffer *errors)
{
    query->by_status = true;
    memset(query->statuses, false, sizeof(query->statuses));
    for (;;) {
        size_t size = bytes_find(value, BYTES(","));

        if (!add_status(query, (struct bytes){value.data, size})) {
            buffer_append_text(errors, "--status must be such as 200, 4xx or 429,503\n");
            return -EINVAL;
        }
        if (size == value.size)
            return 0;
        value = bytes_skip(value, size + 1);
    }
}

static int read_moment(const char *name, struct bytes value, int64_t now_us, int64_t *ret_us, struct buffer *errors)
{
    uint64_t before_ms;

    if (value_duration(value, &before_ms) == 0 && before_ms <= DURATION_MOST_MS) {
        *ret_us = now_us - (int64_t)before_ms * 1000;
        return 0;
    }
    if (log_time_read(value, ret_us) == 0)
        return 0;
    buffer_printf(errors, "--%s must be a time such as 2026-11-23T07:45:00Z, or so long ago: 15m, 2h, 1d\n", name);
    return -EINVAL;
}

static int read_min(struct log_query *query, struct bytes value, struct buffer *errors)
{
    if (log_decimal_read(value, 3, &query->min_us) == 0)
        return 0;
    buffer_append_text(errors, "--min-ms must be a number of milliseconds\n");
    return -EINVAL;
}

static int read_cache(struct log_query *query, struct buffer *errors)
{
    static const char *const known[] = {"hit", "join", "miss", "bypass"};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (bytes_equal(query->cache, bytes_of(known[i])))
            return 0;
    buffer_append_text(errors, "--cache must be hit, join, miss or bypass\n");
    return -EINVAL;
}

/* Those of who asked; else it is a failure's name. */
static const char *const outcomes[] = {"ok", "refused", "client_left", "client_stalled", "cut"};

#define OUTCOMES (ARRAY_SIZE(outcomes) + FAIL_COUNT)

/* Behind a space, as the log writes it. */
static void write_outcome(struct buffer *out, size_t number)
{
    size_t known = ARRAY_SIZE(outcomes);
    const char *name = number < known ? outcomes[number] : failure_row((enum failure_kind)(number - known))->name;

    buffer_append_char(out, ' ');
    for (; *name; name++)
        buffer_append_char(out, *name >= 'A' && *name <= 'Z' ? (char)(*name | 0x20) : *name);
}

static int read_outcome(struct log_query *query, struct buffer *errors)
{
    struct buffer name = {0};
    bool found = false;

    for (size_t i = 0; i < OUTCOMES && !found; i++) {
        name.size = 0;
        write_outcome(&name, i);
        found = bytes_equal(bytes_skip(buffer_bytes(&name), 1), query->outcome);
    }
    buffer_deinit(&name);
    if (found)
        return 0;
    buffer_append_text(errors, "--outcome must be one of");
    for (size_t i = 0; i < OUTCOMES; i++)
        write_outcome(errors, i);
    buffer_append_char(errors, '\n');
    return -EINVAL;
}

static int add_word(struct log_query *query, const char *name, struct bytes value, struct buffer *errors)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcmp(name, words[i].name) != 0)
            continue;
        if (value.size == 0) {
            buffer_printf(errors, "--%s needs a value\n", name);
            return -EINVAL;
        }
        *(struct bytes *)(void *)((char *)query + words[i].offset) = value;
        return words[i].field == LOG_cache     ? read_cache(query, errors)
               : words[i].field == LOG_outcome ? read_outcome(query, errors)
                                               : 0;
    }
    return -ENOENT;
}

int log_query_add(struct log_query *query, const char *name, const char *text, int64_t now_us, struct buffer *errors)
{
    struct bytes value = bytes_of(text);

    if (strcmp(name, "status") == 0)
        return read_status(query, value, errors);
    if (strcmp(name, "since") == 0)
        return read_moment(name, value, now_us, &query->since_us, errors);
    if (strcmp(name, "until") == 0)
        return read_moment(name, value, now_us, &query->until_us, errors);
    if (strcmp(name, "min-ms") == 0)
        return read_min(query, value, errors);
    if (strcmp(name, "id") == 0) {
        query->id = value;
        return 0;
    }
    return add_word(query, name, value, errors);
}

/* --- whether a line is meant --- */

static bool in_time(const struct log_query *query, struct log_line *line)
{
    int64_t time_us;

    if (query->since_us == INT64_MIN && query->until_us == INT64_MAX)
        return true;
    return log_line_time(line, &time_us) && time_us >= query->since_us && time_us < query->until_us;
}

static bool is_one_of_ids(struct bytes id, struct log_line *line)
{
    return id.size == 0 || bytes_equal(log_line_text(line, LOG_id), id) ||
           bytes_equal(log_line_text(line, LOG_trace_id), id) || bytes_equal(log_line_text(line, LOG_client_id), id);
}

static bool took_long(uint64_t min_us, const struct log_line *line)
{
    uint64_t us;

    return min_us == 0 || (log_line_us(line, LOG_total_ms, &us) && us >= min_us);
}

static bool has_status(const struct log_query *query, const struct log_line *line)
{
    int64_t status;

    if (!query->by_status)
        return true;
    status = log_line_number(line, LOG_status, 0);
    return status < LOG_STATUS_MOST && query->statuses[status];
}

/* Nothing is asked that only a request has. */
static bool asks_time_alone(const struct log_query *query)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (((const struct bytes *)(const void *)((const char *)query + words[i].offset))->size)
            return false;
    return !query->by_status && query->id.size == 0 && query->min_us == 0;
}

bool log_query_takes(const struct log_query *query, struct log_line *line)
{
    if (line->kind == LOG_LOSS)
        return asks_time_alone(query) && in_time(query, line);
    if (line->kind != LOG_REQUEST || !has_status(query, line) || !took_long(query->min_us, line))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct bytes wanted = *(const struct bytes *)(const void *)((const char *)query + words[i].offset);

        if (wanted.size && !bytes_equal(log_line_text(line, words[i].field), wanted))
            return false;
    }
    return is_one_of_ids(query->id, line) && in_time(query, line);
}
