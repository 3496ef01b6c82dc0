/*
 * The memory of one question: the client's bytes, their JSON, the request made of them. The exchange that received it
 * and the flight that answers it each hold a reference, so that either may end first.
 */
#pragma once

#include "base/buffer.h"
#include "chat/request.h"

struct question {
    unsigned references;
    struct arena arena;
    struct buffer body;
    struct json_doc doc;
    struct chat_request request;
};

struct question *question_new(void);
struct question *question_ref(struct question *question);
struct question *question_unref(struct question *question);
