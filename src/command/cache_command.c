/*
 * One request to the admin listener, and its answer in words. Where the listener is, is said by --admin or by the
 * gateway's own configuration file.
 */
#include "command/cache_command.h"

#include "base/digest.h"
#include "command/cache_table.h"
#include "config/address.h"
#include "json/json_doc.h"
#include "link/fetch.h"
#include "link/transfer.h"

#include <getopt.h>
#include <stdio.h>

#define ADMIN_PORT 8081

static const char help[] =
    "usage: embergate cache stats [--json] [-c FILE | --admin ADDR]\n"
    "       embergate cache purge [--model NAME | --key KEY] [-c FILE | --admin ADDR]\n"
    "\n"
    "Asks a running gateway, through its admin listener, what it remembers; or makes\n"
    "it forget.\n"
    "\n"
    "  stats              what is kept, how often it helped, model by model\n"
    "      --json         as the gateway tells it, for programs\n"
    "  purge              forget everything, in this process and in Redis, or:\n"
    "      --model NAME   only the answers of this model\n"
    "      --key KEY      only this answer: the 64 hex digits of x-embergate-cache-key\n"
    "\n"
    "  -c, --config FILE  the gateway's configuration: its admin listener is asked\n"
    "      --admin ADDR   HOST, HOST:PORT, [IPv6]:PORT or unix:/PATH.\n"
    "                     Without both: 127.0.0.1:8081\n"
    "  -h, --help         print this, and exit\n";

/* --- arguments --- */

enum { OPTION_ADMIN = 256, OPTION_MODEL, OPTION_KEY, OPTION_JSON };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"admin", required_argument, NULL, OPTION_ADMIN},
    {"model", required_argument, NULL, OPTION_MODEL},
    {"key", required_argument, NULL, OPTION_KEY},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void take(struct cache_arguments *arguments, int option, char **argv, struct buffer *errors)
{
    switch (option) {
    case 'c':
        arguments->file = optarg;
        break;
    case OPTION_ADMIN:
        arguments->admin = optarg;
        break;
    case OPTION_MODEL:
        arguments->model = optarg;
        break;
    case OPTION_KEY:
        arguments->key = optarg;
        break;
    case OPTION_JSON:
        arguments->json = true;
        break;
    case 'h':
        arguments->help = true;
        break;
    case ':':
        buffer_printf(errors, "%s needs a value\n", argv[optind - 1]);
        break;
    default:
        buffer_printf(errors, "unknown option, or one that takes no value: %s\n", argv[optind - 1]);
    }
}

static void take_word(struct cache_arguments *arguments, const char *word, struct buffer *errors)
{
    if (!word)
        buffer_append_text(errors, "say what to do: stats or purge\n");
    else if (bytes_equal(bytes_of(word), BYTES("stats")))
        arguments->verb = CACHE_STATS;
    else if (bytes_equal(bytes_of(word), BYTES("purge")))
        arguments->verb = CACHE_PURGE;
    else
        buffer_printf(errors, "%s is neither stats nor purge\n", word);
}

static void check(const struct cache_arguments *arguments, struct buffer *errors)
{
    uint8_t key[DIGEST_SIZE];

    if (arguments->file && arguments->admin)
        buffer_append_text(errors, "-c and --admin both say whom to ask: give one of them\n");
    if (arguments->model && arguments->key)
        buffer_append_text(errors, "--model and --key both say what to forget: give one of them\n");
    if (arguments->verb == CACHE_STATS && (arguments->model || arguments->key))
        buffer_append_text(errors, "--model and --key are only for purge\n");
    if (arguments->verb == CACHE_PURGE && arguments->json)
        buffer_append_text(errors, "--json is only for stats\n");
    if (arguments->model && !arguments->model[0])
        buffer_append_text(errors, "--model needs a name\n");
    if (arguments->key && digest_from_hex(bytes_of(arguments->key), key) < 0)
        buffer_append_text(errors, "--key must be 64 hex digits, as in x-embergate-cache-key\n");
}

int cache_arguments_read(int argc, char **argv, struct cache_arguments *ret, struct buffer *errors)
{
    struct cache_arguments arguments = {0};
    size_t before = errors->size;
    int option;

    optind = 0; /* from the start, also the second time */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1)
        take(&arguments, option, argv, errors);
    if (!arguments.help && errors->size == before) {
        take_word(&arguments, argv[optind], errors);
        for (int i = optind + 1; i < argc; i++)
            buffer_printf(errors, "unexpected argument %s\n", argv[i]);
        if (errors->size == before)
            check(&arguments, errors);
    }
    if (errors->size > before) {
        buffer_append_text(errors, "embergate cache --help tells more\n");
        return CACHE_COMMAND_E_BAD;
    }
    *ret = arguments;
    return 0;
}

/* --- asking --- */

/* What RFC 3986 calls unreserved stays. */
static void append_coded(struct buffer *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text, small = byte | 0x20;

        if ((small >= 'a' && small <= 'z') || (byte >= '0' && byte <= '9') || strchr("-._~", byte))
            buffer_append_char(out, *text);
        else
            buffer_printf(out, "%%%02X", byte);
    }
}

void cache_arguments_target(const struct cache_arguments *arguments, struct buffer *out)
{
    buffer_append_text(out, arguments->verb == CACHE_STATS ? "/cache" : "/cache/purge");
    if (arguments->model || arguments->key)
        buffer_append_text(out, arguments->model ? "?model=" : "?key=");
    if (arguments->model || arguments->key)
        append_coded(out, arguments->model ? arguments->model : arguments->key);
}

