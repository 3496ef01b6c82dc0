/*
 * A file is compressed into NAME.gz.part, which becomes NAME.gz when it is whole; only then the plain one goes. So
 * whenever this ends, every line is in a whole file.
 *
 * Another process may still write to a plain file, and others may sweep the same folder: so it is locked for us alone
 * as long as anything is done with it, and left when that cannot be (see log_file.h).
 */
#include "record/sink_sweep.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define STAMP_SIZE 19           /* 20261123-074500.123 */
#define PIECE_BYTES (64 << 10)
#define LEVEL "wb6"

void sweep_name(const char *path, uint64_t wall_ms, struct buffer *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char stamp[32];

    gmtime_r(&seconds, &parts);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &parts);
    buffer_printf(out, "%s.%s.%03u", path, stamp, (unsigned)(wall_ms % 1000));
}

/* --- what there is --- */

struct stamp {
    char text[STAMP_SIZE + 1];
};

struct stamps {
    struct stamp *list;
    size_t count, room;
};

static bool is_stamp(const char *text)
{
    for (unsigned i = 0; i < STAMP_SIZE; i++) {
        char want = i == 8 ? '-' : i == 15 ? '.' : '0';

        if (want == '0' ? text[i] < '0' || text[i] > '9' : text[i] != want)
            return false;
    }
    return true;
}

/* BASE.STAMP, and behind it nothing, ".gz" or ".gz.part". */
static bool is_closed_one(const char *name, struct bytes base, struct stamp *ret)
{
    const char *rest;

    if (strncmp(name, base.data, base.size) != 0 || name[base.size] != '.')
        return false;
    name += base.size + 1;
    if (strlen(name) < STAMP_SIZE || !is_stamp(name))
        return false;
    rest = name + STAMP_SIZE;
    if (*rest && strcmp(rest, ".gz") != 0 && strcmp(rest, ".gz.part") != 0)
        return false;
    memcpy(ret->text, name, STAMP_SIZE);
    ret->text[STAMP_SIZE] = 0;
    return true;
}

/* The newest first. */
static int compare_stamps(const void *a, const void *b)
{
    return strcmp(((const struct stamp *)b)->text, ((const struct stamp *)a)->text);
}

static void stamps_add(struct stamps *stamps, const struct stamp *stamp)
{
    if (stamps->count == stamps->room) {
        stamps->room = stamps->room ? stamps->room * 2 : 64;
        stamps->list = alloc_resize(stamps->list, stamps->room * sizeof(*stamps->list));
    }
    stamps->list[stamps->count++] = *stamp;
}

/* Each once, though several files may have it. */
static void stamps_settle(struct stamps *stamps)
{
    size_t kept = 0;

    if (stamps->count)
        qsort(stamps->list, stamps->count, sizeof(*stamps->list), compare_stamps);
    for (size_t i = 0; i < stamps->count; i++)
        if (i == 0 || strcmp(stamps->list[i].text, stamps->list[kept - 1].text) != 0)
            stamps->list[kept++] = stamps->list[i];
    stamps->count = kept;
}

static int find_stamps(const char *path, struct stamps *ret)
{
    const char *slash = strrchr(path, '/');
    struct buffer folder = {0};
    struct dirent *entry;
    struct stamp stamp;
    DIR *directory;
    int error;

    buffer_append(&folder, slash ? (struct bytes){path, (size_t)(slash - path) + 1} : BYTES("./"));
    buffer_append_char(&folder, 0);
    directory = opendir(folder.data);
    error = errno;
    buffer_deinit(&folder);
    if (!directory)
        return -error;
    while ((entry = readdir(directory)))
        if (is_closed_one(entry->d_name, bytes_of(slash ? slash + 1 : path), &stamp))
            stamps_add(ret, &stamp);
    closedir(directory);
    stamps_settle(ret);
    return 0;
}

/* --- one file --- */

/* PATH.STAMP + END, with its NUL. */
static const char *name_of(const char *path, const struct stamp *stamp, const char *end, struct buffer *name)
{
    name->size = 0;
    buffer_printf(name, "%s.%s%s", path, stamp->text, end);
    buffer_append_char(name, 0);
    return name->data;
}

