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

/* By logrotate's copytruncate, say: what is in it counts, not what was written. */
static void emptied_by_somebody_else(void **state)
{
    struct stage stage = {.config = {.rotate_bytes = 20000}};
    struct reading reading = {0};

    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    for (unsigned i = 0; i < 5; i++) {
        stage_put_many(stage.source, i * 80, i * 80 + 80, 100);
        settled(&stage);
        read_file(&reading, path);
        assert_int_equal(truncate(path, 0), 0);
    }
    assert_int_equal(counts_of(&stage).rotations, 0);
    stage_put_many(stage.source, 400, 600, 100);
    finish(&stage);
    assert_int_equal(read_folder(&reading, ""), counts_of(&stage).rotations);
    assert_true(counts_of(&stage).rotations > 0);
    assert_int_equal(reading.records, 600);
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
    FILE *said = stage_listen();
    char moved[100];

    snprintf(moved, sizeof(moved), "%s.moved", folder);
    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    stage_put_many(stage.source, 0, 100, 100);
    settled(&stage);
    rename(folder, moved);
    journal_reopen(stage.journal);
    stage_wait(stage_said(said, "embergate: log: file: ", path, ": cannot be opened again, lines wait: No such file"));
    stage_put_many(stage.source, 100, 200, 100);
    stage_wait(counts_of(&stage).errors > 1);
    assert_int_equal(counts_of(&stage).waiting, 100);
    assert_false(counts_of(&stage).good);
    rename(moved, folder);
    stage_put_many(stage.source, 200, 300, 100);
    settled(&stage);
    finish(&stage);
    read_file(&reading, path);
    assert_int_equal(reading.records, 300);
    end(&stage);
    stage_listen_no_more(said);
}

/* Nothing is written into a file that nobody will find; and what there is no room for is counted. */
static void removed_with_its_folder(void **state)
{
    struct stage stage = {0};
    struct reading reading = {.seq = 10};
    FILE *said = stage_listen();

    assert_int_equal(begin_at(&stage, path, 50000), 0);
    stage_put_many(stage.source, 0, 10, 100);
    settled(&stage);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    stage_put_many(stage.source, 10, 100, 100);
    stage_wait(counts_of(&stage).errors > 0);
    assert_int_equal(counts_of(&stage).written, 10);
    assert_int_equal(counts_of(&stage).waiting, 90);
    for (unsigned i = 100; i < 2000; i += 100)
        stage_put_many(stage.source, i, i + 100, 100);
    stage_wait(counts_of(&stage).dropped > 1000);
    assert_true(stage_said(said, "embergate: log: file: ", path, ": cannot be opened again, lines wait: No such file"));
    assert_true(stage_said(said, "embergate: log: file: ", path, ": lines are dropped: No such file"));
    assert_int_equal(mkdir(folder, 0700), 0);
    settled(&stage);
    assert_true(counts_of(&stage).good);
    finish(&stage);
    read_file(&reading, path);
    assert_int_equal(reading.seq, 2000);
    assert_int_equal(reading.records + 10, counts_of(&stage).written);
    assert_int_equal(reading.dropped, counts_of(&stage).dropped);
    end(&stage);
    stage_listen_no_more(said);
}

static void a_folder_in_its_place(void **state)
{
    struct stage stage = {0};
    struct reading reading = {0};
    FILE *said = stage_listen();

    assert_int_equal(begin_at(&stage, path, 1 << 20), 0);
    stage_put_many(stage.source, 0, 10, 100);
    settled(&stage);
    rename(path, in_folder("requests.log.0"));
    assert_int_equal(mkdir(path, 0700), 0);
    journal_reopen(stage.journal);
    stage_wait(stage_said(said, "embergate: log: file: ", path, ": cannot be opened again, lines wait: Is a directory"));
    stage_put_many(stage.source, 10, 20, 100);
    usleep(300000);
    assert_int_equal(counts_of(&stage).waiting, 10);
    assert_int_equal(rmdir(path), 0);
    settled(&stage);
    finish(&stage);
    assert_int_equal(read_folder(&reading, ""), 1);
    assert_int_equal(reading.records, 20);
    end(&stage);
    stage_listen_no_more(said);
}

