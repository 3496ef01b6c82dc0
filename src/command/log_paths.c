/*
 * The list of names is older than our look at the files, and it was not made in one moment: any of the three may be in
 * it, and be there no more. What is open cannot go away, so two of one name are compared after both were opened: the
 * plain one stays, unless it is the shorter one. Where they say different things both are meant.
 *
 * A file that is rotated after the names were listed and before it is opened is in no list, and what is opened instead
 * of it is its successor: a hole. So the folder is looked through as well, while the open one stands at its path: then
 * all that is found was closed before, and nothing of it is read twice.
 */
#include "command/log_paths.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "command/log_rotated.h"
#include "record/sink_sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PACKED ".gz"
#define PART ".gz.part"

#define MOMENT_MS 5000
#define TRIES 20
#define TRY_NS 2000000

struct names {
    char *const *paths;
    unsigned count;
    const char **sorted;
    struct buffer *errors;
    struct log_reader **readers;
    unsigned open, room;
};

/* --- names --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_named(const struct names *names, const char *path)
{
    return bsearch(&path, names->sorted, names->count, sizeof(path), compare_names) != NULL;
}

/* PATH without END, with MORE instead; the text in ROOM. */
static const char *renamed(const char *path, const char *end, const char *more, struct buffer *room)
{
    struct bytes stem = bytes_of(path);

    stem.size -= strlen(end);
    room->size = 0;
    buffer_append(room, stem);
    buffer_append(room, (struct bytes){more, strlen(more) + 1});
    return room->data;
}

static bool is_gone(const char *path)
{
    return access(path, F_OK) < 0 && errno == ENOENT;
}

/* --- opening --- */

/* PATH, or what it has become. NULL: it is not there, or PACKED of it is named anyhow. */
static struct log_reader *open_plain(const struct names *names, const char *path, struct buffer *errors)
{
    size_t before = errors->size;
    struct log_reader *reader = log_reader_open(path, errors);
    struct buffer room = {0};
    struct buffer other = {0};
    const char *packed = renamed(path, "", PACKED, &room);

    if (!reader && !bytes_end_with(bytes_of(path), BYTES(PACKED)) && is_gone(path)) {
        if (!is_named(names, packed))
            reader = log_reader_open(packed, &other);
        if (reader || is_named(names, packed))
            errors->size = before;
    }
    buffer_deinit(&other);
    buffer_deinit(&room);
    return reader;
}

/* What is compressed into PART, if nothing else stands for it. */
static struct log_reader *open_for_part(const struct names *names, const char *part)
{
    struct buffer plain = {0}, packed = {0}, errors = {0};
    struct log_reader *reader = NULL;

    renamed(part, PART, "", &plain);
    renamed(part, PART, PACKED, &packed);
    if (!is_named(names, plain.data) && !is_named(names, packed.data)) {
        reader = open_plain(names, plain.data, &errors);
        if (!reader)
            buffer_printf(names->errors, "%s is not read: it is not finished, and there is no %s\n", part, plain.data);
    }
    buffer_deinit(&errors);
    buffer_deinit(&packed);
    buffer_deinit(&plain);
    return reader;
}

static void add_reader(struct names *names, struct log_reader *reader)
{
    if (!reader)
        return;
    if (names->open == names->room) {
        names->room = names->room ? 2 * names->room : 16;
        names->readers = alloc_resize(names->readers, names->room * sizeof(struct log_reader *));
    }
    names->readers[names->open++] = reader;
}

/* --- rotation --- */

