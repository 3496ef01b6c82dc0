/*
 * Where requests go, in the form libcurl wants it: a parsed URL, and header lists made once. libcurl prints each
 * header byte by byte for each request, which is a third of its work: so there are few, and they are short.
 */
#include "link/curl_private.h"

#include "base/alloc.h"
#include "link/resolve.h"

#include <assert.h>
#include <stdio.h>

static char *buffer_text(struct buffer *buffer)
{
    char *text = transfer_text(buffer_bytes(buffer));

    buffer_deinit(buffer);
    return text;
}

static CURLU *build_url(const struct transfer_target_spec *spec)
{
    struct bytes host = spec->host.size ? spec->host : BYTES("localhost");
    bool is_v6 = memchr(host.data, ':', host.size) != NULL;
    unsigned usual_port = spec->tls ? 443 : 80;
    struct buffer text;
    CURLU *url = curl_url();

    assert(url);
    buffer_init(&text);
    buffer_append_text(&text, spec->tls ? "https://" : "http://");
    buffer_append_text(&text, is_v6 ? "[" : "");
    buffer_append(&text, host);
    buffer_append_text(&text, is_v6 ? "]" : "");
    if (spec->port && spec->port != usual_port)
        buffer_printf(&text, ":%u", spec->port);
    buffer_append(&text, BYTES("/\0"));
    if (curl_url_set(url, CURLUPART_URL, text.data, 0) != CURLUE_OK) {
        curl_url_cleanup(url);
        url = NULL;
    }
    buffer_deinit(&text);
    return url;
}

static char *build_lookup(const struct transfer_target_spec *spec)
{
    struct buffer key;

    if (spec->unix_path.size || resolve_is_literal(spec->host))
        return NULL;
    buffer_init(&key);
    buffer_printf(&key, "%.*s:%u", BYTES_ARG(spec->host), spec->port ? spec->port : spec->tls ? 443 : 80);
    return buffer_text(&key);
}

static void add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    assert(longer);
    *list = longer;
}

static void build_headers(struct curl_target *target, struct bytes api_key)
{
    struct buffer authorization;

    buffer_init(&authorization);
    buffer_printf(&authorization, "Authorization: Bearer %.*s", BYTES_ARG(api_key));
    buffer_append_char(&authorization, '\0');
    for (int kind = 0; kind < HEADERS_COUNT; kind++) {
        struct curl_slist **list = &target->headers[kind];

        add_header(list, "User-Agent: embergate");
        add_header(list, kind == HEADERS_ASK_STREAM ? "Accept: text/event-stream" : "Accept:");
        if (api_key.size)
            add_header(list, authorization.data);
        if (kind != HEADERS_GET) {
            add_header(list, "Content-Type: application/json");
            add_header(list, "Expect:"); /* none: else libcurl asks for leave before a large body */
        }
    }
    explicit_bzero(authorization.data, authorization.size);
    buffer_deinit(&authorization);
}

struct transfer_target *curl_target_new(struct transfer_loop *loop, const struct transfer_target_spec *spec)
{
    CURLU *url = build_url(spec);
    struct curl_target *target;

    if (!url)
        return NULL;
    target = ALLOC_NEW(struct curl_target);
    target->loop = loop->curl;
    target->url = url;
    target->connect_ms = spec->connect_ms;
    target->tls = spec->tls;
    target->lookup = build_lookup(spec);
    target->unix_path = spec->unix_path.size ? transfer_text(spec->unix_path) : NULL;
    target->ca_file = spec->ca_file.size ? transfer_text(spec->ca_file) : NULL;
    build_headers(target, spec->api_key);
    list_init(&target->idle);
    return &target->base;
}

void curl_target_free(struct transfer_target *base)
{
    struct curl_target *target = LIST_ENTRY(base, struct curl_target, base);

    assert(target->live == 0);
    LIST_EACH(&target->idle, node) {
        target->loop->idle_handles--;
        curl_transfer_free(LIST_ENTRY(node, struct curl_transfer, node));
    }
    for (int kind = 0; kind < HEADERS_COUNT; kind++)
        curl_slist_free_all(target->headers[kind]);
    curl_url_cleanup(target->url);
    alloc_free(target->lookup);
    alloc_free(target->unix_path);
    alloc_free(target->ca_file);
    alloc_free(target);
}

void curl_target_resolved(struct transfer_target *base, const char *address)
{
    struct curl_target *target = LIST_ENTRY(base, struct curl_target, base);

    if (strcmp(address, target->address) == 0)
        return;
    snprintf(target->address, sizeof(target->address), "%s", address);
    target->address_version++;
}
