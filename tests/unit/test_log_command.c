/*
 * `embergate log`: its arguments, and the whole of it over files that are written here: plain, compressed, rotated,
 * broken; replay against a server that says one thing.
 */
#include "base/clock.h"
#include "command/log_arguments.h"
#include "command/log_check.h"
#include "command/log_command.h"
#include "record/sink_sweep.h"
#include "one_answer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>
#include <cmocka.h>

#define WORDS_MAX 20
#define MORE "embergate log --help tells more\n"

static char texts[WORDS_MAX][160];
static char *argv[WORDS_MAX + 1];
static char folder[] = "/tmp/embergate-log-XXXXXX";

static int words(const char *const *list)
{
    int argc = 1;

    snprintf(texts[0], sizeof(texts[0]), "log");
    for (; list[argc - 1]; argc++)
        snprintf(texts[argc], sizeof(texts[argc]), "%s", list[argc - 1]);
    for (int i = 0; i < argc; i++)
        argv[i] = texts[i];
    argv[argc] = NULL;
    return argc;
}

/* --- arguments --- */

static void everything_is_taken(void **state)
{
    const char *const tail[] = {"tail", "a.log", "-n", "3", "-f", "--fields=seq,id,event", "--key", "alice", "b.log", "-", NULL};
    const char *const replay[] = {"replay", "--to", "http://h", "--speed", "0.5", "--concurrency=3", "--key", "sk-1",
                                  "--key-name", "bob", "x", NULL};
    const char *const summary[] = {"summary", "--by", "team", "--json", "x", NULL}, *const help[] = {"-h", NULL};
    struct log_arguments arguments;
    struct buffer errors = {0};

    assert_int_equal(log_arguments_read(words(tail), argv, 0, &arguments, &errors), 0);
    assert_int_equal(arguments.verb, LOG_VERB_TAIL);
    assert_int_equal(arguments.lines, 3);
    assert_true(arguments.follow);
    assert_int_equal(arguments.field_count, 3);
    assert_true(bytes_equal(arguments.fields[2], BYTES("event")));
    assert_true(bytes_equal(arguments.query.key, BYTES("alice")));
    assert_int_equal(arguments.file_count, 3);
    assert_string_equal(arguments.files[2], "-");
    assert_int_equal(log_arguments_read(words(replay), argv, 0, &arguments, &errors), 0);
    assert_string_equal(arguments.replay.key, "sk-1");
    assert_true(bytes_equal(arguments.query.key, BYTES("bob")));
    assert_true(arguments.replay.speed == 0.5);
    assert_int_equal(arguments.replay.concurrency, 3);
    assert_int_equal(log_arguments_read(words(summary), argv, 0, &arguments, &errors), 0);
    assert_int_equal(arguments.by, LOG_BY_TEAM);
    assert_true(arguments.json);
    assert_int_equal(log_arguments_read(words(help), argv, 0, &arguments, &errors), 0);
    assert_true(arguments.help);
    assert_int_equal(errors.size, 0);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[8], *errors;
    } cases[] = {
        {{NULL}, "say what to do: tail, show, summary, check, replay or fields\n"},
        {{"grep"}, "grep is none of tail, show, summary, check, replay and fields\n"},
        {{"check", "--jsn", "x"}, "unknown option, or one that takes no value: --jsn\n"
                                  "embergate log check takes no options\n"},
        {{"summary", "--follow", "x"},
         "--follow is not for summary\nembergate log summary takes --json, --by, --key, --key-name, --team, --model, "
         "--backend, --status, --outcome, --cache, --since, --until, --id, --min-ms\n"},
        {{"tail", "-n"}, "-n needs a value\n"},
        {{"tail", "-n", "x", "f"}, "-n must be a number from 0 to 1000000\n"},
        {{"tail", "--lines", "x", "f"}, "--lines must be a number from 0 to 1000000\n"},
        {{"show", "--fields", "id,nope", "f"}, "--fields: there is no field \"nope\"; embergate log fields lists them\n"},
        {{"show", "--fields", "id,", "f"}, "--fields: there is no field \"\"; embergate log fields lists them\n"},
        {{"show", "--fields", "id", "--json", "f"}, "--json and --fields both say how lines look: give one of them\n"},
        {{"summary", "--by", "day", "f"}, "--by must be one of model key team backend status cache none\n"},
        {{"show", "--cache", "x", "f"}, "--cache must be hit, join, miss or bypass\n"},
        {{"show", "--status", "6xx", "f"}, "--status must be such as 200, 4xx or 429,503\n"},
        {{"show", "--outcome", "good", "f"},
         "--outcome must be one of ok refused client_left client_stalled cut bad_json invalid unsupported steering no_key "
         "not_allowed no_model no_path no_method bad_http http_timeout too_large bad_expect head_too_large "
         "not_implemented http_version rate_limited no_budget not_cached upstream_refused upstream_auth "
         "upstream_connect upstream_dns upstream_tls upstream_timeout upstream_reset upstream_bad upstream_failed "
         "upstream_loading upstream_busy upstream_quota overloaded draining internal\n"},
        {{"show", "-f", "f"},
         "-f is not for show\nembergate log show takes --json, --fields, --key, --key-name, --team, --model, "
         "--backend, --status, --outcome, --cache, --since, --until, --id, --min-ms\n"},
        {{"fields", "f"}, "fields takes no files: it tells what a line may hold\n"},
        {{"replay", "f"}, "say with --to URL where to send the requests\n"},
        {{"replay", "--to", "h", "--speed", "-1", "f"},
         "--speed must be a number up to 1000000: 10 is ten times as fast, 0 as fast as it goes\n"},
        {{"replay", "--to", "h", "--concurrency", "0", "f"}, "--concurrency must be a number from 1 to 1000\n"},
        {{"show"}, "name the files of the log, or - for stdin. A gateway writes one when its configuration has\n\n"
                   "    log:\n      sinks:\n        - {kind: file, path: requests.log}\n\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct log_arguments arguments;
        struct buffer errors = {0};

        assert_int_equal(log_arguments_read(words(cases[i].words), argv, 0, &arguments, &errors), LOG_COMMAND_E_BAD);
        assert_true(bytes_end_with(buffer_bytes(&errors), BYTES(MORE)));
        errors.size -= strlen(MORE);
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].errors);
        buffer_deinit(&errors);
    }
}

/* --- running it --- */

static char *path_of(const char *name)
{
    static char paths[32][160];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static const char *put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    fputs(text, file);
    fclose(file);
    return path_of(name);
}

static const char *put_packed(const char *name, const char *mode, const char *text)
{
    gzFile file = gzopen(path_of(name), mode);

    gzputs(file, text);
    gzclose(file);
    return path_of(name);
}

static char said[1 << 16], complained[1 << 14];

