/*
 * For tests of the journal: lines to put in, a reader that goes from number to number, and a sink that does as it is
 * told.
 */
#pragma once

#include "base/alloc.h"
#include "base/clock.h"
#include "record/journal_private.h"
#include "record/line_cut.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* --- lines --- */

/* Line NUMBER of WHO into SOURCE. Whether there was room. */
static inline bool stage_put(struct journal_source *source, unsigned who, unsigned number, unsigned padding)
{
    struct buffer *out = source_line(source, JOURNAL_LINES);

    if (!out)
        return false;
    buffer_printf(out, "\"time\":\"now\",\"who\":%u,\"number\":%u,\"pad\":\"%0*u\"}\n", who, number, (int)padding, 0);
    source_end_line(source, JOURNAL_LINES);
    return true;
}

static inline void stage_put_many(struct journal_source *source, unsigned from, unsigned to, unsigned padding)
{
    for (unsigned i = from; i < to; i++) {
        stage_put(source, 0, i, padding);
        if (source_waiting(source) > 32768)
            source_hand_over(source);
    }
    source_hand_over(source);
}

/* --- reading --- */

#define STAGE_WHO 8

struct reading {
    uint64_t seq, records, dropped, notes, torn;
    int64_t last[STAGE_WHO];    /* number of each who, plus one */
    char run[17];               /* of all lines */
};

static inline bool is_of_run(struct reading *reading, const char *line)
{
    char run[17] = "";

    if (sscanf(line, "{\"seq\":%*u,\"run\":\"%16[0-9a-f]\",", run) != 1 || strlen(run) != 16)
        return false;
    if (!reading->run[0])
        memcpy(reading->run, run, sizeof(run));
    return strcmp(reading->run, run) == 0;
}

/* NULL when LINE goes on where *READING is; else what is wrong with it. */
static inline const char *read_one(struct reading *reading, const char *line)
{
    uint64_t seq, lines, first, last;
    unsigned who, number;

    if (!is_of_run(reading, line))
        return "another run";
    if (sscanf(line, "{\"seq\":%" SCNu64 ",\"run\":\"%*16[0-9a-f]\",\"event\":\"dropped\",\"time\":\"%*[^\"]\",\"dropped\":%" SCNu64
                     ",\"first\":%" SCNu64 ",\"last\":%" SCNu64 "}", &seq, &lines, &first, &last) == 4) {
        if (first != reading->seq + 1 || last != seq || lines != last - first + 1)
            return "a gap that does not fit";
        reading->dropped += lines;
        reading->notes++;
        reading->seq = seq;
        return NULL;
    }
    if (sscanf(line, "{\"seq\":%" SCNu64 ",\"run\":\"%*16[0-9a-f]\",\"time\":\"now\",\"who\":%u,\"number\":%u,\"pad\":\"%*[0]\"}", &seq, &who,
               &number) != 3 || line[strlen(line) - 1] != '}')
        return "no record";
    if (seq != reading->seq + 1)
        return "a number is missing";
    if (who >= STAGE_WHO || reading->last[who] > (int64_t)number)
        return "lines of one source out of order";
    reading->last[who] = (int64_t)number + 1;
    reading->seq = seq;
    reading->records++;
    return NULL;
}

/* With no cmocka, for any thread. */
static inline void read_text(struct reading *reading, struct bytes text)
{
    char *line = alloc_bytes(text.size + 1);

    while (text.size) {
        size_t size = first_line(text);
        const char *wrong;

        memcpy(line, text.data, size);
        line[size - 1] = 0;
        wrong = text.data[size - 1] == '\n' ? read_one(reading, line) : "half a line";
        if (wrong) {
            fprintf(stderr, "after %" PRIu64 ": %s: %.200s\n", reading->seq, wrong, line);
            abort();
        }
        text = bytes_skip(text, size);
    }
    alloc_free(line);
}

static inline struct buffer read_whole_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct buffer text = {0};
    size_t size = 1;

    while (file && size) {
        size = fread(buffer_reserve(&text, 65536), 1, 65536, file);
        text.size += size;
    }
    if (file)
        fclose(file);
    return text;
}

