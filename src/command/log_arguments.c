/*
 * One table of options: which words they belong to, and who reads their values. The list that somebody gets who errs
 * is made of it.
 */
#include "command/log_arguments.h"

#include <getopt.h>
#include <stdio.h>

static const char *const verbs[LOG_VERB_COUNT] = {"tail", "show", "summary", "check", "replay", "fields"};

#define IN(verb) (1u << LOG_VERB_##verb)
#define LINES (IN(TAIL) | IN(SHOW))
#define FILTERED (LINES | IN(SUMMARY) | IN(REPLAY))

struct reading {
    struct log_arguments arguments;
    int64_t now_us;
    struct buffer *errors;
    char said[20];              /* the option as it was given: "-n", "--lines" */
};

typedef void (*reader)(struct reading *reading, const char *name, const char *value);

struct row {
    const char *name;
    char letter;                /* or 0 */
    bool takes_value;
    unsigned verbs;
    reader read;
};

/* --- readers --- */

static void read_follow(struct reading *reading, const char *name, const char *value)
{
    reading->arguments.follow = true;
}

static void read_json(struct reading *reading, const char *name, const char *value)
{
    reading->arguments.json = true;
}

/* A whole number from LEAST to MOST. */
static void read_number(struct reading *reading, const char *value, int64_t least, int64_t most, unsigned *ret)
{
    int64_t number;

    if (bytes_to_i64(bytes_of(value), &number) != 0 || number < least || number > most)
        buffer_printf(reading->errors, "%s must be a number from %lld to %lld\n", reading->said, (long long)least,
                      (long long)most);
    else
        *ret = (unsigned)number;
}

static void read_lines(struct reading *reading, const char *name, const char *value)
{
    read_number(reading, value, 0, LOG_ARGUMENTS_LINES, &reading->arguments.lines);
}

static void read_fields(struct reading *reading, const char *name, const char *value)
{
    struct log_arguments *arguments = &reading->arguments;
    struct bytes rest = bytes_of(value);
    size_t size;

    arguments->field_count = 0;
    for (;;) {
        size = bytes_find(rest, BYTES(","));
        if (!log_row_field_known((struct bytes){rest.data, size}) || arguments->field_count == LOG_ARGUMENTS_FIELDS) {
            buffer_printf(reading->errors, "--fields: there is no field \"%.*s\"; embergate log fields lists them\n",
                          (int)size, rest.data);
            return;
        }
        arguments->fields[arguments->field_count++] = (struct bytes){rest.data, size};
        if (size == rest.size)
            return;
        rest = bytes_skip(rest, size + 1);
    }
}

static void read_by(struct reading *reading, const char *name, const char *value)
{
    for (unsigned i = 0; i < LOG_BY_COUNT; i++) {
        if (strcmp(value, log_by_names[i]) != 0)
            continue;
        reading->arguments.by = (enum log_by)i;
        return;
    }
    buffer_append_text(reading->errors, "--by must be one of");
    for (unsigned i = 0; i < LOG_BY_COUNT; i++)
        buffer_printf(reading->errors, " %s", log_by_names[i]);
    buffer_append_char(reading->errors, '\n');
}

static void read_to(struct reading *reading, const char *name, const char *value)
{
    reading->arguments.replay.url = value;
}

static void read_ca_file(struct reading *reading, const char *name, const char *value)
{
    reading->arguments.replay.ca_file = value;
}

static void read_speed(struct reading *reading, const char *name, const char *value)
{
    double speed;

    if (bytes_to_double(bytes_of(value), &speed) != 0 || !(speed >= 0 && speed <= LOG_REPLAY_SPEED_MOST))
        buffer_printf(reading->errors, "--speed must be a number up to %d: 10 is ten times as fast, 0 as fast as it "
                                       "goes\n", LOG_REPLAY_SPEED_MOST);
    else
        reading->arguments.replay.speed = speed;
}

static void read_concurrency(struct reading *reading, const char *name, const char *value)
{
    read_number(reading, value, 1, LOG_REPLAY_CONCURRENCY_MOST, &reading->arguments.replay.concurrency);
}

static void read_filter(struct reading *reading, const char *name, const char *value)
{
    const char *filter = strcmp(name, "key-name") == 0 ? "key" : name;

    log_query_add(&reading->arguments.query, filter, value, reading->now_us, reading->errors);
}

/* The key that is sent is asked for where something is sent. */
static void read_key(struct reading *reading, const char *name, const char *value)
{
    if (reading->arguments.verb == LOG_VERB_REPLAY)
        reading->arguments.replay.key = value;
    else
        read_filter(reading, name, value);
}

static const struct row rows[] = {
    {"follow", 'f', false, IN(TAIL), read_follow},
    {"lines", 'n', true, IN(TAIL), read_lines},
    {"json", 0, false, LINES | IN(SUMMARY), read_json},
    {"fields", 0, true, LINES, read_fields},
    {"by", 0, true, IN(SUMMARY), read_by},
    {"to", 0, true, IN(REPLAY), read_to},
    {"ca-file", 0, true, IN(REPLAY), read_ca_file},
    {"speed", 0, true, IN(REPLAY), read_speed},
    {"concurrency", 0, true, IN(REPLAY), read_concurrency},
    {"key", 0, true, FILTERED, read_key},
    {"key-name", 0, true, FILTERED, read_filter},
    {"team", 0, true, FILTERED, read_filter},
    {"model", 0, true, FILTERED, read_filter},
    {"backend", 0, true, FILTERED, read_filter},
    {"status", 0, true, FILTERED, read_filter},
    {"outcome", 0, true, FILTERED, read_filter},
    {"cache", 0, true, FILTERED, read_filter},
    {"since", 0, true, FILTERED, read_filter},
    {"until", 0, true, FILTERED, read_filter},
    {"id", 0, true, FILTERED, read_filter},
    {"min-ms", 0, true, FILTERED, read_filter},
};

