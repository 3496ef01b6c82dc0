/*
 * A key is made and told once: to whoever is to have it. What the gateway gets to know is its digest.
 *
 * On stdout stand the key and, unless they go into a file, the lines for the configuration; words for people go to
 * stderr, so that KEY=$(embergate key new ...) is a key.
 */
#include "command/key_command.h"

#include "base/digest.h"
#include "base/random.h"
#include "config/config.h"
#include "config/values.h"
#include "command/key_file.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define NAME_SIZE_MAX 256
#define KEY_SIZE_MAX 4096
#define KEY_BYTES 32

static const char help[] =
    "usage: embergate key new --name NAME [--team TEAM] [--expires DATE] [--file FILE]\n"
    "       embergate key hash\n"
    "\n"
    "Keys for those who may ask. The gateway knows only a key's SHA-256.\n"
    "\n"
    "  new                print a new key, this one time, and the lines to paste under\n"
    "                     `keys` in the configuration or in its keys_file\n"
    "      --name NAME    whose it is: letters, digits and ._-:/@+\n"
    "      --team TEAM    the team it belongs to\n"
    "      --expires DATE 2027-01-01 (until its 00:00 UTC) or 2027-01-01T12:00:00Z\n"
    "      --file FILE    add the lines to this file of keys instead of printing them.\n"
    "                     Made with mode 0600 when it is not there\n"
    "  hash               read a key from stdin, and print the line with its digest\n"
    "\n"
    "  -h, --help         print this, and exit\n"
    "\n"
    "examples:\n"
    "  embergate key new --name alice --team research --file keys.yaml\n"
    "  printf %s \"$OLD_KEY\" | embergate key hash\n";

/* --- arguments --- */

enum { OPTION_NAME = 256, OPTION_TEAM, OPTION_EXPIRES, OPTION_FILE };

static const struct option options[] = {
    {"name", required_argument, NULL, OPTION_NAME},
    {"team", required_argument, NULL, OPTION_TEAM},
    {"expires", required_argument, NULL, OPTION_EXPIRES},
    {"file", required_argument, NULL, OPTION_FILE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void take(struct key_arguments *arguments, int option, char **argv, struct buffer *errors)
{
    switch (option) {
    case OPTION_NAME:
        arguments->name = optarg;
        break;
    case OPTION_TEAM:
        arguments->team = optarg;
        break;
    case OPTION_EXPIRES:
        arguments->expires = optarg;
        break;
    case OPTION_FILE:
        arguments->file = optarg;
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

static void take_word(struct key_arguments *arguments, const char *word, struct buffer *errors)
{
    if (!word)
        buffer_append_text(errors, "say what to do: new or hash\n");
    else if (bytes_equal(bytes_of(word), BYTES("new")))
        arguments->verb = KEY_NEW;
    else if (bytes_equal(bytes_of(word), BYTES("hash")))
        arguments->verb = KEY_HASH;
    else
        buffer_printf(errors, "%s is neither new nor hash\n", word);
}

static void check_name(const char *option, const char *name, struct buffer *errors)
{
    if (name && (!value_is_name(bytes_of(name)) || strlen(name) > NAME_SIZE_MAX))
        buffer_printf(errors, "%s must be at most %d letters, digits and ._-:/@+\n", option, NAME_SIZE_MAX);
}

static void check(const struct key_arguments *arguments, struct buffer *errors)
{
    int64_t expires;

    if (arguments->verb == KEY_HASH) {
        if (arguments->name || arguments->team || arguments->expires || arguments->file)
            buffer_append_text(errors, "hash takes no options: it reads a key from stdin\n");
        return;
    }
    if (!arguments->name)
        buffer_append_text(errors, "say with --name whose key it is\n");
    check_name("--name", arguments->name, errors);
    check_name("--team", arguments->team, errors);
    if (arguments->expires && value_time(bytes_of(arguments->expires), &expires) < 0)
        buffer_append_text(errors, "--expires must be a date such as 2027-01-01 or 2027-01-01T12:00:00Z\n");
    if (arguments->file && !arguments->file[0])
        buffer_append_text(errors, "--file needs a path\n");
}

int key_arguments_read(int argc, char **argv, struct key_arguments *ret, struct buffer *errors)
{
    struct key_arguments arguments = {0};
    size_t before = errors->size;
    int option;

    optind = 0; /* from the start, also the second time */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1)
        take(&arguments, option, argv, errors);
    if (!arguments.help && errors->size == before) {
        take_word(&arguments, argv[optind], errors);
        /* A stray word may be a key: it is not told. */
        if (argv[optind] && argv[optind + 1])
            buffer_append_text(errors, "there is a word too many behind new or hash\n");
        if (errors->size == before)
            check(&arguments, errors);
    }
    if (errors->size > before) {
        buffer_append_text(errors, "embergate key --help tells more\n");
        return KEY_COMMAND_E_BAD;
    }
    *ret = arguments;
    return 0;
}

/* --- keys --- */

void key_make(char key[KEY_TEXT_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[KEY_BYTES + 1] = {0}; /* the last digit has two bits of nothing */
    char *to = key + 3;

    for (size_t i = 0; i < KEY_BYTES; i += sizeof(uint64_t)) {
        uint64_t value = random_u64();

        memcpy(bytes + i, &value, sizeof(value));
    }
    memcpy(key, "eg-", 3);
    for (size_t bit = 0; bit < 8 * KEY_BYTES; bit += 6) {
        unsigned pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];

        *to++ = digits[pair >> (10 - bit % 8) & 63];
    }
    explicit_bzero(bytes, sizeof(bytes));
}

static void write_digest(struct bytes key, struct buffer *out)
{
    struct digest *digest = digest_new(BYTES_NONE);
    uint8_t hash[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE];

    digest_begin(digest);
    digest_add(digest, key);
    digest_end(digest, hash);
    digest_free(digest);
    digest_hex(hash, hex);
    buffer_printf(out, "sha256: %.*s\n", (int)sizeof(hex), hex);
}

/* In quotes where YAML could take it for something else. */
static void write_text(struct buffer *out, unsigned indent, const char *key, const char *text)
{
    char first = (char)(text[0] | 0x20);
    bool plain = first >= 'a' && first <= 'z' && !strchr(text, ':') && strcasecmp(text, "null") != 0;

    buffer_printf(out, "%*s%s: %s%s%s\n", (int)indent, "", key, plain ? "" : "\"", text, plain ? "" : "\"");
}

void key_write_entry(struct bytes key, const struct key_arguments *arguments, unsigned indent, struct buffer *out)
{
    buffer_printf(out, "%*s- ", (int)indent, "");
    write_text(out, 0, "name", arguments->name);
    if (arguments->team)
        write_text(out, indent + 2, "team", arguments->team);
    if (arguments->expires)
        buffer_printf(out, "%*sexpires: %s\n", (int)indent + 2, "", arguments->expires);
    buffer_printf(out, "%*s", (int)indent + 2, "");
    write_digest(key, out);
}

int key_write_digest(struct bytes key, struct buffer *out, struct buffer *errors)
{
    if (key.size && key.data[key.size - 1] == '\n')
        key.size--;
    if (key.size && key.data[key.size - 1] == '\r')
        key.size--;
    if (key.size == 0 || key.size > KEY_SIZE_MAX) {
        buffer_printf(errors, "stdin must hold a key of 1 to %d characters\n", KEY_SIZE_MAX);
        return KEY_COMMAND_E_BAD;
    }
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] > 0x20 && key.data[i] < 0x7f)
            continue;
        buffer_append_text(errors, "stdin must hold one key: visible ASCII characters without spaces, in one line\n");
        return KEY_COMMAND_E_BAD;
    }
    write_digest(key, out);
    return 0;
}

