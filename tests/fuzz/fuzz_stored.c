/*
 * Answers from somebody else's memory: the first byte chooses between a value as it is and one that is signed here, so
 * that what stands behind the digest is reached. Whatever is taken for an answer has the events it tells of, every view
 * lies inside the value, and written anew it is the same value. A changed bit of it is no answer any more.
 */
#include "memo/stored.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>

#define HEAD 40
#define KEYS_END (HEAD + 2 * DIGEST_SIZE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct digest *plain, *keyed;
static uv_loop_t loop;
static struct mailbox home;

static bool keep(void *data, size_t bytes)
{
    return true;
}

static void begin(void)
{
    uv_loop_init(&loop);
    mailbox_init(&home, &loop);
    plain = digest_new(BYTES_NONE);
    keyed = digest_new(BYTES("a secret of 16 bytes"));
}

static void expect(bool good)
{
    if (!good)
        abort();
}

static void expect_inside(struct bytes view, struct bytes value)
{
    expect(view.size <= value.size && view.data >= value.data && view.data + view.size <= value.data + value.size);
}

/* The events of STORED in a transcript, as its reader would have them. *TIMED: each tells when it came. */
static struct transcript *recall(struct stored stored, struct bytes value, bool *timed)
{
    struct transcript *transcript = transcript_new_shared(&home, &(struct transcript_keeper){.grow = keep}, 1 << 20, 0);
    uint32_t told = stored.events, count = 0;
    struct chat_event event;

    *timed = true;
    for (; stored_next(&stored, &event); count++) {
        expect_inside(event.payload, value);
        expect(event.kind < EVENT_RAW && event.shape <= SHAPE_GOODFIRE);
        *timed = *timed && event.at_ms;
        transcript_append(transcript, &event);
    }
    expect(count == told && stored.rest.size == 0);
    transcript_tell(transcript, &stored.facts);
    transcript_finish(transcript);
    return transcript;
}

static void expect_sound(struct digest *digest, const struct stored *stored, struct bytes value)
{
    const struct bytes texts[] = {stored->facts.backend, stored->facts.model, stored->facts.fingerprint};
    struct transcript *transcript;
    struct buffer again;
    bool timed;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        expect_inside(texts[i], value);
        expect(texts[i].size <= STORED_TEXT_BYTES && utf8_valid(texts[i]));
    }
    transcript = recall(*stored, value, &timed);
    buffer_init(&again);
    expect(stored_write(digest, &stored->label, transcript, value.size, &again) == 0);
    expect(again.size == value.size && (!timed || bytes_equal(buffer_bytes(&again), value)));
    buffer_deinit(&again);
    transcript_unref(transcript);
}

static void expect_broken(struct digest *digest, char *value, size_t size, size_t bit)
{
    static const uint8_t nobody[DIGEST_SIZE];
    struct stored stored;

    value[bit / 8] ^= (char)(1 << bit % 8);
    expect(stored_read(digest, (struct bytes){value, size}, nobody, nobody, &stored) == STORED_E_BAD);
}

/* Exactly as large as it is, so that reading past its end is seen. */
static char *signed_value(struct digest *digest, struct bytes body)
{
    char *value = alloc_zeroed(HEAD + body.size);

    memcpy(value, "EMBR\1\0\0\0", 8);
    if (body.size)
        memcpy(value + HEAD, body.data, body.size);
    digest_begin(digest);
    digest_add(digest, body);
    digest_end(digest, (uint8_t *)value + 8);
    return value;
}

static char *copy_of(struct bytes text)
{
    char *value = alloc_bytes(text.size);

    if (text.size)
        memcpy(value, text.data, text.size);
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nobody[DIGEST_SIZE];
    bool is_signed = size && data[0] & 1;
    struct bytes rest = {(const char *)data + 1, size - 1}, value;
    struct digest *digest;
    struct stored stored;
    char *memory;

    if (size == 0)
        return 0;
    if (!plain)
        begin();
    digest = data[0] & 2 ? keyed : plain;
    memory = is_signed ? signed_value(digest, rest) : copy_of(rest);
    value = (struct bytes){memory, rest.size + (is_signed ? HEAD : 0)};
    if (value.size < KEYS_END) {
        expect(stored_read(digest, value, nobody, nobody, &stored) == STORED_E_BAD);
    } else if (stored_read(digest, value, (uint8_t *)memory + HEAD, (uint8_t *)memory + HEAD + DIGEST_SIZE,
                           &stored) == 0) {
        expect_sound(digest, &stored, value);
        expect_broken(digest, memory, value.size, (data[0] >> 2) * 8191u % (8 * value.size));
    }
    alloc_free(memory);
    return 0;
}