/* A rotation is made where the links lead, and they stay; they may lead elsewhere later. */
static void a_path_over_links(void **state)
{
    struct stage stage = {.config = {.rotate_bytes = 20000, .keep = 3}};
    char link[100], name[256];

    snprintf(link, sizeof(link), "%s.link", folder);
    put_file("target.log", "");
    assert_int_equal(unlink(in_folder("target.log")), 0);
    assert_int_equal(symlink(in_folder("target.log"), link), 0); /* to what is not there yet */
    assert_int_equal(begin_at(&stage, link, 8 << 20), 0);
    for (unsigned i = 0; i < 1000; i += 100)
        stage_put_many(stage.source, i, i + 100, 100);
    settled(&stage);
    assert_true(counts_of(&stage).rotations > 5);
    stage_wait(count_names("", name) == 4); /* swept there, too */
    assert_true(bytes_start_with(bytes_of(name), BYTES("target.log")));
    assert_true(readlink(link, name, sizeof(name)) > 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(in_folder("other.log"), link), 0);
    journal_reopen(stage.journal);
    stage_wait(is_there("other.log"));
    for (unsigned i = 1000; i < 2000; i += 100)
        stage_put_many(stage.source, i, i + 100, 100);
    settled(&stage);
    stage_wait(count_names("", name) == 8);
    assert_true(bytes_start_with(bytes_of(name), BYTES("other.log")));
    assert_true(readlink(link, name, sizeof(name)) > 0);
    end(&stage);
    assert_int_equal(unlink(link), 0);
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
    assert_true(reading.records > 300 && reading.records < 500);
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
    bool left;

    put_file("requests.log.20200101-000000.000", "a line\n");
    sweep.stop = true;
    assert_int_equal(sweep_run(&sweep, &left), -ECANCELED);
    assert_true(is_there("requests.log.20200101-000000.000"));
    assert_false(is_there("requests.log.20200101-000000.000.gz"));
    assert_false(is_there("requests.log.20200101-000000.000.gz.part"));
    sweep.stop = false;
    assert_int_equal(sweep_run(&sweep, &left), 0);
    assert_false(left);
    assert_false(is_there("requests.log.20200101-000000.000"));
    assert_true(is_there("requests.log.20200101-000000.000.gz"));
    sweep.path = "/nowhere/at/all";
    assert_int_equal(sweep_run(&sweep, &left), -ENOENT);
}

/* --- several that write one file --- */

static void open_log(struct log_file *file)
{
    *file = (struct log_file){.descriptor = -1};
    assert_int_equal(log_file_open(file, path), 0);
}

static void put_line(struct log_file *file, const char *line)
{
    size_t partial = 0, taken;

    assert_int_equal(log_file_write(file, bytes_of(line), &partial, &taken), 0);
}

/* Another has the file open when it is closed here, and sees that only later. */
static void expect_left(struct sweep *sweep, unsigned then)
{
    struct log_file ours, other;
    char name[256];
    bool left;

    open_log(&ours);
    open_log(&other);
    put_line(&ours, "ours\n");
    assert_int_equal(log_file_rotate(&ours), 0);
    put_file("requests.log.29990101-000000.000", "the newest\n");
    assert_int_equal(sweep_run(sweep, &left), 0);
    assert_true(left);
    assert_int_equal(count_names("", name) - count_names(".gz", name) - count_names(".000", name), 2);
    put_line(&other, "the other's\n");
    assert_true(log_file_moved(&other));
    assert_int_equal(log_file_open(&other, path), 0);
    assert_int_equal(sweep_run(sweep, &left), 0);
    assert_false(left);
    assert_int_equal(count_names("", name), then);
    log_file_close(&ours);
    log_file_close(&other);
}