static inline void read_file(struct reading *reading, const char *path)
{
    struct buffer text = read_whole_file(path);

    read_text(reading, buffer_bytes(&text));
    buffer_deinit(&text);
}

/* --- a sink that does as it is told --- */

enum script_mode { SCRIPT_TAKE, SCRIPT_BUSY, SCRIPT_FAIL, SCRIPT_HALF, SCRIPT_HOLD, SCRIPT_LOSE, SCRIPT_GONE };

struct script {
    _Atomic int mode;
    _Atomic unsigned sleep_us;      /* in each take */
    struct buffer got;              /* after journal_finish() */
};

struct sink {
    struct script *script;
    struct sink_events events;
    uint64_t held;
};

static inline int script_open(const void *config, struct buffer *errors, struct sink **ret)
{
    *ret = ALLOC_NEW(struct sink);
    memcpy(&(*ret)->script, config, sizeof(struct script *));
    return 0;
}

static inline void script_start(struct sink *sink, uv_loop_t *loop, const struct sink_events *events)
{
    sink->events = *events;
}

static inline ssize_t script_take(struct sink *sink, struct bytes lines, bool *ret_later)
{
    struct script *script = sink->script;
    int mode = script->mode;

    if (script->sleep_us)
        usleep(script->sleep_us);
    switch (mode) {
    case SCRIPT_BUSY:
        return 0;
    case SCRIPT_FAIL:
        return -ENOSPC;
    case SCRIPT_GONE:
        return SINK_E_GONE;
    case SCRIPT_HALF:
        lines.size = lines_within(lines, lines.size / 2);
        break;
    case SCRIPT_LOSE:
        *ret_later = true;
        sink->events.settled(sink->events.data, 0, count_lines(lines));
        return (ssize_t)lines.size;
    case SCRIPT_HOLD:
        *ret_later = true;
        sink->held += count_lines(lines);
        break;
    }
    buffer_append(&script->got, lines);
    return (ssize_t)lines.size;
}

/* What was held is settled: one of it lost, when there is more than one. */
static inline void script_tick(struct sink *sink)
{
    uint64_t held = sink->held;

    sink->held = 0;
    if (held)
        sink->events.settled(sink->events.data, held > 1 ? held - 1 : held, held > 1);
}

static inline void script_close(struct sink *sink, void (*closed)(void *data), void *data)
{
    closed(data);
}

static inline struct sink *script_free(struct sink *sink)
{
    return alloc_free(sink);
}

static const struct sink_kind sink_script = {
    .name = "script",
    .open = script_open,
    .start = script_start,
    .take = script_take,
    .tick = script_tick,
    .close = script_close,
    .free = script_free,
};

/* --- what the operator hears --- */

static int stage_stderr;

static inline FILE *stage_listen(void)
{
    FILE *said = tmpfile();

    stage_stderr = dup(STDERR_FILENO);
    dup2(fileno(said), STDERR_FILENO);
    return said;
}

/* The three one behind the other. */
static inline bool stage_said(FILE *said, const char *head, const char *name, const char *words)
{
    struct buffer text = {0}, wanted = {0};
    ssize_t size;
    bool found;

    while ((size = pread(fileno(said), buffer_reserve(&text, 4096), 4096, (off_t)text.size)) > 0)
        text.size += (size_t)size;
    buffer_printf(&wanted, "%s%s%s", head, name, words);
    found = bytes_find(buffer_bytes(&text), buffer_bytes(&wanted)) < text.size;
    buffer_deinit(&text);
    buffer_deinit(&wanted);
    return found;
}

static inline void stage_listen_no_more(FILE *said)
{
    dup2(stage_stderr, STDERR_FILENO);
    close(stage_stderr);
    fclose(said);
}

/* --- waiting for facts --- */

static inline bool stage_adds_up(const struct journal_sink_counts *counts)
{
    return counts->written + counts->dropped + counts->waiting == counts->accepted &&
           counts->waiting <= counts->accepted;
}

#define stage_wait(condition)                                                                                \
    do {                                                                                                     \
        uint64_t stage_until = clock_ms() + 20000;                                                           \
        while (!(condition)) {                                                                               \
            assert_true(clock_ms() < stage_until);                                                           \
            usleep(1000);                                                                                    \
        }                                                                                                    \
    } while (0)
