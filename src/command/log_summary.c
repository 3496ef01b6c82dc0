/*
 * A row per name, found by a table of hashes; times in histograms, so that any number of lines takes little memory.
 *
 * Of the questions that could have been remembered, hits and joins are a part: those that went by the memory do not
 * count there.
 */
#include "command/log_summary.h"

#include "base/alloc.h"
#include "json/json_write.h"
#include "command/log_histogram.h"
#include "command/text_table.h"

#include <stdlib.h>
#include <time.h>

const char *const log_by_names[LOG_BY_COUNT] = {"model", "key", "team", "backend", "status", "cache", "none"};

static const enum log_field by_fields[LOG_BY_COUNT] = {LOG_model, LOG_key, LOG_team, LOG_backend,
                                                       LOG_status, LOG_cache, LOG_seq};

struct group {
    struct bytes name;
    uint64_t hash;
    uint64_t requests, errors, hits, joins, asked;  /* asked: of the memory */
    uint64_t in, made, cost;    /* tokens, tokens, millionths */
    struct log_histogram total, first;
};

#define NAME_MOST 512
#define SLOTS (LOG_SUMMARY_GROUPS * 2)

struct summary {
    enum log_by by;
    struct arena names;
    struct group **groups;      /* in order of appearance */
    unsigned count;
    unsigned *slots;            /* index of a group plus one, by hash */
    struct group all, others;
    uint64_t losses, dropped;
    int64_t first_us, last_us;
};

/* --- counting --- */

static uint64_t hash_of(struct bytes name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ (unsigned char)name.data[i]) * 1099511628211u;
    return hash;
}

static struct group *group_of(struct summary *summary, struct bytes name)
{
    uint64_t hash = hash_of(name);
    size_t at = hash % SLOTS;
    struct group *group;

    for (; summary->slots[at]; at = (at + 1) % SLOTS) {
        group = summary->groups[summary->slots[at] - 1];
        if (group->hash == hash && bytes_equal(group->name, name))
            return group;
    }
    if (summary->count == LOG_SUMMARY_GROUPS)
        return &summary->others;
    group = ALLOC_NEW(struct group);
    group->name = arena_copy(&summary->names, name);
    group->hash = hash;
    summary->groups[summary->count] = group;
    summary->slots[at] = ++summary->count;
    return group;
}

static struct bytes name_of(struct log_line *line, enum log_by by)
{
    const struct json_node *value = line->values[by_fields[by]];

    struct bytes name;

    if (by == LOG_BY_NONE || !value)
        return BYTES_NONE;
    name = json_is(value, JSON_STRING) ? log_line_text(line, by_fields[by]) : json_raw(&line->doc, value);
    name.size = name.size < NAME_MOST ? name.size : NAME_MOST;
    return name;
}

struct facts {
    bool error, hit, join, asked;
    uint64_t in, made, cost, total_us, first_us;
    bool has_total, has_first;
};

static struct facts facts_of(struct log_line *line)
{
    struct bytes cache = log_line_text(line, LOG_cache), outcome = log_line_text(line, LOG_outcome);
    struct facts facts = {
        .hit = bytes_equal(cache, BYTES("hit")),
        .join = bytes_equal(cache, BYTES("join")),
        .in = (uint64_t)log_line_number(line, LOG_prompt_tokens, 0),
        .made = (uint64_t)log_line_number(line, LOG_completion_tokens, 0),
    };

    facts.asked = facts.hit || facts.join || bytes_equal(cache, BYTES("miss"));
    facts.error = log_line_number(line, LOG_status, 0) >= 400 ||
                  (outcome.size && !bytes_equal(outcome, BYTES("ok")) && !bytes_equal(outcome, BYTES("client_left")));
    facts.has_total = log_line_us(line, LOG_total_ms, &facts.total_us);
    facts.has_first = log_line_us(line, LOG_ttft_ms, &facts.first_us);
    if (line->values[LOG_cost])
        log_decimal_read(json_raw(&line->doc, line->values[LOG_cost]), 6, &facts.cost);
    return facts;
}

static void count(struct group *group, const struct facts *facts)
{
    group->requests++;
    group->errors += facts->error;
    group->hits += facts->hit;
    group->joins += facts->join;
    group->asked += facts->asked;
    group->in += facts->in;
    group->made += facts->made;
    group->cost += facts->cost;
    if (facts->has_total)
        log_histogram_add(&group->total, facts->total_us);
    if (facts->has_first)
        log_histogram_add(&group->first, facts->first_us);
}

