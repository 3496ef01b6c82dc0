/*
 * Reading is a cursor that remembers whether anything was missing: a taker past the end gives zeroes and marks it, so
 * the checks stand in one place each, and no length is believed before the bytes are seen to be there. The digest comes
 * first: what follows is only read when it is what some gateway wrote.
 */
#include "memo/stored.h"

#include "base/utf8.h"

#include <errno.h>

#define MAGIC "EMBR"
#define MAGIC_SIZE 4
#define HEAD_SIZE (MAGIC_SIZE + 4 + DIGEST_SIZE)
#define EVENT_HEAD_SIZE 12

/* --- writing --- */

static void put_number(struct buffer *out, uint64_t value, unsigned size)
{
    char *at = buffer_reserve(out, size);

    for (unsigned i = 0; i < size; i++)
        at[i] = (char)(value >> (8 * i));
    out->size += size;
}

static void put_digest(struct buffer *out, const uint8_t *digest)
{
    buffer_append(out, (struct bytes){(const char *)digest, DIGEST_SIZE});
}

static void put_text(struct buffer *out, struct bytes text)
{
    put_number(out, text.size, 4);
    buffer_append(out, text);
}

static bool text_is_good(struct bytes text)
{
    return text.size <= STORED_TEXT_BYTES && utf8_valid(text);
}

static void put_head(struct buffer *out, const struct stored_label *label, const struct transcript_facts *facts,
                     uint32_t events)
{
    static const uint8_t later[DIGEST_SIZE];

    buffer_append(out, BYTES(MAGIC));
    put_number(out, STORED_VERSION, 4);
    put_digest(out, later);
    put_digest(out, label->key);
    put_digest(out, label->tenant);
    put_number(out, label->stamp, 8);
    put_number(out, label->made_wall_ms, 8);
    put_text(out, facts->backend);
    put_text(out, facts->model);
    put_text(out, facts->fingerprint);
    put_number(out, (uint64_t)facts->prompt_tokens, 8);
    put_number(out, (uint64_t)facts->completion_tokens, 8);
    put_number(out, facts->finish, 1);
    put_number(out, events, 4);
}

static void put_event(struct buffer *out, const struct chat_event *event)
{
    put_number(out, event->kind, 1);
    put_number(out, event->shape, 1);
    put_number(out, event->usage, 2);
    put_number(out, event->at_ms, 4);
    put_text(out, event->payload);
}

/* All events behind the head, while they fit below END. */
static int put_events(struct buffer *out, struct reader *reader, size_t end)
{
    struct chat_event event;
    int r;

    while ((r = reader_next(reader, &event)) == 0) {
        if (event.kind > EVENT_LOGITS)
            return -EINVAL;
        if (out->size > end || end - out->size < EVENT_HEAD_SIZE ||
            end - out->size - EVENT_HEAD_SIZE < event.payload.size)
            return -E2BIG;
        put_event(out, &event);
    }
    if (r != READER_E_END)
        return -EINVAL;
    return out->size > end ? -E2BIG : 0;
}

static void nobody_waits(void *data)
{
}

static void sign(struct digest *digest, struct buffer *out, size_t start)
{
    uint8_t sum[DIGEST_SIZE];

    digest_begin(digest);
    digest_add(digest, bytes_skip(buffer_bytes(out), start + HEAD_SIZE));
    digest_end(digest, sum);
    memcpy(out->data + start + HEAD_SIZE - DIGEST_SIZE, sum, sizeof(sum));
}

int stored_write(struct digest *digest, const struct stored_label *label, struct transcript *transcript, size_t limit,
                 struct buffer *out)
{
    struct transcript_facts facts = transcript_facts(transcript);
    uint64_t events = transcript_events(transcript);
    size_t start = out->size;
    struct reader reader;
    int r;

    if (transcript_status(transcript) != TRANSCRIPT_FINISHED || events > UINT32_MAX)
        return -EINVAL;
    if (!text_is_good(facts.backend) || !text_is_good(facts.model) || !text_is_good(facts.fingerprint))
        return -EINVAL;
    if (!reader_init(&reader, transcript, NULL, nobody_waits, NULL))
        return -EINVAL;
    put_head(out, label, &facts, (uint32_t)events);
    r = put_events(out, &reader, limit > SIZE_MAX - start ? SIZE_MAX : start + limit);
    reader_deinit(&reader);
    if (r < 0) {
        out->size = start;
        return r;
    }
    sign(digest, out, start);
    return 0;
}

/* --- reading --- */

struct cursor {
    struct bytes rest;
    bool bad;
};

/* SIZE bytes, or NULL and the cursor is bad. */
static const char *take(struct cursor *cursor, size_t size)
{
    const char *at = cursor->rest.data;

    if (cursor->bad || cursor->rest.size < size) {
        cursor->bad = true;
        return NULL;
    }
    cursor->rest = bytes_skip(cursor->rest, size);
    return at;
}