static void what_another_writes_to_is_not_compressed(void **state)
{
    struct sweep sweep = {.path = path, .gzip = true};
    char name[256], text[100] = "";
    gzFile file;

    expect_left(&sweep, 3);
    assert_int_equal(count_names(".gz", name), 2);
    file = gzopen(in_folder(name), "rb");
    assert_true(gzread(file, text, sizeof(text) - 1) > 0);
    gzclose(file);
    assert_string_equal(text, "ours\nthe other's\n");
}

static void nor_removed(void **state)
{
    struct sweep sweep = {.path = path, .keep = 1};

    expect_left(&sweep, 2);
}

static void a_later_sweep_comes(void **state)
{
    struct stage stage = {.config = {.rotate_bytes = 20000, .gzip = true}};
    struct log_file other;
    char name[256];

    assert_int_equal(begin_at(&stage, path, 8 << 20), 0);
    open_log(&other);
    stage_put_many(stage.source, 0, 300, 100);
    settled(&stage);
    stage_wait(counts_of(&stage).rotations >= 2 && count_names(".gz", name) == counts_of(&stage).rotations - 1);
    usleep(1200000);
    assert_int_equal(count_names("", name), counts_of(&stage).rotations + 1);
    assert_int_equal(count_names(".gz", name), counts_of(&stage).rotations - 1);
    log_file_close(&other);
    stage_wait(count_names(".gz", name) == counts_of(&stage).rotations);
    end(&stage);
}

/* A name that another has taken since it seemed free, or has compressed already, is not taken again. */
static void names_are_not_taken_twice(void **state)
{
    struct log_file file;
    struct buffer name = {0};
    char found[256];
    uint64_t last;

    open_log(&file);
    last = file.closed_ms = clock_wall_ms() + 5000;
    for (unsigned i = 1; i <= 3; i++) {
        name.size = 0;
        sweep_name("requests.log", file.closed_ms + i, &name);
        buffer_append_text(&name, i == 2 ? ".gz" : "");
        buffer_append_char(&name, 0);
        put_file(name.data, "another's\n");
    }
    buffer_deinit(&name);
    assert_int_equal(log_file_rotate(&file), 0);
    assert_int_equal(file.closed_ms, last + 4);
    assert_int_equal(count_names("", found), 5);
    log_file_close(&file);
}

#define WRITERS 3
#define WRITER_LINES 1000

static void write_and_rotate(void *data)
{
    struct log_file file = {.descriptor = -1};
    char line[64];

    open_log(&file);
    for (unsigned i = 0; i < WRITER_LINES; i++) {
        snprintf(line, sizeof(line), "%p %u\n", (void *)&file, i);
        put_line(&file, line);
        if (i % 5 == 4 && log_file_rotate(&file) < 0)
            abort();
    }
    log_file_close(&file);
}

static void sweep_on(void *data)
{
    const _Atomic bool *stop = data;
    struct sweep sweep = {.path = path, .gzip = true};
    bool left;

    while (!*stop)
        if (sweep_run(&sweep, &left) < 0)
            abort();
}

static unsigned count_all_lines(void)
{
    struct dirent **names;
    int count = scandir(folder, &names, no_dots, alphasort);
    unsigned lines = 0;
    char line[100];

    for (int i = 0; i < count; i++) {
        gzFile file = gzopen(in_folder(names[i]->d_name), "rb");

        while (gzgets(file, line, sizeof(line)))
            lines += line[0] != '\n';
        gzclose(file);
        free(names[i]);
    }
    free(names);
    return lines;
}

