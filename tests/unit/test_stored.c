/*
 * Answers as bytes: what goes in comes out, and nothing that was changed, cut, extended, signed by somebody else or put
 * under another key does. What is signed well but makes no sense is refused too.
 */
#include "memo/stored.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MADE 1790000000123u

static uv_loop_t loop;
static struct mailbox home;
static struct digest *plain, *keyed;
static uint8_t key[DIGEST_SIZE], tenant[DIGEST_SIZE];

static const struct chat_event events[] = {
    {EVENT_CHUNK, SHAPE_OPENAI, false, 7, {"{\"a\":1}", 7}},
    {EVENT_CHUNK, SHAPE_GOODFIRE, true, 8, {"{\"usage\":{}} ", 13}},
    {EVENT_USAGE, SHAPE_OPENAI, true, 4000000000u, {"{}", 2}},
    {EVENT_BODY, SHAPE_OPENAI, false, 9, {"", 0}},
    {EVENT_LOGITS, SHAPE_GOODFIRE, false, 10, {"[\0]", 3}},
};

static bool keep(void *data, size_t bytes)
{
    return true;
}

static struct transcript *fill(const struct transcript_facts *facts, const struct chat_event *list, size_t count)
{
    struct transcript *transcript = transcript_new_shared(&home, &(struct transcript_keeper){.grow = keep}, 1 << 20, 0);

    for (size_t i = 0; i < count; i++)
        transcript_append(transcript, &list[i]);
    transcript_tell(transcript, facts);
    return transcript;
}

static struct transcript_facts facts(void)
{
    return (struct transcript_facts){.backend = BYTES("north"), .model = BYTES("l\xc3\xa5ma"),
                                     .fingerprint = BYTES("fp_1"), .prompt_tokens = 12, .completion_tokens = -1,
                                     .finish = FINISH_LENGTH, .whole = true};
}

static struct transcript *answer(void)
{
    struct transcript_facts known = facts();
    struct transcript *transcript = fill(&known, events, ARRAY_SIZE(events));

    transcript_finish(transcript);
    return transcript;
}

static struct stored_label label(void)
{
    return (struct stored_label){key, tenant, 0x1122334455667788, MADE};
}

static struct buffer value_of(struct digest *digest, struct transcript *transcript)
{
    struct stored_label written = label();
    struct buffer value;

    buffer_init(&value);
    assert_int_equal(stored_write(digest, &written, transcript, SIZE_MAX, &value), 0);
    transcript_unref(transcript);
    return value;
}

static void expect_read(struct digest *digest, struct bytes value, int r)
{
    struct stored stored = {.events = 77};
    char *exact = test_malloc(value.size + 1);  /* reading past its end is seen */

    memcpy(exact, value.data, value.size);
    assert_int_equal(stored_read(digest, (struct bytes){exact, value.size}, key, tenant, &stored), r);
    if (r)
        assert_int_equal(stored.events, 77);
    test_free(exact);
}

static void what_goes_in_comes_out(void **state)
{
    struct buffer value = value_of(plain, answer());
    struct stored stored;
    struct chat_event event;

    assert_int_equal(stored_read(plain, buffer_bytes(&value), key, tenant, &stored), 0);
    assert_true(digest_equal(stored.label.key, key));
    assert_true(digest_equal(stored.label.tenant, tenant));
    assert_true(stored.label.stamp == 0x1122334455667788);
    assert_true(stored.label.made_wall_ms == MADE);
    assert_true(bytes_equal(stored.facts.backend, facts().backend));
    assert_true(bytes_equal(stored.facts.model, facts().model));
    assert_true(bytes_equal(stored.facts.fingerprint, facts().fingerprint));
    assert_int_equal(stored.facts.finish, facts().finish);
    assert_int_equal(stored.facts.prompt_tokens, 12);
    assert_int_equal(stored.facts.completion_tokens, -1);
    assert_true(stored.facts.whole);
    assert_int_equal(stored.events, ARRAY_SIZE(events));
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        assert_true(stored_next(&stored, &event));
        assert_int_equal(event.kind, events[i].kind);
        assert_int_equal(event.shape, events[i].shape);
        assert_int_equal(event.usage, events[i].usage);
        assert_int_equal(event.at_ms, events[i].at_ms);
        assert_true(bytes_equal(event.payload, events[i].payload));
    }
    assert_false(stored_next(&stored, &event));
    assert_false(stored_next(&stored, &event));
    buffer_deinit(&value);
}