static uint64_t take_number(struct cursor *cursor, unsigned size)
{
    const unsigned char *at = (const unsigned char *)take(cursor, size);
    uint64_t value = 0;

    for (unsigned i = 0; at && i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static const uint8_t *take_digest(struct cursor *cursor)
{
    return (const uint8_t *)take(cursor, DIGEST_SIZE);
}

static struct bytes take_bytes(struct cursor *cursor)
{
    uint32_t size = (uint32_t)take_number(cursor, 4);
    const char *at = take(cursor, size);

    return at ? (struct bytes){at, size} : BYTES_NONE;
}

static struct bytes take_text(struct cursor *cursor)
{
    struct bytes text = take_bytes(cursor);

    if (!text_is_good(text))
        cursor->bad = true;
    return text;
}

static int64_t take_tokens(struct cursor *cursor)
{
    int64_t tokens = (int64_t)take_number(cursor, 8);

    if (tokens < -1)
        cursor->bad = true;
    return tokens;
}

/* Chunks go out as lines: a line end in one would make two events of it. */
static bool fits_a_line(const struct chat_event *event)
{
    if (event->kind > EVENT_USAGE || event->payload.size == 0)
        return true;
    return !memchr(event->payload.data, '\n', event->payload.size) &&
           !memchr(event->payload.data, '\r', event->payload.size);
}

static struct chat_event take_event(struct cursor *cursor)
{
    unsigned kind = (unsigned)take_number(cursor, 1), shape = (unsigned)take_number(cursor, 1);
    unsigned usage = (unsigned)take_number(cursor, 2);
    struct chat_event event = {
        .kind = (enum chat_event_kind)kind,
        .shape = (enum chat_shape)shape,
        .usage = usage,
        .at_ms = (uint32_t)take_number(cursor, 4),
    };

    event.payload = take_bytes(cursor);
    if (kind > EVENT_LOGITS || shape > SHAPE_GOODFIRE || usage > 1 || !fits_a_line(&event))
        cursor->bad = true;
    return event;
}

/* The digest over all of VALUE behind the head is the one told there. */
static bool is_signed(struct digest *digest, struct cursor *cursor)
{
    const uint8_t *told = take_digest(cursor);
    uint8_t sum[DIGEST_SIZE];

    if (!told)
        return false;
    digest_begin(digest);
    digest_add(digest, cursor->rest);
    digest_end(digest, sum);
    return digest_equal(sum, told);
}

static enum chat_finish take_finish(struct cursor *cursor)
{
    unsigned finish = (unsigned)take_number(cursor, 1);

    if (finish >= FINISH_COUNT)
        cursor->bad = true;
    return finish < FINISH_COUNT ? (enum chat_finish)finish : FINISH_UNTOLD;
}

static struct stored take_head(struct cursor *cursor)
{
    struct stored stored = {0};

    stored.label.key = take_digest(cursor);
    stored.label.tenant = take_digest(cursor);
    stored.label.stamp = take_number(cursor, 8);
    stored.label.made_wall_ms = take_number(cursor, 8);
    stored.facts.backend = take_text(cursor);
    stored.facts.model = take_text(cursor);
    stored.facts.fingerprint = take_text(cursor);
    stored.facts.prompt_tokens = take_tokens(cursor);
    stored.facts.completion_tokens = take_tokens(cursor);
    stored.facts.finish = take_finish(cursor);
    stored.facts.whole = true;
    stored.events = (uint32_t)take_number(cursor, 4);
    stored.rest = cursor->rest;
    return stored;
}

int stored_read(struct digest *digest, struct bytes value, const uint8_t key[DIGEST_SIZE],
                const uint8_t tenant[DIGEST_SIZE], struct stored *ret)
{
    struct cursor cursor = {.rest = value};
    const char *magic = take(&cursor, MAGIC_SIZE);
    struct stored stored;

    if (!magic || memcmp(magic, MAGIC, MAGIC_SIZE) != 0 || take_number(&cursor, 4) != STORED_VERSION)
        return STORED_E_BAD;
    if (!is_signed(digest, &cursor))
        return STORED_E_BAD;
    stored = take_head(&cursor);
    for (uint32_t i = 0; i < stored.events && !cursor.bad; i++)
        take_event(&cursor);
    if (cursor.bad || cursor.rest.size)
        return STORED_E_BAD;
    if (!digest_equal(stored.label.key, key) || !digest_equal(stored.label.tenant, tenant))
        return STORED_E_OTHER;
    *ret = stored;
    return 0;
}

bool stored_next(struct stored *stored, struct chat_event *ret)
{
    struct cursor cursor = {.rest = stored->rest};

    if (stored->events == 0)
        return false;
    *ret = take_event(&cursor);
    stored->rest = cursor.rest;
    stored->events--;
    return true;
}