static void read_back(int descriptor, char *text, size_t room)
{
    ssize_t size = pread(descriptor, text, room - 1, 0);

    text[size > 0 ? size : 0] = '\0';
    close(descriptor);
}

/* Its exit code; what it said on both channels in the two texts. */
static int run(const char *const *list)
{
    int out = open(folder, O_TMPFILE | O_RDWR, 0600), err = open(folder, O_TMPFILE | O_RDWR, 0600);
    int old_out = dup(STDOUT_FILENO), old_err = dup(STDERR_FILENO), code, argc = words(list);

    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    code = log_command(argc, argv);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    close(old_out);
    close(old_err);
    read_back(out, said, sizeof(said));
    read_back(err, complained, sizeof(complained));
    return code;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

#define LINE(seq, second, more)                                                                              \
    "{\"seq\":" seq ",\"time\":\"2026-11-23T07:45:" second ".000Z\",\"id\":\"req_" seq "\"" more "}\n"
#define AGAIN(seq, second) LINE(seq, second, ",\"id\":\"again_" seq "\"")
#define OK ",\"status\":200,\"outcome\":\"ok\",\"model\":\"tiny\",\"key\":\"alice\",\"total_ms\":10.000"
#define LOST(seq, count, first)                                                                              \
    "{\"seq\":" seq ",\"event\":\"dropped\",\"time\":\"2026-11-23T07:45:30.000Z\",\"dropped\":" count        \
    ",\"first\":" first ",\"last\":" seq "}\n"

static void lines_are_shown(void **state)
{
    const char *file = put("show.log", LINE("1", "01", OK) "\n" LINE("2", "02", ",\"status\":503,\"model\":\"a\\u001b[31mb\\tc\"")
                                       "{broken\r\n" LOST("4", "2", "3") LINE("5", "05", OK "}") LINE("6", "06", OK));

    assert_int_equal(RUN("show", "--json", file), 0);
    assert_string_equal(said, LINE("1", "01", OK) LINE("2", "02", ",\"status\":503,\"model\":\"a\\u001b[31mb\\tc\"")
                        LOST("4", "2", "3") LINE("6", "06", OK));
    assert_string_equal(complained, "2 lines could not be read\n");
    assert_int_equal(RUN("show", "--fields", "seq,model,status,key", "--status", "5xx", file), 0);
    assert_string_equal(said, "2\ta\\x1b[31mb\\x09c\t503\t\n");
    assert_int_equal(RUN("show", file), 0);
    assert_non_null(strstr(said, "2026-11-23 07:45:01.000  200    10.0 ms          -            -  -       alice       "
                                 "-           tiny              req_1\n"));
    assert_non_null(strstr(said, "2026-11-23 07:45:30.000  2 lines were dropped: numbers 3 to 4\n"));
    assert_null(strchr(said, '\x1b'));
    assert_int_equal(RUN("show", "--json", "--id", "req_6", file), 0);
    assert_string_equal(said, LINE("6", "06", OK));
    assert_int_equal(RUN("show", path_of("nowhere")), 1);
    assert_non_null(strstr(complained, "nowhere cannot be read: No such file or directory\n"));
    assert_int_equal(RUN("show", folder), 1);
    assert_int_equal(RUN("show"), 2);
}

/* Bytes, and characters that turn the direction of the text or are not seen. */
static void nothing_steers_the_terminal(void **state)
{
    static const struct {
        const char *model, *shown;
    } cases[] = {
        {"a\xc2\x9b" "31mb", "a\\x9b31mb"},
        {"a\x7f", "a\\x7f"},
        {"a\xe2\x80\xae" "b", "a\\u202eb"},
        {"\xe2\x80\x8b\xe2\x80\x8f", "\\u200b\\u200f"},
        {"\xe2\x80\xa8\xe2\x80\xaa", "\\u2028\\u202a"},
        {"\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"},
        {"\xef\xbb\xbf", "\\ufeff"},
        {"\xd8\x9c", "\\u061c"},
        {"\xf3\xa0\x81\x81", "\\U000e0041"},
        {"\xe2\x80\x90\xe2\x80\xaf\xe2\x82\xac\xc3\xa9\xf0\x9f\x98\x80",
         "\xe2\x80\x90\xe2\x80\xaf\xe2\x82\xac\xc3\xa9\xf0\x9f\x98\x80"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        const char *file;

        snprintf(text, sizeof(text), "{\"seq\":1,\"model\":\"%s\",\"request\":[\"%s\"]}\n", cases[i].model,
                 cases[i].model);
        file = put("steer.log", text);
        assert_int_equal(RUN("show", file), 0);
        assert_non_null(strstr(said, cases[i].shown));
        assert_int_equal(RUN("show", "--fields", "model", file), 0);
        assert_true(bytes_start_with(bytes_of(said), bytes_of(cases[i].shown)));
        assert_int_equal(RUN("show", "--json", file), 0);
        assert_string_equal(said, text);
    }
    /* What was JSON stays JSON. */
    assert_int_equal(RUN("show", "--fields", "request",
                         put("steer.log", "{\"seq\":1,\"request\":[\t\"\xe2\x80\xae\x7f\xc2\x9b\xf3\xa0\x81\x81\"]}\n")), 0);
    assert_string_equal(said, "[ \"\\u202e\\u007f\\u009b\\udb40\\udc41\"]\n");
}

static void the_last_lines_are_shown(void **state)
{
    const char *old = put_packed("tail.log.1.gz", "wb", LINE("1", "01", OK) LINE("2", "02", OK));
    const char *new = put("tail.log", LINE("3", "03", OK) LINE("4", "04", ",\"status\":500"));

    assert_int_equal(RUN("tail", "--json", "-n", "3", new, old), 0);
    assert_string_equal(said, LINE("2", "02", OK) LINE("3", "03", OK) LINE("4", "04", ",\"status\":500"));
    assert_int_equal(RUN("tail", "--json", "-n", "2", "--status", "200", new, old), 0);
    assert_string_equal(said, LINE("2", "02", OK) LINE("3", "03", OK));
    assert_int_equal(RUN("tail", "-n", "0", new), 0);
    assert_string_equal(said, "");
}

/* More than the part of the file that is read first. */
static void the_last_lines_of_a_large_file(void **state)
{
    enum { COUNT = 60000 };
    FILE *file = fopen(path_of("large.log"), "w");

    for (int i = 1; i <= COUNT; i++)
        fprintf(file, "{\"seq\":%d,\"time\":\"2026-11-23T07:45:00.000Z\",\"status\":%d}\n", i, i == 3 ? 500 : 200);
    fclose(file);
    assert_int_equal(RUN("tail", "--fields", "seq", "-n", "2", path_of("large.log")), 0);
    assert_string_equal(said, "59999\n60000\n");
    assert_int_equal(RUN("tail", "--fields", "seq", "-n", "2", "--status", "500", path_of("large.log")), 0);
    assert_string_equal(said, "3\n");
    assert_int_equal(RUN("check", path_of("large.log")), 0);
}

static void compressed_files_are_read_whole_or_complained_of(void **state)
{
    const char *file = put_packed("packed.log", "wb", LINE("1", "01", OK));
    struct stat about;

    put_packed("packed.log", "ab", LINE("2", "02", OK));
    assert_int_equal(RUN("show", "--json", file), 0);
    assert_string_equal(said, LINE("1", "01", OK) LINE("2", "02", OK));
    stat(file, &about);
    assert_int_equal(truncate(file, about.st_size + 100), 0);
    assert_int_equal(RUN("show", "--json", file), 0);
    assert_int_equal(truncate(file, about.st_size - 9), 0);
    assert_int_equal(RUN("show", "--json", file), 1);
    assert_non_null(strstr(said, LINE("1", "01", OK)));
    assert_non_null(strstr(complained, "packed.log: the compressed text is damaged or breaks off\n"));
    assert_int_equal(RUN("check", file), 1);
    assert_non_null(strstr(said, "1 file that could NOT BE READ to its end\n"));
    assert_null(strstr(said, "unbroken"));
    put("wrong.gz", "\x1f\x8b\x08 this is none");
    assert_int_equal(RUN("check", path_of("wrong.gz")), 1);
    assert_string_equal(said, "no lines\n1 file that could NOT BE READ to its end\n");
    assert_int_equal(RUN("check", path_of("wrong.gz"), path_of("wrong.gz")), 1);
    assert_string_equal(said, "no lines\n2 files that could NOT BE READ to their end\n");
    assert_int_equal(RUN("check", "/dev/null"), 0);
    assert_string_equal(said, "no lines\n");
}

static void a_line_may_be_too_long(void **state)
{
    static const char filling[1 << 20] = {0};
    FILE *file = fopen(path_of("long.log"), "w");

    fputs(LINE("1", "01", OK), file);
    for (int i = 0; i < 66; i++)
        fwrite(filling, 1, sizeof(filling), file);
    fputs("\n" LINE("2", "02", OK), file);
    fclose(file);
    assert_int_equal(RUN("show", "--json", path_of("long.log")), 0);
    assert_string_equal(said, LINE("1", "01", OK) LINE("2", "02", OK));
    assert_string_equal(complained, "1 line could not be read\n");
    unlink(path_of("long.log"));
}

/* --- check --- */

static void numbers_are_checked(void **state)
{
    static const struct {
        const char *log;
        int code;
        const char *says;
    } cases[] = {
        {LINE("1", "01", "") LINE("2", "02", "") LINE("3", "03", ""), 0, "3 lines\n1 run of the gateway\nunbroken\n"},
        {"", 0, "no lines\n"},
        {LINE("5", "01", "") LINE("6", "02", ""), 0,
         "2 lines\n1 run of the gateway\nbegins with number 5: earlier files are not here\nunbroken\n"},
        {LINE("1", "01", "") LINE("2", "02", "") AGAIN("1", "03") AGAIN("2", "04"), 0,
         "4 lines\n2 runs of the gateway\nunbroken\n"},
        {LINE("1", "01", "") LINE("3", "02", ""), 1, "number 2 is missing\n2 lines\n1 run of the gateway\n1 MISSING\n"},
        {LINE("1", "01", "") LINE("9", "02", "") AGAIN("1", "03") AGAIN("3", "03"), 1,
         "numbers 2 to 8 are missing\nnumber 2 is missing\n4 lines\n2 runs of the gateway\n8 MISSING\n"},
        {LINE("1", "01", "") LINE("3", "02", "") LINE("2", "03", "") LINE("4", "04", ""), 0,
         "4 lines\n1 run of the gateway\n1 out of order\nunbroken\n"},
        {LINE("1", "01", "") LINE("2", "02", "") LINE("2", "03", ""), 1,
         "number 2 is there twice\n3 lines\n1 run of the gateway\n1 TWICE\n"},
        {LINE("1", "01", "") LOST("4", "3", "2") LINE("5", "02", ""), 0,
         "2 lines\n1 run of the gateway\n3 dropped, as the log tells\nunbroken\n"},
        {LINE("1", "01", "") LINE("5", "02", "") LOST("4", "3", "2"), 0,
         "2 lines\n1 run of the gateway\n3 dropped, as the log tells\nunbroken\n"},
        {LINE("1", "01", "") LINE("3", "02", "") LINE("5", "02", "") LOST("4", "2", "2"), 0,
         "3 lines\n1 run of the gateway\n2 dropped, as the log tells\nunbroken\n"},
        {LOST("4", "4", "1") LINE("5", "01", "") LOST("2", "2", "1") LINE("3", "01", ""), 0,
         "2 lines\n2 runs of the gateway\n6 dropped, as the log tells\nunbroken\n"},
        {LINE("1", "01", "") LINE("5", "02", "") LOST("4", "2", "2"), 1,
         "2 lines are said to be dropped where 3 are missing\n2 lines\n1 run of the gateway\n"
         "2 dropped, as the log tells\n1 run with WRONG COUNTS of dropped lines\n"},
        {LINE("1", "01", "") LOST("4", "3", "2") LINE("6", "02", ""), 1,
         "number 5 is missing\n2 lines\n1 run of the gateway\n3 dropped, as the log tells\n1 MISSING\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(RUN("check", put("check.log", cases[i].log)), cases[i].code);
        assert_string_equal(said, cases[i].says);
        assert_string_equal(complained, "");
    }
    assert_int_equal(RUN("check", put("check.log", LINE("1", "01", "") "{\"seq\":2,\"ti")), 1);
    assert_non_null(strstr(said, "check.log: a line cannot be read\n1 line\n1 run of the gateway\n1 UNREADABLE\n"));
}

#define BY(run, seq) "{\"seq\":" seq ",\"run\":\"" run "\",\"time\":\"2026-11-23T07:45:01.000Z\",\"id\":\"" run seq "\"}\n"
#define LOST_BY(run, seq, count, first)                                                                      \
    "{\"seq\":" seq ",\"run\":\"" run "\",\"event\":\"dropped\",\"dropped\":" count ",\"first\":" first ",\"last\":" seq "}\n"
#define A "00000000000000aa"
#define B "00000000000000bb"

/* Several gateways that write one log, each of which counts by itself. */
static void runs_are_told_apart(void **state)
{
    static const struct {
        const char *log;
        int code;
        const char *says;
    } cases[] = {
        /* One run: as if it had no name. */
        {BY(A, "1") BY(A, "2"), 0, "2 lines\n1 run of the gateway\nunbroken\n"},
        {BY(A, "5") BY(A, "7") BY(A, "7"), 1,
         "number 7 is there twice\nnumber 6 is missing\n3 lines\n1 run of the gateway\n1 MISSING\n1 TWICE\n"
         "begins with number 5: earlier files are not here\n"},
        {BY(A, "3") BY(A, "1") BY(A, "2"), 0, "3 lines\n1 run of the gateway\n2 out of order\nunbroken\n"},
        {BY(A, "1") LOST_BY(A, "4", "3", "2") BY(A, "5"), 0,
         "2 lines\n1 run of the gateway\n3 dropped, as the log tells\nunbroken\n"},
        /* Several, one after the other and at the same time. */
        {BY(A, "1") BY(A, "2") BY(B, "1") BY(B, "2"), 0, "4 lines\n2 runs of the gateway\nunbroken\n"},
        {BY(A, "1") BY(B, "1") BY(B, "2") BY(A, "2") BY(B, "3") BY(A, "3"), 0, "6 lines\n2 runs of the gateway\nunbroken\n"},
        {BY(A, "1") BY(B, "1") BY(A, "3") BY(B, "2") BY(B, "2"), 1,
         "number 2 is there twice in run " B "\nnumber 2 is missing in run " A "\n"
         "5 lines\n2 runs of the gateway\n1 MISSING\n1 TWICE\n"},
        {BY(A, "1") BY(B, "1") LOST_BY(B, "4", "3", "2") BY(A, "2") BY(B, "5") LOST_BY(A, "4", "1", "3"), 1,
         "1 line is said to be dropped where 2 are missing in run " A "\n4 lines\n2 runs of the gateway\n"
         "4 dropped, as the log tells\n1 run with WRONG COUNTS of dropped lines\n"},
        /* Old files were removed: it was there beside the first, or what it began with is lost. */
        {BY(A, "7") BY(B, "100") BY(A, "8") BY(B, "101"), 0,
         "4 lines\n2 runs of the gateway\nrun " A " begins with number 7: earlier files are not here\n"
         "run " B " begins with number 100: earlier files are not here\nunbroken\n"},
        {BY(A, "1") BY(A, "2") BY(B, "3"), 1,
         "numbers 1 to 2 are missing in run " B "\n3 lines\n2 runs of the gateway\n2 MISSING\n"},
        {BY(A, "100") BY(B, "50") BY(B, "51"), 0,
         "3 lines\n2 runs of the gateway\nrun " A " begins with number 100: earlier files are not here\n"
         "run " B " begins with number 50: earlier files are not here\nunbroken\n"},
        {LINE("5", "01", "") BY(A, "3") BY(A, "5"), 1,
         "number 4 is missing in run " A "\n3 lines\n2 runs of the gateway\n1 MISSING\n"
         "begins with number 5: earlier files are not here\n"
         "run " A " begins with number 3: earlier files are not here\n"},
        /* Behind lines of an older gateway, which name no run. */
        {LINE("5", "01", "") AGAIN("1", "02") BY(A, "1") BY(A, "3"), 1,
         "number 2 is missing in run " A "\n4 lines\n3 runs of the gateway\n1 MISSING\n"
         "begins with number 5: earlier files are not here\n"},
        {"{\"seq\":1,\"run\":7}\n{\"seq\":2,\"run\":\"\"}\n{\"seq\":1,\"run\":\"a\\u001b[31m\"}\n"
         "{\"seq\":3,\"run\":\"a\\u001b[31m\"}\n", 1,
         "number 2 is missing in run a\\x1b[31m\n4 lines\n2 runs of the gateway\n1 MISSING\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(RUN("check", put("runs.log", cases[i].log)), cases[i].code);
        assert_string_equal(said, cases[i].says);
        assert_string_equal(complained, "");
    }
}

/* More of them than the first table has room for, each with its own hole. */
static void many_runs_are_told_apart(void **state)
{
    enum { RUNS = 1000 };
    FILE *file = fopen(path_of("many-runs.log"), "w");

    for (int seq = 1; seq <= 3; seq++)
        for (int run = 0; run < RUNS; run++)
            if (seq != 2 || run != 77)
                fprintf(file, "{\"seq\":%d,\"run\":\"%016x\",\"id\":\"%d of %d\"}\n", seq, run, seq, run);
    fclose(file);
    assert_int_equal(RUN("check", path_of("many-runs.log")), 1);
    assert_string_equal(said, "number 2 is missing in run 000000000000004d\n2,999 lines\n1,000 runs of the gateway\n1 MISSING\n");
    assert_int_equal(RUN("check", path_of("many-runs.log"), path_of("many-runs.log")), 1);
    assert_non_null(strstr(said, "number 1 is there twice in run 0000000000000000\n"));
    assert_non_null(strstr(said, "... and more\n5,998 lines\n1,000 runs of the gateway\n1 MISSING\n2,999 TWICE\n"));
}

/* Not by their numbers: those of another run are the same. */
static void what_is_there_twice_is_seen(void **state)
{
    static const struct {
        const char *log, *says;
    } cases[] = {
        {LINE("1", "01", "") LINE("2", "02", "") LINE("1", "01", "") LINE("2", "02", ""),
         "the run that begins with req_1 is there twice\n4 lines\n2 runs of the gateway\n2 TWICE\n"},
        {LINE("5", "01", "") AGAIN("1", "02") LINE("5", "01", "") AGAIN("1", "02"),
         "req_5 is there twice\nnumbers 2 to 4 are missing\nthe run that begins with again_1 is there twice\n4 lines\n3 runs of the gateway\n"
         "3 MISSING\n2 TWICE\nbegins with number 5: earlier files are not here\n"},
        {LINE("1", "01", "") LINE("1", "02", ""), "req_1 is there twice\n2 lines\n2 runs of the gateway\n1 TWICE\n"},
        {LINE("1", "01", "") LINE("2", "02", ",\"id\":\"req_1\""),
         "req_1 is there twice\n2 lines\n1 run of the gateway\n1 TWICE\n"},
        {LOST("2", "2", "1") LOST("2", "2", "1"),
         "the run that begins with number 2 is there twice\n0 lines\n2 runs of the gateway\n"
         "4 dropped, as the log tells\n1 TWICE\n"},
    };
    const char *one = put("one.log", LINE("1", "01", "") LINE("2", "02", "")), *none;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(RUN("check", put("check.log", cases[i].log)), 1);
        assert_string_equal(said, cases[i].says);
    }
    assert_int_equal(RUN("check", one, one), 1);
    assert_string_equal(said, cases[0].says);
    none = put("none.log", "{\"seq\":1}\n{\"seq\":1}\n");      /* who does not say who he is may be anybody */
    assert_int_equal(RUN("check", none), 0);
}

/* More lines than ids are remembered: the run is known by its first line. */
static void long_runs_are_seen_twice(void **state)
{
    FILE *file = fopen(path_of("long-run.log"), "w");

    for (unsigned i = 1; i <= 2 * LOG_CHECK_IDS + 10; i++)
        fprintf(file, "{\"seq\":%u,\"id\":\"%u\"}\n", i, i);
    fclose(file);
    assert_int_equal(RUN("check", path_of("long-run.log")), 0);
    assert_int_equal(RUN("check", path_of("long-run.log"), path_of("long-run.log")), 1);
    assert_non_null(strstr(said, "the run that begins with 1 is there twice\n"));
    unlink(path_of("long-run.log"));
}

/* Also when the second run has smaller numbers, and when requests that took long were begun before the file was. */
static void files_are_put_in_order(void **state)
{
    const char *first = put("order.3", LINE("7", "01", ",\"total_ms\":1.000") LINE("8", "02", ""));
    const char *second = put("order.1", LINE("9", "00", ",\"total_ms\":3000.000") LINE("1", "10", ""));
    const char *third = put("order.2", LINE("2", "20", "") LINE("3", "20", ""));
    const char *fourth = put("order", LINE("4", "20", "") LINE("5", "20", ""));
    const char *const orders[][4] = {{first, second, third, fourth}, {fourth, third, second, first},
                                     {third, first, fourth, second}, {second, fourth, first, third}};

    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        assert_int_equal(RUN("check", orders[i][0], orders[i][1], orders[i][2], orders[i][3]), 0);
        assert_int_equal(RUN("show", "--fields", "seq", orders[i][0], orders[i][1], orders[i][2], orders[i][3]), 0);
        assert_string_equal(said, "7\n8\n9\n1\n2\n3\n4\n5\n");
    }
    assert_int_equal(RUN("check", first, fourth), 1);
}

/* Numbers of different runs say nothing of it. The names that a gateway gives to files it closes do, whatever the order
 * in which its workers wrote within a moment. */
static void files_of_several_runs_are_put_in_order(void **state)
{
#define AT(run, seq, ms) "{\"seq\":" seq ",\"run\":\"" run "\",\"time\":\"2026-11-23T07:45:01." ms "Z\",\"total_ms\":0.000}\n"
    const char *first = put("two.20261123-074501.000", AT(A, "900", "300") AT(B, "3", "100"));
    const char *second = put_packed("two.20261123-074501.400.gz", "wb", AT(B, "4", "200") AT(A, "901", "350"));
    const char *live = put("two", AT(A, "902", "250"));
    const char *one = put("other.1", AT(A, "900", "100")), *other = put("other.2", AT(B, "1", "200"));

    assert_int_equal(RUN("show", "--fields", "seq,run", live, second, first), 0);
    assert_string_equal(said, "900\t" A "\n3\t" B "\n4\t" B "\n901\t" A "\n902\t" A "\n");
    assert_int_equal(RUN("show", "--fields", "seq", other, one), 0);
    assert_string_equal(said, "900\n1\n");
}

/* What says not when it was written does not come between others. */
static void files_without_a_place_are_no_hindrance(void **state)
{
    const char *new = put("gap", LINE("3", "03", "")), *empty = put("gap.1", ""), *old = put("gap.2", LINE("1", "01", ""));
    const char *mended = put("gap.3", "{bro\n\n" LINE("2", "02", "")), *broken = put("gap.4", "{bro");
    const char *const files[] = {new, empty, old, mended, broken};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *list[] = {"tail", "--fields", "seq", "-n", "2", files[i], files[(i + 1) % 5], files[(i + 2) % 5],
                              files[(i + 3) % 5], files[(i + 4) % 5], NULL};

        assert_int_equal(run(list), 0);
        assert_string_equal(said, "2\n3\n");
        assert_int_equal(RUN("show", "--fields", "seq", list[5], list[6], list[7], list[8], list[9]), 0);
        assert_string_equal(said, "1\n2\n3\n");
    }
    assert_int_equal(RUN("check", new, empty, old, put("gap.3", LINE("2", "02", ""))), 0);
    assert_string_equal(said, "3 lines\n1 run of the gateway\nunbroken\n");
}

/* Numbers and times say different things of them. */
static void any_order_of_names_is_one_order_of_files(void **state)
{
    const char *files[] = {put("any.a", AT(A, "1", "100")), put("any.b", AT(A, "2", "050")), put("any.c", AT(A, "3", "000")),
                           put("any.d", AT(B, "9", "020"))};
    char first[64];

    for (size_t i = 0; i < 24; i++) {
        size_t at[4] = {i % 4, i / 4 % 3, i / 12, 0};
        const char *left[4] = {files[0], files[1], files[2], files[3]}, *taken[4];

        for (size_t j = 0; j < 4; j++) {
            taken[j] = left[at[j]];
            memmove(left + at[j], left + at[j] + 1, (3 - at[j]) * sizeof(left[0]));
        }
        assert_int_equal(RUN("show", "--fields", "seq", taken[0], taken[1], taken[2], taken[3]), 0);
        if (i == 0)
            memcpy(first, said, sizeof(first));
        assert_string_equal(said, first);
    }
}

/* --- while a gateway writes --- */

/* Who is asked again writes to the log that is read. */
static void what_is_written_meanwhile_is_not_read(void **state)
{
    char *const paths[] = {path_of("grows.1"), path_of("grows"), path_of("grows.empty")};
    struct buffer errors = {0};
    struct log_files files;
    struct log_line line;
    FILE *file;

    put("grows.1", LINE("1", "01", OK));
    put("grows", LINE("2", "02", OK) "{\"seq\":3,");
    put("grows.empty", "");
    log_line_init(&line);
    assert_int_equal(log_files_open(&files, paths, ARRAY_SIZE(paths), &errors), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        file = fopen(paths[i], "a");
        fputs(i == 1 ? "\"id\":\"half\"}\n" LINE("4", "04", OK) : LINE("5", "05", OK), file);
        fclose(file);
    }
    for (int64_t seq = 1; seq <= 3; seq++) {
        assert_true(log_files_next(&files, &line));
        assert_int_equal(line.seq, seq);
    }
    assert_false(log_files_next(&files, &line));
    assert_int_equal(files.broken, 0);
    assert_int_equal(errors.size, 0);
    log_files_close(&files);
    log_line_deinit(&line);
}

/* Of which a part was read before by somebody else. */
static void neither_is_it_of_a_file_that_is_standard_input(void **state)
{
    char name[] = "-", *const paths[] = {name};
    int given = open(put("given", LINE("1", "01", OK) LINE("2", "02", OK)), O_RDWR | O_APPEND), old = dup(STDIN_FILENO);
    struct buffer errors = {0};
    struct log_files files;
    struct log_line line;

    lseek(given, (off_t)strlen(LINE("1", "01", OK)), SEEK_SET);
    dup2(given, STDIN_FILENO);
    log_line_init(&line);
    assert_int_equal(log_files_open(&files, paths, 1, &errors), 0);
    assert_true(log_files_next(&files, &line));
    assert_int_equal(line.seq, 2);
    assert_true(write(given, LINE("3", "03", OK), strlen(LINE("3", "03", OK))) > 0);
    assert_false(log_files_next(&files, &line));
    log_files_close(&files);
    log_line_deinit(&line);
    dup2(old, STDIN_FILENO);
    close(old);
    close(given);
}

static void *write_rest(void *path)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    FILE *file = fopen(path, "a");

    nanosleep(&moment, NULL);
    fputs("\"id\":\"half\"}\n", file);
    fclose(file);
    return NULL;
}

