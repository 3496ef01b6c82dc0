/*
 * Command lines, good and bad.
 */
#include "config/arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define WORDS_MAX 16

static int parse(const char *const *words, struct arguments *arguments, struct buffer *errors)
{
    static char texts[WORDS_MAX][64];
    char *argv[WORDS_MAX + 2] = {texts[0]};
    int argc = 1;

    snprintf(texts[0], sizeof(texts[0]), "embergate");
    for (; words[argc - 1]; argc++) {
        snprintf(texts[argc], sizeof(texts[argc]), "%s", words[argc - 1]);
        argv[argc] = texts[argc];
    }
    buffer_init(errors);
    return arguments_init(arguments, argc, argv, errors);
}

static void everything_is_taken(void **state)
{
    const char *const words[] = {"-c",        "a.yaml",   "--listen",  "[::1]:1", "--admin=off",
                                 "--backend", "http://a", "--workers", "12",      "--backend",
                                 "unix:/b",   "--check",  NULL};
    struct arguments arguments;
    struct buffer errors;

    assert_int_equal(parse(words, &arguments, &errors), 0);
    assert_string_equal(arguments.file, "a.yaml");
    assert_string_equal(arguments.overrides.listen, "[::1]:1");
    assert_string_equal(arguments.overrides.admin, "off");
    assert_int_equal(arguments.overrides.workers, 12);
    assert_int_equal(arguments.overrides.backend_count, 2);
    assert_string_equal(arguments.overrides.backends[0], "http://a");
    assert_string_equal(arguments.overrides.backends[1], "unix:/b");
    assert_true(arguments.check);
    assert_false(arguments.version);
    assert_false(arguments.help);
    arguments_deinit(&arguments);
    buffer_deinit(&errors);
}

static void nothing_is_fine(void **state)
{
    const char *const words[] = {NULL}, *const help[] = {"--help", NULL},
                      *const version[] = {"--version", NULL};
    struct arguments arguments;
    struct buffer errors;

    assert_int_equal(parse(words, &arguments, &errors), 0);
    assert_null(arguments.file);
    assert_int_equal(arguments.overrides.backend_count, 0);
    arguments_deinit(&arguments);
    assert_int_equal(parse(help, &arguments, &errors), 0);
    assert_true(arguments.help);
    assert_int_equal(parse(version, &arguments, &errors), 0);
    assert_true(arguments.version);
    assert_non_null(strstr(arguments_help, "--backend URL"));
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[4], *errors;
    } cases[] = {
        {{"--lsten", "a"},
         "unknown or ambiguous option --lsten\nunexpected argument a (a file is given with -c FILE)\n"},
        {{"-x"}, "unknown option -x\n"},
        {{"-c"}, "-c needs a value\n"},
        {{"--backend"}, "--backend needs a value\n"},
        {{"--check=yes"}, "--check=yes takes no value\n"},
        {{"--workers", "0"}, "--workers must be a number from 1 to 1024\n"},
        {{"--workers", "many"}, "--workers must be a number from 1 to 1024\n"},
        {{"--workers", "1025"}, "--workers must be a number from 1 to 1024\n"},
        {{"a.yaml"}, "unexpected argument a.yaml (a file is given with -c FILE)\n"},
        {{"-c", "a", "cache"}, "unexpected argument cache (it must come first: embergate cache stats -c FILE)\n"},
        {{"-c", "a", "key"}, "unexpected argument key (it must come first: embergate key new --name NAME)\n"},
        {{"-xyc", "a"}, "unknown option -x\nunknown option -y\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arguments arguments;
        struct buffer errors;

        assert_int_equal(parse(cases[i].words, &arguments, &errors), ARGUMENTS_E_BAD);
        assert_true(bytes_end_with(buffer_bytes(&errors), BYTES("embergate --help tells more\n")));
        errors.size -= strlen("embergate --help tells more\n");
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].errors);
        arguments_deinit(&arguments);
        buffer_deinit(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_taken),
        cmocka_unit_test(nothing_is_fine),
        cmocka_unit_test(mistakes_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
