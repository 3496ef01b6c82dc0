/*
 * SHA-256 and HMAC-SHA-256 against the vectors of FIPS 180-4 and RFC 4231, in pieces of every size.
 */
#include "base/digest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void expect_hex(struct digest *digest, const char *expected)
{
    uint8_t sum[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1] = "";

    digest_end(digest, sum);
    digest_hex(sum, hex);
    assert_string_equal(hex, expected);
}

static void known_answers(void **state)
{
    static const struct {
        const char *text, *sum;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    struct digest *digest = digest_new(BYTES_NONE);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        digest_begin(digest);
        digest_add(digest, bytes_of(cases[i].text));
        expect_hex(digest, cases[i].sum);
    }
    digest_begin(digest);
    for (int i = 0; i < 1000000; i++)
        digest_add(digest, BYTES("a"));
    expect_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_null(digest_free(digest));
    assert_null(digest_free(NULL));
}

static void known_answers_under_a_secret(void **state)
{
    static char twenty[21] = "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b";
    static char large[131];
    struct {
        struct bytes secret, text;
        const char *sum;
    } cases[] = {
        {{twenty, 20}, BYTES("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {BYTES("Jefe"), BYTES("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {{large, sizeof(large)}, BYTES("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };

    memset(large, 0xaa, sizeof(large));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct digest *digest = digest_new(cases[i].secret);

        for (int round = 0; round < 3; round++) {
            digest_begin(digest);
            digest_add(digest, cases[i].text);
            expect_hex(digest, cases[i].sum);
        }
        digest_free(digest);
    }
}

/* The same bytes give the same sum however they come, also across the page they are gathered in. */
static void pieces_do_not_count(void **state)
{
    static const struct bytes secrets[] = {{NULL, 0}, {"secret secret secret", 20}};
    static char text[10000];
    static const size_t sizes[] = {1, 7, 63, 64, 65, 1000, 2047, 2048, 2049, 4096, 9999};

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 + i / 251);
    for (size_t secret = 0; secret < ARRAY_SIZE(secrets); secret++) {
        struct digest *digest = digest_new(secrets[secret]);
        uint8_t whole[DIGEST_SIZE], sum[DIGEST_SIZE];

        digest_begin(digest);
        digest_add(digest, (struct bytes){text, sizeof(text)});
        digest_end(digest, whole);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            struct bytes rest = {text, sizeof(text)};

            digest_begin(digest);
            while (rest.size) {
                size_t size = rest.size < sizes[i] ? rest.size : sizes[i];

                digest_add(digest, (struct bytes){rest.data, size});
                digest_add(digest, BYTES_NONE);
                rest = bytes_skip(rest, size);
            }
            digest_end(digest, sum);
            assert_true(digest_equal(whole, sum));
        }
        digest_free(digest);
    }
}

static void beginning_forgets(void **state)
{
    struct digest *digest = digest_new(BYTES_NONE);

    digest_begin(digest);
    digest_add(digest, BYTES("something that was given up"));
    digest_begin(digest);
    digest_add(digest, BYTES("abc"));
    expect_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_free(digest);
}

static void texts_keep_their_borders(void **state)
{
    struct digest *digest = digest_new(BYTES_NONE);
    uint8_t one[DIGEST_SIZE], other[DIGEST_SIZE], same[DIGEST_SIZE];

    digest_begin(digest);
    digest_add_text(digest, BYTES("ab"));
    digest_add_text(digest, BYTES("c"));
    digest_end(digest, one);
    digest_begin(digest);
    digest_add_text(digest, BYTES("a"));
    digest_add_text(digest, BYTES("bc"));
    digest_end(digest, other);
    digest_begin(digest);
    digest_add(digest, BYTES("\2\0\0\0\0\0\0\0ab"));
    digest_add_u64(digest, 1);
    digest_add(digest, BYTES("c"));
    digest_end(digest, same);
    assert_false(digest_equal(one, other));
    assert_true(digest_equal(one, same));
    digest_free(digest);
}

static void hex_goes_both_ways(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555",
        "g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85 ",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8\xff\xff",
    };
    static const char good[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char large[] = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
    uint8_t sum[DIGEST_SIZE], again[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1] = "";

    assert_int_equal(digest_from_hex(bytes_of(good), sum), 0);
    digest_hex(sum, hex);
    assert_string_equal(hex, good);
    assert_int_equal(digest_from_hex(bytes_of(large), again), 0);
    assert_true(digest_equal(sum, again));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(digest_from_hex(bytes_of(bad[i]), again), -EINVAL);
        assert_true(digest_equal(sum, again));
    }
    again[31] ^= 1;
    assert_false(digest_equal(sum, again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(known_answers_under_a_secret),
        cmocka_unit_test(pieces_do_not_count),
        cmocka_unit_test(beginning_forgets),
        cmocka_unit_test(texts_keep_their_borders),
        cmocka_unit_test(hex_goes_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