/* A reader sees half of what one write() is writing. */
static void half_a_line_is_waited_for_a_moment(void **state)
{
    const char *file = put("half.log", LINE("1", "01", OK) "{\"seq\":2,");
    pthread_t writer;

    assert_int_equal(pthread_create(&writer, NULL, write_rest, path_of("half.log")), 0);
    RUN("check", file);         /* on a busy machine it may give up before */
    pthread_join(writer, NULL);
    assert_int_equal(RUN("check", file), 0);
    assert_string_equal(said, "2 lines\n1 run of the gateway\nunbroken\n");
}

/* --- while a gateway compresses --- */

#define ONE LINE("1", "01", "") LINE("2", "02", "")
#define TWO LINE("3", "03", "")
#define WHOLE_ONE "2 lines\n1 run of the gateway\nunbroken\n"

static void what_is_being_compressed_is_read_once(void **state)
{
    char *plain = path_of("zip"), *packed = path_of("zip.gz"), *part = path_of("zip.gz.part");
    struct stat about;

    put("zip", ONE);
    put_packed("zip.gz.part", "wb", LINE("1", "01", ""));
    assert_int_equal(RUN("check", plain, part), 0);
    assert_string_equal(said, WHOLE_ONE);
    put_packed("zip.gz", "wb", ONE);
    assert_int_equal(RUN("check", plain, packed, part), 0);
    assert_string_equal(said, WHOLE_ONE);
    assert_int_equal(RUN("tail", "--fields", "seq", packed, plain), 0);
    assert_string_equal(said, "1\n2\n");
    stat(packed, &about);               /* not whole: nothing is lost with it */
    assert_int_equal(truncate(packed, about.st_size - 12), 0);
    assert_int_equal(RUN("check", packed, plain), 0);
    assert_string_equal(said, WHOLE_ONE);
    put_packed("zip.gz", "wb", ONE TWO);        /* the longer one */
    assert_int_equal(RUN("show", "--fields", "seq", packed, plain), 0);
    assert_string_equal(said, "1\n2\n3\n");
    put_packed("zip.gz", "wb", TWO);            /* other lines: both are meant */
    assert_int_equal(RUN("show", "--fields", "seq", packed, plain), 0);
    assert_string_equal(said, "1\n2\n3\n");
    assert_int_equal(RUN("check", plain, plain), 1);
}

