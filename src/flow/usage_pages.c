/*
 * What was used of the limits: one's own key's for whoever shows it, all of them for the administration. Where Redis
 * keeps the books it is asked for them, some scopes at a time.
 */
#include "flow/admission.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "json/json_write.h"

/* Redis is asked for so many at most: a page is no reason to keep it busy. */
#define SCOPES_MOST 1000

/* A page that is being made: part of its exchange. */
struct usage_look {
    struct exchange *x;
    bool own;                   /* of the key that asks; else all */
    uint32_t next, looked;      /* place in the registry; scopes that were there before it */
    struct shared_peek peek;    /* those that are looked at now */
    bool asking;
    bool more;                  /* scopes than are told of */
    bool degraded, began;
    struct buffer body;
};

struct usage_look *usage_look_free(struct usage_look *look)
{
    if (!look)
        return NULL;
    shared_peek_forget(&look->peek);
    buffer_deinit(&look->body);
    return alloc_free(look);
}

/* --- what is written --- */

static void write_line(struct buffer *out, const struct scope_line *line)
{
    buffer_append_char(out, '{');
    limits_write_line(out, line);
    buffer_append_char(out, '}');
}

static void write_scope(struct usage_look *look, const struct scope *scope, const struct scope_line *lines,
                        unsigned count)
{
    struct buffer *out = &look->body;

    buffer_append_text(out, look->began ? ",{" : "{");
    look->began = true;
    json_write_member_string(out, "kind", bytes_of(scope_kind_name(scope_kind(scope))));
    json_write_member_string(out, "name", scope_name(scope));
    json_write_name(out, "limits");
    buffer_append_char(out, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buffer_append_char(out, ',');
        write_line(out, &lines[i]);
    }
    buffer_append_text(out, "]}");
}

static void write_looked(struct usage_look *look)
{
    const struct shared_peek *peek = &look->peek;

    for (unsigned i = 0; i < peek->count; i++)
        if (peek->scopes[i])
            write_scope(look, peek->scopes[i], peek->lines[i], peek->line_counts[i]);
    look->degraded = look->degraded || peek->degraded;
    look->peek = (struct shared_peek){0};
}

static enum verdict send_page(struct usage_look *look)
{
    struct exchange *x = look->x;

    x->quiet = x->flow->admin;
    x->told.degraded = look->degraded;
    buffer_append_char(&look->body, ']');
    if (look->more)
        buffer_append_text(&look->body, ",\"more\":true");
    if (look->degraded)
        buffer_append_text(&look->body, ",\"degraded\":true");
    buffer_append_text(&look->body, "}\n");
    deliver_page(x, 200, "application/json", buffer_bytes(&look->body));
    return STEP_DONE;
}

/* --- looking --- */

/* The next ones; how many. */
static unsigned gather(struct usage_look *look, struct scope *scopes[SCOPE_KINDS])
{
    struct flow *flow = look->x->flow;
    unsigned count = 0;

    if (look->own)
        return look->next++ == 0 && admission_scopes(look->x, scopes) ? SCOPE_KINDS : 0;
    while (count < SCOPE_KINDS && (scopes[count] = admit_next(flow->shared->admit, &look->next))) {
        if (flow->limits_shared && look->looked == SCOPES_MOST) {
            look->more = true;
            break;
        }
        look->looked++;
        count++;
    }
    return count;
}

static void on_looked(void *data)
{
    struct usage_look *look = data;

    look->asking = false;
    exchange_resume(look->x);
}

static void look_at(struct usage_look *look, struct scope *const *scopes, unsigned count)
{
    struct shared *shared = look->x->flow->limits_shared;
    struct admit_time now = {clock_us(), clock_wall_s()};
    struct shared_peek *peek = &look->peek;

    if (shared) {
        look->asking = true;
        shared_peek(shared, peek, scopes, count, on_looked, look);
        return;
    }
    peek->count = count;
    for (unsigned i = 0; i < count; i++) {
        peek->scopes[i] = scopes[i];
        if (scopes[i])
            peek->line_counts[i] = scope_lines(scopes[i], now, peek->lines[i]);
    }
}

/* Comes again whenever the exchange is resumed. */
static enum verdict go_on(struct usage_look *look)
{
    struct scope *scopes[SCOPE_KINDS] = {NULL};
    unsigned count;

    if (look->asking)
        return STEP_WAIT;
    write_looked(look);
    while ((count = gather(look, scopes))) {
        look_at(look, scopes, count);
        if (look->asking)
            return STEP_WAIT;
        write_looked(look);
    }
    return send_page(look);
}

static struct usage_look *begin(struct exchange *x)
{
    struct usage_look *look = ALLOC_NEW(struct usage_look);

    look->x = x;
    buffer_init(&look->body);
    buffer_append_char(&look->body, '{');
    x->looking = look;
    return look;
}

static void begin_scopes(struct usage_look *look)
{
    json_write_name(&look->body, "scopes");
    buffer_append_char(&look->body, '[');
}

enum verdict own_usage_page(struct exchange *x)
{
    if (!x->key)
        return exchange_refuse_text(x, FAIL_NO_KEY, "This gateway asks for no keys, so there is no usage of one. See "
                                                    "/usage on the admin listener.");
    if (!x->looking) {
        begin(x)->own = true;
        json_write_member_string(&x->looking->body, "key", x->key->name);
        json_write_member_string(&x->looking->body, "team", x->key->team);
        begin_scopes(x->looking);
    }
    return go_on(x->looking);
}

enum verdict all_usage_page(struct exchange *x)
{
    if (!x->looking)
        begin_scopes(begin(x));
    return go_on(x->looking);
}
