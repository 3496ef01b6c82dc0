/*
 * `embergate cache`: its arguments, what is asked, the table made of the answer, and the whole of it against a server
 * that says one thing.
 */
#include "command/cache_command.h"
#include "command/cache_table.h"
#include "one_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define WORDS_MAX 16
#define KEY "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"

static char texts[WORDS_MAX][128];
static char *argv[WORDS_MAX + 1];

static int words(const char *const *list)
{
    int argc = 1;

    snprintf(texts[0], sizeof(texts[0]), "cache");
    for (; list[argc - 1]; argc++)
        snprintf(texts[argc], sizeof(texts[argc]), "%s", list[argc - 1]);
    for (int i = 0; i < argc; i++)
        argv[i] = texts[i];
    argv[argc] = NULL;
    return argc;
}

static void arguments_become_a_target(void **state)
{
    static const struct {
        const char *words[6], *target;
    } cases[] = {
        {{"stats"}, "/cache"},
        {{"--json", "stats"}, "/cache"},
        {{"purge"}, "/cache/purge"},
        {{"purge", "--model", "org/m 1"}, "/cache/purge?model=org%2Fm%201"},
        {{"purge", "--model=a&key=b%#?+~._-\xc3\xbc\x01"}, "/cache/purge?model=a%26key%3Db%25%23%3F%2B~._-%C3%BC%01"},
        {{"purge", "--key", KEY, "--admin", "h"}, "/cache/purge?key=" KEY},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cache_arguments arguments;
        struct buffer errors = {0}, target = {0};

        assert_int_equal(cache_arguments_read(words(cases[i].words), argv, &arguments, &errors), 0);
        assert_int_equal(errors.size, 0);
        cache_arguments_target(&arguments, &target);
        buffer_append_char(&target, '\0');
        assert_string_equal(target.data, cases[i].target);
        buffer_deinit(&target);
    }
}

static void everything_is_taken(void **state)
{
    const char *const stats[] = {"stats", "--json", "-c", "a.yaml", NULL}, *const help[] = {"-h", NULL};
    struct cache_arguments arguments;
    struct buffer errors = {0};

    assert_int_equal(cache_arguments_read(words(stats), argv, &arguments, &errors), 0);
    assert_int_equal(arguments.verb, CACHE_STATS);
    assert_true(arguments.json);
    assert_string_equal(arguments.file, "a.yaml");
    assert_null(arguments.admin);
    assert_int_equal(cache_arguments_read(words(help), argv, &arguments, &errors), 0);
    assert_true(arguments.help);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[8], *errors;
    } cases[] = {
        {{NULL}, "say what to do: stats or purge\n"},
        {{"forget"}, "forget is neither stats nor purge\n"},
        {{"stats", "purge"}, "unexpected argument purge\n"},
        {{"stats", "--jsn"}, "unknown option, or one that takes no value: --jsn\n"},
        {{"stats", "--json=1"}, "unknown option, or one that takes no value: --json=1\n"},
        {{"stats", "-x"}, "unknown option, or one that takes no value: -x\n"},
        {{"purge", "--model"}, "--model needs a value\n"},
        {{"purge", "--model", ""}, "--model needs a name\n"},
        {{"purge", "--key", "12"}, "--key must be 64 hex digits, as in x-embergate-cache-key\n"},
        {{"purge", "--json", "--model", "m", "--key", KEY},
         "--model and --key both say what to forget: give one of them\n--json is only for stats\n"},
        {{"stats", "--model", "m", "-c", "f", "--admin", "h"},
         "-c and --admin both say whom to ask: give one of them\n--model and --key are only for purge\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cache_arguments arguments;
        struct buffer errors = {0};

        assert_int_equal(cache_arguments_read(words(cases[i].words), argv, &arguments, &errors), CACHE_COMMAND_E_BAD);
        assert_true(bytes_end_with(buffer_bytes(&errors), BYTES("embergate cache --help tells more\n")));
        errors.size -= strlen("embergate cache --help tells more\n");
        buffer_append_char(&errors, '\0');
        assert_string_equal(errors.data, cases[i].errors);
        buffer_deinit(&errors);
    }
}

/* --- the table --- */

#define COUNTS(hits, joins, misses)                                                                          \
    "\"hits\":" hits ",\"joins\":" joins ",\"misses\":" misses ",\"recalled\":100,\"bypasses\":7"