static void what_was_compressed_meanwhile_is_found(void **state)
{
    char *plain = path_of("gone"), *packed = path_of("gone.gz"), *part = path_of("gone.gz.part");

    put_packed("gone.gz", "wb", ONE);
    assert_int_equal(RUN("check", plain), 0);
    assert_string_equal(said, WHOLE_ONE);
    assert_int_equal(RUN("check", plain, part), 0);
    assert_string_equal(said, WHOLE_ONE);
    assert_int_equal(RUN("check", part, packed, plain), 0);
    assert_string_equal(said, WHOLE_ONE);
    assert_int_equal(RUN("check", part), 0);
    assert_string_equal(said, WHOLE_ONE);
    unlink(packed);
    assert_int_equal(RUN("check", plain, part), 1);
    assert_non_null(strstr(complained, "gone cannot be read: No such file or directory\n"));
    put_packed("gone.gz.part", "wb", ONE);
    assert_int_equal(RUN("check", part), 1);
    assert_non_null(strstr(complained, "gone.gz.part is not read: it is not finished, and there is no /"));
}

/* Only those that were closed a moment ago: a list of names that leaves out others means it. */
static void what_was_rotated_meanwhile_is_found(void **state)
{
    struct buffer given = {0}, closed = {0}, packed = {0}, old = {0}, later = {0};
    uint64_t now = clock_wall_ms();
    char *live = path_of("live");

    put("live", LINE("5", "05", ""));
    sweep_name("live", now - 3600000, &given);
    sweep_name("live", now - 1800000, &old);
    sweep_name("live", now - 1000, &closed);
    sweep_name("live", now - 900, &packed);
    buffer_append(&later, buffer_bytes(&closed));
    buffer_append_text(&later, "x");
    buffer_append_text(&packed, ".gz");
    buffer_append_char(&given, '\0');
    buffer_append_char(&old, '\0');
    buffer_append_char(&closed, '\0');
    buffer_append_char(&packed, '\0');
    buffer_append_char(&later, '\0');
    put(given.data, LINE("2", "02", ""));
    put(old.data, "not meant\n");
    put(closed.data, LINE("3", "03", ""));
    put(later.data, "not meant\n");
    put_packed(packed.data, "wb", LINE("4", "04", ""));
    assert_int_equal(RUN("show", "--fields", "seq", live, path_of(given.data)), 0);
    assert_string_equal(said, "2\n3\n4\n5\n");
    assert_string_equal(complained, "");
    assert_int_equal(RUN("show", "--fields", "seq", live, path_of(closed.data), path_of(given.data)), 0);
    assert_string_equal(said, "2\n3\n4\n5\n");
    assert_int_equal(RUN("show", "--fields", "seq", live), 0);
    assert_string_equal(said, "5\n");
    unlink(live);
    assert_int_equal(RUN("show", live, path_of(given.data)), 1);
    assert_non_null(strstr(complained, "live cannot be read: No such file or directory\n"));
    buffer_deinit(&given);
    buffer_deinit(&old);
    buffer_deinit(&closed);
    buffer_deinit(&packed);
    buffer_deinit(&later);
}

