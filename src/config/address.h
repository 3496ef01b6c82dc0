/*
 * Where to listen and whom to ask, as people write it.
 */
#pragma once

#include "config/config.h"

/* "127.0.0.1:8080", "localhost:8080", "[::1]:8080", "unix:/path". NULL when *RET is set, else what is wrong.
 * Views live in ARENA. */
const char *address_read(struct arena *arena, struct bytes text, struct config_address *ret);

/* Only this machine reaches ADDRESS. */
bool address_is_local(const struct config_address *address);

/* "host", "host:port", "[v6]:port" of somebody to be asked: a name or an IP literal; without a port, STANDARD. */
const char *address_read_host(struct arena *arena, struct bytes text, uint16_t standard, struct config_address *ret);
/* "/path" */
const char *address_read_unix(struct arena *arena, struct bytes path, struct bytes *ret);

/* "http://host:port/v1", "https://...", "unix:/path": sets tls, host, port, unix_path, root and versionless
 * of BACKEND, whose kind must be known. NULL when that is done, else what is wrong; the text is never part of
 * it. */
const char *address_read_url(struct arena *arena, struct bytes text, struct config_backend *backend);

/* The same for who collects spans: sets tls, host, port, unix_path and path of TRACING. */
const char *address_read_collector(struct arena *arena, struct bytes text, struct config_tracing *tracing);

/* "host:port", "[v6]:port" or "unix:/path": how a backend without a name is called. */
struct bytes address_name(struct arena *arena, const struct config_backend *backend);
