/*
 * One buffer that holds what was read and not taken yet: it grows to the longest line, within a bound, and each byte of
 * it is searched for a newline once.
 */
#include "command/log_read.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "command/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK (256u << 10)
/* Enough of two files to tell them apart: their first lines have a time and an id. */
#define SAME_BYTES 4096
/* A line that is being written is waited for so often. */
#define JUST_NOW_MS 100
#define REST_TRIES 10
#define REST_NS 1000000
#define GZIP_WINDOW (15 + 16) /* zlib's way to say: gzip, of any window */

struct log_reader {
    char *path;
    int descriptor;
    bool is_file, begun, follow;
    bool skipped;               /* its beginning was not read */
    bool passing;               /* inside a line that is too long */
    bool ended, told_damage;
    int error;                  /* of reading, to be told */
    uint64_t position;          /* bytes of the file that were read */
    uint64_t most;              /* no line that begins here or behind is read */

    struct buffer text;         /* taken, then waiting lines */
    size_t taken, searched;     /* up to here; no newline before `searched` beyond `taken` */

    bool zipped, damaged, between;  /* between two members of it */
    z_stream zip;
    struct buffer packed;
    size_t unpacked;            /* of `packed` */
};

/* --- opening --- */

struct log_reader *log_reader_open(const char *path, struct buffer *errors)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int descriptor = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct log_reader *reader;
    struct stat about;

    if (descriptor < 0 || fstat(descriptor, &about) < 0 || S_ISDIR(about.st_mode)) {
        buffer_printf(errors, "%s cannot be read: %s\n", path, strerror(descriptor < 0 ? errno : EISDIR));
        if (descriptor > STDIN_FILENO)
            close(descriptor);
        return NULL;
    }
    reader = ALLOC_NEW(struct log_reader);
    reader->path = alloc_text(path);
    reader->descriptor = descriptor;
    reader->is_file = S_ISREG(about.st_mode) && !is_stdin;
    reader->most = UINT64_MAX;
    return reader;
}

struct log_reader *log_reader_free(struct log_reader *reader)
{
    if (!reader)
        return NULL;
    if (reader->descriptor > STDIN_FILENO)
        close(reader->descriptor);
    if (reader->zipped)
        inflateEnd(&reader->zip);
    buffer_deinit(&reader->packed);
    buffer_deinit(&reader->text);
    alloc_free(reader->path);
    return alloc_free(reader);
}

const char *log_reader_path(const struct log_reader *reader)
{
    return strcmp(reader->path, "-") == 0 ? "stdin" : reader->path;
}

/* --- bytes --- */

/* What the descriptor has, into OUT. False: nothing came. */
static bool read_some(struct log_reader *reader, struct buffer *out)
{
    ssize_t size;

    do
        size = read(reader->descriptor, buffer_reserve(out, CHUNK), CHUNK);
    while (size < 0 && errno == EINTR && !reader->follow);
    if (size < 0 && errno != EINTR)
        reader->error = -errno;
    if (size <= 0)
        return false;
    out->size += (size_t)size;
    reader->position += (uint64_t)size;
    return true;
}

/* gzip's magic number, in the first bytes of the file. */
static void look_at_beginning(struct log_reader *reader)
{
    struct bytes head;

    if (reader->begun)
        return;
    reader->begun = true;
    while (reader->packed.size < 2 && read_some(reader, &reader->packed))
        ;
    head = buffer_bytes(&reader->packed);
    reader->zipped = bytes_start_with(head, BYTES("\x1f\x8b"));
    if (reader->zipped && inflateInit2(&reader->zip, GZIP_WINDOW) != Z_OK) {
        reader->zipped = false;
        reader->error = -ENOMEM;
    }
    if (!reader->zipped) {
        buffer_append(&reader->text, head);
        buffer_deinit(&reader->packed);
    }
}

