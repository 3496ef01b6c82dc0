/*
 * A line is written when its request ends. So the end of a file's first request tells where the file belongs, unless
 * two were begun within a moment, for lines of several workers are a little out of order: then its number does.
 */
#include "command/log_files.h"

#include "base/alloc.h"
#include "command/log_paths.h"

#include <errno.h>

#define MOMENT_US 1000000

struct place {
    struct log_reader *reader;
    int64_t ended_us, seq;      /* of its first line; -1: not known */
};

static struct place place_of(struct log_reader *reader, struct log_line *line)
{
    struct place place = {reader, -1, -1};
    uint64_t took = 0;
    struct bytes text;

    if (!log_reader_peek(reader, &text))
        return place;
    log_line_read(line, text);
    if (line->kind == LOG_BROKEN)
        return place;
    place.seq = line->seq;
    if (log_line_time(line, &place.ended_us) && log_line_us(line, LOG_total_ms, &took))
        place.ended_us += (int64_t)took;
    return place;
}

static bool comes_before(const struct place *a, const struct place *b)
{
    int64_t apart = a->ended_us - b->ended_us;

    if (a->seq < 0 || b->seq < 0)
        return false;
    if (a->ended_us >= 0 && b->ended_us >= 0 && (apart > MOMENT_US || apart < -MOMENT_US))
        return apart < 0;
    return a->seq < b->seq;
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