static const char answer[] =
    "{\"entries\":1234,\"bytes\":2621440,\"growing\":2,\"growing_bytes\":512,\"memory\":134217728,"
    "\"counts\":{" COUNTS("1234567", "100", "333") ",\"stored\":1,\"too_large\":2,\"evicted\":3,\"expired\":4,\"voided\":5,"
    "\"purged\":6,\"fingerprints\":8,\"audit_same\":9,\"audit_different\":10,\"audit_failed\":11,\"audit_skipped\":12},"
    "\"redis\":{\"configured\":true,\"up\":4,\"found\":1000,\"bad\":0,\"word\":\"x\"},"
    "\"models\":[{\"name\":\"org/small\",\"entries\":1,\"bytes\":1073741824," COUNTS("50", "0", "150") "},"
    "{\"name\":\"a\\u001b[31m\\u009bz\xc3\xbc\",\"entries\":0,\"bytes\":0}],\"later\":[1]}\n";

static void answers_become_a_table(void **state)
{
    struct buffer out = {0};

    assert_true(cache_table_write(bytes_of(answer), &out));
    buffer_append_char(&out, '\0');
    assert_string_equal(
        out.data,
        "kept        1,234 answers, 2.5 MB of 128.0 MB\n"
        "growing     2 answers, 0.5 KB\n"
        "hit ratio   100.0 % of 1,235,000 questions were answered without asking a backend\n"
        "questions   1,234,567 hits, 100 joins, 333 misses, 100 of these found in Redis, 7 bypassed\n"
        "answers     1 stored, 2 too large, 3 evicted, 4 expired, 5 voided, 6 purged\n"
        "audits      9 same, 10 different, 11 failed, 12 skipped\n"
        "backends    8 changes of fingerprint\n"
        "Redis       up on 4 workers, found 1,000, bad 0\n"
        "\n"
        "  hit ratio         hits        joins     recalled       misses     bypasses      entries         size  model\n"
        "     75.0 %           50            0          100          150            7            1       1.0 GB  org/small\n"
        "          -            0            0            0            0            0            0       0.0 KB  "
        "a\\x1b[31m\\x9bz\xc3\xbc\n");
    buffer_deinit(&out);
}

static void an_empty_memory_has_no_table(void **state)
{
    struct buffer out = {0};

    assert_true(cache_table_write(BYTES("{\"counts\":{},\"models\":[],\"redis\":{\"configured\":true,\"up\":0}}"), &out));
    assert_true(bytes_find(buffer_bytes(&out), BYTES("hit ratio   - of 0 questions")) < out.size);
    assert_true(bytes_end_with(buffer_bytes(&out), BYTES("Redis       DOWN\n")));
    buffer_clear(&out, 0);
    assert_true(cache_table_write(BYTES("{\"counts\":{\"hits\":-1,\"joins\":1.5},\"models\":[{}, 1]}"), &out));
    assert_true(bytes_find(buffer_bytes(&out), BYTES("Redis       not configured\n")) < out.size);
    buffer_deinit(&out);
}

static void other_answers_are_none(void **state)
{
    static const char *const others[] = {"", "x", "[]", "{}", "{\"counts\":{}}", "{\"counts\":1,\"models\":[]}",
                                         "{\"counts\":{},\"models\":{}}", "{\"counts\":{},\"models\":[]"};
    struct buffer out = {0};

    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(cache_table_write(bytes_of(others[i]), &out));
    assert_int_equal(out.size, 0);
    for (size_t size = 0; size + 1 < strlen(answer); size++) {
        char *copy = malloc(size ? size : 1);

        assert_false(cache_table_write((struct bytes){memcpy(copy, answer, size), size}, &out));
        free(copy);
    }
    buffer_deinit(&out);
}

/* --- the whole --- */

/* What the command prints for LIST, with ADMIN (or NULL) as its last option, on both outputs together. */
static int run(const char *const *list, const char *admin, char *out, size_t size)
{
    int argc = words(list), saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)}, code;
    FILE *file = tmpfile();
    size_t got;

    assert_non_null(file);
    if (admin) {
        snprintf(texts[argc], sizeof(texts[argc]), "--admin=%s", admin);
        argv[argc] = texts[argc];
        argv[++argc] = NULL;
    }
    fflush(NULL);
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    code = cache_command(argc, argv);
    fflush(NULL);
    dup2(saved[0], STDOUT_FILENO);
    dup2(saved[1], STDERR_FILENO);
    close(saved[0]);
    close(saved[1]);
    rewind(file);
    got = fread(out, 1, size - 1, file);
    out[got] = '\0';
    fclose(file);
    return code;
}