/* Locks belong to what was opened, so threads do for processes. */
static void many_write_rotate_and_sweep(void **state)
{
    _Atomic bool stop = false;
    uv_thread_t writers[WRITERS], sweepers[2];

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&sweepers[i], sweep_on, &stop), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(uv_thread_create(&writers[i], write_and_rotate, NULL), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        uv_thread_join(&writers[i]);
    stop = true;
    for (unsigned i = 0; i < 2; i++)
        uv_thread_join(&sweepers[i]);
    assert_int_equal(count_all_lines(), WRITERS * WRITER_LINES);
}

/* Numbers as they are taken; each closes only what it has just written to. */
static void number_and_rotate(void *data)
{
    _Atomic unsigned *next = data;
    struct log_file file = {.descriptor = -1};
    char line[64];

    open_log(&file);
    for (unsigned i = 0; i < WRITER_LINES; i++) {
        snprintf(line, sizeof(line), "%u\n", (*next)++);
        put_line(&file, line);
        if (log_file_rotate(&file) < 0)
            abort();
    }
    log_file_close(&file);
}

/* Nobody closes what another has begun: there are no empty ones, and a later name is of a file that was begun later. */
static void names_are_in_the_order_of_writing(void **state)
{
    _Atomic unsigned next = 1;
    uv_thread_t writers[WRITERS];
    struct dirent **names;
    unsigned last = 0;
    int count;

    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(uv_thread_create(&writers[i], number_and_rotate, &next), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        uv_thread_join(&writers[i]);
    count = scandir(folder, &names, no_dots, alphasort);
    for (int i = 0; i < count; i++) {
        FILE *file = fopen(in_folder(names[i]->d_name), "rb");
        unsigned first = 0;

        if (strcmp(names[i]->d_name, "requests.log") != 0) {
            if (fscanf(file, "%u", &first) != 1 || first <= last)
                fail_msg("%s begins with %u, the one before with %u", names[i]->d_name, first, last);
            last = first;
        }
        fclose(file);
        free(names[i]);
    }
    free(names);
    assert_int_equal(count_all_lines(), WRITERS * WRITER_LINES);
}

/* Where locks are not what they should be, files are rotated all the same. */
static void a_lock_that_stays(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct log_file file, other;
    char name[256];

    open_log(&file);
    open_log(&other);
    assert_int_equal(fcntl(other.descriptor, F_OFD_SETLK, &lock), 0);
    put_line(&file, "a line\n");
    assert_int_equal(log_file_rotate(&file), 0);
    assert_int_equal(count_names("", name), 2);
    assert_true(log_file_moved(&other));
    assert_false(log_file_moved(&file));
    log_file_close(&file);
    log_file_close(&other);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(lines_come_at_once),
        IN_FOLDER(a_path_that_cannot_be_opened),
        IN_FOLDER(rotated_by_size),
        IN_FOLDER(emptied_by_somebody_else),
        IN_FOLDER(old_ones_go_new_ones_are_compressed),
        IN_FOLDER(rotated_by_age),
        IN_FOLDER(moved_away_and_opened_again),
        IN_FOLDER(removed_and_begun_anew),
        IN_FOLDER(a_folder_that_is_gone),
        IN_FOLDER(removed_with_its_folder),
        IN_FOLDER(a_folder_in_its_place),
        IN_FOLDER(a_path_over_links),
        IN_FOLDER(a_disk_that_fills_up),
        IN_FOLDER(a_device_that_is_always_full),
        IN_FOLDER(half_a_line_that_stays),
        IN_FOLDER(a_killed_one_is_mended),
        IN_FOLDER(a_stopped_sweep_leaves_the_plain_one),
        IN_FOLDER(what_another_writes_to_is_not_compressed),
        IN_FOLDER(nor_removed),
        IN_FOLDER(a_later_sweep_comes),
        IN_FOLDER(names_are_not_taken_twice),
        IN_FOLDER(many_write_rotate_and_sweep),
        IN_FOLDER(names_are_in_the_order_of_writing),
        IN_FOLDER(a_lock_that_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
