/*
 * The snapshot: loaded, with all its values checked, and never given out with an error.
 */
#include "config/config.h"

#include "base/alloc.h"
#include "config/build.h"
#include "config/file.h"
#include "config/load.h"

static struct config *config_new(void)
{
    struct config *config = ALLOC_NEW(struct config);

    config->references = 1;
    arena_init(&config->arena);
    return config;
}

/* A snapshot of RAW with OVERRIDES, or NULL after complaints. */
static struct config *assemble(const struct raw *raw, const struct tree_node *root, const char *folder,
                               const struct config_overrides *overrides, struct report *report)
{
    static const struct raw none;
    struct build build = {.config = config_new(), .report = report, .folder = folder ? folder : "."};

    build.arena = &build.config->arena;
    build.known = build.config;
    build_config(&build, raw ? raw : &none, root, overrides);
    return report_clean(report) ? build.config : config_unref(build.config);
}

int config_read_text(const char *name, const char *folder, struct bytes text,
                     const struct config_overrides *overrides, struct buffer *errors, struct config **ret)
{
    static const struct load_form form = {&schema_root, FILE_SIZE_MAX, 20000};
    struct config *config = NULL;
    struct load load;

    if (load_init(&load, &form, name, text))
        config = assemble(load.raw, load.root, folder, overrides, &load.report);
    load_deinit(&load, errors);
    if (!config)
        return CONFIG_E_BAD;
    *ret = config;
    return 0;
}

/* The folder PATH is in, to be given back with alloc_free(). */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder;

    if (!slash)
        return alloc_text(".");
    folder = alloc_text(path);
    folder[slash == path ? 1 : slash - path] = '\0';
    return folder;
}

int config_read(const char *path, const struct config_overrides *overrides, struct buffer *errors,
                struct config **ret)
{
    struct buffer text;
    char *folder;
    int r;

    if (!path)
        return config_read_text(NULL, ".", BYTES(""), overrides, errors, ret);
    buffer_init(&text);
    r = file_read(path, false, FILE_SIZE_MAX, &text);
    if (r < 0) {
        buffer_printf(errors, "%s: %s\n", path, file_error_text(r, FILE_SIZE_MAX));
    } else {
        folder = folder_of(path);
        r = config_read_text(path, folder, buffer_bytes(&text), overrides, errors, ret);
        alloc_free(folder);
    }
    buffer_deinit(&text);
    return r;
}

/* --- the snapshot --- */

struct config *config_ref(struct config *config)
{
    __atomic_add_fetch(&config->references, 1, __ATOMIC_RELAXED);
    return config;
}

struct config *config_unref(struct config *config)
{
    if (!config || __atomic_sub_fetch(&config->references, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    config_keys_unref(config->keys);
    arena_deinit(&config->arena);
    return alloc_free(config);
}

const char *config_kind_name(enum config_kind kind)
{
    static const char *const names[KIND_COUNT] = {
        [KIND_AUTO] = "auto",
        [KIND_OPENAI] = "openai",
        [KIND_GOODFIRE] = "goodfire",
        [KIND_VLLM] = "vllm",
        [KIND_LLAMA_SERVER] = "llama-server",
        [KIND_SGLANG] = "sglang",
        [KIND_OLLAMA] = "ollama",
        [KIND_ECHO] = "echo",
    };

    return names[kind];
}

const struct config_model *config_find_model(const struct config *config, struct bytes name)
{
    for (uint32_t i = 0; i < config->model_count; i++) {
        const struct config_model *model = &config->models[i];

        if (bytes_equal(model->name, name))
            return model;
        for (uint32_t j = 0; j < model->alias_count; j++)
            if (bytes_equal(model->aliases[j], name))
                return model;
    }
    return NULL;
}

const struct config_variant *config_find_variant(const struct config *config, struct bytes name)
{
    for (uint32_t i = 0; i < config->variant_count; i++)
        if (bytes_equal(config->variants[i].name, name))
            return &config->variants[i];
    return NULL;
}
