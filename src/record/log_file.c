/*
 * A half line that a full disk leaves behind is cut off again, so that a file consists of whole lines at any time. That
 * cannot be done with a pipe, nor when somebody else has appended meanwhile; there the line is finished first.
 *
 * The lock comes after open(), so the file may have been closed and even swept in between. One that is still at its
 * path once it is locked was not: it is locked before anybody can rename it and ask for the exclusive lock.
 */
#include "record/log_file.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "record/line_cut.h"
#include "record/sink_sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file that was closed by somebody else each time it was opened is no file to write to. */
#define OPEN_TRIES 50
/* Milliseconds that a rotation waits for another one of the same file. */
#define ROTATE_TRIES 20

/* --- opening --- */

/* How long ago it was made, as far as the file system knows. */
static uint64_t age_ms(int descriptor)
{
    uint64_t now = clock_wall_ms(), born;
    struct statx facts;

    if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BTIME, &facts) < 0 || !(facts.stx_mask & STATX_BTIME))
        return 0;
    born = (uint64_t)facts.stx_btime.tv_sec * 1000 + facts.stx_btime.tv_nsec / 1000000;
    return born < now ? now - born : 0;
}

static bool ends_in_a_line(const char *path, off_t size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char last = '\n';

    if (descriptor < 0)
        return true;
    if (pread(descriptor, &last, 1, size - 1) < 0)
        last = '\n';
    close(descriptor);
    return last == '\n';
}

static bool is_at(const char *path, const struct stat *wanted)
{
    struct stat facts;

    return stat(path, &facts) == 0 && facts.st_dev == wanted->st_dev && facts.st_ino == wanted->st_ino;
}

/* A descriptor of what is at PATH, locked; or a negative errno, -ESTALE when it was closed by somebody else. */
static int open_locked(const char *path, struct stat *ret)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    int r = 0;

    if (descriptor < 0)
        return -errno;
    if (fstat(descriptor, ret) < 0) {
        r = -errno;
    } else if (S_ISREG(ret->st_mode)) {
        flock(descriptor, LOCK_SH | LOCK_NB); /* refused: it is being swept, and is not at its path any more */
        r = is_at(path, ret) ? 0 : -ESTALE;
    }
    if (r == 0)
        return descriptor;
    close(descriptor);
    return r;
}

/* Where PATH leads; itself when that has no name of its own, as with /dev/stdout and a pipe. */
static char *resolve(const char *path, const struct stat *wanted)
{
    char found[PATH_MAX];
    const char *target = realpath(path, found) && is_at(found, wanted) ? found : path;
    size_t size = strlen(target) + 1;

    return memcpy(alloc_bytes(size), target, size);
}

int log_file_open(struct log_file *file, const char *path)
{
    int descriptor = -ESTALE;
    struct stat facts;
    uint64_t age;

    for (unsigned i = 0; i < OPEN_TRIES && descriptor == -ESTALE; i++)
        descriptor = open_locked(path, &facts);
    if (descriptor < 0)
        return descriptor;
    log_file_close(file);
    file->path = path;
    file->target = resolve(path, &facts);
    file->descriptor = descriptor;
    file->regular = S_ISREG(facts.st_mode);
    file->device = facts.st_dev;
    file->inode = facts.st_ino;
    file->size = file->regular ? (uint64_t)facts.st_size : 0;
    file->torn = file->size && !ends_in_a_line(path, facts.st_size);
    age = file->size ? age_ms(descriptor) : 0;
    file->began_ms = clock_ms() > age ? clock_ms() - age : 0;
    return 0;
}

void log_file_close(struct log_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
    file->target = alloc_free(file->target);
}