/* --- summary --- */

static void a_summary_adds_up(void **state)
{
    const char *file = put("sum.log",
        LINE("1", "01", OK ",\"cache\":\"hit\",\"prompt_tokens\":1000,\"completion_tokens\":50,\"ttft_ms\":2.000")
        LINE("2", "02", OK ",\"cache\":\"join\",\"cost\":1.250000")
        LINE("3", "03", OK ",\"cache\":\"miss\",\"cost\":0.500000,\"prompt_tokens\":234")
        LINE("4", "04", OK ",\"cache\":\"miss\"") LINE("5", "05", OK ",\"cache\":\"bypass\"")
        LINE("6", "06", ",\"status\":200,\"outcome\":\"client_left\",\"model\":\"big\",\"total_ms\":2000.000")
        LINE("7", "07", ",\"status\":200,\"outcome\":\"broken\",\"model\":\"big\",\"total_ms\":1000.000")
        LINE("8", "08", ",\"status\":429,\"outcome\":\"refused\"") LOST("10", "2", "9") "x\n");

    assert_int_equal(RUN("summary", file), 0);
    assert_string_equal(said,
        "   requests     errors     hits    joins      tokens in     tokens out        cost     p50 ms        p95  "
        "      p99   ttft p50        p95        p99  model\n"
        "          5          0   25.0 %   25.0 %          1,234             50      1.7500       10.0       10.0  "
        "     10.0        2.0        2.0        2.0  tiny\n"
        "          2          1        -        -              0              0      0.0000      1,004      2,000  "
        "    2,000          -          -          -  big\n"
        "          1          1        -        -              0              0      0.0000          -          -  "
        "        -          -          -          -  -\n"
        "          8          2   25.0 %   25.0 %          1,234             50      1.7500       10.0      2,000  "
        "    2,000        2.0        2.0        2.0  (all)\n"
        "\n"
        "from 2026-11-23 07:45:01 to 2026-11-23 07:45:08 UTC\n"
        "2 lines were dropped, as 1 line of the log tells\n"
        "1 line could not be read\n");
    assert_int_equal(RUN("summary", "--json", "--by", "status", "--model", "big", file), 0);
    assert_string_equal(said,
        "{\"requests\":2,\"errors\":1,\"hits\":0,\"joins\":0,\"asked_memory\":0,\"prompt_tokens\":0,"
        "\"completion_tokens\":0,\"cost\":0.000000,\"total_ms\":{\"p50\":1003.519,\"p95\":2000,\"p99\":2000},\"dropped\":0,"
        "\"unreadable\":1,\"by\":\"status\",\"groups\":[{\"name\":\"200\",\"requests\":2,\"errors\":1,\"hits\":0,"
        "\"joins\":0,\"asked_memory\":0,\"prompt_tokens\":0,\"completion_tokens\":0,\"cost\":0.000000,"
        "\"total_ms\":{\"p50\":1003.519,\"p95\":2000,\"p99\":2000}}]}\n");
    assert_int_equal(RUN("summary", "--by", "none", put("empty.log", "")), 0);
    assert_non_null(strstr(said, "(all)\n"));
}

