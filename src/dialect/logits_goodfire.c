/*
 * A Goodfire server knows the question as it is, and its answer passes untouched: its digits are its own.
 */
#include "dialect/logits_talk.h"
#include "json/json_write.h"

#include <errno.h>

enum { START };

static int start(struct logits_talk *talk)
{
    if (talk->ask.request->scale != SCALE_PROB)
        return 0;
    logits_fail(talk, FAIL_UNSUPPORTED, "scale",
                "'scale': a Goodfire server gives logits, which cannot be made probabilities.");
    return -EINVAL;
}

static enum logits_verdict ask(struct logits_talk *talk)
{
    struct backend_draft draft;

    backend_draft_init(&draft, &talk->ask, talk->ret_failure);
    if (backend_draft_prompt(&draft) < 0)
        return LOGITS_FAILED;
    draft.value[FIELD_SCALE] = BYTES_NONE;
    return logits_post_draft(talk, &draft, "/api/inference/v1/chat-attribution/compute-logits");
}

/* For our own path: what the other kinds tell as well. */
static void tell(struct logits_talk *talk, const struct json_node *logits)
{
    const struct json_doc *asked = talk->ask.request->doc;
    const struct json_node *filter = chat_field(talk->ask.request, FIELD_FILTER_VOCABULARY), *item;
    struct buffer *out = &talk->answer;
    bool first = true;

    buffer_append_char(out, '{');
    json_write_member_raw(out, "logits", json_raw(&talk->doc, logits));
    json_write_member_string(out, "scale", BYTES("logit"));
    json_write_name(out, "unanswered");
    buffer_append_char(out, '[');
    for (item = json_first(asked, filter); item; item = json_after(asked, filter, item)) {
        if (json_member(&talk->doc, logits, json_text(asked, item, talk->ask.arena)))
            continue;
        if (!first)
            buffer_append_char(out, ',');
        first = false;
        buffer_append(out, json_raw(asked, item));
    }
    buffer_append_char(out, ']');
    json_write_member_string(out, "model", talk->ask.upstream_model);
    buffer_append_char(out, '}');
}

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    const struct json_doc *doc = &talk->doc;

    if (talk->stage++ == START)
        return ask(talk);
    if (!json_is(json_member(doc, json_root(doc), BYTES("logits")), JSON_OBJECT))
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's answer has no logits.");
    if (talk->ask.client == SHAPE_GOODFIRE)
        buffer_append(&talk->answer, doc->text);
    else
        tell(talk, json_member(doc, json_root(doc), BYTES("logits")));
    return LOGITS_DONE;
}

const struct logits_kind logits_goodfire = {.start = start, .next = next};
