/*
 * Names of one form have one length, and stand in the order of time.
 */
#include "command/log_rotated.h"

#include "base/alloc.h"

#include <dirent.h>
#include <stdlib.h>

void log_rotated_deinit(struct log_rotated *rotated)
{
    for (unsigned i = 0; i < rotated->count; i++)
        alloc_free(rotated->names[i]);
    alloc_free(rotated->names);
    *rotated = (struct log_rotated){0};
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static struct bytes without_packing(struct bytes name)
{
    if (bytes_end_with(name, BYTES(".part")))
        name.size -= strlen(".part");
    if (bytes_end_with(name, BYTES(".gz")))
        name.size -= strlen(".gz");
    return name;
}

struct bytes log_rotated_name(struct bytes name, struct bytes like)
{
    name = without_packing(name);
    if (name.size != like.size)
        return BYTES_NONE;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] != like.data[i] && (!is_digit(name.data[i]) || !is_digit(like.data[i])))
            return BYTES_NONE;
    return name;
}

struct bytes log_rotated_stamp(struct bytes name, struct bytes *ret_path)
{
    static const struct bytes form = {".00000000-000000.000", 20};
    struct bytes plain = without_packing(name), stamp;

    *ret_path = name;
    if (plain.size <= form.size)
        return BYTES_NONE;
    stamp = log_rotated_name(bytes_skip(plain, plain.size - form.size), form);
    if (stamp.size)
        *ret_path = (struct bytes){name.data, plain.size - form.size};
    return stamp;
}

static void add(struct log_rotated *rotated, struct bytes name)
{
    if (rotated->count == rotated->room) {
        rotated->room = rotated->room ? 2 * rotated->room : 8;
        rotated->names = alloc_resize(rotated->names, rotated->room * sizeof(*rotated->names));
    }
    rotated->names[rotated->count] = alloc_bytes(name.size + 1);
    memcpy(rotated->names[rotated->count], name.data, name.size);
    rotated->names[rotated->count++][name.size] = '\0';
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, each once. */
static void put_in_order(struct log_rotated *rotated)
{
    unsigned kept = 0;

    if (rotated->count)
        qsort(rotated->names, rotated->count, sizeof(*rotated->names), compare);
    for (unsigned i = 0; i < rotated->count; i++)
        if (kept && strcmp(rotated->names[kept - 1], rotated->names[i]) == 0)
            alloc_free(rotated->names[i]);
        else
            rotated->names[kept++] = rotated->names[i];
    rotated->count = kept;
}

bool log_rotated_has(const struct log_rotated *rotated, const char *name)
{
    return rotated->count && bsearch(&name, rotated->names, rotated->count, sizeof(*rotated->names), compare);
}

void log_rotated_add(struct log_rotated *rotated, const char *name)
{
    add(rotated, bytes_of(name));
    put_in_order(rotated);
}

void log_rotated_look(struct log_rotated *rotated, const char *path, struct bytes newest)
{
    const char *slash = strrchr(path, '/');
    struct bytes folder = {path, slash ? (size_t)(slash - path) + 1 : 0}, name;
    struct buffer text = {0};
    struct dirent *entry;
    DIR *directory;

    buffer_append(&text, folder.size ? folder : BYTES("."));
    buffer_append_char(&text, '\0');
    directory = opendir(text.data);
    while (directory && (entry = readdir(directory))) {
        text.size = 0;
        buffer_append(&text, folder);
        buffer_append_text(&text, entry->d_name);
        name = log_rotated_name(buffer_bytes(&text), newest);
        if (name.size && memcmp(name.data, newest.data, name.size) > 0)
            add(rotated, name);
    }
    if (directory)
        closedir(directory);
    put_in_order(rotated);
    buffer_deinit(&text);
}
