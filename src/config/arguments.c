/*
 * getopt_long does the splitting and says nothing itself: the messages are ours.
 */
#include "config/arguments.h"

#include "base/alloc.h"

#include <getopt.h>

#define WORKERS_MAX 1024

const char arguments_help[] =
    "usage: embergate [-c FILE] [--listen ADDR] [--admin ADDR] [--backend URL]...\n"
    "                 [--workers N] [--check] [--version] [--help]\n"
    "       embergate cache stats|purge ...   (see embergate cache --help)\n"
    "       embergate key new|hash ...        (see embergate key --help)\n"
    "       embergate log tail|summary|check|replay ...   (see embergate log --help)\n"
    "\n"
    "A gateway between programs and language models: the OpenAI chat completions API\n"
    "and the Goodfire API in front, any of their servers behind.\n"
    "\n"
    "  -c, --config FILE  the configuration (YAML)\n"
    "      --backend URL  a server to ask: http://HOST:PORT, https://... or unix:/PATH.\n"
    "                     May be given more than once. Replaces the file's backends,\n"
    "                     models and variants; works without a file. What kind of\n"
    "                     server it is and which models it has is found out by asking\n"
    "      --listen ADDR  where clients come in: IP:PORT, [IPv6]:PORT or unix:/PATH.\n"
    "                     Without: the file's, else 127.0.0.1:8080. Port 0: any\n"
    "      --admin ADDR   where /status, /metrics, /usage and /cache are, or off.\n"
    "                     Without: the file's, else 127.0.0.1:8081\n"
    "      --workers N    threads. Without: the file's, else one per core\n"
    "      --check        say what is wrong with the configuration, and exit\n"
    "      --version      print the version, and exit\n"
    "  -h, --help         print this, and exit\n"
    "\n"
    "SIGTERM: what is running is finished, for at most the configured drain time.\n"
    "SIGHUP: the keys file is read again, log files are opened anew. SIGUSR1: the latter.\n"
    "\n"
    "examples:\n"
    "  embergate -c conf/embergate.yaml\n"
    "  embergate --backend http://127.0.0.1:8000\n"
    "  embergate cache stats\n"
    "  embergate key new --name alice\n";

enum { OPTION_LISTEN = 256, OPTION_ADMIN, OPTION_BACKEND, OPTION_WORKERS, OPTION_CHECK, OPTION_VERSION };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"admin", required_argument, NULL, OPTION_ADMIN},
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void add_backend(struct arguments *arguments, const char *url)
{
    struct config_overrides *overrides = &arguments->overrides;
    size_t size = (overrides->backend_count + 1) * sizeof(*overrides->backends);

    overrides->backends = alloc_resize(overrides->backends, size);
    overrides->backends[overrides->backend_count++] = url;
}

static void read_workers(struct arguments *arguments, const char *text, struct buffer *errors)
{
    int64_t number;

    if (bytes_to_i64(bytes_of(text), &number) < 0 || number < 1 || number > WORKERS_MAX)
        buffer_printf(errors, "--workers must be a number from 1 to %d\n", WORKERS_MAX);
    else
        arguments->overrides.workers = (uint32_t)number;
}

static void take(struct arguments *arguments, int option, char **argv, struct buffer *errors)
{
    switch (option) {
    case 'c':
        arguments->file = optarg;
        break;
    case OPTION_LISTEN:
        arguments->overrides.listen = optarg;
        break;
    case OPTION_ADMIN:
        arguments->overrides.admin = optarg;
        break;
    case OPTION_BACKEND:
        add_backend(arguments, optarg);
        break;
    case OPTION_WORKERS:
        read_workers(arguments, optarg, errors);
        break;
    case OPTION_CHECK:
        arguments->check = true;
        break;
    case OPTION_VERSION:
        arguments->version = true;
        break;
    case 'h':
        arguments->help = true;
        break;
    case ':':
        buffer_printf(errors, "%s needs a value\n", argv[optind - 1]);
        break;
    default:
        if (optopt && optopt < OPTION_LISTEN && optopt != 'c' && optopt != 'h')
            buffer_printf(errors, "unknown option -%c\n", optopt);
        else if (optopt)
            buffer_printf(errors, "%s takes no value\n", argv[optind - 1]);
        else
            buffer_printf(errors, "unknown or ambiguous option %s\n", argv[optind - 1]);
    }
}

int arguments_init(struct arguments *arguments, int argc, char **argv, struct buffer *errors)
{
    size_t before = errors->size;
    int option;

    *arguments = (struct arguments){0};
    optind = 0; /* from the start, also the second time */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1)
        take(arguments, option, argv, errors);
    for (int i = optind; i < argc; i++) {
        const char *hint = "a file is given with -c FILE";

        if (bytes_equal(bytes_of(argv[i]), BYTES("cache")))
            hint = "it must come first: embergate cache stats -c FILE";
        else if (bytes_equal(bytes_of(argv[i]), BYTES("key")))
            hint = "it must come first: embergate key new --name NAME";
        buffer_printf(errors, "unexpected argument %s (%s)\n", argv[i], hint);
    }
    if (errors->size == before)
        return 0;
    buffer_append_text(errors, "embergate --help tells more\n");
    return ARGUMENTS_E_BAD;
}

void arguments_deinit(struct arguments *arguments)
{
    alloc_free(arguments->overrides.backends);
    *arguments = (struct arguments){0};
}
