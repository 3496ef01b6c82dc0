/*
 * A Goodfire server knows the question as it is, and its answer passes untouched: its digits are its own.
 */
#include "dialect/logits_talk.h"

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

static enum logits_verdict next(struct logits_talk *talk, unsigned status)
{
    const struct json_doc *doc = &talk->doc;

    if (talk->stage++ == START)
        return ask(talk);
    if (!json_is(json_member(doc, json_root(doc), BYTES("logits")), JSON_OBJECT))
        return logits_fail(talk, FAIL_UPSTREAM_BAD, NULL, "The model server's answer has no logits.");
    buffer_append(&talk->answer, doc->text);
    return LOGITS_DONE;
}

const struct logits_kind logits_goodfire = {.start = start, .next = next};