static void an_answer_may_be_empty(void **state)
{
    struct transcript_facts none = {.prompt_tokens = -1, .completion_tokens = -1};
    struct transcript *transcript = fill(&none, NULL, 0);
    struct stored stored;
    struct chat_event event;
    struct buffer value;

    transcript_finish(transcript);
    value = value_of(keyed, transcript);
    assert_int_equal(stored_read(keyed, buffer_bytes(&value), key, tenant, &stored), 0);
    assert_false(stored_next(&stored, &event));
    assert_int_equal(stored.facts.backend.size, 0);
    buffer_deinit(&value);
}

static void a_cut_one_is_none(void **state)
{
    struct buffer value = value_of(plain, answer());

    for (size_t size = 0; size < value.size; size++)
        expect_read(plain, (struct bytes){value.data, size}, STORED_E_BAD);
    expect_read(plain, buffer_bytes(&value), 0);
    buffer_append_char(&value, '\0');
    expect_read(plain, buffer_bytes(&value), STORED_E_BAD);
    buffer_deinit(&value);
}

static void a_flipped_bit_is_seen(void **state)
{
    struct digest *digests[] = {plain, keyed};

    for (size_t i = 0; i < 2; i++) {
        struct buffer value = value_of(digests[i], answer());

        for (size_t bit = 0; bit < 8 * value.size; bit++) {
            value.data[bit / 8] ^= (char)(1 << bit % 8);
            expect_read(digests[i], buffer_bytes(&value), STORED_E_BAD);
            value.data[bit / 8] ^= (char)(1 << bit % 8);
        }
        expect_read(digests[i], buffer_bytes(&value), 0);
        buffer_deinit(&value);
    }
}

static void another_key_or_tenant_is_told(void **state)
{
    struct buffer value = value_of(plain, answer());

    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        key[i] ^= 1;
        expect_read(plain, buffer_bytes(&value), STORED_E_OTHER);
        key[i] ^= 1;
        tenant[i] ^= 0x80;
        expect_read(plain, buffer_bytes(&value), STORED_E_OTHER);
        tenant[i] ^= 0x80;
    }
    expect_read(plain, buffer_bytes(&value), 0);
    buffer_deinit(&value);
}

static void the_secret_is_needed(void **state)
{
    struct digest *other = digest_new(BYTES("another secret of 16 bytes"));
    struct buffer open = value_of(plain, answer()), closed = value_of(keyed, answer());

    expect_read(keyed, buffer_bytes(&open), STORED_E_BAD);
    expect_read(plain, buffer_bytes(&closed), STORED_E_BAD);
    expect_read(other, buffer_bytes(&closed), STORED_E_BAD);
    expect_read(keyed, buffer_bytes(&closed), 0);
    buffer_deinit(&open);
    buffer_deinit(&closed);
    digest_free(other);
}

/* Where things stand in the answer above. */
enum {
    AT_BODY = 40,
    AT_BACKEND = AT_BODY + 80,
    AT_MODEL = AT_BACKEND + 4 + 5,
    AT_FINGERPRINT = AT_MODEL + 4 + 5,
    AT_PROMPT = AT_FINGERPRINT + 4 + 4,
    AT_COMPLETION = AT_PROMPT + 8,
    AT_FINISH = AT_COMPLETION + 8,
    AT_COUNT = AT_FINISH + 1,
    AT_EVENT = AT_COUNT + 4,
};

