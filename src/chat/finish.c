/*
 * A table of words.
 */
#include "chat/finish.h"

static const char *const names[FINISH_COUNT] = {
    [FINISH_UNTOLD] = "",
    [FINISH_STOP] = "stop",
    [FINISH_LENGTH] = "length",
    [FINISH_TOOL_CALLS] = "tool_calls",
    [FINISH_FUNCTION_CALL] = "function_call",
    [FINISH_CONTENT_FILTER] = "content_filter",
    [FINISH_OTHER] = "other",
    [FINISH_MIXED] = "mixed",
};

enum chat_finish finish_of(struct bytes reason)
{
    for (int i = FINISH_STOP; i < FINISH_OTHER; i++)
        if (bytes_equal(reason, bytes_of(names[i])))
            return (enum chat_finish)i;
    return FINISH_OTHER;
}

enum chat_finish finish_join(enum chat_finish known, enum chat_finish told)
{
    return known == FINISH_UNTOLD || known == told ? told : FINISH_MIXED;
}

struct bytes finish_name(enum chat_finish finish)
{
    return bytes_of(names[finish]);
}
