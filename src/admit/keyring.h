/*
 * Who may ask: keys by the SHA-256 of their text; the text itself is nowhere. A keyring is immutable and
 * reference-counted: a new keys file makes a new one, and a request that began with the old one ends with it.
 *
 * Finding takes the same time for every key that is not there, whatever it has in common with one that is: the digest
 * is looked up, and compared as a whole without an early end.
 */
#pragma once

#include "base/digest.h"
#include "config/config.h"

struct keyring;

/* Of KEYS and MORE (either may be NULL), whose snapshots it holds. A digest in both is MORE's. */
struct keyring *keyring_new(struct config_keys *keys, struct config_keys *more);
struct keyring *keyring_ref(struct keyring *keyring);
struct keyring *keyring_unref(struct keyring *keyring);

uint32_t keyring_count(const struct keyring *keyring);

/* The key whose text has DIGEST (SHA-256, no secret), expired or not; NULL when there is none. */
const struct config_key *keyring_find(const struct keyring *keyring, const uint8_t digest[DIGEST_SIZE]);
/* In the order of the files. NULL behind the last. */
const struct config_key *keyring_at(const struct keyring *keyring, uint32_t index);

/* What a client shows: of "Bearer TEXT" the text (the scheme in any case), else none. */
struct bytes keyring_bearer(struct bytes authorization);