/* PLAIN for us alone: a descriptor; -ENOENT, -EWOULDBLOCK when somebody else is at it, or another negative errno. */
static int open_alone(const char *plain)
{
    int descriptor = open(plain, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat ours, there;
    int r = 0;

    if (descriptor < 0)
        return -errno;
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        r = -EWOULDBLOCK; /* any other refusal: there are no locks here */
    else if (fstat(descriptor, &ours) < 0 || stat(plain, &there) < 0 || ours.st_ino != there.st_ino)
        r = -ENOENT; /* somebody has just swept it */
    if (r == 0)
        return descriptor;
    close(descriptor);
    return r;
}

/* A plain one that cannot be opened is removed all the same, but not one that is being written. */
static int remove_one(const char *path, const struct stamp *stamp)
{
    static const char *const ends[] = {"", ".gz", ".gz.part"};
    struct buffer name = {0};
    int plain = open_alone(name_of(path, stamp, "", &name));

    for (unsigned i = 0; i < ARRAY_SIZE(ends) && plain != -EWOULDBLOCK; i++)
        unlink(name_of(path, stamp, ends[i], &name));
    buffer_deinit(&name);
    if (plain >= 0)
        close(plain);
    return plain == -EWOULDBLOCK ? plain : 0;
}

/* All of FROM through OUT, down to the disk; TO is where OUT writes. */
static int compress_pieces(int from, gzFile out, int to, const _Atomic bool *stop)
{
    char *piece = alloc_bytes(PIECE_BYTES);
    ssize_t size;
    int r = 0;

    errno = 0;
    while (r == 0 && (size = read(from, piece, PIECE_BYTES)) != 0) {
        if (size < 0)
            r = -errno;
        else if (atomic_load_explicit(stop, memory_order_relaxed))
            r = -ECANCELED;
        else if (gzwrite(out, piece, (unsigned)size) != (int)size)
            r = errno ? -errno : -EIO;
    }
    if (r == 0 && gzflush(out, Z_FINISH) != Z_OK)
        r = errno ? -errno : -EIO;
    if (r == 0 && fsync(to) < 0)
        r = -errno;
    alloc_free(piece);
    return r;
}

/* The part, empty and ours alone, or a negative errno. */
static int open_part(const char *part)
{
    struct stat ours, there;
    int descriptor = open(part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    int r = 0;

    if (descriptor < 0)
        return -errno;
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        r = -EWOULDBLOCK; /* any other refusal: there are no locks here */
    else if (fstat(descriptor, &ours) < 0 || stat(part, &there) < 0 || ours.st_ino != there.st_ino)
        r = -EWOULDBLOCK; /* somebody has just finished it */
    else if (ftruncate(descriptor, 0) < 0)
        r = -errno;
    if (r < 0 && r != -EWOULDBLOCK)
        unlink(part);
    if (r < 0)
        close(descriptor);
    return r < 0 ? r : descriptor;
}

static int compress_plain(int from, const char *plain, const char *part, const char *whole, const _Atomic bool *stop)
{
    int to = open_part(part);
    gzFile out;
    int r;

    if (to < 0)
        return to; /* -EWOULDBLOCK where plain ones cannot be locked, and another gateway is at it */
    out = gzdopen(to, LEVEL);
    r = out ? compress_pieces(from, out, to, stop) : -ENOMEM;
    if (r == 0 && rename(part, whole) < 0)
        r = -errno;
    unlink(r == 0 ? plain : part);
    if (out)
        gzclose(out); /* it is all out; this closes TO, and with it goes the lock */
    else
        close(to);
    return r;
}

/* 0, -EWOULDBLOCK: not now; or another negative errno. */
static int compress_one(struct sweep *sweep, const struct stamp *stamp)
{
    struct buffer plain = {0}, part = {0}, whole = {0};
    int from = open_alone(name_of(sweep->path, stamp, "", &plain));
    int r = from < 0 && from != -ENOENT ? from : 0;

    name_of(sweep->path, stamp, ".gz.part", &part);
    name_of(sweep->path, stamp, ".gz", &whole);
    if (from >= 0) {
        r = compress_plain(from, plain.data, part.data, whole.data, &sweep->stop);
        close(from);
    }
    buffer_deinit(&plain);
    buffer_deinit(&part);
    buffer_deinit(&whole);
    return r;
}

int sweep_run(struct sweep *sweep, bool *ret_left)
{
    struct stamps stamps = {0};
    int r = find_stamps(sweep->path, &stamps);

    *ret_left = false;
    for (size_t i = sweep->keep; sweep->keep && i < stamps.count; i++)
        if (remove_one(sweep->path, &stamps.list[i]) < 0)
            *ret_left = true;
    if (sweep->keep && stamps.count > sweep->keep)
        stamps.count = sweep->keep;
    for (size_t i = stamps.count; sweep->gzip && i-- > 0;) {
        int one = compress_one(sweep, &stamps.list[i]);

        if (one == -EWOULDBLOCK)
            *ret_left = true;
        else if (one < 0 && r == 0)
            r = one;
        if (atomic_load_explicit(&sweep->stop, memory_order_relaxed))
            break;
    }
    alloc_free(stamps.list);
    return r;
}
