/*
 * Reading goes in four steps: the text, a tree that knows its lines, the tree held against the schema (and
 * only then libcyaml), and, by whoever asked, the values. What is no YAML ends it; all other errors are passed by, so
 * that one run tells them all.
 */
#include "config/load.h"

#include "base/alloc.h"
#include "config/lint.h"
#include "config/mend.h"

static void *yaml_memory(void *context, void *old, size_t size)
{
    return size ? alloc_resize(old, size) : alloc_free(old);
}

static const cyaml_config_t yaml_settings = {.mem_fn = yaml_memory, .flags = CYAML_CFG_NO_ALIAS};

/* The text, or what is good in it, as raw structs. */
static bool load_raw(struct load *load, struct bytes text)
{
    const cyaml_schema_value_t *schema = load->form->schema;
    struct buffer mended;
    cyaml_err_t error;

    lint_tree(load->root, schema, &load->report);
    if (load->root->bad || load->report.full)
        return false;
    buffer_init(&mended);
    if (!report_clean(&load->report)) {
        mend_write(load->root, schema, &mended);
        text = buffer_bytes(&mended);
    }
    error = cyaml_load_data((const uint8_t *)text.data, text.size, &yaml_settings, schema, &load->raw, NULL);
    buffer_deinit(&mended);
    if (error == CYAML_OK)
        return true;
    report_line(&load->report, load->root->line, "cannot be loaded: %s", cyaml_strerror(error));
    return false;
}

bool load_init(struct load *load, const struct load_form *form, const char *name, struct bytes text)
{
    *load = (struct load){.form = form};
    arena_init(&load->arena);
    report_init(&load->report, name);
    if (text.size > form->most_bytes) {
        report_line(&load->report, 0, "is larger than %zu MB", form->most_bytes >> 20);
        return false;
    }
    return tree_read(&load->arena, text, form->most_values, &load->report, &load->root) &&
           (!load->root || load_raw(load, text));
}

void load_deinit(struct load *load, struct buffer *errors)
{
    report_write(&load->report, errors);
    cyaml_free(&yaml_settings, load->form->schema, load->raw, 0);
    report_deinit(&load->report);
    arena_deinit(&load->arena);
}
