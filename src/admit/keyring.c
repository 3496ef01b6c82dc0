/*
 * Buckets of eight words in one line of the cache each. All eight are compared, whatever stands there, and then one
 * whole digest, be it the one found or one that nobody has: no branch and no loop depends on how near a key came.
 *
 * A word is a mix of the whole digest, so digests that somebody wrote by hand and differ in one bit go elsewhere; what
 * does not fit is mixed anew, into more buckets.
 */
#include "admit/keyring.h"

#include "base/alloc.h"

#include <stdlib.h>

#define BUCKET 8            /* words: a line of the cache */
#define LINE 64

struct keyring {
    _Atomic uint32_t references;
    struct config_keys *files[2];
    const struct config_key **list;     /* in the order of the files */
    uint32_t count;
    struct keyring_place *attached[2];  /* of each key of each file; NULL: not yet */

    /* finding */
    unsigned bits;
    uint64_t seed;
    void *memory;
    uint64_t (*buckets)[BUCKET];        /* 0: nobody */
    uint32_t *first;                    /* of each bucket, where its keys stand in `places` */
    const struct config_key **places;   /* place 0: a key nobody has */
};

static const struct config_key nobody;

/* --- the list --- */

struct entry {
    const struct config_key *key;
    uint32_t order;
};

static int by_digest(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    int difference = memcmp(one->key->digest, other->key->digest, DIGEST_SIZE);

    return difference ? difference : (one->order > other->order) - (one->order < other->order);
}

/* Of each digest the last one: the others' places in the list become empty. */
static void drop_doubles(const struct config_key **list, uint32_t count)
{
    struct entry *entries = alloc_bytes(count * sizeof(*entries));

    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct entry){list[i], i};
    if (count)
        qsort(entries, count, sizeof(*entries), by_digest);
    for (uint32_t i = 1; i < count; i++) {
        if (memcmp(entries[i - 1].key->digest, entries[i].key->digest, DIGEST_SIZE) == 0)
            list[entries[i - 1].order] = NULL;
    }
    alloc_free(entries);
}

static void make_list(struct keyring *keyring)
{
    uint32_t count = 0;

    for (int i = 0; i < 2; i++)
        count += keyring->files[i] ? keyring->files[i]->count : 0;
    keyring->list = alloc_zeroed(count * sizeof(*keyring->list));
    count = 0;
    for (int i = 0; i < 2; i++) {
        for (uint32_t j = 0; keyring->files[i] && j < keyring->files[i]->count; j++)
            keyring->list[count++] = &keyring->files[i]->list[j];
    }
    drop_doubles(keyring->list, count);
    for (uint32_t i = 0; i < count; i++) {
        if (keyring->list[i])
            keyring->list[keyring->count++] = keyring->list[i];
    }
}

/* --- the table --- */

static uint64_t word_of(const struct keyring *keyring, const uint8_t digest[DIGEST_SIZE])
{
    uint64_t word = keyring->seed, part;

    for (size_t i = 0; i < DIGEST_SIZE; i += sizeof(part)) {
        memcpy(&part, digest + i, sizeof(part));
        word = (word ^ part) * UINT64_C(0x9e3779b97f4a7c15);
        word ^= word >> 32;
    }
    return word | 1;
}

static uint64_t bucket_of(const struct keyring *keyring, uint64_t word)
{
    return word >> (64 - keyring->bits);
}

static void make_room(struct keyring *keyring)
{
    size_t size = sizeof(*keyring->buckets) << keyring->bits;
    char *memory = alloc_zeroed(size + LINE);

    alloc_free(keyring->memory);
    keyring->memory = memory;
    keyring->buckets = (uint64_t(*)[BUCKET])(void *)(memory + (LINE - (uintptr_t)memory % LINE) % LINE);
}

static bool put(uint64_t bucket[BUCKET], uint64_t word)
{
    for (int i = 0; i < BUCKET; i++) {
        if (bucket[i] == word)
            return false;
        if (bucket[i] == 0) {
            bucket[i] = word;
            return true;
        }
    }
    return false;
}

static bool put_all(struct keyring *keyring)
{
    for (uint32_t i = 0; i < keyring->count; i++) {
        uint64_t word = word_of(keyring, keyring->list[i]->digest);

        if (!put(keyring->buckets[bucket_of(keyring, word)], word))
            return false;
    }
    return true;
}

static unsigned slot_of(const uint64_t bucket[BUCKET], uint64_t word)
{
    unsigned slot = 0;

    while (bucket[slot] != word)
        slot++;
    return slot;
}

/* The keys by their buckets, one behind the other. */
static void make_places(struct keyring *keyring)
{
    uint32_t place = 1;

    keyring->first = alloc_bytes(sizeof(*keyring->first) << keyring->bits);
    keyring->places = alloc_bytes((keyring->count + 1) * sizeof(*keyring->places));
    keyring->places[0] = &nobody;
    for (size_t i = 0; i < (size_t)1 << keyring->bits; i++) {
        keyring->first[i] = place;
        for (int j = 0; j < BUCKET; j++)
            place += keyring->buckets[i][j] != 0;
    }
    for (uint32_t i = 0; i < keyring->count; i++) {
        uint64_t word = word_of(keyring, keyring->list[i]->digest), bucket = bucket_of(keyring, word);

        keyring->places[keyring->first[bucket] + slot_of(keyring->buckets[bucket], word)] = keyring->list[i];
    }
}

