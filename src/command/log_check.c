/*
 * One walk in the order of writing. A line that tells of a loss excuses what of it is missing. What is missing at the
 * end of a run is wrong.
 *
 * A line that tells of a loss has the number of the last line that was lost. Two of them may tell of the same numbers,
 * each of some lines there: so what they say is added up, and compared at the end of the run.
 *
 * Where lines name no run, numbers that begin again are another one; they do not show that a run is there twice: its
 * first line does, and ids do.
 */
#include "command/log_check.h"

#include "base/alloc.h"
#include "command/text_table.h"

struct fault {
    struct buffer text;
    const struct log_run *run;
};

struct check {
    struct log_runs runs;
    struct log_seen firsts, ids;        /* of runs without a name; of requests */
    bool again;                 /* the present one without a name was there before */
    int64_t nameless_first;     /* number of the first line without a run, when there is one */
    struct fault faults[LOG_CHECK_TOLD + 1], begins[LOG_CHECK_TOLD + 1];
    unsigned fault_count, begin_count;
    uint64_t all;               /* lines of any kind */
    uint64_t lines, nameless, doubles, missing, dropped, late, wrong_counts, beyond;
};

/* --- what is told --- */

/* A line of the list, without its end; one that is written to no avail, when there are enough. */
static struct buffer *add_to(struct fault *list, unsigned *count, const struct log_run *run)
{
    struct fault *fault = &list[*count < LOG_CHECK_TOLD ? *count : LOG_CHECK_TOLD];

    *count += *count <= LOG_CHECK_TOLD;
    fault->text.size = 0;
    fault->run = run;
    return &fault->text;
}

static struct buffer *tell(struct check *check, const struct log_run *run)
{
    return add_to(check->faults, &check->fault_count, run);
}

static void write_name(const struct fault *fault, const char *before, const char *behind, struct buffer *out)
{
    if (!fault->run || !fault->run->name.size)
        return;
    buffer_append_text(out, before);
    table_name(out, fault->run->name);
    buffer_append_text(out, behind);
}

/* With NAMES, of the run: in front of what it does, or behind what is wrong in it. */
static void write_list(const struct fault *list, unsigned count, bool names, bool in_front, struct buffer *out)
{
    for (unsigned i = 0; i < count && i < LOG_CHECK_TOLD; i++) {
        if (names && in_front)
            write_name(&list[i], "run ", " ", out);
        buffer_append(out, buffer_bytes(&list[i].text));
        if (names && !in_front)
            write_name(&list[i], " in run ", "", out);
        buffer_append_char(out, '\n');
    }
    if (count > LOG_CHECK_TOLD)
        buffer_append_text(out, "... and more\n");
}

/* --- runs --- */

static void tell_hole(struct check *check, const struct log_run *run, struct log_hole hole)
{
    struct buffer *text = tell(check, run);

    if (hole.from == hole.to)
        buffer_printf(text, "number %lld is missing", (long long)hole.from);
    else
        buffer_printf(text, "numbers %lld to %lld are missing", (long long)hole.from, (long long)hole.to);
}

static void end_run(struct check *check, struct log_run *run)
{
    for (unsigned i = 0; i < run->hole_count; i++)
        tell_hole(check, run, run->holes[i]);
    if (run->told != run->filled)
        buffer_printf(tell(check, run), "%llu line%s said to be dropped where %llu %s missing",
                      (unsigned long long)run->told, run->told == 1 ? " is" : "s are",
                      (unsigned long long)run->filled, run->filled == 1 ? "is" : "are");
    check->wrong_counts += run->told != run->filled;
    check->missing += log_run_forget(&check->runs, run, INT64_MAX);
    run->told = run->filled = 0;
}

static void tell_line(struct check *check, const char *what, struct log_line *line)
{
    struct bytes id = log_line_text(line, LOG_id);
    struct buffer *text = tell(check, NULL);

    buffer_append_text(text, what);
    if (id.size)
        table_name(text, id);
    else
        buffer_printf(text, "number %lld", (long long)line->seq);
    buffer_append_text(text, " is there twice");
}

