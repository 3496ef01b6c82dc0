/*
 * Variants name models, models name backends. Without models in the configuration the backends' own lists decide.
 */
#include "route/route.h"

static void from_config(const struct config *config, const struct catalog *catalog, const struct config_model *model,
                        struct arena *arena, struct route *route)
{
    route->model = model;
    route->count = model->backend_count;
    route->targets = arena_alloc(arena, route->count * sizeof(*route->targets));
    for (uint32_t i = 0; i < route->count; i++) {
        route->targets[i] = (struct route_target){
            .backend = &config->backends[model->backends[i]],
            .kind = catalog_kind(catalog, model->backends[i]),
            .upstream_model = model->upstream,
            .defaults = &model->defaults,
            .fixed = &model->fixed,
        };
    }
}

static void from_catalog(const struct config *config, const struct catalog *catalog, struct bytes name,
                         struct arena *arena, struct route *route)
{
    route->targets = arena_alloc(arena, config->backend_count * sizeof(*route->targets));
    for (uint32_t i = 0; i < config->backend_count; i++) {
        if (!catalog_lists(catalog, i, name))
            continue;
        route->targets[route->count++] = (struct route_target){
            .backend = &config->backends[i],
            .kind = catalog_kind(catalog, i),
            .upstream_model = name,
        };
    }
}

int route_find(const struct config *config, const struct catalog *catalog, struct bytes name, struct arena *arena,
               struct route *ret)
{
    struct route route = {.variant = config_find_variant(config, name)};
    const struct config_model *model =
        route.variant ? &config->models[route.variant->model] : config_find_model(config, name);

    if (model)
        from_config(config, catalog, model, arena, &route);
    else if (config->model_count == 0)
        from_catalog(config, catalog, name, arena, &route);
    if (route.count == 0)
        return ROUTE_E_NO_MODEL;
    *ret = route;
    return 0;
}

static uint32_t most_names(const struct config *config, const struct catalog *catalog)
{
    uint32_t most = config->variant_count;

    for (uint32_t i = 0; i < config->model_count; i++)
        most += 1 + config->models[i].alias_count;
    for (uint32_t i = 0; i < config->backend_count; i++)
        most += catalog_count(catalog, i);
    return most;
}

static void add(struct route_name *names, uint32_t *count, struct route_name name)
{
    for (uint32_t i = 0; i < *count; i++)
        if (bytes_equal(names[i].name, name.name))
            return;
    names[(*count)++] = name;
}

uint32_t route_names(const struct config *config, const struct catalog *catalog, struct arena *arena,
                     struct route_name **ret)
{
    struct route_name *names = arena_alloc(arena, most_names(config, catalog) * sizeof(*names));
    uint32_t count = 0;

    for (uint32_t i = 0; i < config->model_count; i++) {
        const struct config_model *model = &config->models[i];
        struct bytes owner = config->backends[model->backends[0]].name;

        add(names, &count, (struct route_name){model->name, owner, BYTES_NONE});
        for (uint32_t alias = 0; alias < model->alias_count; alias++)
            add(names, &count, (struct route_name){model->aliases[alias], owner, model->name});
    }
    for (uint32_t i = 0; i < config->variant_count; i++) {
        const struct config_model *model = &config->models[config->variants[i].model];

        add(names, &count,
            (struct route_name){config->variants[i].name, config->backends[model->backends[0]].name, model->name});
    }
    for (uint32_t i = 0; i < config->backend_count && config->model_count == 0; i++)
        for (uint32_t at = 0; at < catalog_count(catalog, i); at++)
            add(names, &count,
                (struct route_name){catalog_name(catalog, i, at), config->backends[i].name, BYTES_NONE});
    *ret = names;
    return count;
}
