/*
 * What is written is first read: the file with the new lines must hold one key more, whatever its indentation is. It is
 * written beside the old one and takes its place. Whoever wants to add holds a lock on the file it is about to replace,
 * and looks again when somebody else was faster.
 */
#include "command/key_file.h"

#include "base/alloc.h"
#include "base/random.h"
#include "config/config.h"
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(struct buffer *errors, const char *path, const char *what)
{
    buffer_printf(errors, "%s: %s\n", path, what);
    return KEY_FILE_E_BAD;
}

/* --- the new text --- */

static bool has_name(const struct config_keys *keys, struct bytes name)
{
    for (uint32_t i = 0; i < keys->count; i++)
        if (bytes_equal(keys->list[i].name, name))
            return true;
    return false;
}

/* TEXT is a file of COUNT + 1 keys, the last of them NAME. */
static bool is_grown(struct bytes text, uint32_t count, struct bytes name)
{
    static const struct config anything;
    struct config_keys *keys = NULL;
    struct buffer errors;
    bool good;

    buffer_init(&errors);
    good = config_read_keys_text("keys", text, &anything, &errors, &keys) == 0 && keys->count == count + 1 &&
           bytes_equal(keys->list[count].name, name);
    buffer_deinit(&errors);
    config_keys_unref(keys);
    return good;
}

/* OUT is the old text, of COUNT keys, and becomes the new one. False when there is no place in it for a key. */
static bool grow(struct buffer *out, uint32_t count, struct bytes name,
                 void (*write)(void *data, unsigned indent, struct buffer *out), void *data)
{
    static const char *const heads[] = {"", "keys:\n"};
    static const unsigned indents[] = {2, 0, 4, 1, 3, 5, 6, 7, 8}; /* likely ones first */
    size_t before;

    if (out->size && out->data[out->size - 1] != '\n')
        buffer_append_char(out, '\n');
    before = out->size;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(indents); j++) {
            buffer_append_text(out, heads[i]);
            write(data, indents[j], out);
            if (is_grown(buffer_bytes(out), count, name))
                return true;
            out->size = before;
        }
    }
    return false;
}

/* --- files --- */

/* PATH, open and locked; made when it was not there. A negative errno. */
static int open_locked(const char *path)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        struct stat mine, there;
        int r;

        if (fd < 0)
            return -errno;
        while ((r = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
            ;
        if (r == 0 && fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
            mine.st_ino == there.st_ino)
            return fd;
        r = r < 0 ? -errno : 0;
        close(fd);
        if (r < 0)
            return r;
    }
}

static int write_all(int fd, struct bytes text)
{
    while (text.size) {
        ssize_t size = write(fd, text.data, text.size);

        if (size < 0 && errno != EINTR)
            return -errno;
        if (size > 0)
            text = bytes_skip(text, (size_t)size);
    }
    return fsync(fd) < 0 ? -errno : 0;
}

/* FD's owner and mode are those of the file open as LIKE: it may be read by the gateway's user alone. */
static int look_alike(int fd, int like)
{
    struct stat mine, status;

    if (fstat(fd, &mine) < 0 || fstat(like, &status) < 0)
        return -errno;
    if ((mine.st_uid != status.st_uid || mine.st_gid != status.st_gid) &&
        fchown(fd, status.st_uid, status.st_gid) < 0)
        return -errno;
    return fchmod(fd, status.st_mode & 0777) < 0 ? -errno : 0;
}

/* TEXT takes the place of the file PATH, which is open as OLD. */
static int replace(const char *path, int old, struct bytes text)
{
    struct buffer beside;
    char id[RANDOM_ID_SIZE];
    int fd, r;

    random_id(id);
    buffer_init(&beside);
    buffer_printf(&beside, "%s.%.*s", path, (int)sizeof(id), id);
    buffer_append_char(&beside, '\0');
    fd = open(beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : look_alike(fd, old);
    if (r == 0)
        r = write_all(fd, text);
    if (r == 0 && rename(beside.data, path) < 0)
        r = -errno;
    if (fd >= 0 && r < 0)
        unlink(beside.data);
    if (fd >= 0)
        close(fd);
    buffer_deinit(&beside);
    return r;
}

static int add_to(const char *path, int fd, struct bytes name,
                  void (*write)(void *data, unsigned indent, struct buffer *out), void *data, struct buffer *errors)
{
    static const struct config anything;
    struct config_keys *keys = NULL;
    struct buffer text;
    int r;

    buffer_init(&text);
    r = file_read_all(fd, true, FILE_KEYS_SIZE_MAX, &text);
    if (r < 0)
        complain(errors, path, file_error_text(r, FILE_KEYS_SIZE_MAX));
    else if ((r = config_read_keys_text(path, buffer_bytes(&text), &anything, errors, &keys)) == 0) {
        if (has_name(keys, name))
            r = complain(errors, path, "has a key of this name already");
        else if (!grow(&text, keys->count, name, write, data))
            r = complain(errors, path, "has no place for one more key (a list in one line?): make the key without "
                                       "--file and paste its lines");
        else if ((r = replace(path, fd, buffer_bytes(&text))) < 0)
            complain(errors, path, strerror(-r));
    }
    config_keys_unref(keys);
    buffer_deinit(&text);
    return r ? KEY_FILE_E_BAD : 0;
}

int key_file_add(const char *path, struct bytes name, void (*write)(void *data, unsigned indent, struct buffer *out),
                 void *data, struct buffer *errors)
{
    int fd = open_locked(path), r;
    char *real;

    if (fd < 0)
        return complain(errors, path, strerror(-fd));
    real = realpath(path, NULL); /* a link stays one */
    r = real ? add_to(real, fd, name, write, data, errors) : complain(errors, path, strerror(errno));
    alloc_free(real);
    close(fd);
    return r;
}
