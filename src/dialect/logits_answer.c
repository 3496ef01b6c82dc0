/*
 * The answer: one JSON object, the best token first, the upstream's own digits wherever nothing was calculated.
 */
#include "dialect/logits_talk.h"

#include "json/json_write.h"

#include <math.h>
#include <stdlib.h>

/* What is left of the wishes becomes entries like any others. */
static void add_wishes(struct logits_talk *talk)
{
    for (uint32_t i = 0; i < talk->wish_count; i++) {
        const struct logits_wish *wish = &talk->wishes[i];

        if (!wish->answered)
            continue;
        logits_add(talk, wish->text, wish->id, wish->value, NULL);
        talk->entries[talk->entry_count - 1].digits = wish->digits;
    }
}

static int order_values(const void *left, const void *right)
{
    const struct logits_entry *a = left, *b = right;

    return (a->value < b->value) - (a->value > b->value);
}

static int order_texts(const void *left, const void *right)
{
    const struct logits_entry *a = left, *b = right;
    size_t shorter = a->text.size < b->text.size ? a->text.size : b->text.size;
    int order = shorter ? memcmp(a->text.data, b->text.data, shorter) : 0;

    if (order == 0)
        order = (a->text.size > b->text.size) - (a->text.size < b->text.size);
    return order ? order : order_values(left, right);
}

/* Best first, of two tokens with one text the better, at most as many as were asked for. */
static void order_entries(struct logits_talk *talk)
{
    uint32_t kept = 0;

    if (talk->entry_count == 0)
        return;
    qsort(talk->entries, talk->entry_count, sizeof(*talk->entries), order_texts);
    for (uint32_t i = 0; i < talk->entry_count; i++)
        if (talk->entries[i].text.size &&
            (kept == 0 || !bytes_equal(talk->entries[i].text, talk->entries[kept - 1].text)))
            talk->entries[kept++] = talk->entries[i];
    qsort(talk->entries, kept, sizeof(*talk->entries), order_values);
    if (!talk->filtered && kept > talk->ask.request->top_k && talk->ask.request->top_k > 0)
        kept = (uint32_t)talk->ask.request->top_k;
    talk->entry_count = kept;
}

static void write_entries(struct logits_talk *talk, struct buffer *out)
{
    bool prob = talk->ask.request->scale == SCALE_PROB;

    buffer_append_text(out, "{\"logits\":{");
    for (uint32_t i = 0; i < talk->entry_count; i++) {
        const struct logits_entry *entry = &talk->entries[i];

        if (i)
            buffer_append_char(out, ',');
        json_write_string(out, entry->text);
        buffer_append_char(out, ':');
        if (prob)
            json_write_double(out, exp(entry->value));
        else if (entry->digits.size)
            buffer_append(out, entry->digits);
        else
            json_write_double(out, entry->value);
    }
    buffer_append_text(out, "},\"scale\":");
    buffer_append_text(out, prob ? "\"prob\"" : talk->true_logits ? "\"logit\"" : "\"logprob\"");
}

static void write_unanswered(struct logits_talk *talk, struct buffer *out)
{
    bool first = true;

    buffer_append_text(out, ",\"unanswered\":[");
    for (uint32_t i = 0; i < talk->wish_count; i++) {
        if (talk->wishes[i].answered)
            continue;
        if (!first)
            buffer_append_char(out, ',');
        json_write_string(out, talk->wishes[i].text);
        first = false;
    }
    buffer_append_char(out, ']');
}

enum logits_verdict logits_write_answer(struct logits_talk *talk)
{
    if (talk->true_logits && talk->ask.request->scale == SCALE_PROB)
        return logits_fail(talk, FAIL_UNSUPPORTED, "scale",
                           "'scale': this model's backend gives raw logits, which cannot be made probabilities.");
    if (talk->filtered)
        talk->entry_count = 0;
    add_wishes(talk);
    order_entries(talk);
    write_entries(talk, &talk->answer);
    write_unanswered(talk, &talk->answer);
    json_write_member_string(&talk->answer, "model", talk->ask.upstream_model);
    buffer_append_char(&talk->answer, '}');
    return LOGITS_DONE;
}
