/*
 * What an upstream told, read for a client whose words must be other ones: the pieces both dialects need when
 * a payload cannot pass as it came.
 */
#pragma once

#include "dialect/client.h"

/* Parse PAYLOAD into the stream's document. 0, or CLIENT_E_UNTELLABLE when it is no JSON object. */
int told_parse(struct client_stream *stream, struct bytes payload);

/* One item of `choices`. Nodes are NULL when absent, null, or (content) empty. */
struct told_choice {
    int64_t index;
    const struct json_node *part;        /* the delta or message */
    const struct json_node *content;     /* a string */
    const struct json_node *finish;      /* a string */
    const struct json_node *token_index; /* an integer of Goodfire's */
};

/* PART is "delta" or "message". 0, or CLIENT_E_UNTELLABLE when a type is wrong. */
int told_choice(const struct json_doc *doc, const struct json_node *choice, const char *part,
                struct told_choice *ret);

/* A member of the root that is a string, else NULL. */
const struct json_node *told_string(const struct json_doc *doc, const char *member);

/* `"error":{"message":...,"type":...,"param":...,"code":...}`, in ASCII for Goodfire's streams. */
void told_write_error(const struct failure *failure, bool ascii, struct buffer *out);
