/*
 * Names that clients may ask for, and which backends stand behind them.
 */
#include "config/build.h"

static void read_aliases(struct build *build, const struct raw_model *raw, const struct tree_node *node,
                         struct config_model *model)
{
    const struct tree_node *list = tree_member(node, BYTES("aliases"));
    const struct tree_node *item = list ? list->first : NULL;

    model->aliases = arena_zeroed(&build->config->arena, raw->aliases_count * sizeof(*model->aliases));
    model->alias_count = raw->aliases_count;
    for (uint32_t i = 0; i < raw->aliases_count; i++, item = item->next)
        build_text(build, item, raw->aliases[i], &model->aliases[i]);
}

static bool find_backend(const struct config *config, struct bytes name, uint32_t *ret)
{
    for (uint32_t i = 0; i < config->backend_count; i++) {
        if (bytes_equal(config->backends[i].name, name)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static void read_backend(struct build *build, const struct tree_node *node, const char *raw,
                         struct config_model *model)
{
    struct bytes name;
    uint32_t index;

    if (!build_text(build, node, raw, &name))
        return;
    if (!find_backend(build->config, name, &index)) {
        if (!build->backends_unsure)
            report_node(build->report, node, "no backend is called %s",
                        report_quote(build->report, node->text));
        return;
    }
    for (uint32_t i = 0; i < model->backend_count; i++) {
        if (model->backends[i] == index) {
            report_node(build->report, node, "%s stands here twice", report_quote(build->report, node->text));
            return;
        }
    }
    model->backends[model->backend_count++] = index;
}

static void read_backends(struct build *build, const struct raw_model *raw, const struct tree_node *node,
                          struct config_model *model)
{
    const struct tree_node *list = tree_member(node, BYTES("backends"));
    const struct tree_node *item = list ? list->first : NULL;

    model->backends = arena_zeroed(&build->config->arena, raw->backends_count * sizeof(*model->backends));
    for (uint32_t i = 0; i < raw->backends_count; i++, item = item->next)
        read_backend(build, item, raw->backends[i], model);
}

/* Somebody may mean this one by a name that is not known. */
static bool is_unsure(const struct tree_node *node, const struct config_model *model)
{
    const struct tree_node *aliases = tree_member(node, BYTES("aliases"));

    if (build_name_unsure(node, model->name) || (aliases && (aliases->bad || aliases->partial)))
        return true;
    for (uint32_t i = 0; i < model->alias_count; i++)
        if (model->aliases[i].size == 0)
            return true;
    return false;
}

/* The output limit that PARAMS set, or 0: of the two names for it the first, or the LAST. */
static uint32_t output_limit(const struct config_params *params, bool last)
{
    int64_t limit = 0;

    for (uint32_t i = 0; i < params->count; i++) {
        const struct config_param *param = &params->list[i];

        if ((last || limit == 0) && (bytes_equal(param->name, BYTES("max_tokens")) ||
                                     bytes_equal(param->name, BYTES("max_completion_tokens"))) &&
            bytes_to_i64(param->value, &limit) < 0)
            limit = 0;
    }
    return limit > 0 && limit <= INT32_MAX ? (uint32_t)limit : 0;
}

static void build_model(struct build *build, const struct raw_model *raw, const struct tree_node *node,
                        struct config_model *model)
{
    const struct tree_node *defaults = tree_member(node, BYTES("defaults"));
    const struct tree_node *fixed = tree_member(node, BYTES("fixed"));

    build_text(build, tree_member(node, BYTES("name")), raw->name, &model->name);
    read_aliases(build, raw, node, model);
    read_backends(build, raw, node, model);
    if (!tree_given(node, BYTES("upstream")))
        model->upstream = model->name;
    build_text(build, tree_member(node, BYTES("upstream")), raw->upstream, &model->upstream);
    build_params(build, raw->defaults, defaults, &model->defaults);
    build_params(build, raw->fixed, fixed, &model->fixed);
    build_compare_params(build, defaults, fixed);
    model->cache = build->config->cache.policy;
    build_cache_policy(build, raw->cache, tree_member(node, BYTES("cache")), &model->cache);
    build_quota(build, raw->quota, tree_member(node, BYTES("quota")), &model->quota);
    build_queue(build, raw->queue, node, &model->quota, &model->queue);
    build_price(build, raw->price, tree_member(node, BYTES("price")), &model->price);
    model->fixed_output = output_limit(&model->fixed, true);
    model->default_output = output_limit(&model->defaults, false);
    if (model->default_output == 0)
        model->default_output = CONFIG_DEFAULT_OUTPUT;
    build_count(build, node, "default_output", raw->default_output, 1, INT32_MAX, &model->default_output);
    build_bodies(build, tree_member(node, BYTES("log_bodies")), raw->log_bodies, &model->bodies);
}

void build_models(struct build *build, const struct raw *raw, const struct tree_node *node)
{
    struct config *config = build->config;
    const struct tree_node *item = node ? node->first : NULL;

    build->models_unsure = node && (node->bad || node->partial);
    config->models = arena_zeroed(&config->arena, raw->models_count * sizeof(*config->models));
    for (uint32_t i = 0; i < raw->models_count; i++, item = item->next) {
        if (!item->bad)
            build_model(build, &raw->models[i], item, &config->models[i]);
        build->models_unsure = build->models_unsure || is_unsure(item, &config->models[i]);
        config->model_count++;
    }
}

/* --- names --- */

static void collect_models(const struct config *config, const struct tree_node *models,
                           struct name_list *list)
{
    const struct tree_node *item = models ? models->first : NULL;

    for (uint32_t i = 0; i < config->model_count; i++, item = item->next) {
        const struct tree_node *aliases = tree_member(item, BYTES("aliases"));
        const struct tree_node *alias = aliases ? aliases->first : NULL;

        names_add(list, config->models[i].name, tree_member(item, BYTES("name")));
        for (uint32_t j = 0; j < config->models[i].alias_count; j++, alias = alias->next)
            names_add(list, config->models[i].aliases[j], alias);
    }
}

void build_unique_names(struct build *build, const struct tree_node *models, const struct tree_node *variants)
{
    const struct config *config = build->config;
    const struct tree_node *item = variants ? variants->first : NULL;
    struct name_list list = {0};

    collect_models(config, models, &list);
    for (uint32_t i = 0; i < config->variant_count; i++, item = item->next)
        names_add(&list, config->variants[i].name, tree_member(item, BYTES("name")));
    names_check(build, &list, "a name");
}
