/*
 * A member that is not there counts as 0: the gateway that answers may be an older one.
 */
#include "command/cache_table.h"

#include "json/json_doc.h"
#include "command/text_table.h"

#define LABEL 12 /* columns */

struct source {
    struct json_doc doc;
    struct arena arena;
};

static uint64_t number(const struct source *source, const struct json_node *object, const char *name)
{
    int64_t value = 0;

    if (json_i64(&source->doc, json_member(&source->doc, object, bytes_of(name)), &value) < 0 || value < 0)
        return 0;
    return (uint64_t)value;
}

/* --- lines --- */

static void label(struct buffer *out, const char *text)
{
    buffer_printf(out, "%-*s", LABEL, text);
}

/* "5 evicted, 6 expired" */
static void write_list(const struct source *source, const struct json_node *counts, const char *title,
                       const char *const names[][2], size_t count, struct buffer *out)
{
    label(out, title);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, i ? ", " : "");
        table_count(out, number(source, counts, names[i][0]));
        buffer_printf(out, " %s", names[i][1]);
    }
    buffer_append_char(out, '\n');
}

static void write_held(const struct source *source, const struct json_node *root, struct buffer *out)
{
    label(out, "kept");
    table_count(out, number(source, root, "entries"));
    buffer_append_text(out, " answers, ");
    table_size(out, number(source, root, "bytes"));
    buffer_append_text(out, " of ");
    table_size(out, number(source, root, "memory"));
    buffer_append_char(out, '\n');
    label(out, "growing");
    table_count(out, number(source, root, "growing"));
    buffer_append_text(out, " answers, ");
    table_size(out, number(source, root, "growing_bytes"));
    buffer_append_char(out, '\n');
}

struct asked {
    uint64_t all, saved;    /* questions; those that no backend was asked */
};

/* What the second shelf had was a miss of the first. */
static struct asked asked_of(const struct source *source, const struct json_node *counts)
{
    uint64_t here = number(source, counts, "hits") + number(source, counts, "joins");

    return (struct asked){here + number(source, counts, "misses"), here + number(source, counts, "recalled")};
}

static void write_totals(const struct source *source, const struct json_node *counts, struct buffer *out)
{
    static const char *const questions[][2] = {{"hits", "hits"}, {"joins", "joins"}, {"misses", "misses"},
                                               {"recalled", "of these found in Redis"}, {"bypasses", "bypassed"}};
    static const char *const answers[][2] = {{"stored", "stored"}, {"too_large", "too large"}, {"evicted", "evicted"},
                                             {"expired", "expired"}, {"voided", "voided"}, {"purged", "purged"}};
    static const char *const audits[][2] = {{"audit_same", "same"}, {"audit_different", "different"},
                                            {"audit_failed", "failed"}, {"audit_skipped", "skipped"}};
    static const char *const prints[][2] = {{"fingerprints", "changes of fingerprint"}};
    struct asked asked = asked_of(source, counts);

    label(out, "hit ratio");
    table_ratio(out, asked.saved, asked.all);
    buffer_append_text(out, " of ");
    table_count(out, asked.all);
    buffer_append_text(out, " questions were answered without asking a backend\n");
    write_list(source, counts, "questions", questions, ARRAY_SIZE(questions), out);
    write_list(source, counts, "answers", answers, ARRAY_SIZE(answers), out);
    write_list(source, counts, "audits", audits, ARRAY_SIZE(audits), out);
    write_list(source, counts, "backends", prints, ARRAY_SIZE(prints), out);
}

/* Its counters are whatever the gateway counts. */
static void write_redis(struct source *source, const struct json_node *redis, struct buffer *out)
{
    const struct json_doc *doc = &source->doc;
    uint64_t up = number(source, redis, "up");

    label(out, "Redis");
    if (!json_is(json_member(doc, redis, BYTES("configured")), JSON_TRUE)) {
        buffer_append_text(out, "not configured\n");
        return;
    }
    if (up)
        buffer_printf(out, "up on %llu worker%s", (unsigned long long)up, up == 1 ? "" : "s");
    else
        buffer_append_text(out, "DOWN");
    for (const struct json_node *key = json_first(doc, redis); key; key = json_after(doc, redis, key)) {
        struct bytes name = json_text(doc, key, &source->arena);

        if (!json_is(json_value(doc, key), JSON_NUMBER) || bytes_equal(name, BYTES("up")))
            continue;
        buffer_append_text(out, ", ");
        table_name(out, name);
        buffer_append_char(out, ' ');
        table_count(out, number(source, redis, arena_copy(&source->arena, name).data));
    }
    buffer_append_char(out, '\n');
}

/* --- the table --- */

static const char *const columns[] = {"hits", "joins", "recalled", "misses", "bypasses", "entries"};

#define COLUMN 11

static void write_heading(struct buffer *out, struct buffer *cell)
{
    buffer_append_text(cell, "hit ratio");
    table_cell(out, cell, COLUMN);
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
        buffer_append_text(cell, columns[i]);
        table_cell(out, cell, COLUMN);
    }
    buffer_append_text(cell, "size");
    table_cell(out, cell, COLUMN);
    buffer_append_text(out, "model\n");
}

/* The name stands last, for it may have any length. */
static void write_model(struct source *source, const struct json_node *model, struct buffer *out, struct buffer *cell)
{
    struct asked asked = asked_of(source, model);

    table_ratio(cell, asked.saved, asked.all);
    table_cell(out, cell, COLUMN);
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
        table_count(cell, number(source, model, columns[i]));
        table_cell(out, cell, COLUMN);
    }
    table_size(cell, number(source, model, "bytes"));
    table_cell(out, cell, COLUMN);
    table_name(out, json_text(&source->doc, json_member(&source->doc, model, BYTES("name")), &source->arena));
    buffer_append_char(out, '\n');
}

static void write_models(struct source *source, const struct json_node *models, struct buffer *out)
{
    const struct json_node *model = json_first(&source->doc, models);
    struct buffer cell;

    if (!model)
        return;
    buffer_init(&cell);
    buffer_append_char(out, '\n');
    write_heading(out, &cell);
    for (; model; model = json_after(&source->doc, models, model))
        write_model(source, model, out, &cell);
    buffer_deinit(&cell);
}

bool cache_table_write(struct bytes answer, struct buffer *out)
{
    struct source source = {0};
    const struct json_node *root, *counts, *models;
    bool good;

    json_doc_init(&source.doc, JSON_LIMITS_DEFAULT);
    good = json_doc_parse(&source.doc, answer) == 0;
    root = good ? json_root(&source.doc) : NULL;
    counts = json_member(&source.doc, root, BYTES("counts"));
    models = json_member(&source.doc, root, BYTES("models"));
    good = json_is(counts, JSON_OBJECT) && json_is(models, JSON_ARRAY);
    if (good) {
        write_held(&source, root, out);
        write_totals(&source, counts, out);
        write_redis(&source, json_member(&source.doc, root, BYTES("redis")), out);
        write_models(&source, models, out);
    }
    json_doc_deinit(&source.doc);
    arena_deinit(&source.arena);
    return good;
}
