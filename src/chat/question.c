/*
 * One allocation for what lives and dies together.
 */
#include "chat/question.h"

#include "base/alloc.h"

struct question *question_new(void)
{
    struct question *question = ALLOC_NEW(struct question);

    question->references = 1;
    arena_init(&question->arena);
    buffer_init(&question->body);
    json_doc_init(&question->doc, JSON_LIMITS_DEFAULT);
    return question;
}

struct question *question_ref(struct question *question)
{
    question->references++;
    return question;
}

struct question *question_unref(struct question *question)
{
    if (!question || --question->references > 0)
        return NULL;
    json_doc_deinit(&question->doc);
    buffer_deinit(&question->body);
    arena_deinit(&question->arena);
    return alloc_free(question);
}