static void make_table(struct keyring *keyring)
{
    keyring->bits = 1;
    while ((uint64_t)1 << keyring->bits < keyring->count)
        keyring->bits++;
    make_room(keyring);
    while (!put_all(keyring)) {
        keyring->seed++;
        keyring->bits += keyring->seed % 2 == 0;
        make_room(keyring);
    }
    make_places(keyring);
}

/* --- life --- */

struct keyring *keyring_new(struct config_keys *keys, struct config_keys *more)
{
    struct keyring *keyring = ALLOC_NEW(struct keyring);

    keyring->references = 1;
    keyring->files[0] = keys ? config_keys_ref(keys) : NULL;
    keyring->files[1] = more ? config_keys_ref(more) : NULL;
    make_list(keyring);
    make_table(keyring);
    return keyring;
}

struct keyring *keyring_ref(struct keyring *keyring)
{
    keyring->references++;
    return keyring;
}

struct keyring *keyring_unref(struct keyring *keyring)
{
    if (!keyring || --keyring->references > 0)
        return NULL;
    for (int i = 0; i < 2; i++) {
        for (uint32_t j = 0; keyring->attached[i] && j < keyring->files[i]->count; j++)
            scope_detach(keyring->attached[i][j].scope);
        config_keys_unref(keyring->files[i]);
        alloc_free(keyring->attached[i]);
    }
    alloc_free(keyring->list);
    alloc_free(keyring->memory);
    alloc_free(keyring->first);
    alloc_free(keyring->places);
    return alloc_free(keyring);
}

/* --- where they are counted --- */

static uint32_t team_of(struct bytes name, const struct config_team *teams, uint32_t count)
{
    for (uint32_t i = 0; name.size && i < count; i++)
        if (bytes_equal(teams[i].name, name))
            return i;
    return KEYRING_NO_TEAM;
}

static struct keyring_place *place_of(const struct keyring *keyring, const struct config_key *key)
{
    for (int i = 0; i < 2; i++) {
        const struct config_keys *file = keyring->files[i];

        if (file && key >= file->list && key < file->list + file->count)
            return keyring->attached[i] ? &keyring->attached[i][key - file->list] : NULL;
    }
    return NULL;
}

bool keyring_attach(struct keyring *keyring, struct admit *admit, const struct config_team *teams,
                    uint32_t team_count)
{
    struct admit_key *keys = alloc_bytes(keyring->count * sizeof(*keys));
    bool good;

    for (uint32_t i = 0; i < keyring->count; i++)
        keys[i] = (struct admit_key){.name = keyring->list[i]->name, .quota = &keyring->list[i]->quota};
    good = admit_attach(admit, keys, keyring->count);
    for (int i = 0; good && i < 2; i++)
        if (keyring->files[i])
            keyring->attached[i] = alloc_zeroed(keyring->files[i]->count * sizeof(struct keyring_place));
    for (uint32_t i = 0; good && i < keyring->count; i++) {
        struct keyring_place *place = place_of(keyring, keyring->list[i]);

        place->scope = keys[i].scope;
        place->team = team_of(keyring->list[i]->team, teams, team_count);
    }
    alloc_free(keys);
    return good;
}

struct keyring_place keyring_place(const struct keyring *keyring, const struct config_key *key)
{
    const struct keyring_place *place = place_of(keyring, key);

    return place ? *place : (struct keyring_place){NULL, KEYRING_NO_TEAM};
}

uint32_t keyring_count(const struct keyring *keyring)
{
    return keyring->count;
}

const struct config_key *keyring_at(const struct keyring *keyring, uint32_t index)
{
    return index < keyring->count ? keyring->list[index] : NULL;
}

/* --- finding --- */

/* All ones when A and B are the same, else 0. */
static uint64_t same(uint64_t a, uint64_t b)
{
    uint64_t difference = a ^ b;

    return ((difference | (0 - difference)) >> 63) - 1;
}

const struct config_key *keyring_find(const struct keyring *keyring, const uint8_t digest[DIGEST_SIZE])
{
    uint64_t word = word_of(keyring, digest), number = bucket_of(keyring, word);
    const uint64_t *bucket = keyring->buckets[number];
    uint64_t found = 0, slot = 0;
    const struct config_key *key;

    for (uint64_t i = 0; i < BUCKET; i++) {
        uint64_t mask = same(bucket[i], word);

        found |= mask;
        slot |= mask & i;
    }
    key = keyring->places[found & (keyring->first[number] + slot)];
    return (digest_equal(key->digest, digest) & (key != &nobody)) ? key : NULL;
}

struct bytes keyring_bearer(struct bytes authorization)
{
    const struct bytes scheme = BYTES("Bearer");
    struct bytes text = bytes_trim(authorization), head = {text.data, scheme.size};

    if (text.size <= scheme.size || !bytes_equal_nocase(head, scheme))
        return BYTES_NONE;
    text = bytes_skip(text, scheme.size);
    return text.data[0] == ' ' || text.data[0] == '\t' ? bytes_trim(text) : BYTES_NONE;
}
