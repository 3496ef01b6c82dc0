/*
 * The numbers once a second, for as long as somebody looks. An exchange that never leaves the page step: it waits among
 * the paced for its next second, and comes again.
 *
 * An event is left out while the one before has not arrived, so a slow reader costs one event of memory, the kernel's
 * included. One that reads nothing for long is let go as any client is, and much sooner when somebody else wants its
 * place. The feed goes on while the gateway drains (its readiness says so) and ends with the administration's listener.
 * It is no stream of the metrics: those are answers. And it is as complete as it will ever be from the first event on,
 * so a client that leaves has left nothing unfinished; its exchange ends when the next event is due.
 */
#include "flow/status.h"

#include "base/clock.h"
#include "entry/http_out.h"
#include "flow/deliver_frame.h"

#define FEEDS_MOST 32
#define EVERY_MS 1000
/* Without an event, though one was due each second: others may have the place. */
#define BEHIND_MS 3000

static uint64_t behind_ms(const struct exchange *x)
{
    return uv_now(x->flow->loop) - x->last_write_ms;
}

/* How many there are, and the one that had no event for the longest time; or NULL. */
static unsigned feeds(const struct flow *flow, struct exchange **ret_last)
{
    unsigned count = 0;

    *ret_last = NULL;
    LIST_EACH(&flow->exchanges, node) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, link);

        if (!x->endpoint || x->endpoint->kind != ENDPOINT_STATUS_EVENTS || !x->head_sent || !x->conn)
            continue;
        count++;
        if (!*ret_last || behind_ms(x) > behind_ms(*ret_last))
            *ret_last = x;
    }
    return count;
}

/* Its exchange ends when its next event is due. */
static void let_go(struct exchange *x)
{
    struct conn *conn = x->conn;

    x->conn = NULL;
    conn_set_owner(conn, NULL);
    conn_cut(conn);
}

static bool has_place(const struct flow *flow)
{
    struct exchange *last;

    if (feeds(flow, &last) < FEEDS_MOST)
        return true;
    if (behind_ms(last) < BEHIND_MS)
        return false;
    let_go(last);
    return true;
}

static void write_head(struct exchange *x, struct buffer *out)
{
    struct http_head head = {
        .status = 200,
        .minor = x->minor,
        .content_type = "text/event-stream; charset=utf-8",
        .chunked = x->minor > 0,
        .until_close = x->minor == 0,
        .close = true,
        .event_stream = true,
        .request_id = {x->id, sizeof(x->id)},
    };

    x->status = head.status;
    x->head_sent = true;
    http_out_head(&head, out);
}

static void send_event(struct exchange *x)
{
    struct buffer *text = &x->flow->out, *front = &x->flow->front;
    struct bytes parts[3];

    buffer_clear(text, 1 << 20);
    front->size = 0;
    if (!x->head_sent) {
        write_head(x, front);
        buffer_append_text(text, "retry: 2000\n");
    }
    buffer_append_text(text, "id: ");
    buffer_append_u64(text, clock_wall_ms());
    buffer_append_text(text, "\ndata: ");
    status_write(x->flow, text);
    buffer_append_text(text, "\n\n");
    if (x->minor > 0) {
        buffer_append_hex(front, text->size);
        buffer_append_text(front, "\r\n");
    }
    parts[0] = buffer_bytes(front);
    parts[1] = buffer_bytes(text);
    parts[2] = x->minor > 0 ? BYTES("\r\n") : BYTES_NONE;
    frame_send(x, parts, ARRAY_SIZE(parts));
    x->written = true;
    text->size = 0;
}

/* In order, but the gateway's end waits for nobody: neither for the slow nor for those who do not hang up. */
static enum verdict end(struct exchange *x)
{
    struct conn *conn = x->conn;

    if (x->minor > 0)
        frame_send(x, (struct bytes[]){BYTES("0\r\n\r\n")}, 1);
    x->conn = NULL;
    conn_set_owner(conn, NULL);
    if (conn_unsent(conn))
        conn_cut(conn);
    else
        conn_finish(conn, false);
    if (x->body_failure == FAIL_DRAINING)
        conn_end_all(&x->flow->conns);
    return STEP_DONE;
}

enum verdict status_feed(struct exchange *x)
{
    if (!x->head_sent && !has_place(x->flow))
        return exchange_refuse_text(x, FAIL_OVERLOADED, "Too many status pages are open already.");
    if (!x->conn)
        return STEP_DONE;
    if (x->body_failed)
        return end(x);
    if (!list_empty(&x->pacing))
        return STEP_WAIT;
    x->quiet = true;
    if (!x->head_sent || conn_unacknowledged(x->conn) == 0)
        send_event(x);
    else if (behind_ms(x) >= x->flow->config->client_stall_ms)
        let_go(x);
    paces_set(x->flow->paces, x, clock_ms() + EVERY_MS);
    return STEP_WAIT;
}
