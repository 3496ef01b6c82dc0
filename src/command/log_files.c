/*
 * What a gateway closed says in its name when. Of other files the first line tells where they belong, which was written
 * when its request ended; unless two were begun within a moment, for lines of several workers are a little out of
 * order: then its number does, where both are of one run.
 *
 * No comparison of two of them can say all that at once and be an order. So a file is taken to be no older than those
 * that were closed under its path before, all are sorted by time, and then what a moment may have mixed is set right.
 */
#include "command/log_files.h"

#include "base/alloc.h"
#include "command/log_paths.h"
#include "command/log_rotated.h"
#include "command/log_seen.h"

#include <errno.h>
#include <stdlib.h>

#define MOMENT_US 1000000
#define NO_TIME (INT64_MAX / 2)

struct place {
    struct log_reader *reader;
    struct bytes path, stamp;   /* what it was called when it was written, and when it was closed */
    unsigned named;             /* as the how manieth */
    int64_t ended_us;           /* its first line that has a time; NO_TIME: none has */
    int64_t seq;                /* of its first line that can be read; -1: none can */
    uint64_t run;               /* a hash of it */
};

static struct place place_of(struct log_reader *reader, unsigned named, struct log_line *line)
{
    struct place place = {.reader = reader, .named = named, .ended_us = NO_TIME, .seq = -1};
    uint64_t took = 0;
    struct bytes text;

    place.stamp = log_rotated_stamp(bytes_of(log_reader_path(reader)), &place.path);
    for (size_t at = 0; place.ended_us == NO_TIME && log_reader_peek(reader, at, &text); at += text.size + 1) {
        log_line_read(line, text);
        if (line->kind == LOG_BROKEN)
            continue;
        if (place.seq < 0) {
            place.seq = line->seq;
            place.run = log_seen_hash(LOG_SEEN_HASH, log_line_text(line, LOG_run));
        }
        if (log_line_time(line, &place.ended_us)) {
            if (log_line_us(line, LOG_total_ms, &took) && took < NO_TIME / 2)
                place.ended_us += (int64_t)took;
        } else {
            place.ended_us = NO_TIME;
        }
    }
    return place;
}

static int compare_bytes(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int r = size ? memcmp(a.data, b.data, size) : 0;

    return r != 0 || a.size == b.size ? r : a.size < b.size ? -1 : 1;
}

/* By path, and when they were closed: the one that was not is the last. */
static int compare_names(const void *first, const void *second)
{
    const struct place *a = first, *b = second;
    int r = compare_bytes(a->path, b->path);

    if (r == 0 && (a->stamp.size == 0) != (b->stamp.size == 0))
        return a->stamp.size == 0 ? 1 : -1;
    if (r == 0)
        r = compare_bytes(a->stamp, b->stamp);
    return r != 0 ? r : a->named < b->named ? -1 : 1;
}

/* Those of one time, and those without one, by name. */
static int compare_times(const void *first, const void *second)
{
    const struct place *a = first, *b = second;

    if (a->ended_us != b->ended_us)
        return a->ended_us < b->ended_us ? -1 : 1;
    return compare_names(first, second);
}

/* Of a run, what was begun within a moment. */
static void order_by_number(struct place *places, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = i + 1; j < count && places[j].ended_us - places[i].ended_us <= MOMENT_US; j++) {
            struct place *a = &places[i], *b = &places[j], kept = *a;

            if (b->seq < 0 || a->seq <= b->seq || a->run != b->run || bytes_equal(a->path, b->path))
                continue;
            *a = *b;
            *b = kept;
        }
}

static void sort(struct log_files *files)
{
    unsigned count = files->count;
    struct place *places = alloc_zeroed(count * sizeof(*places));
    struct log_line line;

    log_line_init(&line);
    for (unsigned i = 0; i < count; i++)
        places[i] = place_of(files->readers[i], i, &line);
    qsort(places, count, sizeof(*places), compare_names);
    for (unsigned i = 1; i < count; i++) {
        const struct place *before = &places[i - 1];
        bool later = places[i].ended_us == NO_TIME || places[i].ended_us < before->ended_us;

        if (later && before->ended_us != NO_TIME && bytes_equal(before->path, places[i].path))
            places[i].ended_us = before->ended_us;
    }
    qsort(places, count, sizeof(*places), compare_times);
    order_by_number(places, count);
    for (unsigned i = 0; i < count; i++)
        files->readers[i] = places[i].reader;
    log_line_deinit(&line);
    alloc_free(places);
}

int log_files_open(struct log_files *files, char *const *paths, unsigned count, struct buffer *errors)
{
    *files = (struct log_files){.errors = errors};
    if (log_paths_open(paths, count, &files->readers, &files->count, errors) != 0) {
        log_files_close(files);
        return -EIO;
    }
    if (files->count > 1)
        sort(files);
    /* The last one first: what stands in it was written after what stands in the others. */
    for (unsigned i = files->count; i-- > 0;)
        log_reader_bound(files->readers[i]);
    return 0;
}

void log_files_close(struct log_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        log_reader_free(files->readers[i]);
    files->readers = alloc_free(files->readers);
    files->count = 0;
}

bool log_files_next_of(struct log_files *files, struct log_reader *reader, struct log_line *line)
{
    struct bytes text = BYTES_NONE;

    for (;;) {
        int r = log_reader_next(reader, &text);

        if (r == LOG_READ_END)
            return false;
        files->damaged += r == LOG_READ_DAMAGED || r < 0;
        if (r == LOG_READ_DAMAGED)
            buffer_printf(files->errors, "%s: the compressed text is damaged or breaks off\n", log_reader_path(reader));
        else if (r < 0)
            buffer_printf(files->errors, "%s: %s\n", log_reader_path(reader), strerror(-r));
        if (r == LOG_READ_LONG || (r == 0 && text.size))
            break;
        text = BYTES_NONE;
    }
    log_line_read(line, text);
    files->broken += line->kind == LOG_BROKEN;
    return true;
}

bool log_files_next(struct log_files *files, struct log_line *line)
{
    for (; files->at < files->count; files->at++)
        if (log_files_next_of(files, files->readers[files->at], line))
            return true;
    return false;
}
