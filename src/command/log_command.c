/*
 * From words to work. Lines go to stdout, what is wrong to stderr.
 */
#include "command/log_command.h"

#include "base/clock.h"
#include "command/log_arguments.h"
#include "command/log_check.h"
#include "command/log_show.h"
#include "record/record.h"
#include "command/text_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char help[] =
    "usage: embergate log tail [-f] [-n N] [--json | --fields A,B] [FILTER...] FILE...\n"
    "       embergate log show [--json | --fields A,B] [FILTER...] FILE...\n"
    "       embergate log summary [--by WHAT] [--json] [FILTER...] FILE...\n"
    "       embergate log check FILE...\n"
    "       embergate log replay --to URL [--ca-file FILE] [--speed X] [--concurrency N]\n"
    "                            [--key KEY] [FILTER...] FILE...\n"
    "       embergate log fields\n"
    "\n"
    "Reads request logs: plain or compressed by gzip, several files in the order in\n"
    "which they were written, - is stdin. What is written to them meanwhile is not\n"
    "read, but by tail -f.\n"
    "\n"
    "  tail               the last lines\n"
    "      -n N           so many of them; 10\n"
    "      -f             and those that come, also after the file was rotated; lines\n"
    "                     that are missing are told on stderr\n"
    "  show               all of them\n"
    "      --json         as they stand in the log\n"
    "      --fields A,B   these fields, separated by tabs\n"
    "  summary            a table: requests, errors (status 400 and above, or an answer\n"
    "                     that broke off), hits and joins of the memory, tokens, cost,\n"
    "                     percentiles of the times\n"
    "      --by WHAT      model (else this), key, team, backend, status, cache or none\n"
    "      --json         for programs\n"
    "  check              is every line there, once, of each run of a gateway? Exit\n"
    "                     status 1 if not\n"
    "  replay             send requests whose bodies were kept (log.bodies: full) again,\n"
    "                     and compare the answers. Sent are those that the files hold\n"
    "                     when it begins, also when they grow by it. Exit status 0 if\n"
    "                     all are the same\n"
    "      --to URL       a gateway or a server: http[s]://HOST:PORT or unix:/PATH\n"
    "      --ca-file FILE who may sign its certificate, in PEM; else the system's\n"
    "      --speed X      X times as fast as they came; 0: as fast as can be; 1\n"
    "      --concurrency N at most so many at once; 16\n"
    "      --key KEY      what to show there; else $EMBERGATE_KEY\n"
    "  fields             what a line may hold\n"
    "\n"
    "filters, all of which must agree:\n"
    "  --key NAME (for replay: --key-name NAME), --team NAME, --model NAME,\n"
    "  --backend NAME, --outcome WORD, --cache hit|join|miss|bypass,\n"
    "  --status 200|4xx|429,503, --min-ms N,\n"
    "  --id ID            the request's, the client's own, or the trace's\n"
    "  --since, --until   2026-11-23T07:45:00Z, or so long ago: 15m, 2h, 1d\n"
    "\n"
    "  -h, --help         print this, and exit\n";

static struct log_form_spec form_of(const struct log_arguments *arguments)
{
    struct log_form_spec spec = {.form = LOG_FORM_PEOPLE, .fields = arguments->fields,
                                 .field_count = arguments->field_count};
    struct winsize window;

    if (arguments->json)
        spec.form = LOG_FORM_JSON;
    else if (arguments->field_count)
        spec.form = LOG_FORM_FIELDS;
    else if (isatty(STDOUT_FILENO)) {
        spec.colours = getenv("NO_COLOR") == NULL;
        spec.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 ? window.ws_col : 0;
    }
    return spec;
}

static void tell_broken(uint64_t broken, struct buffer *notes)
{
    if (!broken)
        return;
    table_count(notes, broken);
    buffer_append_text(notes, broken == 1 ? " line could not be read\n" : " lines could not be read\n");
}

static bool replay(const struct log_arguments *arguments, struct log_files *files, struct log_out *out,
                   struct buffer *errors)
{
    struct log_replay_spec spec = arguments->replay;

    if (!spec.key)
        spec.key = getenv("EMBERGATE_KEY");
    return log_replay(files, &arguments->query, &spec, out, errors);
}

/* False: what was asked about is not well. */
static bool work(const struct log_arguments *arguments, struct log_files *files, struct log_out *out,
                 struct buffer *errors, struct buffer *notes)
{
    struct log_form_spec spec = form_of(arguments);
    bool good = true;

    switch (arguments->verb) {
    case LOG_VERB_TAIL:
        log_tail(files, &arguments->query, &spec, arguments->lines, arguments->follow, out);
        tell_broken(files->broken, notes);
        break;
    case LOG_VERB_SHOW:
        log_show(files, &arguments->query, &spec, out);
        tell_broken(files->broken, notes);
        break;
    case LOG_VERB_SUMMARY:
        log_summary(files, &arguments->query, arguments->by, arguments->json, &out->text);
        break;
    case LOG_VERB_CHECK:
        good = log_check(files, &out->text);
        break;
    case LOG_VERB_REPLAY:
        good = replay(arguments, files, out, errors);
        break;
    default:
        break;
    }
    log_out_flush(out);
    return good;
}

/* All files of a log are open at once: those that go away meanwhile can still be read. */
static void allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool run(const struct log_arguments *arguments, struct log_out *out, struct buffer *errors,
                struct buffer *notes)
{
    struct log_files files;
    bool good;

    if (arguments->verb == LOG_VERB_FIELDS) {
        record_describe(&out->text);
        return log_out_flush(out);
    }
    allow_many_files();
    if (log_files_open(&files, arguments->files, arguments->file_count, errors) != 0)
        return false;
    good = work(arguments, &files, out, errors, notes);
    log_files_close(&files);
    return good;
}

int log_command(int argc, char **argv)
{
    struct log_out out = {.descriptor = STDOUT_FILENO};
    struct log_arguments arguments;
    struct buffer errors, notes;
    int code = 0;

    buffer_init(&errors);
    buffer_init(&notes);
    if (log_arguments_read(argc, argv, (int64_t)clock_wall_ms() * 1000, &arguments, &errors) != 0) {
        code = 2;
    } else if (arguments.help) {
        buffer_append_text(&out.text, help);
        log_out_flush(&out);
    } else if (!run(&arguments, &out, &errors, &notes) || errors.size) {
        code = 1;
    }
    fprintf(stderr, "%.*s%.*s", BYTES_ARG(buffer_bytes(&notes)), BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&out.text);
    buffer_deinit(&notes);
    buffer_deinit(&errors);
    return code;
}
