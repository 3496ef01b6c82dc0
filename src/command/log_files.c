/*
 * What a gateway closed says in its name when. Of other files the first line tells where they belong, which was written
 * when its request ended; unless two were begun within a moment, for lines of several workers are a little out of
 * order: then its number does, where both are of one run.
 */
#include "command/log_files.h"

#include "base/alloc.h"
#include "command/log_paths.h"
#include "command/log_rotated.h"
#include "command/log_seen.h"

#include <errno.h>

#define MOMENT_US 1000000

struct place {
    struct log_reader *reader;
    struct bytes path, stamp;   /* what it was called when it was written, and when it was closed */
    int64_t ended_us, seq;      /* of its first line; -1: not known */
    uint64_t run;               /* a hash of it */
};

static struct place place_of(struct log_reader *reader, struct log_line *line)
{
    struct place place = {.reader = reader, .ended_us = -1, .seq = -1};
    uint64_t took = 0;
    struct bytes text;

    place.stamp = log_rotated_stamp(bytes_of(log_reader_path(reader)), &place.path);
    if (!log_reader_peek(reader, &text))
        return place;
    log_line_read(line, text);
    if (line->kind == LOG_BROKEN)
        return place;
    place.seq = line->seq;
    place.run = log_seen_hash(LOG_SEEN_HASH, log_line_text(line, LOG_run));
    if (log_line_time(line, &place.ended_us) && log_line_us(line, LOG_total_ms, &took))
        place.ended_us += (int64_t)took;
    return place;
}

static bool comes_before(const struct place *a, const struct place *b)
{
    int64_t apart = a->ended_us - b->ended_us;

    /* The one that was not closed is the last. */
    if (bytes_equal(a->path, b->path) && !bytes_equal(a->stamp, b->stamp))
        return !b->stamp.size || (a->stamp.size && memcmp(a->stamp.data, b->stamp.data, a->stamp.size) < 0);
    if (a->seq < 0 || b->seq < 0)
        return false;
    if (a->ended_us >= 0 && b->ended_us >= 0 && (apart > MOMENT_US || apart < -MOMENT_US))
        return apart < 0;
    return a->run == b->run ? a->seq < b->seq : a->ended_us >= 0 && b->ended_us >= 0 && apart < 0;
}

/* They are few, and of equal ones the first named stays first. */
static void sort(struct log_files *files)
{
    struct place *places = alloc_zeroed(files->count * sizeof(*places));
    struct log_line line;

    log_line_init(&line);
    for (unsigned i = 0; i < files->count; i++) {
        struct place place = place_of(files->readers[i], &line);
        unsigned at = i;

        for (; at > 0 && comes_before(&place, &places[at - 1]); at--)
            places[at] = places[at - 1];
        places[at] = place;
    }
    for (unsigned i = 0; i < files->count; i++)
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