/* One step of the inflater. False: no more can come. */
static bool unpack(struct log_reader *reader)
{
    z_stream *zip = &reader->zip;
    size_t before = reader->text.size;
    bool more = true;
    int r;

    if (reader->unpacked == reader->packed.size) {
        reader->packed.size = reader->unpacked = 0;
        more = read_some(reader, &reader->packed);
    }
    if (reader->between && more && reader->packed.data[reader->unpacked] == 0) {
        reader->unpacked++;     /* zeros may fill up the space behind a member */
        return true;
    }
    if (reader->between && !more)
        return false;
    reader->between = false;
    zip->next_in = (Bytef *)reader->packed.data + reader->unpacked;
    zip->avail_in = (uInt)(reader->packed.size - reader->unpacked);
    zip->next_out = (Bytef *)buffer_reserve(&reader->text, CHUNK);
    zip->avail_out = CHUNK;
    r = inflate(zip, Z_NO_FLUSH);
    reader->unpacked = reader->packed.size - zip->avail_in;
    reader->text.size += CHUNK - zip->avail_out;
    reader->between = r == Z_STREAM_END;
    if (reader->between)
        inflateReset(zip);
    else if (r != Z_OK && r != Z_BUF_ERROR)
        reader->damaged = true;
    else if (!more && reader->text.size == before)
        reader->damaged = true; /* a member has begun and does not end */
    return !reader->damaged;
}

/* More text, behind what waits. False: there is none. */
static bool fill(struct log_reader *reader)
{
    size_t before;

    if (reader->ended)
        return false;
    if (reader->taken) {
        buffer_consume(&reader->text, reader->taken);
        reader->searched -= reader->taken;
        reader->taken = 0;
    }
    before = reader->text.size;
    look_at_beginning(reader);
    if (reader->zipped)
        while (reader->text.size == before && unpack(reader))
            ;
    else if (reader->text.size == before)
        read_some(reader, &reader->text);
    if (reader->text.size > before)
        return true;
    reader->ended = true;
    return false;
}

/* --- lines --- */

/* The line that ends in front of AT, where its newline stands. */
static int take_line(struct log_reader *reader, size_t at, struct bytes *ret)
{
    struct bytes line = {reader->text.data + reader->taken, at - reader->taken};

    reader->taken = reader->searched = at + 1;
    if (reader->passing) {
        reader->passing = false;
        return LOG_READ_LONG;
    }
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    *ret = line;
    return 0;
}

/* Where the next line begins. */
static uint64_t place(const struct log_reader *reader)
{
    return reader->position - (reader->text.size - reader->taken);
}

