/*
 * Who may ask: keys by the SHA-256 of their text; the text itself is nowhere. A keyring is immutable and
 * reference-counted: a new keys file makes a new one, and a request that began with the old one ends with it.
 *
 * Finding takes the same time for every key that is not there, whatever it has in common with one that is: the digest
 * is looked up, and compared as a whole without an early end.
 */
#pragma once

#include "admit/scope.h"
#include "base/digest.h"

struct keyring;

/* Of KEYS and MORE (either may be NULL), whose snapshots it holds. A digest in both is MORE's. */
struct keyring *keyring_new(struct config_keys *keys, struct config_keys *more);
struct keyring *keyring_ref(struct keyring *keyring);
struct keyring *keyring_unref(struct keyring *keyring);

/* What the requests of a key are counted in, found once for all of them. */
struct keyring_place {
    struct scope *scope;        /* NULL: the key has no limits of its own */
    uint32_t team;              /* among the configured teams; KEYRING_NO_TEAM: none of them */
};

#define KEYRING_NO_TEAM UINT32_MAX

/* Find each key its place: its scope in ADMIT, made when it was not there and kept until the keyring ends, and its team
 * of TEAMS. Once, before others look at the keyring, which is ADMIT's newest from now on. False, and nothing changed:
 * ADMIT is full. */
bool keyring_attach(struct keyring *keyring, struct admit *admit, const struct config_team *teams,
                    uint32_t team_count);
/* KEY is of KEYRING. Not attached: no scope, no team. */
struct keyring_place keyring_place(const struct keyring *keyring, const struct config_key *key);

uint32_t keyring_count(const struct keyring *keyring);

/* The key whose text has DIGEST (SHA-256, no secret), expired or not; NULL when there is none. */
const struct config_key *keyring_find(const struct keyring *keyring, const uint8_t digest[DIGEST_SIZE]);
/* In the order of the files. NULL behind the last. */
const struct config_key *keyring_at(const struct keyring *keyring, uint32_t index);

/* What a client shows: of "Bearer TEXT" the text (the scheme in any case), else none. */
struct bytes keyring_bearer(struct bytes authorization);
