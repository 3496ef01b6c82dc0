/*
 * Where requests go: an address, the fields that every head has, written once, and the connections that wait.
 *
 * A waiting connection is watched: it ends at once when its peer closes it, or says a word that nobody asked for, which
 * would else be the answer to the next question. The one used last is used next, so that the others grow old.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

#include <assert.h>

enum { IDLE_MS = 50000 }; /* below what servers grant an idle connection */

/* --- life ------------------------------------------------------------------------------------------------------ */

/* 0 for something that is no address: it has to be looked up first. */
static void set_address(struct http1_target *target, const char *host)
{
    memset(&target->address, 0, sizeof(target->address));
    if (uv_ip4_addr(host, target->port, &target->address.v4) != 0 &&
        uv_ip6_addr(host, target->port, &target->address.v6) != 0)
        target->address.any.sa_family = 0;
}

static char *text_of(struct bytes view)
{
    char *text = alloc_bytes(view.size + 1);

    memcpy(text, view.data, view.size);
    text[view.size] = '\0';
    return text;
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
        target->unix_path = text_of(spec->unix_path);
    } else {
        char *host = text_of(spec->host);

        set_address(target, host);
        alloc_free(host);
    }
    return &target->base;
}

void http1_target_free(struct transfer_target *base)
{
    struct http1_target *target = (struct http1_target *)base;
    struct list *node;

    assert(list_empty(&target->connecting));
    while ((node = list_first(&target->idle)))
        http1_connection_close(LIST_ENTRY(node, struct http1_connection, node));
    list_remove(&target->node);
    buffer_deinit(&target->fields);
    if (target->authorization.size)
        explicit_bzero(target->authorization.data, target->authorization.size);
    buffer_deinit(&target->authorization);
    alloc_free(target->unix_path);
    alloc_free(target);
}

void http1_target_resolved(struct transfer_target *base, const char *address)
{
    set_address((struct http1_target *)base, address);
}

/* --- a request's head ------------------------------------------------------------------------------------------ */

/* A line end in a path would begin a field. */
static bool is_path(struct bytes path)
{
    for (size_t i = 0; i < path.size; i++)
        if ((unsigned char)path.data[i] <= 0x20 || path.data[i] == 0x7f)
            return false;
    return path.size > 0;
}

static void add_field(struct buffer *head, struct bytes name_and_colon, struct bytes value)
{
    buffer_append(head, name_and_colon);
    buffer_append(head, value);
    buffer_append(head, BYTES("\r\n"));
}

bool http1_target_write_head(const struct http1_target *target, const struct transfer_request *request,
                             struct buffer *head)
{
    if (!is_path(request->path))
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

static struct http1_connection *oldest(struct list *list)
{
    struct list *node = list_first(list);

    return node ? LIST_ENTRY(node, struct http1_connection, node) : NULL;
}

struct http1_connection *http1_target_take(struct http1_target *target)
{
    struct http1_connection *connection;

    if (list_empty(&target->idle))
        return NULL;
    connection = LIST_ENTRY(target->idle.prev, struct http1_connection, node);
    http1_target_forget(target, connection);
    return connection;
}

void http1_target_keep(struct http1_target *target, struct http1_connection *connection)
{
    struct http1_loop *loop = target->loop;

    connection->state = HTTP1_IDLE;
    connection->since = uv_now(loop->uv);
    list_append(&target->idle, &connection->node);
    loop->idle++;
    if (loop->idle > loop->idle_limit)
        http1_connection_close(oldest(&target->idle));
    http1_loop_wake_at(loop, connection->since + IDLE_MS);
}

void http1_target_forget(struct http1_target *target, struct http1_connection *connection)
{
    list_remove(&connection->node);
    if (connection->state == HTTP1_IDLE)
        target->loop->idle--;
}

uint64_t http1_target_sweep(struct http1_target *target, uint64_t now)
{
    struct http1_connection *connection;
    uint64_t next = UINT64_MAX;

    while ((connection = oldest(&target->connecting)) && connection->since + target->connect_ms <= now)
        http1_connection_fail(connection, TRANSFER_E_CONNECT_TIMEOUT, "no connection in time");
    if (connection)
        next = connection->since + target->connect_ms;
    while ((connection = oldest(&target->idle)) && connection->since + IDLE_MS <= now)
        http1_connection_close(connection);
    if (connection && connection->since + IDLE_MS < next)
        next = connection->since + IDLE_MS;
    return next;
}
