/*
 * Keys are found by the digest of their text, whatever their number and however alike their digests are.
 */
#include "admit_world.h"

#include "admit/keyring.h"
#include "admit/scope_private.h"
#include "base/alloc.h"
#include "base/clock.h"

/* COUNT keys with digests of SHA-256 over PREFIX and the number. */
static struct config_keys *keys_of(const char *prefix, uint32_t count)
{
    struct config_keys *keys = ALLOC_NEW(struct config_keys);
    struct digest *digest = digest_new(BYTES_NONE);

    keys->references = 1;
    keys->count = count;
    arena_init(&keys->arena);
    keys->list = arena_zeroed(&keys->arena, count * sizeof(*keys->list));
    for (uint32_t i = 0; i < count; i++) {
        keys->list[i].name = arena_printf(&keys->arena, "%s%u", prefix, i);
        digest_begin(digest);
        digest_add(digest, keys->list[i].name);
        digest_end(digest, keys->list[i].digest);
    }
    digest_free(digest);
    return keys;
}

static void finds_each_and_no_other(void **given)
{
    static const uint32_t counts[] = {0, 1, 2, 7, 8, 9, 100, 10000};

    for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
        struct config_keys *keys = keys_of("k", counts[c]);
        struct keyring *keyring = keyring_new(keys, NULL);
        uint8_t digest[DIGEST_SIZE];

        assert_int_equal(keyring_count(keyring), counts[c]);
        for (uint32_t i = 0; i < counts[c]; i++) {
            assert_ptr_equal(keyring_find(keyring, keys->list[i].digest), &keys->list[i]);
            assert_ptr_equal(keyring_at(keyring, i), &keys->list[i]);
            for (int bit = 0; bit < 8 * DIGEST_SIZE; bit += counts[c] > 1000 ? 85 : 1) {
                memcpy(digest, keys->list[i].digest, DIGEST_SIZE);
                digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_null(keyring_find(keyring, digest));
            }
        }
        assert_null(keyring_at(keyring, counts[c]));
        memset(digest, 0, sizeof(digest));
        assert_null(keyring_find(keyring, digest));
        keyring_unref(keyring);
        config_keys_unref(keys);
    }
}

static void digests_written_by_hand_are_no_worse(void **given)
{
    struct config_keys *keys = keys_of("k", 3000);
    struct keyring *keyring;

    for (uint32_t i = 0; i < keys->count; i++) {
        memset(keys->list[i].digest, 0, DIGEST_SIZE);
        memcpy(keys->list[i].digest + i % 8 * 4, &i, i % 8 == 7 ? 4 : 3);
    }
    memset(keys->list[0].digest, 0xff, DIGEST_SIZE);
    keyring = keyring_new(keys, NULL);
    for (uint32_t i = 0; i < keyring_count(keyring); i++) {
        const struct config_key *key = keyring_at(keyring, i);

        assert_ptr_equal(keyring_find(keyring, key->digest), key);
    }
    keyring_unref(keyring);
    config_keys_unref(keys);
}

static void a_digest_of_zeros_is_one_too(void **given)
{
    struct config_keys *keys = keys_of("k", 3);
    struct keyring *keyring;

    memset(keys->list[1].digest, 0, DIGEST_SIZE);
    keyring = keyring_new(keys, NULL);
    assert_ptr_equal(keyring_find(keyring, keys->list[1].digest), &keys->list[1]);
    keyring_unref(keyring);
    config_keys_unref(keys);
}

static void the_second_file_wins(void **given)
{
    struct config_keys *keys = keys_of("a", 3), *more = keys_of("b", 2);
    struct keyring *keyring;

    memcpy(more->list[1].digest, keys->list[1].digest, DIGEST_SIZE);
    keyring = keyring_new(keys, more);
    assert_int_equal(keyring_count(keyring), 4);
    assert_ptr_equal(keyring_find(keyring, keys->list[1].digest), &more->list[1]);
    assert_ptr_equal(keyring_at(keyring, 0), &keys->list[0]);
    assert_ptr_equal(keyring_at(keyring, 1), &keys->list[2]);
    assert_ptr_equal(keyring_at(keyring, 2), &more->list[0]);
    assert_ptr_equal(keyring_at(keyring, 3), &more->list[1]);
    assert_null(keyring_at(keyring, 4));
    keyring_unref(keyring);
    keyring = keyring_new(NULL, more);
    assert_int_equal(keyring_count(keyring), 2);
    keyring_unref(keyring);
    config_keys_unref(keys);
    config_keys_unref(more);
}