static void take(struct summary *summary, struct log_line *line)
{
    struct facts facts;
    int64_t time_us;

    if (line->kind == LOG_LOSS) {
        summary->losses++;
        summary->dropped += (uint64_t)log_line_number(line, LOG_dropped, 0);
        return;
    }
    facts = facts_of(line);
    count(&summary->all, &facts);
    if (summary->by != LOG_BY_NONE)
        count(group_of(summary, name_of(line, summary->by)), &facts);
    if (!log_line_time(line, &time_us))
        return;
    if (summary->first_us == 0 || time_us < summary->first_us)
        summary->first_us = time_us;
    if (time_us > summary->last_us)
        summary->last_us = time_us;
}

static int order_groups(const void *left, const void *right)
{
    const struct group *a = *(struct group *const *)left, *b = *(struct group *const *)right;

    if (a->requests != b->requests)
        return a->requests < b->requests ? 1 : -1;
    return a->name.size == 0 ? -1 : b->name.size == 0 ? 1 : strcmp(a->name.data, b->name.data);
}

/* --- the table --- */

static const unsigned permilles[] = {500, 950, 990};

static void write_ms(struct buffer *out, struct buffer *cell, const struct log_histogram *histogram, unsigned permille)
{
    uint64_t us = log_histogram_percentile(histogram, permille);

    if (histogram->count == 0)
        buffer_append_char(cell, '-');
    else if (us < 1000000)
        buffer_printf(cell, "%.1f", (double)us / 1e3);
    else
        table_count(cell, (us + 500) / 1000);
    table_cell(out, cell, 9);
}

static void write_cost(struct buffer *cell, uint64_t millionths)
{
    table_count(cell, millionths / 1000000);
    buffer_printf(cell, ".%04u", (unsigned)(millionths % 1000000 / 100));
}

/* The name stands last, for it may have any length. */
static void write_group(const struct group *group, const char *name, struct buffer *out, struct buffer *cell)
{
    table_count(cell, group->requests);
    table_cell(out, cell, 11);
    table_count(cell, group->errors);
    table_cell(out, cell, 9);
    table_ratio(cell, group->hits, group->asked);
    table_cell(out, cell, 7);
    table_ratio(cell, group->joins, group->asked);
    table_cell(out, cell, 7);
    table_count(cell, group->in);
    table_cell(out, cell, 13);
    table_count(cell, group->made);
    table_cell(out, cell, 13);
    write_cost(cell, group->cost);
    table_cell(out, cell, 10);
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++)
        write_ms(out, cell, &group->total, permilles[i]);
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++)
        write_ms(out, cell, &group->first, permilles[i]);
    if (name)
        buffer_append_text(out, name);
    else
        table_name(out, group->name.size ? group->name : BYTES("-"));
    buffer_append_char(out, '\n');
}

static void write_heading(const char *name, struct buffer *out, struct buffer *cell)
{
    static const struct {
        const char *text;
        int width;
    } columns[] = {{"requests", 11}, {"errors", 9},  {"hits", 7},   {"joins", 7},    {"tokens in", 13},
                   {"tokens out", 13}, {"cost", 10}, {"p50 ms", 9}, {"p95", 9},      {"p99", 9},
                   {"ttft p50", 9},  {"p95", 9},     {"p99", 9}};

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
        buffer_append_text(cell, columns[i].text);
        table_cell(out, cell, columns[i].width);
    }
    buffer_printf(out, "%s\n", name);
}

static void write_moment(struct buffer *out, int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    char text[32];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    buffer_append_text(out, text);
}

static void write_below(const struct summary *summary, uint64_t broken, struct buffer *out)
{
    if (summary->all.requests && summary->first_us) {
        buffer_append_text(out, "\nfrom ");
        write_moment(out, summary->first_us);
        buffer_append_text(out, " to ");
        write_moment(out, summary->last_us);
        buffer_append_text(out, " UTC\n");
    }
    if (summary->dropped) {
        table_count(out, summary->dropped);
        buffer_append_text(out, summary->dropped == 1 ? " line was dropped, as " : " lines were dropped, as ");
        table_count(out, summary->losses);
        buffer_append_text(out, summary->losses == 1 ? " line of the log tells\n" : " lines of the log tell\n");
    }
    if (broken) {
        table_count(out, broken);
        buffer_append_text(out, broken == 1 ? " line could not be read\n" : " lines could not be read\n");
    }
}