/* LINE is the first of a run without a name. A number alone does not tell one from another. */
static void look_at_first(struct check *check, struct log_line *line)
{
    struct bytes id = log_line_text(line, LOG_id), time = log_line_text(line, LOG_time);
    uint64_t hash = log_seen_hash(log_seen_hash(LOG_SEEN_HASH, id), time);

    hash = log_seen_hash(hash, (struct bytes){(const char *)&line->seq, sizeof(line->seq)});
    check->again = (id.size || time.size) && log_seen_add(&check->firsts, hash);
    if (check->again)
        tell_line(check, "the run that begins with ", line);
}

/* Of those without a name only the log's first one may begin later than with 1: the older files of the others are
 * there. Of those with a name that is known at the end: see end_named(). True: it was there before. */
static bool begin_run(struct check *check, struct log_run *run, int64_t number, struct log_line *line)
{
    end_run(check, run);
    run->first_line = check->all;
    if (run->name.size) {
        log_run_begin(&check->runs, run, number, true);
        return false;
    }
    if (check->nameless++ == 0)
        check->nameless_first = number;
    log_run_begin(&check->runs, run, number, check->nameless > 1);
    look_at_first(check, line);
    return check->again;
}

static void tell_beginning(struct check *check, const struct log_run *run, int64_t number)
{
    if (number > 1)
        buffer_printf(add_to(check->begins, &check->begin_count, run),
                      "begins with number %lld: earlier files are not here", (long long)number);
}

/* It may have been there before the log begins when that is in the middle of a run, or when another one that came
 * before it goes on after its first line: gateways that write one log at the same time. Else it follows on others, and
 * what it began with is missing. */
static void end_named(struct check *check, struct log_run *run, bool may_be_older)
{
    if (may_be_older && run->hole_count && run->holes[0].from == 1) {
        int64_t before = run->holes[0].to;

        tell_beginning(check, run, before + 1);
        check->missing += log_run_forget(&check->runs, run, before) - (uint64_t)before;
    }
    end_run(check, run);
}

static bool begins_later(const struct check *check, const struct log_run *run)
{
    return run->name.size ? run->hole_count && run->holes[0].from == 1 : check->nameless_first > 1;
}

static void end_runs(struct check *check)
{
    bool from_middle = check->runs.count && begins_later(check, check->runs.list[0]);
    uint64_t last_line = 0;

    for (unsigned i = 0; i < check->runs.count; i++) {
        struct log_run *run = check->runs.list[i];

        if (run->name.size) {
            end_named(check, run, from_middle || last_line > run->first_line);
        } else {
            tell_beginning(check, run, check->nameless_first);
            end_run(check, run);
        }
        last_line = last_line > run->last_line ? last_line : run->last_line;
    }
}

/* --- lines --- */

static struct log_run *run_of(struct check *check, struct log_line *line)
{
    struct log_run *run = log_runs_of(&check->runs, line);

    check->all++;
    if (run)
        run->last_line = check->all;
    else
        check->beyond++;
    return run;
}

static bool id_seen(struct check *check, struct log_line *line)
{
    struct bytes id = line->kind == LOG_REQUEST ? log_line_text(line, LOG_id) : BYTES_NONE;

    return id.size && log_seen_add(&check->ids, log_seen_hash(LOG_SEEN_HASH, id));
}

static void take_request(struct check *check, struct log_line *line)
{
    struct log_run *run = run_of(check, line);
    bool seen = id_seen(check, line), later;
    int64_t number = line->seq;

    check->lines++;
    if (!run)
        return;
    if (log_run_begins(run, number) && begin_run(check, run, number, line))
        seen = true;
    later = number > run->last;
    if (log_run_add(&check->runs, run, number, number) == 0) {
        check->doubles++;
        buffer_printf(tell(check, run), "number %lld is there twice", (long long)number);
        return;
    }
    check->late += !later;
    check->doubles += seen;
    if (seen && (run->name.size || !check->again))
        tell_line(check, "", line);
}