static void the_listener_has_its_say(void **state)
{
    static const struct {
        const char *words[4], *body;
        int status, code;
        const char *asked, *told;
    } cases[] = {
        {{"stats"}, "{\"counts\":{},\"models\":[]}", 200, 0, "GET /cache HTTP", "kept        0 answers"},
        {{"stats", "--json"}, "{\"counts\":{},\"models\":[]}", 200, 0, "GET /cache HTTP", "{\"counts\":{},\"models\":[]}"},
        {{"purge"}, "{\"purged\":1}", 200, 0, "POST /cache/purge HTTP", "purged 1 answer\n"},
        {{"purge", "--model=a b"}, "{\"purged\":0}", 200, 0, "POST /cache/purge?model=a%20b HTTP", "purged 0 answers\n"},
        {{"purge", "--model=x"}, "{\"error\":{\"message\":\"No model of this name is known here.\"}}", 404, 1,
         "POST /cache/purge?model=x HTTP", "No model of this name is known here.\n"},
        {{"purge"}, "{}", 200, 1, "POST", "is not the admin listener of this Embergate (it answered with status 200)"},
        {{"stats"}, "<html>", 200, 1, "GET", "is --admin right?"},
        {{"stats"}, "<html>", 502, 1, "GET", "status 502): is --admin right?"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char says[400], admin[32], told[2000];
        struct one_answer server;

        snprintf(says, sizeof(says), "HTTP/1.1 %d x\r\ncontent-length: %zu\r\n\r\n%s", cases[i].status,
                 strlen(cases[i].body), cases[i].body);
        one_answer_start(&server, bytes_of(says), NULL);
        snprintf(admin, sizeof(admin), "127.0.0.1:%u", server.port);
        assert_int_equal(run(cases[i].words, admin, told, sizeof(told)), cases[i].code);
        one_answer_end(&server);
        if (!strstr(server.asked, cases[i].asked) || !strstr(told, cases[i].told))
            fail_msg("%zu: asked %s, told %s", i, server.asked, told);
    }
}

static void silence_says_what_to_do(void **state)
{
    static const char *const stats[] = {"stats", NULL};
    static const struct {
        const char *admin, *told;
    } cases[] = {
        {"unix:/nonexistent/admin.sock", "cannot reach the admin listener at unix:/nonexistent/admin.sock: is Embergate "
                                         "running, and is --admin right? ("},
        {"127.0.0.1:1", "cannot reach the admin listener at 127.0.0.1:1: is Embergate running"},
        {"unix:here", "--admin: a unix socket is written unix:/path, from the root\n"},
        {"a b", "--admin: the host is neither a name nor an IP address\n"},
        {"h:0", "--admin: the port must be a number from 1 to 65535\n"},
    };
    char told[2000];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(run(stats, cases[i].admin, told, sizeof(told)), 1);
        if (strncmp(told, cases[i].told, strlen(cases[i].told)))
            fail_msg("%s: %s", cases[i].admin, told);
    }
}

static void the_file_tells_where_to_ask(void **state)
{
    static const struct {
        const char *admin, *told;
    } cases[] = {
        {"off", "/gate.yaml: admin: off. Give it an address"},
        {"127.0.0.1:0", "/gate.yaml: admin: port 0 is any port: say with --admin which one it is\n"},
        {"0.0.0.0:1", "cannot reach the admin listener at 127.0.0.1:1: "},
        {"'[::]:1'", "cannot reach the admin listener at [::1]:1: "},
        {"unix:/nonexistent/a", "cannot reach the admin listener at unix:/nonexistent/a: "},
        {"nonsense", "/gate.yaml:1: admin: must be host:port"},
    };
    char folder[] = "/tmp/embergate-cache-XXXXXX", path[100], told[2000];
    const char *list[] = {"stats", "-c", path, NULL};

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/gate.yaml", folder);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        fprintf(file, "admin: %s\nbackends: [{name: a, kind: echo}]\n", cases[i].admin);
        fclose(file);
        assert_int_equal(run(list, NULL, told, sizeof(told)), 1);
        if (!strstr(told, cases[i].told))
            fail_msg("%s: %s", cases[i].admin, told);
    }
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_become_a_target),
        cmocka_unit_test(everything_is_taken),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(answers_become_a_table),
        cmocka_unit_test(an_empty_memory_has_no_table),
        cmocka_unit_test(other_answers_are_none),
        cmocka_unit_test(the_listener_has_its_say),
        cmocka_unit_test(silence_says_what_to_do),
        cmocka_unit_test(the_file_tells_where_to_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
