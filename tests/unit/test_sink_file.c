/*
 * Files of whole lines: rotated, kept, compressed, moved away by others, on a disk that fills up. A limit on the size
 * of files stands for the disk: it cuts a write short as well, and can be lifted.
 */
#include "journal_stage.h"
#include "record/log_file.h"
#include "record/sink_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

static char folder[64], path[96];

struct stage {
    struct config_sink config;
    struct journal *journal;
    struct journal_source *source;
};

static int begin_at(struct stage *stage, const char *where, uint64_t bound)
{
    struct journal_sink_setup setup = {&sink_file, &stage->config, JOURNAL_LINES};
    struct buffer errors = {0};
    int r;

    stage->config.path = bytes_of(where);
    r = journal_new_with(&setup, 1, bound, &errors, &stage->journal);
    assert_int_equal(r < 0, errors.size > 0);
    buffer_deinit(&errors);
    if (r < 0)
        return r;
    stage->source = journal_source_new(stage->journal);
    return journal_start(stage->journal);
}

static struct journal_sink_counts counts_of(const struct stage *stage)
{
    struct journal_sink_counts counts = journal_sink_counts(stage->journal, 0);

    assert_true(stage_adds_up(&counts));
    return counts;
}

static void settled(struct stage *stage)
{
    stage_wait(counts_of(stage).waiting == 0);
}

static void finish(struct stage *stage)
{
    stage->source = journal_source_free(stage->source);
    journal_finish(stage->journal, 3000);
}

static void end(struct stage *stage)
{
    finish(stage);
    stage->journal = journal_free(stage->journal);
}

/* --- the folder --- */

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/test_sink_file.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/requests.log", folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    static char text[4][400];
    static unsigned at;

    at = (at + 1) % 4;
    snprintf(text[at], sizeof(text[at]), "%s/%s", folder, name);
    return text[at];
}

static int no_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int remove_folder(void **state)
{
    struct dirent **names;
    int count = scandir(folder, &names, no_dots, alphasort);

    for (int i = 0; i < count; i++) {
        unlink(in_folder(names[i]->d_name));
        free(names[i]);
    }
    free(names);
    return rmdir(folder);
}

static bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "wb");

    fputs(text, file);
    fclose(file);
}

/* The closed ones that end in END; reads those, and the one being written last, in their order. */
static unsigned read_folder(struct reading *reading, const char *end)
{
    struct dirent **names;
    int count = scandir(folder, &names, no_dots, alphasort);
    unsigned found = 0;

    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;

        if (strcmp(name, "requests.log") != 0 && bytes_end_with(bytes_of(name), bytes_of(end))) {
            gzFile file = gzopen(in_folder(name), "rb"); /* reads plain ones, too */
            struct buffer text = {0};
            int size;

            while ((size = gzread(file, buffer_reserve(&text, 65536), 65536)) > 0)
                text.size += (size_t)size;
            gzclose(file);
            read_text(reading, buffer_bytes(&text));
            buffer_deinit(&text);
            found++;
        }
        free(names[i]);
    }
    free(names);
    read_file(reading, path);
    return found;
}

/* --- tests --- */

static void lines_come_at_once(void **state)
{
    struct stage stage = {0};
    struct reading reading = {0};
    struct stat facts;

    assert_int_equal(begin_at(&stage, path, 1 << 20), 0);
    stage_put_many(stage.source, 0, 3, 100);
    settled(&stage);
    read_file(&reading, path);
    assert_int_equal(reading.seq, 3);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777 & ~0640, 0);
    assert_int_equal(facts.st_size, counts_of(&stage).bytes);
    end(&stage);
}

static void a_path_that_cannot_be_opened(void **state)
{
    struct stage stage = {0};

    assert_int_equal(begin_at(&stage, "/nowhere/at/all", 1 << 20), -ENOENT);
}

static void rotated_by_size(void **state)
{
    struct stage stage = {.config = {.rotate_bytes = 20000}};
    struct reading reading = {0};

    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    stage_put_many(stage.source, 0, 3000, 100);
    stage_put_many(stage.source, 3000, 3003, 30000); /* larger than a file may be: alone in it */
    stage_put_many(stage.source, 3003, 4000, 100);
    finish(&stage);
    assert_int_equal(read_folder(&reading, ""), counts_of(&stage).rotations);
    assert_true(counts_of(&stage).rotations > 20);
    assert_int_equal(reading.records, 4000);
    assert_int_equal(reading.notes, 0);
    end(&stage);
}