static void take_loss(struct check *check, struct log_line *line)
{
    int64_t first = log_line_number(line, LOG_first, 1), last = log_line_number(line, LOG_last, 1);
    uint64_t told = (uint64_t)log_line_number(line, LOG_dropped, 0), filled;
    struct log_run *run = run_of(check, line);
    bool may_be_older;

    if (!run)
        return;
    if (log_run_begins(run, first))
        check->doubles += begin_run(check, run, first, line);
    filled = log_run_add(&check->runs, run, first, last);
    check->dropped += told;
    /* Of what was lost before the log begins nothing is known here. */
    may_be_older = run->name.size || check->nameless == 1;
    run->told += may_be_older && first < run->first ? filled : told;
    run->filled += filled;
}

/* --- the whole --- */

static uint64_t count_runs(const struct check *check)
{
    return check->runs.count - (check->nameless > 0) + check->nameless;
}

static void conclude(const struct check *check, const struct log_files *files, struct buffer *out)
{
    const struct {
        uint64_t count;
        const char *one, *more;
    } rows[] = {
        {check->lines, "line", "lines"},
        {count_runs(check), "run of the gateway", "runs of the gateway"},
        {check->dropped, "dropped, as the log tells", NULL},
        {check->late, "out of order", NULL},
        {check->missing, "MISSING", NULL},
        {check->doubles, "TWICE", NULL},
        {check->wrong_counts, "run with WRONG COUNTS of dropped lines", "runs with WRONG COUNTS of dropped lines"},
        {check->beyond, "NOT CHECKED, of too many runs", NULL},
        {files->broken, "UNREADABLE", NULL},
        {files->damaged, "file that could NOT BE READ to its end", "files that could NOT BE READ to their end"},
    };
    bool several = count_runs(check) > 1, none = count_runs(check) == 0 && files->broken == 0;

    write_list(check->faults, check->fault_count, several, false, out);
    if (none)
        buffer_append_text(out, "no lines\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].count == 0 && (i >= 2 || none))
            continue;
        table_count(out, rows[i].count);
        buffer_printf(out, " %s\n", rows[i].count == 1 || !rows[i].more ? rows[i].one : rows[i].more);
    }
    write_list(check->begins, check->begin_count, several, true, out);
}

static bool is_good(const struct check *check, const struct log_files *files)
{
    return check->missing == 0 && check->doubles == 0 && check->wrong_counts == 0 && check->beyond == 0 &&
           files->broken == 0 && files->damaged == 0;
}

static void check_deinit(struct check *check)
{
    for (unsigned i = 0; i <= LOG_CHECK_TOLD; i++) {
        buffer_deinit(&check->faults[i].text);
        buffer_deinit(&check->begins[i].text);
    }
    log_seen_deinit(&check->firsts);
    log_seen_deinit(&check->ids);
    log_runs_deinit(&check->runs);
}

bool log_check(struct log_files *files, struct buffer *out)
{
    struct check check = {0};
    struct log_line line;
    bool good;

    log_line_init(&line);
    while (log_files_next(files, &line)) {
        if (line.kind == LOG_REQUEST || line.kind == LOG_EVENT)
            take_request(&check, &line);
        else if (line.kind == LOG_LOSS)
            take_loss(&check, &line);
        else
            buffer_printf(tell(&check, NULL), "%s: a line cannot be read", log_reader_path(files->readers[files->at]));
    }
    end_runs(&check);
    conclude(&check, files, out);
    good = is_good(&check, files);
    if (good && count_runs(&check))
        buffer_append_text(out, "unbroken\n");
    log_line_deinit(&line);
    check_deinit(&check);
    return good;
}
