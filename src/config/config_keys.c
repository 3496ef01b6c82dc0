/*
 * The keys of a file of their own: read like the main file, and again and again while the gateway runs.
 */
#include "base/alloc.h"
#include "config/build.h"
#include "config/file.h"
#include "config/load.h"

#include <stdatomic.h>

/* An empty file is one that somebody is about to write, or has cut off: nobody means it. */
static void check_said(struct load *load)
{
    const struct tree_node *keys = tree_member(load->root, BYTES("keys"));

    if (report_clean(&load->report) && (!keys || keys->type != TREE_LIST))
        report_line(&load->report, keys ? keys->line : 0, "says nothing of keys: none at all is written `keys: []`");
}

static int read_text(const char *name, struct bytes text, const struct config *config, bool empty,
                     struct buffer *errors, struct config_keys **ret)
{
    static const struct load_form form = {&schema_keys, FILE_KEYS_SIZE_MAX, 1000000};
    static const struct raw_keys none;
    struct build build = {.known = config, .folder = "."};
    struct config_keys *keys = NULL;
    struct load load;

    if (load_init(&load, &form, name, text)) {
        build.report = &load.report;
        keys = build_keys(&build, load.raw ? load.raw : &none, tree_member(load.root, BYTES("keys")));
        build_check_prices(&build, config);
        if (!empty)
            check_said(&load);
    }
    if (!report_clean(&load.report))
        keys = config_keys_unref(keys);
    load_deinit(&load, errors);
    if (!keys)
        return CONFIG_E_BAD;
    *ret = keys;
    return 0;
}

int config_read_keys_text(const char *name, struct bytes text, const struct config *config, struct buffer *errors,
                          struct config_keys **ret)
{
    return read_text(name, text, config, true, errors, ret);
}

int config_read_keys(const char *path, const struct config *config, struct buffer *errors, struct config_keys **ret)
{
    struct buffer text;
    int r;

    buffer_init(&text);
    r = file_read(path, true, FILE_KEYS_SIZE_MAX, &text);
    if (r < 0)
        buffer_printf(errors, "%s: %s\n", path, file_error_text(r, FILE_KEYS_SIZE_MAX));
    else
        r = read_text(path, buffer_bytes(&text), config, false, errors, ret);
    buffer_deinit(&text);
    return r;
}

struct config_keys *config_keys_ref(struct config_keys *keys)
{
    atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

struct config_keys *config_keys_unref(struct config_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    arena_deinit(&keys->arena);
    return alloc_free(keys);
}
