/*
 * The walk of one request, top to bottom. Reading this list tells the product.
 *
 *   page      is it a page, or a path we do not serve?
 *   body      wait for the whole question
 *   understand  the client's language -> chat_request
 *   choose    model -> backends that can do what is asked, steering included
 *   ask       a flight sets off, filling a transcript
 *   deliver   transcript -> client
 *   settle    whatever was taken is given back; a client that left jumps to here
 *   record    one line
 */
#include "flow/exchange.h"

#include "base/clock.h"

static enum verdict body_step(struct exchange *x)
{
    const struct config_limits *limits = &x->flow->config->limits;

    if (x->body_failed)
        return exchange_refuse_text(x, x->body_failure, x->body_message);
    if (!x->body_wanted) {
        x->body_wanted = true;
        if (x->content_length > limits->body_bytes)
            return exchange_refuse_text(x, FAIL_TOO_LARGE,
                                        "The request body is larger than this gateway accepts.");
        x->question = question_new();
        conn_read_body(x->conn);
    }
    if (x->body_failed)
        return exchange_refuse_text(x, x->body_failure, x->body_message);
    return x->body_complete ? STEP_NEXT : STEP_WAIT;
}

static enum verdict refuse_json(struct exchange *x, int error)
{
    struct failure failure = failure_make(
        &x->arena, FAIL_BAD_JSON,
        "We could not parse the JSON body of your request. The body is %s (at byte %u). Send a JSON object.",
        json_error_text(error), (unsigned)x->question->doc.error_at);

    return exchange_refuse(x, &failure);
}

static enum verdict understand_step(struct exchange *x)
{
    struct question *question = x->question;
    struct failure failure;
    int r;

    if (x->endpoint->kind == ENDPOINT_PASS && x->verb == HTTP_GET_)
        return STEP_NEXT;
    r = json_doc_finish(&question->doc, buffer_bytes(&question->body));
    if (r > 0)
        return refuse_json(x, r);
    if (x->endpoint->kind == ENDPOINT_PASS)
        return STEP_NEXT;
    r = x->dialect->understand(&question->request, &question->doc, x->endpoint->operation, &question->arena,
                               &failure);
    return r < 0 ? exchange_refuse(x, &failure) : STEP_NEXT;
}

static enum verdict settle_step(struct exchange *x)
{
    if (x->conn && x->written)
        conn_set_owner(x->conn, NULL);
    reader_deinit(&x->reader);
    return STEP_NEXT;
}

/* What a client may have put into a path, a name or an id, fit for a line. */
static void append_safe(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size && i < 200; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        buffer_append_char(out, byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' ? (char)byte : '?');
    }
}

static void append_field(struct buffer *out, const char *name, struct bytes text)
{
    buffer_append_text(out, name);
    append_safe(out, text.size ? text : BYTES("-"));
}

static enum verdict record_step(struct exchange *x)
{
    struct buffer *out = &x->flow->lines;
    const struct transcript_facts *facts = x->transcript ? transcript_facts(x->transcript) : NULL;
    uint64_t now = clock_us();

    if (x->quiet)
        return STEP_NEXT;
    buffer_append_text(out, "request id=");
    buffer_append(out, (struct bytes){x->id, sizeof(x->id)});
    append_field(out, " client=", x->peer);
    append_field(out, " client_id=", x->client_id);
    append_field(out, " dialect=", bytes_of(x->dialect->name));
    append_field(out, " method=", x->method);
    append_field(out, " path=", x->path);
    append_field(out, " model=", x->question ? x->question->request.model : BYTES_NONE);
    append_field(out, " backend=", facts ? facts->backend : BYTES_NONE);
    buffer_printf(out, " status=%u outcome=%s bytes_in=%llu bytes_out=%llu events=%llu", x->status, x->outcome,
                  (unsigned long long)x->body_counted, (unsigned long long)x->bytes_out,
                  (unsigned long long)x->reader.taken);
    buffer_printf(out, " ttft_ms=%.3f total_ms=%.3f attempts=%u\n",
                  x->first_us ? (double)(x->first_us - x->began_us) / 1000 : 0.0,
                  (double)(now - x->began_us) / 1000, facts ? facts->attempts : 0);
    return STEP_NEXT;
}

static const struct step {
    const char *name;
    enum verdict (*run)(struct exchange *x);
} steps[] = {
    {"page", page_step},
    {"body", body_step},
    {"understand", understand_step},
    {"choose", choose_step},
    {"ask", ask_step},
    {"deliver", deliver_step},
    {"settle", settle_step},
    {"record", record_step},
};

const unsigned steps_count = ARRAY_SIZE(steps), steps_deliver = 5, steps_settle = 6;

const char *steps_name(unsigned at)
{
    return at < steps_count ? steps[at].name : "end";
}

enum verdict steps_run(struct exchange *x)
{
    return steps[x->at].run(x);
}
