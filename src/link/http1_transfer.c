/*
 * One request on a plain connection: one that waits if there is one, else a new one.
 */
#include "link/http1_private.h"

#include "base/alloc.h"

/* On a new connection the head waits until it is made. */
static void start_new(struct http1_target *target, struct http1_transfer *transfer,
                      const struct transfer_request *request)
{
    struct http1_connection *connection = http1_connection_new(target, transfer);

    if (http1_target_write_head(target, request, &connection->unsent))
        http1_connection_connect(connection);
    else
        http1_connection_fail(connection, TRANSFER_E_BAD, "not a path");
}

static struct transfer *start(struct transfer_target *base, const struct transfer_request *request,
                              const struct transfer_events *events, void *data)
{
    struct http1_target *target = (struct http1_target *)base;
    struct http1_transfer *transfer = ALLOC_NEW(struct http1_transfer);
    struct buffer *head = &target->loop->head;

    transfer->base = (struct transfer){.target = base, .events = events, .data = data};
    transfer->body = request->get ? BYTES_NONE : request->body;
    head->size = 0;
    if (request->fresh || list_empty(&target->idle) || !http1_target_write_head(target, request, head))
        start_new(target, transfer, request);
    else
        http1_connection_use(http1_target_take(target), transfer, buffer_bytes(head));
    if (request->key.size && head->size)
        explicit_bzero(head->data, head->size);
    return &transfer->base;
}

static void cancel(struct transfer *base)
{
    struct http1_transfer *transfer = (struct http1_transfer *)base;

    http1_connection_close(transfer->connection);
    alloc_free(transfer);
}

static void pause_reading(struct transfer *base)
{
    struct http1_transfer *transfer = (struct http1_transfer *)base;

    transfer->paused = true;
    http1_connection_heed_pause(transfer->connection);
}

static void resume_reading(struct transfer *base)
{
    struct http1_transfer *transfer = (struct http1_transfer *)base;

    transfer->paused = false;
    http1_connection_heed_pause(transfer->connection);
}

void http1_transfer_end(struct http1_transfer *transfer, int result, const char *reason)
{
    const struct transfer_events *events = transfer->base.events;
    void *data = transfer->base.data;

    alloc_free(transfer);
    events->done(data, result, reason);
}

const struct transfer_carrier transfer_by_http1 = {
    .target_new = http1_target_new,
    .target_free = http1_target_free,
    .target_resolved = http1_target_resolved,
    .start = start,
    .cancel = cancel,
    .pause = pause_reading,
    .resume = resume_reading,
};
