/*
 * libcrypto is told nothing by the byte: pieces are gathered until they fill a page of ours, for a call costs as much
 * as a few dozen bytes. The algorithm is fetched once per digest; looking it up again would cost as much as a hundred.
 */
#include "base/digest.h"

#include "base/alloc.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct digest {
    /* one of the two */
    EVP_MD_CTX *plain;
    EVP_MAC_CTX *keyed;

    EVP_MD *algorithm;
    size_t gathered;
    uint8_t pieces[2048];
};

/* Without it no key could be made, and nothing a client sends can bring it about. */
static void require(bool good)
{
    if (good)
        return;
    fputs("libcrypto gives no SHA-256\n", stderr);
    abort();
}

static void make_keyed(struct digest *digest, struct bytes secret)
{
    char name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);

    require(algorithm);
    digest->keyed = EVP_MAC_CTX_new(algorithm);
    EVP_MAC_free(algorithm);
    require(digest->keyed && EVP_MAC_init(digest->keyed, (const unsigned char *)secret.data, secret.size, params));
}

struct digest *digest_new(struct bytes secret)
{
    struct digest *digest = ALLOC_NEW(struct digest);

    if (secret.size) {
        make_keyed(digest, secret);
    } else {
        digest->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
        digest->plain = EVP_MD_CTX_new();
        require(digest->algorithm && digest->plain);
        require(EVP_DigestInit_ex2(digest->plain, digest->algorithm, NULL));
    }
    return digest;
}

struct digest *digest_free(struct digest *digest)
{
    if (!digest)
        return NULL;
    EVP_MAC_CTX_free(digest->keyed);
    EVP_MD_CTX_free(digest->plain);
    EVP_MD_free(digest->algorithm);
    return alloc_free(digest);
}

/* --- adding --- */

void digest_begin(struct digest *digest)
{
    digest->gathered = 0;
    if (digest->keyed)
        require(EVP_MAC_init(digest->keyed, NULL, 0, NULL));
    else
        require(EVP_DigestInit_ex2(digest->plain, NULL, NULL));
}

static void update(struct digest *digest, const void *data, size_t size)
{
    if (digest->keyed)
        require(EVP_MAC_update(digest->keyed, data, size));
    else
        require(EVP_DigestUpdate(digest->plain, data, size));
}

static void flush(struct digest *digest)
{
    if (digest->gathered)
        update(digest, digest->pieces, digest->gathered);
    digest->gathered = 0;
}

/* Where SIZE bytes go, which are far fewer than all. */
static inline uint8_t *take(struct digest *digest, size_t size)
{
    if (size > sizeof(digest->pieces) - digest->gathered)
        flush(digest);
    digest->gathered += size;
    return digest->pieces + digest->gathered - size;
}

static void add_large(struct digest *digest, struct bytes piece)
{
    flush(digest);
    update(digest, piece.data, piece.size);
}

void digest_add(struct digest *digest, struct bytes piece)
{
    if (piece.size > sizeof(digest->pieces) / 2)
        add_large(digest, piece);
    else if (piece.size)
        memcpy(take(digest, piece.size), piece.data, piece.size);
}

void digest_add_byte(struct digest *digest, char byte)
{
    *take(digest, 1) = (uint8_t)byte;
}

void digest_add_u64(struct digest *digest, uint64_t value)
{
    value = htole64(value);
    memcpy(take(digest, sizeof(value)), &value, sizeof(value));
}

void digest_add_text(struct digest *digest, struct bytes piece)
{
    digest_add_u64(digest, piece.size);
    digest_add(digest, piece);
}

void digest_end(struct digest *digest, uint8_t ret[DIGEST_SIZE])
{
    flush(digest);
    if (digest->keyed)
        require(EVP_MAC_final(digest->keyed, ret, NULL, DIGEST_SIZE));
    else
        require(EVP_DigestFinal_ex(digest->plain, ret, NULL));
}

/* --- digests as values --- */

void digest_hex(const uint8_t digest[DIGEST_SIZE], char ret[2 * DIGEST_SIZE])
{
    static const char hex[] = "0123456789abcdef";

    for (int i = 0; i < DIGEST_SIZE; i++) {
        ret[2 * i] = hex[digest[i] >> 4];
        ret[2 * i + 1] = hex[digest[i] & 15];
    }
}

int digest_from_hex(struct bytes text, uint8_t ret[DIGEST_SIZE])
{
    uint8_t digest[DIGEST_SIZE];

    if (text.size != 2 * DIGEST_SIZE)
        return -EINVAL;
    for (int i = 0; i < DIGEST_SIZE; i++) {
        int high = bytes_hex_digit(text.data[2 * i]), low = bytes_hex_digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, digest, DIGEST_SIZE);
    return 0;
}

bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE])
{
    return CRYPTO_memcmp(a, b, DIGEST_SIZE) == 0;
}