/* --- the walk --- */

#define NUMBER 256 /* of the first option, for getopt */

static void fill_options(struct option *options)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        options[i] = (struct option){rows[i].name, rows[i].takes_value ? required_argument : no_argument, NULL,
                                     (int)(NUMBER + i)};
    options[ARRAY_SIZE(rows)] = (struct option){"help", no_argument, NULL, 'h'};
    options[ARRAY_SIZE(rows) + 1] = (struct option){NULL, 0, NULL, 0};
}

static void list_options(enum log_verb verb, struct buffer *errors)
{
    bool any = false;

    buffer_printf(errors, "embergate log %s takes", verbs[verb]);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!(rows[i].verbs & 1u << verb))
            continue;
        buffer_append_text(errors, any ? ", " : " ");
        if (rows[i].letter)
            buffer_printf(errors, "-%c", rows[i].letter);
        else
            buffer_printf(errors, "--%s", rows[i].name);
        any = true;
    }
    buffer_append_text(errors, any ? "\n" : " no options\n");
}

static const struct row *row_of(int option)
{
    if (option >= NUMBER)
        return &rows[option - NUMBER];
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].letter == option)
            return &rows[i];
    return NULL;
}

static void take(struct reading *reading, int option, char **argv)
{
    enum log_verb verb = reading->arguments.verb;
    const struct row *row = row_of(option);

    if (row && option >= NUMBER)
        snprintf(reading->said, sizeof(reading->said), "--%s", row->name);
    else
        snprintf(reading->said, sizeof(reading->said), "-%c", option);
    if (option == ':') {
        buffer_printf(reading->errors, "%s needs a value\n", argv[optind - 1]);
    } else if (!row) {
        buffer_printf(reading->errors, "unknown option, or one that takes no value: %s\n", argv[optind - 1]);
        list_options(verb, reading->errors);
    } else if (!(row->verbs & 1u << verb)) {
        buffer_printf(reading->errors, "%s is not for %s\n", reading->said, verbs[verb]);
        list_options(verb, reading->errors);
    } else {
        row->read(reading, row->name, optarg);
    }
}

/* The word stands first, for what an option means depends on it. */
static bool take_verb(struct reading *reading, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    if (word && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)) {
        reading->arguments.help = true;
        return true;
    }
    for (unsigned i = 0; word && i < LOG_VERB_COUNT; i++) {
        if (strcmp(word, verbs[i]) != 0)
            continue;
        reading->arguments.verb = (enum log_verb)i;
        return true;
    }
    if (word)
        buffer_printf(reading->errors, "%s is none of tail, show, summary, check, replay and fields\n", word);
    else
        buffer_append_text(reading->errors, "say what to do: tail, show, summary, check, replay or fields\n");
    return false;
}

static void check(struct reading *reading)
{
    const struct log_arguments *arguments = &reading->arguments;

    if (arguments->verb == LOG_VERB_FIELDS) {
        if (arguments->file_count)
            buffer_append_text(reading->errors, "fields takes no files: it tells what a line may hold\n");
        return;
    }
    if (arguments->file_count == 0)
        buffer_append_text(reading->errors,
                           "name the files of the log, or - for stdin. A gateway writes one when its configuration "
                           "has\n\n    log:\n      sinks:\n        - {kind: file, path: requests.log}\n\n");
    if (arguments->json && arguments->field_count)
        buffer_append_text(reading->errors, "--json and --fields both say how lines look: give one of them\n");
    if (arguments->verb == LOG_VERB_REPLAY && !arguments->replay.url)
        buffer_append_text(reading->errors, "say with --to URL where to send the requests\n");
}

int log_arguments_read(int argc, char **argv, int64_t now_us, struct log_arguments *ret, struct buffer *errors)
{
    struct reading reading = {.now_us = now_us, .errors = errors};
    struct log_arguments *arguments = &reading.arguments;
    struct option options[ARRAY_SIZE(rows) + 2];
    size_t before = errors->size;
    int option;

    arguments->lines = 10;
    arguments->replay = (struct log_replay_spec){.speed = 1, .concurrency = LOG_REPLAY_CONCURRENCY};
    log_query_init(&arguments->query);
    if (take_verb(&reading, argc, argv) && !arguments->help) {
        fill_options(options);
        optind = 0; /* from the start, also the second time */
        opterr = 0;
        while ((option = getopt_long(argc - 1, argv + 1, ":hfn:", options, NULL)) != -1) {
            if (option == 'h')
                arguments->help = true;
            else
                take(&reading, option, argv + 1);
        }
        arguments->files = argv + 1 + optind;
        arguments->file_count = (unsigned)(argc - 1 - optind);
    }
    if (!arguments->help && errors->size == before)
        check(&reading);
    if (errors->size > before) {
        buffer_append_text(errors, "embergate log --help tells more\n");
        return LOG_COMMAND_E_BAD;
    }
    *ret = *arguments;
    return 0;
}
