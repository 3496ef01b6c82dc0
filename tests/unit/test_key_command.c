/*
 * `embergate key`: its arguments, keys nobody has, digests, and files of keys that grow by one, also by many at a time.
 */
#include "base/random.h"
#include "config/config.h"
#include "command/key_command.h"
#include "command/key_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define WORDS_MAX 16
#define ZEROS "000000000000000000000000000000000000000000000000000000000000000"
#define ABC "sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"

static const struct config anything;
static char texts[WORDS_MAX][300];
static char *argv[WORDS_MAX + 1];
static char folder[] = "/tmp/test_key_command.XXXXXX", path[100];

static int words(const char *const *list)
{
    int argc = 1;

    snprintf(texts[0], sizeof(texts[0]), "key");
    for (; list[argc - 1]; argc++)
        snprintf(texts[argc], sizeof(texts[argc]), "%s", list[argc - 1]);
    for (int i = 0; i < argc; i++)
        argv[i] = texts[i];
    argv[argc] = NULL;
    return argc;
}

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/test_key_command.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/keys.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(path);
    return rmdir(folder); /* nothing else may be left in it */
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *get(void)
{
    static char text[4096];
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static uint32_t count(void)
{
    struct config_keys *keys = NULL;
    struct buffer errors;
    uint32_t number;

    buffer_init(&errors);
    if (config_read_keys(path, &anything, &errors, &keys))
        fail_msg("%.*s", BYTES_ARG(buffer_bytes(&errors)));
    number = keys->count;
    config_keys_unref(keys);
    buffer_deinit(&errors);
    return number;
}

/* --- arguments --- */

static void everything_is_taken(void **state)
{
    const char *const all[] = {"new", "--name", "a", "--team=t", "--expires", "2027-01-01", "--file", "f", NULL};
    const char *const digest[] = {"hash", NULL}, *const help[] = {"-h", NULL};
    struct key_arguments arguments;
    struct buffer errors = {0};

    assert_int_equal(key_arguments_read(words(all), argv, &arguments, &errors), 0);
    assert_int_equal(arguments.verb, KEY_NEW);
    assert_string_equal(arguments.name, "a");
    assert_string_equal(arguments.team, "t");
    assert_string_equal(arguments.expires, "2027-01-01");
    assert_string_equal(arguments.file, "f");
    assert_int_equal(key_arguments_read(words(digest), argv, &arguments, &errors), 0);
    assert_int_equal(arguments.verb, KEY_HASH);
    assert_int_equal(key_arguments_read(words(help), argv, &arguments, &errors), 0);
    assert_true(arguments.help);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[9], *errors;
    } cases[] = {
        {{NULL}, "say what to do: new or hash\n"},
        {{"make"}, "make is neither new nor hash\n"},
        {{"new"}, "say with --name whose key it is\n"},
        {{"new", "--name"}, "--name needs a value\n"},
        {{"new", "--nam3", "x"}, "unknown option, or one that takes no value: --nam3\n"},
        {{"new", "--name", ""}, "--name must be at most 256 letters, digits and ._-:/@+\n"},
        {{"new", "--name", "a b", "--team", "\"", "--expires", "soon"},
         "--name must be at most 256 letters, digits and ._-:/@+\n"
         "--team must be at most 256 letters, digits and ._-:/@+\n"
         "--expires must be a date such as 2027-01-01 or 2027-01-01T12:00:00Z\n"},
        {{"new", "--name", "a", "--file", ""}, "--file needs a path\n"},
        {{"hash", "--name", "a"}, "hash takes no options: it reads a key from stdin\n"},
        {{"hash", "eg-hidden"}, "there is a word too many behind new or hash\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_arguments arguments;
        struct buffer errors = {0};

        assert_int_equal(key_arguments_read(words(cases[i].words), argv, &arguments, &errors), KEY_COMMAND_E_BAD);
        assert_true(bytes_end_with(buffer_bytes(&errors), BYTES("embergate key --help tells more\n")));
        errors.size -= strlen("embergate key --help tells more\n");
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].errors);
        buffer_deinit(&errors);
    }
}

/* --- keys --- */

static void keys_are_new(void **state)
{
    static char keys[2000][KEY_TEXT_SIZE];
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned seen[64] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        key_make(keys[i]);
        assert_memory_equal(keys[i], "eg-", 3);
        for (size_t j = 3; j < KEY_TEXT_SIZE; j++) {
            assert_non_null(memchr(digits, keys[i][j], 64));
            seen[strchr(digits, keys[i][j]) - digits]++;
        }
        /* 256 bits in 43 digits: the last two are nothing. */
        assert_int_equal((strchr(digits, keys[i][KEY_TEXT_SIZE - 1]) - digits) % 4, 0);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(keys[i], keys[j], KEY_TEXT_SIZE);
    }
    for (size_t i = 0; i < 64; i++) /* 1344 of each, and some of the last digit */
        assert_in_range(seen[i], 1050, 1800);
}