static void write_table(const struct summary *summary, uint64_t broken, struct buffer *out)
{
    bool all = summary->by == LOG_BY_NONE;
    struct buffer cell;

    buffer_init(&cell);
    write_heading(all ? "" : log_by_names[summary->by], out, &cell);
    for (unsigned i = 0; i < summary->count; i++)
        write_group(summary->groups[i], NULL, out, &cell);
    if (summary->others.requests)
        write_group(&summary->others, "(others)", out, &cell);
    write_group(&summary->all, "(all)", out, &cell);
    write_below(summary, broken, out);
    buffer_deinit(&cell);
}

/* --- for programs --- */

static void write_times(const char *name, const struct log_histogram *histogram, struct buffer *out)
{
    static const char *const names[] = {"p50", "p95", "p99"};

    if (histogram->count == 0)
        return;
    json_write_name(out, name);
    buffer_append_char(out, '{');
    for (size_t i = 0; i < ARRAY_SIZE(permilles); i++) {
        json_write_name(out, names[i]);
        json_write_double(out, (double)log_histogram_percentile(histogram, permilles[i]) / 1e3);
    }
    buffer_append_char(out, '}');
}

static void write_members(const struct group *group, struct buffer *out)
{
    json_write_member_i64(out, "requests", (int64_t)group->requests);
    json_write_member_i64(out, "errors", (int64_t)group->errors);
    json_write_member_i64(out, "hits", (int64_t)group->hits);
    json_write_member_i64(out, "joins", (int64_t)group->joins);
    json_write_member_i64(out, "asked_memory", (int64_t)group->asked);
    json_write_member_i64(out, "prompt_tokens", (int64_t)group->in);
    json_write_member_i64(out, "completion_tokens", (int64_t)group->made);
    json_write_name(out, "cost");
    buffer_printf(out, "%llu.%06u", (unsigned long long)(group->cost / 1000000), (unsigned)(group->cost % 1000000));
    write_times("total_ms", &group->total, out);
    write_times("ttft_ms", &group->first, out);
}

static void write_object(const struct group *group, struct buffer *out)
{
    buffer_append_text(out, out->data[out->size - 1] == '[' ? "{" : ",{");
    json_write_member_string(out, "name", group->name);
    write_members(group, out);
    buffer_append_char(out, '}');
}

static void write_json(const struct summary *summary, uint64_t broken, struct buffer *out)
{
    buffer_append_char(out, '{');
    write_members(&summary->all, out);
    json_write_member_i64(out, "dropped", (int64_t)summary->dropped);
    json_write_member_i64(out, "unreadable", (int64_t)broken);
    if (summary->by != LOG_BY_NONE) {
        json_write_member_string(out, "by", bytes_of(log_by_names[summary->by]));
        json_write_name(out, "groups");
        buffer_append_char(out, '[');
        for (unsigned i = 0; i < summary->count; i++)
            write_object(summary->groups[i], out);
        buffer_append_char(out, ']');
        if (summary->others.requests) {
            json_write_name(out, "others");
            buffer_append_char(out, '{');
            write_members(&summary->others, out);
            buffer_append_char(out, '}');
        }
    }
    buffer_append_text(out, "}\n");
}

/* --- the whole --- */

static void group_deinit(struct group *group)
{
    log_histogram_deinit(&group->total);
    log_histogram_deinit(&group->first);
}

void log_summary(struct log_files *files, const struct log_query *query, enum log_by by, bool json,
                 struct buffer *out)
{
    struct summary summary = {.by = by};
    struct log_line line;

    summary.groups = alloc_zeroed(LOG_SUMMARY_GROUPS * sizeof(struct group *));
    summary.slots = alloc_zeroed(SLOTS * sizeof(*summary.slots));
    log_line_init(&line);
    while (log_files_next(files, &line))
        if (log_query_takes(query, &line))
            take(&summary, &line);
    if (summary.count)
        qsort(summary.groups, summary.count, sizeof(struct group *), order_groups);
    (json ? write_json : write_table)(&summary, files->broken, out);
    for (unsigned i = 0; i < summary.count; i++) {
        group_deinit(summary.groups[i]);
        alloc_free(summary.groups[i]);
    }
    group_deinit(&summary.all);
    group_deinit(&summary.others);
    alloc_free(summary.groups);
    alloc_free(summary.slots);
    arena_deinit(&summary.names);
    log_line_deinit(&line);
}