bool log_file_moved(const struct log_file *file)
{
    struct stat facts;

    if (stat(file->path, &facts) < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
               (fstat(file->descriptor, &facts) == 0 && facts.st_nlink == 0);
    return facts.st_dev != file->device || facts.st_ino != file->inode;
}

bool log_file_look(struct log_file *file)
{
    struct stat facts;

    if (fstat(file->descriptor, &facts) < 0)
        return true;
    if (file->regular) {
        if (file->size == 0 && facts.st_size)
            file->began_ms = clock_ms();
        file->size = (uint64_t)facts.st_size;
        file->torn &= facts.st_size > 0;
    }
    return facts.st_nlink > 0;
}

/* --- rotation --- */

static bool is_there(const char *name, const char *end)
{
    struct buffer text = {0};
    struct stat facts;
    bool there;

    buffer_printf(&text, "%s%s", name, end);
    buffer_append_char(&text, 0);
    there = lstat(text.data, &facts) == 0;
    buffer_deinit(&text);
    return there;
}

/* A name that seems free, later than the last one whatever the clock says. */
static void free_name(struct log_file *file, struct buffer *name)
{
    uint64_t wall = clock_wall_ms();

    if (wall <= file->closed_ms)
        wall = file->closed_ms + 1;
    for (;; wall++) {
        name->size = 0;
        sweep_name(file->target, wall, name);
        buffer_append_char(name, 0);
        if (!is_there(name->data, "") && !is_there(name->data, ".gz"))
            break;
    }
    file->closed_ms = wall;
}

/* Without replacing anything, where the file system can promise that. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    return rename(from, to) < 0 ? -errno : 0;
}

/* Its closed name in *NAME. Another process may choose the same one at the same moment, and have swept its file before
 * ours is there: a compressed one of that name is another's, and ours moves on. */
static int close_under_name(struct log_file *file, struct buffer *name)
{
    const char *from = file->target;
    struct buffer last = {0};
    int r;

    for (;;) {
        free_name(file, name);
        r = rename_new(from, name->data);
        if (r == -EEXIST)
            continue;
        if (r < 0 || !is_there(name->data, ".gz"))
            break;
        last.size = 0;
        buffer_append(&last, buffer_bytes(name));
        from = last.data;
    }
    buffer_deinit(&last);
    return r;
}

/* On a byte that no file has, beside the locks of flock(), which are file locks, too, on some network file systems. It
 * belongs to what is open and goes with it. False: somebody else holds it. */
static bool lock_rotation(const struct log_file *file, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)1 << 62, .l_len = 1};

    return fcntl(file->descriptor, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

/* A rotation takes no time worth mentioning; whoever holds the lock for longer is not at one. */
static void wait_for_rotation(const struct log_file *file)
{
    static const struct timespec pause = {.tv_nsec = 1000000};

    for (unsigned i = 0; i < ROTATE_TRIES && !lock_rotation(file, F_WRLCK); i++)
        nanosleep(&pause, NULL);
}

int log_file_rotate(struct log_file *file)
{
    struct buffer name = {0};
    int r;

    wait_for_rotation(file);
    if (log_file_moved(file)) { /* somebody else has rotated it */
        r = log_file_open(file, file->path);
        if (r < 0)
            lock_rotation(file, F_UNLCK);
        return r;
    }
    r = close_under_name(file, &name);
    if (r == 0 || r == -ENOENT)                 /* no file: somebody else was faster */
        r = log_file_open(file, file->path);
    if (r < 0 && !is_there(file->target, ""))
        (void)!rename_new(name.data, file->target);
    if (r < 0)
        lock_rotation(file, F_UNLCK);
    buffer_deinit(&name);
    return r;
}

/* --- writing --- */

/* A new line begins where a killed one ended. */
static int mend(struct log_file *file)
{
    if (file->torn && write(file->descriptor, "\n", 1) != 1)
        return -errno;
    file->size += file->torn;
    file->torn = false;
    return 0;
}

/* SIZE bytes at the end are half a line. */
static bool take_back(struct log_file *file, size_t size)
{
    off_t at = lseek(file->descriptor, 0, SEEK_CUR);
    struct stat facts;

    if (!file->regular || at < (off_t)size || fstat(file->descriptor, &facts) < 0 || facts.st_size != at)
        return false;
    return ftruncate(file->descriptor, at - (off_t)size) == 0;
}

int log_file_write(struct log_file *file, struct bytes lines, size_t *partial, size_t *ret_taken)
{
    int r = *partial ? 0 : mend(file);
    size_t there, whole;
    ssize_t size;

    *ret_taken = 0;
    if (r < 0)
        return r;
    if (file->size == 0)
        file->began_ms = clock_ms();
    size = write(file->descriptor, lines.data + *partial, lines.size - *partial);
    if (size < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    there = *partial + (size_t)size;
    whole = there == lines.size ? there : lines_within(lines, there);
    file->size += (size_t)size;
    *ret_taken = whole;
    if (whole < there && *partial <= whole && take_back(file, there - whole)) {
        file->size -= there - whole;
        there = whole;
    }
    *partial = there - whole;
    if (whole == lines.size)
        return 0;
    return file->regular ? -ENOSPC : -EAGAIN;
}
