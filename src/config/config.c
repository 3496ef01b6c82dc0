/*
 * Reading goes in four steps: the text, a tree that knows its lines, the tree held against the schema (and
 * only then libcyaml), and the snapshot with all its values checked. What is no YAML ends it; all other
 * errors are passed by, so that one run tells them all. A snapshot with an error is never given out.
 */
#include "config/config.h"

#include "base/alloc.h"
#include "config/build.h"
#include "config/file.h"
#include "config/lint.h"
#include "config/mend.h"

#include <errno.h>

static void *yaml_memory(void *context, void *old, size_t size)
{
    return size ? alloc_resize(old, size) : alloc_free(old);
}

static const cyaml_config_t yaml_settings = {.mem_fn = yaml_memory, .flags = CYAML_CFG_NO_ALIAS};

/* The text, or what is good in it, as raw structs, to be given back with raw_free(). False when there is no
 * use in going on. */
static bool raw_load(struct bytes text, struct tree_node *root, struct report *report, struct raw **ret)
{
    struct buffer mended;
    cyaml_data_t *data = NULL;
    cyaml_err_t error;

    lint_tree(root, &schema_root, report);
    if (root->bad || report->full)
        return false;
    buffer_init(&mended);
    if (!report_clean(report)) {
        mend_write(root, &schema_root, &mended);
        text = buffer_bytes(&mended);
    }
    error = cyaml_load_data((const uint8_t *)text.data, text.size, &yaml_settings, &schema_root, &data, NULL);
    buffer_deinit(&mended);
    if (error != CYAML_OK) {
        report_line(report, root->line, "cannot be loaded: %s", cyaml_strerror(error));
        return false;
    }
    *ret = data;
    return true;
}

static void raw_free(struct raw *raw)
{
    cyaml_free(&yaml_settings, &schema_root, raw, 0);
}

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

    build_config(&build, raw ? raw : &none, root, overrides);
    return report_clean(report) ? build.config : config_unref(build.config);
}

int config_read_text(const char *name, const char *folder, struct bytes text,
                     const struct config_overrides *overrides, struct buffer *errors, struct config **ret)
{
    struct tree_node *root = NULL;
    struct config *config = NULL;
    struct raw *raw = NULL;
    struct report report;
    struct arena arena;

    arena_init(&arena);
    report_init(&report, name);
    if (text.size > FILE_SIZE_MAX)
        report_line(&report, 0, "is larger than 1 MB");
    else if (tree_read(&arena, text, &report, &root) && (!root || raw_load(text, root, &report, &raw)))
        config = assemble(raw, root, folder, overrides, &report);
    report_write(&report, errors);
    raw_free(raw);
    report_deinit(&report);
    arena_deinit(&arena);
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
    r = file_read(path, false, &text);
    if (r < 0) {
        buffer_printf(errors, "%s: %s\n", path, file_error_text(r));
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
