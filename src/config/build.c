/*
 * The top of the file: where to listen, how many workers, and then the parts in their order.
 */
#include "config/build.h"

#include "config/address.h"

#include <sched.h>

#define WORKERS_MAX 1024

bool build_name_unsure(const struct tree_node *item, struct bytes name)
{
    const struct tree_node *node = tree_member(item, BYTES("name"));

    return item->bad || (node && node->partial) || (name.size == 0 && tree_given(item, BYTES("name")));
}

struct bytes build_path(struct build *build, struct bytes path)
{
    if (path.data[0] == '/')
        return path;
    return arena_printf(&build->config->arena, "%s/%.*s", build->folder, BYTES_ARG(path));
}

/* --- listening --- */

static bool same_address(const struct config_address *a, const struct config_address *b)
{
    if (a->unix_path.size || b->unix_path.size)
        return bytes_equal(a->unix_path, b->unix_path);
    return a->port && a->port == b->port && bytes_equal(a->host, b->host);
}

static void listen_one(struct build *build, const struct tree_node *node, const char *raw,
                       struct config_address *address)
{
    struct config *config = build->config;
    const char *wrong;
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return;
    wrong = address_read(&config->arena, text, address);
    if (wrong)
        report_node(build->report, node, "%s", wrong);
    for (uint32_t i = 0; !wrong && i < config->listen_count; i++)
        if (same_address(&config->listen[i], address))
            report_node(build->report, node, "is the same as listen[%u]", i);
}

static void build_listen(struct build *build, const struct raw *raw, const struct tree_node *root,
                         const char *option)
{
    const struct tree_node *list = tree_member(root, BYTES("listen"));
    const struct tree_node *node = list ? list->first : NULL;
    bool silent = option || !raw->listen_count;
    uint32_t count = silent ? 1 : raw->listen_count;
    struct config *config = build->config;
    const char *wrong;

    if (!option && list && list->bad)
        return;
    config->listen = arena_zeroed(&config->arena, count * sizeof(*config->listen));
    if (!silent) {
        for (; config->listen_count < count; config->listen_count++, node = node->next)
            listen_one(build, node, raw->listen[config->listen_count], &config->listen[config->listen_count]);
        return;
    }
    wrong = address_read(&config->arena, bytes_of(option ? option : "127.0.0.1:8080"), config->listen);
    if (wrong)
        report_option(build->report, "--listen", "%s", wrong);
    config->listen_count = 1;
}

static void build_admin(struct build *build, const struct raw *raw, const struct tree_node *root,
                        const char *option)
{
    const struct tree_node *node = tree_member(root, BYTES("admin"));
    struct config *config = build->config;
    struct bytes text = bytes_of(option ? option : "127.0.0.1:8081");
    const char *wrong = NULL;

    if (!option && tree_given(root, BYTES("admin")) && !build_text(build, node, raw->admin, &text))
        return;
    if (bytes_equal(text, BYTES("off")))
        return;
    wrong = address_read(&config->arena, text, &config->admin);
    config->has_admin = !wrong;
    for (uint32_t i = 0; !wrong && i < config->listen_count; i++)
        if (same_address(&config->listen[i], &config->admin))
            wrong = "is the same address as the main listener's";
    if (wrong && option)
        report_option(build->report, "--admin", "%s", wrong);
    else if (wrong)
        report_member(build->report, root, "admin", "%s", wrong);
}

static void build_workers(struct build *build, const struct raw *raw, const struct tree_node *root,
                          uint32_t option)
{
    uint32_t workers = option ? option : raw->workers ? *raw->workers : 0;
    cpu_set_t cores;

    if (workers > WORKERS_MAX && option)
        report_option(build->report, "--workers", "must be at most %d", WORKERS_MAX);
    else if (workers > WORKERS_MAX)
        report_member(build->report, root, "workers", "must be at most %d", WORKERS_MAX);
    if (workers == 0)
        workers = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? (uint32_t)CPU_COUNT(&cores) : 1;
    build->config->workers = workers ? workers : 1;
}

static void need_backend(struct build *build, const struct tree_node *root)
{
    const struct tree_node *list = tree_member(root, BYTES("backends"));
    static const char hint[] = "none is given: name one in a file (-c FILE), or say --backend URL, "
                               "such as --backend http://127.0.0.1:8000";

    if (build->config->backend_count || (list && list->bad))
        return;
    if (build->report->name)
        report_member(build->report, root, "backends", "%s", hint);
    else
        report_option(build->report, "--backend", "%s", hint);
}

void build_config(struct build *build, const struct raw *raw, const struct tree_node *root,
                  const struct config_overrides *overrides)
{
    static const struct config_overrides none;
    const struct tree_node *models = tree_member(root, BYTES("models"));
    const struct tree_node *variants = tree_member(root, BYTES("variants"));
    struct config_timeouts waits;

    if (!overrides)
        overrides = &none;
    build_listen(build, raw, root, overrides->listen);
    build_admin(build, raw, root, overrides->admin);
    build_workers(build, raw, root, overrides->workers);
    build_limits(build, raw->limits, tree_member(root, BYTES("limits")));
    build_timeouts(build, raw->timeouts, tree_member(root, BYTES("timeouts")), &waits);
    build_cache(build, raw->cache, tree_member(root, BYTES("cache")));
    if (overrides->backend_count) {
        build_override_backends(build, overrides, &waits);
    } else {
        build_backends(build, raw, tree_member(root, BYTES("backends")), &waits);
        need_backend(build, root);
        build_models(build, raw, models);
        build_variants(build, raw, variants);
        build_unique_names(build, models, variants);
    }
    build_admission(build, raw, root, overrides->listen);
    build_check_prices(build, build->config);
    build_log(build, raw->log, tree_member(root, BYTES("log")));
    build_tracing(build, raw->tracing, tree_member(root, BYTES("tracing")));
    build->config->server_timing = true;
    build_flag(build, tree_member(root, BYTES("server_timing")), raw->server_timing, &build->config->server_timing);
}
