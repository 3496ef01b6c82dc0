/*
 * A finished answer as bytes that may lie in somebody else's memory, and back. Read as hostile: whatever was changed,
 * cut, or put under another key is not an answer.
 *
 *   "EMBR" version(1) reserved(3) | digest(32) of all that follows | key(32) tenant(32) stamp(8) made(8) |
 *   backend, model, fingerprint (length 4, bytes each) | prompt and completion tokens (8 each) | finish(1) |
 *   events(4) | each event: kind(1) shape(1) usage(1) reserved(1) at_ms(4) size(4) payload
 *
 * Numbers are little-endian, what is reserved is zero. The digest is SHA-256, or HMAC-SHA-256 under the configured
 * secret. MADE is the wall clock, milliseconds. TENANT is the digest of the scope the answer may be shared in.
 */
#pragma once

#include "base/buffer.h"
#include "base/digest.h"
#include "chat/transcript.h"

#define STORED_VERSION 2
#define STORED_TEXT_BYTES 256   /* of backend, model and fingerprint, each */

struct stored_label {
    const uint8_t *key, *tenant;    /* DIGEST_SIZE each */
    uint64_t stamp;
    uint64_t made_wall_ms;
};

/* TRANSCRIPT is finished and kept. 0, or -E2BIG when it would be larger than LIMIT, or -EINVAL when it is not one that
 * can be written: not finished, passed through raw, or with names that are no UTF-8 of at most STORED_TEXT_BYTES. OUT
 * is then as it was. */
int stored_write(struct digest *digest, const struct stored_label *label, struct transcript *transcript, size_t limit,
                 struct buffer *out);

enum {
    STORED_E_BAD = 1,       /* not ours, cut, changed, of another version */
    STORED_E_OTHER,         /* sound, but of another key or tenant */
};

/* An answer being read; views of the bytes. */
struct stored {
    struct stored_label label;
    struct transcript_facts facts;  /* backend, model, fingerprint, tokens, finish, whole */
    uint32_t events;                /* not read yet */
    struct bytes rest;              /* their bytes */
};

/* Check VALUE in full, its events too, before anything of it is used. 0 or STORED_E_. */
int stored_read(struct digest *digest, struct bytes value, const uint8_t key[DIGEST_SIZE],
                const uint8_t tenant[DIGEST_SIZE], struct stored *ret);
/* The next event. False: there are no more. */
bool stored_next(struct stored *stored, struct chat_event *ret);
