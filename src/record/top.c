/*
 * The hash of each name stands in an array of its own: looking for one is a walk over 64 small numbers, and almost
 * never a comparison of names. Requests of whoever took a place are too many by what it inherited, at most; tokens and
 * cost are those that were seen of it, and so too few, at most.
 */
#include "record/top.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <uv.h>

#define NAME_MOST 128

struct place {
    char name[NAME_MOST];
    uint32_t size;
    uint64_t tokens, cost;
};

struct top {
    uv_mutex_t lock;
    unsigned used;
    uint32_t hashes[TOP_PLACES];
    uint64_t requests[TOP_PLACES];
    struct place places[TOP_PLACES];
};

struct top *top_new(void)
{
    struct top *top = ALLOC_NEW(struct top);

    uv_mutex_init(&top->lock);
    return top;
}

struct top *top_free(struct top *top)
{
    if (!top)
        return NULL;
    uv_mutex_destroy(&top->lock);
    return alloc_free(top);
}

/* --- adding --- */

/* FNV-1a: names are those of configured keys, nobody chooses them to collide. */
static uint32_t hash_of(struct bytes name)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ (unsigned char)name.data[i]) * 16777619u;
    return hash;
}

static struct bytes name_at(const struct top *top, unsigned at)
{
    return (struct bytes){top->places[at].name, top->places[at].size};
}

/* TOP_PLACES: it has none. */
static unsigned find(const struct top *top, uint32_t hash, struct bytes name)
{
    for (unsigned i = 0; i < top->used; i++)
        if (top->hashes[i] == hash && bytes_equal(name_at(top, i), name))
            return i;
    return TOP_PLACES;
}

static unsigned lightest(const struct top *top)
{
    unsigned least = 0;

    for (unsigned i = 1; i < TOP_PLACES; i++)
        if (top->requests[i] < top->requests[least])
            least = i;
    return least;
}

/* A place for a newcomer: a free one, or the lightest's with its count. */
static unsigned take(struct top *top, uint32_t hash, struct bytes name)
{
    unsigned at = top->used < TOP_PLACES ? top->used++ : lightest(top);
    struct place *place = &top->places[at];

    top->hashes[at] = hash;
    place->size = (uint32_t)name.size;
    if (name.size)
        memcpy(place->name, name.data, name.size);
    place->tokens = place->cost = 0;
    return at;
}

void top_add(struct top *top, struct bytes name, uint64_t tokens, uint64_t cost)
{
    uint32_t hash;
    unsigned at;

    name = utf8_cut(name, NAME_MOST);
    hash = hash_of(name);
    uv_mutex_lock(&top->lock);
    at = find(top, hash, name);
    if (at == TOP_PLACES)
        at = take(top, hash, name);
    top->requests[at]++;
    top->places[at].tokens += tokens;
    top->places[at].cost += cost;
    uv_mutex_unlock(&top->lock);
}

/* --- telling --- */

static int by_name(const void *left, const void *right)
{
    const struct bytes a = ((const struct top_line *)left)->name, b = ((const struct top_line *)right)->name;
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_requests(const void *left, const void *right)
{
    const struct top_line *a = left, *b = right;

    if (a->requests != b->requests)
        return a->requests < b->requests ? 1 : -1;
    return by_name(left, right);
}

/* One set's places as lines behind those that are there; their names go to NAMES. */
static unsigned copy_set(struct top *top, struct top_line *lines, char *names)
{
    unsigned used;

    uv_mutex_lock(&top->lock);
    used = top->used;
    for (unsigned i = 0; i < used; i++, names += NAME_MOST) {
        const struct place *place = &top->places[i];

        memcpy(names, place->name, place->size);
        lines[i] = (struct top_line){{names, place->size}, top->requests[i], place->tokens, place->cost};
    }
    uv_mutex_unlock(&top->lock);
    return used;
}

/* Lines in the order of their names: those of one name become one. */
static unsigned merge(struct top_line *lines, unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        if (kept && bytes_equal(lines[kept - 1].name, lines[i].name)) {
            lines[kept - 1].requests += lines[i].requests;
            lines[kept - 1].tokens += lines[i].tokens;
            lines[kept - 1].cost += lines[i].cost;
        } else {
            lines[kept++] = lines[i];
        }
    }
    return kept;
}

unsigned top_lines(struct top *const *sets, unsigned count, unsigned most, struct top_line **ret)
{
    size_t room = (size_t)count * TOP_PLACES;
    /* The names stand behind the lines, in the same memory. */
    struct top_line *lines = alloc_bytes(room * (sizeof(*lines) + NAME_MOST) + 1);
    char *names = (char *)(lines + room);
    unsigned found = 0;

    for (unsigned i = 0; i < count; i++)
        found += copy_set(sets[i], lines + found, names + (size_t)found * NAME_MOST);
    qsort(lines, found, sizeof(*lines), by_name);
    found = merge(lines, found);
    qsort(lines, found, sizeof(*lines), by_requests);
    *ret = lines;
    return found < most ? found : most;
}

void top_lines_free(struct top_line *lines)
{
    alloc_free(lines);
}
