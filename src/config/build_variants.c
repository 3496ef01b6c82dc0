/*
 * Named steering over a base model.
 */
#include "config/build.h"
#include "config/controller.h"
#include "config/values.h"

static void read_model(struct build *build, const struct raw_variant *raw, const struct tree_node *node,
                       struct config_variant *variant, const struct config_model **ret)
{
    const struct config *config = build->config;
    const struct config_model *model;
    struct bytes name;

    if (!build_text(build, node, raw->model, &name))
        return;
    model = config_find_model(config, name);
    if (!model) {
        if (!build->models_unsure)
            report_node(build->report, node, "no entry of models is called %s",
                        report_quote(build->report, node->text));
        return;
    }
    variant->model = (uint32_t)(model - config->models);
    *ret = model;
}

static void read_lora(struct build *build, const struct raw_lora *raw, const struct tree_node *node,
                      struct config_variant *variant)
{
    struct config_lora *lora = &variant->lora[variant->lora_count];
    const struct tree_node *scale = tree_member(node, BYTES("scale"));
    bool whole;

    lora->id = raw->id ? *raw->id : -1; /* no id is negative */
    for (uint32_t i = 0; i < variant->lora_count && raw->id; i++)
        if (variant->lora[i].id == lora->id)
            report_member(build->report, node, "id", "is the same as in lora[%u]", i);
    lora->scale = BYTES("1");
    if (build_text(build, scale, raw->scale, &lora->scale) &&
        (!scale->plain || !value_is_number(lora->scale, &whole)))
        report_node(build->report, scale, "must be a number, without quotes");
    variant->lora_count++;
}

static void read_loras(struct build *build, const struct raw_variant *raw, const struct tree_node *node,
                       struct config_variant *variant)
{
    const struct tree_node *item = node ? node->first : NULL;

    variant->lora = arena_zeroed(&build->config->arena, raw->lora_count * sizeof(*variant->lora));
    for (uint32_t i = 0; i < raw->lora_count; i++, item = item->next)
        read_lora(build, &raw->lora[i], item, variant);
}

static void build_variant(struct build *build, const struct raw_variant *raw, const struct tree_node *node,
                          struct config_variant *variant)
{
    const struct tree_node *controller = tree_member(node, BYTES("controller"));
    const struct config_model *model = NULL;
    struct bytes path;

    build_text(build, tree_member(node, BYTES("name")), raw->name, &variant->name);
    read_model(build, raw, tree_member(node, BYTES("model")), variant, &model);
    if (build_text(build, controller, raw->controller, &path))
        controller_read(build, controller, build_path(build, path), variant->name, model,
                        &variant->controller);
    read_loras(build, raw, tree_member(node, BYTES("lora")), variant);
    build_text(build, tree_member(node, BYTES("adapter")), raw->adapter, &variant->adapter);
    if (!tree_given(node, BYTES("controller")) && !tree_given(node, BYTES("lora")) &&
        !tree_given(node, BYTES("adapter")))
        report_node(build->report, node, "steers nothing: give controller, lora or adapter");
}

void build_variants(struct build *build, const struct raw *raw, const struct tree_node *node)
{
    struct config *config = build->config;
    const struct tree_node *item = node ? node->first : NULL;

    build->variants_unsure = node && (node->bad || node->partial);
    config->variants = arena_zeroed(&config->arena, raw->variants_count * sizeof(*config->variants));
    for (uint32_t i = 0; i < raw->variants_count; i++, item = item->next) {
        if (!item->bad)
            build_variant(build, &raw->variants[i], item, &config->variants[i]);
        build->variants_unsure = build->variants_unsure || build_name_unsure(item, config->variants[i].name);
        config->variant_count++;
    }
}