static void the_snapshots_live_as_long_as_the_ring(void **given)
{
    struct config_keys *keys = keys_of("k", 2);
    struct keyring *keyring = keyring_new(keys, NULL), *other;
    uint8_t digest[DIGEST_SIZE];

    memcpy(digest, keys->list[1].digest, DIGEST_SIZE);
    config_keys_unref(keys);
    other = keyring_ref(keyring);
    assert_null(keyring_unref(keyring));
    assert_true(bytes_equal(keyring_find(other, digest)->name, BYTES("k1")));
    keyring_unref(other);
    keyring_unref(NULL);
}

static void each_key_has_its_place(void **given)
{
    struct config_team teams[] = {{.name = BYTES("red")}, {.name = BYTES("blue")}};
    struct config_keys *keys = keys_of("k", 3), *more = keys_of("m", 2);
    struct admit *admit = admit_new();
    struct keyring *keyring;
    struct keyring_place place;

    keys->list[0].quota.requests_per_minute = more->list[1].quota.concurrent = 7;
    keys->list[1].team = BYTES("blue");
    more->list[1].team = BYTES("red");
    more->list[0].team = BYTES("elsewhere");
    memcpy(more->list[0].digest, keys->list[2].digest, DIGEST_SIZE);    /* takes the other's place */
    keyring = keyring_new(keys, more);
    place = keyring_place(keyring, &keys->list[0]);
    assert_true(!place.scope && place.team == KEYRING_NO_TEAM);
    assert_true(keyring_attach(keyring, admit, teams, 2));
    place = keyring_place(keyring, &keys->list[0]);
    assert_ptr_equal(place.scope, admit_find(admit, SCOPE_OF_KEY, BYTES("k0")));
    assert_true(place.scope && place.team == KEYRING_NO_TEAM);
    place = keyring_place(keyring, &keys->list[1]);
    assert_true(!place.scope && place.team == 1);
    place = keyring_place(keyring, keyring_find(keyring, keys->list[2].digest));
    assert_true(!place.scope && place.team == KEYRING_NO_TEAM);
    place = keyring_place(keyring, &more->list[1]);
    assert_ptr_equal(place.scope, admit_find(admit, SCOPE_OF_KEY, BYTES("m1")));
    assert_true(place.scope && place.team == 0);
    keyring_unref(keyring);
    admit_free(admit);
    config_keys_unref(keys);
    config_keys_unref(more);
}

static void a_keyring_that_ends_lets_its_scopes_go(void **given)
{
    struct config_keys *keys = keys_of("k", 3);
    struct admit *admit = admit_new();
    struct keyring *keyring, *other;

    keys->list[0].quota.concurrent = keys->list[2].quota.concurrent = 1;
    keyring = keyring_new(keys, NULL);
    other = keyring_new(NULL, keys);
    assert_true(keyring_attach(keyring, admit, NULL, 0));
    assert_true(keyring_attach(other, admit, NULL, 0));
    keyring_unref(keyring);
    admit_forget(admit, at_us(0));
    assert_int_equal(admit->count, 2);
    admit->most = 1;
    keyring = keyring_new(keys, NULL);
    assert_true(keyring_attach(keyring, admit, NULL, 0)); /* all of them are known */
    keyring_unref(keyring);
    keyring_unref(other);
    admit_forget(admit, at_us(0));
    assert_int_equal(admit->count, 0);
    keyring = keyring_new(keys, NULL);
    assert_false(keyring_attach(keyring, admit, NULL, 0));
    assert_null(keyring_place(keyring, &keys->list[0]).scope);
    keyring_unref(keyring);
    admit_free(admit);
    config_keys_unref(keys);
}

/* --- many at a time --- */

#define ASKERS 3
#define HELD 8
#define NAMES 12
#define STORM_MS 300

struct storm {
    struct admit *admit;
    uv_mutex_t lock;
    struct keyring *keyring;
    uint64_t until_ms;
};

