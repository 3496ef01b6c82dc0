/*
 * A request being drafted: the client's body, and what each known member is to be when it leaves. Whoever
 * drafts sets values; only at the end are they compared with the client's bytes, and only what differs is
 * spliced.
 */
#pragma once

#include "dialect/backend.h"
#include "dialect/backend_quirks.h"
#include "json/json_splice.h"

/* A member that is no chat_field. */
struct backend_extra {
    struct bytes name, value;   /* no value: the member goes */
    bool keep;                  /* the client's own stays, when it has one */
};

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

    /* What will be sent beside the known members and the client's own unknown ones. */
    struct backend_extra *extras;
    uint32_t extra_count, extra_capacity;
};

void backend_draft_init(struct backend_draft *draft, const struct backend_ask *ask,
                        struct failure *ret_failure);

/* All steps of a completion: what would really be asked. 0, or -EINVAL with a failure. */
int backend_draft_settle(struct backend_draft *draft);

/* The configuration's parameters for this model: `fixed` replace, `defaults` fill in. */
void backend_draft_params(struct backend_draft *draft);

/* A member that is no chat_field. It replaces the client's, or with KEEP stays away when the client has one. A VALUE of
 * none takes the client's away. NAME and VALUE are not copied. */
void backend_draft_extra(struct backend_draft *draft, struct bytes name, struct bytes value, bool keep);

/* The body: the client's own bytes when nothing changed, else in the ask's arena. */
struct bytes backend_draft_write(struct backend_draft *draft);

/* -EINVAL with a failure of KIND, about the member called PARAM. */
int backend_draft_refuse(struct backend_draft *draft, enum failure_kind kind, const char *param,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The client's own member called NAME: NULL when it has none or says null. */
const struct json_node *backend_draft_said(const struct backend_draft *draft, struct bytes name);

/* The value is the client's own: its node, else NULL. */
const struct json_node *backend_draft_node(const struct backend_draft *draft, enum chat_field field);

/* The value as a number; false when there is none. */
bool backend_draft_number(const struct backend_draft *draft, enum chat_field field, double *ret);

/* The name of the model there: a variant's adapter, the configured name, else none: as the client called it. */
struct bytes backend_draft_model(const struct backend_draft *draft);

/* The value as a whole number; false when there is none. */
bool backend_draft_whole(const struct backend_draft *draft, enum chat_field field, int64_t *ret);

/* Any JSON that is the number 0, or 1. */
bool backend_number_zero(struct bytes number);
bool backend_number_one(struct bytes number);

/* What a value that is there says. */
bool backend_draft_empty(const struct backend_draft *draft, enum chat_field field); /* [] or {} */
bool backend_draft_zero(const struct backend_draft *draft, enum chat_field field);
bool backend_draft_one(const struct backend_draft *draft, enum chat_field field);
bool backend_draft_untrue(const struct backend_draft *draft, enum chat_field field); /* false */
bool backend_draft_word(const struct backend_draft *draft, enum chat_field field, const char *word); /* "word" */
/* ["text"] or {"type":"text"} in the client's own words. */
bool backend_draft_plain_text(const struct backend_draft *draft, enum chat_field field);

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
