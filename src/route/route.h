/*
 * Who could answer? A model's name to the backends that serve it, in the order of asking.
 */
#pragma once

#include "route/catalog.h"

struct route_target {
    const struct config_backend *backend;
    enum config_kind kind;
    struct bytes upstream_model;
    const struct config_params *defaults, *fixed;   /* or NULL */
};

struct route {
    const struct config_variant *variant;   /* the name was a variant's; or NULL */
    const struct config_model *model;       /* from the configuration; or NULL */
    struct route_target *targets;           /* in ARENA; at least one */
    uint32_t count;
};

enum { ROUTE_E_NO_MODEL = 1 };

int route_find(const struct config *config, const struct catalog *catalog, struct bytes name, struct arena *arena,
               struct route *ret);

/* Every name that route_find() knows, in order: models, aliases, variants, or what the backends list. */
struct route_name {
    struct bytes name;
    struct bytes owner;     /* the first backend's name */
    struct bytes parent;    /* a variant's or alias's model; or none */
};
uint32_t route_names(const struct config *config, const struct catalog *catalog, struct arena *arena,
                     struct route_name **ret);