/* The admin listener that FILE tells of. An address for all is asked on this machine. */
static bool address_of_file(const char *file, struct arena *arena, struct config_address *ret, struct buffer *errors)
{
    struct config_address address;
    struct config *config;

    if (config_read(file, NULL, errors, &config) != 0)
        return false;
    address = config->admin;
    if (!config->has_admin)
        buffer_printf(errors, "%s: admin: off. Give it an address: that is where the memory is asked\n", file);
    else if (!address.unix_path.size && !address.port)
        buffer_printf(errors, "%s: admin: port 0 is any port: say with --admin which one it is\n", file);
    ret->unix_path = arena_copy(arena, address.unix_path);
    if (bytes_equal(address.host, BYTES("0.0.0.0")))
        address.host = BYTES("127.0.0.1");
    else if (bytes_equal(address.host, BYTES("::")))
        address.host = BYTES("::1");
    ret->host = arena_copy(arena, address.host);
    ret->port = address.port;
    config_unref(config);
    return errors->size == 0;
}

static bool address_of(const struct cache_arguments *arguments, struct arena *arena, struct config_address *ret,
                       struct buffer *errors)
{
    struct bytes text = bytes_of(arguments->admin ? arguments->admin : "127.0.0.1");
    const char *wrong;

    *ret = (struct config_address){0};
    if (arguments->file)
        return address_of_file(arguments->file, arena, ret, errors);
    if (bytes_start_with(text, BYTES("unix:")))
        wrong = address_read_unix(arena, bytes_skip(text, 5), &ret->unix_path);
    else
        wrong = address_read_host(arena, text, ADMIN_PORT, ret);
    if (wrong)
        buffer_printf(errors, "--admin: %s\n", wrong);
    return !wrong;
}

/* How ADDRESS is called in messages. */
static struct bytes name_of(struct arena *arena, const struct config_address *address)
{
    const struct config_backend backend = {.host = address->host, .port = address->port,
                                           .unix_path = address->unix_path};

    return address_name(arena, &backend);
}

/* --- the answer --- */

/* "purged 5 answers" */
static bool read_purge(struct bytes body, struct buffer *out)
{
    struct json_doc doc;
    int64_t purged;
    bool good;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    good = json_doc_parse(&doc, body) == 0 &&
           json_i64(&doc, json_member(&doc, json_root(&doc), BYTES("purged")), &purged) == 0 && purged >= 0;
    if (good)
        buffer_printf(out, "purged %lld answer%s\n", (long long)purged, purged == 1 ? "" : "s");
    json_doc_deinit(&doc);
    return good;
}

/* A refusal in the gateway's own words. */
static bool read_refusal(struct bytes body, struct arena *arena, struct buffer *out)
{
    const struct json_node *message;
    struct json_doc doc;

    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    message = json_doc_parse(&doc, body) == 0 ? json_at(&doc, json_root(&doc), "error.message") : NULL;
    if (json_is(message, JSON_STRING))
        buffer_printf(out, "%.*s\n", BYTES_ARG(json_text(&doc, message, arena)));
    json_doc_deinit(&doc);
    return out->size > 0;
}

/* Lines for stdout in OUT, or for stderr in ERRORS. */
static void judge(const struct cache_arguments *arguments, struct bytes name, unsigned status, struct bytes body,
                  struct arena *arena, struct buffer *out, struct buffer *errors)
{
    bool good = status == 200 && (arguments->verb == CACHE_STATS ? cache_table_write : read_purge)(body, out);

    if (good && arguments->json) {
        buffer_clear(out, 0);
        buffer_append(out, body);
    }
    if (!good && (status == 200 || !read_refusal(body, arena, errors)))
        buffer_printf(errors,
                      "what listens at %.*s is not the admin listener of this Embergate (it answered with status %u): "
                      "is --admin right?\n", BYTES_ARG(name), status);
}

static void ask(const struct cache_arguments *arguments, const struct config_address *address, struct arena *arena,
                struct buffer *out, struct buffer *errors)
{
    struct fetch fetch = {.host = address->host, .port = address->port, .unix_path = address->unix_path,
                          .post = arguments->verb == CACHE_PURGE};
    struct bytes name = name_of(arena, address);
    struct buffer target, body, why;
    unsigned status = 0;

    buffer_init(&target);
    buffer_init(&body);
    buffer_init(&why);
    cache_arguments_target(arguments, &target);
    buffer_append_char(&target, '\0');
    fetch.path = target.data;
    transfer_global_init();
    if (fetch_ask(&fetch, &status, &body, &why) == 0)
        judge(arguments, name, status, buffer_bytes(&body), arena, out, errors);
    else
        buffer_printf(errors, "cannot reach the admin listener at %.*s: is Embergate running, and is --admin right? "
                              "(%.*s)\n", BYTES_ARG(name), BYTES_ARG(buffer_bytes(&why)));
    buffer_deinit(&target);
    buffer_deinit(&body);
    buffer_deinit(&why);
}

int cache_command(int argc, char **argv)
{
    struct config_address address;
    struct cache_arguments arguments;
    struct buffer out, errors;
    struct arena arena;
    bool good;

    arena_init(&arena);
    buffer_init(&out);
    buffer_init(&errors);
    if (cache_arguments_read(argc, argv, &arguments, &errors) == 0) {
        if (arguments.help)
            buffer_append_text(&out, help);
        else if (address_of(&arguments, &arena, &address, &errors))
            ask(&arguments, &address, &arena, &out, &errors);
    }
    good = errors.size == 0;
    fwrite(good ? out.data : errors.data, 1, good ? out.size : errors.size, good ? stdout : stderr);
    buffer_deinit(&out);
    buffer_deinit(&errors);
    arena_deinit(&arena);
    return good ? 0 : 1;
}