/* --- the command --- */

struct entry {
    struct bytes key;
    const struct key_arguments *arguments;
};

static void write_entry(void *data, unsigned indent, struct buffer *out)
{
    const struct entry *entry = data;

    key_write_entry(entry->key, entry->arguments, indent, out);
}

/* The lines must be what the gateway can read: `null`, say, is no name in YAML. */
static bool is_readable(struct entry *entry, struct buffer *errors)
{
    static const struct config anything;
    struct config_keys *keys = NULL;
    struct buffer text;

    buffer_init(&text);
    buffer_append_text(&text, "keys:\n");
    write_entry(entry, 2, &text);
    config_read_keys_text("the new key", buffer_bytes(&text), &anything, errors, &keys);
    buffer_deinit(&text);
    if (!keys)
        return false;
    config_keys_unref(keys);
    return true;
}

static void make(const struct key_arguments *arguments, struct buffer *out, struct buffer *notes,
                 struct buffer *errors)
{
    char key[KEY_TEXT_SIZE];
    struct entry entry = {{key, sizeof(key)}, arguments};

    key_make(key);
    if (!is_readable(&entry, errors))
        return;
    if (arguments->file &&
        key_file_add(arguments->file, bytes_of(arguments->name), write_entry, &entry, errors) != 0)
        return;
    buffer_append(out, entry.key);
    buffer_append_char(out, '\n');
    if (arguments->file) {
        buffer_printf(notes, "%s may ask, as %s says now. The key is shown this one time.\n", arguments->name,
                      arguments->file);
    } else {
        write_entry(&entry, 2, out);
        buffer_append_text(notes, "The key is shown this one time. The lines below it belong under `keys`.\n");
    }
    explicit_bzero(key, sizeof(key));
}

static void hash(struct buffer *out, struct buffer *errors)
{
    struct buffer text;
    ssize_t size;

    buffer_init(&text);
    while (text.size <= KEY_SIZE_MAX + 2) {
        size = read(STDIN_FILENO, buffer_reserve(&text, 1024), 1024);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            break;
        text.size += (size_t)size;
    }
    key_write_digest(buffer_bytes(&text), out, errors);
    if (text.size)
        explicit_bzero(text.data, text.size);
    buffer_deinit(&text);
}

int key_command(int argc, char **argv)
{
    struct key_arguments arguments;
    struct buffer out, notes, errors;
    bool good;

    buffer_init(&out);
    buffer_init(&notes);
    buffer_init(&errors);
    if (key_arguments_read(argc, argv, &arguments, &errors) == 0) {
        if (arguments.help)
            buffer_append_text(&out, help);
        else if (arguments.verb == KEY_HASH)
            hash(&out, &errors);
        else
            make(&arguments, &out, &notes, &errors);
    }
    if (errors.size == 0 && (fwrite(out.data, 1, out.size, stdout) != out.size || fflush(stdout) != 0))
        buffer_printf(&errors, "stdout cannot be written: %s. A key that was made is lost\n", strerror(errno));
    good = errors.size == 0;
    fprintf(stderr, "%.*s", BYTES_ARG(buffer_bytes(good ? &notes : &errors)));
    if (out.size)
        explicit_bzero(out.data, out.size);
    buffer_deinit(&out);
    buffer_deinit(&notes);
    buffer_deinit(&errors);
    return good ? 0 : 1;
}
