/*
 * An answer is kept as what it says, put together as one body of the API (chat/assembled): a stream and a whole body
 * are told alike, and field paths mean in an answer what they mean in the API.
 *
 * Of a body that was given up half-way nobody knows what its last bytes are the beginning of: with patterns it is not
 * told. A stream is whole once its good end is with the framing, whoever made it; a client that leaves before that has
 * half of it, though the others of the same answer may get the rest.
 */
#include "flow/bodies.h"

#include "base/alloc.h"
#include "chat/assembled.h"
#include "flow/deliver_frame.h"
#include "record/redact.h"

/* What is gathered of one answer. */
struct said {
    struct assembled body;
    struct buffer raw;          /* logits, and what is passed through: as it is */
    uint64_t bytes;
    bool at_once;               /* it came as a whole, not as a stream */
    bool cut;                   /* it was longer than any answer may be */
};

static enum config_bodies bodies_of(const struct exchange *x)
{
    const struct config_model *model = x->route.model;

    if (x->key && x->key->bodies != BODIES_UNSAID)
        return x->key->bodies;
    if (model && model->bodies != BODIES_UNSAID)
        return model->bodies;
    return x->flow->config->log.bodies;
}

bool bodies_wanted(const struct exchange *x)
{
    return x->question && x->flow->takes_lines && bodies_of(x) != BODIES_NONE;
}

void bodies_add(struct exchange *x, const struct chat_event *event)
{
    if (!x->said) {
        x->said = ALLOC_NEW(struct said);
        assembled_init(&x->said->body);
        buffer_init(&x->said->raw);
    }
    x->said->bytes += event->payload.size;
    x->said->at_once = event->kind >= EVENT_BODY;
    if (x->said->bytes > x->flow->config->limits.answer_bytes) {
        x->said->cut = true;
        return;
    }
    if (event->kind >= EVENT_LOGITS)
        buffer_append(&x->said->raw, event->payload);
    else
        assembled_add(&x->said->body, event->payload, &x->flow->doc);
}

static struct bytes hash_of(struct exchange *x, struct bytes text)
{
    uint8_t digest[DIGEST_SIZE];
    char *hex = arena_alloc(&x->arena, 2 * DIGEST_SIZE);

    digest_begin(x->flow->plain);
    digest_add(x->flow->plain, text);
    digest_end(x->flow->plain, digest);
    digest_hex(digest, hex);
    return (struct bytes){hex, 2 * DIGEST_SIZE};
}

static struct bytes redacted(struct exchange *x, struct bytes text, bool whole, bool *ret_cut)
{
    struct flow *flow = x->flow;

    if (!whole && flow->config->log.redact_pattern_count)
        return BYTES("\"[redacted]\"");
    buffer_clear(&flow->front, 1 << 20);
    redact_write(flow->redact, text, &flow->doc, flow->config->log.body_bytes, &flow->front, ret_cut);
    return arena_copy(&x->arena, buffer_bytes(&flow->front));
}

/* Beside a text with something taken out its hash would let it be guessed. */
static bool hides(const struct exchange *x, bool full)
{
    const struct config_log *log = &x->flow->config->log;

    return full && (log->redact_field_count || log->redact_pattern_count);
}

static void tell_answer(struct exchange *x, struct record *record, bool full)
{
    bool whole = !x->said->cut && (x->said->at_once || x->ending == FRAME_LAST);
    struct bytes text = buffer_bytes(&x->said->raw);

    buffer_clear(&x->flow->out, 1 << 20);
    if (text.size == 0) {
        assembled_write(&x->said->body, &x->flow->out);
        text = buffer_bytes(&x->flow->out);
    }
    if (!x->said->cut && !hides(x, full))
        record->answer_hash = hash_of(x, text);
    if (full)
        record->answer_body = redacted(x, text, whole, &record->answer_cut);
    record->answer_cut = record->answer_cut || x->said->cut;
}

void bodies_tell(struct exchange *x, struct record *record)
{
    bool full = bodies_of(x) == BODIES_FULL;

    if (x->question->body.size) {
        if (!hides(x, full))
            record->request_hash = hash_of(x, buffer_bytes(&x->question->body));
        if (full)
            record->request_body =
                redacted(x, buffer_bytes(&x->question->body), x->body_complete, &record->request_cut);
    }
    if (x->said)
        tell_answer(x, record, full);
}

void bodies_forget(struct exchange *x)
{
    if (!x->said)
        return;
    assembled_deinit(&x->said->body);
    buffer_deinit(&x->said->raw);
    x->said = alloc_free(x->said);
}
