/*
 * When another file is at the path, the closed ones whose names were not there before were closed in between, and ours
 * is one of them: it is known by its inode, or when it was compressed already, by its beginning. Their names stand in
 * the order of time, but not all of them: of several gateways, and of a clock that was set.
 *
 * A file at the path that is there before and after the names were listed was not closed in between: so each look finds
 * all of them, or none and looks again.
 *
 * Of several gateways that write the file one rotates it, and the others go on in the closed one until they see that,
 * within a second. So it is looked at for a while.
 */
#include "command/log_follow.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "command/log_rotated.h"
#include "record/sink_sweep.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TRIES 20
#define CLOSED_MS 10000
#define SETTLE_MS 1500

struct closed {
    struct log_reader *reader;
    uint64_t until_ms;
};

struct log_follow {
    struct log_reader **live;
    char *target;               /* where its path leads: closed files are called after that */
    struct buffer oldest;       /* earlier than the name of any closed file */
    struct log_rotated known;   /* closed ones that were read, or were there before */

    struct closed *closed;      /* in order */
    unsigned count, room;
    unsigned next;              /* of log_follow_next() */
    uint64_t look_ms;

    struct log_runs runs;
    uint64_t missed;            /* of runs that are over */
    uint64_t settled_ms;
};

/* --- closed files --- */

/* NAME is the plain one's, which goes away once it is compressed. NULL: both are gone. */
static struct log_reader *open_closed(const char *name)
{
    struct buffer errors = {0}, packed = {0};
    struct log_reader *reader = log_reader_open(name, &errors);

    if (!reader) {
        buffer_append_text(&packed, name);
        buffer_append(&packed, (struct bytes){".gz", sizeof(".gz")});
        reader = log_reader_open(packed.data, &errors);
    }
    buffer_deinit(&packed);
    buffer_deinit(&errors);
    return reader;
}

static void append(struct log_follow *follow, struct log_reader *reader, bool may_grow)
{
    if (follow->count == follow->room) {
        follow->room = follow->room ? 2 * follow->room : 8;
        follow->closed = alloc_resize(follow->closed, follow->room * sizeof(*follow->closed));
    }
    follow->closed[follow->count++] = (struct closed){reader, may_grow ? clock_ms() + CLOSED_MS : 0};
}

static void drop(struct log_follow *follow, unsigned from, unsigned count)
{
    if (count == 0)
        return;
    for (unsigned i = from; i < from + count; i++)
        log_reader_free(follow->closed[i].reader);
    follow->count -= count;
    memmove(follow->closed + from, follow->closed + from + count, (follow->count - from) * sizeof(*follow->closed));
}

/* Of ROTATED, those that are not known, but not OURS, which is closed now. */
static void add_closed(struct log_follow *follow, const struct log_reader *ours, const struct log_rotated *rotated)
{
    bool found = false;

    for (unsigned i = 0; i < rotated->count; i++) {
        struct log_reader *reader = NULL;
        bool is_ours;

        if (!log_rotated_has(&follow->known, rotated->names[i]))
            reader = open_closed(rotated->names[i]);
        if (!reader)
            continue;
        is_ours = !found && log_reader_is_same(ours, reader);
        found = found || is_ours;
        if (is_ours)
            log_reader_free(reader);
        else
            append(follow, reader, log_reader_follow(reader));
    }
}

/* ROTATED is known now, and nothing else; but who lists a folder while a file is compressed may see neither of its
 * names. */
static void remember(struct log_follow *follow, struct log_rotated *rotated)
{
    for (unsigned i = 0; i < follow->known.count; i++) {
        const char *name = follow->known.names[i];
        struct log_reader *reader = log_rotated_has(rotated, name) ? NULL : open_closed(name);

        if (reader)
            log_rotated_add(rotated, name);
        log_reader_free(reader);
    }
    log_rotated_deinit(&follow->known);
    follow->known = *rotated;
    *rotated = (struct log_rotated){0};
}

/* Ours was closed before the known ones were listed: those behind it are not. */
static void forget_later(struct log_follow *follow)
{
    struct log_rotated *known = &follow->known;
    unsigned i = known->count;
    bool found = false;

    while (i > 0 && !found) {
        struct log_reader *reader = open_closed(known->names[--i]);

        found = reader && log_reader_is_same(*follow->live, reader);
        log_reader_free(reader);
    }
    while (found && known->count > i + 1)
        alloc_free(known->names[--known->count]);
}