static void digests_are_told(void **state)
{
    static const struct {
        const char *key, *out, *errors;
    } cases[] = {
        {"abc", ABC, ""},
        {"abc\n", ABC, ""},
        {"abc\r\n", ABC, ""},
        {"", "", "stdin must hold a key of 1 to 4096 characters\n"},
        {"\n", "", "stdin must hold a key of 1 to 4096 characters\n"},
        {"abc\n\n", "", "stdin must hold one key: visible ASCII characters without spaces, in one line\n"},
        {"a c", "", "stdin must hold one key: visible ASCII characters without spaces, in one line\n"},
        {"a\xc3\xbc", "", "stdin must hold one key: visible ASCII characters without spaces, in one line\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buffer out = {0}, errors = {0};

        assert_int_equal(key_write_digest(bytes_of(cases[i].key), &out, &errors), !cases[i].out[0]);
        assert_true(bytes_equal(buffer_bytes(&out), bytes_of(cases[i].out)));
        assert_true(bytes_equal(buffer_bytes(&errors), bytes_of(cases[i].errors)));
        buffer_deinit(&out);
        buffer_deinit(&errors);
    }
}

/* Whatever a name looks like to YAML, it is read as the same name. */
static void entries_are_read_as_they_were_meant(void **state)
{
    static const char *const names[] = {"alice", "a:b", "12", "1e5", "0x1f", "-", "@x", "a:", "true", "no", "null",
                                        "+1", ".inf", "2027-01-01", "a@b.org/c", "NULL", "y", "_", "/"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct key_arguments arguments = {.name = names[i], .team = "t:1", .expires = "2027-01-01T00:00:00Z"};
        struct config_keys *keys = NULL;
        struct buffer text = {0}, errors = {0};

        buffer_append_text(&text, "keys:\n");
        key_write_entry(BYTES("abc"), &arguments, 4, &text);
        if (config_read_keys_text("k", buffer_bytes(&text), &anything, &errors, &keys))
            fail_msg("%s: %.*s", names[i], BYTES_ARG(buffer_bytes(&errors)));
        assert_true(bytes_equal(keys->list[0].name, bytes_of(names[i])));
        assert_true(bytes_equal(keys->list[0].team, BYTES("t:1")));
        assert_int_equal(keys->list[0].digest[0], 0xba);
        assert_true(keys->list[0].expires_s == 1798761600);
        config_keys_unref(keys);
        buffer_deinit(&text);
    }
}

/* --- files --- */

struct wanted {
    struct key_arguments arguments;
    char key[KEY_TEXT_SIZE];
};

static void write_entry(void *data, unsigned indent, struct buffer *out)
{
    struct wanted *wanted = data;

    key_write_entry((struct bytes){wanted->key, sizeof(wanted->key)}, &wanted->arguments, indent, out);
}

static int add(const char *name, char *told, size_t room)
{
    struct wanted wanted = {.arguments = {.name = name}};
    struct buffer errors = {0};
    int r;

    key_make(wanted.key);
    r = key_file_add(path, bytes_of(name), write_entry, &wanted, &errors);
    snprintf(told, room, "%.*s", BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    return r;
}

static void files_grow(void **state)
{
    static const char *const befores[] = {
        "", "# mine\n", "keys:", "keys:\n# none yet\n", "---\nkeys:\n",
        "keys:\n  - {name: a, sha256: " ZEROS "1}", "keys:\n- name: a\n  sha256: " ZEROS "1\n",
        "keys:\n     - name: a\n       sha256: " ZEROS "1\n       metadata: {a: 1}\n\n# the end\n",
        "keys:\n   -\n     sha256: " ZEROS "1\n     name: a\n     metadata:\n       b: c\n",
    };
    char told[1000];

    for (size_t i = 0; i < ARRAY_SIZE(befores); i++) {
        uint32_t before;

        put(befores[i]);
        before = strstr(befores[i], "sha256") != NULL;
        if (add("new", told, sizeof(told)))
            fail_msg("%s: %s", befores[i], told);
        assert_int_equal(count(), before + 1);
        assert_memory_equal(get(), befores[i], strlen(befores[i]));
        assert_int_equal(add("newer", told, sizeof(told)), 0);
        assert_int_equal(count(), before + 2);
        assert_int_equal(add("new", told, sizeof(told)), KEY_FILE_E_BAD);
        assert_non_null(strstr(told, "keys.yaml: has a key of this name already\n"));
        assert_int_equal(count(), before + 2);
    }
}

static void what_cannot_grow_stays(void **state)
{
    static const struct {
        const char *before, *told;
    } cases[] = {
        {"keys: []\n", "has no place for one more key"},
        {"keys: [{name: a, sha256: " ZEROS "1}]\n", "has no place for one more key"},
        {"keys:\n- {name: a, sha256: x}\n", "keys.yaml:2: keys[0].sha256: must be 64 hex digits"},
        {"backends: []\n", "keys.yaml:1: backends: unknown key"},
        {"keys:\n...\n", "has no place for one more key"},
        {"\xff", "keys.yaml:1: not valid UTF-8"},
    };
    char told[1000];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        put(cases[i].before);
        assert_int_equal(add("new", told, sizeof(told)), KEY_FILE_E_BAD);
        if (!strstr(told, cases[i].told))
            fail_msg("%s: %s", cases[i].before, told);
        assert_string_equal(get(), cases[i].before);
    }
}

static void modes_and_links_stay(void **state)
{
    char told[1000], link[200];
    struct stat status;

    assert_int_equal(add("a", told, sizeof(told)), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(add("b", told, sizeof(told)), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    snprintf(link, sizeof(link), "%s/link", folder);
    assert_int_equal(symlink("keys.yaml", link), 0);
    snprintf(path, sizeof(path), "%s/link", folder);
    assert_int_equal(add("c", told, sizeof(told)), 0);
    assert_int_equal(count(), 3);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    unlink(path);
    snprintf(path, sizeof(path), "%s/no/keys.yaml", folder);
    assert_int_equal(add("d", told, sizeof(told)), KEY_FILE_E_BAD);
    assert_non_null(strstr(told, "No such file or directory"));
    snprintf(path, sizeof(path), "%s", folder);
    assert_int_equal(add("d", told, sizeof(told)), KEY_FILE_E_BAD);
    assert_non_null(strstr(told, "Is a directory"));
    snprintf(path, sizeof(path), "%s/keys.yaml", folder);
}

/* Eight processes add ten keys each; every reader meanwhile sees a good file. */
static void many_may_add_at_a_time(void **state)
{
    char told[1000], name[40];
    pid_t children[8];

    put("keys:\n  - {name: a, sha256: " ZEROS "1}\n");
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i])
            continue;
        for (int j = 0; j < 64; j++)
            random_u64(); /* a page that all children have from their parent */
        for (int j = 0; j < 10; j++) {
            snprintf(name, sizeof(name), "k%d-%d", i, j);
            if (add(name, told, sizeof(told)))
                _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < 100; i++)
        count();
    for (int i = 0; i < 8; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count(), 81);
}

/* --- the whole --- */

/* What the command says on stdout; its exit code. */
static int run(const char *const *list, char *told, size_t room)
{
    int ends[2], kept = dup(STDOUT_FILENO), r;
    ssize_t size;

    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    r = key_command(words(list), argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    size = read(ends[0], told, room - 1);
    told[size > 0 ? size : 0] = '\0';
    close(ends[0]);
    return r;
}

static void a_key_is_told_once(void **state)
{
    const char *const bare[] = {"new", "--name", "a", "--team", "t", NULL};
    const char *const filed[] = {"new", "--name", "a", "--file", path, NULL};
    char told[1000], again[1000], key[KEY_TEXT_SIZE + 1];
    struct buffer line = {0}, errors = {0};

    assert_int_equal(run(bare, told, sizeof(told)), 0);
    snprintf(key, sizeof(key), "%.*s", KEY_TEXT_SIZE, told);
    assert_int_equal(told[KEY_TEXT_SIZE], '\n');
    assert_null(strstr(told + KEY_TEXT_SIZE, key));
    assert_int_equal(key_write_digest(bytes_of(key), &line, &errors), 0);
    buffer_append_char(&line, '\0');
    snprintf(again, sizeof(again), "%s\n  - name: a\n    team: t\n    %s", key, line.data);
    assert_string_equal(told, again);

    assert_int_equal(run(filed, told, sizeof(told)), 0);
    assert_int_equal(strlen(told), KEY_TEXT_SIZE + 1);
    told[KEY_TEXT_SIZE] = '\0';
    assert_null(strstr(get(), told));
    buffer_clear(&line, 1000);
    assert_int_equal(key_write_digest(bytes_of(told), &line, &errors), 0);
    buffer_append_char(&line, '\0');
    assert_non_null(strstr(get(), line.data));
    assert_int_equal(run(filed, told, sizeof(told)), 1);
    assert_string_equal(told, "");
    assert_int_equal(count(), 1);
    buffer_deinit(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_taken),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(keys_are_new),
        cmocka_unit_test(digests_are_told),
        cmocka_unit_test(entries_are_read_as_they_were_meant),
        cmocka_unit_test_setup_teardown(files_grow, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_grow_stays, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(modes_and_links_stay, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(many_may_add_at_a_time, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_key_is_told_once, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
