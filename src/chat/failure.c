/*
 * The table of failures, and how one is made and kept.
 */
#include "chat/failure.h"

#include <stdarg.h>
#include <stdio.h>

static const struct failure_row rows[] = {
#define FAILURE_ROW(kind, openai, goodfire, type, code, again) {#kind, openai, goodfire, type, code, again},
    FAILURE_TABLE(FAILURE_ROW)
#undef FAILURE_ROW
};

const struct failure_row *failure_row(enum failure_kind kind)
{
    return &rows[kind];
}

struct failure failure_make(struct arena *arena, enum failure_kind kind, const char *format, ...)
{
    char text[1024];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size < 0)
        size = 0;
    if ((size_t)size >= sizeof(text))
        size = sizeof(text) - 1;
    return (struct failure){.kind = kind, .message = arena_copy(arena, (struct bytes){text, (size_t)size})};
}

static struct bytes copy_if_any(struct arena *arena, struct bytes view)
{
    return view.data ? arena_copy(arena, view) : view;
}

struct failure failure_copy(struct arena *arena, const struct failure *failure)
{
    struct failure copy = *failure;

    copy.message = copy_if_any(arena, failure->message);
    copy.param = copy_if_any(arena, failure->param);
    copy.code = copy_if_any(arena, failure->code);
    copy.type = copy_if_any(arena, failure->type);
    copy.detail = copy_if_any(arena, failure->detail);
    return copy;
}
