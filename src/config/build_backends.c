/*
 * Whom to ask: from the file, or from URLs on the command line.
 */
#include "config/address.h"
#include "base/utf8.h"
#include "config/build.h"

#define ECHO_PACE_MS 20

static void read_name(struct build *build, const struct raw_backend *raw, const struct tree_node *node,
                      struct config_backend *backend)
{
    const struct config *config = build->config;

    build_name(build, node, raw->name, &backend->name);
    for (uint32_t i = 0; backend->name.size && i < config->backend_count; i++) {
        if (!bytes_equal(config->backends[i].name, backend->name))
            continue;
        report_node(build->report, node, "%s is the name of backends[%u] too",
                    report_quote(build->report, node->text), i);
        return;
    }
}

/* KIND_AUTO, which no file can say, stands for a kind that is not known. */
static enum config_kind read_kind(struct build *build, const struct raw_backend *raw,
                                  const struct tree_node *node)
{
    const char *words[KIND_COUNT - 1];
    size_t at;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        words[i] = config_kind_name((enum config_kind)(KIND_AUTO + 1 + i));
    if (!build_word(build, node, raw->kind, words, ARRAY_SIZE(words), &at))
        return KIND_AUTO;
    return (enum config_kind)(KIND_AUTO + 1 + at);
}

/* Whether it is good. */
static bool read_url(struct build *build, const struct raw_backend *raw, const struct tree_node *node,
                     struct config_backend *backend)
{
    const struct tree_node *url = tree_member(node, BYTES("url"));
    const char *wrong;
    struct bytes text;

    if (!tree_given(node, BYTES("url")) && backend->kind != KIND_ECHO && backend->kind != KIND_AUTO)
        report_member(build->report, node, "url", "is missing");
    if (!build_text(build, url, raw->url, &text))
        return false;
    wrong = address_read_url(&build->config->arena, text, backend);
    if (wrong)
        report_node(build->report, url, "%s", wrong);
    return !wrong;
}

static void build_backend(struct build *build, const struct raw_backend *raw, const struct tree_node *node,
                          struct config_backend *backend)
{
    const struct tree_node *echo = tree_member(node, BYTES("echo"));
    bool url_good;

    backend->kind = read_kind(build, raw, tree_member(node, BYTES("kind")));
    read_name(build, raw, tree_member(node, BYTES("name")), backend);
    url_good = read_url(build, raw, node, backend);
    build_secret(build, tree_member(node, BYTES("api_key")), raw->api_key, &backend->api_key);
    if (backend->kind != KIND_ECHO)
        build_ca_file(build, tree_member(node, BYTES("ca_file")), raw->ca_file, url_good && !backend->tls,
                      &backend->ca_file);
    backend->seeds = backend->kind != KIND_SGLANG;
    build_flag(build, tree_member(node, BYTES("seeds")), raw->seeds, &backend->seeds);
    if (raw->timeouts)
        build_waits(build, raw->timeouts, tree_member(node, BYTES("timeouts")), &backend->timeouts);
    build_quota(build, raw->quota, tree_member(node, BYTES("quota")), &backend->quota);
    build_queue(build, raw->queue, node, &backend->quota, &backend->queue);
    build_flag(build, tree_member(node, BYTES("pass_through_key")), raw->pass_through_key, &backend->pass_through_key);
    if (tree_given(node, BYTES("echo")) && backend->kind != KIND_ECHO && backend->kind != KIND_AUTO)
        report_node(build->report, echo, "is only for kind echo");
    if (raw->echo)
        build_duration(build, tree_member(echo, BYTES("pace")), raw->echo->pace, true,
                       &backend->echo_pace_ms);
}

/* One more backend with everything at its default. It counts once config->backend_count is raised. */
static struct config_backend *next_backend(struct config *config, const struct config_timeouts *waits)
{
    struct config_backend *backend = &config->backends[config->backend_count];

    backend->timeouts = *waits;
    backend->echo_pace_ms = ECHO_PACE_MS;
    backend->seeds = true;
    backend->index = config->backend_count;
    return backend;
}

void build_backends(struct build *build, const struct raw *raw, const struct tree_node *node,
                    const struct config_timeouts *waits)
{
    struct config *config = build->config;
    const struct tree_node *item = node ? node->first : NULL;

    build->backends_unsure = node && (node->bad || node->partial);
    config->backends = arena_zeroed(&config->arena, raw->backends_count * sizeof(*config->backends));
    for (uint32_t i = 0; i < raw->backends_count; i++, item = item->next) {
        struct config_backend *backend = next_backend(config, waits);

        if (!item->bad)
            build_backend(build, &raw->backends[i], item, backend);
        build->backends_unsure = build->backends_unsure || build_name_unsure(item, backend->name);
        config->backend_count++;
    }
}

/* What is wrong with the bytes of a URL that no file has been checked for. The name made of it ends up in log
 * lines and metrics too. */
static const char *url_bytes(struct bytes url)
{
    if (!utf8_valid(url))
        return "is not valid UTF-8";
    for (size_t i = 0; i < url.size; i++)
        if ((unsigned char)url.data[i] < 0x20 || url.data[i] == 0x7f)
            return "must not hold control characters";
    return NULL;
}

static void override_backend(struct build *build, const char *url, struct config_backend *backend)
{
    struct config *config = build->config;
    const char *wrong = url_bytes(bytes_of(url));

    if (!wrong)
        wrong = address_read_url(&config->arena, bytes_of(url), backend);
    if (wrong) {
        report_option(build->report, "--backend", "%s", wrong);
        return;
    }
    backend->name = address_name(&config->arena, backend);
    for (uint32_t i = 0; i < config->backend_count; i++)
        if (bytes_equal(config->backends[i].name, backend->name))
            report_option(build->report, "--backend", "%.*s is given twice", BYTES_ARG(backend->name));
}

void build_override_backends(struct build *build, const struct config_overrides *overrides,
                             const struct config_timeouts *waits)
{
    struct config *config = build->config;

    config->backends = arena_zeroed(&config->arena, overrides->backend_count * sizeof(*config->backends));
    for (uint32_t i = 0; i < overrides->backend_count; i++) {
        override_backend(build, overrides->backends[i], next_backend(config, waits));
        config->backend_count++;
    }
}
