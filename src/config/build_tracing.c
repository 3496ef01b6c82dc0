/*
 * Where spans go, and of how many requests.
 */
#include "config/address.h"
#include "config/build.h"

#define MILLION 1000000u

/* Whether it is good. */
static bool read_url(struct build *build, const struct raw_tracing *raw, const struct tree_node *node,
                     struct config_tracing *tracing)
{
    const struct tree_node *url = tree_member(node, BYTES("url"));
    const char *wrong;
    struct bytes text;

    if (!tree_given(node, BYTES("url")))
        report_member(build->report, node, "url", "is missing: it says where spans go, such as "
                                                  "http://127.0.0.1:4318/v1/traces");
    if (!build_text(build, url, raw->url, &text))
        return false;
    wrong = address_read_collector(build->arena, text, tracing);
    if (wrong)
        report_node(build->report, url, "%s", wrong);
    return !wrong;
}

void build_tracing(struct build *build, const struct raw_tracing *raw, const struct tree_node *node)
{
    struct config_tracing *tracing = &build->config->tracing;

    *tracing = (struct config_tracing){.service = BYTES("embergate"), .sample_ppm = MILLION};
    if (!raw)
        return;
    tracing->used = read_url(build, raw, node, tracing);
    build_secret(build, tree_member(node, BYTES("api_key")), raw->api_key, &tracing->api_key);
    build_ca_file(build, tree_member(node, BYTES("ca_file")), raw->ca_file, tracing->used && !tracing->tls,
                  &tracing->ca_file);
    build_text(build, tree_member(node, BYTES("service")), raw->service, &tracing->service);
    build_share(build, tree_member(node, BYTES("sample")), raw->sample, &tracing->sample_ppm);
}
