/*
 * Who may ask. The text of a key is nowhere, only its digest; and since people paste the wrong line, what stands in the
 * digest's place is never quoted.
 */
#include "base/alloc.h"
#include "base/digest.h"
#include "config/build.h"
#include "config/values.h"
#include "json/json_write.h"

#include <stdatomic.h>
#include <stdlib.h>

#define METADATA_MEMBERS 32
#define METADATA_NAME 64
#define METADATA_TEXT 1024

static void read_team(struct build *build, const struct raw_key *raw, const struct tree_node *node,
                      struct config_key *key)
{
    const struct config *config = build->known;

    if (!build_name(build, node, raw->team, &key->team) || config->team_count == 0 || build->teams_unsure)
        return;
    for (uint32_t i = 0; i < config->team_count; i++)
        if (bytes_equal(config->teams[i].name, key->team))
            return;
    report_node(build->report, node, "no entry of teams is called %s", report_quote(build->report, node->text));
}

static void read_digest(struct build *build, const struct raw_key *raw, const struct tree_node *node,
                        struct config_key *key)
{
    struct bytes text;

    if (build_text(build, node, raw->sha256, &text) && digest_from_hex(text, key->digest) < 0)
        report_node(build->report, node, "must be 64 hex digits: the SHA-256 of a key, as embergate key hash tells it");
}

static void read_expires(struct build *build, const struct raw_key *raw, const struct tree_node *node,
                         struct config_key *key)
{
    struct bytes text;

    if (!build_text(build, node, raw->expires, &text))
        return;
    if (value_time(text, &key->expires_s) < 0)
        report_node(build->report, node, "must be a date such as 2027-01-01 or 2027-01-01T12:00:00Z, not %s",
                    report_quote(build->report, node->text));
    else if (key->expires_s == 0)
        key->expires_s = 1; /* 0 is never */
}

static void read_models(struct build *build, const struct raw_key *raw, const struct tree_node *node,
                        struct config_key *key)
{
    const struct config *config = build->known;
    const struct tree_node *item = node ? node->first : NULL;
    bool sure = config->model_count && !build->models_unsure && !build->variants_unsure;

    key->models = arena_zeroed(build->arena, raw->models_count * sizeof(*key->models));
    key->model_count = raw->models_count;
    for (uint32_t i = 0; i < raw->models_count; i++, item = item->next) {
        struct bytes *name = &key->models[i];

        if (build_text(build, item, raw->models[i], name) && sure && !config_find_model(config, *name) &&
            !config_find_variant(config, *name))
            report_node(build->report, item, "no entry of models or variants is called %s",
                        report_quote(build->report, item->text));
    }
}

/* --- metadata --- */

static int compare_keys(const void *one, const void *other)
{
    const struct tree_node *const *a = one, *const *b = other;
    size_t size = (*a)->key.size < (*b)->key.size ? (*a)->key.size : (*b)->key.size;
    int r = memcmp((*a)->key.data, (*b)->key.data, size);

    if (r == 0 && (*a)->key.size != (*b)->key.size)
        return (*a)->key.size < (*b)->key.size ? -1 : 1;
    return r ? r : (int)(*a)->index - (int)(*b)->index;
}

/* Without quotes, null, true, false and numbers mean themselves. */
static void write_member(struct build *build, const struct tree_node *node, struct buffer *out)
{
    struct bytes text = BYTES("");
    bool whole;

    if (out->size > 1)
        buffer_append_char(out, ',');
    json_write_string(out, node->key);
    buffer_append_char(out, ':');
    if (tree_is_null(node))
        buffer_append_text(out, "null");
    else if (node->plain && (value_is_number(node->text, &whole) || bytes_equal(node->text, BYTES("true")) ||
                             bytes_equal(node->text, BYTES("false"))))
        buffer_append(out, node->text);
    else if (node->text.size == 0 || build_free_text(build, node, node->text.data, &text))
        json_write_string(out, text);
    if (node->text.size > METADATA_TEXT || text.size > METADATA_TEXT)
        report_node(build->report, node, "is longer than %d bytes", METADATA_TEXT);
}

