/*
 * Where requests go: an address, the fields that every head has, written once, and the connections that wait.
 *
 * A waiting connection is watched: it ends as soon as the loop sees that its peer closed it, or said a word that nobody
 * asked for, which would else be the answer to the next question. The one used last is used next, so that the others
 * grow old.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

#include <assert.h>

/* --- life ------------------------------------------------------------------------------------------------------ */

/* Family 0 for something that is no address: it has to be looked up first. */
static void set_address(struct http1_target *target, const char *host)
{
    memset(&target->address, 0, sizeof(target->address));
    if (uv_ip4_addr(host, target->port, &target->address.v4) != 0 &&
        uv_ip6_addr(host, target->port, &target->address.v6) != 0)
        target->address.any.sa_family = 0;
}

static void write_fields(struct http1_target *target, const struct transfer_target_spec *spec)
{
    struct bytes host = spec->host.size ? spec->host : BYTES("localhost");
    bool is_v6 = memchr(host.data, ':', host.size) != NULL;

    buffer_printf(&target->fields, "Host: %s%.*s%s", is_v6 ? "[" : "", BYTES_ARG(host), is_v6 ? "]" : "");
    if (spec->port && spec->port != 80)
        buffer_printf(&target->fields, ":%u", spec->port);
    buffer_append(&target->fields, BYTES("\r\nUser-Agent: embergate\r\n"));
    if (spec->api_key.size)
        buffer_printf(&target->authorization, "Authorization: Bearer %.*s\r\n", BYTES_ARG(spec->api_key));
}

struct transfer_target *http1_target_new(struct transfer_loop *transfers, const struct transfer_target_spec *spec)
{
    struct http1_target *target = ALLOC_NEW(struct http1_target);

    target->loop = transfers->http1;
    target->connect_ms = spec->connect_ms;
    target->port = spec->port ? spec->port : 80;
    list_init(&target->connecting);
    list_init(&target->idle);
    list_init(&target->node);
    list_append(&target->loop->targets, &target->node);
    write_fields(target, spec);
    if (spec->unix_path.size) {
        target->unix_path = transfer_text(spec->unix_path);
    } else {
        char *host = transfer_text(spec->host);

        set_address(target, host);
        alloc_free(host);
    }
    return &target->base;
}

static void close_idle(struct http1_target *target)
{
    struct list *node;

    while ((node = list_first(&target->idle)))
        http1_connection_close(LIST_ENTRY(node, struct http1_connection, node));
}

void http1_target_free(struct transfer_target *base)
{
    struct http1_target *target = (struct http1_target *)base;

    assert(list_empty(&target->connecting));
    close_idle(target);
    list_remove(&target->node);
    buffer_deinit(&target->fields);
    if (target->authorization.size)
        explicit_bzero(target->authorization.data, target->authorization.size);
    buffer_deinit(&target->authorization);
    alloc_free(target->unix_path);
    alloc_free(target);
}

/* Connections to another address end, those in use once they are done. */
void http1_target_resolved(struct transfer_target *base, const char *address)
{
    struct http1_target *target = (struct http1_target *)base;

    if (strcmp(address, target->address_text) == 0 || strlen(address) >= sizeof(target->address_text))
        return;
    memcpy(target->address_text, address, strlen(address) + 1);
    set_address(target, address);
    target->version++;
    close_idle(target);
}

/* --- a request's head ------------------------------------------------------------------------------------------ */

static void add_field(struct buffer *head, struct bytes name_and_colon, struct bytes value)
{
    buffer_append(head, name_and_colon);
    buffer_append(head, value);
    buffer_append(head, BYTES("\r\n"));
}

bool http1_target_write_head(const struct http1_target *target, const struct transfer_request *request,
                             struct buffer *head)
{
    if (!transfer_is_path(request->path))
        return false;
    buffer_append(head, request->get ? BYTES("GET ") : BYTES("POST "));
    buffer_append(head, request->path);
    buffer_append(head, BYTES(" HTTP/1.1\r\n"));
    buffer_append(head, buffer_bytes(&target->fields));
    if (request->event_stream)
        buffer_append(head, BYTES("Accept: text/event-stream\r\n"));
    if (request->key.size)
        add_field(head, BYTES("Authorization: Bearer "), request->key);
    else
        buffer_append(head, buffer_bytes(&target->authorization));
    if (request->traceparent.size)
        add_field(head, BYTES("traceparent: "), request->traceparent);
    if (request->tracestate.size)
        add_field(head, BYTES("tracestate: "), request->tracestate);
    if (!request->get) {
        buffer_append(head, BYTES("Content-Type: application/json\r\nContent-Length: "));
        buffer_append_u64(head, request->body.size);
        buffer_append(head, BYTES("\r\n"));
    }
    buffer_append(head, BYTES("\r\n"));
    return true;
}

/* --- the pool -------------------------------------------------------------------------------------------------- */

struct http1_connection *http1_target_take(struct http1_target *target)
{
    struct http1_connection *connection = LIST_ENTRY(target->idle.prev, struct http1_connection, node);

    http1_loop_forget(target->loop, connection);
    return connection;
}
