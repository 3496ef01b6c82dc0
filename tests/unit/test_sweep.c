/*
 * Closed log files are compressed, also on a file system that knows no locks: flock() is the test's own here, and so is
 * ftruncate().
 */
#include "record/sink_sweep.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#define STAMP ".20260301-101112.123"
#define TEXT "{\"seq\":1}\n{\"seq\":2}\n"

static char folder[64], path[96];
static int refusal;         /* what flock() says, or 0 */
static unsigned asked, refused_at;

/* The REFUSED_AT-th asking is refused, or each of them (0). */
int flock(int descriptor, int operation)
{
    asked++;
    if (!refusal || (refused_at && asked != refused_at))
        return 0;
    errno = refusal;
    return -1;
}

static int truncated;       /* what ftruncate() says, or 0 */

int ftruncate(int descriptor, off_t size)
{
    errno = truncated;
    return truncated ? -1 : 0;
}

static const char *in_folder(const char *end)
{
    static char text[160];

    snprintf(text, sizeof(text), "%s%s", path, end);
    return text;
}

static int begin(void **state)
{
    FILE *file;

    snprintf(folder, sizeof(folder), "/tmp/test_sweep.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/requests.log", folder);
    file = fopen(in_folder(STAMP), "wb");
    fputs(TEXT, file);
    fclose(file);
    refusal = truncated = 0;
    asked = refused_at = 0;
    return 0;
}

static int end(void **state)
{
    unlink(in_folder(STAMP));
    unlink(in_folder(STAMP ".gz"));
    unlink(in_folder(STAMP ".gz.part"));
    return rmdir(folder);
}

static bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static int run(bool *ret_left)
{
    struct sweep sweep = {.path = path, .gzip = true};

    return sweep_run(&sweep, ret_left);
}

static void is_compressed(void)
{
    char text[100] = "";
    gzFile file = gzopen(in_folder(STAMP ".gz"), "rb");

    assert_non_null(file);
    assert_int_equal(gzread(file, text, sizeof(text) - 1), strlen(TEXT));
    gzclose(file);
    assert_string_equal(text, TEXT);
    assert_false(is_there(STAMP));
    assert_false(is_there(STAMP ".gz.part"));
}

static void with_locks(void **state)
{
    bool left;

    assert_int_equal(run(&left), 0);
    assert_false(left);
    is_compressed();
}

static void without_locks(void **state)
{
    static const int refusals[] = {ENOLCK, EOPNOTSUPP, ENOSYS, EINVAL};
    bool left;

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        refusal = refusals[i];
        assert_int_equal(run(&left), 0);
        assert_false(left);
        is_compressed();
        end(state);
        begin(state);
    }
}

/* Who is at it goes on with it. */
static void another_is_at_it(void **state)
{
    bool left;

    refusal = EWOULDBLOCK;
    for (refused_at = 1; refused_at <= 2; refused_at++) {
        asked = 0;
        assert_int_equal(run(&left), 0);
        assert_true(left);
        assert_true(is_there(STAMP));
        assert_false(is_there(STAMP ".gz"));
        assert_int_equal(is_there(STAMP ".gz.part"), refused_at == 2); /* theirs */
    }
    refusal = 0;
    assert_int_equal(run(&left), 0);
    is_compressed();
}

static void a_part_that_cannot_be_begun(void **state)
{
    bool left;

    truncated = EIO;
    assert_int_equal(run(&left), -EIO);
    assert_true(is_there(STAMP));
    assert_false(is_there(STAMP ".gz.part"));
    truncated = 0;
    assert_int_equal(run(&left), 0);
    is_compressed();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(with_locks, begin, end),
        cmocka_unit_test_setup_teardown(without_locks, begin, end),
        cmocka_unit_test_setup_teardown(another_is_at_it, begin, end),
        cmocka_unit_test_setup_teardown(a_part_that_cannot_be_begun, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
