/*
 * A binary heap by the time a request began. A body in which something was redacted is no question that anybody asked,
 * and an answer in which something was is none that can be compared.
 */
#include "command/log_replay_job.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "command/text_table.h"

#define EXCERPT 24
#define REDACTED BYTES("[redacted]")

const char *const log_skip_texts[LOG_SKIP_COUNT] = {
    [LOG_SKIP_BODY] = "without a body",
    [LOG_SKIP_CUT] = "cut",
    [LOG_SKIP_REDACTED] = "redacted",
    [LOG_SKIP_REFUSED] = "that were not answered well",
    [LOG_SKIP_ANSWER] = "without an answer",
    [LOG_SKIP_PART] = "whose answer broke off",
    [LOG_SKIP_FORM] = "of another form",
};

/* --- one --- */

static bool is_path(struct bytes path)
{
    for (size_t i = 0; i < path.size; i++)
        if ((unsigned char)path.data[i] <= 0x20 || path.data[i] == 0x7f)
            return false;
    return path.size > 0 && path.data[0] == '/';
}

static bool is_redacted(const struct log_line *line, enum log_field field)
{
    struct bytes raw = json_raw(&line->doc, line->values[field]);

    return bytes_find(raw, REDACTED) < raw.size;
}

static enum log_skip judge(struct log_line *line)
{
    struct bytes method = log_line_text(line, LOG_method);

    if (!line->values[LOG_request])
        return LOG_SKIP_BODY;
    if (log_line_flag(line, LOG_request_cut) || log_line_flag(line, LOG_answer_cut))
        return LOG_SKIP_CUT;
    if (is_redacted(line, LOG_request) || is_redacted(line, LOG_answer))
        return LOG_SKIP_REDACTED;
    if (log_line_number(line, LOG_status, 0) != 200)
        return LOG_SKIP_REFUSED;
    if (!line->values[LOG_answer])
        return LOG_SKIP_ANSWER;
    if (!json_is(line->values[LOG_request], JSON_OBJECT) || !is_path(log_line_text(line, LOG_path)) ||
        (method.size && !bytes_equal(method, BYTES("POST"))))
        return LOG_SKIP_FORM;
    return LOG_SKIP_NONE;
}

enum log_skip log_job_new(struct log_line *line, struct json_doc *scratch, struct log_job **ret)
{
    enum log_skip skip = judge(line);
    struct answer_text text;
    struct log_job *job;
    const char *wrong;

    if (skip != LOG_SKIP_NONE)
        return skip;
    answer_text_init(&text);
    wrong = log_answer_recorded(&line->doc, line->values[LOG_answer], scratch, &text);
    if (wrong) {
        skip = text.count && !text.unreadable ? LOG_SKIP_PART : LOG_SKIP_FORM;
        answer_text_deinit(&text);
        return skip;
    }
    job = ALLOC_NEW(struct log_job);
    list_init(&job->link);
    job->recorded = text;
    job->id = arena_copy(&job->arena, log_line_text(line, LOG_id));
    job->model = arena_copy(&job->arena, log_line_text(line, LOG_model));
    job->path = arena_copy(&job->arena, log_line_text(line, LOG_path));
    job->body = arena_copy(&job->arena, json_raw(&line->doc, line->values[LOG_request]));
    job->stream = log_line_flag(line, LOG_stream);
    job->size = line->text.size;
    log_line_time(line, &job->time_us);
    *ret = job;
    return LOG_SKIP_NONE;
}

struct log_job *log_job_free(struct log_job *job)
{
    if (!job)
        return NULL;
    list_remove(&job->link);
    answer_text_deinit(&job->recorded);
    arena_deinit(&job->arena);
    return alloc_free(job);
}

/* --- what came of it --- */

/* Some of TEXT around AT. */
static void write_excerpt(struct buffer *out, struct bytes text, size_t at)
{
    size_t from = at > EXCERPT / 2 ? at - EXCERPT / 2 : 0;
    struct bytes part;

    while (from > 0 && from < text.size && ((unsigned char)text.data[from] & 0xc0) == 0x80)
        from--;
    from = from < text.size ? from : text.size;
    part = utf8_cut(bytes_skip(text, from), EXCERPT);
    buffer_append_text(out, from ? "\"..." : "\"");
    table_name(out, part);
    buffer_append_text(out, from + part.size < text.size ? "...\"" : "\"");
}

void log_job_write_name(const struct log_job *job, const char *word, struct buffer *out)
{
    buffer_printf(out, "%-9s ", word);
    table_name(out, job->id.size ? job->id : BYTES("(no id)"));
    buffer_append_char(out, ' ');
    table_name(out, job->model.size ? job->model : job->path);
    buffer_append_text(out, ": ");
}

/* A choice's content and what else it says, whichever differs. */
static struct bytes told(const struct answer_text *text, uint32_t choice, bool rest)
{
    if (choice >= text->count)
        return BYTES_NONE;
    return buffer_bytes(rest ? &text->choices[choice].rest : &text->choices[choice].content);
}

void log_job_write_difference(const struct log_job *job, uint32_t choice, size_t at, struct buffer *out)
{
    struct bytes before = told(&job->recorded, choice, false), now = told(&job->reply.text, choice, false);
    bool rest = bytes_equal(before, now);

    if (rest) {
        at -= at < before.size ? at : before.size;
        before = told(&job->recorded, choice, true);
        now = told(&job->reply.text, choice, true);
    }
    log_job_write_name(job, "different", out);
    buffer_printf(out, "choice %u, byte %zu%s: ", choice, at, rest ? " behind its content" : "");
    write_excerpt(out, before, at);
    buffer_append_text(out, " is now ");
    write_excerpt(out, now, at);
    buffer_append_char(out, '\n');
}

/* --- those that wait --- */

static void swap(struct log_jobs *jobs, unsigned a, unsigned b)
{
    struct log_job *job = jobs->heap[a];

    jobs->heap[a] = jobs->heap[b];
    jobs->heap[b] = job;
}

void log_jobs_put(struct log_jobs *jobs, struct log_job *job)
{
    unsigned at = jobs->count++;

    if (jobs->count > jobs->capacity) {
        jobs->capacity = jobs->capacity ? 2 * jobs->capacity : 64;
        jobs->heap = alloc_resize(jobs->heap, jobs->capacity * sizeof(struct log_job *));
    }
    jobs->heap[at] = job;
    jobs->size += job->size;
    for (; at > 0 && jobs->heap[at]->time_us < jobs->heap[(at - 1) / 2]->time_us; at = (at - 1) / 2)
        swap(jobs, at, (at - 1) / 2);
}

const struct log_job *log_jobs_first(const struct log_jobs *jobs)
{
    return jobs->count ? jobs->heap[0] : NULL;
}

struct log_job *log_jobs_take(struct log_jobs *jobs)
{
    struct log_job *job = jobs->heap[0];
    unsigned at = 0, child;

    jobs->size -= job->size;
    jobs->heap[0] = jobs->heap[--jobs->count];
    while ((child = 2 * at + 1) < jobs->count) {
        if (child + 1 < jobs->count && jobs->heap[child + 1]->time_us < jobs->heap[child]->time_us)
            child++;
        if (jobs->heap[at]->time_us <= jobs->heap[child]->time_us)
            break;
        swap(jobs, at, child);
        at = child;
    }
    return job;
}
