/*
 * Checked first, then indexed, then read: what is read here is known to have its type.
 */
#include "chat/understand.h"

#include "chat/check.h"

#include <errno.h>

#define TOP_K_DEFAULT 10

static bool is_true(const struct chat_request *request, enum chat_field field)
{
    return json_is(chat_field(request, field), JSON_TRUE);
}

/* The value of FIELD, or OTHERWISE when it is absent. */
static int64_t integer(const struct chat_request *request, enum chat_field field, int64_t otherwise)
{
    int64_t value;

    return json_i64(request->doc, chat_field(request, field), &value) == 0 ? value : otherwise;
}

static void read_completion(struct chat_request *request)
{
    const struct json_node *options = chat_field(request, FIELD_STREAM_OPTIONS);
    const struct json_node *usage = json_member(request->doc, options, BYTES("include_usage"));

    request->stream = is_true(request, FIELD_STREAM);
    request->include_usage = request->stream && json_is(usage, JSON_TRUE);
    request->has_max_tokens = request->field[FIELD_MAX_COMPLETION_TOKENS] || request->field[FIELD_MAX_TOKENS];
    request->max_tokens =
        integer(request, FIELD_MAX_COMPLETION_TOKENS, integer(request, FIELD_MAX_TOKENS, 0));
    request->n = integer(request, FIELD_N, 1);
}

static void read_logits(struct chat_request *request)
{
    request->n = 1;
    request->top_k = integer(request, FIELD_TOP_K, TOP_K_DEFAULT);
    request->scale = chat_field(request, FIELD_SCALE) ? SCALE_PROB : SCALE_ANY;
}

int chat_request_understand(struct chat_request *request, const struct json_doc *doc,
                            enum chat_operation operation, const struct rule *schema, struct arena *arena,
                            struct violations *found, struct failure *ret_failure)
{
    struct bytes model = json_text(doc, json_member(doc, json_root(doc), BYTES("model")), arena);
    int r;

    request->model = model; /* told of a bad question too */
    found->count = 0;
    check_value(doc, json_root(doc), schema, NULL, arena, found);
    if (found->count > 0) {
        *ret_failure = violation_failure(&found->item[0], doc, arena);
        return -EINVAL;
    }
    r = chat_request_index(request, doc, arena, ret_failure);
    if (r < 0)
        return r;
    request->operation = operation;
    request->model = model;
    if (operation == CHAT_LOGITS)
        read_logits(request);
    else
        read_completion(request);
    return 0;
}