static void names_beyond_a_bound_are_counted_together(void **state)
{
    FILE *file = fopen(path_of("names.log"), "w");

    for (int i = 1; i <= LOG_SUMMARY_GROUPS + 5; i++)
        fprintf(file, "{\"seq\":%d,\"model\":\"m%d\"}\n", i, i);
    fclose(file);
    assert_int_equal(RUN("summary", "--json", "--by", "model", path_of("names.log")), 0);
    assert_int_equal(RUN("summary", "--by", "model", path_of("names.log")), 0);
    assert_int_equal(RUN("summary", "--by", "none", "--json", path_of("names.log")), 0);
    assert_non_null(strstr(said, "\"requests\":10005,"));
}

/* --- replay --- */

#define ASKED ",\"status\":200,\"path\":\"/v1/chat/completions\",\"request\":{\"model\":\"tiny\",\"n\": 1}"
#define ANSWER(message, reason)                                                                              \
    ASKED ",\"answer\":{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message             \
    "},\"finish_reason\":\"" reason "\"}]}"
#define ANSWERED(content) ANSWER("\"content\":\"" content "\"", "stop")
#define CALLS(id)                                                                                            \
    "\"content\":null,\"reasoning_content\":\"Hm\",\"tool_calls\":[{\"id\":\"" id "\",\"type\":\"function\","    \
    "\"function\":{\"name\":\"look\",\"arguments\":\"{}\"}}]"
