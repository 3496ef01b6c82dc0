/*
 * Canonical texts, made once, compared byte for byte.
 */
#include "flow/variants.h"

#include "base/alloc.h"
#include "chat/steering.h"

struct variants {
    const struct config *config;
    struct bytes *texts; /* by variant; none when it has no controller */
    struct arena arena;
};

static struct bytes canonical(const struct json_doc *doc, const struct json_node *controller, struct arena *arena)
{
    struct buffer text;
    struct bytes copy;

    buffer_init(&text);
    steering_controller_canonical(doc, controller, arena, &text);
    copy = arena_copy(arena, buffer_bytes(&text));
    buffer_deinit(&text);
    return copy;
}

struct variants *variants_new(const struct config *config)
{
    struct variants *variants = ALLOC_NEW(struct variants);
    struct json_doc doc;

    variants->config = config;
    arena_init(&variants->arena);
    variants->texts = arena_zeroed(&variants->arena, config->variant_count * sizeof(*variants->texts));
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    for (uint32_t i = 0; i < config->variant_count; i++)
        if (config->variants[i].controller.size && json_doc_parse(&doc, config->variants[i].controller) == 0)
            variants->texts[i] = canonical(&doc, json_root(&doc), &variants->arena);
    json_doc_deinit(&doc);
    return variants;
}

struct variants *variants_free(struct variants *variants)
{
    if (!variants)
        return NULL;
    arena_deinit(&variants->arena);
    return alloc_free(variants);
}

const struct config_variant *variants_like(const struct variants *variants, const struct config_model *model,
                                           const struct json_doc *doc, const struct json_node *controller)
{
    const struct config *config = variants->config;
    const struct config_variant *found = NULL;
    struct arena scratch;
    struct bytes text;

    if (!model || config->variant_count == 0)
        return NULL;
    arena_init(&scratch);
    text = canonical(doc, controller, &scratch);
    for (uint32_t i = 0; i < config->variant_count && !found; i++)
        if (&config->models[config->variants[i].model] == model && variants->texts[i].size &&
            bytes_equal(variants->texts[i], text))
            found = &config->variants[i];
    arena_deinit(&scratch);
    return found;
}
