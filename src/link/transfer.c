/*
 * Who carries what: the front of the two carriers. A loop has the half of a carrier only once a target needs it, so a
 * gateway with plain upstreams alone has no multi.
 */
#include "link/transfer_private.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "link/curl_loop.h"
#include "link/http1_loop.h"

#include <string.h>

void transfer_global_init(void)
{
    curl_loop_global_init();
}

/* --- loops ----------------------------------------------------------------------------------------------------- */

struct transfer_loop *transfer_loop_new(uv_loop_t *uv, unsigned idle_connections)
{
    struct transfer_loop *loop = ALLOC_NEW(struct transfer_loop);

    loop->uv = uv;
    loop->idle_limit = idle_connections;
    uv_timer_init(uv, &loop->end);
    loop->end.data = loop;
    return loop;
}

static void part_closed(void *data)
{
    struct transfer_loop *loop = data;

    if (--loop->open > 0)
        return;
    loop->closed(loop->closed_data);
    alloc_free(loop);
}

static void on_end_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void transfer_loop_close(struct transfer_loop *loop, void (*closed)(void *data), void *data)
{
    loop->closed = closed;
    loop->closed_data = data;
    loop->open = 1u + (loop->curl != NULL) + (loop->http1 != NULL);
    if (loop->curl)
        curl_loop_close(loop->curl, part_closed, loop);
    if (loop->http1)
        http1_loop_close(loop->http1, part_closed, loop);
    uv_close((uv_handle_t *)&loop->end, on_end_closed);
}

unsigned transfer_loop_idle(const struct transfer_loop *loop)
{
    return (loop->curl ? curl_loop_idle_handles(loop->curl) : 0) + (loop->http1 ? http1_loop_idle(loop->http1) : 0);
}

/* --- targets --------------------------------------------------------------------------------------------------- */

static bool is_plain(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte < 0x20 || byte == 0x7f)
            return false;
    }
    return true;
}

/* Only what a host may consist of: in a URL another byte would mean something else. */
static bool is_host(struct bytes host)
{
    for (size_t i = 0; i < host.size; i++) {
        char byte = host.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');

        if (!letter && (byte == '\0' || !strchr(".-_:", byte)))
            return false;
    }
    return true;
}

static bool is_good(const struct transfer_target_spec *spec)
{
    if (!is_host(spec->host) || !is_plain(spec->unix_path) || !is_plain(spec->api_key) || !is_plain(spec->ca_file))
        return false;
    return spec->host.size > 0 || spec->unix_path.size > 0;
}

void transfer_connects(struct transfer *transfer, uv_loop_t *loop)
{
    transfer->connected_at = uv_now(loop);
    transfer->connected_us = clock_us();
}

bool transfer_is_early(const struct transfer *transfer)
{
    return clock_us() - transfer->connected_us < TRANSFER_STALE_MS * 1000ull;
}

bool transfer_spends(bool has_body, unsigned status)
{
    return has_body && status >= 400;
}

bool transfer_is_path(struct bytes path)
{
    for (size_t i = 0; i < path.size; i++)
        if ((unsigned char)path.data[i] <= 0x20 || path.data[i] == 0x7f)
            return false;
    return path.size > 0;
}

char *transfer_text(struct bytes view)
{
    char *text = alloc_bytes(view.size + 1);

    if (view.size)
        memcpy(text, view.data, view.size);
    text[view.size] = '\0';
    return text;
}

struct transfer_target *transfer_target_new_by(const struct transfer_carrier *carrier, struct transfer_loop *loop,
                                               const struct transfer_target_spec *spec)
{
    struct transfer_target *target;

    if (!is_good(spec))
        return NULL;
    if (carrier == &transfer_by_curl && !loop->curl)
        loop->curl = curl_loop_new(loop->uv, loop->idle_limit);
    if (carrier == &transfer_by_http1 && !loop->http1)
        loop->http1 = http1_loop_new(loop->uv, loop->idle_limit);
    target = carrier->target_new(loop, spec);
    if (target)
        target->carrier = carrier;
    return target;
}

struct transfer_target *transfer_target_new(struct transfer_loop *loop, const struct transfer_target_spec *spec)
{
    return transfer_target_new_by(spec->tls ? &transfer_by_curl : &transfer_by_http1, loop, spec);
}

struct transfer_target *transfer_target_free(struct transfer_target *target)
{
    if (target)
        target->carrier->target_free(target);
    return NULL;
}

void transfer_target_resolved(struct transfer_target *target, const char *address)
{
    target->carrier->target_resolved(target, address);
}

/* --- transfers ------------------------------------------------------------------------------------------------- */

struct transfer *transfer_start(struct transfer_target *target, const struct transfer_request *request,
                                const struct transfer_events *events, void *data)
{
    return target->carrier->start(target, request, events, data);
}

struct transfer *transfer_cancel(struct transfer *transfer)
{
    if (transfer)
        transfer->target->carrier->cancel(transfer);
    return NULL;
}

void transfer_pause(struct transfer *transfer)
{
    transfer->target->carrier->pause(transfer);
}

void transfer_resume(struct transfer *transfer)
{
    transfer->target->carrier->resume(transfer);
}

bool transfer_connected(const struct transfer *transfer)
{
    return transfer->connected_us != 0;
}

uint64_t transfer_connected_at(const struct transfer *transfer)
{
    return transfer->connected_at;
}

uint64_t transfer_connected_us(const struct transfer *transfer)
{
    return transfer->connected_us;
}