#define DELTA(delta) "data: {\"choices\":[{\"index\":0,\"delta\":{" delta "}}]}\n\n"
#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "
#define WHOLE HEAD "application/json\r\n\r\n{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hello you\"},\"finish_reason\":\"stop\"}]}"
#define STREAM HEAD "text/event-stream\r\n\r\n"                                                              \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello \"}}]}\n\n"                              \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"you\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

static void answers_are_compared(void **state)
{
    static const struct {
        const char *line, *answer;
        int code;
        const char *says;
    } cases[] = {
        {ANSWERED("Hello you"), WHOLE, 0, ": 1 same, 0 different, 0 failed\n"},
        {ANSWERED("Hello you") ",\"stream\":true", STREAM, 0, ": 1 same, 0 different, 0 failed\n"},
        {ANSWER(CALLS("call_1"), "tool_calls"),
         HEAD "application/json\r\n\r\n{\"choices\":[{\"message\":{" CALLS("call_2") "},\"finish_reason\":\"tool_calls\"}]}", 0,
         ": 1 same"},
        {ANSWER(CALLS("call_1"), "tool_calls"),
         HEAD "text/event-stream\r\n\r\n" DELTA("\"reasoning_content\":\"H\"") DELTA("\"reasoning_content\":\"m\"")
         DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"call_2\",\"function\":{\"name\":\"look\",\"arguments\":\"{\"}}]")
         DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]")
         "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n", 0, ": 1 same"},
        {ASKED ",\"answer\":{\"logits\":{\"a\":1.5,\"b\":-2}}",
         HEAD "application/json\r\n\r\n{\"model\":\"x\",\"logits\":{\"a\":1.5,\"b\":-2}}", 0, ": 1 same"},
        {ASKED ",\"answer\":{\"logits\":{\"a\":1.5,\"b\":-2}}",
         HEAD "application/json\r\n\r\n{\"model\":\"x\",\"logits\":{\"a\":1.5,\"b\":-3}}", 1, "is now \"...a\":1.5,\"b\":-3}\""},
        {ANSWERED("Hello yes"), STREAM, 1,
         "different req_1 /v1/chat/completions: choice 0, byte 7: \"Hello yes\" is now \"Hello you\"\n"},
        {ANSWER("\"content\":\"Hello you\"", "length"), WHOLE, 1,
         "choice 0, byte 0 behind its content: \"length\" is now \"stop\"\n"},
        {ANSWERED("Hello you"), "HTTP/1.1 503 No\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\"not\\nnow\"}}", 1,
         "failed    req_1 /v1/chat/completions: status 503: not\\x0anow\n"},
        {ANSWERED("Hello you"), HEAD "application/json\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"H\"}}]}", 1,
         "/v1/chat/completions: it breaks off\n"},
        {ANSWERED("Hello you"), HEAD "text/event-stream\r\n\r\ndata: {\"error\":{\"message\":\"x\"}}\n\n", 1,
         ": an error inside the stream\n"},
        {ANSWERED("Hello you"), HEAD "text/html\r\n\r\n<p>", 1, ": it cannot be read\n"},
        {ANSWERED("Hello you"), HEAD "application/json\r\nContent-Length: 999\r\n\r\n{", 1, "1 failed\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct one_answer server;
        char text[2048], url[64];

        snprintf(text, sizeof(text), "{\"seq\":1,\"id\":\"req_1\"%s}\n", cases[i].line);
        one_answer_start(&server, bytes_of(cases[i].answer), NULL);
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", server.port);
        assert_int_equal(RUN("replay", "--to", url, "--speed", "0", "--key", "sk-7", put("replay.log", text)), cases[i].code);
        one_answer_end(&server);
        if (!strstr(said, cases[i].says))
            fail_msg("%zu: %s%s", i, said, complained);
        assert_non_null(strstr(said, "1 sent in "));
        assert_true(bytes_start_with(bytes_of(server.asked), BYTES("POST /v1/chat/completions HTTP/1.1\r\n")));
        assert_non_null(strstr(server.asked, "Authorization: Bearer sk-7\r\n"));
        assert_non_null(strstr(server.asked, "\r\n\r\n{\"model\":\"tiny\",\"n\": 1}"));
        assert_int_equal(strstr(server.asked, "Accept: text/event-stream") != NULL, strstr(cases[i].line, "stream") != NULL);
    }
}

