/*
 * Nothing is looked up here: a listening address is an IP literal, and a backend's name is kept for the
 * resolver.
 */
#include "config/address.h"

#include <arpa/inet.h>
#include <sys/un.h>

static const char bad_port[] = "the port must be a number from 0 to 65535";

/* A decimal port, digits only. */
static bool read_port(struct bytes text, uint16_t *ret)
{
    int64_t port;

    if (text.size == 0 || text.size > 5 || text.data[0] == '-' || bytes_to_i64(text, &port) < 0 ||
        port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool is_literal(int family, struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.size >= sizeof(text))
        return false;
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    return inet_pton(family, text, &address) == 1;
}

const char *address_read_unix(struct arena *arena, struct bytes path, struct bytes *ret)
{
    if (path.size < 2 || path.data[0] != '/')
        return "a unix socket is written unix:/path, from the root";
    if (path.size >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return "the path of a unix socket must be shorter than 108 bytes";
    *ret = arena_copy(arena, path);
    return NULL;
}

/* Split "host:port" or "[v6]:port"; *RET_PORT begins with the colon or is empty. False: brackets without an
 * end. */
static bool split(struct bytes text, struct bytes *ret_host, struct bytes *ret_port, bool *ret_v6)
{
    size_t colon;

    *ret_v6 = text.size && text.data[0] == '[';
    if (*ret_v6) {
        size_t end = bytes_find(text, BYTES("]"));

        if (end == text.size)
            return false;
        *ret_host = (struct bytes){text.data + 1, end - 1};
        *ret_port = bytes_skip(text, end + 1);
        return true;
    }
    colon = bytes_find(text, BYTES(":"));
    *ret_host = (struct bytes){text.data, colon};
    *ret_port = bytes_skip(text, colon);
    return true;
}

const char *address_read(struct arena *arena, struct bytes text, struct config_address *ret)
{
    struct config_address address = {0};
    struct bytes host, port;
    bool v6;

    if (bytes_start_with(text, BYTES("unix:"))) {
        const char *wrong = address_read_unix(arena, bytes_skip(text, 5), &address.unix_path);

        if (!wrong)
            *ret = address;
        return wrong;
    }
    if (!split(text, &host, &port, &v6) || port.size == 0 || port.data[0] != ':')
        return "must be host:port, [v6]:port or unix:/path";
    if (!v6 && bytes_find(bytes_skip(port, 1), BYTES(":")) < port.size - 1)
        return "an IPv6 address stands in brackets: [::1]:8080";
    if (host.size == 0)
        return "needs an address before the port: 127.0.0.1, or 0.0.0.0 for all";
    if (bytes_equal_nocase(host, BYTES("localhost")))
        host = BYTES("127.0.0.1");
    if (!is_literal(v6 ? AF_INET6 : AF_INET, host))
        return "the host must be an IP address or localhost";
    if (!read_port(bytes_skip(port, 1), &address.port))
        return bad_port;
    address.host = arena_copy(arena, host);
    *ret = address;
    return NULL;
}

static bool is_host_name(struct bytes host)
{
    if (host.size == 0 || host.size > 253 || host.data[0] == '.' || host.data[0] == '-')
        return false;
    for (size_t i = 0; i < host.size; i++) {
        char byte = host.data[i], small = (char)(byte | 0x20);
        bool fine = (small >= 'a' && small <= 'z') || (byte >= '0' && byte <= '9') || byte == '.' ||
                    byte == '-' || byte == '_';

        if (!fine || (byte == '.' && i + 1 < host.size && host.data[i + 1] == '.'))
            return false;
    }
    return true;
}

const char *address_read_host(struct arena *arena, struct bytes text, uint16_t standard, struct config_address *ret)
{
    struct config_address address = {.port = standard};
    struct bytes host, port;
    bool v6;

    if (!split(text, &host, &port, &v6) || (port.size && port.data[0] != ':'))
        return "the host and port cannot be read";
    if (!(v6 ? is_literal(AF_INET6, host) : is_host_name(host)))
        return "the host is neither a name nor an IP address";
    if (port.size && (!read_port(bytes_skip(port, 1), &address.port) || address.port == 0))
        return "the port must be a number from 1 to 65535";
    address.host = arena_copy(arena, host);
    *ret = address;
    return NULL;
}

static const char *read_authority(struct arena *arena, struct bytes text, struct config_backend *backend)
{
    struct config_address address;
    const char *wrong;

    if (bytes_find(text, BYTES("@")) < text.size)
        return "no user or password in a URL: a key belongs in api_key";
    wrong = address_read_host(arena, text, backend->tls ? 443 : 80, &address);
    if (wrong)
        return wrong;
    backend->host = address.host;
    backend->port = address.port;
    return NULL;
}

/* The path becomes the root before /v1. A Goodfire server's API has two levels in front of it that are its
 * own. */
static void read_root(struct arena *arena, struct bytes path, struct config_backend *backend)
{
    static const struct bytes version = {"/v1", 3}, goodfire = {"/api/inference", 14};

    while (path.size && path.data[path.size - 1] == '/')
        path.size--;
    if (bytes_end_with(path, version))
        path.size -= version.size;
    else
        backend->versionless = path.size && backend->kind == KIND_OPENAI;
    while (path.size && path.data[path.size - 1] == '/')
        path.size--;
    if (backend->kind == KIND_GOODFIRE && bytes_end_with(path, goodfire))
        path.size -= goodfire.size;
    backend->root = arena_copy(arena, path);
}

/* All of a URL but its path, which is checked and told; empty for a unix socket. */
static const char *read_url(struct arena *arena, struct bytes text, struct config_backend *backend,
                            struct bytes *ret_path)
{
    static const struct bytes http = {"http://", 7}, https = {"https://", 8};
    struct bytes head = {text.data, text.size < https.size ? text.size : https.size};
    const char *wrong;
    size_t slash;

    *ret_path = BYTES_NONE;
    if (bytes_start_with(text, BYTES("unix:")))
        return address_read_unix(arena, bytes_skip(text, 5), &backend->unix_path);
    backend->tls = bytes_equal_nocase(head, https);
    if (backend->tls)
        text = bytes_skip(text, https.size);
    else if (head.size >= http.size && bytes_equal_nocase((struct bytes){head.data, http.size}, http))
        text = bytes_skip(text, http.size);
    else
        return "must begin with http://, https:// or unix:/";
    if (bytes_find(text, BYTES("?")) < text.size || bytes_find(text, BYTES("#")) < text.size)
        return "no query (?) and no fragment (#) in a URL";
    slash = bytes_find(text, BYTES("/"));
    wrong = read_authority(arena, (struct bytes){text.data, slash}, backend);
    *ret_path = bytes_skip(text, slash);
    for (size_t i = 0; !wrong && i < ret_path->size; i++)
        if (ret_path->data[i] <= 0x20 || ret_path->data[i] >= 0x7f || strchr("\"<>\\^`{|}", ret_path->data[i]))
            wrong = "the path holds a character that must be percent-encoded";
    return wrong;
}

const char *address_read_url(struct arena *arena, struct bytes text, struct config_backend *backend)
{
    struct bytes path;
    const char *wrong = read_url(arena, text, backend, &path);

    backend->root = arena_copy(arena, BYTES(""));
    if (!wrong)
        read_root(arena, path, backend);
    return wrong;
}

const char *address_read_collector(struct arena *arena, struct bytes text, struct config_tracing *tracing)
{
    struct config_backend server = {0};
    struct bytes path;
    const char *wrong = read_url(arena, text, &server, &path);

    if (wrong)
        return wrong;
    tracing->tls = server.tls;
    tracing->host = server.host;
    tracing->port = server.port;
    tracing->unix_path = server.unix_path;
    tracing->path = arena_copy(arena, path.size > 1 ? path : BYTES("/v1/traces"));
    return NULL;
}

struct bytes address_name(struct arena *arena, const struct config_backend *backend)
{
    bool v6 = bytes_find(backend->host, BYTES(":")) < backend->host.size;

    if (backend->unix_path.size)
        return arena_printf(arena, "unix:%.*s", BYTES_ARG(backend->unix_path));
    return arena_printf(arena, "%s%.*s%s:%u%.*s", v6 ? "[" : "", BYTES_ARG(backend->host), v6 ? "]" : "",
                        backend->port, BYTES_ARG(backend->root));
}

bool address_is_local(const struct config_address *address)
{
    return address->unix_path.size || bytes_start_with(address->host, BYTES("127.")) ||
           bytes_equal(address->host, BYTES("::1"));
}