static void nonsense_that_is_signed_is_none(void **state)
{
    static const struct {
        const char *name;
        size_t at;
        struct bytes bytes;
    } changes[] = {
        {"a name longer than the value", AT_BACKEND, BYTES("\xff\xff\xff\xff")},
        {"a name up to the last byte but one", AT_BACKEND, BYTES("\x70\0\0\0")},
        {"a name that is no UTF-8", AT_MODEL + 5, BYTES("\xff")},
        {"a fingerprint over what follows", AT_FINGERPRINT, BYTES("\x05")},
        {"tokens below -1", AT_PROMPT, BYTES("\xfe\xff\xff\xff\xff\xff\xff\xff")},
        {"tokens far below", AT_COMPLETION, BYTES("\0\0\0\0\0\0\0\x80")},
        {"an end of no known kind", AT_FINISH, BYTES("\x7f")},
        {"one event more", AT_COUNT, BYTES("\6")},
        {"one event less", AT_COUNT, BYTES("\4")},
        {"very many events", AT_COUNT, BYTES("\xff\xff\xff\xff")},
        {"no events", AT_COUNT, BYTES("\0")},
        {"a raw event", AT_EVENT, BYTES("\4")},
        {"an unknown kind", AT_EVENT, BYTES("\xff")},
        {"an unknown shape", AT_EVENT + 1, BYTES("\2")},
        {"neither with usage nor without", AT_EVENT + 2, BYTES("\2")},
        {"something in the reserved byte", AT_EVENT + 3, BYTES("\1")},
        {"a payload longer than the value", AT_EVENT + 8, BYTES("\xff\xff\xff\xff")},
        {"a payload that ends in the next event", AT_EVENT + 8, BYTES("\x08")},
        {"a chunk of two lines", AT_EVENT + 12 + 1, BYTES("\n")},
        {"a chunk with half a line end", AT_EVENT + 12 + 1, BYTES("\r")},
    };
    struct buffer value = value_of(plain, answer()), changed;

    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        buffer_init(&changed);
        buffer_append(&changed, buffer_bytes(&value));
        memcpy(changed.data + changes[i].at, changes[i].bytes.data, changes[i].bytes.size);
        digest_begin(plain);
        digest_add(plain, bytes_skip(buffer_bytes(&changed), AT_BODY));
        digest_end(plain, (uint8_t *)changed.data + 8);
        print_message("  %s\n", changes[i].name);
        expect_read(plain, buffer_bytes(&changed), STORED_E_BAD);
        buffer_deinit(&changed);
    }
    buffer_deinit(&value);
}

static void a_large_one_is_not_written(void **state)
{
    struct buffer value = value_of(plain, answer()), out;
    struct stored_label written = label();
    struct transcript *transcript = answer();

    buffer_init(&out);
    buffer_append(&out, BYTES("before"));
    for (size_t limit = 0; limit < value.size; limit++) {
        assert_int_equal(stored_write(plain, &written, transcript, limit, &out), -E2BIG);
        assert_true(bytes_equal(buffer_bytes(&out), BYTES("before")));
    }
    assert_int_equal(stored_write(plain, &written, transcript, value.size, &out), 0);
    assert_true(bytes_equal(bytes_skip(buffer_bytes(&out), 6), buffer_bytes(&value)));
    transcript_unref(transcript);
    buffer_deinit(&out);
    buffer_deinit(&value);
}

static void expect_not_written(struct transcript *transcript)
{
    struct stored_label written = label();
    struct buffer out;

    buffer_init(&out);
    assert_int_equal(stored_write(plain, &written, transcript, SIZE_MAX, &out), -EINVAL);
    assert_int_equal(out.size, 0);
    buffer_deinit(&out);
    transcript_unref(transcript);
}

static void not_everything_can_be_written(void **state)
{
    static const char long_name[STORED_TEXT_BYTES + 1];
    struct chat_event raw = {.kind = EVENT_RAW, .payload = BYTES("x")};
    struct transcript_facts known = facts();
    struct transcript *transcript = fill(&known, events, ARRAY_SIZE(events));

    transcript_ref(transcript);
    expect_not_written(transcript);
    transcript_fail(transcript, &(struct failure){.kind = FAIL_INTERNAL});
    expect_not_written(transcript);

    transcript = fill(&known, &raw, 1);
    transcript_finish(transcript);
    expect_not_written(transcript);

    known.fingerprint = (struct bytes){long_name, sizeof(long_name)};
    transcript = fill(&known, NULL, 0);
    transcript_finish(transcript);
    expect_not_written(transcript);

    known.fingerprint = BYTES("\xed\xa0\x80");
    transcript = fill(&known, NULL, 0);
    transcript_finish(transcript);
    expect_not_written(transcript);
}

static int begin(void **state)
{
    uv_loop_init(&loop);
    mailbox_init(&home, &loop);
    plain = digest_new(BYTES_NONE);
    keyed = digest_new(BYTES("a secret of 16 bytes"));
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        key[i] = (uint8_t)(7 * i);
        tenant[i] = (uint8_t)(255 - 3 * i);
    }
    return 0;
}

static void gone(void *data)
{
}

static int end(void **state)
{
    mailbox_close(&home, gone, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_deinit(&home);
    digest_free(plain);
    digest_free(keyed);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(an_answer_may_be_empty),
        cmocka_unit_test(a_cut_one_is_none),
        cmocka_unit_test(a_flipped_bit_is_seen),
        cmocka_unit_test(another_key_or_tenant_is_told),
        cmocka_unit_test(the_secret_is_needed),
        cmocka_unit_test(nonsense_that_is_signed_is_none),
        cmocka_unit_test(a_large_one_is_not_written),
        cmocka_unit_test(not_everything_can_be_written),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