static void what_cannot_be_sent_again_is_told(void **state)
{
    const char *file = put("skip.log",
        LINE("1", "01", OK)
        LINE("2", "02", ANSWERED("x") ",\"request_cut\":true") LINE("3", "02", ANSWERED("x") ",\"answer_cut\":true")
        LINE("4", "02", ANSWERED("a [redacted] b")) LINE("5", "02", ANSWERED("x") ",\"status\":502")
        LINE("6", "02", ASKED) LINE("7", "02", ASKED ",\"answer\":{\"choices\":[{\"message\":{\"content\":\"x\"}}]}")
        LINE("8", "02", ASKED ",\"answer\":\"x\"") LINE("9", "02", ANSWERED("x") ",\"path\":\"/a b\"")
        LINE("10", "02", ANSWERED("x") ",\"method\":\"GET\"")
        LINE("11", "02", ASKED ",\"answer\":{\"choices\":[{\"index\":128}]}")
        LINE("12", "02", ASKED ",\"answer\":{\"object\":\"list\"}")
        LINE("13", "02", ASKED ",\"answer\":{\"choices\":[{\"text\":\"x\",\"finish_reason\":\"stop\"}]}"));

    assert_int_equal(RUN("replay", "--to", "http://127.0.0.1:9", file), 1);
    assert_string_equal(said, "0 sent in 0.0 s: 0 same, 0 different, 0 failed\n"
                              "13 skipped: 1 without a body, 2 cut, 1 redacted, 1 that were not answered well, "
                              "1 without an answer, 1 whose answer broke off, 6 of another form\n");
    assert_int_equal(RUN("replay", "--to", "ftp://x", file), 1);
    assert_string_equal(complained, "--to: must begin with http://, https:// or unix:/\n");
    assert_int_equal(RUN("replay", "--to", "http://127.0.0.1:9", "--ca-file", file, file), 1);
    assert_string_equal(complained, "--ca-file is only for a URL with https\n");
    assert_int_equal(RUN("replay", "--to", "https://127.0.0.1:9", "--ca-file", "/nowhere/ca.pem", file), 1);
    assert_string_equal(complained, "--ca-file: /nowhere/ca.pem cannot be read: No such file or directory\n");
    assert_int_equal(RUN("replay", "--to", "https://127.0.0.1:9", "--ca-file", folder, file), 1);
    assert_non_null(strstr(complained, " cannot be read: Is a directory\n"));
    assert_int_equal(RUN("replay", "--to", "https://127.0.0.1:9", "--ca-file", "/dev/null", file), 1);
    assert_string_equal(complained, "--ca-file: /dev/null is not a regular file\n");
    assert_int_equal(RUN("replay", "--to", "https://127.0.0.1:9", "--ca-file", file, file), 1);
    assert_non_null(strstr(complained, "skip.log holds no PEM certificate\n"));
    assert_int_equal(RUN("replay", "--to", "http://127.0.0.1:1", put("replay.log", LINE("1", "01", ANSWERED("x")))), 1);
    assert_non_null(strstr(said, "failed    req_1 /v1/chat/completions: "));
}

static void the_fields_are_described(void **state)
{
    assert_int_equal(RUN("fields"), 0);
    assert_non_null(strstr(said, "| `total_ms` |"));
    assert_int_equal(RUN("--help"), 0);
    assert_non_null(strstr(said, "usage: embergate log"));
    assert_int_equal(RUN("nothing"), 2);
}

static int begin(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    unsetenv("EMBERGATE_KEY");
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_taken),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(lines_are_shown),
        cmocka_unit_test(nothing_steers_the_terminal),
        cmocka_unit_test(the_last_lines_are_shown),
        cmocka_unit_test(the_last_lines_of_a_large_file),
        cmocka_unit_test(compressed_files_are_read_whole_or_complained_of),
        cmocka_unit_test(a_line_may_be_too_long),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(runs_are_told_apart),
        cmocka_unit_test(many_runs_are_told_apart),
        cmocka_unit_test(what_is_there_twice_is_seen),
        cmocka_unit_test(long_runs_are_seen_twice),
        cmocka_unit_test(files_are_put_in_order),
        cmocka_unit_test(files_of_several_runs_are_put_in_order),
        cmocka_unit_test(files_without_a_place_are_no_hindrance),
        cmocka_unit_test(any_order_of_names_is_one_order_of_files),
        cmocka_unit_test(what_is_written_meanwhile_is_not_read),
        cmocka_unit_test(neither_is_it_of_a_file_that_is_standard_input),
        cmocka_unit_test(half_a_line_is_waited_for_a_moment),
        cmocka_unit_test(what_is_being_compressed_is_read_once),
        cmocka_unit_test(what_was_compressed_meanwhile_is_found),
        cmocka_unit_test(what_was_rotated_meanwhile_is_found),
        cmocka_unit_test(a_summary_adds_up),
        cmocka_unit_test(names_beyond_a_bound_are_counted_together),
        cmocka_unit_test(answers_are_compared),
        cmocka_unit_test(what_cannot_be_sent_again_is_told),
        cmocka_unit_test(the_fields_are_described),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
