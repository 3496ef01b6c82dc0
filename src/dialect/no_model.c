/*
 * OpenAI says nothing about what else there is; Goodfire's server lists it.
 */
#include "dialect/no_model.h"

#include "dialect/pydantic.h"

#define NAMES_MAX 20

struct failure failure_no_model(const struct client_dialect *dialect, struct arena *arena, struct bytes model,
                                const struct bytes *names, unsigned count)
{
    struct failure failure =
        failure_make(arena, FAIL_NO_MODEL, "The model `%.*s` does not exist or you do not have access to it.",
                     BYTES_ARG(model));

    if (dialect->shape != SHAPE_GOODFIRE)
        return failure;
    failure.param = BYTES("model");
    if (count == 0)
        return failure;
    if (count > NAMES_MAX)
        count = NAMES_MAX;
    failure.message = pydantic_model_message(names, count, arena);
    failure.detail = pydantic_model_list(model, names, count, arena);
    return failure;
}
