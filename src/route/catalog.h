/*
 * What the backends say they serve, for a configuration without a list of models: one per worker, filled by whoever
 * asks them.
 */
#pragma once

#include "config/config.h"
#include "json/json_doc.h"

struct catalog;

struct catalog *catalog_new(const struct config *config);
struct catalog *catalog_free(struct catalog *catalog);

/* This backend's list must be asked for: it was never learned, or is older than MAX_AGE_MS. */
bool catalog_stale(const struct catalog *catalog, uint32_t backend, uint64_t now, uint32_t max_age_ms);
/* MODELS is the answer to GET /v1/models; KIND what it was found to be. */
void catalog_learn(struct catalog *catalog, uint32_t backend, enum config_kind kind, const struct json_doc *models,
                   uint64_t now);
/* Its list is known, from whenever. */
bool catalog_known(const struct catalog *catalog, uint32_t backend);
/* It could not be asked; what was known stays. */
void catalog_missed(struct catalog *catalog, uint32_t backend, uint64_t now);

/* The kind to speak to it as. */
enum config_kind catalog_kind(const struct catalog *catalog, uint32_t backend);
bool catalog_lists(const struct catalog *catalog, uint32_t backend, struct bytes model);
uint32_t catalog_count(const struct catalog *catalog, uint32_t backend);
struct bytes catalog_name(const struct catalog *catalog, uint32_t backend, uint32_t at);