static bool is_good_member(struct build *build, const struct tree_node *node, const struct tree_node *before)
{
    if (node->key.size == 0 || node->key.size > METADATA_NAME)
        report_node(build->report, node, "the name must have from 1 to %d bytes", METADATA_NAME);
    else if (before && bytes_equal(before->key, node->key))
        report_node(build->report, node, "stands here twice, first in line %u", before->line);
    else
        return !node->bad;
    return false;
}

/* In the order of the names: so the same metadata is always the same text. */
static void read_metadata(struct build *build, const struct tree_node *node, struct config_key *key)
{
    const struct tree_node *members[METADATA_MEMBERS];
    struct buffer json;
    uint32_t count = 0;

    if (!node || node->bad || node->type != TREE_MAP)
        return;
    if (node->count > METADATA_MEMBERS) {
        report_node(build->report, node, "must have at most %d entries", METADATA_MEMBERS);
        return;
    }
    for (const struct tree_node *child = node->first; child; child = child->next)
        members[count++] = child;
    if (count)
        qsort(members, count, sizeof(members[0]), compare_keys);
    buffer_init(&json);
    buffer_append_char(&json, '{');
    for (uint32_t i = 0; i < count; i++)
        if (is_good_member(build, members[i], i ? members[i - 1] : NULL))
            write_member(build, members[i], &json);
    buffer_append_char(&json, '}');
    if (count)
        key->metadata = arena_copy(build->arena, buffer_bytes(&json));
    buffer_deinit(&json);
}

/* --- all of them --- */

static void build_key(struct build *build, const struct raw_key *raw, const struct tree_node *node,
                      struct config_key *key)
{
    build_name(build, tree_member(node, BYTES("name")), raw->name, &key->name);
    read_team(build, raw, tree_member(node, BYTES("team")), key);
    read_digest(build, raw, tree_member(node, BYTES("sha256")), key);
    read_expires(build, raw, tree_member(node, BYTES("expires")), key);
    read_models(build, raw, tree_member(node, BYTES("models")), key);
    build_quota(build, raw->quota, tree_member(node, BYTES("quota")), &key->quota);
    build_bodies(build, tree_member(node, BYTES("log_bodies")), raw->log_bodies, &key->bodies);
    read_metadata(build, tree_member(node, BYTES("metadata")), key);
}

/* A digest that could not be read is all zeros. */
static bool is_digest(const uint8_t digest[DIGEST_SIZE])
{
    static const uint8_t none[DIGEST_SIZE];

    return memcmp(digest, none, DIGEST_SIZE) != 0;
}

/* Two keys of one name would be counted in one scope, by the limits of whichever was read last. */
static void check_names(struct build *build, const struct config_keys *keys, const struct tree_node *node)
{
    const struct config_keys *others = build->known->keys;
    const struct tree_node *item = node ? node->first : NULL;
    struct name_list names = {0}, digests = {0};

    for (uint32_t i = 0; others && i < others->count; i++)
        names_add(&names, others->list[i].name, NULL);
    for (uint32_t i = 0; i < keys->count; i++, item = item->next) {
        const struct config_key *key = &keys->list[i];

        names_add(&names, key->name, tree_member(item, BYTES("name")));
        if (is_digest(key->digest))
            names_add(&digests, (struct bytes){(const char *)key->digest, DIGEST_SIZE},
                      tree_member(item, BYTES("sha256")));
    }
    names_check(build, &names, "the name of a key");
    names_check(build, &digests, "the digest of a key");
}

struct config_keys *build_keys(struct build *build, const struct raw_keys *raw, const struct tree_node *node)
{
    const struct tree_node *item = node ? node->first : NULL;
    struct config_keys *keys = ALLOC_NEW(struct config_keys);
    struct arena *outer = build->arena;

    atomic_init(&keys->references, 1);
    arena_init(&keys->arena);
    build->arena = &keys->arena;
    keys->list = arena_zeroed(&keys->arena, raw->list_count * sizeof(*keys->list));
    for (; keys->count < raw->list_count; keys->count++, item = item->next)
        if (!item->bad)
            build_key(build, &raw->list[keys->count], item, &keys->list[keys->count]);
    check_names(build, keys, node);
    build->arena = outer;
    return keys;
}
