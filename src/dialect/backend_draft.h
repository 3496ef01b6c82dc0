/*
 * A request being drafted: the client's body, and what each known member is to be when it leaves. Whoever
 * drafts sets values; only at the end are they compared with the client's bytes, and only what differs is
 * spliced.
 */
#pragma once

#include "dialect/backend.h"
#include "dialect/backend_quirks.h"
#include "json/json_splice.h"

struct backend_draft {
    const struct backend_ask *ask;
    const struct backend_quirks *quirks;
    const struct chat_request *request;
    struct json_splice splice;
    struct failure *ret_failure;

    /* What will be sent: JSON, or none. The client's own spans at first. */
    struct bytes value[FIELD_COUNT];

    /* The output limit and the name it will have; value[] of its two names is not looked at. */
    struct bytes limit;
    const char *limit_name;
};

void backend_draft_init(struct backend_draft *draft, const struct backend_ask *ask,
                        struct failure *ret_failure);

/* The configuration's parameters for this model: `fixed` replace, `defaults` fill in. */
void backend_draft_params(struct backend_draft *draft);

/* A member that is no chat_field. It replaces the client's, or with KEEP stays away when the client has one.
 */
void backend_draft_extra(struct backend_draft *draft, struct bytes name, struct bytes value, bool keep);

/* The body: the client's own bytes when nothing changed, else in the ask's arena. */
struct bytes backend_draft_write(struct backend_draft *draft);

/* -EINVAL with a failure of KIND, about the member called PARAM. */
int backend_draft_refuse(struct backend_draft *draft, enum failure_kind kind, const char *param,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The value is the client's own: its node, else NULL. */
const struct json_node *backend_draft_node(const struct backend_draft *draft, enum chat_field field);

/* The value as a number; false when there is none. */
bool backend_draft_number(const struct backend_draft *draft, enum chat_field field, double *ret);

/* What shapes the prompt, for chats and logits alike: the model's name, the system prompt, the messages,
 * steering. 0 or -EINVAL with a failure. */
int backend_draft_prompt(struct backend_draft *draft);

/* 0, or -EINVAL with FAIL_STEERING when the ask wants steering that its kind cannot do. */
int backend_check_steering(const struct backend_ask *ask, struct failure *ret_failure);

/* TEXT as a JSON string in ARENA. */
struct bytes backend_json_string(struct arena *arena, struct bytes text);

bool backend_ends_with_assistant(const struct chat_request *request);
/* The last message is the assistant's, with content that is to be continued. */
bool backend_prefilled(const struct chat_request *request);

/* Edits inside `messages`; backend_messages.c. */
int backend_draft_messages(struct backend_draft *draft);