/* Of the sorted names the first one that is not before TEXT. */
static unsigned first_from(const struct names *names, const char *text)
{
    unsigned from = 0, to = names->count;

    while (from < to) {
        unsigned middle = from + (to - from) / 2;

        if (strcmp(names->sorted[middle], text) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The last name of those that PATH was closed as, when one is given; but no earlier one than of a moment ago. */
static bool newest_named(const struct names *names, const char *path, struct buffer *ret)
{
    struct buffer prefix = {0};
    bool any = false;

    sweep_name(path, clock_wall_ms() - MOMENT_MS, ret);
    renamed(path, "", ".", &prefix);
    for (unsigned i = first_from(names, prefix.data); i < names->count; i++) {
        struct bytes name = bytes_of(names->sorted[i]);

        if (!bytes_start_with(name, bytes_of(prefix.data)))
            break;
        name = log_rotated_name(name, buffer_bytes(ret));
        any = any || name.size;
        if (name.size && memcmp(name.data, ret->data, name.size) > 0)
            memcpy(ret->data, name.data, name.size);
    }
    buffer_deinit(&prefix);
    return any;
}

/* PATH, and all that it was closed as since NEWEST in ROTATED. */
static struct log_reader *open_live(const struct names *names, const char *path, struct bytes newest,
                                    struct log_rotated *rotated)
{
    const struct timespec pause = {.tv_nsec = TRY_NS};
    size_t before = names->errors->size;

    for (unsigned i = 1;; i++) {
        struct log_reader *reader;

        names->errors->size = before;
        reader = open_plain(names, path, names->errors);
        if (reader)
            log_rotated_look(rotated, path, newest);
        if (i == TRIES || (reader && log_reader_is_at_path(reader)) || (!reader && names->errors->size == before))
            return reader;
        log_reader_free(reader);
        log_rotated_deinit(rotated);
        nanosleep(&pause, NULL);        /* it is being rotated */
    }
}

static void open_path(struct names *names, const char *path)
{
    struct log_rotated rotated = {0};
    struct buffer newest = {0}, gone = {0};

    if (bytes_end_with(bytes_of(path), BYTES(PART)))
        add_reader(names, open_for_part(names, path));
    else if (newest_named(names, path, &newest))
        add_reader(names, open_live(names, path, buffer_bytes(&newest), &rotated));
    else
        add_reader(names, open_plain(names, path, names->errors));
    for (unsigned i = 0; i < rotated.count; i++)
        add_reader(names, open_plain(names, rotated.names[i], &gone)); /* it may be removed by now */
    buffer_deinit(&gone);
    log_rotated_deinit(&rotated);
    buffer_deinit(&newest);
}

/* --- two of one name --- */

enum { KEEP_BOTH, KEEP_FIRST, KEEP_SECOND };

static bool is_over(int r)
{
    return r == LOG_READ_END || r == LOG_READ_DAMAGED || r < 0;
}

/* PART, the line of READER, is the last one and was cut: WHOLE begins with it. */
static bool is_cut(struct bytes part, struct log_reader *reader, struct bytes whole)
{
    struct bytes next;

    return bytes_start_with(whole, part) && is_over(log_reader_next(reader, &next));
}

/* The one that goes on where the other has ended; the first of equal ones. */
static int compare_lines(struct log_reader *first, struct log_reader *second)
{
    for (;;) {
        struct bytes a = BYTES_NONE, b = BYTES_NONE;
        int r = log_reader_next(first, &a), s = log_reader_next(second, &b);

        if (is_over(s))
            return KEEP_FIRST;
        if (is_over(r))
            return KEEP_SECOND;
        if (r == s && bytes_equal(a, b))
            continue;
        if (r == 0 && s == 0 && is_cut(b, second, a))
            return KEEP_FIRST;
        return r == 0 && s == 0 && is_cut(a, first, b) ? KEEP_SECOND : KEEP_BOTH;
    }
}

/* Returns the one that is not needed, or NULL. Both are at their beginning again. */
static struct log_reader *needless(struct log_reader *plain, struct log_reader *packed)
{
    int keep;

    if (!log_reader_restart(plain) || !log_reader_restart(packed))
        return NULL;
    keep = compare_lines(plain, packed);
    log_reader_restart(plain);
    log_reader_restart(packed);
    return keep == KEEP_FIRST ? packed : keep == KEEP_SECOND ? plain : NULL;
}

static unsigned find(const struct names *names, const char *path)
{
    unsigned at = 0;

    while (at < names->open && strcmp(log_reader_path(names->readers[at]), path) != 0)
        at++;
    return at;
}

static void drop(struct names *names, const struct log_reader *reader)
{
    unsigned at = 0;

    while (names->readers[at] != reader)
        at++;
    log_reader_free(names->readers[at]);
    memmove(names->readers + at, names->readers + at + 1, (--names->open - at) * sizeof(struct log_reader *));
}

/* The first of each name: a name that is given twice is read twice. */
static void drop_copies(struct names *names)
{
    struct buffer plain = {0};
    const struct log_reader *copy;

    for (unsigned i = 0; i < names->count; i++) {
        unsigned at, other;

        if (!bytes_end_with(bytes_of(names->paths[i]), BYTES(PACKED)) ||
            !is_named(names, renamed(names->paths[i], PACKED, "", &plain)))
            continue;
        at = find(names, plain.data);
        other = find(names, names->paths[i]);
        if (at == names->open || other == names->open)
            continue;
        copy = needless(names->readers[at], names->readers[other]);
        if (copy)
            drop(names, copy);
    }
    buffer_deinit(&plain);
}

int log_paths_open(char *const *paths, unsigned count, struct log_reader ***ret, unsigned *ret_count,
                   struct buffer *errors)
{
    struct names names = {.paths = paths, .count = count, .errors = errors};
    size_t before = errors->size;

    names.sorted = alloc_zeroed((count + 1) * sizeof(char *));
    memcpy(names.sorted, paths, count * sizeof(char *));
    qsort(names.sorted, count, sizeof(char *), compare_names);
    for (unsigned i = 0; i < count; i++)
        open_path(&names, paths[i]);
    drop_copies(&names);
    alloc_free(names.sorted);
    *ret = names.readers;
    *ret_count = names.open;
    return errors->size == before ? 0 : -EIO;
}
