/*
 * A half line that a full disk leaves behind is cut off again, so that a file consists of whole lines at any time. That
 * cannot be done with a pipe, nor when somebody else has appended meanwhile; there the line is finished first.
 */
#include "record/log_file.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "record/line_cut.h"
#include "record/sink_sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

int log_file_open(struct log_file *file, const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    struct stat facts;
    uint64_t age;

    if (descriptor < 0)
        return -errno;
    if (fstat(descriptor, &facts) < 0) {
        int r = -errno;

        close(descriptor);
        return r;
    }
    log_file_close(file);
    file->path = path;
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
}

bool log_file_moved(const struct log_file *file)
{
    struct stat facts;

    if (stat(file->path, &facts) < 0)
        return errno == ENOENT;
    return facts.st_dev != file->device || facts.st_ino != file->inode;
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

/* A name that is free, later than the last one whatever the clock says. */
static void free_name(struct log_file *file, struct buffer *name)
{
    uint64_t wall = clock_wall_ms();

    if (wall <= file->closed_ms)
        wall = file->closed_ms + 1;
    for (;; wall++) {
        name->size = 0;
        sweep_name(file->path, wall, name);
        buffer_append_char(name, 0);
        if (!is_there(name->data, "") && !is_there(name->data, ".gz"))
            break;
    }
    file->closed_ms = wall;
}

int log_file_rotate(struct log_file *file)
{
    struct buffer name = {0};
    int r = 0;

    if (log_file_moved(file))
        return log_file_open(file, file->path); /* somebody else has rotated it */
    free_name(file, &name);
    if (rename(file->path, name.data) < 0)
        r = -errno;
    else
        r = log_file_open(file, file->path);
    if (r < 0 && !is_there(file->path, ""))
        (void)!rename(name.data, file->path);
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