/* Half a line at the end of a file that was written to just now: the other half may be on its way. */
static bool wait_for_rest(struct log_reader *reader)
{
    const struct timespec pause = {.tv_nsec = REST_NS};
    struct stat about;
    uint64_t written_ms;

    if (reader->follow || reader->zipped || !reader->is_file || reader->error || reader->text.size == reader->taken)
        return false;
    for (unsigned i = 0; i < REST_TRIES; i++) {
        if (fstat(reader->descriptor, &about) < 0)
            return false;
        if ((uint64_t)about.st_size > reader->position) {
            reader->ended = false;
            return true;
        }
        written_ms = (uint64_t)about.st_mtim.tv_sec * 1000 + (uint64_t)about.st_mtim.tv_nsec / 1000000;
        if (clock_wall_ms() > written_ms + JUST_NOW_MS)
            return false;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* What no newline follows, at the end. */
static int take_rest(struct log_reader *reader, struct bytes *ret)
{
    size_t size = reader->text.size - reader->taken;
    int r;

    if (reader->follow || (size == 0 && !reader->passing))
        return LOG_READ_END;
    r = take_line(reader, reader->text.size, ret);
    reader->taken = reader->searched = reader->text.size;
    return r;
}

int log_reader_next(struct log_reader *reader, struct bytes *ret)
{
    int r;

    if (!reader->zipped && place(reader) >= reader->most)
        return LOG_READ_END;
    for (;;) {
        size_t size = reader->text.size - reader->searched;
        const char *newline = size ? memchr(reader->text.data + reader->searched, '\n', size) : NULL;

        if (newline)
            return take_line(reader, (size_t)(newline - reader->text.data), ret);
        reader->searched = reader->text.size;
        if (reader->searched - reader->taken > LOG_LINE_MOST)
            reader->passing = true;
        if (reader->passing)
            reader->taken = reader->searched;
        if (!fill(reader) && !wait_for_rest(reader))
            break;
    }
    r = take_rest(reader, ret);
    if (r != LOG_READ_END)
        return r;
    if (reader->error) {
        r = reader->error;
        reader->error = 0;
    } else if (reader->damaged && !reader->told_damage) {
        reader->told_damage = true;
        r = LOG_READ_DAMAGED;
    }
    return r;
}

bool log_reader_peek(struct log_reader *reader, size_t from, struct bytes *ret)
{
    const char *newline;

    do
        newline = reader->text.size > from ? memchr(reader->text.data + from, '\n', reader->text.size - from) : NULL;
    while (!newline && reader->text.size < LOG_PEEK_MOST && fill(reader));
    if (!newline && !(reader->ended && reader->text.size > from))
        return false;
    *ret = (struct bytes){reader->text.data + from, newline ? (size_t)(newline - reader->text.data) - from
                                                            : reader->text.size - from};
    return true;
}

/* --- the end of a file --- */

/* Forget what was read; go on at POSITION of the plain file. */
static bool go_to(struct log_reader *reader, uint64_t position)
{
    if (lseek(reader->descriptor, (off_t)position, SEEK_SET) < 0)
        return false;
    reader->position = position;
    reader->text.size = reader->taken = reader->searched = 0;
    reader->passing = reader->ended = false;
    reader->begun = position > 0;
    return true;
}

bool log_reader_skip(struct log_reader *reader, uint64_t bytes)
{
    struct bytes line;
    struct stat about;
    uint64_t to;

    if (!reader->is_file || fstat(reader->descriptor, &about) < 0)
        return false;
    look_at_beginning(reader);
    to = (uint64_t)about.st_size < reader->most ? (uint64_t)about.st_size : reader->most;
    if (to <= bytes || reader->zipped || !go_to(reader, to - bytes - 1))
        return false;
    reader->begun = reader->skipped = true;
    /* The byte before: a newline there, and the line behind it is whole. */
    log_reader_next(reader, &line);
    return true;
}

void log_reader_rewind(struct log_reader *reader)
{
    if (reader->skipped)
        go_to(reader, 0);
    reader->skipped = false;
}

bool log_reader_restart(struct log_reader *reader)
{
    if (!reader->is_file || !go_to(reader, 0))
        return false;
    if (reader->zipped)
        inflateEnd(&reader->zip);
    buffer_deinit(&reader->packed);
    reader->unpacked = 0;
    reader->error = 0;
    reader->skipped = reader->zipped = reader->damaged = reader->between = reader->told_damage = false;
    return true;
}

bool log_reader_is_at_path(const struct log_reader *reader)
{
    struct stat ours, there;

    return fstat(reader->descriptor, &ours) == 0 && stat(reader->path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

void log_reader_bound(struct log_reader *reader)
{
    struct stat about;
    off_t at = reader->is_file ? 0 : lseek(reader->descriptor, 0, SEEK_CUR);

    /* Of a file that is standard input somebody else may have read a part. */
    if (at < 0 || fstat(reader->descriptor, &about) < 0 || !S_ISREG(about.st_mode))
        return;
    at -= reader->is_file ? 0 : (off_t)reader->position;
    reader->most = about.st_size > at ? (uint64_t)(about.st_size - at) : 0;
}

bool log_reader_follow(struct log_reader *reader)
{
    look_at_beginning(reader);
    reader->follow = reader->is_file && !reader->zipped;
    if (reader->follow)
        reader->most = UINT64_MAX;
    return reader->follow;
}

bool log_reader_again(struct log_reader *reader)
{
    uint64_t whole = place(reader);
    struct stat about;

    if (fstat(reader->descriptor, &about) < 0)
        return false;
    /* Of a full disk a half line is taken back: what was read of it is not there any more. */
    if ((uint64_t)about.st_size < reader->position)
        return go_to(reader, (uint64_t)about.st_size < whole ? 0 : whole);
    reader->ended = false;
    return (uint64_t)about.st_size > reader->position || reader->searched < reader->text.size ||
           reader->unpacked < reader->packed.size;
}

bool log_reader_is_same(const struct log_reader *reader, struct log_reader *other)
{
    char begin[SAME_BYTES];
    struct stat ours, theirs;
    size_t size;

    if (fstat(reader->descriptor, &ours) < 0 || fstat(other->descriptor, &theirs) < 0)
        return false;
    if (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
        return true;
    while (other->text.size < SAME_BYTES && fill(other))
        ;
    size = other->text.size < SAME_BYTES ? other->text.size : SAME_BYTES;
    return size && pread(reader->descriptor, begin, size, 0) == (ssize_t)size &&
           memcmp(begin, other->text.data, size) == 0;
}
