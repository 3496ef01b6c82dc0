/*
 * JSON by its meaning: fixed digests, so that a change of the format is noticed, and classes of texts that say the
 * same.
 */
#include "json/json_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct sum {
    uint8_t bytes[DIGEST_SIZE];
};

static struct digest *digest;

static struct sum sum_of(struct bytes text)
{
    struct arena arena;
    struct json_doc doc;
    struct sum sum;

    arena_init(&arena);
    json_doc_init(&doc, (struct json_limits){.depth = 64, .nodes = 200000});
    assert_int_equal(json_doc_parse(&doc, text), 0);
    digest_begin(digest);
    json_digest(digest, &doc, json_root(&doc), &arena);
    digest_end(digest, sum.bytes);
    json_doc_deinit(&doc);
    arena_deinit(&arena);
    return sum;
}

/* Made by another program, in another language. */
static void golden(void **state)
{
    static const struct {
        const char *text, *sum;
    } cases[] = {
        {"null", "1b16b1df538ba12dc3f97edbb85caa7050d46c148134290feba80f8236c83db9"},
        {"true", "e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8"},
        {"false", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"},
        {"0", "4286d36a6fd7d364ed4cbe24dfc06ebf299dca4b53015c965e77593db1000a07"},
        {"1", "9c679f01090a6dc358e52e7138375f6f446b3067fe80a7c967e0fe7b1de95b55"},
        {"-12.50e1", "8ebbe08046d785e2bf74d38f10705d528d733b59d4569dc251c634b3208fa909"},
        {"0.5", "5c3fe18a6b5d1e834cce66451b700dc43db2652bd685309626445bc1b39d51b1"},
        {"1e400", "b8e3d57842a7710250a7d17a93cb3f709d3a19e589799704a2399980422b6421"},
        {"1152921504606846977", "a4aa160624663c9af7ffda1e20b8a21d4d1db814686c47c201d4f18f25727019"},
        {"\"\"", "76ca65fa532efea2d73e4cb2775f96cfb650d5c8c9dbb78594a01f4cf8bb3bfe"},
        {"\"a\"", "8c55c670d897f80b03daf1a5d2bf5c940074a4ab091e1e511ea7c5bf205d0d29"},
        {"[]", "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"},
        {"{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
        {"[1,[2],{\"b\":null,\"a\":\"\\u00e9\"}]", "a3fd8e99d1324a819e2bf8aba332ec1b9111897abca004b1714959ec3dd82de5"},
        {"{\"b\":1,\"a\":2,\"b\":3}", "49efe8170f6bdc6f36725d40db30344932e142a87493d87f7368602f6004eff3"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sum sum = sum_of(bytes_of(cases[i].text));
        char hex[2 * DIGEST_SIZE + 1] = "";

        digest_hex(sum.bytes, hex);
        assert_string_equal(hex, cases[i].sum);
    }
}

/* One line, one meaning; no two lines say the same. */
static const char *const classes[][8] = {
    {"null", " null ", "\n\tnull"},
    {"true"},
    {"false"},

    /* whole numbers */
    {"0", "-0", "0.0", "-0.0", "0e5", "0E-7", "0.000e99999999999999999999", "-0e-99999999999999999999"},
    {"1", "1.0", "1e0", "10e-1", "0.1e1", "0.01E+2", "1000000e-6", "1.000"},
    {"-1", "-1.0", "-10e-1"},
    {"10", "1e1", "1E+1", "10.0", "1e00000000000000000000000000001"},
    {"100"},
    {"125", "12.5e1", "1.25e2", "1250e-1", "125.000"},
    {"9007199254740992", "9007199254740992.0", "9.007199254740992e15"},
    {"9007199254740993", "9.007199254740993e15"},
    {"1152921504606846976", "1.152921504606846976e18"},
    {"1152921504606846977"},
    {"18446744073709551616", "18446744073709551616.0"},
    {"18446744073709551617"},
    {"123456789012345678901234567890", "12345678901234567890123456789e1"},
    {"1e400", "10e399", "0.1e401"},
    {"1e401"},
    {"-1e400"},
    {"1e999999999999999"},
    {"1e9999999999999999"},
    {"1e99999999999999999"},

    /* fractions */
    {"0.5", "5e-1", "0.50", "0.05e1", "50e-2"},
    {"-0.5"},
    {"0.1", "1e-1", "0.1000000000000000055511151231257827"},
    {"0.10000000000000001e1", "1.0000000000000001"},
    {"0.30000000000000004"},
    {"0.3"},
    {"1e-400", "1e-500", "0.0001e-99999999999999999999"},
    {"5e-324"},

    /* texts */
    {"\"\""},
    {"\"1\""},
    {"\"null\""},
    {"\"a\"", "\"\\u0061\""},
    {"\"A\""},
    {"\"a/b\"", "\"a\\/b\"", "\"a\\u002fb\"", "\"a\\u002Fb\""},
    {"\"\\n\"", "\"\\u000a\"", "\"\\u000A\""},
    {"\"\\\\n\"", "\"\\u005cn\""},
    {"\"\xc3\xa9\"", "\"\\u00e9\""},
    {"\"e\xcc\x81\"", "\"e\\u0301\""},
    {"\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\""},

    /* lists */
    {"[]", "[ ]"},
    {"[[]]"},
    {"[[],[]]"},
    {"[1]", "[1.0]", "[ 1 ]"},
    {"[1,2]", "[1, 2]"},
    {"[2,1]"},
    {"[12]"},
    {"[\"1\",\"2\"]"},
    {"[\"1\\\",\\\"2\"]"},
    {"[null]"},
    {"[[1],2]"},
    {"[[1,2]]"},

    /* objects */
    {"{}", "{ }"},
    {"{\"a\":null}"},
    {"{\"a\":1}", "{\"a\":1.0}", "{\"\\u0061\" : 1}"},
    {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "{ \"\\u0062\" : 2 , \"a\" : 10e-1 }"},
    {"{\"a\":2,\"b\":1}"},
    {"{\"a\":{\"b\":1}}"},
    {"{\"a\":{},\"b\":1}", "{\"b\":1,\"a\":{}}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}"},
    {"{\"a\":2,\"a\":1}"},
    {"{\"a\":1,\"a\":1}"},
    {"{\"\":1,\"a\":1,\"ab\":1}", "{\"ab\":1,\"a\":1,\"\":1}"},
    {"[{\"b\":[{\"d\":1,\"c\":2}],\"a\":0}]", "[{\"a\":-0,\"b\":[{\"c\":2,\"d\":1}]}]"},
};

static void same_meaning_same_digest(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        struct sum first = sum_of(bytes_of(classes[i][0]));

        for (size_t form = 1; form < ARRAY_SIZE(classes[i]) && classes[i][form]; form++) {
            struct sum other = sum_of(bytes_of(classes[i][form]));

            if (!digest_equal(first.bytes, other.bytes))
                fail_msg("%s is not %s", classes[i][form], classes[i][0]);
        }
        for (size_t before = 0; before < i; before++) {
            struct sum other = sum_of(bytes_of(classes[before][0]));

            if (digest_equal(first.bytes, other.bytes))
                fail_msg("%s is %s", classes[before][0], classes[i][0]);
        }
    }
}

/* More members than are sorted by hand, forwards, backwards, and with equal names among them. */
static void many_members(void **state)
{
    char forwards[16384] = "{", backwards[16384] = "{";
    size_t front = 1, back = 1;

    for (int i = 0; i < 500; i++) {
        front += (size_t)snprintf(forwards + front, sizeof(forwards) - front, "%s\"k%d\":%d,\"same\":%d", i ? "," : "",
                                  i, i, i);
        back += (size_t)snprintf(backwards + back, sizeof(backwards) - back, "%s\"same\":%d,\"k%d\":%d",
                                 i ? "," : "", i, 499 - i, 499 - i);
    }
    forwards[front++] = backwards[back++] = '}';
    assert_memory_equal(sum_of((struct bytes){forwards, front}).bytes, sum_of((struct bytes){backwards, back}).bytes,
                        DIGEST_SIZE);
}

static struct sum sum_of_json(struct bytes text)
{
    struct arena arena;
    struct sum sum;

    arena_init(&arena);
    digest_begin(digest);
    json_digest_json(digest, text, &arena);
    digest_end(digest, sum.bytes);
    arena_deinit(&arena);
    return sum;
}

/* A value by itself says what it says in a document. */
static void by_itself(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        struct bytes text = bytes_of(classes[i][0]);

        assert_memory_equal(sum_of(text).bytes, sum_of_json(text).bytes, DIGEST_SIZE);
    }
    assert_memory_not_equal(sum_of_json(BYTES("[1")).bytes, sum_of_json(BYTES("[2")).bytes, DIGEST_SIZE);
}

/* No number is too long: neither for memory nor for time. */
static void long_numbers(void **state)
{
    static char text[400000], other[400000];

    memset(text, '9', sizeof(text));
    memset(other, '9', sizeof(other));
    other[sizeof(other) - 1] = '8';
    assert_memory_not_equal(sum_of((struct bytes){text, sizeof(text)}).bytes,
                            sum_of((struct bytes){other, sizeof(other)}).bytes, DIGEST_SIZE);
    text[1] = other[1] = '.';
    assert_memory_equal(sum_of((struct bytes){text, sizeof(text)}).bytes,
                        sum_of((struct bytes){other, sizeof(other)}).bytes, DIGEST_SIZE);
    /* too large for a double, and a fraction all the same */
    text[1] = other[1] = '9';
    text[sizeof(text) - 2] = other[sizeof(other) - 2] = '.';
    assert_memory_not_equal(sum_of((struct bytes){text, sizeof(text)}).bytes,
                            sum_of((struct bytes){other, sizeof(other)}).bytes, DIGEST_SIZE);
}

static void sorted_keys(void **state)
{
    static const char *const names[] = {"", "a", "a", "aa", "b", "\xc3\xa9"};
    static const char text[] = "{\"b\":0,\"\\u00e9\":0,\"a\":1,\"aa\":0,\"\":0,\"\\u0061\":2}";
    const struct json_node **keys;
    struct arena arena;
    struct json_doc doc;
    uint32_t count;
    int64_t value;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_of(text)), 0);
    keys = json_sorted_keys(&doc, json_root(&doc), &arena, &count);
    assert_int_equal(count, ARRAY_SIZE(names));
    for (uint32_t i = 0; i < count; i++)
        assert_true(json_text_is(&doc, keys[i], bytes_of(names[i])));
    assert_int_equal(json_i64(&doc, json_value(&doc, keys[1]), &value), 0);
    assert_int_equal(value, 1);
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(same_meaning_same_digest),
        cmocka_unit_test(many_members),
        cmocka_unit_test(by_itself),
        cmocka_unit_test(long_numbers),
        cmocka_unit_test(sorted_keys),
    };
    int failed;

    digest = digest_new(BYTES_NONE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    digest = digest_free(digest);
    return failed;
}