/* Names in the folder that end in END; the first of them in *FIRST. */
static unsigned count_names(const char *end, char first[256])
{
    struct dirent **names;
    int count = scandir(folder, &names, no_dots, alphasort);
    unsigned found = 0;

    for (int i = 0; i < count; i++) {
        if (bytes_end_with(bytes_of(names[i]->d_name), bytes_of(end)) && found++ == 0)
            snprintf(first, 256, "%s", names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return found;
}

static uint64_t first_number(const char *name)
{
    gzFile file = gzopen(in_folder(name), "rb");
    char line[400] = "";
    uint64_t seq = 0;

    assert_non_null(gzgets(file, line, sizeof(line)));
    gzclose(file);
    assert_int_equal(sscanf(line, "{\"seq\":%" SCNu64, &seq), 1);
    return seq;
}

static void old_ones_go_new_ones_are_compressed(void **state)
{
    struct stage stage = {.config = {.rotate_bytes = 20000, .keep = 5, .gzip = true}};
    struct reading reading = {0};
    char name[256];

    put_file("requests.log.20010101-000000.000", "older than all\n");
    put_file("requests.log.20010101-000000.000.gz.part", "half\n");
    put_file("requests.log.20010101-000000.0000", "not ours\n");
    put_file("requests.log.old", "not ours\n");
    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    stage_put_many(stage.source, 0, 3000, 100);
    settled(&stage);
    stage_wait(count_names("", name) == 5 + 3 && count_names(".gz", name) == 5);
    end(&stage);
    assert_int_equal(unlink(in_folder("requests.log.20010101-000000.0000")), 0);
    assert_int_equal(unlink(in_folder("requests.log.old")), 0);
    assert_int_equal(count_names(".gz", name), 5);
    reading.seq = first_number(name) - 1;
    assert_true(reading.seq > 0);
    assert_int_equal(read_folder(&reading, ".gz"), 5);
    assert_int_equal(reading.seq, 3000);
}

static void rotated_by_age(void **state)
{
    struct stage stage = {.config = {.rotate_s = 1}};
    struct reading reading = {0};

    assert_int_equal(begin_at(&stage, path, 1 << 20), 0);
    stage_put_many(stage.source, 0, 10, 100);
    stage_wait(counts_of(&stage).rotations == 1);
    usleep(1500000);
    assert_int_equal(counts_of(&stage).rotations, 1); /* an empty one does not age */
    stage_put_many(stage.source, 10, 20, 100);
    finish(&stage);
    assert_int_equal(read_folder(&reading, ""), 1);
    assert_int_equal(reading.records, 20);
    end(&stage);
}

static void moved_away_and_opened_again(void **state)
{
    struct stage stage = {0};
    struct reading reading = {0};
    char name[32];

    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    for (unsigned i = 0; i < 50; i++) {
        stage_put_many(stage.source, i * 100, i * 100 + 100, 100);
        snprintf(name, sizeof(name), "old.%03u", i);
        rename(path, in_folder(name));
        journal_reopen(stage.journal);
        stage_wait(access(path, F_OK) == 0);
    }
    stage_put_many(stage.source, 5000, 5100, 100);
    finish(&stage);
    assert_int_equal(read_folder(&reading, ""), 50);
    assert_int_equal(reading.records, 5100);
    end(&stage);
}

static void removed_and_begun_anew(void **state)
{
    struct stage stage = {0};

    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    unlink(path);
    stage_wait(access(path, F_OK) == 0);
    end(&stage);
}

static void a_folder_that_is_gone(void **state)
{
    struct stage stage = {0};
    struct reading reading = {0};
    char moved[100];

    snprintf(moved, sizeof(moved), "%s.moved", folder);
    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    stage_put_many(stage.source, 0, 100, 100);
    rename(folder, moved);
    journal_reopen(stage.journal);
    stage_put_many(stage.source, 100, 200, 100);
    settled(&stage);
    rename(moved, folder);
    stage_put_many(stage.source, 200, 300, 100);
    finish(&stage);
    read_file(&reading, path);
    assert_int_equal(reading.records, 300);
    end(&stage);
}

static void set_limit(rlim_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size == RLIM_INFINITY ? limit.rlim_max : size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_disk_that_fills_up(void **state)
{
    struct stage stage = {0};
    struct reading reading = {0}, then = {0};

    assert_int_equal(begin_at(&stage, path, 100000), 0);
    set_limit(65536);
    for (unsigned i = 0; i < 5000; i += 50) {
        stage_put_many(stage.source, i, i + 50, 100);
        counts_of(&stage);
    }
    stage_wait(counts_of(&stage).dropped > 3000 && counts_of(&stage).errors > 2);
    assert_false(counts_of(&stage).good);
    assert_true(counts_of(&stage).waiting > 0);
    read_file(&reading, path); /* whole lines only, now as well */
    assert_true(reading.records > 400 && reading.records < 600);
    set_limit(RLIM_INFINITY);
    settled(&stage);
    assert_true(counts_of(&stage).good);
    stage_put_many(stage.source, 5000, 5100, 100);
    finish(&stage);
    read_file(&then, path);
    assert_int_equal(then.seq, 5100);
    assert_int_equal(then.dropped, counts_of(&stage).dropped);
    assert_int_equal(then.records, counts_of(&stage).written);
    end(&stage);
}

static void a_device_that_is_always_full(void **state)
{
    struct stage stage = {0};

    assert_int_equal(begin_at(&stage, "/dev/full", 10000), 0);
    stage_put_many(stage.source, 0, 1000, 100);
    stage_wait(counts_of(&stage).dropped > 800 && counts_of(&stage).errors);
    stage.source = journal_source_free(stage.source);
    journal_finish(stage.journal, 100);
    assert_int_equal(counts_of(&stage).dropped, 1000);
    assert_int_equal(counts_of(&stage).written, 0);
    end(&stage);
}

/* Somebody else appends between our half line and its end: it cannot be taken back, and is finished. */
static void half_a_line_that_stays(void **state)
{
    struct log_file file = {.descriptor = -1};
    size_t partial = 0, taken;
    int ends[2];
    char name[32], got[8192];
    struct buffer text = {0};

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[1]);
    assert_int_equal(log_file_open(&file, name), 0);
    buffer_printf(&text, "%05000u\n%05000u\n", 1, 2);
    assert_int_equal(log_file_write(&file, buffer_bytes(&text), &partial, &taken), -EAGAIN);
    assert_int_equal(taken, 0);
    assert_int_equal(partial, 4096);
    assert_int_equal(log_file_write(&file, buffer_bytes(&text), &partial, &taken), -EAGAIN);
    assert_int_equal(partial, 4096);
    assert_int_equal(read(ends[0], got, sizeof(got)), 4096);
    assert_int_equal(log_file_write(&file, buffer_bytes(&text), &partial, &taken), -EAGAIN);
    assert_int_equal(taken, 5001);
    assert_int_equal(partial, 8192 - 5001);
    assert_int_equal(read(ends[0], got, sizeof(got)), 4096);
    assert_int_equal(log_file_write(&file, bytes_skip(buffer_bytes(&text), taken), &partial, &taken), 0);
    assert_int_equal(taken, 5001);
    assert_int_equal(partial, 0);
    assert_int_equal(read(ends[0], got, sizeof(got)), 10002 - 8192);
    buffer_deinit(&text);
    log_file_close(&file);
    close(ends[0]);
    close(ends[1]);
}

static void a_killed_one_is_mended(void **state)
{
    struct stage stage = {0};
    struct buffer text;

    put_file("requests.log", "{\"seq\":7,\"ti");
    assert_int_equal(begin_at(&stage, path, 1 << 20), 0);
    stage_put_many(stage.source, 0, 1, 1);
    finish(&stage);
    text = read_whole_file(path);
    assert_true(bytes_start_with(buffer_bytes(&text), BYTES("{\"seq\":7,\"ti\n{\"seq\":1,")));
    buffer_deinit(&text);
    end(&stage);
}

static void a_stopped_sweep_leaves_the_plain_one(void **state)
{
    struct sweep sweep = {.path = path, .gzip = true};

    put_file("requests.log.20200101-000000.000", "a line\n");
    sweep.stop = true;
    assert_int_equal(sweep_run(&sweep), -ECANCELED);
    assert_true(is_there("requests.log.20200101-000000.000"));
    assert_false(is_there("requests.log.20200101-000000.000.gz"));
    assert_false(is_there("requests.log.20200101-000000.000.gz.part"));
    sweep.stop = false;
    assert_int_equal(sweep_run(&sweep), 0);
    assert_false(is_there("requests.log.20200101-000000.000"));
    assert_true(is_there("requests.log.20200101-000000.000.gz"));
    sweep.path = "/nowhere/at/all";
    assert_int_equal(sweep_run(&sweep), -ENOENT);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(lines_come_at_once),
        IN_FOLDER(a_path_that_cannot_be_opened),
        IN_FOLDER(rotated_by_size),
        IN_FOLDER(old_ones_go_new_ones_are_compressed),
        IN_FOLDER(rotated_by_age),
        IN_FOLDER(moved_away_and_opened_again),
        IN_FOLDER(removed_and_begun_anew),
        IN_FOLDER(a_folder_that_is_gone),
        IN_FOLDER(a_disk_that_fills_up),
        IN_FOLDER(a_device_that_is_always_full),
        IN_FOLDER(half_a_line_that_stays),
        IN_FOLDER(a_killed_one_is_mended),
        IN_FOLDER(a_stopped_sweep_leaves_the_plain_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
