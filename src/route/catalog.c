/*
 * A list of names per backend. Echo and Goodfire servers have no list to ask for; theirs are known.
 */
#include "route/catalog.h"

#include "base/alloc.h"

/* Of one server's list. */
#define MOST_NAMES 1000

struct listing {
    enum config_kind kind;
    bool fixed;             /* not to be asked */
    bool asked, learned;
    uint64_t asked_at;
    struct arena arena;
    struct bytes *names;
    uint32_t count;
};

struct catalog {
    uint32_t count;
    struct listing listings[];
};

static struct bytes echo_names[] = {{"echo", 4}};
static struct bytes goodfire_names[] = {
    {"meta-llama/Meta-Llama-3.1-8B-Instruct", 37},
    {"meta-llama/Llama-3.3-70B-Instruct", 33},
};

struct catalog *catalog_new(const struct config *config)
{
    struct catalog *catalog = alloc_zeroed(sizeof(*catalog) + config->backend_count * sizeof(struct listing));

    catalog->count = config->backend_count;
    for (uint32_t i = 0; i < catalog->count; i++) {
        struct listing *listing = &catalog->listings[i];

        listing->kind = config->backends[i].kind;
        arena_init(&listing->arena);
        if (listing->kind == KIND_ECHO) {
            listing->names = echo_names;
            listing->count = ARRAY_SIZE(echo_names);
        } else if (listing->kind == KIND_GOODFIRE) {
            listing->names = goodfire_names;
            listing->count = ARRAY_SIZE(goodfire_names);
        }
        listing->fixed = listing->count > 0;
    }
    return catalog;
}

struct catalog *catalog_free(struct catalog *catalog)
{
    if (!catalog)
        return NULL;
    for (uint32_t i = 0; i < catalog->count; i++)
        arena_deinit(&catalog->listings[i].arena);
    return alloc_free(catalog);
}

bool catalog_stale(const struct catalog *catalog, uint32_t backend, uint64_t now, uint32_t max_age_ms)
{
    const struct listing *listing = &catalog->listings[backend];

    return !listing->fixed && (!listing->asked || now - listing->asked_at >= max_age_ms);
}

void catalog_learn(struct catalog *catalog, uint32_t backend, enum config_kind kind, const struct json_doc *models,
                   uint64_t now)
{
    struct listing *listing = &catalog->listings[backend];
    const struct json_node *data = json_member(models, json_root(models), BYTES("data"));
    uint32_t most = json_length(models, data);

    catalog_missed(catalog, backend, now);
    arena_deinit(&listing->arena);
    listing->kind = kind;
    listing->learned = true;
    listing->count = 0;
    if (!json_is(data, JSON_ARRAY))
        return;
    most = most < MOST_NAMES ? most : MOST_NAMES;
    listing->names = arena_alloc(&listing->arena, most * sizeof(*listing->names));
    for (const struct json_node *item = json_first(models, data); item; item = json_after(models, data, item)) {
        const struct json_node *id = json_member(models, item, BYTES("id"));

        if (listing->count < most && json_is(id, JSON_STRING))
            listing->names[listing->count++] =
                arena_copy(&listing->arena, json_text(models, id, &listing->arena));
    }
}

bool catalog_known(const struct catalog *catalog, uint32_t backend)
{
    return catalog->listings[backend].fixed || catalog->listings[backend].learned;
}

void catalog_missed(struct catalog *catalog, uint32_t backend, uint64_t now)
{
    catalog->listings[backend].asked = true;
    catalog->listings[backend].asked_at = now;
}

enum config_kind catalog_kind(const struct catalog *catalog, uint32_t backend)
{
    return catalog->listings[backend].kind;
}

bool catalog_lists(const struct catalog *catalog, uint32_t backend, struct bytes model)
{
    for (uint32_t i = 0; i < catalog->listings[backend].count; i++)
        if (bytes_equal(catalog->listings[backend].names[i], model))
            return true;
    return false;
}

uint32_t catalog_count(const struct catalog *catalog, uint32_t backend)
{
    return catalog->listings[backend].count;
}

struct bytes catalog_name(const struct catalog *catalog, uint32_t backend, uint32_t at)
{
    return catalog->listings[backend].names[at];
}
