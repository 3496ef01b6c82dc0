/*
 * SHA-256 (FIPS 180-4) and, under a secret, HMAC-SHA-256 (RFC 2104). The door to libcrypto's digests.
 *
 * A digest is made once per thread and used again and again; small pieces are gathered, so adding a byte costs a byte.
 */
#pragma once

#include "base/bytes.h"

#define DIGEST_SIZE 32

struct digest;

/* Plain SHA-256 when SECRET is empty. */
struct digest *digest_new(struct bytes secret);
struct digest *digest_free(struct digest *digest);

/* Begin anew, whatever was added before. */
void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, struct bytes piece);
void digest_add_byte(struct digest *digest, char byte);
/* As eight bytes, the lowest first. */
void digest_add_u64(struct digest *digest, uint64_t value);
/* SIZE as eight bytes and then PIECE: no two lists of texts give the same bytes. */
void digest_add_text(struct digest *digest, struct bytes piece);
void digest_end(struct digest *digest, uint8_t ret[DIGEST_SIZE]);

/* 64 hex digits, not terminated. */
void digest_hex(const uint8_t digest[DIGEST_SIZE], char ret[2 * DIGEST_SIZE]);
/* 0, or -EINVAL when TEXT is not 64 hex digits (either case). */
int digest_from_hex(struct bytes text, uint8_t ret[DIGEST_SIZE]);

/* In time that does not depend on the bytes. */
bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE]);