/* As workers do: what was let in outlives the keyring it was let in with. */
static void ask(void *data)
{
    static _Atomic uint64_t seed;
    struct storm *storm = data;
    struct reservation held[HELD] = {0};
    uint64_t state = ++seed;
    struct refusal refusal;

    for (unsigned at = 0; clock_ms() < storm->until_ms; at = (at + 1) % HELD) {
        struct keyring *keyring;
        struct scope *scope;

        uv_mutex_lock(&storm->lock);
        keyring = keyring_ref(storm->keyring);
        uv_mutex_unlock(&storm->lock);
        reservation_settle(&held[at], &(struct charge){0}, at_us(clock_us()));
        held[at] = (struct reservation){0};
        scope = keyring_place(keyring, keyring_at(keyring, (uint32_t)below(&state, keyring_count(keyring)))).scope;
        reservation_take(&held[at], &scope, 1, &(struct charge){.tokens = 1}, at_us(clock_us()), &refusal);
        keyring_unref(keyring);
    }
    for (unsigned i = 0; i < HELD; i++)
        reservation_undo(&held[i], at_us(clock_us()));
}

static struct keyring *some_keyring(struct admit *admit, uint64_t *state)
{
    struct config_keys *keys = keys_of("k", NAMES / 2);
    uint32_t first = (uint32_t)below(state, NAMES);
    struct keyring *keyring;

    for (uint32_t i = 0; i < keys->count; i++) {
        keys->list[i].name = arena_printf(&keys->arena, "k%u", first + i);
        keys->list[i].quota.concurrent = 5;
    }
    keyring = keyring_new(keys, NULL);
    config_keys_unref(keys);
    assert_true(keyring_attach(keyring, admit, NULL, 0));
    return keyring;
}

static void keyrings_come_and_go_under_load(void **given)
{
    struct storm storm = {.admit = admit_new(), .until_ms = clock_ms() + STORM_MS};
    uv_thread_t threads[ASKERS];
    uint64_t state = 1;

    uv_mutex_init(&storm.lock);
    storm.keyring = some_keyring(storm.admit, &state);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(uv_thread_create(&threads[i], ask, &storm), 0);
    while (clock_ms() < storm.until_ms) {
        struct keyring *next = some_keyring(storm.admit, &state), *old;

        uv_mutex_lock(&storm.lock);
        old = storm.keyring;
        storm.keyring = next;
        uv_mutex_unlock(&storm.lock);
        keyring_unref(old);
        admit_forget(storm.admit, at_us(clock_us()));
    }
    for (int i = 0; i < ASKERS; i++)
        uv_thread_join(&threads[i]);
    keyring_unref(storm.keyring);
    admit_forget(storm.admit, at_us(clock_us()));
    assert_int_equal(storm.admit->count, 0); /* all was given back, so nothing was counted beside what is freed */
    uv_mutex_destroy(&storm.lock);
    admit_free(storm.admit);
}

static void bearers(void **given)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"Bearer eg-x", "eg-x"}, {"bearer eg-x", "eg-x"},   {"BEARER  eg-x ", "eg-x"}, {" Bearer\teg-x", "eg-x"},
        {"Bearer a b", "a b"},   {"Bearer", NULL},          {"Bearer ", NULL},         {"Bearereg-x", NULL},
        {"Basic eg-x", NULL},    {"", NULL},                {"eg-x", NULL},            {"Bearer:eg-x", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bytes text = keyring_bearer(bytes_of(cases[i].line));

        assert_true(bytes_equal(text, bytes_of(cases[i].text)));
    }
    assert_int_equal(keyring_bearer(BYTES_NONE).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_each_and_no_other),
        cmocka_unit_test(digests_written_by_hand_are_no_worse),
        cmocka_unit_test(a_digest_of_zeros_is_one_too),
        cmocka_unit_test(the_second_file_wins),
        cmocka_unit_test(the_snapshots_live_as_long_as_the_ring),
        cmocka_unit_test(each_key_has_its_place),
        cmocka_unit_test(a_keyring_that_ends_lets_its_scopes_go),
        cmocka_unit_test(keyrings_come_and_go_under_load),
        cmocka_unit_test(bearers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
