/*
 * What all kinds share: where a server's paths begin, and how one is told from another.
 */
#include "dialect/backend.h"

#include "dialect/backend_draft.h"
#include "json/json_write.h"

/* A Goodfire server's address is given with or without this. */
#define GOODFIRE_ROOT "/api/inference"

struct bytes backend_path(const struct config_backend *backend, struct arena *arena, const char *rest)
{
    struct bytes root = backend->root, after = bytes_of(rest);

    if (backend->versionless && bytes_start_with(after, BYTES("/v1/")))
        after = bytes_skip(after, 3);
    if (bytes_end_with(root, BYTES(GOODFIRE_ROOT)) && bytes_start_with(after, BYTES(GOODFIRE_ROOT "/")))
        after = bytes_skip(after, sizeof(GOODFIRE_ROOT) - 1);
    if (root.size == 0)
        return after;
    return arena_printf(arena, "%.*s%.*s", BYTES_ARG(root), BYTES_ARG(after));
}

struct bytes backend_json_string(struct arena *arena, struct bytes text)
{
    struct buffer out;
    struct bytes copy;

    buffer_init(&out);
    json_write_string(&out, text);
    copy = arena_copy(arena, buffer_bytes(&out));
    buffer_deinit(&out);
    return copy;
}

/* Who says to own the models it lists. */
static const struct {
    const char *owner;
    enum config_kind kind;
} owners[] = {
    {"llamacpp", KIND_LLAMA_SERVER},
    {"vllm", KIND_VLLM},
    {"sglang", KIND_SGLANG},
    {"library", KIND_OLLAMA},
};

enum config_kind backend_detect(const struct json_doc *models, struct arena *arena)
{
    const struct json_node *list = json_member(models, json_root(models), BYTES("data")), *model;

    if (!json_is(list, JSON_ARRAY))
        return KIND_OPENAI;
    for (model = json_first(models, list); model; model = json_after(models, list, model)) {
        const struct json_node *owner = json_member(models, model, BYTES("owned_by"));

        for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
            if (json_text_is(models, owner, bytes_of(owners[i].owner)))
                return owners[i].kind;
        if (json_is(json_at(models, model, "meta.n_vocab"), JSON_NUMBER))
            return KIND_LLAMA_SERVER;
    }
    return KIND_OPENAI;
}