/* --- the live one --- */

/* What is at the path, and what was closed before. NULL: nothing, or that changes too fast. */
static struct log_reader *open_successor(struct log_follow *follow, struct log_rotated *rotated)
{
    const char *path = log_reader_path(*follow->live);
    struct log_reader *reader = NULL;
    struct buffer errors = {0};
    struct stat about;

    for (unsigned i = 0; i < TRIES && !reader; i++) {
        if (stat(path, &about) < 0 || !S_ISREG(about.st_mode))
            break;
        reader = log_reader_open(path, &errors);
        if (reader)
            log_rotated_look(rotated, follow->target, buffer_bytes(&follow->oldest));
        if (reader && log_reader_is_at_path(reader) && log_reader_follow(reader))
            break;
        reader = log_reader_free(reader);
        log_rotated_deinit(rotated);
    }
    buffer_deinit(&errors);
    return reader;
}

static void follow_path(struct log_follow *follow)
{
    struct log_rotated rotated = {0};
    struct log_reader *successor;

    if (log_reader_is_at_path(*follow->live))
        return;
    successor = open_successor(follow, &rotated);
    if (successor) {
        append(follow, *follow->live, true);
        add_closed(follow, *follow->live, &rotated);
        *follow->live = successor;
        remember(follow, &rotated);
    }
    log_rotated_deinit(&rotated);
}

struct log_follow *log_follow_new(struct log_reader **live)
{
    struct log_follow *follow;
    char target[PATH_MAX];

    if (!log_reader_follow(*live))
        return NULL;
    follow = ALLOC_NEW(struct log_follow);
    follow->live = live;
    follow->target = alloc_text(realpath(log_reader_path(*live), target) ? target : log_reader_path(*live));
    sweep_name(follow->target, 0, &follow->oldest);
    log_rotated_look(&follow->known, follow->target, buffer_bytes(&follow->oldest));
    if (!log_reader_is_at_path(*live))
        forget_later(follow);
    return follow;
}

struct log_follow *log_follow_free(struct log_follow *follow)
{
    if (!follow)
        return NULL;
    drop(follow, 0, follow->count);
    alloc_free(follow->closed);
    buffer_deinit(&follow->oldest);
    log_rotated_deinit(&follow->known);
    log_runs_deinit(&follow->runs);
    alloc_free(follow->target);
    return alloc_free(follow);
}

/* --- looking --- */

void log_follow_look(struct log_follow *follow)
{
    follow->look_ms = clock_ms();
    follow->next = 0;
    follow_path(follow);
}

struct log_reader *log_follow_next(struct log_follow *follow)
{
    while (follow->next <= follow->count) {
        unsigned at = follow->next++;
        struct log_reader *reader = at < follow->count ? follow->closed[at].reader : *follow->live;

        if (log_reader_again(reader))
            return reader;
    }
    for (unsigned i = follow->count; i-- > 0;)
        if (follow->closed[i].until_ms <= follow->look_ms)
            drop(follow, i, 1);
    return NULL;
}

/* --- what is missing --- */

void log_follow_note(struct log_follow *follow, struct log_line *line)
{
    struct log_run *run = line->kind == LOG_BROKEN ? NULL : log_runs_of(&follow->runs, line);
    int64_t from = line->seq, to = line->seq;

    if (!run)
        return;
    if (line->kind == LOG_LOSS) {
        from = log_line_number(line, LOG_first, 1);
        to = log_line_number(line, LOG_last, 1);
    }
    if (log_run_begins(run, from)) {
        follow->missed += log_run_forget(&follow->runs, run, INT64_MAX);
        log_run_begin(&follow->runs, run, from, false);
    }
    log_run_add(&follow->runs, run, from, to);
}

void log_follow_begin(struct log_follow *follow)
{
    log_follow_missed(follow, true);
    follow->settled_ms = clock_ms();
}

uint64_t log_follow_missed(struct log_follow *follow, bool end)
{
    uint64_t missed = follow->missed;

    if (!end && clock_ms() - follow->settled_ms < SETTLE_MS)
        return 0;
    follow->settled_ms = clock_ms();
    follow->missed = 0;
    missed += log_runs_settle(&follow->runs);
    return end ? missed + log_runs_settle(&follow->runs) : missed;
}
