/*
 * One walk in the order of writing. What is missing is kept as a list of holes, mostly empty: a line that comes late
 * fills its place in one, and a line that tells of a loss excuses what of it is missing. What is left at the end of a
 * run is wrong.
 *
 * A line that tells of a loss has the number of the last line that was lost. Two of them may tell of the same numbers,
 * each of some lines there: so what they say is added up, and compared at the end of the run.
 *
 * Numbers begin again with each run, so they do not show that a run is there twice: its first line does, and ids do.
 */
#include "command/log_check.h"

#include "base/alloc.h"
#include "command/text_table.h"

struct hole {
    int64_t from, to;
};

struct check {
    struct buffer *out;
    struct hole *holes;         /* of the present run, in order */
    unsigned hole_count, hole_capacity;
    int64_t first, last;        /* of the present run; last is 0 before its first line */
    struct log_seen firsts, ids;        /* of runs; of requests */
    bool again;                 /* the present run was there before */
    uint64_t run_told, run_filled;      /* lines that are said to be dropped, and were really missing there */
    uint64_t lines, runs, doubles, missing, dropped, late, wrong_counts, overflown;
    uint64_t told;
};

static bool may_tell(struct check *check)
{
    if (check->told++ == LOG_CHECK_TOLD)
        buffer_append_text(check->out, "... and more\n");
    return check->told <= LOG_CHECK_TOLD;
}

/* --- holes --- */

