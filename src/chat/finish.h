/*
 * Why an answer ended, in the API's words; of several choices the one reason they share.
 */
#pragma once

#include "base/bytes.h"

enum chat_finish {
    FINISH_UNTOLD,
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_TOOL_CALLS,
    FINISH_FUNCTION_CALL,
    FINISH_CONTENT_FILTER,
    FINISH_OTHER,       /* a word the API does not know */
    FINISH_MIXED,       /* several choices, several reasons */
    FINISH_COUNT,
};

/* REASON without quotes. */
enum chat_finish finish_of(struct bytes reason);
/* One more choice ended. */
enum chat_finish finish_join(enum chat_finish known, enum chat_finish told);
/* "tool_calls"; none for FINISH_UNTOLD. */
struct bytes finish_name(enum chat_finish finish);