/* The first hole that ends at NUMBER or behind it. */
static unsigned hole_at(const struct check *check, int64_t number)
{
    unsigned from = 0, to = check->hole_count;

    while (from < to) {
        unsigned middle = from + (to - from) / 2;

        if (check->holes[middle].to < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_hole(const struct check *check, int64_t number)
{
    unsigned at = hole_at(check, number);

    return at < check->hole_count && check->holes[at].from <= number;
}

static void insert(struct check *check, unsigned at, struct hole hole)
{
    if (check->hole_count == LOG_CHECK_HOLES) {
        check->overflown += (uint64_t)(hole.to - hole.from + 1);
        return;
    }
    if (check->hole_count == check->hole_capacity) {
        check->hole_capacity = check->hole_capacity ? 2 * check->hole_capacity : 64;
        check->holes = alloc_resize(check->holes, check->hole_capacity * sizeof(hole));
    }
    memmove(check->holes + at + 1, check->holes + at, (check->hole_count - at) * sizeof(hole));
    check->holes[at] = hole;
    check->hole_count++;
}

static void erase(struct check *check, unsigned at)
{
    check->hole_count--;
    memmove(check->holes + at, check->holes + at + 1, (check->hole_count - at) * sizeof(*check->holes));
}

/* Numbers FROM to TO are no holes any more. Returns how many were. */
static uint64_t fill(struct check *check, int64_t from, int64_t to)
{
    unsigned at = hole_at(check, from);
    uint64_t filled = 0;

    while (at < check->hole_count && check->holes[at].from <= to) {
        struct hole hole = check->holes[at];
        int64_t left = hole.from > from ? hole.from : from, right = hole.to < to ? hole.to : to;

        filled += (uint64_t)(right - left + 1);
        erase(check, at);
        if (hole.from < left)
            insert(check, at++, (struct hole){hole.from, left - 1});
        if (hole.to > right)
            insert(check, at++, (struct hole){right + 1, hole.to});
    }
    return filled;
}

/* --- runs --- */

static void tell_hole(struct check *check, struct hole hole)
{
    check->missing += (uint64_t)(hole.to - hole.from + 1);
    if (!may_tell(check))
        return;
    if (hole.from == hole.to)
        buffer_printf(check->out, "number %lld is missing\n", (long long)hole.from);
    else
        buffer_printf(check->out, "numbers %lld to %lld are missing\n", (long long)hole.from, (long long)hole.to);
}

static void end_run(struct check *check)
{
    for (unsigned i = 0; i < check->hole_count; i++)
        tell_hole(check, check->holes[i]);
    if (check->run_told != check->run_filled && may_tell(check))
        buffer_printf(check->out, "%llu line%s said to be dropped where %llu %s missing\n",
                      (unsigned long long)check->run_told, check->run_told == 1 ? " is" : "s are",
                      (unsigned long long)check->run_filled, check->run_filled == 1 ? "is" : "are");
    check->wrong_counts += check->run_told != check->run_filled;
    check->missing += check->overflown;
    check->run_told = check->run_filled = check->overflown = 0;
    check->hole_count = 0;
    check->last = 0;
}

/* The one whose first number is NUMBER. Only the log's first run may begin later than with 1: the older files of the
 * others are there. */
static void begin_run(struct check *check, int64_t number)
{
    end_run(check);
    if (check->runs++ == 0)
        check->first = number;
    else if (number > 1)
        insert(check, 0, (struct hole){1, number - 1});
    check->last = number - 1;
}

static void tell_line(struct check *check, const char *what, struct log_line *line)
{
    struct bytes id = log_line_text(line, LOG_id);

    if (!may_tell(check))
        return;
    buffer_append_text(check->out, what);
    if (id.size)
        table_name(check->out, id);
    else
        buffer_printf(check->out, "number %lld", (long long)line->seq);
    buffer_append_text(check->out, " is there twice\n");
}

/* LINE is the first of a run. A number alone does not tell one from another. */
static void look_at_first(struct check *check, struct log_line *line)
{
    struct bytes id = log_line_text(line, LOG_id), time = log_line_text(line, LOG_time);
    uint64_t hash = log_seen_hash(log_seen_hash(LOG_SEEN_HASH, id), time);

    hash = log_seen_hash(hash, (struct bytes){(const char *)&line->seq, sizeof(line->seq)});
    check->again = (id.size || time.size) && log_seen_add(&check->firsts, hash);
    if (check->again)
        tell_line(check, "the run that begins with ", line);
}

/* --- lines --- */

static bool begins_run(const struct check *check, int64_t number)
{
    return check->runs == 0 || (number == 1 && check->last > 0 && !is_hole(check, 1));
}

static bool id_seen(struct check *check, struct log_line *line)
{
    struct bytes id = line->kind == LOG_REQUEST ? log_line_text(line, LOG_id) : BYTES_NONE;

    return id.size && log_seen_add(&check->ids, log_seen_hash(LOG_SEEN_HASH, id));
}

static void take_request(struct check *check, struct log_line *line)
{
    bool seen = id_seen(check, line);
    int64_t number = line->seq;

    check->lines++;
    if (begins_run(check, number)) {
        begin_run(check, number);
        look_at_first(check, line);
        seen = seen || check->again;
    }
    if (number > check->last + 1)
        insert(check, check->hole_count, (struct hole){check->last + 1, number - 1});
    if (number > check->last) {
        check->last = number;
    } else if (fill(check, number, number)) {
        check->late++;
    } else {
        check->doubles++;
        if (may_tell(check))
            buffer_printf(check->out, "number %lld is there twice\n", (long long)number);
        return;
    }
    check->doubles += seen;
    if (seen && !check->again)
        tell_line(check, "", line);
}

static void take_loss(struct check *check, struct log_line *line)
{
    int64_t first = log_line_number(line, LOG_first, 1), last = log_line_number(line, LOG_last, 1);
    uint64_t told = (uint64_t)log_line_number(line, LOG_dropped, 0), filled;

    if (begins_run(check, first)) {
        begin_run(check, first);
        look_at_first(check, line);
        check->doubles += check->again;
    }
    if (first > check->last + 1)
        insert(check, check->hole_count, (struct hole){check->last + 1, first - 1});
    filled = fill(check, first, last);
    if (last > check->last) {
        int64_t from = first > check->last + 1 ? first : check->last + 1;

        filled += (uint64_t)(last - from + 1);
        check->last = last;
    }
    check->dropped += told;
    /* Of what was lost before the log begins nothing is known here. */
    check->run_told += check->runs == 1 && first < check->first ? filled : told;
    check->run_filled += filled;
}

static bool has_none(const struct check *check, const struct log_files *files)
{
    return check->runs == 0 && files->broken == 0;
}

static void conclude(const struct check *check, const struct log_files *files, struct buffer *out)
{
    const struct {
        uint64_t count;
        const char *one, *more;
    } rows[] = {
        {check->lines, "line", "lines"},
        {check->runs, "run of the gateway", "runs of the gateway"},
        {check->dropped, "dropped, as the log tells", NULL},
        {check->late, "out of order", NULL},
        {check->missing, "MISSING", NULL},
        {check->doubles, "TWICE", NULL},
        {check->wrong_counts, "run with WRONG COUNTS of dropped lines", "runs with WRONG COUNTS of dropped lines"},
        {files->broken, "UNREADABLE", NULL},
        {files->damaged, "file that could NOT BE READ to its end", "files that could NOT BE READ to their end"},
    };
    bool none = has_none(check, files);

    if (none)
        buffer_append_text(out, "no lines\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].count == 0 && (i >= 2 || none))
            continue;
        table_count(out, rows[i].count);
        buffer_printf(out, " %s\n", rows[i].count == 1 || !rows[i].more ? rows[i].one : rows[i].more);
    }
    if (check->runs && check->first > 1)
        buffer_printf(out, "begins with number %lld: earlier files are not here\n", (long long)check->first);
}

bool log_check(struct log_files *files, struct buffer *out)
{
    struct check check = {.out = out};
    struct log_line line;
    bool good;

    log_line_init(&line);
    while (log_files_next(files, &line)) {
        if (line.kind == LOG_REQUEST || line.kind == LOG_EVENT)
            take_request(&check, &line);
        else if (line.kind == LOG_LOSS)
            take_loss(&check, &line);
        else if (may_tell(&check))
            buffer_printf(out, "%s: a line cannot be read\n", log_reader_path(files->readers[files->at]));
    }
    end_run(&check);
    good = check.missing == 0 && check.doubles == 0 && check.wrong_counts == 0 && files->broken == 0 &&
           files->damaged == 0;
    conclude(&check, files, out);
    if (good && !has_none(&check, files))
        buffer_append_text(out, "unbroken\n");
    log_line_deinit(&line);
    log_seen_deinit(&check.firsts);
    log_seen_deinit(&check.ids);
    alloc_free(check.holes);
    return good;
}
